// What people do in front of either frontend, as steps that the stories are made of.
import assert from 'node:assert/strict';
import { eventually } from '../lib/browser.mjs';

/** Errors that belong to a story in which the server or the network is away: only those of the sockets' own attempts to come back. */
export const AWAY = [/net::ERR_\w+ at http\S*\/socket\.io\//, /^WebSocket connection to 'ws:\S*\/socket\.io\/\S*' failed/];

/** Clicks on the conversation with `name` and waits for its chat. */
export async function openChat(screen, name) {
  await screen.at('conversation', name).first().click();
  await screen.sees('chat');
  if (await screen.at('chat-title').count()) await screen.sees('chat-title', name);
}

/** The texts of the open chat's bubbles, without time and ticks. */
export const lines = (screen) => screen.page.locator('[data-testid=message] > p').allInnerTexts();

/** Waits until the open chat shows exactly these lines. */
export const showsLines = (screen, expected) => eventually(async () => assert.deepEqual(await lines(screen), expected, `what ${screen.name} sees`));

/** Waits until none of the own bubbles is pale any more. */
export const allStored = (screen) => eventually(async () => assert.equal(await screen.page.locator('.bubble.optimistic').count(), 0));

/** Waits until the list tells `last` and no nudge can be on its way any more, so that a crash hits no refetch: G2 survives none. */
export async function settled(screen, last) {
  await screen.sees('conversation', last);
  await eventually(() => assert.ok(Date.now() - screen.lastRest > 2000, `${screen.name} still fetches`)); // longer than a nudge is held back
}

/**
 * Writes one line and sends it. G2 throws a draft away when a nudge of the line before comes in that moment (a human starts
 * anew as well), so the step looks whether the line went off, as a frame or as a bubble, and repeats itself if it did not.
 */
export async function say(screen, text) {
  await eventually(async () => {
    await screen.at('draft').fill(text, { timeout: 2000 });
    await screen.at('draft').press('Enter', { timeout: 2000 });
    await eventually(async () => {
      const sent = screen.sent.some((frame) => frame.includes(JSON.stringify(text)));
      assert.ok(sent || (await lines(screen)).includes(text), `${screen.name} could not send ${text}`);
    }, 1000);
  });
}
