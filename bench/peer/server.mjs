// The peer: Socket.IO and REST with the handlers that the benchmark drives, under the rules of tidings: token, membership, rate, store, then
// tell. It takes PORT, DATABASE, JWT_SECRET, COMMIT=each|group and SENDS_PER_SECOND from the environment. The tables must be there.

import { createServer } from 'node:http';
import jwt from 'jsonwebtoken';
import { Server } from 'socket.io';
import { openStore } from './store.mjs';
import { Presence } from './presence.mjs';
import { answer } from './rest.mjs';

const { PORT = '0', DATABASE, JWT_SECRET, COMMIT = 'each', SENDS_PER_SECOND = '10' } = process.env;
const store = openStore(DATABASE, COMMIT === 'group');
const rate = Number(SENDS_PER_SECOND);

const authenticate = (token) => {
  const claims = jwt.verify(token, JWT_SECRET, { algorithms: ['HS256'] });
  const user = store.user(claims.id);
  if (!user) throw new Error('User no longer exists');
  return user;
};

const http = createServer((request, response) => answer(store, authenticate, request, response));
const io = new Server(http, { serveClient: false, maxHttpBufferSize: 1e6 });
// What Socket.IO's guide advises for memory: nobody needs the first request any more.
io.engine.on('connection', (connection) => { connection.request = null; });
const presence = new Presence(io, store);

const buckets = new Map();
function mayAct(user) {
  const now = performance.now();
  let bucket = buckets.get(user);
  if (!bucket) buckets.set(user, (bucket = { left: rate * 4, at: now }));
  bucket.left = Math.min(rate * 4, bucket.left + ((now - bucket.at) / 1000) * rate);
  bucket.at = now;
  if (bucket.left < 1) return false;
  bucket.left -= 1;
  return true;
}

const idOf = (payload, name) => Number(typeof payload === 'object' && payload !== null ? payload[name] : payload);

io.use((socket, next) => {
  try {
    socket.data.user = authenticate(socket.handshake.auth.token);
    next();
  } catch {
    next(new Error('Token is not valid'));
  }
});

io.on('connection', (socket) => {
  const { user } = socket.data;
  socket.join(`user:${user.id}`);
  presence.arrive(user, socket);
  socket.on('disconnect', () => presence.depart(user, socket));

  const failed = (ack, code, error, tempId, conversationId) => {
    if (tempId !== undefined) socket.emit('message-failed', { tempId, conversationId, error, code });
    socket.emit('error', { message: error, code });
    ack?.({ ok: false, error, code });
  };
  // The two users of a conversation, when the caller is one of them.
  const access = (id) => {
    const members = store.members(id);
    return members?.includes(user.id) ? members : undefined;
  };

  socket.on('user-online', (_, ack) => {
    socket.emit('online-users', presence.onlineContacts(user.id));
    if (typeof ack === 'function') ack({ ok: true });
  });

  socket.on('join-conversation', (payload, ack) => {
    const ids = Array.isArray(payload) ? payload.map(Number) : [idOf(payload, 'conversationId')];
    if (!ids.every(access)) return failed(ack, 'forbidden', 'Not a participant');
    for (const room of socket.rooms) if (room.startsWith('conversation:')) socket.leave(room);
    for (const id of ids) {
      socket.join(`conversation:${id}`);
      socket.emit('user-stopped-typing', { userId: access(id).find((m) => m !== user.id), conversationId: id });
    }
    ack?.({ ok: true });
  });

  socket.on('send-message', (payload, ack) => {
    const { message: text, tempId } = payload ?? {};
    const conversation = idOf(payload, 'conversationId');
    if (!mayAct(user.id)) return failed(ack, 'rate_limited', 'Too many messages', tempId, conversation);
    if (typeof text !== 'string' || text.trim() === '') return failed(ack, 'empty_message', 'Message cannot be empty', tempId, conversation);
    if (text.length > 10000) return failed(ack, 'message_too_long', 'Message is too long', tempId, conversation);
    const members = access(conversation);
    if (!members) return failed(ack, 'forbidden', 'Not a participant', tempId, conversation);
    const receiver = members[0] === user.id ? members[1] : members[0];
    const room = `conversation:${conversation}`;
    if (!socket.rooms.has(room)) socket.join(room);
    store.send({
      conversation, sender: user.id, receiver, text, tempId,
      done({ id, created_at, fresh }) {
        const message = {
          id, conversation_id: conversation, conversationId: conversation, sender_id: user.id, senderId: user.id, receiver_id: receiver,
          message_text: text, is_read: false, read_at: null, created_at, tempId,
        };
        if (fresh) {
          io.to(room).emit('message-received', message);
          io.to([`user:${members[0]}`, `user:${members[1]}`]).emit('conversation-updated', { conversationId: conversation });
        } else {
          socket.emit('message-received', message);
        }
        ack?.({ ok: true, message });
      },
    });
  });
});

// The benchmark asks for a collection before it reads the memory: what is garbage shall not count against the peer.
process.on('SIGUSR2', () => globalThis.gc?.());

http.listen(Number(PORT), '127.0.0.1', 4096, () => console.log(`peer listens on http://127.0.0.1:${http.address().port}`));
