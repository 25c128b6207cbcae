// Recovery when the server restarts, and when a client falls behind (contract 2, "Recovery"): with messages flowing, each is heard exactly
// once, in order. Many cuts and many kills are in sudden-death.test.mjs.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { connect, emitUntilAcked } from '../lib/client.mjs';
import { startCutter } from '../lib/cutter.mjs';
import { NO_LIMITS, createPair, history, startServer } from '../lib/server.mjs';

const messages = { history_limit: 0 };
let server, narrow;
before(async () => {
  [server, narrow] = await Promise.all([
    startServer({ config: { limits: NO_LIMITS, messages } }), startServer({ config: { limits: { ...NO_LIMITS, outbound_queue: 64 }, messages } }),
  ]);
});
after(() => Promise.all([server?.stop(), narrow?.stop()]));

const MODES = ['websocket', 'polling', 'upgrade'];
/** In each transport mode a talker on the server itself and a listener with recovery behind a cutter. */
const scenes = (t, at = server, modes = MODES) => Promise.all(modes.map(async (mode) => {
  const pair = await createPair(at, `storm ${mode}`);
  const cutter = await startCutter(at.port);
  t.after(() => cutter.stop());
  const talker = await connect(t, { server: at, token: pair.a.token });
  const listener = await connect(t, { url: cutter.url, token: pair.b.token, mode, auth: { recovery: true } });
  assert.equal((await listener.emitAck('join-conversation', pair.conversation)).ok, true);
  return { ...pair, mode, cutter, talker, listener };
}));

/** Sends, one after the other with acks, until told to stop; then a last one that ends the stream. */
function keepTalking({ talker, conversation, mode }) {
  let stopped = false;
  const say = (message, i) => emitUntilAcked(talker, 'send-message', { conversationId: conversation, message, tempId: `stream-${mode}-${i}` });
  const done = (async () => {
    let i = 0;
    while (!stopped) assert.equal((await say(`line ${i}`, i++)).ok, true);
    return (await say('the end', i)).message;
  })();
  return { stop: () => { stopped = true; return done; } };
}

async function assertHeardExactly({ listener, b, conversation, mode }, last, at = server) {
  await listener.heard('message-received', ({ id }) => id === last.id, { ms: 20_000 });
  await listener.fence();
  const heard = listener.payloads('message-received').map(({ id }) => id);
  assert.equal(new Set(heard).size, heard.length, `${mode}: none twice`);
  assert.deepEqual(heard, (await history(at, b, conversation)).map(({ id }) => id), `${mode}: all of them, in order`);
}

test('kill -9 and SIGTERM of the server while messages flow: each message is heard exactly once, in order, in every transport mode', { timeout: 90_000 }, async (t) => {
  const all = await scenes(t);
  const streams = all.map(keepTalking);
  for (const signal of ['SIGKILL', 'SIGTERM', 'SIGKILL', 'SIGTERM']) {
    const marks = all.map(({ listener }) => listener.mark());
    await Promise.all(all.map(({ listener }, n) => listener.heardTimes('message-received', 10, () => true, { after: marks[n], ms: 20_000 })));
    await server.restart(signal);
  }
  await Promise.all(all.map(async (scene, n) => assertHeardExactly(scene, await streams[n].stop())));
});

test('a socket that falls behind its outgoing queue is cut off at its transport, and recovers everything', { timeout: 60_000 }, async (t) => {
  const [scene] = await scenes(t, narrow, ['websocket']);
  const { talker, listener, cutter, conversation } = scene;
  cutter.silence();
  let last;
  // 24 MB: more than the buffers of the system between the server and the listener take.
  for (let i = 0; i < 600; i++) {
    const answer = await talker.emitAck('send-message', { conversationId: conversation, message: `${i} ${'🌍'.repeat(9_990)}` });
    assert.equal(answer.ok, true, answer.error);
    last = answer.message;
  }
  cutter.resume();
  await assertHeardExactly(scene, last, narrow);
  const reasons = listener.payloads('disconnect');
  assert.ok(reasons.length > 0 && !reasons.includes('io server disconnect'), `disconnects: ${reasons}`);
});
