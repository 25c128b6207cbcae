// Schemathesis makes requests from the OpenAPI document, good ones and bad ones, as a user and as an admin: no answer may be a 5xx or another
// one than documented, and no method may be there that is not. Its version is pinned in python/requirements.txt, and its cases are the same each time.
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { BINARY, NO_LIMITS, adminOf, api, createPair, startServer } from '../lib/server.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const requirements = join(here, '../python/requirements.txt');
const venv = join(dirname(dirname(BINARY)), 'schemathesis');
const program = join(venv, 'bin/schemathesis');

/** Installs schemathesis beside the server's build; says what is missing, or nothing. */
function prepare() {
  const run = (command, ...args) => spawnSync(command, args, { encoding: 'utf8' });
  if (!existsSync(program)) {
    const made = run('python3', '-m', 'venv', venv);
    if (made.status !== 0) return `python3 with venv is missing: ${made.stderr || made.error}`;
  }
  const installed = run(join(venv, 'bin/pip'), 'install', '--quiet', '--disable-pip-version-check', '-r', requirements);
  return installed.status === 0 ? null : `schemathesis cannot be installed: ${installed.stderr}`;
}

const missing = prepare();
const skip = missing !== null && process.env.CI !== 'true' ? missing : false;

const CHECKS = [
  'not_a_server_error', 'status_code_conformance', 'content_type_conformance', 'response_headers_conformance',
  'response_schema_conformance', 'negative_data_rejection', 'missing_required_header', 'unsupported_method', 'allow_header_conformance',
  'ignored_auth',
];

/** What schemathesis says of a server, as the owner of a token. */
const schemathesis = (server, token) => new Promise((done) => {
  const args = [
    'run', `${server.url}/openapi.json`, '--header', `Authorization: Bearer ${token}`, '--checks', CHECKS.join(','),
    '--phases', 'examples,coverage,fuzzing', '--max-examples', '10', '--generation-deterministic',
    '--no-color', '--continue-on-failure', '--warnings', 'off',
  ];
  execFile(program, args, { cwd: server.dir, timeout: 120_000, maxBuffer: 1 << 26 }, (error, stdout, stderr) => done({ failed: error !== null, output: stdout + stderr }));
});

for (const role of ['user', 'admin']) {
  test(`every answer that ${role === 'user' ? 'a user' : 'an admin'} can provoke is as documented`, { skip, timeout: 150_000 }, async () => {
    assert.equal(missing, null);
    const any = { per_second: 100_000, burst: 100_000 };
    const server = await startServer({ config: { limits: { ...NO_LIMITS, searches: any, logins: 1_000_000, failed_logins: 1_000_000 } } });
    try {
      const { a, conversation } = await createPair(server, 'schema');
      await api(server, a.token, 'POST', '/api/messaging/support/tickets', { subject: 'Help', description: 'It broke' });
      assert.equal(conversation, 1);
      const { failed, output } = await schemathesis(server, role === 'admin' ? adminOf(server, a) : a.token);
      assert.ok(!failed, output);
      assert.match(output, /\d+ generated/);
    } finally {
      await server.stop();
    }
  });
}
