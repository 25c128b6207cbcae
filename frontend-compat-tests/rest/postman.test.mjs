// The Postman collection, run by newman against a fresh server: every request passes, every route is there, and each explains itself.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import newman from 'newman';
import { adminOf, createUser, startServer } from '../lib/server.mjs';

const read = (name) => JSON.parse(readFileSync(new URL(`../../postman/tidings.postman_${name}.json`, import.meta.url)));
const collection = read('collection');
const environment = read('environment');

/** Every REST route of the contract but /metrics, as method and path; ids are written `:id`. */
const ROUTES = [
  'POST /api/messaging/conversations', 'GET /api/messaging/conversations', 'GET /api/messaging/conversations/:id/messages',
  'POST /api/messaging/conversations/:id/mark-read', 'PUT /api/messaging/conversations/:id/mark-read', 'GET /api/messaging/unread-count',
  'POST /api/messaging/support/tickets', 'GET /api/messaging/support/tickets', 'GET /api/messaging/support/tickets/:id',
  'POST /api/messaging/support/tickets/:id/respond', 'GET /api/messaging/support/tickets/admin/all', 'GET /api/messaging/support/admin/tickets',
  'PUT /api/messaging/support/tickets/:id/status', 'PATCH /api/messaging/support/tickets/:id/status',
  'GET /api/auth/me', 'POST /api/auth/register', 'POST /api/auth/traveller/login', 'POST /api/auth/agency/login', 'GET /api/user/search',
  'GET /', 'GET /healthz', 'GET /readyz',
];

let server;
let admin;
before(async () => {
  // The default limit of logins: a person who runs the collection twice in a row must not meet it.
  server = await startServer({ config: { limits: { logins: 20 } } });
  admin = adminOf(server, await createUser(server, 'the admin'));
});
after(() => server?.stop());

/** Runs the collection, or one folder, and resolves with newman's summary. */
function run(adminToken, options = {}) {
  return new Promise((resolve, reject) => {
    newman.run({
      collection, environment, reporters: [], timeout: 120_000, timeoutRequest: 10_000,
      envVar: [{ key: 'baseUrl', value: server.url }, { key: 'adminToken', value: adminToken }],
      ...options,
    }, (error, summary) => (error ? reject(error) : resolve(summary)));
  });
}

const failures = ({ run }) => run.failures.map(({ source, error, cursor }) =>
  `run ${cursor.iteration + 1}, ${source?.name ?? 'the collection'}: ${error.test ?? error.name}: ${error.message}`);
const requests = (items) => items.flatMap((item) => (item.item ? requests(item.item) : [item]));

test('every request of the collection passes, also in a second run against the same server', async () => {
  const summary = await run(admin, { iterationCount: 2 });
  assert.deepEqual(failures(summary), []);
  const { requests: sent, assertions } = summary.run.stats;
  assert.ok(sent.total >= 2 * requests(collection.item).length, `only ${sent.total} requests were sent`);
  assert.ok(assertions.total > 2 * sent.total, `only ${assertions.total} checks were made`);
});

test('without an admin token the admin requests say what to do', async () => {
  const said = failures(await run('', { folder: 'Support as admin' }));
  for (const { name } of requests(collection.item.filter((folder) => folder.name === 'Support as admin'))) {
    assert.ok(said.some((line) => line.includes(name) && line.includes('`tidings token --user 1 --role admin`')), `${name} does not:\n${said.join('\n')}`);
  }
});

test('the collection has every REST route, and each request a description and tests', () => {
  const all = requests(collection.item);
  const path = ({ url }) => `/${url.path.join('/').replace(/\{\{\w*Id\}\}/g, ':id')}`;
  const shown = new Set(all.map(({ request }) => `${request.method} ${path(request)}`));
  assert.deepEqual(ROUTES.filter((route) => !shown.has(route)), []);
  const silent = all.filter(({ request, event }) => !request.description || !event.some((e) => e.listen === 'test' && e.script.exec.length));
  assert.deepEqual(silent.map(({ name }) => name), []);
});
