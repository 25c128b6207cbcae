// The support team's page: everybody's tickets and the open one's chat.
import { useEffect, useState } from "react";
import { call } from "./api.js";
import { SupportChat } from "./SupportChat.jsx";

export function AdminSupport({ user }) {
  const [tickets, setTickets] = useState([]);
  const [openId, setOpenId] = useState(null);

  useEffect(() => {
    // Bug: no `res.ok`, and only once.
    call("GET", "/api/messaging/support/tickets/admin/all").then((res) => res.json()).then(setTickets)
      .catch((err) => console.error("all tickets:", err.message));
  }, []);

  return (
    <div className="columns">
      <aside className="card">
        <ul>
          {tickets.map((t) => (
            <li key={t.id} data-testid="ticket" className={t.id === openId ? "row selected" : "row"} onClick={() => setOpenId(t.id)}>
              <b>{t.subject}</b> <small data-testid="ticket-owner">{t.user_name}, {t.status}</small>
            </li>
          ))}
        </ul>
      </aside>
      {openId ? <SupportChat key={openId} ticketId={openId} user={user} admin /> : <p className="card">Choose a ticket</p>}
    </div>
  );
}
