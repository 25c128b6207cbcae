// The documentation page in a real browser: it shows the operations, asks nobody but the server, and can try one out.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chromium } from 'playwright-core';
import { CHROMIUM, FLAGS, skip } from '../lib/browser.mjs';
import { createUser, startServer } from '../lib/server.mjs';

test('the documentation page works without any other host, and with a token tries an operation out', { skip, timeout: 90_000 }, async () => {
  const server = await startServer();
  const browser = await chromium.launch({ executablePath: CHROMIUM, headless: true, args: FLAGS });
  try {
    const user = await createUser(server, 'reader');
    const page = await browser.newPage();
    const [elsewhere, errors] = [[], []];
    await page.route('**/*', (route) => {
      const url = route.request().url();
      if (url.startsWith(`${server.url}/`) || url.startsWith('data:')) return route.continue();
      elsewhere.push(url);
      return route.abort();
    });
    page.on('pageerror', (error) => errors.push(String(error)));
    page.on('console', (line) => { if (line.type() === 'error') errors.push(line.text()); });
    await page.goto(`${server.url}/docs`);
    await page.locator('.opblock').first().waitFor();
    assert.ok(await page.locator('.opblock').count() > 20);

    await page.locator('button.authorize').first().click();
    await page.locator('.auth-container input').fill(user.token);
    await page.locator('.auth-btn-wrapper .authorize').click();
    await page.locator('.auth-btn-wrapper .btn-done').click();
    const me = page.locator('.opblock', { hasText: '/api/auth/me' });
    await me.locator('.opblock-summary-control').click();
    await me.locator('button.execute').click();
    await me.locator('.live-responses-table .response-col_status', { hasText: '200' }).first().waitFor();
    assert.match(await me.locator('.live-responses-table').innerText(), /"username": "reader"/);
    assert.deepEqual([elsewhere, errors], [[], []]);
  } finally {
    await browser.close();
    await server.stop();
  }
});
