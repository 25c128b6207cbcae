// Any other page: from here a conversation is opened by POST, and the inbox is shown with it preselected.
import { useState } from "react";
import { post } from "./api.js";

export function Trips({ onContact }) {
  const [owner, setOwner] = useState("");
  const [error, setError] = useState("");

  const contact = async (event) => {
    event.preventDefault();
    const res = await post("/api/messaging/conversations", { otherUserId: Number(owner) });
    const data = await res.json();
    if (!res.ok) return setError(data.message || data.error);
    onContact(data.id);
  };

  return (
    <form className="card page" onSubmit={contact} data-testid="trips">
      <h1>Trips</h1>
      <p>A week in the mountains, with a guide.</p>
      {/* The trips themselves are no business of the messaging server, so the stand-in asks whose trip it is. */}
      <input data-testid="trip-owner" placeholder="Organiser's id" value={owner} onChange={(e) => setOwner(e.target.value)} />
      <button data-testid="contact">Contact the organiser</button>
      {error && <p className="error" data-testid="contact-error">{error}</p>}
    </form>
  );
}
