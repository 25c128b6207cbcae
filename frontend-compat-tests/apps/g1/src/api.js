// Where the backend is and who is logged in, as every component reads them: straight from localStorage.

// `localStorage.apiUrl` is the only test seam: with it each test can have a server of its own.
export const API_URL = localStorage.getItem("apiUrl") || import.meta.env.VITE_API_URL || "http://localhost:5000";

export const authToken = () => localStorage.getItem("authToken");
export const storedUser = () => JSON.parse(localStorage.getItem("user") || "null");

// Bug: no caller looks at `res.ok` before it uses the answer of a list.
export const call = (method, path, body) =>
  fetch(API_URL + path, {
    method,
    headers: { Authorization: `Bearer ${authToken()}`, "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
  });
