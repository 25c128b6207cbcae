// A TCP balancer before several nodes: each connection goes to the next node that accepts it.
import { connect, createServer } from 'node:net';
import { freePort } from './server.mjs';

/** Starts a balancer over local ports: `{url, stop(), connections()}`, where the last counts the open connections by port. */
export async function startBalancer(targets) {
  const open = new Map(targets.map((target) => [target, 0]));
  const insides = new Set();
  let turn = 0;

  const listener = createServer({ pauseOnConnect: true, noDelay: true }, (inside) => {
    insides.add(inside);
    inside.on('error', () => {});
    inside.on('close', () => insides.delete(inside));
    const first = turn++;
    const attempt = (n) => {
      if (n === targets.length) return inside.resetAndDestroy();
      const target = targets[(first + n) % targets.length];
      const outside = connect({ port: target, host: '127.0.0.1', noDelay: true });
      const refused = () => attempt(n + 1);
      outside.once('error', refused);
      outside.once('connect', () => {
        outside.off('error', refused);
        outside.on('error', () => {});
        open.set(target, open.get(target) + 1);
        inside.on('close', () => outside.destroy());
        outside.on('close', () => { open.set(target, open.get(target) - 1); inside.destroy(); });
        if (inside.destroyed) return outside.destroy();
        inside.pipe(outside);
        outside.pipe(inside);
      });
    };
    attempt(0);
  });
  const port = await freePort();
  await new Promise((done, fail) => listener.once('error', fail).listen(port, '127.0.0.1', done));

  return {
    url: `http://127.0.0.1:${port}`,
    connections: () => new Map(open),
    async stop() {
      for (const inside of insides) inside.destroy();
      await new Promise((done) => listener.close(done));
    },
  };
}
