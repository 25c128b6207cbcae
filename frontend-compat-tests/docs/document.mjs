// A Markdown document as a session in a terminal: its blocks, and a shell that runs them one after the other.
//
// `sh` blocks are run as they stand; each line of a `console` block that begins with `$ ` (and `> `, which continues it) is run, and the
// lines below it must be in the output, in their order, others between them; `…` stands for anything. A command that ends in ` &` goes on
// until the document ends, or until the document ends it; what is below it is waited for. Other blocks that open with a name, such as
// `// ben.mjs` or `# ~/folder/.env`, are saved under it. A line `*Not run by the tests: why.*` above a block is believed.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const SKIPPED = /^\*Not run by the tests: (.+?)\*$/;
const RUN = new Set(['sh', 'console']);

/** The fenced blocks: `{line, language, text, skipped}`. */
export function blocks(markdown) {
  const found = [];
  let open = null;
  let above = '';
  markdown.split('\n').forEach((line, n) => {
    const fence = /^```(\w*)$/.exec(line);
    if (fence && open) {
      found.push(open);
      open = null;
    } else if (fence) {
      open = { line: n + 1, language: fence[1], text: '', skipped: SKIPPED.exec(above)?.[1] };
    } else if (open) {
      open.text += `${line}\n`;
    }
    if (line && !fence) above = line;
  });
  if (open) throw new Error(`the block at line ${open.line} does not end`);
  return found;
}

/** What a block has run: `{command, expected}`, in order. */
export function commands({ language, text }) {
  if (!RUN.has(language)) return [];
  if (language === 'sh') return [{ command: text, expected: [] }];
  const found = [];
  for (const line of text.split('\n')) {
    const last = found.at(-1);
    if (line.startsWith('$ ')) found.push({ command: line.slice(2), expected: [] });
    else if (line.startsWith('> ') && last?.expected.length === 0) last.command += `\n${line.slice(2)}`;
    else if (line) last.expected.push(line);
  }
  return found;
}

/** The name under which a block is to be saved, if it has one. */
export const fileName = ({ language, text }) => (RUN.has(language) ? undefined : /^(?:\/\/|#) ([~\w./-]*\.\w+)(?::.*)?\n/.exec(text)?.[1]);

const literal = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** The first expected line that is not in the output in its turn. */
export function missing(expected, output) {
  let rest = output;
  for (const line of expected) {
    const at = new RegExp(line.trim().split('…').map((part) => literal(part).replaceAll(/ +/g, ' +')).join('[^\\n]*?')).exec(rest);
    if (!at) return line;
    rest = rest.slice(at.index + at[0].length);
  }
  return undefined;
}

const DEADLINE_MS = 30_000;

/** A shell in a folder of its own, which is also its home. */
export class Shell {
  #child;
  #output = '';
  #wake = () => {};
  #ended = false;
  #closed;

  constructor(home, env) {
    this.home = home;
    // A group of its own, so that what it has started ends with it.
    this.#child = spawn('bash', ['--norc', '--noprofile'], { cwd: home, env: { ...env, HOME: home }, detached: true });
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream.on('data', (chunk) => { this.#output += chunk; this.#wake(); });
    this.#closed = new Promise((done) => { this.#child.once('close', done); });
    this.#child.once('exit', () => { this.#ended = true; this.#wake(); });
    this.#child.stdin.write('set -e -o pipefail\n');
  }

  /** Runs a command; resolves when it has ended well, or, if it goes on in the background, has said what is expected. */
  async run({ command, expected }) {
    const start = this.#output.length;
    const mark = `ended:${start}:${command.length}`;
    // What it reads is not the next command.
    this.#child.stdin.write(`{\n${command}\n} </dev/null\nprintf '\\n%s\\n' ${mark}\n`);
    const said = () => this.#output.slice(start).replace(`\n${mark}\n`, '');
    const isOver = () => this.#output.includes(`\n${mark}\n`, start) && (!command.trimEnd().endsWith(' &') || missing(expected, said()) === undefined);
    await this.#until(isOver, () => `${command}\nwent on, or failed, or did not say "${missing(expected, said())}":\n${said()}`);
    const line = missing(expected, said());
    if (line !== undefined) throw new Error(`${command}\ndid not say in its turn:\n${line}\nbut:\n${said()}`);
  }

  async #until(condition, sentence) {
    const late = Date.now() + DEADLINE_MS;
    while (!condition()) {
      if (this.#ended || Date.now() > late) throw new Error(sentence());
      await new Promise((done) => {
        const timer = setTimeout(done, 1000);
        this.#wake = () => { clearTimeout(timer); done(); };
      });
    }
  }

  /** Ends everything that it has started, also when it has ended itself. */
  async end() {
    try { process.kill(-this.#child.pid, 'SIGKILL'); } catch (error) { assert.equal(error.code, 'ESRCH'); }
    await this.#closed;
  }

  /** Saves a file; `~` is the home of the shell. */
  save(name, text) {
    const path = join(this.home, name.replace(/^~\//, ''));
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
}
