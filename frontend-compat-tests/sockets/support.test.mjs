// Support chat (contract 3): owner and admin talk live while the admin closes and reopens the ticket over REST.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { MATRIX, connect } from '../lib/client.mjs';
import { NO_LIMITS, adminOf, api, createUser, startServer } from '../lib/server.mjs';

let server, owner, other, agent, admin;
before(async () => {
  server = await startServer({ config: { limits: NO_LIMITS } });
  [owner, other, agent] = await Promise.all(['Owner', 'Other', 'Agent'].map((name) => createUser(server, name)));
  admin = { ...agent, token: adminOf(server, agent) };
});
after(() => server?.stop());

const rest = (user, method, path, body) => api(server, user.token, method, `/api/messaging/support/${path}`, body);
const openTicket = async (user, more = {}) => {
  const { status, body } = await rest(user, 'POST', 'tickets', { subject: 'Lost luggage', description: 'It is blue.', ...more });
  assert.equal(status, 201, JSON.stringify(body));
  return body.id;
};
const statusOf = async (ticket) => (await rest(admin, 'GET', `tickets/${ticket}`)).body.status;
const setStatus = async (ticket, status) => assert.equal((await rest(admin, 'PUT', `tickets/${ticket}/status`, { status })).status, 200);
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const FIELDS = ['created_at', 'id', 'is_admin', 'message_text', 'sender_id', 'senderId', 'ticket_id', 'ticketId'].sort();

describe('every client version and transport', { concurrency: 3 }, () => {
  for (const { version, mode, label } of MATRIX) {
    test(`${label}: owner and admin chat live while the admin closes and reopens the ticket`, async (t) => {
      const ticket = await openTicket(owner, { category: 'Booking' });
      const [own, support] = await Promise.all([owner, admin].map((user) => connect(t, { server, token: user.token, version, mode })));
      own.emit('join-support', ticket);
      assert.equal((await own.emitAck('join-support', { ticketId: String(ticket) })).ok, true);
      assert.equal((await support.emitAck('join-support', String(ticket))).ok, true);
      const updated = (status) => Promise.all([own, support].map((client) =>
        client.heard('ticket-updated', (heard) => heard.ticketId === ticket && heard.status === status)));

      const say = async (client, user, isAdmin, text, tempId) => {
        client.emit('send-support-message', { ticketId: ticket, senderId: owner.id, message: text, isAdmin: !isAdmin, tempId });
        for (const listener of [own, support]) {
          const heard = await listener.heard('support-message-received', ({ message_text }) => message_text === text);
          assert.deepEqual(Object.keys(heard).filter((key) => key !== 'tempId').sort(), FIELDS);
          assert.deepEqual([heard.ticket_id, heard.ticketId, heard.sender_id, heard.senderId], [ticket, ticket, user.id, user.id]);
          assert.equal(heard.is_admin, isAdmin, 'from the token, a boolean');
          assert.equal(heard.tempId, tempId);
          assert.ok(Number.isSafeInteger(heard.id));
          assert.match(heard.created_at, ISO);
        }
      };
      await say(own, owner, false, 'Where is it?', 'temp-1');
      assert.equal(await statusOf(ticket), 'open');
      await say(support, admin, true, 'We are looking.', 7);
      const [told] = await updated('in_progress');
      assert.match(told.updated_at, ISO);
      assert.deepEqual(told, { ticketId: ticket, status: 'in_progress', priority: 'medium', updated_at: told.updated_at });

      await setStatus(ticket, 'Resolved');
      await updated('resolved');
      await say(own, owner, false, 'It is not here.');
      await updated('open');

      await setStatus(ticket, 'closed');
      await updated('closed');
      for (const client of [own, support]) {
        const answer = await client.emitAck('send-support-message', { ticketId: ticket, message: 'to a closed ticket' });
        assert.deepEqual([answer.ok, answer.code], [false, 'ticket_closed']);
        const error = await client.heard('error');
        assert.deepEqual([error.code, error.message], ['ticket_closed', answer.error]);
      }
      await setStatus(ticket, 'In Progress');
      await updated('in_progress');
      await say(own, owner, false, 'Thanks!');

      await Promise.all([own.fence(), support.fence()]);
      const { body } = await rest(owner, 'GET', `tickets/${ticket}`);
      const texts = ['Where is it?', 'We are looking.', 'It is not here.', 'Thanks!'];
      assert.deepEqual(body.messages.map(({ message_text }) => message_text), texts);
      for (const client of [own, support]) {
        assert.deepEqual(client.payloads('support-message-received').map(({ message_text }) => message_text), texts, 'each once, in order');
        assert.ok(client.entries('support-message-received').every(({ args }) => args.length === 1));
      }
    });
  }
});

describe('support', { concurrency: 3 }, () => {
  const socketOf = (t, user) => connect(t, { server, token: user.token });
  const say = async (client, ticket, message, more = {}) => client.emitAck('send-support-message', { ticketId: ticket, message, ...more });

  test('an admin’s answer over REST is heard in the room like one over the socket', async (t) => {
    const ticket = await openTicket(owner);
    const [own, idle, support] = await Promise.all([owner, owner, admin].map((user) => socketOf(t, user)));
    await own.emitAck('join-support', ticket);
    const { status, body } = await rest(admin, 'POST', `tickets/${ticket}/respond`, { message_text: 'By REST', newStatus: 'Resolved' });
    assert.equal(status, 200);
    const heard = await own.heard('support-message-received');
    assert.deepEqual([heard.id, heard.is_admin, heard.message_text], [body.response.id, true, 'By REST']);
    for (const client of [own, idle, support]) {
      assert.equal((await client.heard('ticket-updated', ({ ticketId }) => ticketId === ticket)).status, 'resolved', 'owner’s and admins’ sockets');
    }
    assert.deepEqual(idle.entries('support-message-received'), []);
  });

  test('a new ticket is told to admins with created: true', async (t) => {
    const support = await socketOf(t, admin);
    const ticket = await openTicket(owner);
    const heard = await support.heard('ticket-updated', ({ ticketId }) => ticketId === ticket);
    assert.deepEqual([heard.created, heard.status, heard.priority], [true, 'open', 'medium']);
  });

  test('another user may neither join nor send, what does not exist is not_found, and nothing of it is heard', async (t) => {
    const ticket = await openTicket(owner);
    const [own, intruder] = await Promise.all([owner, other].map((user) => socketOf(t, user)));
    await own.emitAck('join-support', ticket);
    for (const payload of [ticket, String(ticket), { ticketId: ticket }, [ticket]]) {
      assert.equal((await intruder.emitAck('join-support', payload)).code, 'forbidden', JSON.stringify(payload));
    }
    assert.equal((await say(intruder, ticket, 'intruding', { isAdmin: true })).code, 'forbidden');
    assert.equal((await intruder.emitAck('join-support', 99_999_999)).code, 'not_found');
    assert.equal((await say(intruder, 99_999_999, 'nowhere')).code, 'not_found');
    assert.equal((await say(own, ticket, 'private')).ok, true);
    await intruder.fence();
    assert.deepEqual([...intruder.entries('support-message-received'), ...intruder.entries('ticket-updated')], []);
    assert.deepEqual((await rest(owner, 'GET', `tickets/${ticket}`)).body.messages.map(({ message_text }) => message_text), ['private']);
  });

  test('join-support leaves the ticket that was open before; an array follows several', async (t) => {
    const [one, two] = [await openTicket(owner), await openTicket(owner)];
    for (const [joined, expected] of [[[one, two], [one, two]], [two, [two]]]) {
      const [own, support] = await Promise.all([owner, admin].map((user) => socketOf(t, user)));
      await own.emitAck('join-support', one);
      assert.equal((await own.emitAck('join-support', joined)).ok, true);
      for (const ticket of [one, two]) await say(support, ticket, 'which?');
      await own.heard('support-message-received', ({ ticketId }) => ticketId === two);
      assert.deepEqual(own.payloads('support-message-received').map(({ ticketId }) => ticketId), expected);
    }
  });

  test('conversation and ticket do not displace each other', async (t) => {
    const ticket = await openTicket(owner);
    const opened = await api(server, owner.token, 'POST', '/api/messaging/conversations', { otherUserId: other.id });
    const [own, friend, support] = await Promise.all([owner, other, admin].map((user) => socketOf(t, user)));
    await own.emitAck('join-support', ticket);
    await own.emitAck('join-conversation', opened.body.id);
    await say(support, ticket, 'still followed');
    await own.heard('support-message-received', ({ ticketId }) => ticketId === ticket);
    await friend.emitAck('send-message', { conversationId: opened.body.id, message: 'also followed' });
    await own.heard('message-received', ({ conversationId }) => conversationId === opened.body.id);
  });

  test('bad texts have the codes of direct messages, and a repeated tempId stores one message', async (t) => {
    const ticket = await openTicket(owner);
    const own = await socketOf(t, owner);
    assert.equal((await say(own, ticket, '  ')).code, 'empty_message');
    assert.equal((await say(own, ticket, 'x'.repeat(10_001))).code, 'message_too_long');
    assert.equal((await say(own, 'none', 'text')).code, 'invalid_payload');
    const repeated = { tempId: 'temp-1700000000000' };
    const [first, second] = [await say(own, ticket, 'once', repeated), await say(own, ticket, 'once', repeated)];
    assert.deepEqual([first.ok, second.ok, second.message.id], [true, true, first.message.id]);
    const third = await say(own, ticket, 'something else', repeated);
    assert.notEqual(third.message.id, first.message.id);
    assert.equal((await rest(owner, 'GET', `tickets/${ticket}`)).body.messages.length, 2);
  });
});
