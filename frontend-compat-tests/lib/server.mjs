// Starts the true server binary on a free port with a fresh SQLite file, and speaks its REST: users, tokens, conversations.
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A `[limits]` section that no test reaches: for tests about something else. */
export const NO_LIMITS = {
  sends: { per_second: 100_000, burst: 100_000 },
  events: { per_second: 100_000, burst: 100_000 },
  writes: { per_second: 100_000, burst: 100_000 },
  sockets_per_user: 1000,
};

const here = fileURLToPath(new URL('.', import.meta.url));
export const BINARY = resolve(process.env.TIDINGS_BIN ?? join(here, '../../target/debug/tidings'));
export const SECRET = 'a secret that only the tests know, 0123456789';

const START_MS = 20_000;
const STOP_MS = 10_000;
const DEFAULTS = { limits: { logins: 100_000 } };

/** Starts a server; `config` is an object of sections and top-level keys that is laid over the test defaults. */
export async function startServer({ env = {}, config = {} } = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'tidings-'));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  writeFileSync(join(dir, 'config.toml'), toToml(merge(DEFAULTS, config)));
  let child;
  let output = '';

  async function start() {
    const running = spawn(BINARY, ['--config', join(dir, 'config.toml')], {
      cwd: dir,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env.PATH, HOME: process.env.HOME,
        HOST: '127.0.0.1', PORT: String(port), DATABASE_URL: `sqlite://${dir}/t.db`, JWT_SECRET: SECRET,
        FRONTEND_URL: 'http://localhost:5173', RUST_LOG: 'info,socketioxide=warn', ...env,
      },
    });
    child = running;
    running.gone = new Promise((done) => {
      running.once('exit', (code, signal) => done({ code, signal }));
      running.once('error', (error) => { output += `${error}\n`; done({ code: -1 }); });
    });
    for (const stream of [running.stdout, running.stderr]) stream.on('data', (chunk) => { output += chunk; });
    running.killAtExit = () => running.kill('SIGKILL');
    process.once('exit', running.killAtExit);
    running.gone.then(() => process.off('exit', running.killAtExit));
    await ready(url, running, () => output);
  }

  async function end(signal, deadline) {
    child.kill(signal);
    const late = Symbol('late');
    let timer;
    const timeout = new Promise((done) => { timer = setTimeout(done, deadline, late); });
    const how = await Promise.race([child.gone, timeout]);
    clearTimeout(timer);
    if (how !== late) return how;
    child.kill('SIGKILL');
    await child.gone;
    throw new Error(`the server was still there ${deadline} ms after ${signal}:\n${output.slice(-4000)}`);
  }

  const kill = () => end('SIGKILL', STOP_MS);
  const discard = () => rmSync(dir, { recursive: true, force: true });
  try {
    await start();
  } catch (error) {
    child.kill('SIGKILL');
    discard();
    throw error;
  }
  return {
    url, port, dir, kill, start,
    /** Asks it to stop and resolves with how it ended, `{code, signal}`; fails when it is still there after `deadline` ms. */
    end: (signal = 'SIGTERM', deadline = STOP_MS) => end(signal, deadline),
    log: () => output,
    async restart(signal = 'SIGKILL') { await end(signal, STOP_MS); await start(); },
    async stop() { try { return await end('SIGTERM', STOP_MS); } finally { discard(); } },
  };
}

async function ready(url, child, log) {
  let gone = null;
  child.gone.then((how) => { gone = how; });
  const deadline = Date.now() + START_MS;
  for (;;) {
    const answer = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2000) }).catch(() => null);
    await answer?.arrayBuffer().catch(() => null);
    if (answer?.status === 200) return;
    if (gone) throw new Error(`${BINARY} ended with ${JSON.stringify(gone)} before it was ready:\n${log().slice(-4000)}`);
    if (Date.now() > deadline) throw new Error(`${BINARY} was not ready in ${START_MS} ms:\n${log().slice(-4000)}`);
    await new Promise((done) => setTimeout(done, 25));
  }
}

/** A free port below the ephemeral range: in it, a client that retries a dead port could connect to itself. */
export async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    const free = await new Promise((done) => {
      const probe = createServer();
      probe.once('error', () => done(false));
      probe.listen(port, '127.0.0.1', () => probe.close(() => done(true)));
    });
    if (free) return port;
  }
}

const isTable = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);

function merge(base, over) {
  const out = { ...base };
  for (const [key, value] of Object.entries(over)) out[key] = isTable(value) && isTable(out[key]) ? merge(out[key], value) : value;
  return out;
}

/** Top-level keys first, then one `[section]` per object; objects inside a section become inline tables. */
export function toToml(config) {
  const value = (v) => isTable(v)
    ? `{ ${Object.entries(v).map(([key, inner]) => `${key} = ${value(inner)}`).join(', ')} }`
    : Array.isArray(v) ? `[${v.map(value).join(', ')}]` : JSON.stringify(v);
  const lines = (table) => Object.entries(table).map(([key, v]) => `${key} = ${value(v)}\n`).join('');
  const entries = Object.entries(config);
  const top = Object.fromEntries(entries.filter(([, v]) => !isTable(v)));
  const sections = entries.filter(([, v]) => isTable(v));
  return lines(top) + sections.map(([name, table]) => `\n[${name}]\n${lines(table)}`).join('');
}

/** A REST call: `{status, headers, body}`, the body parsed if it is JSON. A string or Buffer body goes out as it is. */
export async function api(server, token, method, path, body, headers = {}) {
  const raw = body === undefined || typeof body === 'string' || Buffer.isBuffer(body);
  const answer = await fetch(server.url + path, {
    method,
    body: raw ? body : JSON.stringify(body),
    headers: {
      ...(token ? { authorization: `Bearer ${token}` } : {}),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    signal: AbortSignal.timeout(10_000),
  });
  const text = await answer.text();
  let parsed = text;
  try { parsed = JSON.parse(text); } catch { /* not JSON: the text itself */ }
  return { status: answer.status, headers: answer.headers, body: parsed };
}

async function must(status, call) {
  const answer = await call;
  if (![status].flat().includes(answer.status)) throw new Error(`expected ${status}, got ${answer.status}: ${JSON.stringify(answer.body)}`);
  return answer.body;
}

let serial = 0;

/** Registers an account over REST; `name` may be used again, the e-mail is made unique. */
export async function createUser(server, name, { role = 'traveller' } = {}) {
  const password = `${name}'s password`;
  const email = `${name.toLowerCase().replace(/[^a-z0-9]+/g, '.')}.${process.pid}.${++serial}@example.com`;
  const body = await must(201, api(server, null, 'POST', '/api/auth/register', { username: name, email, password, role }));
  return { id: body.userId, username: name, email, password, token: body.token, role: body.role };
}

/** An HS256 token. `expiresIn` in seconds (negative: already expired), null leaves `exp` out; claims win over both. */
export function signToken(claims, { secret = SECRET, expiresIn = 3600, alg = 'HS256' } = {}) {
  const now = Math.floor(Date.now() / 1000);
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const expiry = expiresIn === null ? {} : { exp: now + expiresIn };
  const signed = `${part({ alg, typ: 'JWT' })}.${part({ iat: now, ...expiry, ...claims })}`;
  if (alg === 'none') return `${signed}.`;
  const hash = { HS256: 'sha256', HS384: 'sha384', HS512: 'sha512' }[alg];
  return `${signed}.${createHmac(hash, secret).update(signed).digest('base64url')}`;
}

/** A token with which the user is an admin: admin rights come from the token's role. */
export const adminOf = (_server, user) => signToken({ id: user.id, role: 'admin' });

/** The id of the conversation of `a` and `b`, opened if there is none yet. */
export async function openConversation(server, a, b) {
  const body = await must([200, 201], api(server, a.token, 'POST', '/api/messaging/conversations', { otherUserId: b.id }));
  return body.id;
}

/** Two new users with a conversation. */
export async function createPair(server, name = 'pair') {
  const [a, b] = await Promise.all([createUser(server, `${name} A`), createUser(server, `${name} B`)]);
  return { a, b, conversation: await openConversation(server, a, b) };
}

/** All messages of a conversation, oldest first, page by page: an answer has a budget in bytes. */
export async function history(server, user, conversation) {
  const path = `/api/messaging/conversations/${conversation}/messages`;
  let all = await must(200, api(server, user.token, 'GET', path));
  for (let page = all; page.length > 0; all = [...page, ...all]) page = await must(200, api(server, user.token, 'GET', `${path}?before=${page[0].id}`));
  return all;
}
