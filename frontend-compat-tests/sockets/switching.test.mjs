// What a client hears while it switches between chats that are busy: the frontends show whatever comes in the chat that is open.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { open } from '../lib/client.mjs';
import { createUser, NO_LIMITS, openConversation, startServer } from '../lib/server.mjs';

let server;
before(async () => { server = await startServer({ config: { limits: NO_LIMITS } }); });
after(() => server.stop());

test('after the answer to a join nothing is heard of the chat that it left', async (t) => {
  const [a, b, c] = await Promise.all(['ada', 'bea', 'cyd'].map((name) => createUser(server, name)));
  const [left, joined] = [await openConversation(server, a, b), await openConversation(server, a, c)];
  const ada = open(t, { server, token: a.token });
  const bea = open(t, { server, token: b.token });
  await Promise.all([ada.heard('connect'), bea.heard('connect')]);

  let inJoined = false;
  let astray = 0;
  for (const name of ['user-typing', 'message-received']) {
    ada.socket.on(name, ({ conversationId }) => { if (inJoined && conversationId === left) astray++; });
  }
  let busy = true;
  const chatter = (async () => {
    while (busy) {
      for (let i = 0; i < 5; i++) bea.socket.emit('typing', { conversationId: left });
      await bea.socket.emitWithAck('send-message', { conversationId: left, message: 'm' });
    }
  })();
  for (let i = 0; i < 500; i++) {
    inJoined = false;
    await ada.socket.emitWithAck('join-conversation', left);
    await ada.socket.emitWithAck('join-conversation', joined);
    inJoined = true;
    // Whatever is still on its way comes before the answer to this.
    await ada.socket.emitWithAck('user-online', a.id);
  }
  busy = false;
  await chatter;
  assert.equal(astray, 0);
});
