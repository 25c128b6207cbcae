// Who is online, told to contacts only: those with whom one shares a conversation. The same events as tidings sends.

const GRACE = 2000;

export class Presence {
  #io;
  #store;
  #online = new Map();

  constructor(io, store) {
    this.#io = io;
    this.#store = store;
  }

  onlineContacts(user) {
    return (this.#online.get(user)?.contacts ?? []).filter((contact) => this.#online.has(contact));
  }

  arrive(user, socket) {
    let entry = this.#online.get(user.id);
    const cameOnline = !entry;
    if (!entry) this.#online.set(user.id, (entry = { sockets: new Set(), contacts: this.#store.contacts(user.id) }));
    entry.sockets.add(socket);
    socket.emit('online-users', this.onlineContacts(user.id));
    if (cameOnline) this.#tell(user, 'online', 'user-online', { userId: user.id, username: user.username });
  }

  depart(user, socket) {
    const entry = this.#online.get(user.id);
    if (!entry?.sockets.delete(socket) || entry.sockets.size > 0) return;
    const lastSeen = new Date().toISOString();
    setTimeout(() => {
      if (entry.sockets.size > 0 || this.#online.get(user.id) !== entry) return;
      const others = this.onlineContacts(user.id);
      this.#online.delete(user.id);
      this.#tell(user, 'offline', 'user-offline', { userId: user.id, username: user.username, lastSeen }, others);
    }, GRACE);
  }

  #tell(user, status, event, payload, others = this.onlineContacts(user.id)) {
    for (const other of others) {
      const room = this.#io.to(`user:${other}`);
      room.emit('online-users', this.onlineContacts(other));
      room.emit('user-status-changed', { userId: user.id, status });
      room.emit(event, payload);
    }
  }
}
