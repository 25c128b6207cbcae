// One open ticket: its messages, live ones among them, and the input as long as it is not closed.
import { useEffect, useState } from "react";
import { get, storedUser } from "./api.js";
import { formatDate } from "./formatDate.js";

export function SupportChat({ socket, ticketId }) {
  const [ticket, setTicket] = useState(null);
  const [messages, setMessages] = useState([]);
  const [text, setText] = useState("");

  useEffect(() => {
    const loadTicket = async () => {
      try {
        const data = await (await get(`/api/messaging/support/tickets/${ticketId}`)).json();
        setTicket(data);
        setMessages(data.messages || []);
      } catch (err) {
        console.error("ticket:", err.message);
      }
    };
    loadTicket();
  }, [ticketId]);

  useEffect(() => {
    if (!socket) return;
    socket.emit("join-support", ticketId);
    // Bug: appends whatever comes, without looking at the ticket or for a duplicate.
    const onMessage = (message) => setMessages((all) => [...all, message]);
    socket.on("support-message-received", onMessage);
    return () => socket.off("support-message-received", onMessage);
  }, [socket, ticketId]);

  const send = (event) => {
    event.preventDefault();
    if (!text.trim()) return;
    // Bug: says itself who it is and whether it is an admin.
    socket.emit("send-support-message", { ticketId, senderId: storedUser().id, message: text, isAdmin: false });
    setText("");
  };

  if (!ticket) return <p className="loading">Loading ticket…</p>;
  return (
    <section className="chat card" data-testid="support-chat">
      <header>{ticket.subject} <small data-testid="ticket-status">{ticket.status}</small></header>
      <ol data-testid="messages">
        <li className="bubble theirs"><p>{ticket.description}</p><small>{formatDate(ticket.created_at)}</small></li>
        {messages.map((m, i) => (
          <li key={i} data-testid="message" className={`bubble ${m.is_admin ? "theirs team" : "mine"}`}>
            {m.is_admin && <b>Support team</b>}{/* Bug: a 0 would be printed */}
            <p>{m.message_text}</p>
            <small>{formatDate(m.created_at)}</small>
          </li>
        ))}
      </ol>
      {/* Bug: never hears `ticket-updated`, so a ticket that is closed meanwhile keeps its input until a reload. */}
      {ticket.status !== "closed" && (
        <form onSubmit={send}>
          <input data-testid="draft" placeholder="Write to the support team" value={text} onChange={(e) => setText(e.target.value)} />
          <button data-testid="send">Send</button>
        </form>
      )}
    </section>
  );
}
