// Two nodes behind HAProxy and behind nginx, as docs/several-nodes.md says: every transport works, addresses are known, restarts are not noticed.
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { MATRIX, connect } from '../lib/client.mjs';
import { assertHeardOnce, gather, talk } from '../lib/crowd.mjs';
import { createPairs, missing, startNodes } from '../lib/nodes.mjs';
import { startProxy } from '../lib/proxy.mjs';
import { api } from '../lib/server.mjs';

const LOGINS = 3;
const CROWD = 24;
const MODES = ['websocket', 'polling', 'upgrade'];

/** The status of a wrong login from an address of this machine, which may claim to have come from elsewhere. */
const login = (url, localAddress, claimed) => new Promise((done, fail) => {
  const headers = { 'content-type': 'application/json', ...(claimed && { 'x-forwarded-for': claimed }) };
  request(`${url}/api/auth/traveller/login`, { method: 'POST', localAddress, headers, agent: false }, (answer) => {
    answer.resume().on('end', () => done(answer.statusCode));
  }).on('error', fail).end('{"email":"nobody@example.com","password":"wrong"}');
});

for (const kind of ['haproxy', 'nginx']) {
  describe(`two nodes behind ${kind}`, { skip: missing(kind) }, () => {
    let cluster, proxy;
    before(async () => {
      cluster = await startNodes({ cuttable: kind === 'haproxy', config: { limits: { logins: LOGINS } } });
      proxy = await startProxy(kind, cluster.nodes);
    });
    after(async () => { await proxy?.stop(); await cluster?.stop(); });

    test('every client version talks in every transport mode, also when it keeps cookies', { timeout: 60_000 }, async (t) => {
      const cases = [...MATRIX, ...MODES.map((mode) => ({ version: '4.8', mode, label: `4.8 ${mode} with cookies`, withCredentials: true }))];
      const pairs = await createPairs(cluster, cases.length);
      await Promise.all(cases.map(async ({ version, mode, label, withCredentials }, i) => {
        const { a, b, conversation } = pairs[i];
        const options = { url: proxy.url, version, mode, ...(withCredentials && { withCredentials }) };
        const both = await Promise.all([a, b].map(({ token }) => connect(t, { ...options, token })));
        for (const client of both) assert.equal((await client.emitAck('join-conversation', conversation)).ok, true, label);
        for (const [n, client] of both.entries()) {
          const { engine } = client.socket.io;
          if (mode === 'upgrade' && engine.transport.name !== 'websocket') await new Promise((done) => engine.once('upgrade', done));
          assert.equal(engine.transport.name, mode === 'polling' ? 'polling' : 'websocket', label);
          assert.equal((await client.emitAck('send-message', { conversationId: conversation, message: `${n}` })).ok, true, label);
          await both[1 - n].heard('message-received', ({ message_text }) => message_text === `${n}`);
        }
        for (const client of both) assert.equal(client.entries('disconnect').length, 0, label);
      }));
    });

    test('the nodes know the address of a client, whatever it claims', async () => {
      // Each node counts for itself.
      const attempts = async (count, ...from) => {
        const statuses = [];
        for (let i = 0; i < count; i++) statuses.push(await login(proxy.url, ...from));
        return statuses;
      };
      const [last] = (await attempts(2 * LOGINS + 2, '127.0.0.2')).slice(-1);
      assert.equal(last, 429);
      assert.deepEqual(await attempts(2, '127.0.0.2', '127.0.0.9'), [429, 429], 'another address is only claimed');
      assert.deepEqual(await attempts(2, '127.0.0.3'), [401, 401], 'another address is another client');
    });

    test('a rolling restart of both nodes while messages flow is not noticed, in any transport mode', { timeout: 90_000 }, async (t) => {
      const crowd = await gather(t, cluster, CROWD, (i) => ({ url: proxy.url, mode: MODES[i % 3] }));
      const talking = talk(crowd);
      await talking.progress(CROWD);
      for (const node of cluster.nodes) {
        assert.deepEqual(await node.end(), { code: 0, signal: null });
        await talking.progress(2 * CROWD);
        await node.start();
        await talking.progress(2 * CROWD);
      }
      await talking.stop();
      await assertHeardOnce(crowd);
    });

    // nginx does not ask whether nodes are ready.
    const skip = kind === 'nginx';
    test('while the database is away a browser is answered by a node, and not by the proxy', { timeout: 60_000, skip }, async () => {
      const [{ a }] = await createPairs(cluster, 1);
      const inbox = () => api(proxy, a.token, 'GET', '/api/messaging/conversations', undefined, { Origin: 'http://localhost:5173' });
      const until = async (status) => { for (;;) { const answer = await inbox(); if (answer.status === status) return answer; } };
      assert.deepEqual((await inbox()).body.length, 1);
      cluster.database.cut();
      // Longer than the proxy takes to notice that no node is ready.
      const end = Date.now() + 3000;
      let answer = await until(503);
      while (Date.now() < end) answer = await inbox();
      cluster.database.resume();
      assert.deepEqual([answer.status, answer.body, answer.headers.get('x-error-code')], [503, [], 'unavailable']);
      await until(200);
    });
  });
}
