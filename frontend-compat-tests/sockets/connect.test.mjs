// Who may connect (contract 1, 1.2, "Around it"): every client version in every transport mode, accepted and refused.
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { MATRIX, connect, emitAck, open, refused } from '../lib/client.mjs';
import { NO_LIMITS, api, createPair, signToken, startServer } from '../lib/server.mjs';

let server, closed, a, b, conversation;
before(async () => {
  [server, closed] = await Promise.all([
    startServer({ config: { limits: NO_LIMITS } }), startServer({ config: { guests: 'deny' } }),
  ]);
  ({ a, b, conversation } = await createPair(server, 'connect'));
});
after(() => Promise.all([server?.stop(), closed?.stop()]));

const BAD_TOKENS = {
  'an expired token': () => signToken({ id: a.id, role: 'traveller' }, { expiresIn: -61 }),
  'a forged token': () => signToken({ id: a.id, role: 'traveller' }, { secret: 'somebody else’s secret, long enough 01234' }),
  'alg none': () => signToken({ id: a.id, role: 'traveller' }, { alg: 'none' }),
  'another algorithm': () => signToken({ id: a.id, role: 'traveller' }, { alg: 'HS512' }),
  'a token without exp': () => signToken({ id: a.id, role: 'traveller' }, { expiresIn: null }),
  'a token without an id': () => signToken({ role: 'traveller' }),
  'an unknown user': () => signToken({ id: 987_654_321, role: 'traveller' }),
  'nonsense': () => 'not.a.token',
  'a number': () => 5,
  'true': () => true,
  'an object': () => ({ id: a.id }),
  'an array': () => [a.token],
};

describe('every client version and transport', { concurrency: 4 }, () => {
  for (const { version, mode, label } of MATRIX) {
    const kind = { version, mode };
    /** A socket is a user if it may join the user's conversation. */
    const isUser = async (client) => assert.equal((await client.emitAck('join-conversation', conversation)).ok, true);

    test(`${label}: a valid token connects as that user`, async (t) => {
      const client = await connect(t, { server, token: a.token, ...kind });
      assert.ok(Array.isArray(await client.heard('online-users')), 'the list of online contacts');
      await isUser(client);
      assert.equal(client.entries('connect').length, 1);
    });

    test(`${label}: an Authorization header does the same as auth.token`, async (t) => {
      await isUser(await connect(t, { server, extraHeaders: { Authorization: `Bearer ${a.token}` }, ...kind }));
    });

    test(`${label}: a bad token is refused with connect_error and a sentence`, async (t) => {
      for (const [what, token] of Object.entries(BAD_TOKENS)) {
        const error = await refused(t, { server, token: token(), ...kind });
        assert.match(error.message, /^\S+ \S+/, `${what}: a sentence that says why`);
        assert.doesNotMatch(error.message, /xhr poll|websocket error|timeout/, `${what}: refused by the server, not by the transport (${error.description?.message ?? error.description})`);
      }
    });

    test(`${label}: no token, null and "" connect as a guest`, async (t) => {
      for (const auth of [undefined, { token: null }, { token: '' }]) {
        const guest = await connect(t, { server, auth, ...kind });
        const answer = await guest.emitAck('join-conversation', conversation);
        assert.deepEqual([answer.ok, answer.code], [false, 'unauthorized']);
      }
    });

    test(`${label}: guests = "deny" refuses who has no token`, async (t) => {
      for (const auth of [undefined, { token: null }]) {
        assert.match((await refused(t, { server: closed, auth, ...kind })).message, /^\S+ \S+/);
      }
    });
  }
});

describe('connecting', { concurrency: 4 }, () => {
  for (const version of ['4.8', '4.5', '4.0']) {
    test(`${version}: polling is upgraded to a websocket, and nothing is lost or doubled on the way`, async (t) => {
      const [sender, upgrader] = await Promise.all([
        connect(t, { server, token: a.token }), connect(t, { server, token: b.token, version, mode: 'upgrade' }),
      ]);
      await upgrader.emitAck('join-conversation', conversation);
      const ids = [];
      for (let i = 0; i < 8; i++) ids.push((await sender.emitAck('send-message', { conversationId: conversation, message: `${version} ${i}` })).message?.id);
      const engine = upgrader.socket.io.engine;
      if (engine.transport.name !== 'websocket') await new Promise((done) => engine.once('upgrade', done));
      assert.equal(engine.transport.name, 'websocket');
      await upgrader.heard('message-received', (message) => message.id === ids.at(-1));
      assert.deepEqual(upgrader.payloads('message-received').map(({ id }) => id).filter((id) => ids.includes(id)), ids);
    });
  }

  test('the claims userId and sub name the user as id does', async (t) => {
    for (const claims of [{ userId: a.id }, { sub: String(a.id) }, { id: String(a.id) }]) {
      const client = await connect(t, { server, token: signToken({ ...claims, role: 'traveller' }) });
      assert.equal((await client.emitAck('join-conversation', conversation)).ok, true, JSON.stringify(claims));
    }
  });

  test('a live socket whose token expires hears error token_expired and is disconnected', async (t) => {
    const client = await connect(t, { server, token: signToken({ id: a.id, role: 'traveller' }, { expiresIn: 2 }) });
    const error = await client.heard('error');
    assert.equal(error.code, 'token_expired');
    assert.equal(typeof error.message, 'string');
    assert.equal(await client.heard('disconnect'), 'io server disconnect');
    assert.ok(client.entries('error')[0].index < client.entries('disconnect')[0].index);
  });

  test('an unknown event is ignored, and acked with invalid_payload if it asked', async (t) => {
    const client = await connect(t, { server, token: a.token });
    client.emit('no-such-event', { any: 'thing' });
    const answer = await client.emitAck('no-such-event', 1, 'two', null);
    assert.deepEqual([answer.ok, answer.code, typeof answer.error], [false, 'invalid_payload', 'string']);
    assert.equal(client.socket.connected, true);
  });

  test('a namespace other than / is refused', async (t) => {
    const error = await refused(t, { server, url: `${server.url}/elsewhere`, token: a.token });
    assert.ok(error.message);
  });

  test('the open packet announces maxPayload, pingInterval and pingTimeout as the original did', async () => {
    const { body, status } = await api(server, null, 'GET', '/socket.io/?EIO=4&transport=polling');
    assert.equal(status, 200);
    const announced = JSON.parse(body.slice(body.indexOf('{')));
    assert.deepEqual(
      [announced.maxPayload, announced.pingInterval, announced.pingTimeout, announced.upgrades], [1_000_000, 25_000, 20_000, ['websocket']],
    );
  });

  test('a websocket upgrade of a foreign Origin is refused with 403; a configured one, the own one and none pass', async () => {
    const upgrade = (origin) => new Promise((done, fail) => {
      const key = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==' };
      const out = request(`${server.url}/socket.io/?EIO=4&transport=websocket`, { headers: { ...key, ...(origin ? { Origin: origin } : {}) } });
      out.on('upgrade', (answer, socket) => { socket.destroy(); done(answer.statusCode); });
      out.on('response', (answer) => { answer.resume(); done(answer.statusCode); });
      out.on('error', fail).end();
    });
    assert.equal(await upgrade('http://evil.example'), 403);
    assert.equal(await upgrade('http://localhost:5173.evil.example'), 403);
    assert.equal(await upgrade('https://localhost:5173'), 403, 'the scheme counts');
    assert.equal(await upgrade('http://localhost:5174'), 101);
    assert.equal(await upgrade(server.url), 101);
    assert.equal(await upgrade(undefined), 101);
  });

  test('polling of a foreign Origin gets no CORS headers, of a configured one with credentials', async () => {
    const poll = async (origin) => (await api(server, null, 'GET', '/socket.io/?EIO=4&transport=polling', undefined, { origin })).headers;
    assert.equal((await poll('http://evil.example')).get('access-control-allow-origin'), null);
    const mine = await poll('http://localhost:5173');
    assert.equal(mine.get('access-control-allow-origin'), 'http://localhost:5173');
    assert.equal(mine.get('access-control-allow-credentials'), 'true');
    assert.match(mine.get('vary') ?? '', /origin/i);
  });

  test('whatever else stands in auth, a good token connects as its user and a bad one is refused', async (t) => {
    const odd = [{ recovery: 'yes' }, { recovery: null, pid: null, offset: null }, { pid: 5 }, { pid: {}, offset: 7 }, { userId: b.id, role: 'admin' }];
    for (const more of odd) {
      const client = await connect(t, { server, token: a.token, auth: more });
      assert.equal((await client.emitAck('join-conversation', conversation)).ok, true, JSON.stringify(more));
      assert.ok((await refused(t, { server, token: 'not.a.token', auth: more })).message);
    }
  });

  test('what the payloads claim about the sender is ignored', async (t) => {
    const client = await connect(t, { server, token: a.token });
    const { message } = await emitAck(client.socket, 'send-message', { conversationId: conversation, senderId: b.id, message: 'mine', isAdmin: true });
    assert.equal(message.sender_id, a.id);
  });

  test('several users on one address do not disturb each other', async (t) => {
    const clients = [a, b, a, b].map((user) => open(t, { server, token: user.token }));
    await Promise.all(clients.map((client) => client.heard('connect')));
    for (const client of clients) assert.equal((await client.emitAck('join-conversation', conversation)).ok, true);
  });
});
