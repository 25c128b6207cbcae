// The database of the peer: better-sqlite3 in WAL mode, synchronous FULL, on the same tables and indexes as tidings. Who may do what is not
// decided here.

import { createHash } from 'node:crypto';
import Database from 'better-sqlite3';

const sendKey = (conversation, sender, tempId, text) =>
  createHash('sha256').update(`${conversation}\0${sender}\0${tempId}\0${text}`).digest('hex').slice(0, 32);

// A tempId of 12 to 64 characters identifies a send, as in tidings.
const identifies = (tempId) => typeof tempId === 'string' && tempId.length >= 12 && tempId.length <= 64;

// Opens the store. With `isGrouped` all messages that came in one turn of the event loop share a transaction, else each has its own.
export function openStore(file, isGrouped) {
  const db = new Database(file);
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = FULL');
  db.pragma('foreign_keys = ON');
  const sql = {
    user: db.prepare('SELECT id, username, role FROM users WHERE id = ?'),
    members: db.prepare('SELECT user1_id, user2_id FROM conversations WHERE id = ?'),
    contacts: db.prepare('SELECT user2_id AS id FROM conversations WHERE user1_id = ? UNION SELECT user1_id FROM conversations WHERE user2_id = ?'),
    insert: db.prepare(`INSERT INTO messages (conversation_id, sender_id, receiver_id, message_text, is_read, created_at, send_key)
      VALUES (?, ?, ?, ?, 0, ?, ?) ON CONFLICT (send_key) DO NOTHING`),
    known: db.prepare('SELECT id, created_at FROM messages WHERE send_key = ?'),
    touch: db.prepare('UPDATE conversations SET last_message_at = ? WHERE id = ?'),
    inbox: db.prepare(`SELECT c.id, c.user1_id, c.user2_id, c.created_at, u.username, u.avatar, u.role, u.id AS other_id, m.message_text,
        COALESCE(m.created_at, c.created_at) AS activity,
        (SELECT COUNT(*) FROM messages r WHERE r.receiver_id = ? AND r.is_read = 0 AND r.conversation_id = c.id) AS unread
      FROM conversations c
      LEFT JOIN users u ON u.id = CASE WHEN c.user1_id = ? THEN c.user2_id ELSE c.user1_id END
      LEFT JOIN messages m ON m.id = (SELECT l.id FROM messages l WHERE l.conversation_id = c.id ORDER BY l.id DESC LIMIT 1)
      WHERE c.user1_id = ? OR c.user2_id = ? ORDER BY activity DESC, c.id DESC`),
    history: db.prepare('SELECT * FROM messages WHERE conversation_id = ? ORDER BY id DESC LIMIT ?'),
    unread: db.prepare('SELECT COUNT(*) AS n FROM messages WHERE receiver_id = ? AND is_read = 0'),
  };

  const insert = (draft, touched) => {
    const { conversation, sender, receiver, text, tempId } = draft;
    const now = new Date().toISOString();
    const key = identifies(tempId) ? sendKey(conversation, sender, tempId, text) : null;
    const { changes, lastInsertRowid } = sql.insert.run(conversation, sender, receiver, text, now, key);
    if (changes === 0) {
      const known = sql.known.get(key);
      return { id: known.id, created_at: known.created_at, fresh: false };
    }
    touched.set(conversation, now);
    return { id: Number(lastInsertRowid), created_at: now, fresh: true };
  };
  const writeAll = db.transaction((drafts) => {
    const touched = new Map();
    const rows = drafts.map((draft) => insert(draft, touched));
    for (const [conversation, now] of touched) sql.touch.run(now, conversation);
    return rows;
  });

  let queue = [];
  const flush = () => {
    const drafts = queue;
    queue = [];
    const rows = writeAll.immediate(drafts);
    drafts.forEach((draft, at) => draft.done(rows[at]));
  };

  const members = new Map();
  return {
    user: (id) => sql.user.get(id),
    // A conversation's two users never change.
    members(id) {
      let found = members.get(id);
      if (!found) {
        const row = sql.members.get(id);
        if (!row) return undefined;
        members.set(id, (found = [row.user1_id, row.user2_id]));
      }
      return found;
    },
    contacts: (user) => sql.contacts.all(user, user).map((row) => row.id),
    send(draft) {
      if (!isGrouped) return draft.done(writeAll.immediate([draft])[0]);
      if (queue.push(draft) === 1) setImmediate(flush);
    },
    inbox: (user) => sql.inbox.all(user, user, user, user),
    history: (conversation, limit) => sql.history.all(conversation, limit).reverse(),
    unread: (user) => sql.unread.get(user).n,
  };
}
