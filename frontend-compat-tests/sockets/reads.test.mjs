// Read marks (contract 2 and 4): every payload form, what they mark, who hears it, over sockets and over REST.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { MATRIX, connect } from '../lib/client.mjs';
import { NO_LIMITS, api, createPair, createUser, history, openConversation, startServer } from '../lib/server.mjs';

let server;
const pairs = new Map();
before(async () => {
  server = await startServer({ config: { limits: NO_LIMITS, nudges: { interval: '20ms', quiet: '20ms' } } });
  await Promise.all(MATRIX.map(async ({ label }) => pairs.set(label, await createPair(server, label))));
});
after(() => server?.stop());

const send = async (client, conversation, message = 'to be read') =>
  (await client.emitAck('send-message', { conversationId: conversation, message })).message;
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

describe('every client version and transport', { concurrency: 3 }, () => {
  for (const { version, mode, label } of MATRIX) {
    test(`${label}: mark-as-read takes a message id, a message in a conversation, and a whole conversation`, async (t) => {
      const { a, b, conversation } = pairs.get(label);
      const [alice, bob] = await Promise.all([a, b].map((user) => connect(t, { server, token: user.token, version, mode })));
      await Promise.all([alice, bob].map((client) => client.emitAck('join-conversation', conversation)));
      const forms = [
        (id) => id, String, (id) => ({ messageId: id, conversationId: conversation }),
        (id) => ({ messageId: String(id), conversationId: String(conversation), userId: a.id }), () => ({ conversationId: conversation }),
        () => ({ conversationId: String(conversation) }),
      ];
      for (const form of forms) {
        const { id } = await send(alice, conversation);
        bob.emit('mark-as-read', form(id));
        const heard = await alice.heard('message-read', ({ messageId }) => messageId === id);
        assert.match(heard.read_at, ISO);
        assert.deepEqual(heard, { messageId: id, conversationId: conversation, readerId: b.id, read_at: heard.read_at, messageIds: [id] });
        const stored = (await history(server, a, conversation)).find((message) => message.id === id);
        assert.deepEqual([stored.is_read, stored.read_at], [true, heard.read_at]);
      }
      await bob.fence();
      assert.deepEqual(bob.entries('message-read'), [], 'not to the reader');
    });
  }
});

describe('read marks', { concurrency: 3 }, () => {
  const open = async (t) => {
    const { a, b, conversation } = await createPair(server, 'reader');
    const [alice, bob] = await Promise.all([a, b].map((user) => connect(t, { server, token: user.token })));
    await Promise.all([alice, bob].map((client) => client.emitAck('join-conversation', conversation)));
    return { a, b, conversation, alice, bob };
  };

  test('a whole conversation is one message-read: the newest as messageId, all in messageIds', async (t) => {
    const { conversation, alice, bob } = await open(t);
    const ids = [];
    for (let i = 0; i < 5; i++) ids.push((await send(alice, conversation)).id);
    const mark = alice.mark();
    const answer = await bob.emitAck('mark-as-read', { conversationId: conversation });
    assert.deepEqual([answer.ok, answer.updated], [true, 5]);
    const heard = await alice.heard('message-read', () => true, { after: mark });
    assert.equal(heard.messageId, ids.at(-1));
    assert.deepEqual([...heard.messageIds].sort((x, y) => x - y), ids);
    const next = await send(alice, conversation);
    await bob.emitAck('mark-as-read', next.id);
    await alice.heard('message-read', ({ messageId }) => messageId === next.id, { after: mark });
    assert.equal(alice.entries('message-read', mark).length, 2, 'one per call');
  });

  test('nothing changed is {ok: true, updated: 0} and emits nothing', async (t) => {
    const { b, conversation, alice, bob } = await open(t);
    const mark = alice.mark();
    const first = await send(alice, conversation);
    assert.equal((await bob.emitAck('mark-as-read', first.id)).updated, 1);
    const { read_at: readAt } = await alice.heard('message-read', ({ messageId }) => messageId === first.id);
    for (const form of [first.id, { messageId: first.id, conversationId: conversation }, { conversationId: conversation }]) {
      const answer = await bob.emitAck('mark-as-read', form);
      assert.deepEqual([answer.ok, answer.updated], [true, 0], JSON.stringify(form));
    }
    const marker = await send(alice, conversation);
    await bob.emitAck('mark-as-read', marker.id);
    await alice.heard('message-read', ({ messageId }) => messageId === marker.id);
    assert.equal(alice.entries('message-read', mark).length, 2);
    assert.equal((await history(server, b, conversation)).find(({ id }) => id === first.id).read_at, readAt, 'read_at stays');
  });

  test('only what the caller received is marked, never what they sent', async (t) => {
    const { a, conversation, alice, bob } = await open(t);
    const mine = await send(alice, conversation);
    for (const form of [mine.id, { messageId: mine.id, conversationId: conversation }, { conversationId: conversation }]) {
      const answer = await alice.emitAck('mark-as-read', form);
      assert.notEqual(answer.updated > 0, true, JSON.stringify(answer));
    }
    assert.equal((await history(server, a, conversation)).find(({ id }) => id === mine.id).is_read, false);
    assert.equal((await bob.emitAck('mark-as-read', { conversationId: conversation })).updated, 1);
  });

  test('a mark of one message leaves newer ones unread', async (t) => {
    const { b, conversation, alice, bob } = await open(t);
    const [first, second] = [await send(alice, conversation), await send(alice, conversation)];
    await bob.emitAck('mark-as-read', first.id);
    const stored = new Map((await history(server, b, conversation)).map((message) => [message.id, message.is_read]));
    assert.deepEqual([stored.get(first.id), stored.get(second.id)], [true, false]);
  });

  test('a message that does not exist or is not in the named conversation is not_found', async (t) => {
    const { conversation, bob } = await open(t);
    const other = pairs.get('4.8 polling');
    const there = await connect(t, { server, token: other.a.token });
    const { id } = await send(there, other.conversation);
    for (const form of [99_999_999, { messageId: 99_999_999, conversationId: conversation }, { messageId: id, conversationId: conversation }]) {
      assert.deepEqual([(await bob.emitAck('mark-as-read', form)).code], ['not_found'], JSON.stringify(form));
    }
  });

  test('the reader’s other sockets do not hear message-read, even with the conversation open', async (t) => {
    const { b, conversation, alice, bob } = await open(t);
    const second = await connect(t, { server, token: b.token });
    await second.emitAck('join-conversation', conversation);
    const { id } = await send(alice, conversation);
    await bob.emitAck('mark-as-read', id);
    await alice.heard('message-read', ({ messageId }) => messageId === id);
    const mine = await send(bob, conversation);
    await alice.emitAck('mark-as-read', mine.id);
    await second.heard('message-read', ({ messageId }) => messageId === mine.id);
    assert.deepEqual(second.payloads('message-read').filter(({ messageId }) => messageId === id), []);
  });

  for (const method of ['POST', 'PUT']) {
    test(`${method} mark-read emits message-read, and conversation-updated only to the reader's sockets that have it closed`, async (t) => {
      const { b, conversation, alice, bob } = await open(t);
      const elsewhere = await connect(t, { server, token: b.token });
      const { id } = await send(alice, conversation);
      await Promise.all([bob, elsewhere].map((client) => client.heard('conversation-updated')));
      const marks = [bob.mark(), elsewhere.mark()];
      const answer = await api(server, b.token, method, `/api/messaging/conversations/${conversation}/mark-read`);
      assert.deepEqual([answer.status, answer.body], [200, { message: 'Messages marked as read', updated: 1 }]);
      assert.deepEqual((await alice.heard('message-read', ({ messageId }) => messageId === id)).messageIds, [id]);
      await elsewhere.heard('conversation-updated', ({ conversationId }) => conversationId === conversation, { after: marks[1] });
      await bob.fence();
      assert.deepEqual(bob.payloads('conversation-updated', marks[0]).filter(({ conversationId }) => conversationId === conversation), []);
    });
  }

  test('the socket form nudges the reader’s sockets elsewhere just the same', async (t) => {
    const { b, conversation, alice, bob } = await open(t);
    const elsewhere = await connect(t, { server, token: b.token });
    const { id } = await send(alice, conversation);
    await elsewhere.heard('conversation-updated');
    const mark = elsewhere.mark();
    await bob.emitAck('mark-as-read', id);
    await elsewhere.heard('conversation-updated', ({ conversationId }) => conversationId === conversation, { after: mark });
  });

  test('mark-as-read is not a join', async (t) => {
    const { a, b, conversation, alice, bob } = await open(t);
    const other = await createUser(server, 'Other');
    const elsewhere = await openConversation(server, b, other);
    const third = await connect(t, { server, token: other.token });
    await bob.emitAck('join-conversation', elsewhere);
    const stray = await send(alice, conversation);
    await bob.emitAck('mark-as-read', stray.id);
    const after = await send(alice, conversation);
    const marker = await send(third, elsewhere);
    await bob.heard('message-received', ({ id }) => id === marker.id);
    assert.ok(!bob.payloads('message-received').some(({ id }) => [stray.id, after.id].includes(id)), `followed ${a.username} again`);
  });
});
