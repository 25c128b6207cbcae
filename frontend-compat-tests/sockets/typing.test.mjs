// Typing and its end (contract 2): all payload forms, who hears it, and that nobody is left typing for ever.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { MATRIX, connect } from '../lib/client.mjs';
import { NO_LIMITS, createPair, createUser, openConversation, startServer } from '../lib/server.mjs';

let server, hasty;
const pairs = new Map();
before(async () => {
  [server, hasty] = await Promise.all([
    startServer({ config: { limits: NO_LIMITS } }), startServer({ config: { limits: NO_LIMITS, presence: { typing_timeout: '700ms' } } }),
  ]);
  await Promise.all(MATRIX.map(async ({ label }) => pairs.set(label, await createPair(server, label))));
});
after(() => Promise.all([server?.stop(), hasty?.stop()]));

describe('every client version and transport', { concurrency: 3 }, () => {
  for (const { version, mode, label } of MATRIX) {
    test(`${label}: typing and stop-typing reach the other in every payload form, with the events of all generations`, async (t) => {
      const { a, b, conversation } = pairs.get(label);
      const [alice, bob] = await Promise.all([a, b].map((user) => connect(t, { server, token: user.token, version, mode })));
      await Promise.all([alice, bob].map((client) => client.emitAck('join-conversation', conversation)));
      const starts = [
        { conversationId: conversation }, { conversationId: String(conversation) }, { conversationId: conversation, userId: a.id },
        { conversationId: conversation, isTyping: true }, { conversationId: conversation, userId: b.id, isTyping: true },
      ];
      const stops = [
        ['stop-typing', { conversationId: conversation }], ['stop-typing', { conversationId: String(conversation), userId: a.id }],
        ['typing', { conversationId: conversation, isTyping: false }], ['typing', { conversationId: conversation, userId: b.id, isTyping: false }],
      ];
      for (let i = 0; i < starts.length; i++) {
        const expected = { userId: a.id, conversationId: conversation };
        let mark = bob.mark();
        alice.emit('typing', starts[i]);
        assert.deepEqual(await bob.heard('user-typing', () => true, { after: mark }), expected, JSON.stringify(starts[i]));
        assert.deepEqual(await bob.heard('typing', () => true, { after: mark }), { ...expected, senderName: a.username, isTyping: true });
        mark = bob.mark();
        const [name, payload] = stops[i % stops.length];
        alice.emit(name, payload);
        assert.deepEqual(await bob.heard('user-stopped-typing', () => true, { after: mark }), expected, `${name} ${JSON.stringify(payload)}`);
        assert.deepEqual(await bob.heard('typing', () => true, { after: mark }), { ...expected, senderName: a.username, isTyping: false });
      }
      await alice.fence();
      const own = alice.record.filter(({ name, payload }) => /typing/.test(name) && payload.userId === a.id);
      assert.deepEqual(own, [], 'the typist does not hear it');
    });
  }
});

describe('typing', { concurrency: 3 }, () => {
  /** Three users, the conversations of the first with the two others, and a socket of each. */
  const trio = async (t, at = server) => {
    const [a, b, c] = await Promise.all(['Ann', 'Ben', 'Cat'].map((name) => createUser(at, name)));
    const [ab, ac] = await Promise.all([openConversation(at, a, b), openConversation(at, a, c)]);
    const [ann, ben, cat] = await Promise.all([a, b, c].map((user) => connect(t, { server: at, token: user.token })));
    return { a, b, c, ab, ac, ann, ben, cat };
  };
  const by = (user, conversation) => (heard) => heard.userId === user.id && heard.conversationId === conversation;

  test('acks say {ok: true}', async (t) => {
    const { ab, ann } = await trio(t);
    for (const name of ['join-conversation', 'typing', 'stop-typing', 'leave-conversation']) {
      assert.equal((await ann.emitAck(name, { conversationId: ab })).ok, true, name);
    }
  });

  test('a join tells whether the other one is typing there', async (t) => {
    const { a, b, ab, ac, ann, ben } = await trio(t);
    await ben.emitAck('typing', { conversationId: ab });
    await ann.emitAck('join-conversation', ac);
    await ann.heard('user-stopped-typing', ({ conversationId }) => conversationId === ac);
    await ann.emitAck('join-conversation', ab);
    assert.deepEqual(await ann.heard('user-typing', by(b, ab)), { userId: b.id, conversationId: ab });
    await ben.emitAck('stop-typing', { conversationId: ab });
    const mark = ann.mark();
    await ann.emitAck('leave-conversation', ab);
    await ann.emitAck('join-conversation', ab);
    await ann.heard('user-stopped-typing', by(b, ab), { after: mark });
    await ann.fence();
    assert.deepEqual(ann.entries('user-typing', mark), []);
    assert.deepEqual(ann.record.filter(({ name, payload }) => /typing/.test(name) && payload.userId === a.id), []);
  });

  test('an implicit join tells the typing state too', async (t) => {
    const { b, ab, ann, ben } = await trio(t);
    await ben.emitAck('typing', { conversationId: ab });
    await ann.emitAck('send-message', { conversationId: ab, message: 'hello' });
    await ann.heard('user-typing', by(b, ab));
  });

  test('stop-typing is relayed to the room it names, and is not a join', async (t) => {
    const { a, ab, ac, ann, ben, cat } = await trio(t);
    await Promise.all([ann.emitAck('typing', { conversationId: ab }), ben.emitAck('join-conversation', ab), cat.emitAck('join-conversation', ac)]);
    await ann.emitAck('join-conversation', ac);
    const mark = ben.mark();
    assert.equal((await ann.emitAck('stop-typing', { conversationId: ab })).ok, true);
    await ben.heard('user-stopped-typing', by(a, ab), { after: mark });
    const { message: stray } = await ben.emitAck('send-message', { conversationId: ab, message: 'not for who left' });
    const { message: marker } = await cat.emitAck('send-message', { conversationId: ac, message: 'for who is here' });
    await ann.heard('message-received', ({ id }) => id === marker.id);
    assert.ok(!ann.payloads('message-received').some(({ id }) => id === stray.id));
  });

  test('only followers of the room hear it', async (t) => {
    const { a, ab, ac, ann, ben, cat } = await trio(t);
    await ben.emitAck('join-conversation', ab);
    await ann.emitAck('typing', { conversationId: ab });
    await ben.heard('user-typing', by(a, ab));
    await cat.emitAck('join-conversation', ac);
    await ann.emitAck('typing', { conversationId: ac });
    await cat.heard('user-typing', by(a, ac));
    assert.deepEqual(cat.record.filter(({ payload }) => payload?.conversationId === ab), []);
  });

  for (const [how, leave] of [['closes its socket', (client) => client.close()], ['loses its connection', (client) => client.socket.io.engine.close()]]) {
    test(`a typist who ${how} is taken to have stopped`, async (t) => {
      const { a, ab, ann, ben } = await trio(t);
      await ben.emitAck('join-conversation', ab);
      await ann.emitAck('typing', { conversationId: ab });
      await ben.heard('user-typing', by(a, ab));
      const mark = ben.mark();
      leave(ann);
      await ben.heard('user-stopped-typing', by(a, ab), { after: mark });
      assert.equal((await ben.heard('typing', by(a, ab), { after: mark })).isTyping, false);
    });
  }

  test('a typist who says nothing for the typing timeout is taken to have stopped, not earlier', async (t) => {
    const { a, ab, ann, ben } = await trio(t, hasty);
    await ben.emitAck('join-conversation', ab);
    let mark = ben.mark();
    let last;
    for (let i = 0; i < 3; i++) {
      last = Date.now();
      await ann.emitAck('typing', { conversationId: ab });
    }
    await ben.heard('user-typing', by(a, ab), { after: mark });
    mark = ben.mark();
    await ben.heard('user-stopped-typing', by(a, ab), { after: mark });
    assert.ok(ben.entries('user-stopped-typing', mark)[0].at - last >= 690, 'the timeout counts from the last sign');
    assert.equal((await ben.heard('typing', ({ isTyping }) => !isTyping, { after: mark })).userId, a.id);
  });

  for (const payload of [undefined, null, {}, 'x', { conversationId: {} }, { conversationId: 'seven' }]) {
    test(`typing with ${JSON.stringify(payload)} is invalid_payload`, async (t) => {
      const client = await connect(t, { server, token: pairs.get('4.8 websocket').a.token });
      for (const name of ['typing', 'stop-typing', 'join-conversation', 'leave-conversation', 'mark-as-read']) {
        const answer = await client.emitAck(name, ...(payload === undefined ? [] : [payload]));
        assert.deepEqual([answer.ok, answer.code], [false, 'invalid_payload'], name);
      }
    });
  }
});
