// The entry of the G1 stand-in: the first generation of the frontend, as clients.md describes it, bugs included.
import { createRoot } from "react-dom/client";
import { App } from "./App.jsx";
import "./style.css";

createRoot(document.getElementById("root")).render(<App />);
