// Rules about the tree itself, so that its shape is kept by a test rather than by memory: which way imports point, the
// one door of every folder, the comment that opens a file, and how long a file may be.
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { before, test } from 'node:test';

const ROOT = join(import.meta.dirname, '..');
const LONGEST_LINES = 500;

/** What each folder of src may import, beside itself, `messages` and the types of `config`. */
const ARROWS: Record<string, readonly string[]> = {
  wire: [],
  sql: [],
  messages: [],
  config: ['sql'],
  store: [],
  sandbox: [],
  cluster: ['wire'],
  recovery: ['cluster', 'store'],
  gateway: ['sql', 'wire'],
  control: ['recovery', 'cluster', 'store', 'config', 'wire'],
  http: ['control', 'recovery', 'cluster', 'store'],
  drill: [],
  demo: ['drill', 'sandbox'],
  cli: ['control', 'http', 'config', 'recovery', 'cluster', 'store', 'sandbox', 'wire', 'drill', 'demo'],
};

/** Types alone: what the arrows forbid at run time but a contract between two folders needs. */
const TYPE_ARROWS: Record<string, readonly string[]> = {
  store: ['recovery'],
  control: ['http'],
  demo: ['http', 'recovery'],
};

/** Longer than LONGEST_LINES, each with its reason. */
const LONG_FILES: Record<string, string> = {
  'src/gateway/gateway.ts': 'the worker put together: whatever the control process or a client asks of it',
  'src/gateway/pool.ts': 'one place moves connections between places',
  'src/gateway/in-flight/guard.ts': 'every way into, through and out of one kept transaction',
  'src/gateway/server-connection.ts': 'login and command phase of one connection',
  'src/gateway/statement.ts': 'the way of a statement, from top to bottom',
  'test/wire/scanner.test.ts': 'one table of answers, cut at every byte',
  'test/recovery/elect.test.ts': 'one table of cases, read side by side',
  'test/recovery/world.ts': 'one cluster in memory, and what can be done to it',
  'test/scenarios/protocol.test.ts': 'stories that share one cluster a flavor',
};

interface Import {
  /** Path from the root of the repository, e.g. `src/wire/index.ts`; a package's name where it is one. */
  target: string;
  typeOnly: boolean;
}

interface Source {
  path: string;
  text: string;
  imports: Import[];
}

let sources: Source[] = [];

before(async () => {
  const dirs = ['src', 'test', 'bench', 'scripts'];
  const lists = await Promise.all(
    dirs.map((dir) => readdir(join(ROOT, dir), { recursive: true, withFileTypes: true }).catch(() => [])),
  );
  const files = lists.flat().filter((entry) => entry.isFile() && entry.name.endsWith('.ts'));
  sources = await Promise.all(
    files.map(async (entry) => {
      const path = join(entry.parentPath, entry.name);
      const text = await readFile(path, 'utf8');
      return { path: relative(ROOT, path), text, imports: importsOf(path, text) };
    }),
  );
});

function importsOf(path: string, text: string): Import[] {
  const found: Import[] = [];
  const add = (target: string, typeOnly: boolean): void => {
    found.push({ target: target.startsWith('.') ? relative(ROOT, resolve(dirname(path), target)) : target, typeOnly });
  };
  for (const [, clause = '', target = ''] of text.matchAll(/^(?:import|export)\s([^'"`;]*?)from\s+'([^']+)'/gm)) {
    const names =
      /\{([^}]*)\}/
        .exec(clause)?.[1]
        ?.split(',')
        .filter((name) => name.trim() !== '') ?? [];
    const onlyTypes = names.length > 0 && /^\s*\{/.test(clause) && names.every((name) => /^\s*type\s/.test(name));
    add(target, clause.startsWith('type ') || onlyTypes);
  }
  for (const [, target = ''] of text.matchAll(/^import\s+'([^']+)'/gm)) add(target, false);
  for (const [, target = ''] of text.matchAll(/\bimport\(\s*'([^']+)'\s*\)/g)) add(target, false);
  return found;
}

/** The folder of src that a path lies in; null for src/main.ts and everything elsewhere. */
function folder(path: string): string | null {
  return /^src\/([^/]+)\//.exec(path)?.[1] ?? null;
}

function report(wrong: string[]): void {
  assert.deepEqual(wrong, [], wrong.join('\n'));
}

test('every folder of src has its arrows', () => {
  const folders = new Set(sources.map(({ path }) => folder(path)).filter((name) => name !== null));
  report([...folders].filter((name) => !(name in ARROWS)).map((name) => `src/${name} is not in ARROWS`));
});

test('imports point one way', () => {
  const wrong: string[] = [];
  for (const { path, imports } of sources) {
    const from = folder(path);
    if (from === null) continue;
    for (const { target, typeOnly } of imports) {
      const to = folder(target);
      if (to === null || to === from || to === 'messages') continue;
      if (typeOnly && (to === 'config' || TYPE_ARROWS[from]?.includes(to))) continue;
      if (!ARROWS[from]?.includes(to)) wrong.push(`${path} imports ${target}: ${from} may not know ${to}`);
    }
  }
  report(wrong);
});

test('other folders come in by the door, index.ts', () => {
  const wrong: string[] = [];
  for (const { path, imports } of sources) {
    if (path.startsWith('test/') || path.startsWith('bench/')) continue;
    for (const { target, typeOnly } of imports) {
      const to = folder(target);
      if (to === null || to === folder(path) || target === `src/${to}/index.ts`) continue;
      // Contracts, which hold types alone.
      if (typeOnly && (target === `src/${to}/types.ts` || target === 'src/http/api.ts')) continue;
      // The command line has one file a verb and no door: only src/main.ts and the verbs themselves use them.
      if (to === 'cli' && path === 'src/main.ts') continue;
      wrong.push(`${path} imports ${target}, not src/${to}/index.ts`);
    }
  }
  report(wrong);
});

test('nothing in src depends on tests, benchmarks or scripts', () => {
  const wrong: string[] = [];
  for (const { path, imports } of sources) {
    if (!path.startsWith('src/')) continue;
    for (const { target } of imports)
      if (/^(test|bench|scripts)\//.test(target)) wrong.push(`${path} imports ${target}`);
  }
  report(wrong);
});

test('no test imports another test, or the helpers of another folder', () => {
  const wrong: string[] = [];
  for (const { path, imports } of sources) {
    if (!path.startsWith('test/')) continue;
    for (const { target } of imports) {
      const own =
        target.startsWith(`${dirname(path)}/`) || dirname(target) === 'test' || target.startsWith('test/support/');
      if (target.endsWith('.test.ts') || (target.startsWith('test/') && !own)) wrong.push(`${path} imports ${target}`);
    }
  }
  report(wrong);
});

test('a file opens with a comment that says what it is for', () => {
  report(sources.filter(({ text }) => !/^(#!.*\n)?(\/\/ \S|\/\*\*?\s)/.test(text)).map(({ path }) => path));
});

test('a file stays short enough to be read', () => {
  const wrong: string[] = [];
  for (const { path, text } of sources) {
    const lines = text.split('\n').length - 1;
    if (lines > LONGEST_LINES && !(path in LONG_FILES)) wrong.push(`${path} has ${lines} lines`);
    if (lines <= LONGEST_LINES && path in LONG_FILES) wrong.push(`${path} is short again: take it out of LONG_FILES`);
  }
  for (const path of Object.keys(LONG_FILES)) {
    if (!sources.some((source) => source.path === path)) wrong.push(`${path} is in LONG_FILES and does not exist`);
  }
  report(wrong);
});

test('no suppression of the checks goes without its reason', () => {
  const suppression = /(?:oxlint-disable|eslint-disable|biome-ignore|@ts-ignore|@ts-expect-error)/;
  const wrong: string[] = [];
  for (const { path, text } of sources) {
    if (path === 'test/tidy.test.ts') continue;
    const lines = text.split('\n');
    for (const [i, line] of lines.entries()) {
      const beside = /(?: -- |: )\S+ \S+/.test(line) || /^\s*\/\/ \S+ \S+/.test(lines[i - 1] ?? '');
      if (suppression.test(line) && !beside) wrong.push(`${path}:${i + 1}: ${line.trim()}`);
    }
  }
  report(wrong);
});

test('a test file lies where its subject does', () => {
  const known = new Set([...Object.keys(ARROWS), 'scenarios', 'support', 'scripts', 'bench']);
  const wrong = sources.filter(({ path }) => {
    const below = /^test\/([^/]+)\//.exec(path)?.[1];
    return below !== undefined && !known.has(below);
  });
  report(wrong.map(({ path }) => path));
});

test('tests of properties have one seed', () => {
  const own = sources
    .filter(({ path, imports }) => path !== 'test/seed.ts' && imports.some(({ target }) => target === 'fast-check'))
    .map(({ path }) => path);
  assert.deepEqual(own, [], 'take fast-check from test/seed.ts');
});
