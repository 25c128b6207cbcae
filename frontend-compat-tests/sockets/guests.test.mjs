// Guest sockets (contract 1.2): the navbar's badge works through bare nudges once its user vouches for it, and a guest learns nothing else.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { MATRIX, connect } from '../lib/client.mjs';
import { NO_LIMITS, api, createPair, createUser, history, openConversation, startServer } from '../lib/server.mjs';

const BROWSER = 'Mozilla/5.0 (tests) Browser/1';
const ANOTHER = 'Mozilla/5.0 (tests) Another/2';
let server;
before(async () => {
  server = await startServer({ config: { limits: NO_LIMITS, presence: { grace: '100ms', guest_claims_per_address: 1000 } } });
});
after(() => server?.stop());

const guestOf = (t, { agent = BROWSER, ...more } = {}) =>
  connect(t, { server, extraHeaders: agent === null ? undefined : { 'User-Agent': agent }, ...more });
/** An authenticated request of a browser, as the navbar's for its badge. */
const vouch = async (user, agent = BROWSER) =>
  assert.equal((await api(server, user.token, 'GET', '/api/messaging/unread-count', undefined, { 'user-agent': agent })).status, 200);
const contact = (t, user) => connect(t, { server, token: user.token });
const say = async (client, conversation, message = 'psst') =>
  assert.equal((await client.emitAck('send-message', { conversationId: conversation, message })).ok, true);
const online = (watcher, user, options) => watcher.heard('user-status-changed', ({ userId, status }) => userId === user.id && status === 'online', options);
/** What the guest heard, but for the refusal of the fence. */
const heardBy = async (guest) => {
  await guest.fence();
  return guest.record.filter(({ name, payload }) => !(name === 'error' && payload.code === 'unauthorized')).map(({ name, args }) => [name, ...args]);
};
/** A guest is vouched for if it hears a bare nudge for a message to its user; `others` of the same moment should not. */
const assertNudged = async (sender, conversation, guest, others = []) => {
  const mark = guest.mark();
  await say(sender, conversation);
  assert.deepEqual(await guest.heard('conversation-updated', () => true, { after: mark }), {});
  for (const other of others) assert.deepEqual(await heardBy(other), [['connect']]);
};

describe('every client version and transport', { concurrency: 3 }, () => {
  for (const { version, mode, label } of MATRIX) {
    for (const [order, steps] of [['before', ['vouch', 'claim']], ['after', ['claim', 'vouch']]]) {
      test(`${label}: a REST request ${order} the claim vouches for it: presence and bare nudges, nothing else`, async (t) => {
        const { a, b, conversation } = await createPair(server, 'guest');
        const bob = await contact(t, b);
        const guest = await guestOf(t, { version, mode });
        for (const step of steps) {
          if (step === 'vouch') await vouch(a);
          else guest.emit('user-online', { userId: a.id, role: 'traveller' });
        }
        await online(bob, a);
        await assertNudged(bob, conversation, guest);
        const heard = await heardBy(guest);
        assert.deepEqual(heard, [['connect'], ...heard.slice(1).map(() => ['conversation-updated', {}])]);
        const mark = bob.mark();
        guest.close();
        await bob.heard('user-offline', ({ userId }) => userId === a.id, { after: mark });
      });
    }
  }
});

describe('guests', { concurrency: 3 }, () => {
  for (const form of [(id) => id, String, (id) => ({ userId: id }), (id) => ({ userId: String(id), role: null })]) {
    test(`a claim may come as ${JSON.stringify(form(5))}, again and again`, async (t) => {
      const { a, b, conversation } = await createPair(server, 'form');
      const [bob, guest] = await Promise.all([contact(t, b), guestOf(t)]);
      for (let i = 0; i < 3; i++) guest.emit('user-online', form(a.id));
      await vouch(a);
      await online(bob, a);
      await assertNudged(bob, conversation, guest);
      assert.equal(guest.entries('conversation-updated').length, 1, 'one nudge, not one per claim');
    });
  }

  for (const order of ['before', 'after']) {
    test(`an authenticated socket of the same browser ${order} the claim vouches for it`, async (t) => {
      const { a, b, conversation } = await createPair(server, 'socket');
      const [bob, guest] = await Promise.all([contact(t, b), guestOf(t)]);
      const inbox = async () => (await connect(t, { server, token: a.token, extraHeaders: { 'User-Agent': BROWSER } })).fence();
      if (order === 'before') await inbox();
      guest.emit('user-online', { userId: a.id });
      await guest.fence();
      if (order === 'after') await inbox();
      await assertNudged(bob, conversation, guest);
    });
  }

  test('another user agent, another address and another user’s request do not vouch', async (t) => {
    const { a, b, conversation } = await createPair(server, 'foreign');
    const third = await createUser(server, 'Third');
    const [bob, right, agent, address] = await Promise.all([
      contact(t, b), guestOf(t), guestOf(t, { agent: ANOTHER }), guestOf(t, { localAddress: '127.0.0.2' }),
    ]);
    await vouch(third, ANOTHER);
    for (const guest of [right, agent, address]) guest.emit('user-online', { userId: a.id });
    await vouch(a);
    await online(bob, a);
    await assertNudged(bob, conversation, right, [agent, address]);
  });

  test('an uncorroborated claim changes nothing and is answered with nothing', async (t) => {
    const { a, b, conversation } = await createPair(server, 'nobody');
    const marker = await createUser(server, 'Marker');
    await openConversation(server, b, marker);
    const [bob, guest] = await Promise.all([contact(t, b), guestOf(t)]);
    guest.emit('user-online', { userId: a.id });
    assert.deepEqual(await heardBy(guest), [['connect']]);
    await say(bob, conversation);
    await contact(t, marker);
    await bob.heard('user-online', ({ userId }) => userId === marker.id);
    assert.ok(!bob.record.some(({ name, payload }) => name === 'user-status-changed' && payload.userId === a.id));
    assert.deepEqual(await heardBy(guest), [['connect']]);
  });

  test('a guest without a user agent is vouched for by its address alone where its user told none', async (t) => {
    const { a, b, conversation } = await createPair(server, 'agentless');
    const [bob, guest] = await Promise.all([contact(t, b), guestOf(t, { agent: null })]);
    guest.emit('user-online', { userId: a.id });
    await vouch(a, '');
    await online(bob, a);
    await assertNudged(bob, conversation, guest);
  });

  test('a forged or missing token vouches for nobody', async (t) => {
    const { a, b, conversation } = await createPair(server, 'forged');
    const [bob, guest] = await Promise.all([contact(t, b), guestOf(t)]);
    guest.emit('user-online', { userId: a.id });
    for (const token of [null, `${a.token.slice(0, -6)}AAAAAA`]) {
      const { status } = await api(server, token, 'GET', '/api/messaging/unread-count', undefined, { 'user-agent': BROWSER });
      assert.equal(status, 401);
    }
    await say(bob, conversation);
    await bob.heard('conversation-updated');
    assert.deepEqual(await heardBy(guest), [['connect']]);
  });

  for (const vouched of [false, true]) {
    test(`a ${vouched ? 'vouched' : 'mere'} guest may do nothing but user-online: everything else is unauthorized, joins nothing, stores nothing`, async (t) => {
      const { a, b, conversation } = await createPair(server, 'curious');
      const [bob, guest] = await Promise.all([contact(t, b), guestOf(t)]);
      await bob.emitAck('join-conversation', conversation);
      if (vouched) {
        await vouch(a);
        guest.emit('user-online', a.id);
        await online(bob, a);
      }
      const attempts = [
        ['join-conversation', conversation], ['join-conversation', [conversation]], ['leave-conversation', conversation],
        ['send-message', { conversationId: conversation, message: 'from a guest', senderId: a.id }], ['typing', { conversationId: conversation, userId: a.id }],
        ['stop-typing', { conversationId: conversation }], ['mark-as-read', { conversationId: conversation }], ['join-support', 1],
        ['send-support-message', { ticketId: 1, message: 'from a guest' }],
      ];
      for (const [name, payload] of attempts) {
        const mark = guest.mark();
        guest.emit(name, payload);
        assert.equal((await guest.heard('error', () => true, { after: mark })).code, 'unauthorized', name);
        assert.equal((await guest.emitAck(name, payload)).code, 'unauthorized', name);
      }
      await say(bob, conversation, 'secret');
      await bob.heard('message-received', ({ message_text }) => message_text === 'secret');
      const others = (await heardBy(guest)).filter(([name, payload]) => !(name === 'conversation-updated' && Object.keys(payload).length === 0));
      assert.deepEqual(others.filter(([name]) => name !== 'connect' && name !== 'message-failed'), []);
      assert.deepEqual(bob.entries('user-typing'), []);
      assert.deepEqual((await history(server, b, conversation)).map(({ message_text }) => message_text), ['secret']);
    });
  }

  test('nonsense claims are survived', async (t) => {
    const guest = await guestOf(t);
    for (const claim of [undefined, null, {}, [], 'x', -1, 0, 1.5, 1e300, { userId: {} }, { userId: null }, '9'.repeat(500), true]) guest.emit('user-online', claim);
    await guest.fence();
    assert.equal(guest.socket.connected, true);
  });
});
