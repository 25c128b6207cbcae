// The databases that a test may run on: SQLite always, MariaDB when TIDINGS_TEST_MARIADB names a server, as tests/services starts one.
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';

const server = process.env.TIDINGS_TEST_MARIADB;

/** SQL on the MariaDB server of the tests, by its own client. */
function run(sql) {
  const { hostname, port, username, password } = new URL(server);
  const login = ['-h', hostname, '-P', port || '3306', '-u', username, ...(password ? [`-p${decodeURIComponent(password)}`] : [])];
  execFileSync('mariadb', ['--no-defaults', ...login, '-e', sql], { stdio: ['ignore', 'ignore', 'inherit'] });
}

/** A fresh MariaDB database that is dropped with the test `t`: the environment of a server on it. */
function mariadb(t) {
  const name = `tidings_${randomBytes(8).toString('hex')}`;
  run(`CREATE DATABASE ${name}`);
  t.after(() => run(`DROP DATABASE ${name}`));
  return { DATABASE_URL: `${server}/${name}` };
}

/** Each database: its name, whether and why it is skipped, and the environment of a server with a fresh one. */
export const DATABASES = [
  { name: 'SQLite', skip: false, environment: () => ({}) },
  {
    name: 'MariaDB',
    // In CI a missing service is a failure.
    skip: !server && process.env.CI !== 'true' && 'TIDINGS_TEST_MARIADB names no server: run by ./test or tests/services',
    environment: mariadb,
  },
];

/** A database as the old backend made it, by its schema, with two users, a conversation and a message; and a user of the server who may use it. */
export function legacyDatabase(schema) {
  const name = `tidings_${randomBytes(8).toString('hex')}`;
  const { hostname, port } = new URL(server);
  const rows = `INSERT INTO users (id, username, email, password, role) VALUES (1, 'ann', 'ann@example.com', '-', 'traveller'), (2, 'ben', 'ben@example.com', '-', 'traveller');
    INSERT INTO conversations (id, user1_id, user2_id, trip_id) VALUES (1, 1, 2, 7);
    INSERT INTO messages (conversation_id, sender_id, receiver_id, message_text) VALUES (1, 2, 1, 'Hello from before');`;
  run(`CREATE DATABASE ${name}; GRANT ALL ON ${name}.* TO ${name}@'%' IDENTIFIED BY 'secret-of-trips'; USE ${name}; ${schema}\n${rows}`);
  return { name, host: hostname, port: port || '3306', drop: () => run(`DROP DATABASE ${name}; DROP USER ${name}@'%'`) };
}
