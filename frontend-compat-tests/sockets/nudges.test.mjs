// Nudges (contract 2, "Nudges"): `conversation-updated` and `message-read` come at once to the idle, rarely, late to the busy, and are never lost.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '../lib/client.mjs';
import { NO_LIMITS, api, createPair, createUser, openConversation, startServer } from '../lib/server.mjs';

// The defaults of the contract, but for the longest hold, which would make the tests long.
const INTERVAL_MS = 1000;
const QUIET_MS = 1500;
const MAX_HOLD_MS = 4000;
const EARLY_MS = 30; // clocks and timers may differ by this much
const JITTER_MS = 300; // two arrivals may be noted this much closer to each other than they were sent
let server;
before(async () => { server = await startServer({ config: { limits: NO_LIMITS, nudges: { max_hold: `${MAX_HOLD_MS}ms` } } }); });
after(() => server?.stop());

const socketOf = (t, user) => connect(t, { server, token: user.token });
const say = async (client, conversation, message = 'ding') => {
  const answer = await client.emitAck('send-message', { conversationId: conversation, message });
  assert.equal(answer.ok, true, answer.error);
  return answer.message;
};
const about = (conversation) => ({ conversationId }) => conversationId === conversation;
const times = (client, name, conversation) => client.entries(name).filter(({ payload }) => payload.conversationId === conversation).map(({ at }) => at);
/** Emits `typing` every 250 ms until `stop()`, which tells when the last one went out. */
const keepTyping = (client, conversation) => {
  let last;
  const type = () => { last = Date.now(); client.emit('typing', { conversationId: conversation }); };
  type();
  const timer = setInterval(type, 250);
  return { stop() { clearInterval(timer); return last; } };
};

describe('nudges', { concurrency: 6 }, () => {
  test('the first to an idle socket goes at once, the next one an interval later', async (t) => {
    const { a, b, conversation } = await createPair(server);
    const [idle, sender] = [await socketOf(t, a), await socketOf(t, b)];
    const sent = Date.now();
    await say(sender, conversation);
    await idle.heard('conversation-updated');
    assert.ok(idle.entries('conversation-updated')[0].at - sent < INTERVAL_MS, 'at once');
    await say(sender, conversation);
    await idle.heardTimes('conversation-updated', 2);
    const [first, second] = times(idle, 'conversation-updated', conversation);
    assert.ok(second - first >= INTERVAL_MS - JITTER_MS, `${second - first} ms apart`);
  });

  test('a stream of messages gives at most one nudge per second, and one after the last message', async (t) => {
    const { a, b, conversation } = await createPair(server);
    const [idle, sender] = [await socketOf(t, a), await socketOf(t, b)];
    const begun = Date.now();
    let last = begun;
    while (Date.now() - begun < 2.5 * INTERVAL_MS) {
      last = Date.now();
      await say(sender, conversation);
    }
    await idle.heard('conversation-updated', (_, { at }) => at >= last);
    const heard = times(idle, 'conversation-updated', conversation);
    assert.ok(heard.at(-1) - heard[0] >= (heard.length - 1) * INTERVAL_MS - JITTER_MS, `${heard.length} in ${heard.at(-1) - heard[0]} ms`);
    assert.ok(heard.length >= 3, 'the stream does not starve them');
  });

  test('conversations do not wait for each other', async (t) => {
    const [a, b, c] = await Promise.all(['A', 'B', 'C'].map((name) => createUser(server, name)));
    const [ab, ac] = [await openConversation(server, a, b), await openConversation(server, a, c)];
    const [idle, bob, cyd] = [await socketOf(t, a), await socketOf(t, b), await socketOf(t, c)];
    const sent = Date.now();
    await Promise.all([say(bob, ab), say(cyd, ac)]);
    for (const id of [ab, ac]) await idle.heard('conversation-updated', about(id));
    assert.ok(Math.max(...idle.entries('conversation-updated').map(({ at }) => at)) - sent < INTERVAL_MS);
  });

  test('who types has a draft, which no nudge disturbs until it is sent; busy is per socket', async (t) => {
    const { a, b, conversation } = await createPair(server);
    const [busy, idle, sender] = [await socketOf(t, a), await socketOf(t, a), await socketOf(t, b)];
    const typing = keepTyping(busy, conversation);
    await busy.fence();
    const sent = Date.now();
    await say(sender, conversation);
    await idle.heard('conversation-updated');
    assert.ok(idle.entries('conversation-updated')[0].at - sent < INTERVAL_MS, 'the other socket of the user hears at once');
    await busy.heard('message-received');
    typing.stop();
    busy.emit('stop-typing', { conversationId: conversation });
    await sleep(QUIET_MS + INTERVAL_MS); // the silence itself is what is tested
    await busy.fence();
    assert.deepEqual(times(busy, 'conversation-updated', conversation), [], 'a pause ends no draft');
    const last = Date.now();
    await say(busy, conversation, 'what I was writing');
    await busy.heard('conversation-updated', about(conversation));
    const [at] = times(busy, 'conversation-updated', conversation);
    assert.ok(at - last >= QUIET_MS - EARLY_MS, `${at - last} ms after the line`);
  });

  test('who sends is not nudged until 1.5 s after', async (t) => {
    const { a, conversation } = await createPair(server);
    const sender = await socketOf(t, a);
    let last;
    for (let i = 0; i < 4; i++) { last = Date.now(); await say(sender, conversation, `line ${i}`); }
    await sender.heard('conversation-updated');
    const heard = times(sender, 'conversation-updated', conversation);
    assert.equal(heard.length, 1);
    assert.ok(heard[0] - last >= QUIET_MS - EARLY_MS, `${heard[0] - last} ms after the last line`);
  });

  test('who never stops sending is nudged after the longest hold', async (t) => {
    const { a, b, conversation } = await createPair(server);
    const [busy, sender] = [await socketOf(t, a), await socketOf(t, b)];
    await say(sender, conversation);
    await busy.heard('conversation-updated', about(conversation));
    const began = Date.now();
    const lines = setInterval(() => busy.emit('send-message', { conversationId: conversation, message: 'and another' }), 250);
    try {
      await busy.heardTimes('conversation-updated', 2, about(conversation));
      const [, at] = times(busy, 'conversation-updated', conversation);
      assert.ok(at - began >= MAX_HOLD_MS - EARLY_MS && at - began < MAX_HOLD_MS + QUIET_MS, `after ${at - began} ms`);
    } finally {
      clearInterval(lines);
    }
  });

  test('message-read is held back and coalesced with the union of messageIds', async (t) => {
    const { a, b, conversation } = await createPair(server);
    const [writer, reader] = [await socketOf(t, a), await socketOf(t, b)];
    const ids = [];
    for (let i = 0; i < 4; i++) ids.push((await say(writer, conversation)).id);
    const last = Date.now();
    for (const id of ids) await reader.emitAck('mark-as-read', { messageId: id, conversationId: conversation });
    const heard = await writer.heard('message-read');
    assert.ok(writer.entries('message-read')[0].at - last >= QUIET_MS - 200, 'held back while the writer is busy');
    assert.deepEqual([...heard.messageIds].sort((x, y) => x - y), ids);
    assert.equal(heard.messageId, ids.at(-1));
  });

  test('message-read and conversation-updated do not wait for each other', async (t) => {
    const { a, b, conversation } = await createPair(server);
    const [writing, idle, reader] = [await socketOf(t, a), await socketOf(t, a), await socketOf(t, b)];
    await idle.emitAck('join-conversation', conversation);
    const begun = Date.now();
    const { id } = await say(writing, conversation);
    await idle.heard('conversation-updated');
    await reader.emitAck('mark-as-read', id);
    await idle.heard('message-read');
    assert.ok(idle.entries('message-read')[0].at - begun < INTERVAL_MS);
  });

  test('none is lost: of many conversations at once, each is nudged after its last message', async (t) => {
    const [a, ...others] = await Promise.all(Array.from({ length: 7 }, (_, i) => createUser(server, `Many ${i}`)));
    const ids = await Promise.all(others.map((other) => openConversation(server, a, other)));
    const idle = await socketOf(t, a);
    const senders = await Promise.all(others.map((other) => socketOf(t, other)));
    for (let round = 0; round < 3; round++) {
      const mark = idle.mark();
      await Promise.all(senders.map(async (sender, i) => { for (let n = 0; n <= i; n++) await say(sender, ids[i]); }));
      for (const id of ids) await idle.heard('conversation-updated', about(id), { after: mark });
    }
  });

  test('POST /conversations nudges the caller’s sockets after the answer, and for a new one the other user’s', async (t) => {
    const [a, b] = await Promise.all(['A', 'B'].map((name) => createUser(server, name)));
    const [alice, bob] = [await socketOf(t, a), await socketOf(t, b)];
    const id = await openConversation(server, a, b);
    await Promise.all([alice, bob].map((client) => client.heard('conversation-updated', about(id))));
    const mark = alice.mark();
    const { status } = await api(server, a.token, 'POST', '/api/messaging/conversations', { otherUserId: b.id });
    assert.equal(status, 200);
    await alice.heard('conversation-updated', about(id), { after: mark });
    await bob.fence();
    assert.equal(times(bob, 'conversation-updated', id).length, 1, 'an existing one is no news to the other');
  });
});
