// Presence (contract 1.1): who hears that whom comes and goes, the current lists, and that a page reload does not flicker.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { MATRIX, connect } from '../lib/client.mjs';
import { NO_LIMITS, createUser, openConversation, startServer } from '../lib/server.mjs';

const GRACE_MS = 700;
let server;
before(async () => { server = await startServer({ config: { limits: NO_LIMITS, presence: { grace: `${GRACE_MS}ms` } } }); });
after(() => server?.stop());

/** One user with a conversation with each of the others. */
async function circle(count) {
  const [centre, ...others] = await Promise.all(Array.from({ length: count }, (_, i) => createUser(server, `Present ${i}`)));
  await Promise.all(others.map((other) => openConversation(server, centre, other)));
  return [centre, ...others];
}
const socketOf = (t, user, more) => connect(t, { server, token: user.token, ...more });
const of = (user, status) => (payload) => payload.userId === user.id && (status === undefined || payload.status === status);
const about = (client, user, mark = 0) => client.record.slice(mark)
  .filter(({ name, payload }) => ['user-status-changed', 'user-online', 'user-offline'].includes(name) && payload.userId === user.id);

describe('every client version and transport', { concurrency: 3 }, () => {
  for (const { version, mode, label } of MATRIX) {
    test(`${label}: contacts hear a user come and go, with the events of all generations`, async (t) => {
      const [a, b] = await circle(2);
      const bob = await socketOf(t, b, { version, mode });
      assert.deepEqual(await bob.heard('online-users'), []);

      let mark = bob.mark();
      const alice = await socketOf(t, a, { version, mode });
      assert.deepEqual(await alice.heard('online-users'), [b.id], 'the list, as numbers');
      assert.deepEqual(await bob.heard('user-status-changed', of(a), { after: mark }), { userId: a.id, status: 'online' });
      assert.deepEqual(await bob.heard('user-online', of(a), { after: mark }), { userId: a.id, username: a.username });
      await bob.heard('online-users', (ids) => ids.includes(a.id), { after: mark });

      mark = bob.mark();
      const left = Date.now();
      alice.close();
      assert.deepEqual(await bob.heard('user-status-changed', of(a), { after: mark }), { userId: a.id, status: 'offline' });
      assert.ok(Date.now() - left >= GRACE_MS - 20, 'not before the grace time');
      const gone = await bob.heard('user-offline', of(a), { after: mark });
      assert.match(gone.lastSeen, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
      assert.deepEqual(gone, { userId: a.id, username: a.username, lastSeen: gone.lastSeen });
      assert.deepEqual(await bob.heard('online-users', (ids) => !ids.includes(a.id), { after: mark }), []);
      assert.ok(bob.entries('user-online', mark).length === 0 && about(bob, a).length === 4, 'each change once');
    });

    test(`${label}: user-online in every form is answered with the current list, and brings nobody else online`, async (t) => {
      const [a, b, c] = await circle(3);
      const [alice, bob] = await Promise.all([a, b].map((user) => socketOf(t, user, { version, mode })));
      await alice.heard('online-users', (ids) => ids.includes(b.id));
      for (const form of [a.id, String(a.id), { userId: a.id }, { userId: String(a.id), role: 'traveller' }, { userId: a.id, role: null }, { userId: c.id }, c.id]) {
        const mark = alice.mark();
        alice.emit('user-online', form);
        assert.deepEqual(await alice.heard('online-users', () => true, { after: mark }), [b.id], JSON.stringify(form));
      }
      await bob.heard('online-users', (ids) => ids.includes(a.id));
      await bob.fence();
      assert.ok(bob.payloads('online-users').every((ids) => !ids.includes(c.id)));
      assert.equal(about(bob, c).length, 0);
      assert.ok(about(bob, a).length <= 2, 'user-online says nothing new');
    });
  }
});

describe('presence', { concurrency: 4 }, () => {
  test('it reaches contacts only: a stranger hears nothing and is in nobody’s list', async (t) => {
    const [[a, b], [stranger, friend]] = await Promise.all([circle(2), circle(2)]);
    const strange = await socketOf(t, stranger);
    const bob = await socketOf(t, b);
    const alice = await socketOf(t, a);
    await bob.heard('user-status-changed', of(a, 'online'));
    alice.close();
    await bob.heard('user-status-changed', of(a, 'offline'));
    await socketOf(t, friend);
    await strange.heard('user-online', of(friend));
    assert.deepEqual([...about(strange, a), ...about(strange, b)], []);
    for (const client of [alice, bob, strange]) {
      for (const ids of client.payloads('online-users')) {
        const allowed = client === strange ? [friend.id] : [a.id, b.id];
        assert.ok(ids.every((id) => allowed.includes(id)), JSON.stringify(ids));
      }
    }
  });

  test('a user is online while one socket is left', async (t) => {
    const [watcher, a, marker] = await circle(3);
    const watch = await socketOf(t, watcher);
    const [first, second] = [await socketOf(t, a), await socketOf(t, a)];
    await watch.heard('user-status-changed', of(a, 'online'));
    first.close();
    // The marker leaves after the first socket: when its going is told, the other's would have been.
    await second.fence();
    const other = await socketOf(t, marker);
    // Of one that leaves in the moment in which it is let in nobody is told anything.
    await watch.heard('user-online', of(marker));
    other.close();
    await watch.heard('user-offline', of(marker));
    assert.deepEqual(about(watch, a).map(({ name }) => name).sort(), ['user-online', 'user-status-changed']);
    second.close();
    await watch.heard('user-offline', of(a));
  });

  test('a page reload does not flicker', async (t) => {
    const [watcher, a, marker] = await circle(3);
    const watch = await socketOf(t, watcher);
    let page = await socketOf(t, a);
    await watch.heard('user-status-changed', of(a, 'online'));
    for (let i = 0; i < 3; i++) {
      page.close();
      page = await socketOf(t, a);
    }
    const other = await socketOf(t, marker);
    // Of one that leaves in the moment in which it is let in nobody is told anything.
    await watch.heard('user-online', of(marker));
    other.close();
    await watch.heard('user-offline', of(marker));
    assert.deepEqual(about(watch, a).map(({ name }) => name).sort(), ['user-online', 'user-status-changed']);
  });

  test('who comes back after going offline is told again', async (t) => {
    const [watcher, a] = await circle(2);
    const watch = await socketOf(t, watcher);
    for (let i = 0; i < 2; i++) {
      const mark = watch.mark();
      const client = await socketOf(t, a);
      await watch.heard('user-online', of(a), { after: mark });
      client.close();
      await watch.heard('user-offline', of(a), { after: mark });
    }
  });

  test('a new conversation makes both sides contacts at once', async (t) => {
    const [a, b] = await Promise.all([createUser(server, 'New A'), createUser(server, 'New B')]);
    const [alice, bob] = await Promise.all([a, b].map((user) => socketOf(t, user)));
    assert.deepEqual(await alice.heard('online-users'), []);
    await openConversation(server, a, b);
    assert.deepEqual(await alice.heard('online-users', (ids) => ids.length > 0), [b.id]);
    assert.deepEqual(await bob.heard('online-users', (ids) => ids.length > 0), [a.id]);
    const mark = bob.mark();
    alice.close();
    await bob.heard('user-offline', of(a), { after: mark });
  });

  test('a user whose connection is lost without a word goes offline too', async (t) => {
    const [a, b] = await circle(2);
    const [alice, bob] = await Promise.all([socketOf(t, a, { reconnection: false }), socketOf(t, b)]);
    await bob.heard('online-users', (ids) => ids.includes(a.id));
    alice.socket.io.engine.transport.ws.terminate();
    await bob.heard('user-offline', of(a));
  });
});
