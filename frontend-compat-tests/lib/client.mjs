// The published socket.io clients, each socket with a record of everything it hears, and waits that look at the record first.
import { io as io40 } from 'socket.io-client-4.0';
import { io as io45 } from 'socket.io-client-4.5';
import { io as io48 } from 'socket.io-client-4.8';

const VERSIONS = { 4.8: io48, 4.5: io45, '4.0': io40 };
const MODES = { websocket: ['websocket'], polling: ['polling'], upgrade: ['polling', 'websocket'] };
const DEADLINE_MS = 10_000;
const LIFECYCLE = ['connect', 'disconnect', 'connect_error'];

/** Every client version in every transport mode: `{version, mode, label}`. */
export const MATRIX = Object.keys(VERSIONS).sort().reverse()
  .flatMap((version) => Object.keys(MODES).map((mode) => ({ version, mode, label: `${version} ${mode}` })));

/** A client that is on its way to connect; it is closed when the test `t` ends. */
export function open(t, { server, url = server.url, token, auth, version = '4.8', mode = 'websocket', ...options } = {}) {
  const socket = VERSIONS[version](url, {
    transports: MODES[mode],
    auth: token === undefined && auth === undefined ? undefined : { ...(token === undefined ? {} : { token }), ...auth },
    forceNew: true,
    reconnectionDelay: 40,
    reconnectionDelayMax: 200,
    timeout: 5000,
    ...options,
  });
  t.after(() => socket.close());

  const record = [];
  const waiters = new Set();
  const note = (name, args) => {
    const entry = { name, args, payload: args[0], at: Date.now(), index: record.length };
    record.push(entry);
    for (const waiter of waiters) waiter(entry);
  };
  for (const name of LIFECYCLE) socket.on(name, (...args) => note(name, args));
  socket.onAny((name, ...args) => note(name, args));

  /** Resolves with the first value other than undefined that `look` gives for the entries, old and new, from index `after` on. */
  const until = (what, look, { after = 0, ms = DEADLINE_MS } = {}) => {
    for (const entry of record.slice(after)) {
      const found = look(entry);
      if (found !== undefined) return Promise.resolve(found);
    }
    // The error is made here, so that its stack shows who waited.
    const late = new Error();
    return new Promise((resolve, reject) => {
      const done = (settle, value) => { clearTimeout(timer); waiters.delete(waiter); settle(value); };
      const waiter = (entry) => {
        const found = look(entry);
        if (found !== undefined) done(resolve, found);
      };
      const timer = setTimeout(() => {
        late.message = `not heard in ${ms} ms: ${what}; heard ${summary(record.slice(after))}`;
        done(reject, late);
      }, ms);
      waiters.add(waiter);
    });
  };
  const matches = (name, predicate) => (entry) => entry.name === name && predicate(entry.payload, entry);

  return {
    socket,
    record,
    until,
    /** The index from which on only what comes later counts: for `{after: client.mark()}`. */
    mark: () => record.length,
    /** The first payload of the event `name` that satisfies the predicate, already recorded or still to come. */
    heard: async (name, predicate = () => true, options = {}) => {
      const matching = matches(name, predicate);
      return (await until(name, (entry) => (matching(entry) ? entry : undefined), options)).payload;
    },
    /** The first `count` such payloads, once that many are there. */
    heardTimes: (name, count, predicate = () => true, options = {}) => {
      const matching = matches(name, predicate);
      const found = [];
      return until(`${name} × ${count}`, (entry) => {
        if (matching(entry)) found.push(entry.payload);
        return found.length >= count ? found : undefined;
      }, options);
    },
    /** The recorded entries of one event, and their payloads. */
    entries: (name, after = 0) => record.slice(after).filter((entry) => entry.name === name),
    payloads: (name, after = 0) => record.slice(after).filter((entry) => entry.name === name).map((entry) => entry.payload),
    emit: (name, ...args) => socket.emit(name, ...args),
    emitAck: (name, ...args) => emitAck(socket, name, ...args),
    /** A round trip: what this socket emitted before has been looked at, and what the server had sent it is recorded. */
    fence: () => emitAck(socket, 'tests-fence'),
    close: () => socket.close(),
  };
}

/** A connected client; fails if the server refuses it. */
export async function connect(t, options) {
  const client = open(t, options);
  const first = await client.until('connect or connect_error', (entry) => (LIFECYCLE.includes(entry.name) ? entry : undefined));
  if (first.name !== 'connect') throw first.payload;
  return client;
}

/** The error with which the server refuses such a client. */
export async function refused(t, options) {
  const client = open(t, options);
  const first = await client.until('connect or connect_error', (entry) => (LIFECYCLE.includes(entry.name) ? entry : undefined));
  client.close();
  if (first.name === 'connect') throw new Error('connected, though it should have been refused');
  return first.payload;
}

/** Emits with an ack callback (the way that all versions have) and resolves with the first value it gets. */
export function emitAck(socket, name, ...args) {
  const late = new Error(`no ack for ${name} in ${DEADLINE_MS} ms`);
  return new Promise((resolve, reject) => {
    const timer = setTimeout(reject, DEADLINE_MS, late);
    socket.emit(name, ...args, (answer) => { clearTimeout(timer); resolve(answer); });
  });
}

/** Emits until an ack comes, again after each reconnection, as an application with a queue of its own does. */
export async function emitUntilAcked(client, name, payload) {
  const { socket } = client;
  for (;;) {
    const from = client.mark();
    if (!socket.connected) await client.heard('connect', () => true, { after: from, ms: 30_000 });
    const answer = await new Promise((resolve, reject) => {
      const cut = () => { clearTimeout(timer); resolve(null); };
      const timer = setTimeout(reject, DEADLINE_MS, new Error(`neither an ack for ${name} nor a disconnect in ${DEADLINE_MS} ms`));
      socket.once('disconnect', cut);
      socket.emit(name, payload, (value) => { clearTimeout(timer); socket.off('disconnect', cut); resolve(value); });
    });
    if (answer !== null && answer.code !== 'unavailable') return answer;
  }
}

function summary(record) {
  const lines = record.slice(-12).map(({ name, args }) => `${name} ${JSON.stringify(args).slice(0, 160)}`);
  return `${record.length} events${lines.length ? `, the last:\n  ${lines.join('\n  ')}` : ''}`;
}
