// The navbar with the unread badge, on the second socket of every page, again without a token.
import { useEffect, useState } from "react";
import { io } from "socket.io-client";
import { API_URL, get, storedUser } from "./api.js";

export function Navbar({ page, onLeave }) {
  const [unread, setUnread] = useState(0);

  useEffect(() => {
    const fetchUnread = async () => {
      try {
        const data = await (await get("/api/messaging/unread-count")).json();
        setUnread(data.unreadCount); // no check: undefined after a refusal, which shows no badge
      } catch (err) {
        console.error("unread-count:", err.message);
      }
    };
    // Bug: no `auth` here either; gives up after five attempts.
    const socket = io(API_URL, { withCredentials: true, transports: ["websocket", "polling"], reconnectionAttempts: 5 });
    const { id, role } = storedUser();
    // Bug: once, buffered until the connection stands, and never again after a reconnection.
    socket.emit("user-online", { userId: id, role });
    socket.on("conversation-updated", fetchUnread);
    fetchUnread();
    return () => socket.disconnect();
  }, []);

  const link = (name, label) => (
    <a href={`#/${name}`} data-testid={`nav-${name}`} className={page === name ? "here" : ""} onClick={onLeave}>
      {label}
    </a>
  );
  return (
    <nav data-testid="navbar">
      <strong>Wander</strong>
      {link("trips", "Trips")}
      {link("support", "Support")}
      <span className="with-badge">
        {link("inbox", "Inbox")}
        {unread > 0 && <b className="badge" data-testid="navbar-badge">{unread}</b>}
      </span>
      <button data-testid="logout" onClick={() => { localStorage.removeItem("authToken"); location.reload(); }}>Log out</button>
    </nav>
  );
}
