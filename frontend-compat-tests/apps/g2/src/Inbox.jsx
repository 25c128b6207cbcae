// The inbox page: the list of conversations, the open chat, and the third socket, the only one with the token.
import { useEffect, useState } from "react";
import { io } from "socket.io-client";
import { API_URL, authToken, get, post } from "./api.js";
import { Chat } from "./Chat.jsx";
import { NewChat } from "./NewChat.jsx";

export function Inbox({ preselected }) {
  const [user, setUser] = useState();
  const [conversations, setConversations] = useState([]);
  const [loading, setLoading] = useState(true);
  const [selectedId, setSelectedId] = useState(preselected);
  const [filter, setFilter] = useState("");
  const [online, setOnline] = useState([]);
  const [socket, setSocket] = useState(null);

  const loadConversations = async () => {
    setLoading(true);
    try {
      const res = await get("/api/messaging/conversations");
      setConversations(await res.json()); // Bug: no `res.ok`; an object instead of an array is a white page at `.filter`
    } catch (err) {
      console.error("conversations:", err.message);
    } finally {
      setLoading(false);
    }
  };

  useEffect(() => {
    const loadPage = async () => {
      try {
        setUser((await (await get("/api/auth/me")).json()).user);
      } catch (err) {
        console.error("me:", err.message);
      }
      await loadConversations();
    };
    loadPage();
    const s = io(API_URL, { auth: { token: authToken() }, transports: ["websocket", "polling"] }); // reconnects for ever
    s.on("online-users", setOnline);
    s.on("conversation-updated", loadConversations);
    s.on("message-read", loadConversations);
    setSocket(s);
    return () => s.disconnect();
  }, []);

  useEffect(() => {
    // Bug: once, not on each `connect`; the role is a key of localStorage that nobody writes, so null.
    if (socket && user) socket.emit("user-online", { userId: user.id, role: localStorage.getItem("role") });
  }, [socket, user]);

  // Bug: "Loading…" replaces everything at every refetch, and so unmounts the open chat: focus and draft are gone.
  if (loading) return <p className="loading" data-testid="loading">Loading conversations…</p>;

  const open = (conversation) => {
    setSelectedId(conversation.id);
    setConversations((all) => all.map((c) => (c.id === conversation.id ? { ...c, unread_count: 0 } : c)));
    post(`/api/messaging/conversations/${conversation.id}/mark-read`).catch((err) => console.error("mark-read:", err.message)); // answer ignored
  };
  const started = (conversation) => {
    setConversations((all) => [conversation, ...all]); // Bug: shown twice if it was there
    setSelectedId(conversation.id);
  };
  const shown = conversations.filter((c) => c.other_user_name.toLowerCase().includes(filter.toLowerCase()));
  const selected = conversations.find((c) => c.id === selectedId); // `===`: a string id would open nothing

  return (
    <div className="inbox">
      <aside className="card">
        {(user?.role_id === 1 || user?.role_id === 2) && <NewChat onStarted={started} />}
        <input data-testid="filter" placeholder="Search your conversations" value={filter} onChange={(e) => setFilter(e.target.value)} />
        <ul data-testid="conversations">
          {shown.map((c) => (
            <li key={c.id} data-testid="conversation" className={c.id === selectedId ? "row selected" : "row"} onClick={() => open(c)}>
              {/* Bug: `includes` compares with ===, so the list must hold numbers. */}
              <i className={online.includes(c.other_user_id) ? "dot online" : "dot"} data-testid="dot" />
              <span className="who">
                <b>{c.other_user_name}</b>
                <small>{c.last_message || "No messages yet"}</small>
              </span>
              {c.unread_count > 0 && <b className="badge" data-testid="unread">{c.unread_count}</b>}
            </li>
          ))}
        </ul>
        {shown.length === 0 && <p className="empty" data-testid="no-conversations">No conversations</p>}
      </aside>
      {/* Bug: no `key`, so typing… and the draft of one chat are still there in the next one. */}
      {selectedId ? (
        <Chat socket={socket} conversationId={selectedId} title={selected?.other_user_name} user={user} />
      ) : (
        <p className="empty card">Choose a conversation</p>
      )}
    </div>
  );
}
