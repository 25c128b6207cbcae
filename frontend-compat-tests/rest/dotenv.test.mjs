// A .env file as the published versions of Node's dotenv read it: the old backend lives with the same file.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { BINARY } from '../lib/server.mjs';

const require = createRequire(import.meta.url);
const [newest, ...older] = ['dotenv', 'dotenv-16', 'dotenv-15', 'dotenv-14', 'dotenv-10'].map((name) => require(name).parse);

/** What stands behind a name that no secret is in, and that is taken whatever it says. */
const NAME = 'RUST_LOG';
const FILES = [
  '=plain', '=$xyz${HOME}', '=a#b', '=a # b', "='a # b'", '="a#b" # c', "='a#b' ", '=`a\'b"c`', '=`a`', '=a`b', '=a\\$b', '="a\\nb"', "='a\\nb'",
  '=a\\nb', '="a\\rb"', "='a'b'", '="a" b', '="open', "='a\"", '=""', '=', '=#', '=a=b==', '="a\\"b"', '="a\\"b # c"', ': b', ':b', ' = b ', '=a b\t', '="two\nlines"',
  `=one\n${NAME}=two`, `=one\n${NAME}=t#wo`, '=a\r\nB=c', '=a\rB=c', '=\nB=c', '=ü',
].map((rest) => NAME + rest).concat(`\ufeff${NAME}=b`, `export ${NAME}=b`, `MY ${NAME}=b`, `# ${NAME}=x\n${NAME}=b`, `not a line\n${NAME}=b`, `A="\n${NAME}=b\n"`);

const run = (args, cwd) => new Promise((done) => {
  execFile(BINARY, args, { cwd, env: { PATH: process.env.PATH, HOST: '127.0.0.1', PORT: '0' }, timeout: 20_000 }, (_, stdout) => done(stdout));
});

test('a value is the one that dotenv reads, and the doctor names the lines that its versions read differently', async (t) => {
  const cwd = mkdtempSync(join(tmpdir(), 'tidings-dotenv-'));
  t.after(() => rmSync(cwd, { recursive: true, force: true }));
  for (const text of FILES) {
    writeFileSync(join(cwd, '.env'), text);
    const shown = /^log = ("[^\n]*") {2}# RUST_LOG in \.env$/m.exec(await run(['config'], cwd));
    const value = newest(text)[NAME];
    assert.equal(shown ? JSON.parse(shown[1]) : '', value ?? '', JSON.stringify(text));
    const disputed = older.some((parse) => parse(text)[NAME] !== value);
    const said = await run(['doctor'], cwd);
    assert.equal(/line \d+: versions of Node's dotenv read RUST_LOG differently/.test(said), disputed, `${JSON.stringify(text)}\n${said}`);
  }
});
