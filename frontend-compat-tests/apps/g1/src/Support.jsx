// The support page: the caller's tickets, the form for a new one, and the open ticket's chat.
import { useEffect, useState } from "react";
import { call } from "./api.js";
import { SupportChat } from "./SupportChat.jsx";
import { TicketForm } from "./TicketForm.jsx";

export function Support({ user }) {
  const [tickets, setTickets] = useState([]);
  const [openId, setOpenId] = useState(null);

  useEffect(() => {
    // Bug: no `res.ok`.
    call("GET", "/api/messaging/support/tickets").then((res) => res.json()).then(setTickets)
      .catch((err) => console.error("tickets:", err.message));
  }, []);

  const created = (ticket) => {
    setTickets((all) => [ticket, ...all]);
    setOpenId(ticket.id);
  };
  return (
    <div className="columns">
      <aside className="card">
        <TicketForm onCreated={created} />
        <ul>
          {tickets.map((t) => (
            <li key={t.id} data-testid="ticket" className={t.id === openId ? "row selected" : "row"} onClick={() => setOpenId(t.id)}>
              <b>{t.subject}</b> <small>{t.category}, {t.status}</small>
            </li>
          ))}
        </ul>
      </aside>
      {openId ? <SupportChat key={openId} ticketId={openId} user={user} /> : <p className="card">Choose a ticket</p>}
    </div>
  );
}
