// One open chat on the inbox's socket: history, live messages, optimistic sending, typing and ticks.
import { useEffect, useRef, useState } from "react";
import { get } from "./api.js";
import { formatDate } from "./formatDate.js";

export function Chat({ socket, conversationId, title, user }) {
  const [messages, setMessages] = useState([]);
  const [text, setText] = useState("");
  const [typing, setTyping] = useState(false);
  const typingTimer = useRef(null);

  useEffect(() => {
    const loadMessages = async () => {
      try {
        const res = await get(`/api/messaging/conversations/${conversationId}/messages`);
        setMessages(await res.json()); // Bug: no check of the status, and what came live in between is overwritten
      } catch (err) {
        console.error("messages:", err.message);
      }
    };
    loadMessages();
  }, [conversationId]);

  useEffect(() => {
    if (!socket) return;
    // Bug: only on mount. Never leaves a room, never joins again after a reconnection.
    socket.emit("join-conversation", conversationId);
    const onMessage = (message) =>
      setMessages((all) => {
        // Bug: does not look at the conversation, so whatever this socket hears is shown here.
        if (message.tempId && all.some((m) => m.tempId === message.tempId)) {
          return all.map((m) => (m.tempId === message.tempId ? message : m));
        }
        return all.some((m) => m.id === message.id) ? all : [...all, message];
      });
    // Bug: neither of the two looks at the conversation; the own id is compared with ===.
    const onTyping = ({ userId }) => userId !== user?.id && setTyping(true);
    const onStopped = ({ userId }) => userId !== user?.id && setTyping(false);
    const onRead = ({ messageId }) => setMessages((all) => all.map((m) => (m.id === messageId ? { ...m, is_read: true } : m)));
    const listeners = { "message-received": onMessage, "user-typing": onTyping, "user-stopped-typing": onStopped, "message-read": onRead };
    for (const [event, listener] of Object.entries(listeners)) socket.on(event, listener);
    return () => {
      for (const [event, listener] of Object.entries(listeners)) socket.off(event, listener);
    };
  }, [socket, conversationId, user]);

  const type = (event) => {
    setText(event.target.value);
    socket.emit("typing", { conversationId, userId: user.id });
    clearTimeout(typingTimer.current);
    // Bug: is not stopped by leaving the chat, so it comes up to 1 s late, perhaps when another chat is open.
    typingTimer.current = setTimeout(() => socket.emit("stop-typing", { conversationId, userId: user.id }), 1000);
  };
  const send = (event) => {
    event.preventDefault();
    if (!text.trim()) return;
    const tempId = `temp-${Date.now()}`;
    const bubble = { tempId, optimistic: true, sender_id: user.id, message_text: text, created_at: new Date().toISOString() };
    setMessages((all) => [...all, bubble]);
    // Bug: asks for no ack and does not listen to `message-failed`: a bubble that failed stays pale.
    socket.emit("send-message", { conversationId, senderId: user.id, message: text, tempId });
    socket.emit("stop-typing", { conversationId, userId: user.id });
    setText("");
  };

  return (
    <section className="chat card" data-testid="chat">
      <header data-testid="chat-title">{title}</header>
      <ol data-testid="messages">
        {messages.map((m) => (
          <li
            key={m.tempId || m.id}
            data-testid="message"
            className={`bubble ${m.sender_id === user?.id ? "mine" : "theirs"} ${m.optimistic ? "optimistic" : ""}`}
          >
            <p>{m.message_text}</p>
            <small>
              {formatDate(m.created_at)} {m.sender_id === user?.id && !m.optimistic && <i className="ticks">{m.is_read ? "✓✓" : "✓"}</i>}
            </small>
          </li>
        ))}
      </ol>
      <p className="typing" data-testid="typing">{typing && "typing…"}</p>
      <form onSubmit={send}>
        <input data-testid="draft" placeholder="Write a message" value={text} onChange={type} />
        <button data-testid="send">Send</button>
      </form>
    </section>
  );
}
