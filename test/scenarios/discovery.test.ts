// An operator's stories about what the control plane sees: found from one seed, killed, frozen, moved by hand, broken.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import mysql from 'mysql2/promise';
import { ClusterMonitor, monitorClock } from '../../src/cluster/index.ts';
import type { ClusterConfig } from '../../src/config/types.ts';
import type { Flavor } from '../../src/messages/index.ts';
import { killNode, startNode, withSandbox } from '../../src/sandbox/index.ts';
import type { SandboxInfo } from '../../src/sandbox/types.ts';

const quiet = { debug() {}, info() {}, warn() {} };

function configFor(sandbox: SandboxInfo, seed: string): ClusterConfig {
  return {
    name: 'shop',
    seeds: [seed],
    admin: sandbox.admin,
    durability: 'none',
    semisync: { acks: 1, timeoutMs: 1_000_000_000 },
    nodes: [],
    recovery: 'automatic',
    serverTls: { mode: 'off' },
    probe: { intervalMs: 100, timeoutMs: 1000, silentAfterMs: 1500 },
    heartbeat: { enabled: false, intervalMs: 500, deadlineMs: 2000, degradedAfterMs: 30_000 },
    failover: { unfenced: 'promote', minIntervalMs: 0, maxFailures: 5 },
    switchover: { drainTimeoutMs: 1000, catchUpTimeoutMs: 1000, maxLagMs: 5000, degraded: 'tell' },
  };
}

/** Address of node 1, 2 or 3. */
function address(sandbox: SandboxInfo, number: number): string {
  const node = sandbox.nodes[number - 1];
  assert.ok(node);
  return `${node.host}:${node.port}`;
}

async function sql(sandbox: SandboxInfo, number: number, ...statements: string[]): Promise<void> {
  const node = sandbox.nodes[number - 1];
  assert.ok(node);
  const connection = await mysql.createConnection({ host: node.host, port: node.port, ...sandbox.admin });
  for (const statement of statements) await connection.query(statement);
  await connection.end();
}

/** Waits until `holds`, looking after every change; says what it saw last when it never does. */
async function until(monitor: ClusterMonitor, what: string, holds: () => boolean, withinMs = 15_000): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const told = (): string =>
    JSON.stringify([
      monitor.primaryHealth(),
      monitor.view().problems,
      monitor.view().nodes.map(({ node, role, state, detail }) => ({ node, role, state, detail })),
    ]);
  const timer = setTimeout(
    () => reject(new Error(`not within ${withinMs} ms: ${what}; last seen: ${told()}`)),
    withinMs,
  );
  const check = (): void => {
    if (holds()) resolve();
  };
  const unsubscribe = monitor.onChange(check);
  check();
  await promise.finally(() => {
    clearTimeout(timer);
    unsubscribe();
  });
}

type Story = (sandbox: SandboxInfo, monitor: ClusterMonitor) => Promise<void>;

/** A cluster of three, watched from the one seed that is a replica, and discovered. */
async function watched(flavor: Flavor, replication: 'async' | 'semisync', story: Story): Promise<void> {
  await withSandbox({ flavor, replication, nodes: 3 }, async (sandbox) => {
    const durability = replication === 'semisync' ? 'semisync' : 'none';
    const config = { ...configFor(sandbox, address(sandbox, 3)), durability } as const;
    const monitor = new ClusterMonitor({ config, memory: null, clock: monitorClock, log: quiet });
    monitor.start();
    try {
      await until(monitor, 'three nodes, one of them the primary, all well', () => {
        const { primary, nodes } = monitor.view();
        return primary === address(sandbox, 1) && nodes.length === 3 && nodes.every(({ state }) => state === 'ok');
      });
      await story(sandbox, monitor);
    } finally {
      await monitor.stop();
    }
  });
}

const state = (monitor: ClusterMonitor, node: string): string | undefined =>
  monitor.view().nodes.find((one) => one.node === node)?.state;

for (const flavor of ['mariadb', 'mysql'] as const) {
  const story = (name: string, told: Story, replication: 'async' | 'semisync' = 'async'): void => {
    test(`${flavor}: ${name}`, { timeout: 90_000 }, async () => await watched(flavor, replication, told));
  };

  story('a cluster is found from a seed that is a replica, with its accounts and version', async (sandbox, monitor) => {
    assert.equal(monitor.view().flavor, flavor);
    assert.deepEqual(
      monitor
        .view()
        .nodes.map(({ role }) => role)
        .sort(),
      ['primary', 'replica', 'replica'],
    );
    assert.match(monitor.greeting()?.version ?? '', flavor === 'mysql' ? /^\d+\.\d+/ : /MariaDB/);
    const accounts = await monitor.accounts();
    assert.ok(accounts.some(({ user, stored }) => user === sandbox.app.user && stored !== ''));
  });

  story('a killed primary is known to be dead, and alive again after it came to life', async (sandbox, monitor) => {
    await killNode(sandbox.dir, 'node1', 'SIGKILL');
    await until(monitor, 'dead', () => monitor.primaryHealth().state === 'dead');
    assert.equal(monitor.view().primary, address(sandbox, 1));
    assert.equal(state(monitor, address(sandbox, 1)), 'unreachable');
    await startNode(sandbox.dir, 'node1');
    await until(monitor, 'alive', () => monitor.primaryHealth().state === 'alive');
    await until(monitor, 'read-only', () => state(monitor, address(sandbox, 1)) === 'read-only-primary');
  });

  story('a frozen primary is known to be dead, and alive again when it thaws', async (sandbox, monitor) => {
    await killNode(sandbox.dir, 'node1', 'SIGSTOP');
    try {
      await until(monitor, 'dead', () => monitor.primaryHealth().state === 'dead');
    } finally {
      await killNode(sandbox.dir, 'node1', 'SIGCONT');
    }
    await until(monitor, 'alive', () => monitor.primaryHealth().state === 'alive');
  });

  story('a frozen replica is unreachable, and the primary stays beyond doubt', async (sandbox, monitor) => {
    await killNode(sandbox.dir, 'node2', 'SIGSTOP');
    try {
      await until(monitor, 'unreachable', () => state(monitor, address(sandbox, 2)) === 'unreachable');
      assert.equal(monitor.primaryHealth().state, 'alive');
    } finally {
      await killNode(sandbox.dir, 'node2', 'SIGCONT');
    }
    await until(monitor, 'well again', () => state(monitor, address(sandbox, 2)) === 'ok');
  });

  story('a switchover by hand is followed', async (sandbox, monitor) => {
    const { nodeControl } = monitor;
    const [first, second, third] = [1, 2, 3].map((number) => address(sandbox, number)) as [string, string, string];
    await nodeControl.setReadOnly(first, 2000);
    const { gtidPosition } = await nodeControl.look(first, 2000);
    assert.ok(await nodeControl.waitForGtid(second, gtidPosition, 5000));
    await nodeControl.detachFromSource(second, 2000);
    await nodeControl.setWritable(second, 2000);
    await until(monitor, 'the new primary', () => monitor.view().primary === second);
    await nodeControl.follow(first, second, 5000);
    await nodeControl.follow(third, second, 5000);
    await until(monitor, 'all well', () => monitor.view().nodes.every((node) => node.state === 'ok'));
    await sql(sandbox, 2, `CREATE TABLE ${sandbox.app.database}.by_hand (id INT PRIMARY KEY)`);
    const { gtidPosition: written } = await nodeControl.look(second, 2000);
    assert.ok(await nodeControl.waitForGtid(first, written, 5000));
    assert.ok(await nodeControl.waitForGtid(third, written, 5000));
  });

  story('a replica that breaks is named, with the error', async (sandbox, monitor) => {
    const table = `${sandbox.app.database}.broken`;
    const [first, second] = [address(sandbox, 1), address(sandbox, 2)];
    await sql(sandbox, 1, `CREATE TABLE ${table} (id INT PRIMARY KEY)`);
    const { gtidPosition } = await monitor.nodeControl.look(first, 2000);
    assert.ok(await monitor.nodeControl.waitForGtid(second, gtidPosition, 5000));
    await monitor.nodeControl.setWritable(second, 2000);
    await sql(sandbox, 2, 'SET SESSION sql_log_bin = 0', `INSERT INTO ${table} VALUES (1)`);
    await monitor.nodeControl.setReadOnly(second, 2000);
    await sql(sandbox, 1, `INSERT INTO ${table} VALUES (1)`);
    await until(monitor, 'broken', () => state(monitor, address(sandbox, 2)) === 'replication-broken');
    assert.match(monitor.view().nodes.find(({ node }) => node === address(sandbox, 2))?.detail ?? '', /1062/);
  });

  story('two writers are named, and the primary stays', async (sandbox, monitor) => {
    await monitor.nodeControl.setWritable(address(sandbox, 2), 2000);
    await until(monitor, 'two writers', () => monitor.view().problems.some(({ code }) => code === 'two-writers'));
    assert.equal(monitor.view().primary, address(sandbox, 1));
    assert.equal(state(monitor, address(sandbox, 2)), 'second-writer');
    await sql(sandbox, 2, `CREATE TABLE ${sandbox.app.database}.errant (id INT PRIMARY KEY)`);
    await monitor.nodeControl.setReadOnly(address(sandbox, 2), 2000);
    await until(monitor, 'errant', () => state(monitor, address(sandbox, 2)) === 'errant');
  });

  story(
    'semi-sync moves with the primary, and a source side that is left alone is named',
    async (sandbox, monitor) => {
      const { nodeControl } = monitor;
      const [first, second, third] = [1, 2, 3].map((number) => address(sandbox, number)) as [string, string, string];
      await until(monitor, 'no problem', () => monitor.view().problems.length === 0);
      await nodeControl.setReadOnly(first, 2000);
      assert.ok(await nodeControl.applyAllReceived(second, 5000));
      await nodeControl.detachFromSource(second, 2000);
      await nodeControl.setSemiSyncRole(second, 'source', 2000);
      await nodeControl.setWritable(second, 2000);
      const degraded = (): boolean => monitor.view().problems.some(({ code }) => code === 'semisync-degraded');
      await until(monitor, 'degraded', () => monitor.view().primary === second && degraded());
      await nodeControl.follow(first, second, 5000);
      await nodeControl.follow(third, second, 5000);
      await until(monitor, 'no problem', () => monitor.view().problems.length === 0);
      await sql(sandbox, 2, `CREATE TABLE ${sandbox.app.database}.moved (id INT PRIMARY KEY)`);
      for (const node of [first, third]) {
        const { semiSync, replication } = await nodeControl.look(node, 2000);
        assert.deepEqual(
          [semiSync?.sourceEnabled, semiSync?.replicaEnabled, replication?.semiSyncActive],
          [false, true, true],
        );
      }
    },
    'semisync',
  );
}
