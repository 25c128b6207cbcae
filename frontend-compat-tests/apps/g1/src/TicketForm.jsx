// The form for a new support ticket.
import { useState } from "react";
import { call } from "./api.js";

export function TicketForm({ onCreated }) {
  const [subject, setSubject] = useState("");
  const [description, setDescription] = useState("");
  const [category, setCategory] = useState("general");
  const [error, setError] = useState("");

  const submit = async (event) => {
    event.preventDefault();
    const res = await call("POST", "/api/messaging/support/tickets", { subject, description, category });
    const data = await res.json();
    if (!res.ok) return setError(data.error);
    onCreated(data);
    setSubject("");
    setDescription("");
  };
  return (
    <form className="tall" onSubmit={submit}>
      <input data-testid="subject" placeholder="Subject" value={subject} onChange={(e) => setSubject(e.target.value)} />
      <textarea data-testid="description" placeholder="What happened?" value={description} onChange={(e) => setDescription(e.target.value)} />
      <select data-testid="category" value={category} onChange={(e) => setCategory(e.target.value)}>
        {["general", "booking", "destination", "complaint"].map((c) => <option key={c}>{c}</option>)}
      </select>
      <button data-testid="create-ticket">Create ticket</button>
      {error && <p className="error" data-testid="ticket-error">{error}</p>}
    </form>
  );
}
