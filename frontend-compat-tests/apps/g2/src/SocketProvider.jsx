// The provider's socket, the first of three: without a token, used by nobody, but connected on every page.
import { createContext, useEffect, useState } from "react";
import { io } from "socket.io-client";
import { API_URL } from "./api.js";

const SocketContext = createContext(null);

export function SocketProvider({ children }) {
  const [socket, setSocket] = useState(null);
  useEffect(() => {
    // Bug: no `auth`, so the server cannot know who this is. Gives up after five attempts, 15 to 19 s.
    const s = io(API_URL, { withCredentials: true, transports: ["websocket", "polling"], reconnectionAttempts: 5 });
    // Bug: the id is the string that localStorage holds. `connect` may come more than once per connection.
    s.on("connect", () => {
      const userId = localStorage.getItem("userId");
      if (userId) s.emit("user-online", { userId });
    });
    setSocket(s);
    return () => s.disconnect();
  }, []);
  return <SocketContext value={socket}>{children}</SocketContext>;
}
