// Stories of the current frontend's inbox and navbar: the list, presence, the badge, new conversations.
import assert from 'node:assert/strict';
import { eventually, story } from '../../lib/browser.mjs';
import { createUser, openConversation } from '../../lib/server.mjs';
import { allStored, lines, openChat, say, showsLines } from '../steps.mjs';

story('G2: the inbox lists the conversations, newest first, and searches in them', async ({ server, enter }) => {
  const [ann, ben, cat] = [await createUser(server, 'Ann'), await createUser(server, 'Ben'), await createUser(server, 'Cat')];
  await openConversation(server, ann, ben);
  await openConversation(server, ann, cat);
  const [a, b] = await Promise.all([enter(ann), enter(ben)]);
  await openChat(b, 'Ann');
  await say(b, 'Ben was last');
  await eventually(async () => assert.deepEqual((await a.texts('conversation')).map((row) => row.split('\n')[0]), ['Ben', 'Cat']));
  await a.sees('conversation', 'Ben was last');
  await a.sees('conversation', 'No messages yet');
  await a.shot('inbox');
  await a.at('filter').fill('cA');
  await eventually(async () => assert.equal(await a.at('conversation').count(), 1));
  await a.sees('conversation', 'Cat');
  await a.at('filter').fill('nobody');
  await a.sees('no-conversations');
});

story('G2: the dot is green while the other one is there, and a reload does not make it flicker', async ({ server, enter }) => {
  const [ann, ben, cat] = [await createUser(server, 'Ann'), await createUser(server, 'Ben'), await createUser(server, 'Cat')];
  await openConversation(server, ann, ben);
  const a = await enter(ann);
  await a.sees('conversation', 'Ben');
  const dot = async () => assert.equal(await a.page.locator('.dot.online').count(), 1);
  const noDot = async () => assert.equal(await a.page.locator('.dot.online').count(), 0);
  await noDot();
  let b = await enter(ben);
  await eventually(dot);
  await a.shot('online');
  await a.page.evaluate(() => {
    window.grey = 0;
    new MutationObserver(() => { window.grey += document.querySelector('.dot') && !document.querySelector('.dot.online') ? 1 : 0; })
      .observe(document.body, { subtree: true, childList: true, attributes: true });
  });
  await b.page.reload();
  await openChat(b, 'Ann');
  await say(b, 'Back again');
  await a.sees('conversation', 'Back again');
  assert.equal(await a.page.evaluate(() => window.grey), 0, 'a reload was seen as going offline');
  await b.leave();
  await eventually(noDot);
  await a.shot('offline');
  b = await enter(ben);
  await eventually(dot);
  await enter(cat); // no contact: changes nothing
  await dot();
});

story('G2: the badge in the navbar is live on every page, also after the inbox was left', async ({ server, enter }) => {
  const [ann, ben] = [await createUser(server, 'Ann'), await createUser(server, 'Ben')];
  await openConversation(server, ann, ben);
  const [a, b] = await Promise.all([enter(ann), enter(ben)]);
  await openChat(a, 'Ben');
  await b.at('nav-trips').click();
  await b.sees('trips');
  await b.missesSoon('navbar-badge');
  await say(a, 'One');
  await b.sees('navbar-badge', '1');
  await b.shot('badge-on-trips');
  await b.at('nav-inbox').click();
  await openChat(b, 'Ann');
  await b.missesSoon('navbar-badge');
  await b.at('nav-support').click();
  await b.sees('create-ticket');
  await say(a, 'Two');
  await b.sees('navbar-badge', '1');
  await b.page.reload();
  await b.sees('navbar-badge', '1');
  await say(a, 'Three');
  await b.sees('navbar-badge', '2');
  await b.shot('badge-on-support');
});

story('G2: a new chat with somebody who is found by name, and nobody for a name that does not exist', async ({ server, enter }) => {
  const [ann, ben] = [await createUser(server, 'Ann'), await createUser(server, 'Ben & Söhne', { role: 'agency' })];
  const [a, b] = await Promise.all([enter(ann), enter(ben)]);
  await b.sees('no-conversations');
  await a.at('new-chat').click();
  await a.at('user-search').pressSequentially('nobody at all');
  await a.sees('nobody');
  await a.shot('nobody');
  await a.at('user-search').fill('');
  await a.at('user-search').pressSequentially('ben');
  await a.at('found-user', 'Ben').click();
  await a.sees('chat-title', 'Ben & Söhne');
  await b.sees('conversation', 'Ann'); // by a nudge, without a reload
  await say(a, 'May I ask you something?');
  await b.sees('conversation', 'May I ask you something?');
  await openChat(b, 'Ann');
  await say(b, 'You may');
  await showsLines(a, ['May I ask you something?', 'You may']);
  await a.shot('new-chat');
});

story('G2: a new chat with somebody one already writes to opens the old one, and the double row goes', async ({ server, enter }) => {
  const [ann, ben] = [await createUser(server, 'Ann'), await createUser(server, 'Ben')];
  await openConversation(server, ann, ben);
  const a = await enter(ann);
  await openChat(a, 'Ben');
  await say(a, 'Said before');
  await allStored(a);
  await showsLines(a, ['Said before']);
  await a.page.reload();
  await a.sees('conversation', 'Ben');
  await a.at('new-chat').click();
  await a.at('user-search').pressSequentially('be');
  await a.at('found-user', 'Ben').click();
  await showsLines(a, ['Said before']);
  await eventually(async () => assert.equal(await a.at('conversation').count(), 1)); // after the nudge that POST sends
});

story('G2: a reload keeps the history', async ({ server, enter }) => {
  const [ann, ben] = [await createUser(server, 'Ann'), await createUser(server, 'Ben')];
  await openConversation(server, ann, ben);
  const [a, b] = await Promise.all([enter(ann), enter(ben)]);
  await Promise.all([openChat(a, 'Ben'), openChat(b, 'Ann')]);
  const said = [];
  for (const [screen, other, text] of [[a, b, 'Hello'], [b, a, 'Hello too'], [a, b, 'How are you?']]) {
    await say(screen, text);
    await other.sees('message', text);
    said.push(text);
  }
  for (const [screen, other] of [[a, 'Ben'], [b, 'Ann']]) {
    await screen.page.reload();
    await openChat(screen, other);
    await showsLines(screen, said);
  }
  await a.shot('after-reload');
  await say(b, 'Live again');
  await showsLines(a, [...said, 'Live again']);
  assert.equal(new Set(await lines(a)).size, 4);
});
