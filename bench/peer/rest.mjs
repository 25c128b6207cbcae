// The three lists that the benchmark asks for over REST: inbox, history, unread count.

const MESSAGES = /^\/api\/messaging\/conversations\/(\d+)\/messages$/;

export function answer(store, authenticate, request, response) {
  const send = (status, body) => {
    const text = JSON.stringify(body);
    response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }).end(text);
  };
  const { pathname, searchParams } = new URL(request.url, 'http://peer');
  let user;
  try {
    user = authenticate((request.headers.authorization ?? '').replace(/^Bearer /, ''));
  } catch {
    return send(401, { error: 'Token is not valid', code: 'unauthorized' });
  }
  if (request.method !== 'GET') return send(404, { error: 'Not found', code: 'not_found' });
  if (pathname === '/api/messaging/conversations') return send(200, store.inbox(user.id).map(conversation));
  if (pathname === '/api/messaging/unread-count') return send(200, { unreadCount: store.unread(user.id) });
  const history = MESSAGES.exec(pathname);
  if (history) {
    const id = Number(history[1]);
    if (!store.members(id)?.includes(user.id)) return send(403, { error: 'Not a participant', code: 'forbidden' });
    return send(200, store.history(id, Number(searchParams.get('limit') ?? 1000)).map(message));
  }
  return send(404, { error: 'Not found', code: 'not_found' });
}

const conversation = (row) => ({
  id: row.id, user1_id: row.user1_id, user2_id: row.user2_id, created_at: row.created_at, other_user_id: row.other_id,
  other_user_name: row.username, other_user_avatar: row.avatar, other_user_role: row.role, last_message: row.message_text ?? null,
  last_message_at: row.activity, unread_count: row.unread,
});

const message = (row) => ({
  id: row.id, conversation_id: row.conversation_id, conversationId: row.conversation_id, sender_id: row.sender_id, senderId: row.sender_id,
  receiver_id: row.receiver_id, message_text: row.message_text, is_read: Boolean(row.is_read), read_at: row.read_at, created_at: row.created_at,
});
