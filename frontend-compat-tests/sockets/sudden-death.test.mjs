// Many sudden deaths (contract 2, "Durability", "Recovery"): kill -9 of a server under load, round after round, on each database; and cuts of the
// network at random moments. TIDINGS_TEST_KILLS and TIDINGS_TEST_CUTS say how many; docs/reliability.md has the figures of the large runs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, emitUntilAcked } from '../lib/client.mjs';
import { DATABASES } from '../lib/databases.mjs';
import { startCutter } from '../lib/cutter.mjs';
import { NO_LIMITS, createPair, history, startServer } from '../lib/server.mjs';

const KILLS = Number(process.env.TIDINGS_TEST_KILLS ?? 10);
const CUTS = Number(process.env.TIDINGS_TEST_CUTS ?? 60);
const MODES = ['websocket', 'polling', 'upgrade'];
/** How many messages of a talker are on their way at a time: a kill meets some before, some in and some after their transaction. */
const IN_FLIGHT = 8;
const config = { limits: NO_LIMITS, messages: { history_limit: 0 } };

/** In each transport mode a talker and a listener with recovery; the listener's connections lead through `url`. */
const scenes = (t, server, url) => Promise.all(MODES.map(async (mode) => {
  const pair = await createPair(server, `sudden ${mode}`);
  const talker = await connect(t, { server, token: pair.a.token, mode });
  const listener = await connect(t, { url: await url(mode), token: pair.b.token, mode, auth: { recovery: true } });
  assert.equal((await emitUntilAcked(listener, 'join-conversation', pair.conversation)).ok, true);
  return { ...pair, mode, talker, listener };
}));

/** Sends without a pause, several at a time, each again until it is acknowledged; `stop()` gives what was sent and acknowledged. */
function keepTalking({ talker, conversation, mode }) {
  const acked = new Map();
  let stopped = false;
  let next = 0;
  const say = async (text) => {
    const answer = await emitUntilAcked(talker, 'send-message', { conversationId: conversation, message: text, tempId: `sudden ${mode} ${text}` });
    assert.equal(answer.ok, true, JSON.stringify(answer));
    acked.set(answer.message.id, text);
  };
  const mouths = Array.from({ length: IN_FLIGHT }, async () => { while (!stopped) await say(`line ${next++}`); });
  return {
    acked,
    stop: async () => { stopped = true; await Promise.all(mouths); await say('the end'); return { acked, sent: next + 1 }; },
  };
}

/** Everything sent is stored once, under the id that was acknowledged, and was heard once, in order. */
async function assertHeardExactly(server, { listener, b, conversation, mode }, { acked, sent }) {
  const last = Math.max(...acked.keys());
  await listener.heard('message-received', ({ id }) => id === last, { ms: 30_000 });
  await listener.fence();
  const stored = await history(server, b, conversation);
  assert.deepEqual(new Map(stored.map(({ id, message_text }) => [id, message_text])), new Map([...acked].sort(([a], [c]) => a - c)), `${mode}: what was acknowledged is stored`);
  assert.equal(stored.length, sent, `${mode}: what was sent is stored once`);
  assert.equal(new Set(stored.map(({ message_text }) => message_text)).size, sent, `${mode}: nothing twice`);
  assert.deepEqual(listener.payloads('message-received').map(({ id }) => id), stored.map(({ id }) => id), `${mode}: heard once, in order`);
  return sent;
}

for (const { name, skip, environment } of DATABASES) {
  test(`${KILLS} times kill -9 under load on ${name}: every message is stored once and heard once, and every client comes back by itself`, { skip, timeout: 60_000 + 6_000 * KILLS }, async (t) => {
    const server = await startServer({ config, env: environment(t) });
    t.after(() => server.stop());
    const all = await scenes(t, server, () => server.url);
    const streams = all.map(keepTalking);
    const ready = [];
    for (let round = 0; round < KILLS; round++) {
      const marks = all.map(({ listener }) => listener.mark());
      // From none to some messages after everybody is back.
      await Promise.all(all.map(({ listener }, n) => listener.heardTimes('message-received', 1 + Math.floor(Math.random() * 60), () => true, { after: marks[n], ms: 30_000 })));
      await server.kill();
      const begun = performance.now();
      await server.start();
      ready.push(performance.now() - begun);
    }
    const counts = await Promise.all(all.map(async (scene, n) => assertHeardExactly(server, scene, await streams[n].stop())));
    for (const { listener, talker, mode } of all) {
      const connects = (client) => client.entries('connect').length;
      t.diagnostic(`${name}, ${mode}: the listener connected ${connects(listener)} times, the talker ${connects(talker)} times`);
    }
    ready.sort((a, b) => a - b);
    t.diagnostic(`${name}: ${KILLS} kills, ${counts.reduce((a, b) => a + b)} messages; ready again after ${Math.round(ready[ready.length >> 1])} ms in the median, ${Math.round(ready.at(-1))} ms at most`);
  });
}

test(`${CUTS} cuts at random moments under load: every message is heard once, in order, in every transport mode`, { timeout: 60_000 + 2_000 * CUTS }, async (t) => {
  const server = await startServer({ config });
  t.after(() => server.stop());
  const cutters = new Map();
  const all = await scenes(t, server, async (mode) => {
    const cutter = await startCutter(server.port);
    t.after(() => cutter.stop());
    cutters.set(mode, cutter);
    return cutter.url;
  });
  const streams = all.map(keepTalking);
  let cuts = 0;
  await Promise.all(all.map(async ({ listener, talker, mode }) => {
    const cutter = cutters.get(mode);
    while (cuts < CUTS) {
      cuts += 1;
      // The moment is random: in the handshake, in the replay, or while messages flow.
      const mark = listener.mark();
      const more = Math.floor(Math.random() * 100) - 20;
      if (more > 0) await listener.heardTimes('message-received', more, () => true, { after: mark, ms: 30_000 });
      else for (let n = 0; n < -more / 5; n++) await talker.fence();
      const how = Math.random();
      if (how < 0.6) cutter.silence();
      await talker.fence();
      if (how < 0.3) {
        cutter.cut();
        await talker.fence();
        cutter.resume();
      } else {
        cutter.blink();
      }
    }
  }));
  const counts = await Promise.all(all.map(async (scene, n) => assertHeardExactly(server, scene, await streams[n].stop())));
  t.diagnostic(`${cuts} cuts, ${counts.reduce((a, b) => a + b)} messages; connects: ${all.map(({ listener, mode }) => `${mode} ${listener.entries('connect').length}`).join(', ')}`);
});
