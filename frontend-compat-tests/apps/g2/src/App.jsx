// The shell: the login form without a token, else the navbar above one of three pages, chosen by the hash of the address.
import { useEffect, useState } from "react";
import { authToken } from "./api.js";
import { Inbox } from "./Inbox.jsx";
import { Login } from "./Login.jsx";
import { Navbar } from "./Navbar.jsx";
import { SocketProvider } from "./SocketProvider.jsx";
import { Support } from "./Support.jsx";
import { Trips } from "./Trips.jsx";

export function App() {
  const [page, setPage] = useState(location.hash.slice(2) || "inbox");
  const [preselected, setPreselected] = useState(null);
  useEffect(() => {
    const follow = () => setPage(location.hash.slice(2) || "inbox");
    window.addEventListener("hashchange", follow);
    return () => window.removeEventListener("hashchange", follow);
  }, []);

  if (!authToken()) return <Login />;
  // "Other pages open a chat by POST /conversations, then show the inbox with that id preselected."
  const openInbox = (conversationId) => {
    setPreselected(conversationId);
    location.hash = "#/inbox";
  };
  return (
    <SocketProvider>
      <Navbar page={page} onLeave={() => setPreselected(null)} />
      <main>
        {page === "inbox" && <Inbox preselected={preselected} />}
        {page === "trips" && <Trips onContact={openInbox} />}
        {page === "support" && <Support />}
      </main>
    </SocketProvider>
  );
}
