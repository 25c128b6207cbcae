// Runs what the README shows: the two clients, what survives a kill -9, and the life of a ticket, copied as they stand but for the port.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { BINARY, SECRET, startServer } from '../lib/server.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const readme = readFileSync(join(here, '../../README.md'), 'utf8');
const blocks = [...readme.matchAll(/```(js|sh)\n([\s\S]*?)```/g)].map(([, language, code]) => ({ language, code }));
const block = (mark) => blocks.find(({ code }) => code.includes(mark)).code;

/** The lines that a program prints, as they come; `until` waits for one. */
function run(file, cwd) {
  const child = spawn(process.execPath, [file], { cwd, timeout: 20_000 });
  let output = '';
  let wake = () => {};
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => { output += chunk; wake(); });
  const exited = new Promise((done) => child.once('exit', (code) => { wake(); done(code); }));
  const until = async (text) => {
    while (!output.includes(text)) {
      assert.equal(child.exitCode, null, `ended without "${text}":\n${output}`);
      await new Promise((done) => { wake = done; });
    }
  };
  return { exited, until, output: () => output };
}

test('the README shows two clients that talk, and what they said survives a kill -9', async (t) => {
  const server = await startServer();
  t.after(() => server.stop());
  const folder = join(server.dir, 'clients');
  mkdirSync(folder);
  symlinkSync(join(here, '../node_modules'), join(folder, 'node_modules'));
  const copy = (code) => code.replaceAll('http://localhost:5000', server.url);
  for (const name of ['ben', 'ann']) writeFileSync(join(folder, `${name}.mjs`), copy(block(`// ${name}.mjs`)));
  const ben = run('ben.mjs', folder);
  await ben.until('waiting');
  const ann = run('ann.mjs', folder);
  assert.deepEqual([await ann.exited, await ben.exited], [0, 0], ann.output() + ben.output());
  assert.match(ben.output(), /ann: Hello Ben/);
  assert.match(ann.output(), /ben: You said: Hello Ben/);
  await server.restart();
  const { stdout } = await promisify(execFile)('bash', ['-c', copy(block('TOKEN=$(curl'))]);
  assert.deepEqual(JSON.parse(stdout).map((message) => message.message_text), ['Hello Ben', 'You said: Hello Ben']);

  const commands = copy(block('API=http')).replaceAll('cargo run --release -q --', `${BINARY} --config config.toml`);
  const env = { ...process.env, JWT_SECRET: SECRET, DATABASE_URL: `sqlite://${server.dir}/t.db` };
  const life = await promisify(execFile)('bash', ['-ec', commands.replaceAll('curl -s', 'echo; curl -s')], { cwd: server.dir, env });
  const [created, all, response, details, closed] = life.stdout.trim().split('\n').filter(Boolean).map((line) => JSON.parse(line));
  assert.deepEqual([created.status, all.length, response.ticket.status], ['open', 1, 'in_progress']);
  assert.deepEqual(details.messages.map((message) => [message.message_text, message.is_admin]), [['It is on its way.', true]]);
  assert.deepEqual([closed.ticket.status, closed.ticket.priority], ['closed', 'low']);
});
