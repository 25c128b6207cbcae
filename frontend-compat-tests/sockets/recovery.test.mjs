// Connection state recovery (contract 2, "Recovery"): a client that was cut off gets what it missed, in order and once each, and nobody else does.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connect, refused } from '../lib/client.mjs';
import { startCutter } from '../lib/cutter.mjs';
import { NO_LIMITS, adminOf, api, createPair, createUser, openConversation, signToken, startServer } from '../lib/server.mjs';

const ORIGIN = { Origin: 'http://localhost:5173' };
let server;
before(async () => {
  server = await startServer({ config: { limits: NO_LIMITS, presence: { grace: '100ms' } } });
});
after(() => server?.stop());

const cutterOf = async (t) => {
  const cutter = await startCutter(server.port);
  t.after(() => cutter.stop());
  return cutter;
};
const follow = async (client, conversation, event = 'join-conversation') => {
  assert.equal((await client.emitAck(event, conversation)).ok, true);
  assert.equal(typeof client.socket._pid, 'string', 'the pid came in the CONNECT packet');
};
let serial = 0;
const say = async (client, conversation, message = `text ${++serial}`) => {
  const answer = await client.emitAck('send-message', { conversationId: conversation, message });
  assert.equal(answer.ok, true, answer.error);
  return answer.message;
};
const many = async (count, make) => { const made = []; for (let i = 0; i < count; i++) made.push(await make()); return made; };
const idsOf = (messages) => messages.map(({ id }) => id);
const received = (client, mark = 0) => idsOf(client.payloads('message-received', mark));
const hears = (client, message) => client.heard('message-received', ({ id }) => id === message.id);
/** Cuts, lets `meanwhile` happen, and lets the client come back by itself. */
const cutDuring = async (cutter, client, meanwhile) => {
  const [mark, pid] = [client.mark(), client.socket._pid];
  cutter.cut();
  await client.heard('disconnect', () => true, { after: mark });
  const result = await meanwhile();
  cutter.resume();
  await client.heard('connect', () => true, { after: mark });
  if (pid) assert.equal(client.socket.recovered, true, 'the client knows that it was given back what it followed');
  return result;
};
/** A talker on the server itself, and a listener with recovery behind a cutter that follows the conversation. */
const scene = async (t, { extraHeaders, auth = extraHeaders ? undefined : { recovery: true }, ...more } = {}) => {
  const pair = await createPair(server, 'recovery');
  const cutter = await cutterOf(t);
  const talker = await connect(t, { server, token: pair.a.token });
  const listener = await connect(t, { server, url: cutter.url, token: pair.b.token, auth, extraHeaders, ...more });
  await follow(listener, pair.conversation);
  return { ...pair, cutter, talker, listener };
};

describe('recovery', { concurrency: 3 }, () => {
  for (const mode of ['websocket', 'polling', 'upgrade']) {
    for (const [who, options] of [['asks with auth.recovery', {}], ['has an Origin', { extraHeaders: ORIGIN }]]) {
      test(`${mode}: a client that ${who} hears what was stored during a cut, once each, in order, without joining again`, async (t) => {
        const { cutter, conversation, talker, listener } = await scene(t, { mode, ...options });
        const before = await many(3, () => say(talker, conversation));
        await hears(listener, before.at(-1));
        const missed = await cutDuring(cutter, listener, () => many(20, () => say(talker, conversation)));
        const mark = listener.entries('disconnect')[0].index;
        await listener.heard('online-users', () => true, { after: mark });
        await listener.heard('conversation-updated', () => true, { after: mark });
        await listener.fence();
        assert.equal(listener.entries('conversation-updated', mark).length, 1, 'missed nudges collapse to one');
        const later = await many(2, () => say(talker, conversation));
        await hears(listener, later.at(-1));
        await listener.fence();
        assert.deepEqual(received(listener), idsOf([...before, ...missed, ...later]));
        assert.ok(listener.entries('message-received').every(({ args }) => args.length === 2 && typeof args[1] === 'string'), 'the offset');
      });
    }
  }

  test('without an offset the client has heard none: it gets what was stored since its pid', async (t) => {
    const { cutter, conversation, talker, listener } = await scene(t);
    const missed = await cutDuring(cutter, listener, () => many(5, () => say(talker, conversation)));
    await hears(listener, missed.at(-1));
    assert.deepEqual(received(listener), idsOf(missed));
  });

  test('what was on its way when the line went silent is heard after the cut', async (t) => {
    const { cutter, conversation, talker, listener } = await scene(t);
    const before = [await say(talker, conversation)];
    await hears(listener, before[0]);
    cutter.silence();
    const lost = await many(5, () => say(talker, conversation));
    const missed = await cutDuring(cutter, listener, () => many(5, () => say(talker, conversation)));
    await hears(listener, missed.at(-1));
    assert.deepEqual(received(listener), idsOf([...before, ...lost, ...missed]));
  });

  test('replayed is what the socket follows now, newer than its join', async (t) => {
    const { b, cutter, conversation, talker, listener } = await scene(t);
    const third = await createUser(server, 'Third');
    const other = await openConversation(server, b, third);
    const talker2 = await connect(t, { server, token: third.token });
    const early = await say(talker2, other);
    await listener.emitAck('join-conversation', other);
    await say(talker, conversation);
    const [, wanted] = await cutDuring(cutter, listener, async () => [await say(talker, conversation), await say(talker2, other)]);
    await hears(listener, wanted);
    await listener.fence();
    assert.deepEqual(received(listener), [wanted.id], `not ${early.id}, which is older than the join, nor the conversation that was left`);
  });

  test('several conversations that were followed on purpose are all given back', async (t) => {
    const { b, cutter, conversation, talker, listener } = await scene(t);
    const third = await createUser(server, 'Third');
    const other = await openConversation(server, b, third);
    const talker2 = await connect(t, { server, token: third.token });
    await listener.emitAck('join-conversation', [conversation, other]);
    const missed = await cutDuring(cutter, listener, () => many(6, () => (serial % 2 ? say(talker, conversation) : say(talker2, other))));
    const later = [await say(talker, conversation), await say(talker2, other)];
    for (const message of later) await hears(listener, message);
    assert.deepEqual(received(listener).sort((x, y) => x - y), idsOf([...missed, ...later]));
  });

  test('support messages are replayed too', async (t) => {
    const [owner, agent] = await Promise.all(['Owner', 'Agent'].map((name) => createUser(server, name)));
    const { body: ticket } = await api(server, owner.token, 'POST', '/api/messaging/support/tickets', { subject: 'S', description: 'D' });
    const cutter = await cutterOf(t);
    const admin = await connect(t, { server, token: adminOf(server, agent) });
    const client = await connect(t, { server, url: cutter.url, token: owner.token, auth: { recovery: true } });
    await follow(client, ticket.id, 'join-support');
    const answer = async () => (await admin.emitAck('send-support-message', { ticketId: ticket.id, message: `answer ${++serial}` })).message;
    const first = await answer();
    await client.heard('support-message-received');
    const missed = await cutDuring(cutter, client, () => many(5, answer));
    await client.heard('support-message-received', ({ id }) => id === missed.at(-1).id);
    assert.deepEqual(idsOf(client.payloads('support-message-received')), idsOf([first, ...missed]));
    assert.ok(client.entries('support-message-received').every(({ args }) => typeof args[1] === 'string'));
  });

  test('a vouched guest is given back its user, and its missed nudges collapse to one', async (t) => {
    const { a, b, conversation } = await createPair(server, 'guest');
    const cutter = await cutterOf(t);
    const agent = 'Mozilla/5.0 (tests) Recovery/1';
    const bob = await connect(t, { server, token: b.token });
    const guest = await connect(t, { server, url: cutter.url, extraHeaders: { ...ORIGIN, 'User-Agent': agent } });
    await api(server, a.token, 'GET', '/api/messaging/unread-count', undefined, { 'user-agent': agent });
    await guest.emitAck('user-online', { userId: a.id });
    await cutDuring(cutter, guest, () => many(5, () => say(bob, conversation)));
    const mark = guest.entries('disconnect')[0].index;
    assert.deepEqual(await guest.heard('conversation-updated', () => true, { after: mark }), {});
    await guest.fence();
    assert.equal(guest.entries('conversation-updated', mark).length, 1);
    await say(bob, conversation);
    await guest.heardTimes('conversation-updated', 2, () => true, { after: mark });
  });

  test('a client that does not ask sees nothing of it: no pid, one connect, no extra argument, no replay', async (t) => {
    const { a, b, conversation } = await createPair(server, 'plain');
    const cutter = await cutterOf(t);
    const talker = await connect(t, { server, token: a.token });
    const plain = await connect(t, { server, url: cutter.url, token: b.token });
    await plain.emitAck('join-conversation', conversation);
    const first = await say(talker, conversation);
    await hears(plain, first);
    await plain.fence();
    assert.deepEqual([plain.socket._pid, plain.entries('connect').length], [undefined, 1]);
    await cutDuring(cutter, plain, () => many(3, () => say(talker, conversation)));
    await plain.emitAck('join-conversation', conversation);
    const last = await say(talker, conversation);
    await hears(plain, last);
    assert.deepEqual(received(plain), idsOf([first, last]));
    assert.ok(plain.entries('message-received').every(({ args }) => args.length === 1));
    assert.equal(plain.entries('connect').length, 2, 'one per connection');
  });

  test('a client that retries stores what it sends once, also around a cut', async (t) => {
    const { a, b, conversation } = await createPair(server, 'retries');
    const cutter = await cutterOf(t);
    const talker = await connect(t, { server, token: a.token });
    const client = await connect(t, { server, url: cutter.url, token: b.token, auth: { recovery: true }, retries: 3, ackTimeout: 3000 });
    const ask = (event, payload) => new Promise((resolve, reject) => {
      client.socket.emit(event, payload, (error, answer) => (error ? reject(error) : resolve(answer)));
    });
    const send = (message) => ask('send-message', { conversationId: conversation, message });
    // What it follows is saved while the first is on its way.
    for (const answer of await Promise.all([ask('join-conversation', conversation), send('first'), send('second')])) assert.equal(answer.ok, true, answer.error);
    assert.equal(client.entries('connect').length, 1, 'one CONNECT packet');
    await cutDuring(cutter, client, () => say(talker, conversation, 'meanwhile'));
    assert.equal((await send('third')).ok, true);
    const { body: stored } = await api(server, a.token, 'GET', `/api/messaging/conversations/${conversation}/messages`);
    assert.deepEqual(stored.map((message) => message.message_text), ['first', 'second', 'meanwhile', 'third']);
  });

  for (const version of ['4.5', '4.0']) {
    test(`${version}, which knows no recovery, takes the private id and the extra argument without harm`, async (t) => {
      const { a, b, conversation } = await createPair(server, 'old');
      const talker = await connect(t, { server, token: a.token });
      const old = await connect(t, { server, token: b.token, version, extraHeaders: ORIGIN });
      assert.equal((await old.emitAck('join-conversation', conversation)).ok, true);
      const messages = await many(3, () => say(talker, conversation));
      await hears(old, messages.at(-1));
      assert.deepEqual(received(old), idsOf(messages));
      assert.equal((await old.emitAck('send-message', { conversationId: conversation, message: 'and back' })).ok, true);
    });
  }

  test('somebody else’s pid is worth nothing, nor is one’s own with a bad token or as a guest', async (t) => {
    const { a, b, cutter, conversation, talker, listener } = await scene(t);
    await hears(listener, await say(talker, conversation));
    const thief = await createUser(server, 'Thief');
    const session = { pid: listener.socket._pid, offset: listener.socket._lastOffset };
    const mark = listener.mark();
    cutter.cut();
    await listener.heard('disconnect', () => true, { after: mark });
    const missed = await say(talker, conversation);

    const thieves = await Promise.all([
      connect(t, { server, token: thief.token, auth: { ...session, recovery: true } }), connect(t, { server, token: thief.token, auth: session, extraHeaders: ORIGIN }),
      connect(t, { server, token: a.token, auth: { ...session, recovery: true } }), connect(t, { server, auth: { ...session, recovery: true } }),
      connect(t, { server, token: thief.token, auth: { pid: { $ne: null }, offset: 7, recovery: true } }),
    ]);
    const expired = signToken({ id: b.id, role: 'traveller' }, { expiresIn: -61 });
    assert.ok((await refused(t, { server, token: expired, auth: { ...session, recovery: true } })).message);
    await say(talker, conversation);
    for (const client of thieves) await client.fence();
    for (const client of thieves) assert.deepEqual(client.entries('message-received'), []);
    cutter.resume();
    await hears(listener, missed);
  });

  test('a session and a tempId hold on another node of the same database', async (t) => {
    const { a, b, cutter, conversation, talker, listener } = await scene(t);
    await hears(listener, await say(talker, conversation));
    const session = { pid: listener.socket._pid, offset: listener.socket._lastOffset, recovery: true };
    cutter.cut();
    await listener.heard('disconnect');
    const repeated = { conversationId: conversation, message: 'sent twice', tempId: 'temp-1700000000010' };
    const missed = [await say(talker, conversation), (await talker.emitAck('send-message', repeated)).message];

    const node = await startServer({ env: { DATABASE_URL: `sqlite://${server.dir}/t.db` } });
    try {
      const there = await connect(t, { server: node, token: b.token, auth: session });
      await hears(there, missed.at(-1));
      assert.deepEqual(received(there), idsOf(missed));
      const again = await connect(t, { server: node, token: a.token });
      assert.equal((await again.emitAck('send-message', repeated)).message.id, missed[1].id);
    } finally {
      await node.stop();
    }
  });

  test('a client that closed its socket itself has no session left', async (t) => {
    const { conversation, talker, listener } = await scene(t);
    await hears(listener, await say(talker, conversation));
    const mark = listener.mark();
    listener.close();
    await many(3, () => say(talker, conversation));
    listener.socket.connect();
    await listener.heard('connect', () => true, { after: mark });
    await say(talker, conversation);
    await listener.fence();
    assert.deepEqual(received(listener, mark), []);
    await follow(listener, conversation);
    const last = await say(talker, conversation);
    await hears(listener, last);
    assert.deepEqual(received(listener, mark), [last.id]);
  });
});
