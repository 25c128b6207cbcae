// How Vite builds and, with `npx vite apps/g2`, serves the stand-in for the current frontend (G2).
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({ plugins: [react()], server: { port: 5173, strictPort: true } });
