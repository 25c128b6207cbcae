// How Vite builds and, with `npx vite apps/g1`, serves the stand-in for the first frontend (G1).
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({ plugins: [react()], server: { port: 5174, strictPort: true } });
