// Every file in cases/ is a test: a configuration, a line of dashes, and what must come of it. Either all the errors, in
// their order (`3:5: path: text`), or some of the values (`path = JSON`). Add a case by adding a file.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { ConfigError, loadApiAddress, loadConfig } from '../../src/config/index.ts';
import fc from '../seed.ts';

const CASES = new URL('cases/', import.meta.url);
const ENV = { ADMIN_PASSWORD: 'hunter2: {[', EMPTY: '', POOL: '7' };
/** Stands in many cases where only a secret may stand. */
const SECRET = 'hunter2';

const directory = mkdtempSync(join(tmpdir(), 'evenkeel-config-'));
after(() => rmSync(directory, { recursive: true }));

function load(text: string): { config: object } | { errors: string[] } {
  writeFileSync(join(directory, 'c.yaml'), text);
  try {
    return { config: loadConfig({ file: 'c.yaml', env: ENV, cwd: directory }) };
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    const lines = error.message.split('\n');
    assert.ok(
      lines.every((line) => line.startsWith('c.yaml:')),
      error.message,
    );
    return { errors: lines.map((line) => line.slice('c.yaml:'.length).trim()) };
  }
}

function dig(value: unknown, path: string): unknown {
  let current = value;
  for (const key of path.match(/[^.[\]]+/g) ?? []) current = (current as Record<string, unknown> | null)?.[key];
  return current;
}

describe('configuration files', () => {
  for (const name of readdirSync(CASES).sort()) {
    test(name.replace(/\.txt$/, '').replaceAll('-', ' '), () => {
      const [input = '', expected = ''] = readFileSync(new URL(name, CASES), 'utf8').split(/^-{10,}\n/m);
      const lines = expected.split('\n').filter((line) => line !== '');
      assert.notEqual(lines.length, 0, 'the case says nothing of what must come of it');
      const outcome = load(input);
      if (lines.every((line) => / = /.test(line)) && 'config' in outcome) {
        for (const line of lines) {
          const [path = '', json = ''] = line.split(/ = (.*)/s);
          assert.deepEqual(dig(outcome.config, path), JSON.parse(json), path);
        }
      } else {
        const errors = 'errors' in outcome ? outcome.errors : ['(no error)'];
        assert.deepEqual(errors, lines);
        assert.ok(!errors.join('\n').includes(SECRET), 'an error shows a secret');
      }
    });
  }
});

describe('configuration by URL', () => {
  const fromUrls = (urls: string[], env: Record<string, string> = {}) => loadConfig({ urls, env, cwd: directory });

  test('several URLs are seeds of one cluster named default', () => {
    const config = fromUrls(['mysql://root:p%40ss@db1', 'mariadb://root:p%40ss@[::1]:3307,db2:3308']);
    assert.equal(config.file, null);
    assert.deepEqual(config.clusters[0]?.seeds, ['db1:3306', '[::1]:3307', 'db2:3308']);
    assert.deepEqual(config.clusters[0]?.admin, { user: 'root', password: 'p@ss' });
    assert.equal(config.clusters[0]?.durability, 'detect');
    assert.equal(config.clusters[0]?.name, 'default');
    assert.deepEqual(
      config.endpoints.map(({ name, host, port, cluster }) => `${name} ${host}:${port} ${cluster}`),
      ['writer 127.0.0.1:6446 default', 'reader 127.0.0.1:6447 default'],
    );
    assert.equal(config.stateDir, join(directory, '.evenkeel'));
    assert.equal(config.workers, availableParallelism());
  });

  test('the password may come from the environment', () => {
    const config = fromUrls(['mysql://root@db1'], { EVENKEEL_ADMIN_PASSWORD: 'x y' });
    assert.equal(config.clusters[0]?.admin.password, 'x y');
  });

  for (const [url, message] of [
    ['http://root:hunter2@db1', /does not begin with mysql:/],
    ['mysql://db1', /names no user/],
    ['mysql://root@db1', /has no password/],
    ['mysql://root:hunter2@db1:99999', /not host:port/],
    ['mysql://root:hunter2@db1/hunter2', /something behind the port/],
    ['mysql://root:hunter2%@db1', /begins no escape/],
    ['mysql://root:hunter2@127.0.0.1:6446', /listens here/],
  ] as const) {
    test(`${url.replace(SECRET, '…')} is refused without showing its password`, () => {
      assert.throws(
        () => fromUrls([url]),
        (error) => error instanceof ConfigError && message.test(error.message) && !error.message.includes(SECRET),
      );
    });
  }

  test('different accounts in two URLs contradict each other', () => {
    assert.throws(() => fromUrls(['mysql://a:x@db1', 'mysql://b:x@db2']), /different accounts/);
  });
});

test('a file that is not there is an error that names it', () => {
  assert.throws(
    () => loadConfig({ file: 'none.yaml', env: {}, cwd: directory }),
    (error) => error instanceof ConfigError && /^none\.yaml: .*ENOENT/.test(error.message),
  );
});

test('a file that is too large is refused', () => {
  assert.throws(() => {
    writeFileSync(join(directory, 'large.yaml'), '#'.repeat(1024 * 1024 + 1));
    loadConfig({ file: 'large.yaml', env: {}, cwd: directory });
  }, /larger than 1 MiB/);
});

test('the API address is found in a file whose passwords are not set, and whose other keys are wrong', () => {
  const text =
    'clusters: {a: {admin: {password: ${NOT_SET}}}}\nhttp: { listen: 0.0.0.0:7000, token: ${NOT_SET} }\nbogus: 1\n';
  writeFileSync(join(directory, 'api.yaml'), text);
  assert.deepEqual(loadApiAddress({ file: 'api.yaml', env: {}, cwd: directory }), {
    host: '0.0.0.0',
    port: 7000,
    token: null,
    stateDir: join(directory, '.evenkeel'),
  });
});

test('whatever stands in a file ends in a configuration or in errors with places, never in an exception of another kind', () => {
  const base =
    readFileSync(new URL('cases/the-example-of-the-design.txt', import.meta.url), 'utf8').split('----------')[0] ?? '';
  const scrap = fc.constantFrom(
    '{',
    '}',
    '[',
    ']',
    ':',
    '\n',
    '  ',
    '- ',
    '&a ',
    '*a',
    '!x ',
    '"',
    "'",
    '|',
    '${X}',
    '$${X}',
    '%',
    '@',
    '\t',
    '#',
    '0',
    '~',
    '<<: ',
  );
  fc.assert(
    fc.property(fc.nat(base.length), fc.nat(40), fc.array(scrap, { maxLength: 4 }), (at, length, scraps) => {
      load(base.slice(0, at) + scraps.join('') + base.slice(at + length));
    }),
    { numRuns: 300 },
  );
});
