// Stories of a server that is killed and of a network that is cut: the current frontend joins nothing again, and yet it goes on.
import { setTimeout as elapse } from 'node:timers/promises';
import assert from 'node:assert/strict';
import { startCutter } from '../../lib/cutter.mjs';
import { story } from '../../lib/browser.mjs';
import { createUser, openConversation } from '../../lib/server.mjs';
import { allStored, AWAY, openChat, say, settled, showsLines } from '../steps.mjs';

/** Nothing missing, nothing twice: also after one more line of each. */
async function goesOn(a, b, said) {
  for (const screen of [a, b]) await showsLines(screen, said);
  await say(a, 'Still there?');
  await b.sees('message', 'Still there?');
  await say(b, 'Still there.');
  said.push('Still there?', 'Still there.');
  for (const screen of [a, b]) {
    await showsLines(screen, said);
    await settled(screen, 'Still there.');
    await showsLines(screen, said); // the refetch of the history agrees
    await allStored(screen);
  }
}

story('G2: the server is killed and started again while both look at the chat', async ({ server, enter }) => {
  const [ann, ben] = [await createUser(server, 'Ann'), await createUser(server, 'Ben')];
  await openConversation(server, ann, ben);
  const [a, b] = await Promise.all([enter(ann, { allow: AWAY }), enter(ben, { allow: AWAY })]);
  await Promise.all([openChat(a, 'Ben'), openChat(b, 'Ann')]);
  await say(a, 'Before');
  await b.sees('message', 'Before');
  await say(b, 'Before too');
  await Promise.all([settled(a, 'Before too'), settled(b, 'Before too')]);

  await server.kill();
  await say(a, 'While it was gone');
  await a.shot('server-gone');
  assert.equal(await a.page.locator('.bubble.optimistic').count(), 1);
  await server.start();
  await allStored(a);
  await b.sees('message', 'While it was gone');
  const said = ['Before', 'Before too', 'While it was gone'];
  await goesOn(a, b, said);
  await b.shot('goes-on');
  await server.restart();
  await say(b, 'After the second crash');
  await goesOn(a, b, [...said, 'After the second crash']);
});

story('G2: the badge and the dots are live again after the server was killed', async ({ server, enter }) => {
  const [ann, ben] = [await createUser(server, 'Ann'), await createUser(server, 'Ben')];
  await openConversation(server, ann, ben);
  const [a, b] = await Promise.all([enter(ann, { allow: AWAY }), enter(ben, { allow: AWAY })]);
  await openChat(a, 'Ben');
  await b.at('nav-trips').click();
  await say(a, 'One');
  await b.sees('navbar-badge', '1'); // so the navbar's socket, without a token, is known by now
  await settled(a, 'One');
  await server.restart();
  await say(a, 'Two');
  await b.sees('navbar-badge', '2');
  await a.page.locator('.dot.online').waitFor();
  await b.shot('badge');
});

story('G2: the network is away for three seconds', async ({ server, enter }) => {
  const [ann, ben] = [await createUser(server, 'Ann'), await createUser(server, 'Ben')];
  await openConversation(server, ann, ben);
  const network = await startCutter(server.port);
  try {
    const [a, b] = await Promise.all([enter(ann), enter(ben, { via: network.url, allow: AWAY })]);
    await Promise.all([openChat(a, 'Ben'), openChat(b, 'Ann')]);
    await say(a, 'Before');
    await b.sees('message', 'Before');
    await say(b, 'Before too');
    await Promise.all([settled(a, 'Before too'), settled(b, 'Before too')]);

    network.cut();
    const threeSeconds = elapse(3000); // the scenario, not a wait
    await say(a, 'Into the dark');
    await allStored(a);
    await say(a, 'Do you hear me?');
    await allStored(a);
    await threeSeconds;
    network.resume();
    await b.sees('message', 'Do you hear me?');
    await goesOn(a, b, ['Before', 'Before too', 'Into the dark', 'Do you hear me?']);
    await b.shot('recovered');
  } finally {
    await network.stop();
  }
});

story('G2: what was written in the dark goes out once, when the network is back', async ({ server, enter }) => {
  const [ann, ben] = [await createUser(server, 'Ann'), await createUser(server, 'Ben')];
  await openConversation(server, ann, ben);
  const network = await startCutter(server.port);
  try {
    const [a, b] = await Promise.all([enter(ann), enter(ben, { via: network.url, allow: AWAY })]);
    await Promise.all([openChat(a, 'Ben'), openChat(b, 'Ann')]);
    await say(b, 'Before');
    await Promise.all([settled(a, 'Before'), settled(b, 'Before')]);

    network.cut();
    await say(b, 'Written in the dark');
    await b.shot('in-the-dark');
    assert.equal(await b.page.locator('.bubble.optimistic').count(), 1);
    network.resume();
    await a.sees('message', 'Written in the dark');
    await allStored(b);
    await goesOn(a, b, ['Before', 'Written in the dark']);
  } finally {
    await network.stop();
  }
});
