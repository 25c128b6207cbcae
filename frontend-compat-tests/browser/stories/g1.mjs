// Stories of the first frontend, which polls first and upgrades then; once beside the current one, as both use one server.
import assert from 'node:assert/strict';
import { eventually, story } from '../../lib/browser.mjs';
import { adminOf, createUser, openConversation } from '../../lib/server.mjs';
import { AWAY, openChat, say, settled, showsLines } from '../steps.mjs';

const g1 = { app: 'g1' };

/** Opens the chat anew, as a G1 chat sends only once: by a reload. */
async function again(screen, name) {
  await screen.page.reload();
  await openChat(screen, name);
}

/** The sockets of G1 begin with polling; waits until this page's socket has moved to a websocket. */
const upgraded = (screen) => eventually(() => {
  assert.ok(screen.requests.some((line) => line.includes('transport=polling')), 'no polling');
  assert.ok(screen.sent.includes('5'), 'no upgrade'); // Engine.IO's "upgrade" packet
});

story('G1: a chat over polling and then a websocket, both ways, without a duplicate', async ({ server, enter }) => {
  const [ann, ben] = [await createUser(server, 'Ann'), await createUser(server, 'Ben')];
  await openConversation(server, ann, ben);
  const [a, b] = await Promise.all([enter(ann, g1), enter(ben, g1)]);
  await a.sees('last-at');
  assert.doesNotMatch((await a.texts('last-at')).join(), /Invalid/); // nothing was said yet
  await a.shot('inbox');
  await Promise.all([openChat(a, 'Ben'), openChat(b, 'Ann')]);
  await Promise.all([upgraded(a), upgraded(b)]);
  await a.at('draft').pressSequentially('Hel');
  await b.sees('typing', 'typing…');
  await say(a, 'Hello Ben');
  await showsLines(b, ['Hello Ben']);
  await say(b, 'Hello Ann');
  for (const screen of [a, b]) await showsLines(screen, ['Hello Ben', 'Hello Ann']);
  await b.missesSoon('typing', 'typing…');
  await a.shot('chat');
  await again(a, 'Ben');
  await showsLines(a, ['Hello Ben', 'Hello Ann']);
  await eventually(async () => assert.equal(await a.at('seen').count(), 2)); // `mark-as-read 9`, a bare id
  await say(a, 'Once more');
  for (const screen of [a, b]) await showsLines(screen, ['Hello Ben', 'Hello Ann', 'Once more']);
  assert.equal(await a.page.locator('.bubble.mine').count(), 2);
});

story('G1: a line that is sent before the upgrade arrives once', async ({ server, enter }) => {
  const [ann, ben] = [await createUser(server, 'Ann'), await createUser(server, 'Ben')];
  await openConversation(server, ann, ben);
  const [a, b] = await Promise.all([enter(ann, g1), enter(ben, g1)]);
  await openChat(b, 'Ann');
  await upgraded(b);
  await a.at('conversation', 'Ben').click();
  await a.at('draft').fill('At once');
  await a.at('draft').press('Enter'); // most likely over polling, and around the upgrade in any case
  await eventually(async () => assert.deepEqual(await b.page.locator('.bubble > p').allInnerTexts(), ['At once']));
  await upgraded(a);
  await say(b, 'Got it');
  for (const screen of [a, b]) await showsLines(screen, ['At once', 'Got it']);
});

story('G1: switching between chats, each with a socket of its own', async ({ server, enter }) => {
  const [ann, ben, cat] = [await createUser(server, 'Ann'), await createUser(server, 'Ben'), await createUser(server, 'Cat')];
  // The unknown id; and a poll that crosses the closing of its socket, which Engine.IO's own server answers with 400 as well.
  const a = await enter(ann, { ...g1, allow: [/status of 404 .*\/conversations$/, /status of 400 .*transport=polling\S*&sid=/] });
  await a.at('other-id').fill('999999');
  await a.at('start').click();
  await eventually(async () => assert.match((await a.texts('start-error')).join(), /\w+ \w+/));
  for (const other of [ben, cat]) {
    await a.at('other-id').fill(String(other.id));
    await a.at('start').click();
    await a.sees('conversation', other.username);
  }
  await a.shot('started');
  const [b, c] = await Promise.all([enter(ben, g1), enter(cat, g1)]);
  await Promise.all([openChat(b, 'Ann'), openChat(c, 'Ann'), openChat(a, 'Ben')]);
  await a.at('draft').pressSequentially('x'); // its stop-typing comes three seconds late, on the socket of Cat's chat
  await b.sees('typing', 'typing…');
  await openChat(a, 'Cat');
  await b.missesSoon('typing', 'typing…'); // the typist's socket has gone
  await eventually(() => assert.ok(a.sent.some((frame) => frame.includes('stop-typing'))));
  await say(b, 'Not for the chat of Cat');
  await showsLines(b, ['Not for the chat of Cat']);
  await say(c, 'For the chat of Cat');
  await showsLines(a, ['For the chat of Cat']);
  await openChat(a, 'Ben');
  await showsLines(a, ['Not for the chat of Cat']);
});

story('G1: a support ticket, answered live by an admin in the same frontend', async ({ server, enter }) => {
  const [ann, staff] = [await createUser(server, 'Ann'), await createUser(server, 'Staff')];
  const a = await enter(ann, g1);
  await a.at('tab-support').click();
  await a.at('subject').fill('No invoice');
  await a.at('description').fill('For March');
  await a.at('category').selectOption('booking');
  await a.at('create-ticket').click();
  await a.sees('support-chat', 'For March');

  const admin = await enter(staff, { ...g1, token: adminOf(server, staff), role: 'admin' });
  await admin.at('tab-admin').click();
  await admin.sees('ticket-owner', 'Ann, open');
  await admin.at('ticket', 'No invoice').click();
  await admin.sees('support-chat', 'For March');
  await Promise.all([upgraded(a), upgraded(admin)]);
  await say(a, 'Hello?');
  await showsLines(admin, ['Hello?']);
  await admin.at('draft').fill('Here it is');
  await admin.at('draft').press('Enter');
  await admin.sees('ticket-status', 'in_progress');
  await say(a, 'Thank you');
  for (const screen of [a, admin]) {
    await showsLines(screen, ['Hello?', 'Here it is', 'Thank you']);
    assert.equal(await screen.page.locator('.bubble.team').count(), 1);
    await screen.shot('answered');
  }
  await admin.at('set-status').selectOption('closed');
  await admin.sees('ticket-status', 'closed');
  await say(a, 'One more thing'); // Bug of the frontend: the input is still there
  await eventually(async () => assert.match((await a.texts('chat-error')).join(), /closed/));
  await a.page.reload();
  await a.at('tab-support').click();
  await a.at('ticket', 'No invoice').click();
  await a.sees('ticket-status', 'closed');
  await showsLines(a, ['Hello?', 'Here it is', 'Thank you']);
  await a.missesSoon('draft');
  await a.shot('closed');
});

story('G1 and G2 write to each other, and both go on after the server was killed', async ({ server, enter }) => {
  const [ann, ben] = [await createUser(server, 'Ann'), await createUser(server, 'Ben')];
  await openConversation(server, ann, ben);
  const a = await enter(ann, { ...g1, allow: AWAY });
  await openChat(a, 'Ben');
  await upgraded(a);
  const b = await enter(ben, { allow: AWAY });
  await a.sees('status', 'online');
  await openChat(b, 'Ann');
  await say(b, 'Written with the new one');
  await showsLines(a, ['Written with the new one']);
  await settled(b, 'Written with the new one');
  await server.restart();
  await say(b, 'After the crash');
  await showsLines(a, ['Written with the new one', 'After the crash']);
  await say(a, 'Written with the old one');
  for (const screen of [a, b]) await showsLines(screen, ['Written with the new one', 'After the crash', 'Written with the old one']);
  await b.shot('together');
});
