// What tidings does not serve is passed on to the legacy backend: a fake one notes what arrives and answers as told.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { after, afterEach, before, test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { createUser, freePort, startServer } from '../lib/server.mjs';
import { all, ask, body, echo, isError, legacy, send, sha, soon } from './legacy.mjs';

const ORIGIN = 'http://localhost:5173';
let up; let server; let adopted; let alone;
before(async () => {
  up = await legacy();
  const env = { LEGACY_UPSTREAM: `http://127.0.0.1:${up.port}` };
  [server, adopted, alone] = await Promise.all([startServer({ env }), startServer({ env, config: { accounts: false } }), startServer()]);
});
after(async () => {
  await Promise.all([server, adopted, alone].map((s) => s?.stop()));
  await up?.close();
});
afterEach(() => { up.answer = echo; up.seen = []; });

test('method, path, query, headers and body pass unchanged', async () => {
  for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']) {
    const data = method === 'GET' ? undefined : '{"title": "Über den Fluß"}';
    const headers = {
      host: 'app.example.com', authorization: 'Bearer legacy-token', cookie: 'a=1; b=2', origin: ORIGIN, 'user-agent': 'a browser',
      'accept-encoding': 'gzip, br', 'content-type': 'application/json', 'x-odd': 'äöü', 'x-twice': ['one', 'two'],
      ...(data && { 'content-length': Buffer.byteLength(data) }),
    };
    const got = (await ask(server, method, '/api/trips/5?day=2', { headers, data })).json;
    assert.deepEqual([got.method, got.url, got.text], [method, '/api/trips/5?day=2', data ?? '']);
    for (const [name, value] of Object.entries(headers)) assert.deepEqual(all(got, name), [value].flat().map(String), `${method}: ${name}`);
    assert.deepEqual(all(got, 'transfer-encoding'), [], `${method} had a length or no body, and still has`);
  }
});

test('a path and a query arrive letter for letter', async () => {
  const paths = [
    '/x', '/x/', '/api/user/7', '/api/messagingtoo', '/uploads/%7Bid%7D/a%2Fb.png', '/a//b', '//other.example/x', '/a/./b/../c', "/it's;v=1/(a),b*!$&@:",
    '/x?', '/x?q=%20a+b&empty=&q=2&%C3%BC', '/x?next=http://other.example/', `/long?${'q'.repeat(4000)}`,
  ];
  for (const path of paths) assert.equal((await ask(server, 'GET', path)).json.url, path);
  assert.equal((await ask(server, 'GET', 'http://other.example/x?y=1')).json.url, '/x?y=1', 'an absolute request target still goes to the upstream');
});

test('every status passes unchanged, redirects are not followed, bodiless answers stay so', async () => {
  for (const status of [200, 201, 202, 204, 301, 302, 304, 307, 400, 401, 403, 404, 409, 418, 422, 429, 500, 503]) {
    const text = [204, 304].includes(status) ? '' : `status ${status}`;
    up.answer = (req, res) => { res.writeHead(status, { location: '/elsewhere?x=1', 'retry-after': '7', 'x-powered-by': 'Express' }); res.end(text); };
    const got = await ask(server, 'GET', '/api/anything');
    assert.deepEqual([got.status, got.text], [status, text]);
    assert.deepEqual([got.headers.location, got.headers['retry-after'], got.headers['x-powered-by']], ['/elsewhere?x=1', '7', 'Express']);
  }
  assert.equal(up.seen.length, 18);
  up.answer = (req, res) => { res.writeHead(200, { 'content-length': 1234 }); res.end(); };
  const head = await ask(server, 'HEAD', '/api/anything');
  assert.deepEqual([head.status, head.headers['content-length'], head.text], [200, '1234', '']);
});

test('repeated answer headers survive, Set-Cookie above all', async () => {
  const cookies = ['sid=1; Path=/; HttpOnly', 'theme=dark; Expires=Wed, 09 Jun 2027 10:18:14 GMT', 'sid=2; Path=/x'];
  up.answer = (req, res) => { res.setHeader('set-cookie', cookies); res.setHeader('link', ['</a>; rel=prev', '</b>; rel=next']); res.end(); };
  const got = await ask(server, 'GET', '/api/anything', { headers: { origin: ORIGIN } });
  assert.deepEqual(all(got, 'set-cookie'), cookies);
  assert.deepEqual(all(got, 'link'), ['</a>; rel=prev', '</b>; rel=next']);
  assert.equal(all(got, 'date').length, 1);
});

test('hop-by-hop headers, and those that Connection names, end at tidings in both directions', async () => {
  const hops = { 'keep-alive': 'timeout=99', 'proxy-connection': 'close', upgrade: 'h2c' };
  const asked = { connection: 'close, X-Secret, x-other', 'x-secret': '1', 'x-other': '2', te: 'gzip', ...hops };
  const heard = (await ask(server, 'GET', '/api/anything', { headers: { ...asked, 'x-kept': 'yes' } })).json;
  for (const name of Object.keys(asked).slice(1)) assert.deepEqual(all(heard, name), [], name);
  assert.doesNotMatch(all(heard, 'connection').join(), /x-/i);
  assert.deepEqual(all(heard, 'x-kept'), ['yes']);

  up.answer = (req, res) => { res.writeHead(200, { connection: 'close, X-Internal', 'x-internal': '1', 'x-kept': 'yes', ...hops }); res.end('ok'); };
  const got = await ask(server, 'GET', '/api/anything');
  for (const name of ['x-internal', 'proxy-connection', 'upgrade']) assert.deepEqual(all(got, name), [], name);
  assert.doesNotMatch(`${all(got, 'keep-alive')} ${all(got, 'connection')}`, /99|x-/i);
  assert.deepEqual([got.headers['x-kept'], got.text], ['yes', 'ok']);
});

test('X-Forwarded-For, -Proto and -Host tell where the request came from, and nobody can take them away', async () => {
  for (const extra of [{}, { connection: 'close, x-forwarded-for, x-forwarded-proto, x-forwarded-host' }, { 'x-forwarded-for': '6.6.6.6' }]) {
    const got = (await ask(server, 'GET', '/api/anything', { headers: { host: 'app.example.com:8080', ...extra } })).json;
    assert.equal(all(got, 'x-forwarded-for').join().split(',').at(-1).trim(), '127.0.0.1');
    assert.deepEqual(all(got, 'x-forwarded-proto'), ['http']);
    assert.deepEqual(all(got, 'x-forwarded-host'), ['app.example.com:8080']);
  }
});

test('bodies stream both ways: the answer begins before the request has ended', async () => {
  up.answer = async (req, res) => { for await (const chunk of req) res.write(`heard ${chunk};`); res.end('end'); };
  for (const headers of [{}, { 'content-length': 6 }]) {
    const { req, head } = send(server, 'POST', '/api/stream', headers);
    req.write('one');
    const res = await head();
    res.setEncoding('utf8');
    let text = '';
    while (text !== 'heard one;') text += (await soon(once(res, 'data'), `the rest of "${text}"`))[0];
    req.end('two');
    for await (const chunk of res) text += chunk;
    assert.equal(text, 'heard one;heard two;end');
  }
});

test('bodies of 5 MB pass, with a length, in chunks, and after a 100 Continue', async () => {
  const data = randomBytes(5_000_000);
  const sized = await ask(server, 'POST', '/api/upload', { headers: { 'content-type': 'image/png', 'content-length': data.length }, data });
  assert.equal(sized.json.sha, sha(data));
  for (const headers of [{ 'transfer-encoding': 'chunked' }, { expect: '100-continue', 'content-length': data.length }]) {
    const { req, head } = send(server, 'PUT', '/api/upload', headers);
    if (headers.expect) { req.flushHeaders(); await soon(once(req, 'continue'), '100 Continue'); }
    for (let i = 0; i < data.length; i += 64_000) req.write(data.subarray(i, i + 64_000));
    req.end();
    assert.equal(JSON.parse(await body(await head())).sha, sha(data));
  }
  for (const length of [{}, { 'content-length': data.length }]) {
    up.answer = (req, res) => { res.writeHead(200, { 'content-type': 'image/png', ...length }); res.end(data); };
    const got = await ask(server, 'GET', '/uploads/big.png');
    assert.equal(sha(got.data), sha(data));
    assert.equal(got.headers['content-length'], length['content-length']?.toString());
  }
});

test("CORS is tidings' own and appears once, whatever the upstream says", async () => {
  up.answer = (req, res) => {
    res.writeHead(200, {
      'access-control-allow-origin': '*', 'access-control-allow-credentials': 'false', 'access-control-expose-headers': 'X-Upstream',
      'access-control-allow-methods': 'TRACE', 'cross-origin-resource-policy': 'same-origin', vary: 'Origin, Accept-Encoding',
    });
    res.end('ok');
  };
  const got = await ask(server, 'GET', '/api/anything', { headers: { origin: ORIGIN } });
  assert.deepEqual(all(got, 'access-control-allow-origin'), [ORIGIN]);
  assert.deepEqual(all(got, 'access-control-allow-credentials'), ['true']);
  assert.match(all(got, 'access-control-expose-headers').join(), /x-error.*upstream/i, 'its exposed headers stand beside ours');
  assert.doesNotMatch(all(got, 'access-control-allow-methods').join(), /trace/i);
  assert.deepEqual(all(got, 'cross-origin-resource-policy'), ['cross-origin']);
  const vary = all(got, 'vary').join().toLowerCase().split(',').map((v) => v.trim());
  assert.ok(vary.includes('origin') && vary.includes('accept-encoding'), `${vary}`);

  const foreign = await ask(server, 'GET', '/api/anything', { headers: { origin: 'https://evil.example' } });
  assert.equal(foreign.status, 200);
  for (const name of Object.keys(foreign.headers)) assert.doesNotMatch(name, /^access-control-allow-(origin|credentials)/);

  up.seen = [];
  const wants = { origin: ORIGIN, 'access-control-request-method': 'PATCH', 'access-control-request-headers': 'authorization, content-type' };
  const preflight = await ask(server, 'OPTIONS', '/api/trips/5', { headers: wants });
  assert.ok([200, 204].includes(preflight.status));
  assert.deepEqual(all(preflight, 'access-control-allow-origin'), [ORIGIN]);
  assert.match(all(preflight, 'access-control-allow-methods').join(), /PATCH/);
  assert.equal(up.seen.length, 0, 'tidings answers preflights itself');
});

test('an upstream that is down is a 502 in JSON, and works again once it is up', async (t) => {
  const port = await freePort();
  const lonely = await startServer({ env: { LEGACY_UPSTREAM: `http://127.0.0.1:${port}` } });
  t.after(() => lonely.stop());
  const answer = await ask(lonely, 'GET', '/api/trips', { headers: { origin: ORIGIN } });
  assert.deepEqual([answer.status, answer.text], [502, '[]'], 'pages call .map on it');
  assert.deepEqual(all(answer, 'access-control-allow-origin'), [ORIGIN]);
  isError(await ask(lonely, 'POST', '/api/trips', { data: '{}' }), 502);
  assert.ok(![...answer.rawHeaders, answer.text].join('\n').includes(port), 'the address of the upstream is told');
  const late = await legacy(port);
  t.after(() => late.close());
  assert.equal((await ask(lonely, 'GET', '/api/trips')).status, 200);
});

test('an upstream that breaks off is a 502 before its answer has begun, and a broken answer after', async () => {
  up.answer = (req) => req.socket.destroy();
  isError(await ask(server, 'POST', '/api/anything', { data: '{}' }), 502);
  for (const headers of [{}, { 'content-length': 100 }]) {
    up.answer = (req, res) => { res.writeHead(200, headers); res.write('half', () => req.socket.destroy()); };
    await assert.rejects(ask(server, 'GET', '/api/anything'), { code: 'ECONNRESET' }, 'half an answer is neither whole nor left open');
  }
});

test('a client that goes away frees the upstream: before the answer, during it, and in the middle of its own body', async () => {
  const arrival = () => new Promise((resolve) => { up.answer = (req, res) => resolve({ req, res, closed: once(res, 'close') }); });
  for (const when of ['before the answer', 'during the answer', 'during the request']) {
    const arrived = arrival();
    const { req, head } = send(server, when === 'during the request' ? 'POST' : 'GET', '/api/slow');
    req.on('error', () => {});
    if (when === 'during the request') { req.write('a part'); req.flushHeaders(); } else req.end();
    const there = await soon(arrived, `the request at the upstream, ${when}`);
    there.req.on('error', () => {});
    if (when === 'during the answer') {
      there.res.write('first');
      const res = await head();
      res.on('error', () => {});
      await soon(once(res, 'data'), 'the first part of the answer');
    }
    if (when === 'during the request') await soon(once(there.req, 'data'), 'the part of the body');
    req.destroy();
    await soon(there.closed, `the upstream hears that the client is gone, ${when}`);
    assert.equal(there.res.writableFinished, false);
  }
});

test("everything under /api/messaging is tidings' own: an unknown path is its 404, never passed on", async () => {
  const { token } = await createUser(server, 'someone');
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  for (const path of ['', '/', '/nope', '/nope?x=1', '/conversations/1/nope', '/conversations/seven/messages']) {
    isError(await ask(server, 'GET', `/api/messaging${path}`, { headers }), 404, 'not_found');
  }
  isError(await ask(server, 'POST', '/api/messaging/nope', { headers, data: '{}' }), 404, 'not_found');
  for (const method of ['DELETE', 'PATCH']) {
    assert.ok([404, 405].includes((await ask(server, method, '/api/messaging/conversations', { headers })).status), method);
  }
  assert.ok([401, 404].includes((await ask(server, 'GET', '/api/messaging/nope')).status));
  assert.equal((await ask(server, 'GET', '/socket.io/?EIO=4&transport=polling')).text[0], '0');
  for (const path of ['/', '/healthz', '/readyz']) assert.equal((await ask(server, 'GET', path)).status, 200);
  assert.deepEqual(up.seen.map(({ url }) => url), []);
});

test('with accounts of its own tidings serves these, and passes on the rest of their trees', async () => {
  const { token, username, email, password } = await createUser(server, 'local');
  const authorization = `Bearer ${token}`;
  assert.equal((await ask(server, 'GET', '/api/auth/me', { headers: { authorization } })).json.user.username, username);
  assert.equal((await ask(server, 'GET', '/api/auth/me')).status, 401);
  assert.deepEqual((await ask(server, 'GET', '/api/user/search?query=nobody-at-all', { headers: { authorization } })).json, []);
  const login = { headers: { 'content-type': 'application/json' }, data: JSON.stringify({ email, password }) };
  assert.equal((await ask(server, 'POST', '/api/auth/traveller/login', login)).status, 200);
  assert.deepEqual(up.seen.map(({ url }) => url), []);
  for (const route of ['POST /api/auth/admin/login', 'POST /api/auth/logout', 'GET /api/auth/me/avatar', 'GET /api/user/7', 'GET /api/user']) {
    const [method, path] = route.split(' ');
    const got = (await ask(server, method, path, { headers: { authorization } })).json;
    assert.deepEqual([got.method, got.url, all(got, 'authorization')], [method, path, [authorization]]);
  }
});

test('with accounts = false they all come from the upstream', async () => {
  const headers = { authorization: 'Bearer theirs', 'content-type': 'application/json' };
  const posts = ['register', 'traveller/login', 'agency/login'].map((path) => `POST /api/auth/${path}`);
  for (const route of [...posts, 'GET /api/user/search?query=an&x', 'GET /api/auth/me?x=1']) {
    const [method, path] = route.split(' ');
    const data = method === 'POST' ? '{"email":"a@example.com"}' : undefined;
    const got = (await ask(adopted, method, path, { headers, data })).json;
    assert.deepEqual([got.method, got.url, got.text, all(got, 'authorization')], [method, path, data ?? '', ['Bearer theirs']]);
  }
});

test('with accounts = false the answer of /api/auth/me gets a role_id, and stays as it was otherwise', async () => {
  const me = (status, answer) => {
    up.answer = (req, res) => {
      // Like Express with its compression: small where the client allows it.
      const zip = /gzip/.test(req.headers['accept-encoding'] ?? '');
      const headers = { 'content-type': 'application/json; charset=utf-8', 'x-powered-by': 'Express', 'set-cookie': ['a=1', 'b=2'] };
      res.writeHead(status, zip ? { ...headers, 'content-encoding': 'gzip' } : headers);
      res.end(zip ? gzipSync(answer) : answer);
    };
    return ask(adopted, 'GET', '/api/auth/me', { headers: { authorization: 'Bearer theirs', 'accept-encoding': 'gzip, deflate, br', origin: ORIGIN } });
  };
  const textOf = (got) => (got.headers['content-encoding'] === 'gzip' ? gunzipSync(got.data) : got.data).toString();
  for (const [role, role_id] of [['traveller', 1], ['agency', 2]]) {
    const answer = { user: { id: 5, username: 'Änne', role, verified: 0, avatar: null, deep: { list: [1, 'two', 3.5] } }, more: true };
    const got = await me(200, JSON.stringify(answer));
    assert.deepEqual(JSON.parse(textOf(got)), { ...answer, user: { ...answer.user, role_id } });
    assert.deepEqual([all(got, 'set-cookie'), all(got, 'x-powered-by'), all(got, 'access-control-allow-origin')], [['a=1', 'b=2'], ['Express'], [ORIGIN]]);
  }
  for (const answer of ['{"user":null}', '{"user":"role"}', '[]', '{"user":{"role":', '']) {
    const got = await me(200, answer);
    assert.deepEqual([got.status, textOf(got)], [200, answer]);
  }
  for (const [status, answer] of [[401, '{"message": "No token"}'], [500, '<h1>Oops</h1>']]) {
    const got = await me(status, answer);
    assert.deepEqual([got.status, textOf(got)], [status, answer]);
  }
});

test('without an upstream an unknown path is a JSON 404', async () => {
  for (const route of ['GET /api/trips', 'POST /api/auth/logout', 'DELETE /x/y?z', 'GET /api/user/7']) {
    isError(await ask(alone, ...route.split(' ')), 404, 'not_found');
  }
});

test('the address of the upstream is told nowhere', async () => {
  up.answer = (req, res) => (req.url === '/api/login' ? res.writeHead(302, { location: `http://127.0.0.1:${up.port}/login?next=1` }).end() : echo(req, res));
  for (const one of [server, adopted]) {
    const own = ['/', '/healthz', '/readyz', '/metrics', '/api/messaging/nope', '/api/messaging/conversations', '/socket.io/?EIO=4&transport=polling'];
    for (const path of [...own, '/api/auth/me', '/api/echo', '/api/login']) {
      const got = await ask(one, 'GET', path);
      assert.doesNotMatch([...got.rawHeaders, got.text].join('\n'), new RegExp(`:${up.port}\\b|legacy_?upstream`, 'i'), path);
    }
  }
});
