// The shell: the login form without a token, else three tabs, the last one for admins only. No socket here.
import { useState } from "react";
import { AdminSupport } from "./AdminSupport.jsx";
import { authToken, storedUser } from "./api.js";
import { Inbox } from "./Inbox.jsx";
import { Login } from "./Login.jsx";
import { Support } from "./Support.jsx";

export function App() {
  const [tab, setTab] = useState("inbox");
  if (!authToken()) return <Login />;
  const user = storedUser();
  const button = (name, label) => (
    <button data-testid={`tab-${name}`} className={tab === name ? "here" : ""} onClick={() => setTab(name)}>{label}</button>
  );
  return (
    <>
      <nav>
        <strong>Trips</strong>
        {button("inbox", "Inbox")}
        {button("support", "Support")}
        {user.role === "admin" && button("admin", "All tickets")}
      </nav>
      <main>
        {tab === "inbox" && <Inbox user={user} />}
        {tab === "support" && <Support user={user} />}
        {tab === "admin" && <AdminSupport user={user} />}
      </main>
    </>
  );
}
