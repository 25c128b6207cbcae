// A crowd of published clients in pairs, each pair in a conversation of its own, that goes on talking while nodes come and go.
import assert from 'node:assert/strict';
import { connect, emitUntilAcked } from './client.mjs';
import { createPairs } from './nodes.mjs';

const AT_ONCE = 50;
// The whole crowd sends about so many messages a second: more than a debug build on two processors stores only makes queues.
const PER_SECOND = Number(process.env.TIDINGS_RATE ?? 150);
const CATCH_UP_MS = 60_000;

/** Connects `size` clients with connection state recovery, which follow their conversations; `options(i)` of each go to the client. */
export async function gather(t, cluster, size, options) {
  const pairs = await createPairs(cluster, Math.ceil(size / 2));
  const members = pairs.flatMap(({ a, b, conversation }) => [{ user: a, conversation }, { user: b, conversation }]);
  // As published: a client waits for a second or so before it comes back.
  const delays = { reconnectionDelay: 1000, reconnectionDelayMax: 5000, timeout: 20_000 };
  for (let i = 0; i < members.length; i += AT_ONCE) {
    await Promise.all(members.slice(i, i + AT_ONCE).map(async (member, n) => {
      member.client = await connect(t, { token: member.user.token, auth: { recovery: true }, ...delays, ...options(i + n) });
      assert.equal((await member.client.emitAck('join-conversation', member.conversation)).ok, true);
    }));
  }
  return { members, cluster };
}

/** Every member sends, waits for the ack, thinks for a while, and so on; what a broken connection left unanswered is sent again. */
export function talk({ members }) {
  let stopped = false;
  let acked = 0;
  const waiting = new Set();
  const count = () => { acked += 1; for (const look of waiting) look(); };
  const think = () => new Promise((done) => setTimeout(done, (0.5 + Math.random()) * members.length / PER_SECOND * 1000));
  const speak = async (member, n) => {
    member.acked = [];
    await think();
    for (let i = 0; !stopped; i++) {
      const payload = { conversationId: member.conversation, message: `${n} says ${i}`, tempId: `message-of-${member.user.id}-${i}` };
      const answer = await emitUntilAcked(member.client, 'send-message', payload);
      assert.equal(answer.ok, true, JSON.stringify(answer));
      member.acked.push(answer.message.id);
      count();
      await think();
    }
  };
  const done = Promise.all(members.map(speak));
  done.catch(() => {});
  return {
    acked: () => acked,
    /** Resolves when `more` further messages have been acknowledged. */
    progress: (more) => Promise.race([done, new Promise((reached) => {
      const goal = acked + more;
      const look = () => { if (acked >= goal) { waiting.delete(look); reached(); } };
      waiting.add(look);
      look();
    })]),
    stop: () => { stopped = true; return done; },
  };
}

/** What was acknowledged is stored once, and every member heard all of its conversation once, in the order of ids. */
export async function assertHeardOnce({ members, cluster }) {
  const conversations = new Map(members.map(({ conversation }) => [conversation, { stored: [], acked: [] }]));
  const rows = await cluster.sql(`SELECT conversation_id, id FROM messages WHERE conversation_id >= ${Math.min(...conversations.keys())} ORDER BY id`);
  for (const [conversation, id] of rows) conversations.get(Number(conversation))?.stored.push(Number(id));
  for (const { conversation, acked } of members) conversations.get(conversation).acked.push(...acked);
  for (const [conversation, { stored, acked }] of conversations) {
    assert.deepEqual(acked.toSorted((a, b) => a - b), stored, `conversation ${conversation}: stored is what was acknowledged, once`);
  }
  await Promise.all(members.map(async ({ user, client, conversation }) => {
    const { stored } = conversations.get(conversation);
    const last = stored.at(-1);
    if (last !== undefined) await client.heard('message-received', ({ id }) => id >= last, { ms: CATCH_UP_MS });
    // A round trip, also when this client is just about to be sent elsewhere.
    await emitUntilAcked(client, 'tests-fence');
    const heard = client.payloads('message-received');
    const repeats = [];
    const ids = [];
    for (const { id, senderId } of heard) {
      // A sender that had to repeat a message is answered with it (contract 2, "Idempotency"), and may have heard it before.
      if (senderId === user.id && ids.includes(id)) repeats.push(id);
      else ids.push(id);
    }
    assert.deepEqual(ids, stored, `user ${user.id} heard all of conversation ${conversation}, once and in order`);
    assert.ok(repeats.length <= client.entries('disconnect').length, `user ${user.id} is answered again only after a cut: ${repeats}`);
  }));
}
