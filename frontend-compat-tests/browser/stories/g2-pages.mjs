// Stories of the current frontend's other pages, trips and support, and of what a refusal leaves on the screen.
import assert from 'node:assert/strict';
import { eventually, story } from '../../lib/browser.mjs';
import { adminOf, api, createUser, openConversation, signToken } from '../../lib/server.mjs';
import { openChat, say, showsLines } from '../steps.mjs';

story('G2: another page opens a chat, and the inbox shows it preselected', async ({ server, enter }) => {
  const [ann, ben] = [await createUser(server, 'Ann'), await createUser(server, 'Ben', { role: 'agency' })];
  const a = await enter(ann);
  const b = await enter(ben);
  await a.at('nav-trips').click();
  await a.at('trip-owner').fill(String(ben.id));
  await a.at('contact').click();
  await a.sees('chat-title', 'Ben');
  await say(a, 'Is there a place left?');
  await openChat(b, 'Ann');
  await showsLines(b, ['Is there a place left?']);
  await say(b, 'Two');
  await showsLines(a, ['Is there a place left?', 'Two']);
  await a.shot('preselected');
});

story('G2: a chat with an unknown user, or with oneself, is refused in words', async ({ server, enter }) => {
  const ann = await createUser(server, 'Ann');
  const a = await enter(ann, { allow: [/status of 40[04] .*\/conversations$/] }); // the two refusals
  await a.at('nav-trips').click();
  await a.at('trip-owner').fill('999999');
  await a.at('contact').click();
  await eventually(async () => assert.match((await a.texts('contact-error')).join(), /\w+ \w+/));
  await a.shot('unknown-user');
  await a.at('trip-owner').fill(String(ann.id));
  await a.at('contact').click();
  await a.sees('contact-error', 'Cannot start conversation with yourself');
  await a.at('nav-inbox').click();
  await a.sees('no-conversations');
});

story('G2: a support ticket, answered live', async ({ server, enter }) => {
  const [ann, staff] = [await createUser(server, 'Ann'), await createUser(server, 'Staff')];
  const admin = adminOf(server, staff);
  const a = await enter(ann);
  await a.at('nav-support').click();
  await a.at('subject').fill('Lost luggage');
  await a.at('description').fill('It is blue');
  await a.at('category').selectOption('complaint');
  await a.at('create-ticket').click();
  await a.sees('support-chat', 'It is blue');
  await a.sees('ticket-status', 'open');
  await say(a, 'And heavy');
  await showsLines(a, ['And heavy']);

  const { body: [ticket] } = await api(server, admin, 'GET', '/api/messaging/support/tickets/admin/all');
  assert.deepEqual([ticket.subject, ticket.category, ticket.user_name], ['Lost luggage', 'complaint', 'Ann']);
  const respond = (body) => api(server, admin, 'POST', `/api/messaging/support/tickets/${ticket.id}/respond`, body);
  await respond({ message_text: 'We look for it' });
  await showsLines(a, ['And heavy', 'We look for it']);
  assert.match((await a.page.locator('.bubble.team').allInnerTexts()).join(), /Support team\s+We look for it/);
  assert.equal(await a.page.locator('.bubble.mine').count(), 1);
  await say(a, 'Thank you');
  await showsLines(a, ['And heavy', 'We look for it', 'Thank you']); // the answer below is another client's, and might overtake it
  await respond({ message: 'Found, farewell', newStatus: 'closed' });
  await showsLines(a, ['And heavy', 'We look for it', 'Thank you', 'Found, farewell']);
  await a.shot('answered');
  await a.page.reload();
  await a.at('ticket', 'Lost luggage').click();
  await a.sees('ticket-status', 'closed');
  await showsLines(a, ['And heavy', 'We look for it', 'Thank you', 'Found, farewell']);
  await a.missesSoon('draft');
  await a.shot('closed');
});

story('G2: a token that has expired leaves empty lists, never a white page', async ({ server, enter }) => {
  const [ann, ben] = [await createUser(server, 'Ann'), await createUser(server, 'Ben')];
  await openConversation(server, ann, ben);
  const expired = signToken({ id: ann.id, role: ann.role }, { expiresIn: -3600 });
  const refusals = [/status of 401 .*\/api\//]; // the refusals themselves
  const a = await enter(ann, { token: expired, allow: refusals });
  await a.sees('no-conversations');
  await a.sees('navbar');
  await a.shot('inbox');
  await a.at('nav-support').click();
  await a.sees('create-ticket');
  await eventually(() => assert.ok(a.requests.some((line) => line.endsWith('/support/tickets'))));
  await a.at('subject').fill('Does not work');
  await a.at('create-ticket').click();
  await eventually(async () => assert.match((await a.texts('ticket-error')).join(), /\w+ \w+/));
  await a.shot('support');

  // The token expires while the page is open: the list is there, the history is refused.
  const late = await enter(ann, { allow: refusals });
  await late.sees('conversation', 'Ben');
  await late.page.evaluate((token) => localStorage.setItem('authToken', token), expired);
  const refused = late.page.waitForResponse((answer) => answer.url().endsWith('/messages'));
  await openChat(late, 'Ben');
  assert.equal((await refused).status(), 401);
  await late.sees('draft');
  await showsLines(late, []);
  await late.shot('history-refused');
});
