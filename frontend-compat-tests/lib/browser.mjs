// The two stand-in frontends, built and served, in Debian's Chromium; and `story`, a test of people in front of them.
// Their ports are fixed, so all stories run one after another in one process: browser/stories.test.mjs.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join } from 'node:path';
import test, { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startServer } from './server.mjs';

export const CHROMIUM = '/usr/bin/chromium';
// Without the background flags Chromium looks up its maker's hosts; as root it needs --no-sandbox.
export const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const PORTS = { g2: 5173, g1: 5174 }; // both are origins that the server lets in by default
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' };
const root = fileURLToPath(new URL('..', import.meta.url));
const screenshots = join(root, 'screenshots');

export const DEADLINE = 15_000;
const STORY_MS = 90_000;
export const skip = existsSync(CHROMIUM) || process.env.CI === 'true' ? false : `${CHROMIUM} is not installed`;

/** Waits until `check` returns without throwing, and returns what it returned; else throws what it threw last. */
export async function eventually(check, deadline = DEADLINE) {
  const end = Date.now() + deadline;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > end) throw error;
      await new Promise((done) => setTimeout(done, 40));
    }
  }
}

/** One test: `body` gets `{server, enter}`. Afterwards nobody may have seen an error that was not allowed. */
export function story(name, body, { config } = {}) {
  test(name, { skip, timeout: STORY_MS }, async () => {
    const { browser } = await (stage ??= openStage());
    const folder = join(screenshots, name.replace(/[^a-z0-9]+/gi, '-').toLowerCase());
    const server = await startServer({ config });
    const screens = [];
    const enter = async (user, options) => {
      const screen = await Screen.open(browser, server, folder, user, options);
      screens.push(screen);
      return screen;
    };
    try {
      await body({ server, enter });
      for (const screen of screens) assert.deepEqual(screen.errors, [], `errors on the page of ${screen.name}`);
    } catch (error) {
      for (const screen of screens) {
        await screen.shot('failed').catch(() => {});
        console.error(`${screen.name}: page errors ${JSON.stringify(screen.errors)}, see ${folder}; it heard last\n${screen.heard.slice(-12).join('\n')}`);
      }
      console.error(server.log().slice(-3000));
      throw error;
    } finally {
      for (const screen of screens) await screen.leave();
      await server.stop();
    }
  });
}

/** One person's browser: a context of its own, logged in by what the login form would have left in localStorage. */
class Screen {
  errors = [];
  sent = []; // websocket frames, as text
  heard = [];
  requests = [];
  lastRest = Date.now(); // when the page last asked for or got something over REST
  #shots = 0;

  /** `user` null: nobody is logged in. `via`: another way to the server. `allow`: errors that belong to the scenario. */
  static async open(browser, server, folder, user, { app = 'g2', via = server.url, token = user?.token, role = user?.role, allow = [] } = {}) {
    const origin = `http://localhost:${PORTS[app]}`;
    const login = user ? { authToken: token, userId: String(user.id), user: JSON.stringify({ id: user.id, role }) } : {};
    const localStorage = Object.entries({ apiUrl: via, ...login }).map(([name, value]) => ({ name, value }));
    const context = await browser.newContext({ viewport: { width: 1000, height: 640 }, storageState: { cookies: [], origins: [{ origin, localStorage }] } });
    const screen = new Screen();
    Object.assign(screen, { context, folder, origin, name: user?.username ?? 'nobody', page: await context.newPage() });
    screen.page.setDefaultTimeout(DEADLINE);
    const note = (text) => { if (!allow.some((pattern) => pattern.test(text))) screen.errors.push(text); };
    screen.page.on('pageerror', (error) => note(`pageerror ${error.stack ?? error}`));
    screen.page.on('console', (line) => { if (line.type() === 'error') note(`${line.text()} at ${line.location().url}`); });
    screen.page.on('websocket', (socket) => {
      socket.on('framesent', ({ payload }) => screen.sent.push(String(payload)));
      socket.on('framereceived', ({ payload }) => screen.heard.push(String(payload)));
    });
    const rest = (request) => { if (request.url().includes('/api/')) screen.lastRest = Date.now(); };
    screen.page.on('request', (request) => { rest(request); screen.requests.push(`${request.method()} ${request.url()}`); });
    screen.page.on('requestfinished', rest);
    await screen.page.goto(origin);
    return screen;
  }

  /** The elements of a test id, of those that contain `text` only. */
  at(testId, text) {
    const found = this.page.getByTestId(testId);
    return text === undefined ? found : found.filter({ hasText: text });
  }

  /** The texts of all elements of a test id, at this moment. */
  texts(testId) { return this.at(testId).allInnerTexts(); }

  /** Waits until the element is there and visible. */
  async sees(testId, text) { await this.at(testId, text).first().waitFor(); }

  /** Waits until there is no such element, or none that is visible. */
  async missesSoon(testId, text) { await eventually(async () => assert.equal(await this.at(testId, text).filter({ visible: true }).count(), 0)); }

  async shot(label) {
    mkdirSync(this.folder, { recursive: true });
    const number = String(++this.#shots).padStart(2, '0');
    await this.page.screenshot({ path: join(this.folder, `${this.name}-${number}-${label}.png`.replace(/ /g, '-')) });
  }

  async leave() { await this.context.close(); }
}

let stage = null;
after(async () => {
  const opened = await stage?.catch(() => null);
  await opened?.browser.close();
  for (const site of opened?.sites ?? []) await new Promise((done) => { site.close(done); site.closeAllConnections(); });
});

async function openStage() {
  const [{ build }, { chromium }] = await Promise.all([import('vite'), import('playwright-core')]);
  rmSync(screenshots, { recursive: true, force: true });
  const sites = [];
  for (const [app, port] of Object.entries(PORTS)) {
    await build({ root: join(root, 'apps', app), logLevel: 'warn' });
    sites.push(await serve(join(root, 'apps', app, 'dist'), port));
  }
  return { sites, browser: await chromium.launch({ executablePath: CHROMIUM, headless: true, args: FLAGS }) };
}

async function serve(folder, port) {
  const site = createServer((request, response) => {
    const path = join(folder, new URL(request.url, 'http://localhost').pathname);
    const file = existsSync(path) && extname(path) ? path : join(folder, 'index.html');
    response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream', 'cache-control': 'no-store' });
    response.end(readFileSync(file));
  });
  await new Promise((done, fail) => {
    site.once('error', (error) => fail(new Error(`port ${port} is needed for ${folder}, as the frontends run there: ${error.message}`)));
    site.listen(port, '127.0.0.1', done);
  });
  return site;
}
