// Workers as processes: started, restarted, taken over, killed when they cannot be told, and gone after a stop.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Config } from '../../src/config/types.ts';
import type { ControlProcess } from '../../src/control/control.ts';
import { processLives } from '../../src/control/processes.ts';
import { noServerConnections } from '../../src/messages/index.ts';
import { freePort, order, startTestControl, stateOf, temporaryDir, testConfig, until } from './harness.ts';

const cleanups: (() => unknown)[] = [];
after(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

async function place(): Promise<{ dir: string; port: number }> {
  const { dir, remove } = temporaryDir();
  cleanups.push(remove);
  return { dir, port: await freePort() };
}

function stopAfter(control: ControlProcess): void {
  cleanups.push(() => control.stop(500));
}

/** Runs a control process until its workers listen, and kills it. Gives the pids of the workers, who live on. */
async function crashedControl(config: Config): Promise<number[]> {
  const script = fileURLToPath(new URL('doomed-control.ts', import.meta.url));
  const child = spawn(process.execPath, [script, JSON.stringify(config)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  child.kill('SIGKILL');
  await once(child, 'exit');
  return JSON.parse(line) as number[];
}

test('workers are told their settings, accounts and routes before start resolves, and are gone after stop', async () => {
  const { dir, port } = await place();
  const { control } = await startTestControl(testConfig(dir, port));
  const pids = control.workerPids();
  assert.equal(pids.length, 2);
  for (const worker of [0, 1]) {
    const state = await until('a route', async () => {
      const seen = await stateOf(dir, worker);
      return seen && seen.version > 0 ? seen : undefined;
    });
    assert.deepEqual(
      state.clusters.map(({ cluster, epoch, primary, gate }) => ({ cluster, epoch, primary, gate })),
      [{ cluster: 'shop', epoch: 1, primary: 'a:1', gate: { state: 'open' } }],
    );
    const configure = state.heard.find(({ type }) => type === 'configure');
    assert.ok(configure?.type === 'configure');
    assert.match(configure.settings.tls.cert, /BEGIN CERTIFICATE/);
    assert.match(configure.settings.rsaKey, /BEGIN PRIVATE KEY/);
  }
  assert.equal(statSync(join(dir, 'control.sock')).mode & 0o777, 0o600);
  assert.equal(statSync(dir).mode & 0o777, 0o700);
  assert.equal(statSync(join(dir, 'tls-key.pem')).mode & 0o777, 0o600);
  await control.stop(1000);
  assert.deepEqual(pids.filter(processLives), []);
});

test('a worker that is killed is started again and gets the present route', async () => {
  const { dir, port } = await place();
  const { control } = await startTestControl(testConfig(dir, port));
  stopAfter(control);
  const [victim, other] = control.workerPids();
  assert.ok(victim !== undefined && other !== undefined);
  process.kill(victim, 'SIGKILL');
  const next = await until('a new worker', async () => {
    const pids = control.workerPids();
    const seen = await stateOf(dir, 0);
    return pids.length === 2 && seen && seen.pid !== victim && seen.version > 0 ? seen : undefined;
  });
  assert.equal(next.clusters[0]?.primary, 'a:1');
  assert.equal(control.workerPids()[1], other);
  assert.match(await control.metrics(), /evenkeel_worker_restarts_total 1\n/);
});

test('a worker that does not acknowledge a closed route is killed, and the close resolves', async () => {
  const { dir, port } = await place();
  let closed = 0;
  const { control } = await startTestControl(testConfig(dir, port), {
    timeouts: { applyMs: 200 },
    recoveries: {
      switchover: async (context) => {
        await context.gate.close('switchover', 'r1');
        closed = control.workerPids().filter(processLives).length;
        await context.gate.reopen('r1');
        const done = { id: 'r1', kind: 'switchover', cluster: 'shop', from: 'a:1', to: null, epoch: 1 } as const;
        const end = { outcome: 'rolled-back', reason: 'test', startedAt: '', durationMs: 1, steps: [] } as const;
        const all = { ...done, ...end, steps: [], longestStallMs: 0, clientErrors: 0 };
        context.onProgress?.(all, null);
        return all;
      },
    },
  });
  stopAfter(control);
  const deaf = await order(dir, 1, { do: 'be-deaf' });
  const outcome = await control.switchover('shop', {});
  assert.equal(outcome.outcome, 'rolled-back');
  assert.equal(closed, 1);
  await until('another worker in its place', async () => (await stateOf(dir, 1))?.pid !== deaf.pid);
});

test('a control process that starts after a crash takes the workers over', async () => {
  const { dir, port } = await place();
  const config = testConfig(dir, port);
  const pids = await crashedControl(config);
  assert.deepEqual(pids.filter(processLives), pids);
  const before = await order(dir, 0);
  const { control: second } = await startTestControl(config);
  stopAfter(second);
  assert.deepEqual(second.workerPids(), pids);
  const after = await until('a newer table', async () => {
    const seen = await stateOf(dir, 0);
    return seen && seen.version > before.version ? seen : undefined;
  });
  assert.equal(after.clusters[0]?.epoch, 1);
});

test('workers that were started with other settings are retired, and new ones take their place', async () => {
  const { dir, port } = await place();
  const pids = await crashedControl(testConfig(dir, port));
  const hold = { timeoutMs: 1, maxStatements: 1, maxBytes: 1 };
  const { control: second } = await startTestControl(testConfig(dir, port, { hold }));
  stopAfter(second);
  assert.equal(second.workerPids().length, 2);
  assert.deepEqual(
    second.workerPids().filter((pid) => pids.includes(pid)),
    [],
  );
  await until('the old ones to be gone', () => pids.every((pid) => !processLives(pid)));
});

test('an address in use is an error that names the endpoint, and nothing is left running', async () => {
  const { dir } = await place();
  const server = createServer();
  await new Promise<void>((resolve) => server.listen({ host: '127.0.0.1', port: 0, reusePort: true }, resolve));
  cleanups.push(() => server.close());
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  await assert.rejects(startTestControl(testConfig(dir, address.port)), {
    message: `endpoint writer cannot listen on 127.0.0.1:${address.port}: the address is in use`,
  });
});

test('a second control process on the same state directory is refused', async () => {
  const { dir, port } = await place();
  const { control } = await startTestControl(testConfig(dir, port));
  stopAfter(control);
  await assert.rejects(startTestControl(testConfig(dir, await freePort())), /another Evenkeel runs on/);
});

test('a state directory whose path is too long for a socket has its channel elsewhere', async () => {
  const { dir, port } = await place();
  const deep = join(dir, 'd'.repeat(120));
  const { control } = await startTestControl(testConfig(deep, port));
  assert.equal(control.workerPids().length, 2);
  await control.stop(500);
});

test('an order to kill a connection goes to all other workers, with the one who asks', async () => {
  const { dir, port } = await place();
  const { control } = await startTestControl(testConfig(dir, port));
  stopAfter(control);
  await order(dir, 0, {
    do: 'send',
    message: { type: 'kill', order: 7, connectionId: 42, queryOnly: true, cluster: 'shop', user: 'app' },
  });
  await until('the order', async () => (await order(dir, 1)).heard.some(({ type }) => type === 'kill'));
  await order(dir, 1, { do: 'send', message: { type: 'kill-answer', order: 7, asker: 0, outcome: 'done' } });
  await until('the answer', async () => (await order(dir, 0)).heard.some(({ type }) => type === 'kill-answer'));
  const { heard } = await order(dir, 0);
  assert.equal(
    heard.some(({ type }) => type === 'kill'),
    false,
  );
});

test('what a SET GLOBAL replaced is told to all other workers', async () => {
  const { dir, port } = await place();
  const { control } = await startTestControl(testConfig(dir, port));
  stopAfter(control);
  const message = {
    type: 'defaults-replaced',
    cluster: 'main',
    node: 'a:1',
    replaced: { time_zone: 'SYSTEM' },
  } as const;
  await order(dir, 0, { do: 'send', message });
  const heard = async (worker: number) => (await order(dir, worker)).heard.filter(({ type }) => type === message.type);
  await until('it to be told', async () => (await heard(1)).length > 0);
  assert.deepEqual([await heard(0), await heard(1)], [[], [message]]);
});

test('what a dead worker counted stays in the sums', async () => {
  const { dir, port } = await place();
  const { control } = await startTestControl(testConfig(dir, port));
  stopAfter(control);
  const counters = {
    endpoints: [
      { endpoint: 'writer', clients: 3, held: 1, statements: 10, errors: 2, pinned: { cursor: 1, transaction: 2 } },
    ],
    serverConnections: {
      'a:1': {
        ...noServerConnections(),
        open: 2,
        inUse: 1,
        waiting: 4,
        opened: 5,
        closed: { ...noServerConnections().closed, idle: 3 },
        joined: 7,
      },
    },
    events: [{ name: 'hold_ended', label: 'opened', count: 4 }],
    cpuUs: 1_000_000,
    residentBytes: 5,
  };
  for (const worker of [0, 1]) await order(dir, worker, { do: 'send', message: { type: 'counters', counters } });
  await until('both counters', () => control.status().endpoints[0]?.clients === 6);
  assert.deepEqual(control.status().endpoints, [
    {
      name: 'writer',
      cluster: 'shop',
      listen: `127.0.0.1:${port}`,
      route: 'primary',
      clients: 6,
      held: 2,
      statements: 20,
      errors: 4,
      pinned: { cursor: 2, transaction: 4 },
      paused: null,
    },
  ]);
  const { pid } = await order(dir, 0);
  process.kill(pid, 'SIGKILL');
  await until('its clients to be gone', () => control.status().endpoints[0]?.clients === 3);
  const text = await control.metrics();
  assert.match(text, /evenkeel_endpoint_statements_total\{endpoint="writer"\} 20\n/);
  assert.match(text, /evenkeel_hold_ended_total\{reason="opened"\} 8\n/);
  assert.match(text, /evenkeel_server_connections\{node="a:1",state="idle"\} 1\n/);
  // What is there now went with the worker; what it counted did not.
  assert.match(text, /evenkeel_pinned_sessions\{endpoint="writer",reason="cursor"\} 1\n/);
  assert.match(text, /evenkeel_pinned_sessions\{endpoint="writer",reason="xa"\} 0\n/);
  assert.match(text, /evenkeel_server_connections_waited_for\{node="a:1"\} 4\n/);
  assert.match(text, /evenkeel_server_connections_opened_total\{node="a:1"\} 10\n/);
  assert.match(text, /evenkeel_server_connections_closed_total\{node="a:1",reason="idle"\} 6\n/);
  assert.match(text, /evenkeel_pipelined_statements_total\{node="a:1"\} 14\n/);
});
