// The two descriptions of the events: docs/events.d.ts compiles, takes what the frontends do and refuses what is wrong; docs/asyncapi.yaml is
// valid AsyncAPI; and both say the same. That they say what the server does is tested in tests/it/asyncapi.rs.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import Ajv from 'ajv';
import { createGenerator } from 'ts-json-schema-generator';
import { parse } from 'yaml';

const here = fileURLToPath(new URL('.', import.meta.url));
const docs = join(here, '../../docs');
const asyncapi = parse(readFileSync(join(docs, 'asyncapi.yaml'), 'utf8'));

/** Runs the compiler in a folder; resolves with what it says. */
const compile = (folder) => new Promise((done) => {
  const tsc = join(here, '../node_modules/typescript/bin/tsc');
  execFile(process.execPath, [tsc, '-p', folder], (error, stdout, stderr) => done({ code: error ? error.code : 0, output: stdout + stderr }));
});

test('events.d.ts takes what the frontends say and hear, and refuses what is wrong', async () => {
  assert.deepEqual(await compile(here), { code: 0, output: '' });
  const frontend = readFileSync(join(here, 'frontend.ts'), 'utf8');
  assert.ok(frontend.match(/@ts-expect-error/g).length >= 10);
  for (const app of ['g1', 'g2']) {
    const sources = join(here, `../apps/${app}/src`);
    const code = readdirSync(sources).filter((file) => file.endsWith('.jsx')).map((file) => readFileSync(join(sources, file), 'utf8')).join('\n');
    const said = [...code.matchAll(/\bemit\(("[a-z-]+", [^()]*(?:\([^()]*\)[^()]*)?)\)/g)].map(([, call]) => call);
    const heard = [...code.matchAll(/\bon\(("[a-z-]+")/g)].map(([, name]) => name);
    assert.ok(said.length > 4 && heard.length > 3, `${said}, ${heard}`);
    for (const call of said) assert.ok(frontend.includes(`emit(${call})`), `emit(${call}) of ${app} is not compiled`);
    for (const name of heard) assert.ok(frontend.includes(`on(${name}`), `on(${name}) of ${app} is not compiled`);
  }
});

test('the example of the README compiles', async (t) => {
  const [, example] = /```ts\n([\s\S]*?)```/.exec(readFileSync(join(here, '../../README.md'), 'utf8'));
  const folder = mkdtempSync(join(here, 'readme-'));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ extends: '../tsconfig.json', files: ['example.ts'] }));
  writeFileSync(join(folder, 'example.ts'), example.replace('./events', '../../../docs/events'));
  assert.deepEqual(await compile(folder), { code: 0, output: '' });
});

test('asyncapi.yaml is valid AsyncAPI 3.0', () => {
  const require = createRequire(import.meta.url);
  const schema = require('@asyncapi/specs/schemas/3.0.0-without-$id.json');
  const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false });
  const valid = ajv.validate(schema, asyncapi);
  assert.ok(valid, JSON.stringify(ajv.errors?.slice(0, 5), null, 1));
  const references = JSON.stringify(asyncapi).match(/"\$ref":"[^"]+"/g).map((text) => text.slice(10, -1));
  for (const place of references) assert.ok(at(asyncapi, place), `${place} leads nowhere`);
});

const at = (root, place) => place.replace(/^#\//, '').split('/').reduce((found, part) => found?.[decodeURIComponent(part)], root);

/** A schema as TypeScript can say it: without references, bounds, patterns and words, variants in one order. */
function plain(root, schema) {
  if (schema.$ref) return plain(root, at(root, schema.$ref));
  const variants = schema.oneOf ?? schema.anyOf ?? (Array.isArray(schema.type) ? schema.type.map((type) => ({ ...schema, type })) : null);
  if (variants) {
    const all = variants.flatMap((variant) => { const form = plain(root, variant); return form.variants ?? [form]; });
    const unique = [...new Set(all.map((form) => JSON.stringify(form)))].sort();
    return unique.length === 1 ? JSON.parse(unique[0]) : { variants: unique.map((form) => JSON.parse(form)) };
  }
  if (schema.const !== undefined) return { values: [schema.const] };
  if (schema.enum) return { values: [...schema.enum].sort() };
  if (schema.type === 'array') return { items: plain(root, schema.items) };
  if (schema.type === 'object') {
    const properties = Object.entries(schema.properties ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
    return { fields: properties.map(([name, field]) => [schema.required?.includes(name) ? name : `${name}?`, plain(root, field)]) };
  }
  return { type: schema.type === 'integer' ? 'number' : schema.type };
}

test('events.d.ts and asyncapi.yaml say the same', () => {
  const generate = (type) => createGenerator({ path: join(docs, 'events.d.ts'), type, skipTypeCheck: true, topRef: false }).createSchema(type);
  const payloads = (prefix) => Object.fromEntries(Object.entries(asyncapi.components.messages)
    .filter(([name]) => name.startsWith(prefix)).map(([name, { payload }]) => [name.slice(prefix.length), payload]));
  const acks = Object.fromEntries(Object.entries(asyncapi.operations).filter(([, { reply }]) => reply)
    .map(([name, { reply }]) => [name, at(asyncapi, at(asyncapi, reply.messages[0].$ref).$ref).payload]));
  for (const [type, documented] of [['ServerPayloads', payloads('server.')], ['ClientPayloads', payloads('client.')], ['Acks', acks]]) {
    const schema = generate(type);
    assert.deepEqual(Object.keys(schema.properties).sort(), Object.keys(documented).sort(), type);
    assert.deepEqual([...schema.required].sort(), Object.keys(documented).sort(), type);
    for (const [event, payload] of Object.entries(documented)) {
      assert.deepEqual(plain(schema, schema.properties[event]), plain(asyncapi, payload), `${event} of ${type}`);
    }
  }
});
