// The server is killed and restarted under running clients (contract 2, "Durability", "Idempotency"): what was acknowledged is stored, once.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { MATRIX, connect, emitUntilAcked } from '../lib/client.mjs';
import { NO_LIMITS, createPair, history, startServer } from '../lib/server.mjs';

let server;
const pairs = new Map();
before(async () => {
  server = await startServer({ config: { limits: NO_LIMITS } });
  await Promise.all(MATRIX.map(async ({ label }) => pairs.set(label, await createPair(server, label))));
});
after(() => server?.stop());

/** A client of each version and transport mode, and the pair it belongs to. */
const everyKind = (t) => Promise.all(MATRIX.map(async ({ version, mode, label }) => {
  const pair = pairs.get(label);
  return { label, ...pair, client: await connect(t, { server, token: pair.a.token, version, mode }) };
}));

test('kill -9 under load, twice: every client reconnects by itself, every acknowledged message is in the history once', { timeout: 120_000 }, async (t) => {
  const kinds = await everyKind(t);
  const total = 60;
  let acked = 0;
  const milestones = [];
  const reached = (count) => new Promise((resolve) => milestones.push({ count, resolve }));
  const progress = () => { acked += 1; for (const { count, resolve } of milestones) if (acked >= count) resolve(); };

  const senders = kinds.map(async ({ label, client, conversation }) => {
    const ids = [];
    for (let i = 0; i < total; i++) {
      const answer = await emitUntilAcked(client, 'send-message', { conversationId: conversation, message: `${label} ${i}`, tempId: `temp-1700000-${i}` });
      assert.equal(answer.ok, true, JSON.stringify(answer));
      ids.push(answer.message.id);
      progress();
    }
    return ids;
  });
  const kills = (async () => {
    for (const share of [0.25, 0.6]) {
      await reached(share * total * kinds.length);
      await server.restart();
    }
  })();
  const [sent] = await Promise.all([Promise.all(senders), kills]);

  for (const [i, { label, b, conversation, client }] of kinds.entries()) {
    const stored = await history(server, b, conversation);
    assert.deepEqual(stored.map(({ message_text }) => message_text), Array.from({ length: total }, (_, n) => `${label} ${n}`), 'each once, in order');
    assert.deepEqual(stored.map(({ id }) => id), sent[i], 'with the ids that were acknowledged');
    assert.ok(client.entries('disconnect').length >= 1, `${label} was cut off`);
  }
});

test('kill -9 without retries: what was acknowledged or heard is stored, and nothing is stored twice', { timeout: 60_000 }, async (t) => {
  const kinds = await everyKind(t);
  const acked = kinds.map(() => []);
  const enough = Promise.all(kinds.map(({ client, conversation, label }, i) => new Promise((resolve) => {
    for (let n = 0; n < 400; n++) {
      client.emit('send-message', { conversationId: conversation, message: `burst ${label} ${n}` }, (answer) => {
        if (answer.ok) acked[i].push(answer.message.id);
        resolve();
      });
    }
  })));
  await enough;
  await server.kill();
  const heard = kinds.map(({ client }) => client.payloads('message-received').map(({ id }) => id));
  await server.start();
  for (const [i, { b, conversation, label }] of kinds.entries()) {
    const stored = await history(server, b, conversation);
    const ids = new Set(stored.map(({ id }) => id));
    for (const id of [...acked[i], ...heard[i]]) assert.ok(ids.has(id), `${label}: message ${id} was acknowledged or heard, and is gone`);
    const burst = stored.map(({ message_text }) => message_text).filter((text) => text.startsWith('burst '));
    assert.equal(new Set(burst).size, burst.length, `${label}: nothing twice`);
  }
});

test('a tempId is known after a restart: the retry answers with the stored message', async (t) => {
  const { a, conversation } = pairs.get('4.8 websocket');
  const client = await connect(t, { server, token: a.token });
  const payload = { conversationId: conversation, message: 'sent before, asked again after', tempId: 'temp-1700000000009' };
  const first = await emitUntilAcked(client, 'send-message', payload);
  await server.restart();
  const second = await emitUntilAcked(client, 'send-message', payload);
  assert.equal(second.message.id, first.message.id);
});

test('a graceful restart closes the transport, not the namespace, and every client comes back by itself', { timeout: 60_000 }, async (t) => {
  const kinds = await everyKind(t);
  const marks = kinds.map(({ client }) => client.mark());
  await server.restart('SIGTERM');
  await Promise.all(kinds.map(async ({ client, label, conversation }, i) => {
    const reason = await client.heard('disconnect', () => true, { after: marks[i] });
    assert.notEqual(reason, 'io server disconnect', `${label}: a client does not reconnect after that`);
    await client.heard('connect', () => true, { after: marks[i] });
    assert.equal((await emitUntilAcked(client, 'join-conversation', conversation)).ok, true);
  }));
});
