// HAProxy and nginx before two nodes, with the configurations of docs/: only names, ports and folders are put in.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from './server.mjs';
import { startListener } from './nodes.mjs';

const docs = (name) => readFileSync(new URL(`../../docs/${name}`, import.meta.url), 'utf8');

const KINDS = {
  haproxy: { file: 'haproxy.cfg', listen: 'bind :5000', args: (path) => ['-db', '-f', path] },
  nginx: { file: 'nginx.conf', listen: 'listen 5000;', args: (path) => ['-e', 'stderr', '-c', path], adapt: nginxIn },
};

/** Starts one of them: `{url, stop(), log()}`. */
export async function startProxy(kind, nodes) {
  const { file, listen, args, adapt = (text) => text } = KINDS[kind];
  const dir = mkdtempSync(join(tmpdir(), `tidings-${kind}-`));
  const port = await freePort();
  let text = docs(file);
  for (const [from, to] of [
    [listen, listen.replace('5000', port)],
    ['tidings-one:5000', `127.0.0.1:${nodes[0].port}`],
    ['tidings-two:5000', `127.0.0.1:${nodes[1].port}`],
  ]) {
    if (!text.includes(from)) throw new Error(`docs/${file} has no "${from}"`);
    text = text.replaceAll(from, to);
  }
  const path = join(dir, file);
  writeFileSync(path, adapt(text, dir));
  const discard = () => rmSync(dir, { recursive: true, force: true });
  try {
    const proxy = await startListener(kind, args(path), port);
    return { url: `http://127.0.0.1:${port}`, log: proxy.log, async stop() { await proxy.stop(); discard(); } };
  } catch (error) {
    discard();
    throw error;
  }
}

// By itself it goes to the background and writes to the folders of the system's own instance.
function nginxIn(text, dir) {
  const kinds = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const folders = kinds.map((name) => `${name}_temp_path ${dir}/${name};`).join(' ');
  const user = process.getuid() === 0 ? 'user root;' : '';
  return `daemon off; pid ${dir}/pid; ${user}\n${text.replace('http {', `http { access_log off; ${folders}`)}`;
}
