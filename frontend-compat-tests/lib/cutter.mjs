// A TCP proxy that stands for a bad network: it cuts connections, swallows them in silence, and lets them through again.
import { connect, createServer } from 'node:net';
import { freePort } from './server.mjs';

/** Starts a proxy to a port, a local one if nothing else is said: `{url, port, cut(), silence(), resume(), stop(), connections()}`. */
export async function startCutter(target, host = '127.0.0.1') {
  const pairs = new Set();
  let state = 'open';

  const flow = (pair) => { pair[0].pipe(pair[1]); pair[1].pipe(pair[0]); };
  const drop = (pair) => { pairs.delete(pair); for (const socket of pair) socket.destroy(); };
  const listener = createServer((inside) => {
    if (state === 'cut') return inside.resetAndDestroy();
    inside.setNoDelay(true);
    const outside = connect({ port: target, host, noDelay: true });
    const pair = [inside, outside];
    pairs.add(pair);
    for (const socket of pair) {
      socket.on('error', () => drop(pair));
      // In silence neither side learns that the other has gone.
      socket.on('close', () => { if (state !== 'silent') drop(pair); });
    }
    if (state === 'open') flow(pair);
  });
  const port = await freePort();
  await new Promise((done, fail) => listener.once('error', fail).listen(port, '127.0.0.1', done));

  return {
    url: `http://127.0.0.1:${port}`,
    port,
    connections: () => pairs.size,
    /** Destroys all connections, with what is on its way in them, and refuses new ones until `resume`. */
    cut() { state = 'cut'; for (const pair of pairs) drop(pair); },
    /** Keeps the connections but carries nothing; new ones are accepted and hang. */
    silence() {
      state = 'silent';
      for (const pair of pairs) for (const [from, to] of [pair, [pair[1], pair[0]]]) { from.unpipe(to); from.pause(); }
    },
    /** Carries again, also what was held back in silence. */
    resume() {
      state = 'open';
      for (const pair of pairs) if (pair.some((socket) => socket.destroyed)) drop(pair); else flow(pair);
    },
    /** Destroys the connections of this moment and lets the clients come back at once. */
    blink() { this.cut(); this.resume(); },
    async stop() { this.cut(); await new Promise((done) => listener.close(done)); },
  };
}
