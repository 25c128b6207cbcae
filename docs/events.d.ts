/**
 * The events of tidings for `socket.io-client`:
 *
 *     import { io, type Socket } from "socket.io-client";
 *     import type { ClientToServerEvents, ServerToClientEvents } from "./events";
 *     const socket: Socket<ServerToClientEvents, ClientToServerEvents> = io(url, { auth: { token } });
 *
 * `frontend-compat-tests/types` compiles it and holds it against `asyncapi.yaml`, which says what each event means.
 */

/** An id as clients may write it; a string is decimal. Out of the server it is always a number. */
export type Id = number | string;
/** The client's mark, echoed as sent; a string of 12 to 64 characters also makes a repetition of a send recognisable. */
export type TempId = string | number;
/** Taken, and ignored: the token says it. */
export type Ignored = string | number | boolean | null;
/** ISO 8601, UTC, milliseconds: `2026-11-01T12:00:00.000Z`. */
export type Moment = string;

export type Code =
  | "unauthorized" | "token_expired" | "forbidden" | "not_found" | "invalid_payload" | "empty_message" | "message_too_long"
  | "rate_limited" | "ticket_closed" | "unavailable" | "internal";

/** A direct message, with the names of three generations of clients. */
export interface Message {
  id: number;
  conversation_id: number;
  conversationId: number;
  sender_id: number;
  senderId: number;
  receiver_id: number;
  message_text: string;
  is_read: boolean;
  read_at: Moment | null;
  created_at: Moment;
  tempId?: TempId;
}

/** A message of a support ticket. */
export interface SupportMessage {
  id: number;
  ticket_id: number;
  ticketId: number;
  sender_id: number;
  senderId: number;
  message_text: string;
  is_admin: boolean;
  created_at: Moment;
  tempId?: TempId;
}

/** Why an event failed; `retryAfterMs` comes with `rate_limited`. */
export interface Failure {
  message: string;
  code: Code;
  retryAfterMs?: number;
}

/** Where somebody types: `conversationId` or `ticketId`. */
export interface TypingPlace {
  userId: number;
  conversationId?: number;
  ticketId?: number;
}

/** What the server tells, by event. */
export interface ServerPayloads {
  "message-received": Message;
  "support-message-received": SupportMessage;
  /** Fetch the lists again. A guest gets an empty object. */
  "conversation-updated": { conversationId?: number };
  /** `messageId` is the newest of `messageIds`. */
  "message-read": { messageId: number; conversationId: number; readerId: number; read_at: Moment; messageIds: number[] };
  "message-failed": { error: string; code: Code; retryAfterMs?: number; conversationId?: number; tempId?: TempId };
  error: Failure;
  "user-typing": TypingPlace;
  "user-stopped-typing": TypingPlace;
  typing: TypingPlace & { senderName: string; isTyping: boolean };
  "online-users": number[];
  "user-status-changed": { userId: number; status: "online" | "offline" };
  "user-online": { userId: number; username: string };
  "user-offline": { userId: number; username: string; lastSeen: Moment };
  "ticket-updated": { ticketId: number; status: string; priority: string; updated_at: Moment; created?: true };
}

/** What clients send, by event. */
export interface ClientPayloads {
  "user-online": Id | { userId: Id; role?: Ignored };
  "join-conversation": Id | { conversationId: Id } | Id[];
  "leave-conversation": Id | { conversationId: Id } | Id[];
  "send-message": { conversationId: Id; message: string; tempId?: TempId | null; senderId?: Ignored };
  typing: Id | { conversationId: Id; userId?: Ignored; isTyping?: boolean } | { ticketId: Id; userId?: Ignored; isTyping?: boolean };
  "stop-typing": Id | { conversationId: Id; userId?: Ignored } | { ticketId: Id; userId?: Ignored };
  /** A bare id is a message's. */
  "mark-as-read": Id | { messageId: Id; conversationId?: Id } | { conversationId: Id };
  "join-support": Id | { ticketId: Id } | Id[];
  "send-support-message": { ticketId: Id; message: string; tempId?: TempId | null; senderId?: Ignored; isAdmin?: Ignored };
}

/** The negative answer to an event. */
export interface Refused {
  ok: false;
  error: string;
  code: Code;
  retryAfterMs?: number;
}

/** What the ack of an event says. */
export interface Acks {
  "user-online": { ok: true } | Refused;
  "join-conversation": { ok: true } | Refused;
  "leave-conversation": { ok: true } | Refused;
  "send-message": { ok: true; message: Message } | Refused;
  typing: { ok: true } | Refused;
  "stop-typing": { ok: true } | Refused;
  "mark-as-read": { ok: true; updated: number; messageIds: number[] } | Refused;
  "join-support": { ok: true } | Refused;
  "send-support-message": { ok: true; message: SupportMessage } | Refused;
}

/** `offset` comes with the two `…message-received` to sockets that recover; `socket.io-client` keeps it by itself. */
export type ServerToClientEvents = { [E in keyof ServerPayloads]: (payload: ServerPayloads[E], offset?: string) => void };

/** Every event may be sent with an ack. `emitWithAck` cannot tell its type: `const answer: Acks["send-message"] = await …`. */
export type ClientToServerEvents = { [E in keyof ClientPayloads]: (payload: ClientPayloads[E], ack?: (answer: Acks[E]) => void) => void };
