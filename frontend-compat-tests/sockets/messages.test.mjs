// Direct messages over sockets (contract 2): fields, order, rooms, idempotency, acks. The limits and refusals are in refusals.test.mjs.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { MATRIX, connect } from '../lib/client.mjs';
import { NO_LIMITS, createPair, createUser, history, openConversation, startServer } from '../lib/server.mjs';

let server;
const pairs = new Map();
before(async () => {
  server = await startServer({ config: { limits: NO_LIMITS } });
  await Promise.all(MATRIX.map(async ({ label }) => pairs.set(label, await createPair(server, label))));
});
after(() => server?.stop());

const FIELDS = [
  'conversationId', 'conversation_id', 'created_at', 'id', 'is_read', 'message_text', 'read_at', 'receiver_id', 'senderId', 'sender_id',
];

/** Asserts every field of a `message-received`, its type and nothing missing; more fields would be ignored by clients, these must be right. */
function assertMessage(message, { conversation, from, to, text }) {
  for (const field of FIELDS) assert.ok(field in message, `${field} in ${JSON.stringify(message)}`);
  assert.ok(Number.isSafeInteger(message.id));
  assert.deepEqual([message.conversation_id, message.conversationId], [conversation, conversation]);
  assert.deepEqual([message.sender_id, message.senderId, message.receiver_id], [from.id, from.id, to.id]);
  assert.deepEqual([message.message_text, message.is_read, message.read_at], [text, false, null]);
  assert.match(message.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.ok(Math.abs(Date.parse(message.created_at) - Date.now()) < 60_000, message.created_at);
}

describe('every client version and transport', { concurrency: 3 }, () => {
  // One after the other for each, as the tests of one kind of client share a conversation.
  for (const { version, mode, label } of MATRIX) describe(label, { concurrency: 1 }, () => {
    const both = async (t) => {
      const { a, b, conversation } = pairs.get(label);
      const [alice, bob] = await Promise.all([a, b].map((user) => connect(t, { server, token: user.token, version, mode })));
      await Promise.all([alice, bob].map((client) => client.emitAck('join-conversation', conversation)));
      return { a, b, conversation, alice, bob };
    };

    test('a message reaches both sides once, with the fields and types of the contract', async (t) => {
      const { a, b, conversation, alice, bob } = await both(t);
      for (const [from, to, client, other, tempId] of [[a, b, alice, bob, 'temp-1700000000000'], [b, a, bob, alice, 17]]) {
        const text = `  hello from ${from.username} — “ß” 🌍\n<b>&amp;</b> `;
        client.emit('send-message', { conversationId: conversation, senderId: from.id, message: text, tempId });
        for (const listener of [client, other]) {
          const message = await listener.heard('message-received', (heard) => heard.message_text === text);
          assertMessage(message, { conversation, from, to, text });
          assert.equal(message.tempId, tempId, 'tempId exactly as sent');
          assert.deepEqual(Object.keys(message).filter((key) => key !== 'tempId').sort(), FIELDS);
          assert.equal((await listener.heard('conversation-updated')).conversationId, conversation);
        }
      }
      await Promise.all([alice.fence(), bob.fence()]);
      for (const client of [alice, bob]) {
        assert.equal(client.entries('message-received').length, 2, 'each message once');
        assert.ok(client.entries('message-received').every(({ args }) => args.length === 1), 'no extra argument for who did not ask');
      }
    });

    test('250 messages of one socket arrive in order, and 250 of the other among them', async (t) => {
      const { a, b, conversation, alice, bob } = await both(t);
      const count = 250;
      for (let i = 0; i < count; i++) {
        alice.emit('send-message', { conversationId: conversation, message: `a ${i}` });
        bob.emit('send-message', { conversationId: conversation, message: `b ${i}` });
      }
      const heard = await Promise.all([alice, bob].map((client) => client.heardTimes('message-received', 2 * count, () => true, { ms: 30_000 })));
      for (const messages of heard) {
        const ids = messages.map(({ id }) => id);
        assert.deepEqual(ids, [...new Set(ids)].sort((x, y) => x - y), 'in the order of their ids, once each');
        for (const [user, letter] of [[a, 'a'], [b, 'b']]) {
          const texts = messages.filter(({ sender_id }) => sender_id === user.id).map(({ message_text }) => message_text);
          assert.deepEqual(texts, Array.from({ length: count }, (_, i) => `${letter} ${i}`));
        }
      }
      const stored = (await history(server, a, conversation)).slice(-2 * count).map(({ id }) => id);
      assert.deepEqual(stored, heard[0].map(({ id }) => id), 'the order of storing');
    });

    test('an ack tells {ok, message}, and the message is then in the history', async (t) => {
      const { a, b, conversation, alice } = await both(t);
      const answer = await alice.emitAck('send-message', { conversationId: String(conversation), message: 'acked' });
      assert.equal(answer.ok, true);
      assertMessage(answer.message, { conversation, from: a, to: b, text: 'acked' });
      const found = (await history(server, b, conversation)).filter(({ id }) => id === answer.message.id);
      assert.deepEqual(found, [answer.message]);
      assert.deepEqual(await alice.heard('message-received', ({ id }) => id === answer.message.id), answer.message);
    });
  });
});

describe('rooms, acks and repeats', { concurrency: 3 }, () => {
  let a, b, c, ab, ac;
  before(async () => {
    [a, b, c] = await Promise.all(['Ada', 'Bo', 'Cy'].map((name) => createUser(server, name)));
    [ab, ac] = await Promise.all([openConversation(server, a, b), openConversation(server, a, c)]);
  });
  const socketOf = (t, user) => connect(t, { server, token: user.token });
  let serial = 0;
  /** Sends a message with a text of its own and resolves with it as stored. */
  const send = async (client, conversation, more = {}) => {
    const answer = await client.emitAck('send-message', { conversationId: conversation, message: `text ${++serial}`, ...more });
    assert.equal(answer.ok, true, JSON.stringify(answer));
    return answer.message;
  };
  const hears = (client, message) => client.heard('message-received', ({ id }) => id === message.id);
  /** Which of the messages the client has heard by the time it hears the marker, sent after them to a room it follows. */
  const heardBefore = async (client, marker, messages) => {
    await hears(client, marker);
    return messages.filter(({ id }) => client.payloads('message-received').some((heard) => heard.id === id));
  };

  for (const form of [(id) => id, String, (id) => ({ conversationId: id }), (id) => ({ conversationId: String(id) })]) {
    test(`join-conversation takes ${JSON.stringify(form(7))} and leaves the conversation that was open before`, async (t) => {
      const [alice, bob, cyd] = await Promise.all([a, b, c].map((user) => socketOf(t, user)));
      assert.equal((await alice.emitAck('join-conversation', form(ab))).ok, true);
      await hears(alice, await send(bob, ab));
      assert.equal((await alice.emitAck('join-conversation', form(ac))).ok, true);
      const stray = await send(bob, ab);
      assert.deepEqual(await heardBefore(alice, await send(cyd, ac), [stray]), []);
    });

    test(`leave-conversation takes ${JSON.stringify(form(7))} and stops following`, async (t) => {
      const [alice, bob, cyd] = await Promise.all([a, b, c].map((user) => socketOf(t, user)));
      await alice.emitAck('join-conversation', [ab, ac]);
      assert.equal((await alice.emitAck('leave-conversation', form(ab))).ok, true);
      const stray = await send(bob, ab);
      assert.deepEqual(await heardBefore(alice, await send(cyd, ac), [stray]), []);
    });
  }

  test('join-conversation with an array follows several, and typing or sending in one keeps the other', async (t) => {
    const [alice, bob, cyd] = await Promise.all([a, b, c].map((user) => socketOf(t, user)));
    assert.equal((await alice.emitAck('join-conversation', [ab, String(ac)])).ok, true);
    await alice.emitAck('typing', { conversationId: ab });
    await send(alice, ab);
    await hears(alice, await send(cyd, ac));
    await hears(alice, await send(bob, ab));
  });

  test('joining what is already open changes nothing: each message is heard once', async (t) => {
    const [alice, bob] = await Promise.all([a, b].map((user) => socketOf(t, user)));
    for (let i = 0; i < 3; i++) assert.equal((await alice.emitAck('join-conversation', ab)).ok, true);
    const [first, second] = [await send(bob, ab), await send(bob, ab)];
    await hears(alice, second);
    assert.equal(alice.payloads('message-received').filter(({ id }) => id === first.id).length, 1);
  });

  for (const [what, touch] of [
    ['send-message', (client) => send(client, ab)], ['typing', (client) => client.emitAck('typing', { conversationId: ab })],
  ]) {
    test(`${what} counts as a join of that conversation, and leaves the one that was open`, async (t) => {
      const [alice, bob, cyd] = await Promise.all([a, b, c].map((user) => socketOf(t, user)));
      await alice.emitAck('join-conversation', ac);
      await touch(alice);
      const stray = await send(cyd, ac);
      assert.deepEqual(await heardBefore(alice, await send(bob, ab), [stray]), []);
    });
  }

  test('every socket of both participants hears conversation-updated, an object, though it has nothing open', async (t) => {
    const [alice, idle, other] = await Promise.all([a, a, b].map((user) => socketOf(t, user)));
    await send(alice, ab);
    for (const client of [alice, idle, other]) {
      assert.deepEqual(await client.heard('conversation-updated', ({ conversationId }) => conversationId === ab), { conversationId: ab });
    }
    assert.deepEqual([...idle.entries('message-received'), ...other.entries('message-received')], []);
  });

  test('two sockets of the sender that follow the room hear it too', async (t) => {
    const [alice, second] = await Promise.all([a, a].map((user) => socketOf(t, user)));
    await second.emitAck('join-conversation', ab);
    await hears(second, await send(alice, ab));
  });

  test('the same tempId of 12 to 64 characters with the same text stores nothing and answers with the stored message', async (t) => {
    const [alice, later, bob] = await Promise.all([a, a, b].map((user) => socketOf(t, user)));
    await bob.emitAck('join-conversation', ab);
    for (const tempId of ['temp-1700000000001', 'x'.repeat(12), 'y'.repeat(64), '🌍'.repeat(12), '🌍'.repeat(64)]) {
      const payload = { message: `once ${tempId}`, tempId };
      const first = await send(alice, ab, payload);
      const mark = later.mark();
      assert.equal((await send(alice, ab, payload)).id, first.id, 'from the same socket');
      assert.equal((await send(later, ab, payload)).id, first.id, 'from another socket of the sender');
      assert.equal((await later.heard('message-received', ({ id }) => id === first.id, { after: mark })).tempId, tempId);
      assert.equal((await history(server, a, ab)).filter((stored) => stored.message_text === payload.message).length, 1);
      await hears(bob, await send(alice, ab));
      assert.equal(bob.payloads('message-received').filter(({ id }) => id === first.id).length, 1, 'the other hears it once');
    }
  });

  test('repeats that race each other on several sockets store one message', async (t) => {
    const sockets = await Promise.all(Array.from({ length: 5 }, () => socketOf(t, a)));
    const payload = { message: `raced ${++serial}`, tempId: `raced-by-five-${serial}` };
    const stored = await Promise.all(sockets.map((client) => send(client, ab, payload)));
    assert.equal(new Set(stored.map(({ id }) => id)).size, 1);
  });

  test('another text, another sender, another conversation and a short or numeric tempId make another message', async (t) => {
    const [alice, bob] = await Promise.all([a, b].map((user) => socketOf(t, user)));
    const tempId = 'temp-1700000000002';
    const same = { message: 'same text', tempId };
    const ids = [
      await send(alice, ab, same), await send(alice, ab, { ...same, message: 'other text' }), await send(bob, ab, same), await send(alice, ac, same),
      await send(alice, ab, { message: 'short', tempId: 'x'.repeat(11) }), await send(alice, ab, { message: 'short', tempId: 'x'.repeat(11) }),
      await send(alice, ab, { message: 'number', tempId: 1_700_000_000_003 }), await send(alice, ab, { message: 'number', tempId: 1_700_000_000_003 }),
      await send(alice, ab, { ...same, tempId: tempId.toUpperCase() }),
    ].map(({ id }) => id);
    assert.equal(new Set(ids).size, ids.length);
  });
});
