// How `start` begins and ends, with a control process that is only promised; and what it leaves in the state directory.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { pino } from 'pino';
import { plainLine } from '../../src/cli/log.ts';
import { type Control, type ServeWorld, serve } from '../../src/cli/start.ts';
import { provideToken } from '../../src/cli/token.ts';
import { loadConfig } from '../../src/config/index.ts';
import { createHttp } from '../../src/http/index.ts';
import { type FakeControl, fakeControl, stepEvent } from '../support/fake-control.ts';

const directory = mkdtempSync(join(tmpdir(), 'evenkeel-start-'));
after(() => rmSync(directory, { recursive: true }));

interface Stage {
  world: ServeWorld;
  control: FakeControl & Control;
  lines: string[];
  stops: number[];
  signal: (name: string) => void;
  fail: (error: unknown) => void;
  said: (text: string) => Promise<void>;
}

function stage(): Stage {
  const signal = Promise.withResolvers<string>();
  const done = Promise.withResolvers<unknown>();
  const stops: number[] = [];
  const lines: string[] = [];
  const waiting: { text: string; resolve: () => void }[] = [];
  const control = Object.assign(fakeControl(), {
    stop: (drainMs: number) => {
      stops.push(drainMs);
      return Promise.resolve();
    },
    done: done.promise,
  });
  const out = (line: string) => {
    lines.push(line);
    for (const one of waiting) if (line.includes(one.text)) one.resolve();
  };
  const world: ServeWorld = {
    startControl: () => Promise.resolve(control),
    createHttp,
    signal: signal.promise,
    log: pino({ level: 'silent' }),
    output: { out, err: out },
  };
  const said = (text: string) => {
    if (lines.some((line) => line.includes(text))) return Promise.resolve();
    return new Promise<void>((resolve) => waiting.push({ text, resolve }));
  };
  return { world, control, lines, stops, signal: signal.resolve, fail: done.resolve, said };
}

function config(http = '127.0.0.1:0') {
  writeFileSync(
    join(directory, 'c.yaml'),
    `clusters: { shop: { seeds: [db1], admin: { user: a, password: b } } }\nhttp: { listen: "${http}" }\nshutdownTimeout: 7s\n`,
  );
  return loadConfig({ file: 'c.yaml', env: {}, cwd: directory });
}

describe('start', () => {
  test('tells each endpoint, what keeps it from serving, and when it serves', async () => {
    const { world, control, lines, signal, said } = stage();
    control.isReady = false;
    const served = serve(config(), world);
    await said('not ready');
    control.emit(stepEvent(0));
    control.isReady = true;
    control.emit(stepEvent(1));
    control.emit(stepEvent(2));
    signal('SIGTERM');
    await served;
    assert.match(lines[1] ?? '', /^HTTP listens on 127\.0\.0\.1:\d+$/);
    assert.deepEqual(
      [lines[0], ...lines.slice(2)],
      ['endpoint writer listens on 127.0.0.1:6446: primary of shop', 'not ready: cluster shop has no primary', 'ready'],
    );
  });

  test('a signal drains for as long as the configuration says, with HTTP still answering', async () => {
    const { world, control, stops, signal, lines, said } = stage();
    let during = 0;
    control.stop = async (drainMs) => {
      stops.push(drainMs);
      const port = /:(\d+)$/.exec(lines[1] ?? '')?.[1];
      during = (await fetch(`http://127.0.0.1:${port}/healthz`)).status;
    };
    const served = serve(config(), world);
    await said('ready');
    signal('SIGTERM');
    await served;
    assert.deepEqual(stops, [7000]);
    assert.equal(during, 200);
  });

  test('a control process that cannot start is told with its reason', async () => {
    const { world } = stage();
    world.startControl = () => Promise.reject(new Error('127.0.0.1:6446 is in use'));
    await assert.rejects(serve(config(), world), /^CommandFailure: cannot start: 127\.0\.0\.1:6446 is in use$/);
  });

  test('a taken HTTP port stops what has started and says what to change', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => taken.once('listening', resolve));
    after(() => taken.close());
    const { world, stops } = stage();
    const { port } = taken.address() as AddressInfo;
    await assert.rejects(serve(config(`127.0.0.1:${port}`), world), /EADDRINUSE.*change http\.listen/);
    assert.deepEqual(stops, [0]);
  });

  test('a control process that cannot go on ends it', async () => {
    const { world, fail, said } = stage();
    const served = serve(config(), world);
    const refused = assert.rejects(served, /cannot go on: workers keep dying/);
    await said('ready');
    fail(new Error('workers keep dying'));
    await refused;
  });
});

describe('the token', () => {
  test('is made once, kept, and readable by its owner only', () => {
    const stateDir = join(directory, 'state', 'deep');
    const token = provideToken(stateDir, null);
    assert.match(token, /^[\w-]{43}$/);
    assert.equal(statSync(join(stateDir, 'token')).mode & 0o777, 0o600);
    assert.equal(statSync(stateDir).mode & 0o777, 0o700);
    assert.equal(provideToken(stateDir, null), token);
    assert.equal(provideToken(stateDir, 'configured'), 'configured');
    assert.equal(readFileSync(join(stateDir, 'token'), 'utf8'), 'configured\n');
    // Too short to be one of ours: a new one is made.
    assert.match(provideToken(stateDir, null), /^[\w-]{43}$/);
  });

  test('in a state directory that cannot be made is an error that names it', () => {
    writeFileSync(join(directory, 'file'), '');
    assert.throws(() => provideToken(join(directory, 'file', 'x'), null), /state directory .*file\/x .*ENOTDIR/);
  });
});

test('a log line on a terminal is plain and cannot steer it', () => {
  const time = Date.UTC(2030, 0, 1, 12, 0, 1, 5);
  const line = JSON.stringify({
    level: 40,
    time,
    pid: 1,
    node: 'db1:3306',
    err: { message: 'a\u001b[2Jb' },
    msg: 'lost',
  });
  assert.equal(plainLine(line), '12:00:01.005 warn  lost node=db1:3306 err="a\\u001b[2Jb"\n');
});
