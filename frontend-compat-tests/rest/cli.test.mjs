// The command line as a newcomer meets it: the start, its refusals, the secret that it makes, tokens, and the demo.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { BINARY, freePort } from '../lib/server.mjs';

const clean = { PATH: process.env.PATH, HOME: process.env.HOME };

function folder(t) {
  const dir = mkdtempSync(join(tmpdir(), 'tidings-cli-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** Runs a command to its end. */
const run = (args, { cwd, env = {} }) => new Promise((done) => {
  execFile(BINARY, args, { cwd, env: { ...clean, ...env }, timeout: 20_000 }, (error, stdout, stderr) => {
    done({ code: error ? error.code : 0, stdout, stderr });
  });
});

/** Starts a command that goes on, and waits for a line that matches; it is ended with the test. */
async function start(t, args, pattern, { cwd, env = {} }) {
  const child = spawn(BINARY, args, { cwd, env: { ...clean, ...env } });
  const ended = new Promise((done) => child.once('exit', done));
  t.after(async () => { child.kill('SIGTERM'); await ended; });
  let output = '';
  const match = await new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`no ${pattern} in:\n${output}`)), 20_000);
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk) => {
        output += chunk;
        const found = pattern.exec(output);
        if (found) { clearTimeout(timer); done(found); }
      });
    }
    ended.then((code) => fail(new Error(`ended with ${code}:\n${output}`)));
  });
  return { match, output: () => output };
}

const LISTENS = /listens on (http:\/\/\S+)/;

test('without any setting it starts, makes a database and a private secret, and keeps both', async (t) => {
  const cwd = folder(t);
  const env = { PORT: '0', HOST: '127.0.0.1' };
  const first = await start(t, [], LISTENS, { cwd, env });
  assert.equal((await fetch(`${first.match[1]}/readyz`)).status, 200);
  const secret = readFileSync(join(cwd, 'tidings.db.jwt-secret'), 'utf8');
  assert.equal(statSync(join(cwd, 'tidings.db.jwt-secret')).mode & 0o777, 0o600);
  assert.ok(secret.length >= 64 && !first.output().includes(secret), 'long, and never printed');
  await start(t, ['serve'], LISTENS, { cwd, env });
  assert.equal(readFileSync(join(cwd, 'tidings.db.jwt-secret'), 'utf8'), secret);
});

test('a .env file is read, and the environment wins over it', async (t) => {
  const cwd = folder(t);
  writeFileSync(join(cwd, '.env'), 'HOST=127.0.0.1\nPORT=not-a-port\nJWT_SECRET="from the file"\n');
  const refused = await run([], { cwd });
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /not-a-port.*`port`.*PORT/s);
  assert.doesNotMatch(refused.stderr, /from the file/);
  await start(t, [], LISTENS, { cwd, env: { PORT: '0' } });
  writeFileSync(join(cwd, '.env'), 'HOST=127.0.0.1\nnot a line\nJWT_SECRET=not $quoted # but taken\n');
  await start(t, [], LISTENS, { cwd, env: { PORT: '0' } });
});

test('what is wrong stops the start with a sentence that names key, value and source', async (t) => {
  const cwd = folder(t);
  for (const [file, env, ...parts] of [
    ['prot = 1\n', {}, 'prot'],
    ['[presence]\ngrace = "soon"\n', {}, 'presence.grace', 'soon'],
    ['host = "nowhere"\n', {}, 'host', 'nowhere', 'bad.toml'],
    ['', { DATABASE_URL: 'oracle://u:topsecret@h/d' }, 'database_url', 'DATABASE_URL'],
    ['', { FRONTEND_URL: 'site.example' }, 'origins', 'site.example', 'FRONTEND_URL'],
  ]) {
    writeFileSync(join(cwd, 'bad.toml'), file);
    const { code, stderr } = await run(['--config', 'bad.toml'], { cwd, env });
    assert.equal(code, 1, stderr);
    assert.equal(stderr.trim().split('\n').length, 1, stderr);
    for (const part of parts) assert.ok(stderr.includes(part), `${stderr} should name ${part}`);
    assert.ok(!stderr.includes('topsecret'), stderr);
  }
});

test('token prints a token that the server takes, and help tells what there is', async (t) => {
  const cwd = folder(t);
  const env = { JWT_SECRET: 'of this test', HOST: '127.0.0.1', PORT: '0' };
  const { match: [, url] } = await start(t, [], LISTENS, { cwd, env });
  const body = JSON.stringify({ username: 'ann', email: 'ann@example.com', password: 'secret' });
  await fetch(`${url}/api/auth/register`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  const get = async (args) => {
    const { stdout } = await run(['token', '--user', '1', ...args], { cwd, env });
    return fetch(`${url}/api/messaging/support/admin/tickets`, { headers: { authorization: `Bearer ${stdout.trim()}` } });
  };
  assert.equal((await get([])).status, 403);
  assert.equal((await get(['--role', 'admin', '--expires', '1h'])).status, 200);
  const help = await run(['--help'], { cwd });
  for (const word of ['serve', 'migrate', 'doctor', 'config', 'backup', 'token', 'demo', '--config', 'JWT_SECRET']) assert.ok(help.stdout.includes(word), word);
});

test('migrate brings the schema up to date and ends', async (t) => {
  const cwd = folder(t);
  assert.equal((await run(['migrate'], { cwd })).code, 0);
  assert.ok(statSync(join(cwd, 'tidings.db')).size > 0);
});

test('backup copies the database of a running server to a private file, which another one can start on', async (t) => {
  const cwd = folder(t);
  const env = { HOST: '127.0.0.1', PORT: '0', JWT_SECRET: 'of this test' };
  const { match: [, url] } = await start(t, [], LISTENS, { cwd, env });
  const post = (base, path, body) => fetch(`${base}${path}`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body),
  });
  const account = { username: 'ann', email: 'ann@example.com', password: 'secret' };
  assert.equal((await post(url, '/api/auth/register', account)).status, 201);
  const { code, stdout } = await run(['backup', 'copy.db'], { cwd, env });
  assert.equal(code, 0, stdout);
  assert.match(stdout, /copied 100 %[\s\S]*To restore it/);
  assert.equal(statSync(join(cwd, 'copy.db')).mode & 0o777, 0o600);
  const again = await run(['backup', 'copy.db'], { cwd, env });
  assert.deepEqual([again.code, /copy\.db exists already/.test(again.stderr)], [1, true]);
  const restored = await start(t, [], LISTENS, { cwd, env: { ...env, DATABASE_URL: 'sqlite://copy.db' } });
  assert.equal((await post(restored.match[1], '/api/auth/traveller/login', account)).status, 200);
});

test('the demo serves users, a conversation and a ticket, and its commands work as printed', async (t) => {
  const cwd = folder(t);
  const demo = await start(t, ['demo'], /support\/tickets\n/, { cwd, env: { HOST: '127.0.0.1', PORT: '0' } });
  const doing = demo.output().split('\n').filter((line) => line.startsWith('demo: '));
  assert.match(doing.join('\n'), /making a database[^]*registering ann, 1 of 4[^]*registering globetrot, 4 of 4[^]*a ticket/);
  const commands = demo.output().split('\n').filter((line) => /^ {2}(TOKEN|curl)/.test(line)).join('\n').replaceAll('curl ', 'echo; curl -s ');
  const { stdout } = await new Promise((done) => execFile('bash', ['-ec', commands], (error, out) => done({ stdout: error ? String(error) : out })));
  const [conversations, messages, tickets] = stdout.trim().split('\n').filter(Boolean).map((line) => JSON.parse(line));
  assert.deepEqual([conversations.length, messages.length, tickets.length], [2, 3, 1]);
  assert.equal(tickets[0].status, 'in_progress');
});

test('config prints every setting with its origin, as a file that a server takes, and no secret', async (t) => {
  const cwd = folder(t);
  writeFileSync(join(cwd, 'mine.toml'), '[messages]\nmax_length = 77\n');
  writeFileSync(join(cwd, '.env'), 'DB_HOST=db.internal\nDB_NAME=trips\nDB_PASS=topsecret\nPORT=1\n');
  const env = { JWT_SECRET: 'topsecret', REDIS_URL: 'redis://:topsecret@redis.internal', PORT: '7000' };
  const { code, stdout, stderr } = await run(['config', '--config', 'mine.toml'], { cwd, env });
  assert.equal(code, 0, stderr);
  assert.ok(!(stdout + stderr).includes('topsecret'), stdout);
  for (const line of [
    'host = "::"  # default', 'port = 7000  # the environment variable PORT', 'max_length = 77  # mine.toml',
    'database_url = "mysql://root:***@db.internal:3306/trips"  # DB_HOST, DB_PASS, DB_NAME in .env',
    'redis_url = "redis://:***@redis.internal"  # the environment variable REDIS_URL', '# legacy_upstream is not set',
  ]) assert.ok(stdout.split('\n').includes(line), `${line} in\n${stdout}`);
  const printed = join(cwd, 'printed.toml');
  writeFileSync(printed, stdout.replace(/^(database|redis)_url.*\n/gm, ''));
  const again = await run(['config', '--config', printed], { cwd: folder(t) });
  assert.deepEqual([again.code, /max_length = 77 /.test(again.stdout)], [0, true], again.stderr);
});

test('doctor changes nothing, fails when there is a problem, and says what to do', async (t) => {
  const cwd = folder(t);
  const env = { HOST: '127.0.0.1', PORT: String(await freePort()), FRONTEND_URL: 'https://site.example' };
  const fine = await run(['doctor'], { cwd, env });
  assert.equal(fine.code, 0, fine.stdout);
  assert.match(fine.stdout, /^ok +origins .*https:\/\/site\.example$/m);
  assert.match(fine.stdout, /^0 problems, \d+ warnings?$/m);
  assert.deepEqual(readdirSync(cwd), []);

  const upstream = createServer((req, res) => { res.writeHead(404); res.end(); });
  await new Promise((done) => upstream.listen(0, '127.0.0.1', done));
  t.after(() => upstream.close());
  const { port } = upstream.address();
  const known = { ...env, PORT: String(port), JWT_SECRET: 'hunter2', LEGACY_UPSTREAM: `http://127.0.0.1:${port}` };
  const bad = await run(['doctor'], { cwd, env: known });
  assert.equal(bad.code, 1, bad.stdout);
  assert.match(bad.stdout, /^problem +secret .*\n +→ .*openssl rand/m);
  assert.match(bad.stdout, /^problem +port +another program .*\n +→ /m);
  assert.match(bad.stdout, /^problem +upstream .*tidings itself.*\n +→ /m);
  assert.ok(!bad.stdout.includes('hunter2'));
  const behind = await run(['doctor'], { cwd, env: { ...env, LEGACY_UPSTREAM: `http://127.0.0.1:${port}` } });
  assert.match(behind.stdout, /^ok +upstream .*404$/m);

  writeFileSync(join(cwd, 'config.toml'), 'prot = 1\n');
  const unread = await run(['doctor'], { cwd, env });
  assert.equal(unread.code, 1);
  assert.match(unread.stdout, /^problem +configuration .*prot.*\n +→ /m);
});

test('doctor knows a tidings that listens already, and a file that others can read', async (t) => {
  const cwd = folder(t);
  const env = { HOST: '127.0.0.1', PORT: String(await freePort()) };
  await start(t, [], LISTENS, { cwd, env });
  chmodSync(cwd, 0o755);
  chmodSync(join(cwd, 'tidings.db'), 0o644);
  chmodSync(join(cwd, 'tidings.db.jwt-secret'), 0o644);
  const { code, stdout } = await run(['doctor'], { cwd, env });
  assert.equal(code, 1, stdout);
  assert.match(stdout, /^ok +port +tidings listens .* 200$/m);
  assert.match(stdout, /^ok +migrations /m);
  assert.match(stdout, /^warning +database .*can read tidings\.db$/m);
  assert.match(stdout, /^problem +secret .*can read tidings\.db\.jwt-secret$/m);
});
