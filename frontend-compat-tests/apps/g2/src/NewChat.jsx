// The "+" form of the inbox: finds a user by name and opens a conversation with them.
import { useState } from "react";
import { get, post } from "./api.js";

export function NewChat({ onStarted }) {
  const [shown, setShown] = useState(false);
  const [query, setQuery] = useState("");
  const [found, setFound] = useState([]);
  const [error, setError] = useState("");

  const search = async (event) => {
    const value = event.target.value;
    setQuery(value);
    try {
      // Bugs: one request per keystroke, the text not URL-encoded, no check of the status.
      const res = await get(`/api/user/search?query=${value}`);
      setFound(await res.json());
    } catch (err) {
      console.error("search:", err.message);
    }
  };
  const start = async (otherUserId) => {
    const res = await post("/api/messaging/conversations", { otherUserId });
    const data = await res.json();
    if (!res.ok) return setError(data.message || data.error);
    setShown(false);
    onStarted(data);
  };

  if (!shown) return <button data-testid="new-chat" onClick={() => setShown(true)}>+ New chat</button>;
  return (
    <div className="new-chat" data-testid="new-chat-form">
      <input data-testid="user-search" placeholder="Who?" value={query} onChange={search} autoFocus />
      <ul>
        {found.map((u) => (
          <li key={u.id}><button data-testid="found-user" onClick={() => start(u.id)}>{u.username}</button></li>
        ))}
      </ul>
      {query && found.length === 0 && <p className="empty" data-testid="nobody">Nobody of that name</p>}
      {error && <p className="error" data-testid="new-chat-error">{error}</p>}
    </div>
  );
}
