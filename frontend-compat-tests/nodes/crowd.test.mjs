// Two nodes behind a balancer, restarted one after the other or killed under a crowd of clients: nobody misses a message or hears one twice.
// TIDINGS_CLIENTS sets the size of the crowd, 200 otherwise.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startBalancer } from '../lib/balancer.mjs';
import { assertHeardOnce, gather, talk } from '../lib/crowd.mjs';
import { missing, startNodes } from '../lib/nodes.mjs';

const CLIENTS = Number(process.env.TIDINGS_CLIENTS ?? 200);
const DRAIN_MS = 5000;

describe('two nodes', { skip: missing() }, () => {
  let cluster, balancer;
  before(async () => {
    cluster = await startNodes();
    balancer = await startBalancer(cluster.nodes.map(({ port }) => port));
  });
  after(async () => { await balancer?.stop(); await cluster?.stop(); });

  /** A crowd that is spread over both nodes, and talks. */
  async function scene(t) {
    const began = Date.now();
    const crowd = await gather(t, cluster, CLIENTS, () => ({ url: balancer.url, mode: 'websocket' }));
    for (const [, count] of balancer.connections()) assert.ok(count >= crowd.members.length / 3, 'both nodes have their share');
    t.diagnostic(`${crowd.members.length} clients connected in ${Date.now() - began} ms`);
    return { ...crowd, talking: talk(crowd) };
  }
  const report = (t, { members, talking }, began) => {
    const cuts = members.reduce((sum, { client }) => sum + client.entries('disconnect').length, 0);
    t.diagnostic(`${talking.acked()} messages acknowledged, and heard by both followers, ${cuts} connections broken, ${Date.now() - began} ms`);
  };

  test(`${CLIENTS} clients, a rolling restart of both nodes while messages flow: every acknowledged message is heard once by each follower`, { timeout: 300_000 }, async (t) => {
    const crowd = await scene(t);
    const { members, talking } = crowd;
    const began = Date.now();
    await talking.progress(CLIENTS);
    for (const node of cluster.nodes) {
      const asked = Date.now();
      assert.deepEqual(await node.end('SIGTERM', DRAIN_MS), { code: 0, signal: null });
      t.diagnostic(`a node with half of the clients stopped in ${Date.now() - asked} ms`);
      await talking.progress(CLIENTS / 2);
      await node.start();
      await talking.progress(CLIENTS / 2);
    }
    await talking.stop();
    await assertHeardOnce(crowd);
    assert.ok(members.every(({ client }) => client.entries('disconnect').length >= 1), 'each client was sent away at least once');
    report(t, crowd, began);
  });

  test(`${CLIENTS} clients, kill -9 of a node while messages flow: nothing acknowledged is missing, nothing is heard twice`, { timeout: 300_000 }, async (t) => {
    const crowd = await scene(t);
    const { talking } = crowd;
    const began = Date.now();
    const [one] = cluster.nodes;
    await talking.progress(CLIENTS);
    await one.kill();
    await talking.progress(CLIENTS);
    await talking.stop();
    await assertHeardOnce(crowd);
    report(t, crowd, began);
    await one.start();
  });
});
