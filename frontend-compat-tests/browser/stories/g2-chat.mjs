// Stories of two or three people in one chat of the current frontend: sending, drafts, typing, ticks.
import assert from 'node:assert/strict';
import { eventually, story } from '../../lib/browser.mjs';
import { createUser, openConversation } from '../../lib/server.mjs';
import { allStored, lines, openChat, say, showsLines } from '../steps.mjs';

/** Ann and Ben in front of their common chat, which holds nothing yet. */
async function annAndBen({ server, enter }) {
  const [ann, ben] = [await createUser(server, 'Ann'), await createUser(server, 'Ben')];
  await openConversation(server, ann, ben);
  const [a, b] = await Promise.all([enter(ann), enter(ben)]);
  await Promise.all([openChat(a, 'Ben'), openChat(b, 'Ann')]);
  return { ann, ben, a, b };
}

story('G2: two people log in with the form and write to each other live', async ({ server, enter }) => {
  const [ann, ben] = [await createUser(server, 'Ann'), await createUser(server, 'Ben', { role: 'agency' })];
  await openConversation(server, ann, ben);
  const a = await enter(null, { allow: [/status of 401 .*\/login$/] }); // the wrong password
  await a.at('email').fill(ann.email);
  await a.at('password').fill('wrong');
  await a.at('login').click();
  await a.sees('login-error', 'Invalid email or password');
  await a.shot('wrong-password');
  await a.at('password').fill(ann.password);
  await a.at('login').click();
  await openChat(a, 'Ben');
  const b = await enter(ben);
  await openChat(b, 'Ann');

  await say(a, 'Hello Ben');
  await b.sees('message', 'Hello Ben');
  await say(b, 'Hello Ann');
  await a.sees('message', 'Hello Ann');
  await say(a, 'ünï 😀 <b>&amp;</b> "quotes"');
  for (const screen of [a, b]) {
    await showsLines(screen, ['Hello Ben', 'Hello Ann', 'ünï 😀 <b>&amp;</b> "quotes"']);
    await screen.shot('chat');
  }
  assert.equal(await a.page.locator('.bubble.mine').count(), 2);
});

story('G2: the pale bubble is replaced by the stored message, never shown beside it', async (stage) => {
  const { a, b } = await annAndBen(stage);
  await a.page.evaluate(() => {
    window.most = 0;
    window.pale = false;
    new MutationObserver(() => {
      window.most = Math.max(window.most, document.querySelectorAll('.bubble').length);
      window.pale ||= document.querySelector('.bubble.optimistic') !== null;
    }).observe(document.body, { subtree: true, childList: true, attributes: true });
  });
  await say(a, 'One bubble');
  await b.sees('message', 'One bubble');
  await allStored(a);
  await showsLines(a, ['One bubble']);
  assert.deepEqual(await a.page.evaluate(() => [window.pale, window.most]), [true, 1]);
});

story('G2: four quick lines all arrive, in order and once', async (stage) => {
  const { a, b } = await annAndBen(stage);
  const quick = ['one', 'two', 'three', 'four'];
  // No `say`: what is tested is that no line needs a second attempt.
  for (const text of quick) {
    await a.at('draft').pressSequentially(text);
    await a.at('draft').press('Enter');
  }
  assert.equal(a.sent.filter((frame) => frame.includes('"send-message"')).length, 4, 'the chat was unmounted between two lines');
  await showsLines(b, quick);
  await allStored(a);
  await showsLines(a, quick);
  await a.shot('four-lines');
  await a.page.reload();
  await openChat(a, 'Ben');
  await showsLines(a, quick);
});

story('G2: a draft and its focus survive a message that comes while one types', async (stage) => {
  const { a, b } = await annAndBen(stage);
  await a.at('draft').pressSequentially('I was just ', { delay: 40 });
  await say(b, 'Are you there?');
  await a.sees('message', 'Are you there?');
  const draft = () => a.page.evaluate(() => [document.activeElement.dataset.testid, document.activeElement.value]);
  assert.deepEqual(await draft(), ['draft', 'I was just ']);
  await a.shot('draft');
  await a.page.keyboard.type('writing to you', { delay: 150 }); // longer than a nudge waits after one key
  assert.deepEqual(await draft(), ['draft', 'I was just writing to you']);
  await a.page.keyboard.press('Enter');
  for (const screen of [a, b]) await showsLines(screen, ['Are you there?', 'I was just writing to you']);
});

story('G2: typing is shown to the other and goes away', async (stage) => {
  const { a, b } = await annAndBen(stage);
  await b.at('draft').pressSequentially('hm');
  await a.sees('typing', 'typing…');
  await a.shot('typing');
  await a.missesSoon('typing', 'typing…'); // stop-typing, one second after the last key
  await b.at('draft').pressSequentially('m');
  await a.sees('typing', 'typing…');
  await b.at('draft').press('Enter');
  await a.sees('message', 'hmm');
  await a.missesSoon('typing', 'typing…');
  assert.equal(await b.at('typing', 'typing…').count(), 0, 'one does not see oneself typing');
});

story('G2: who switches to another chat does not take the typing of the first one along', async ({ server, enter }) => {
  const [ann, ben, cat] = [await createUser(server, 'Ann'), await createUser(server, 'Ben'), await createUser(server, 'Cat')];
  await openConversation(server, ann, ben);
  await openConversation(server, ann, cat);
  const [a, b] = await Promise.all([enter(ann), enter(ben)]);
  await Promise.all([openChat(a, 'Ben'), openChat(b, 'Ann')]);

  let writing = true;
  const types = (async () => { while (writing) await b.at('draft').pressSequentially('so ', { delay: 150 }); })();
  await a.sees('typing', 'typing…');
  await openChat(a, 'Cat');
  await a.missesSoon('typing', 'typing…');
  await a.shot('other-chat');
  await openChat(a, 'Ben');
  await a.sees('typing', 'typing…');
  // Ann types to Ben and is in Cat's chat before her `stop-typing` goes out: it must not bring Ben's chat back to her.
  await a.at('draft').pressSequentially('x');
  await openChat(a, 'Cat');
  await eventually(() => assert.match(a.sent.at(-1), /stop-typing/));
  writing = false;
  await types;
  await say(b, 'Not for the chat of Cat');
  await eventually(async () => assert.match((await a.texts('conversation')).join(), /Not for the chat of Cat/)); // the list tells it
  assert.deepEqual(await lines(a), []);
  await a.shot('not-in-the-wrong-chat');
});

story('G2: a tick becomes double when the other one opens the chat', async ({ server, enter }) => {
  const [ann, ben] = [await createUser(server, 'Ann'), await createUser(server, 'Ben')];
  await openConversation(server, ann, ben);
  const [a, b] = await Promise.all([enter(ann), enter(ben)]);
  await openChat(a, 'Ben');
  await b.sees('conversation', 'Ann');
  await say(a, 'First');
  await say(a, 'Second');
  await allStored(a);
  await eventually(async () => assert.deepEqual(await a.page.locator('.ticks').allInnerTexts(), ['✓', '✓']));
  await b.sees('unread', '2');
  await b.shot('unread');
  await openChat(b, 'Ann');
  await showsLines(b, ['First', 'Second']);
  await eventually(async () => assert.deepEqual(await a.page.locator('.ticks').allInnerTexts(), ['✓✓', '✓✓']));
  await b.missesSoon('unread');
  await a.shot('double-ticks');
});
