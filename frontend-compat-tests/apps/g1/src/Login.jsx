// The login form: keeps the token and the user in localStorage, where everything else finds them.
import { useState } from "react";
import { API_URL } from "./api.js";

export function Login() {
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const [error, setError] = useState("");

  const submit = async (event) => {
    event.preventDefault();
    const res = await fetch(`${API_URL}/api/auth/traveller/login`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ email, password }),
    });
    const data = await res.json();
    if (!res.ok) return setError(data.message || data.error);
    localStorage.setItem("authToken", data.token);
    localStorage.setItem("user", JSON.stringify({ id: data.userId, role: data.role }));
    location.reload();
  };

  return (
    <form className="login card" onSubmit={submit}>
      <h1>Trips</h1>
      <input data-testid="email" placeholder="E-mail" value={email} onChange={(e) => setEmail(e.target.value)} />
      <input data-testid="password" type="password" placeholder="Password" value={password} onChange={(e) => setPassword(e.target.value)} />
      <button data-testid="login">Log in</button>
      {error && <p className="error" data-testid="login-error">{error}</p>}
    </form>
  );
}
