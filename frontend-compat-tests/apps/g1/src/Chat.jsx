// One open chat with a socket of its own, which starts by polling and then upgrades, as socket.io does by default.
import { useEffect, useRef, useState } from "react";
import { io } from "socket.io-client";
import { API_URL, authToken, call } from "./api.js";

// Bug: of the module, not of the component, so a late timer of one chat speaks on the socket of the next.
let socket = null;

export function Chat({ conversationId, user }) {
  const [messages, setMessages] = useState([]);
  const [text, setText] = useState("");
  const [typing, setTyping] = useState(false);
  const [otherStatus, setOtherStatus] = useState("");
  const [error, setError] = useState("");
  const typed = useRef(false);
  const sent = useRef(false);

  useEffect(() => {
    const own = io(API_URL, { auth: { token: authToken() } });
    socket = own;
    // Bug: before the connection is there, and only then: not again after a reconnection. The id is a bare number.
    own.emit("user-online", user.id);
    own.emit("join-conversation", conversationId);
    // Bug: no check of the status, and what came live in between is overwritten.
    call("GET", `/api/messaging/conversations/${conversationId}/messages`).then((res) => res.json()).then(setMessages)
      .catch((err) => console.error("messages:", err.message));
    own.on("message-received", (message) => {
      setMessages((all) => [...all, message]); // Bug: no look at the conversation, no check for duplicates
      if (message.sender_id !== user.id) own.emit("mark-as-read", message.id);
    });
    own.on("user-typing", ({ userId }) => userId !== user.id && setTyping(true));
    own.on("user-stopped-typing", ({ userId }) => userId !== user.id && setTyping(false));
    own.on("user-status-changed", ({ status }) => setOtherStatus(status)); // Bug: does not look at whose it is
    own.on("error", ({ message }) => setError(message));
    return () => own.disconnect();
  }, [conversationId, user.id]);

  const type = (event) => {
    setText(event.target.value);
    if (typed.current) return;
    typed.current = true;
    socket.emit("typing", { conversationId, userId: user.id });
    setTimeout(() => {
      typed.current = false;
      socket.emit("stop-typing", { conversationId, userId: user.id }); // Bug: perhaps on the next chat's socket
    }, 3000);
  };
  const send = (event) => {
    event.preventDefault();
    if (!text.trim() || sent.current) return;
    sent.current = true; // Bug: never cleared, so each mount sends once; open the chat anew to send again
    socket.emit("send-message", { conversationId, senderId: user.id, message: text }); // no `tempId`
    setText("");
  };

  return (
    <section className="chat card" data-testid="chat">
      <header>Conversation {conversationId} <small data-testid="status">{otherStatus}</small></header>
      <ol data-testid="messages">
        {messages.map((m, i) => (
          <li key={i} data-testid="message" className={m.sender_id === user.id ? "bubble mine" : "bubble"}>
            <p>{m.message_text}</p>
            <small>{new Date(m.created_at).toLocaleTimeString()}</small> {m.is_read && <small data-testid="seen">seen</small>}
          </li>
        ))}
      </ol>
      <p className="typing" data-testid="typing">{typing && "typing…"}</p>
      {error && <p className="error" data-testid="chat-error">{error}</p>}
      <form onSubmit={send}>
        <input data-testid="draft" placeholder="Write a message" value={text} onChange={type} />
        <button data-testid="send">Send</button>
      </form>
    </section>
  );
}
