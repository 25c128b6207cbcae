// A fake legacy backend, and requests over node:http that show and control every header: for upstream.test.mjs.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';

export const sha = (data) => createHash('sha256').update(data).digest('hex');

/** The promise, or an error that says what did not happen in time. */
export function soon(promise, what, ms = 10_000) {
  const late = new Error(`not in ${ms} ms: ${what}`);
  let timer;
  const deadline = new Promise((_, reject) => { timer = setTimeout(reject, ms, late); });
  return Promise.race([promise, deadline]).finally(() => clearTimeout(timer));
}

/** The rest of a stream. */
export async function body(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** All values of a header, in order, as they stood on the wire. */
export const all = ({ rawHeaders }, name) => rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1].toLowerCase() === name);

/** What the upstream answers when the test has not said otherwise: the request, as it came. */
export async function echo(req, res) {
  const data = await body(req);
  res.setHeader('content-type', 'application/json');
  const { method, url, rawHeaders } = req;
  res.end(JSON.stringify({ method, url, rawHeaders, sha: sha(data), text: data.toString().slice(0, 1000) }));
}

/** A legacy backend: `seen` are the requests that came, `answer` may be replaced by a test. */
export async function legacy(port = 0) {
  const it = { seen: [], answer: echo };
  const server = http.createServer((req, res) => { it.seen.push(req); it.answer(req, res); });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  it.port = server.address().port;
  it.close = () => { server.closeAllConnections(); return new Promise((done) => { server.close(done); }); };
  return it;
}

/** A request with every header under control, on a connection of its own: the head of the answer, its body still to be read. */
export function send(server, method, path, headers = {}) {
  const req = http.request({ host: '127.0.0.1', port: server.port, method, path, headers, agent: false });
  const head = new Promise((resolve, reject) => { req.once('response', resolve); req.once('error', reject); });
  head.catch(() => {});
  return { req, head: () => soon(head, `an answer to ${method} ${path}`) };
}

/** The whole exchange: `{status, headers, rawHeaders, data, text, json}`. */
export async function ask(server, method, path, { headers, data } = {}) {
  const { req, head } = send(server, method, path, headers);
  req.end(data && Buffer.from(data)); // a string would make node write the headers as UTF-8
  const res = await head();
  const got = await soon(body(res), `the body of the answer to ${method} ${path}`);
  const { statusCode: status, headers: flat, rawHeaders } = res;
  return { status, headers: flat, rawHeaders, data: got, text: got.toString(), get json() { return JSON.parse(got); } };
}

/** The answer is an error as tidings words them: JSON `{error, message, code}`. */
export function isError(answer, status, code) {
  assert.equal(answer.status, status, answer.text);
  assert.match(answer.headers['content-type'], /^application\/json/);
  const { error, message, code: got, ...rest } = answer.json;
  assert.equal(typeof error, 'string');
  assert.equal(error, message);
  if (code) assert.equal(got, code);
  assert.match(got, /^[a-z_]+$/);
  assert.deepEqual(rest, {});
}
