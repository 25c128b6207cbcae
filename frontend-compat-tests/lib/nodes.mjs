// Two nodes of the true server over a MariaDB database and a Redis of their own. Not here: what stands before the nodes (balancer.mjs, proxy.mjs).
import { execFile, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startCutter } from './cutter.mjs';
import { NO_LIMITS, freePort, signToken, startServer } from './server.mjs';

const MARIADB = process.env.TIDINGS_TEST_MARIADB;
const START_MS = 20_000;

/** Whether a command is there. */
export const has = (command, flag = '--version') => spawnSync(command, [flag], { stdio: 'ignore' }).error === undefined;

/** For the `skip` of a test: false, or the reason why it cannot run. In CI what is missing is a failure, so it is always false there. */
export const missing = (...commands) => {
  if (process.env.CI === 'true') return false;
  if (!MARIADB) return 'TIDINGS_TEST_MARIADB is not set: ./test compat sets it, and tests/services COMMAND does';
  const absent = ['mariadb', 'redis-server', ...commands].find((command) => !has(command, command === 'nginx' || command === 'haproxy' ? '-v' : '--version'));
  return absent ? `there is no ${absent}` : false;
};

/** Starts a program that listens on a port, and resolves when it accepts connections: `{stop()}`. */
export async function startListener(command, args, port) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => { output += chunk; });
  const gone = new Promise((done) => { child.once('exit', done); child.once('error', (error) => { output += error; done(); }); });
  const killAtExit = () => child.kill('SIGKILL');
  process.once('exit', killAtExit);
  gone.then(() => process.off('exit', killAtExit));
  const deadline = Date.now() + START_MS;
  const accepts = () => new Promise((done) => {
    const socket = connect(port, '127.0.0.1', () => { socket.destroy(); done(true); });
    socket.once('error', () => done(false));
  });
  while (!await accepts()) {
    const ended = child.exitCode !== null || child.pid === undefined;
    if (ended || Date.now() > deadline) { child.kill('SIGKILL'); throw new Error(`${command} does not listen:\n${output}`); }
    await new Promise((done) => setTimeout(done, 20));
  }
  return { log: () => output, async stop() { child.kill('SIGTERM'); await gone; } };
}

/**
 * Two nodes: `{nodes, database, sql(text), stop()}`; `sql` resolves with rows of strings. With `cuttable` all that the nodes say to
 * MariaDB goes through a cutter, `database`, in this process: not for crowds.
 */
export async function startNodes({ config = {}, cuttable = false } = {}) {
  if (!MARIADB) throw new Error('TIDINGS_TEST_MARIADB is not set');
  const name = `nodes_${process.pid}_${Date.now()}`;
  const dir = mkdtempSync(join(tmpdir(), 'tidings-redis-'));
  const undo = [() => rmSync(dir, { recursive: true, force: true })];
  const stop = async () => { for (const step of undo.splice(0).reverse()) await step(); };
  try {
    await query('', `CREATE DATABASE ${name} CHARACTER SET utf8mb4`);
    undo.push(() => query('', `DROP DATABASE ${name}`));
    const port = await freePort();
    const redis = await startListener('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', dir], port);
    undo.push(() => redis.stop());
    const url = new URL(`${MARIADB}/${name}`);
    const database = cuttable ? await startCutter(Number(url.port || 3306), url.hostname) : null;
    if (database) {
      undo.push(() => database.stop());
      url.hostname = '127.0.0.1';
      url.port = database.port;
    }
    const env = { DATABASE_URL: url.href, REDIS_URL: `redis://127.0.0.1:${port}` };
    // Both at once: one of them makes the tables, and the other waits for it.
    const nodes = await Promise.all([1, 2].map(async () => {
      const node = await startServer({ env, config: { trusted_proxies: ['127.0.0.1'], ...config, limits: { ...NO_LIMITS, ...config.limits } } });
      undo.push(() => node.stop());
      return node;
    }));
    return { nodes, database, sql: (text) => query(name, text), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Pairs of users with a conversation each, made in the tables: `[{a, b, conversation}]`, users with id and token. */
export async function createPairs({ sql }, count) {
  const [[last]] = await sql('SELECT COALESCE(MAX(id), 0) FROM users');
  const ids = Array.from({ length: 2 * count }, (_, i) => Number(last) + 1 + i);
  await sql(`INSERT INTO users (id, username, email, password, role) VALUES ${
    ids.map((id) => `(${id}, 'user ${id}', 'user${id}@example.com', '-', 'traveller')`).join()}`);
  const user = (id) => ({ id, token: signToken({ id, role: 'traveller' }) });
  const pairs = Array.from({ length: count }, (_, i) => ({ a: user(ids[2 * i]), b: user(ids[2 * i + 1]) }));
  await sql(`INSERT INTO conversations (user1_id, user2_id, created_at, last_message_at) VALUES ${
    pairs.map(({ a, b }) => `(${a.id}, ${b.id}, NOW(3), NOW(3))`).join()}`);
  const rows = await sql(`SELECT user1_id, id FROM conversations WHERE user1_id >= ${ids[0]}`);
  const of = new Map(rows.map(([first, id]) => [Number(first), Number(id)]));
  return pairs.map((pair) => ({ ...pair, conversation: of.get(pair.a.id) }));
}

function query(database, text) {
  const { hostname, port, username, password } = new URL(MARIADB);
  const login = ['-h', hostname, '-P', port || '3306', '-u', decodeURIComponent(username), ...(password ? [`-p${decodeURIComponent(password)}`] : [])];
  return new Promise((done, fail) => {
    const child = execFile('mariadb', ['--no-defaults', ...login, '--batch', '--skip-column-names', database], { maxBuffer: 1 << 28 }, (error, out) => {
      if (error) fail(error);
      else done(out.split('\n').filter(Boolean).map((line) => line.split('\t')));
    });
    child.stdin.end(text);
  });
}
