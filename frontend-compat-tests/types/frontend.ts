// What the two stand-in frontends say and hear, with the types of docs/events.d.ts; and what these types must refuse. Compiled, never run.
import { io, type Socket } from "socket.io-client";
import type { Acks, ClientToServerEvents, Message, ServerToClientEvents } from "../../docs/events";

declare const conversationId: number, ticketId: number, userId: string | null, text: string, tempId: string, role: string | undefined;
declare const user: { id: number }, id: number, message: Message;
declare const storedUser: () => { id: number };

const socket: Socket<ServerToClientEvents, ClientToServerEvents> = io("http://localhost:5000", { auth: { token: "a token" } });
const own = socket, s = socket;

// Every emit of apps/, word for word.
own.emit("user-online", user.id);
own.emit("join-conversation", conversationId);
own.emit("mark-as-read", message.id);
socket.emit("typing", { conversationId, userId: user.id });
socket.emit("stop-typing", { conversationId, userId: user.id });
socket.emit("send-message", { conversationId, senderId: user.id, message: text });
socket.emit("send-message", { conversationId, senderId: user.id, message: text, tempId });
if (userId) s.emit("user-online", { userId });
socket.emit("user-online", { userId: user.id, role: localStorage.getItem("role") });
socket.emit("user-online", { userId: id, role });
socket.emit("join-support", ticketId);
socket.emit("send-support-message", { ticketId, senderId: user.id, message: text, isAdmin: false });
socket.emit("send-support-message", { ticketId, senderId: storedUser().id, message: text, isAdmin: false });

// Every listener of apps/, with what it reads.
socket.on("connect", () => {});
socket.on("message-received", (message) => [message.id, message.sender_id === user.id, message.message_text, message.tempId, new Date(message.created_at)]);
socket.on("support-message-received", (message) => [message.id, message.is_admin, message.message_text, new Date(message.created_at)]);
socket.on("user-typing", ({ userId }) => userId !== user.id);
socket.on("user-stopped-typing", ({ userId }) => userId !== user.id);
socket.on("user-status-changed", ({ status }) => status === "online");
socket.on("message-read", ({ messageId }) => messageId === message.id);
socket.on("online-users", (online) => online.includes(user.id));
socket.on("conversation-updated", () => {});
socket.on("error", ({ message }) => message.toUpperCase());

// Acks, and offsets.
socket.emit("send-message", { conversationId: "7", message: text }, (answer) => (answer.ok ? answer.message.id : answer.code));
const marked: Acks["mark-as-read"] = await socket.emitWithAck("mark-as-read", { conversationId: 7 });
if (marked.ok) marked.messageIds.map((id) => id.toFixed());
socket.on("message-received", (_, offset) => offset?.length);

// What must not compile.
// @ts-expect-error: the text is missing
socket.emit("send-message", { conversationId });
// @ts-expect-error: a text is a string
socket.emit("send-message", { conversationId, message: 5 });
// @ts-expect-error: an id is a number or a string
socket.emit("join-conversation", { conversationId: true });
// @ts-expect-error: tickets have other rooms
socket.emit("join-support", { conversationId });
// @ts-expect-error: there is no such event
socket.emit("send-mesage", { conversationId, message: text });
// @ts-expect-error: nor is this told
socket.on("message-recieved", () => {});
// @ts-expect-error: a guest's nudge names no conversation
socket.on("conversation-updated", ({ conversationId }) => conversationId.toFixed());
// @ts-expect-error: a message has no such field
socket.on("message-received", (message) => message.text);
// @ts-expect-error: ids are numbers
socket.on("message-received", (message) => message.id.toUpperCase());
// @ts-expect-error: a refusal has no message
socket.emit("send-message", { conversationId, message: text }, (answer) => answer.message);
// @ts-expect-error: only two words
socket.on("user-status-changed", ({ status }) => status === "away");
