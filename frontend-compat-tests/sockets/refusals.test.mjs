// What sends, joins and marks are refused (contract 2, "Limits", "Strangers", "Admins"): the code, both failure events, and that nothing is stored.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connect } from '../lib/client.mjs';
import { NO_LIMITS, adminOf, createPair, createUser, history, startServer } from '../lib/server.mjs';

let server, strict, a, b, conversation, stranger;
before(async () => {
  [server, strict] = await Promise.all([startServer({ config: { limits: NO_LIMITS } }), startServer()]);
  [{ a, b, conversation }, stranger] = await Promise.all([createPair(server, 'refusal'), createUser(server, 'Stranger')]);
});
after(() => Promise.all([server?.stop(), strict?.stop()]));

const texts = async () => (await history(server, a, conversation)).map(({ message_text }) => message_text);

describe('refusals', { concurrency: 3 }, () => {
  const cases = {
    'an empty text': [{ message: '' }, ['empty_message']],
    'white space only': [{ message: ' \n\t\u00a0 ' }, ['empty_message']],
    '10 001 characters': [{ message: 'x'.repeat(10_001) }, ['message_too_long']],
    'a NUL': [{ message: 'refused a\0b' }, ['invalid_payload']],
    'a number as text': [{ message: 5 }, ['invalid_payload', 'empty_message']],
    'no text': [{}, ['invalid_payload', 'empty_message']],
    'an object as text': [{ message: { $gt: '' } }, ['invalid_payload', 'empty_message']],
    'an unknown conversation': [{ conversationId: 99_999_999, message: 'refused unknown' }, ['not_found']],
    'a conversation id that is none': [{ conversationId: 'seven', message: 'refused id' }, ['invalid_payload']],
    'a negative conversation id': [{ conversationId: -1, message: 'refused negative' }, ['invalid_payload', 'not_found']],
    'a conversation id with a fraction': [{ conversationId: 1.5, message: 'refused fraction' }, ['invalid_payload']],
    'no conversation id': [{ conversationId: undefined, message: 'refused none' }, ['invalid_payload']],
  };
  for (const [what, [payload, codes]] of Object.entries(cases)) {
    test(`${what} fails with ${codes.join(' or ')}, as ack, message-failed and error, and stores nothing`, async (t) => {
      const client = await connect(t, { server, token: a.token });
      const full = { conversationId: conversation, tempId: `failing-${what}`, ...payload };
      const answer = await client.emitAck('send-message', full);
      assert.equal(answer.ok, false);
      assert.ok(codes.includes(answer.code), answer.code);
      assert.match(answer.error, /^\S+ \S+/);
      const failed = await client.heard('message-failed');
      assert.deepEqual([failed.tempId, failed.error, failed.code], [full.tempId, answer.error, answer.code]);
      if (full.conversationId === conversation) assert.equal(failed.conversationId, conversation);
      const error = await client.heard('error');
      assert.deepEqual([error.message, error.code], [answer.error, answer.code]);
      if (typeof payload.message === 'string') assert.ok(!(await texts()).includes(payload.message));
    });
  }

  for (const payload of [undefined, null, 5, 'text', [], [1, 2]]) {
    test(`send-message with ${JSON.stringify(payload)} for a payload is invalid_payload and leaves the socket alive`, async (t) => {
      const client = await connect(t, { server, token: a.token });
      assert.equal((await client.emitAck('send-message', ...(payload === undefined ? [] : [payload]))).code, 'invalid_payload');
      assert.equal((await client.emitAck('send-message', { conversationId: conversation, message: 'still alive' })).ok, true);
    });
  }

  test('10 000 code points are accepted and come back as sent', async (t) => {
    const client = await connect(t, { server, token: a.token });
    const text = '🌍'.repeat(9_999) + ' ';
    const answer = await client.emitAck('send-message', { conversationId: conversation, message: text });
    assert.equal(answer.ok, true, answer.error);
    assert.ok(answer.message.message_text === text);
  });

  const attempts = (id, messageId) => [
    ['join-conversation', id], ['send-message', { conversationId: id, message: 'an intruder was here' }], ['typing', { conversationId: id }],
    ['stop-typing', { conversationId: id }], ['mark-as-read', { conversationId: id }], ['mark-as-read', { conversationId: id, messageId }],
    ['join-conversation', [id]],
  ];
  for (const [who, token] of [['a stranger', () => stranger.token], ['an admin', () => adminOf(server, stranger)]]) {
    test(`${who} may do nothing in somebody else's conversation, and hears nothing of it`, async (t) => {
      const [intruder, alice, bob] = await Promise.all([token(), a.token, b.token].map((each) => connect(t, { server, token: each })));
      await bob.emitAck('join-conversation', conversation);
      const { message } = await alice.emitAck('send-message', { conversationId: conversation, message: 'private' });
      for (const [name, payload] of attempts(conversation, message.id)) {
        const answer = await intruder.emitAck(name, payload);
        assert.deepEqual([answer.ok, answer.code], [false, 'forbidden'], `${name} ${JSON.stringify(payload)}`);
      }
      assert.equal((await intruder.emitAck('mark-as-read', message.id)).code, 'forbidden');
      for (const [name, payload] of attempts(99_999_999, 1)) {
        assert.equal((await intruder.emitAck(name, payload)).code, 'not_found', `${name} of what does not exist`);
      }
      await alice.emitAck('typing', { conversationId: conversation });
      const { message: last } = await alice.emitAck('send-message', { conversationId: conversation, message: 'private still' });
      await bob.heard('message-received', ({ id }) => id === last.id);
      await intruder.fence();
      assert.deepEqual(intruder.record.map(({ name }) => name).filter((name) => !['connect', 'online-users', 'error', 'message-failed'].includes(name)), []);
      assert.deepEqual(bob.entries('user-typing').filter(({ payload }) => payload.userId === stranger.id), []);
      assert.ok(!(await texts()).includes('an intruder was here'));
    });
  }
});

test('more than 10 messages a second with a burst of 120 are rate_limited with retryAfterMs, and only the acked ones are stored', async (t) => {
  const pair = await createPair(strict, 'hasty');
  const clients = await Promise.all([0, 1].map(() => connect(t, { server: strict, token: pair.a.token })));
  const answers = await Promise.all(Array.from({ length: 200 }, (_, i) =>
    clients[i % 2].emitAck('send-message', { conversationId: pair.conversation, message: `hasty ${i}`, tempId: `hasty-message-${i}` })));
  const refusals = answers.filter(({ ok }) => !ok);
  assert.ok(answers.length - refusals.length >= 120, 'the burst is let through, for all sockets of the user together');
  assert.ok(refusals.length >= 10, `${refusals.length} refused`);
  for (const { code, retryAfterMs, error } of refusals) {
    assert.equal(code, 'rate_limited');
    assert.ok(retryAfterMs > 0 && retryAfterMs <= 10_000, `retryAfterMs ${retryAfterMs}`);
    assert.equal(typeof error, 'string');
  }
  const stored = (await history(strict, pair.b, pair.conversation)).map(({ id }) => id).sort();
  assert.deepEqual(stored, answers.filter(({ ok }) => ok).map(({ message }) => message.id).sort());
  const other = await connect(t, { server: strict, token: pair.b.token });
  assert.equal((await other.emitAck('send-message', { conversationId: pair.conversation, message: 'not hasty' })).ok, true, 'the rate is per user');
});

test('joins and marks over 100 at once are rate_limited, typing over it is dropped, and the socket lives on', async (t) => {
  const pair = await createPair(strict, 'restless');
  const client = await connect(t, { server: strict, token: pair.a.token });
  const answers = await Promise.all(Array.from({ length: 250 }, (_, i) =>
    client.emitAck(...(i % 2 ? ['join-conversation', pair.conversation] : ['mark-as-read', { conversationId: pair.conversation }]))));
  const refusals = answers.filter(({ ok }) => !ok);
  assert.ok(answers.length - refusals.length >= 100, 'the burst is let through');
  assert.ok(refusals.length >= 20, `${refusals.length} refused`);
  for (const { code, retryAfterMs } of refusals) assert.deepEqual([code, retryAfterMs > 0], ['rate_limited', true]);
  for (let i = 0; i < 200; i++) client.emit('typing', { conversationId: pair.conversation });
  assert.equal((await client.emitAck('send-message', { conversationId: pair.conversation, message: 'sends have a rate of their own' })).ok, true);
  assert.equal(client.entries('disconnect').length, 0);
});
