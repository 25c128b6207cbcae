// Every command of the README and of docs/ is run as it stands, in a folder of its own, but for the ports and the database, which are private.
// What cannot be run says so in the document, and here.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { DATABASES, legacyDatabase } from '../lib/databases.mjs';
import { BINARY, freePort } from '../lib/server.mjs';
import { legacy } from '../rest/legacy.mjs';
import { Shell, blocks, commands, fileName, missing } from './document.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const documents = ['README.md', ...readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)];
/** Whether a program is not there; in CI that is a failure, which is told by whoever needs it. */
const lacks = (program) => {
  try { execFileSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' }); } catch { return process.env.CI !== 'true'; }
  return false;
};
const mariadb = DATABASES.find(({ name }) => name === 'MariaDB');

/** A folder with the built program on its path, and what a document finds on its reader's machine: an old backend with a database. */
async function machine(t, needsDatabase) {
  const home = mkdtempSync(join(tmpdir(), 'tidings-docs-'));
  mkdirSync(join(home, 'bin'));
  symlinkSync(BINARY, join(home, 'bin/tidings'));
  symlinkSync(join(root, 'frontend-compat-tests/node_modules'), join(home, 'node_modules'));
  mkdirSync(join(home, 'old-backend'));
  const [port, proxy, upstream] = [await freePort(), await freePort(), await legacy()];
  const replacements = [
    [/\blocalhost:5000\b/g, `localhost:${port}`], [/\[::\]:5000\b/g, `[::]:${port}`], [/\bPORT=5000\b/g, `PORT=${port}`],
    [/\blocalhost:4000\b/g, `localhost:${upstream.port}`], [/\b(localhost|127\.0\.0\.1):8080\b/g, `$1:${proxy}`],
  ];
  let undo = () => {};
  if (needsDatabase) {
    const database = legacyDatabase(readFileSync(join(root, 'docs/legacy-schema.sql'), 'utf8'));
    undo = database.drop;
    // By its address, for under the name of this machine the clients of MariaDB go to the socket of the system's own server.
    replacements.push(
      [/\bDB_HOST=localhost\b/g, `DB_HOST=${database.host}`], [/\bDB_PORT=3306\b/g, `DB_PORT=${database.port}`],
      [/\bDB_USER=trips\b/g, `DB_USER=${database.name}`], [/\bDB_NAME=trips\b/g, `DB_NAME=${database.name}`],
      [/trips:\*\*\*@localhost:3306\/trips/g, `${database.name}:***@${database.host}:${database.port}/${database.name}`],
    );
  }
  const shell = new Shell(home, { PATH: `${join(home, 'bin')}:${process.env.PATH}`, PORT: String(port), LANG: 'C.UTF-8' });
  t.after(async () => {
    await shell.end();
    await upstream.close();
    undo();
    rmSync(home, { recursive: true, force: true });
  });
  return { shell, adapt: (text) => replacements.reduce((adapted, [from, to]) => adapted.replaceAll(from, to), text) };
}

for (const name of documents) {
  const found = blocks(readFileSync(join(root, name), 'utf8'));
  const toRun = found.filter((block) => !block.skipped && (commands(block).length > 0 || fileName(block)));
  for (const { line, skipped } of found.filter((block) => block.skipped)) {
    test(`${name}:${line}`, { skip: skipped }, () => {});
  }
  if (!toRun.some((block) => commands(block).length > 0)) continue;
  const needsDatabase = toRun.some(({ text }) => text.includes('DB_HOST='));
  const needed = ['nginx', 'mariadb-dump', 'curl'].filter((program) => toRun.some((block) => commands(block).some(({ command }) => command.includes(program))));
  const absent = needed.filter(lacks).map((program) => `there is no ${program}`).join(', ');
  test(`the commands of ${name} do what it says`, { skip: (needsDatabase && mariadb.skip) || absent || false, timeout: 180_000 }, async (t) => {
    const { shell, adapt } = await machine(t, needsDatabase);
    for (const block of toRun) {
      const file = fileName(block);
      if (file) shell.save(file, adapt(block.text));
      for (const { command, expected } of commands(block)) {
        const adapted = { command: adapt(command), expected: expected.map(adapt) };
        await shell.run(adapted).catch((error) => { throw new Error(`${name}, the block at line ${block.line}: ${error.message}`); });
      }
    }
  });
}

test('a document is read as its reader reads it', () => {
  const text = '*Not run by the tests: it needs a moon.*\n\n```sh\nfly\n```\n\n```console\n$ for x in 1 2; do\n> echo $x\n> done\n1\n2\n$ true\n```\n```js\n// a.mjs: says nothing.\n```\n';
  const [skipped, session, file] = blocks(text);
  assert.deepEqual([skipped.skipped, skipped.line, session.skipped], ['it needs a moon.', 3, undefined]);
  assert.deepEqual(commands(session), [{ command: 'for x in 1 2; do\necho $x\ndone', expected: ['1', '2'] }, { command: 'true', expected: [] }]);
  assert.deepEqual([fileName(session), fileName(file)], [undefined, 'a.mjs']);
  assert.equal(missing(['a … c', 'd'], 'x\na b c\ny\nd\n'), undefined);
  assert.equal(missing(['d', 'a … c'], 'a b c\nd\n'), 'a … c', 'in their order');
  assert.equal(missing(['a … c'], 'a\nc\n'), 'a … c', 'on one line');
});

test('a command that fails, or says something else, fails its document', async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'tidings-docs-'));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  for (const { command, expected } of [{ command: 'false', expected: [] }, { command: 'echo two', expected: ['one'] }, { command: 'false\ntrue', expected: [] }]) {
    const shell = new Shell(home, { PATH: process.env.PATH });
    await assert.rejects(shell.run({ command, expected }), undefined, command);
    await shell.end();
  }
});

test('the systemd unit is one that systemd takes, and gives the server little', (t) => {
  const home = mkdtempSync(join(tmpdir(), 'tidings-docs-'));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  if (lacks('systemd-analyze')) return t.skip('there is no systemd-analyze');
  const unit = join(home, 'tidings.service');
  execFileSync('sed', [`s#/usr/local/bin/tidings#${BINARY}#; w ${unit}`, join(root, 'docs/tidings.service')]);
  execFileSync('systemd-analyze', ['verify', unit], { stdio: 'pipe' });
  // 10 is everything, 0 is nothing; the threshold is in tenths.
  execFileSync('systemd-analyze', ['security', '--offline=true', '--threshold=15', unit], { stdio: 'pipe' });
});
