// Clusters that a platform runs and promotes, as Aurora does it: the writer is followed, and nothing is changed on any
// server. The servers are stand-ins, since a real one cannot be made to be Aurora.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import mysql, { type RowDataPacket } from 'mysql2/promise';
import type { SandboxInfo } from '../../src/sandbox/index.ts';
import { StandIn } from '../support/stand-in.ts';
import { type Evenkeel, inFrontOf, until } from './harness/index.ts';

/** One storage, its instances, and who writes. */
class Platform {
  writer = 'shop-a';
  readonly servers = new Map<string, StandIn>();

  constructor(names: string[]) {
    for (const name of names) {
      this.servers.set(name, new StandIn('8.0.36', (statement) => this.#answer(name, statement)));
    }
  }

  server(name: string): StandIn {
    const found = this.servers.get(name);
    assert.ok(found);
    return found;
  }

  #answer(name: string, statement: string): ReturnType<ConstructorParameters<typeof StandIn>[1]> {
    const reader = name === this.writer ? 0 : 1;
    if (statement.startsWith('SELECT VERSION()')) return [{ version: '8.0.36', now: Math.floor(Date.now() / 1000) }];
    if (statement.startsWith('SHOW GLOBAL VARIABLES WHERE')) {
      const variables = {
        server_uuid: `uuid-${name}`,
        hostname: name,
        port: '3306',
        aurora_server_id: name,
        log_bin: 'OFF',
      };
      return Object.entries(variables).map(([Variable_name, Value]) => ({ Variable_name, Value }));
    }
    if (/innodb_read_only/.test(statement)) {
      return [{ read_only: reader, super_read_only: 0, server_id: 1, gtid_executed: '' }];
    }
    if (/replica_host_status/.test(statement)) {
      const updated = Date.now() / 1000;
      return [...this.servers.keys()].map((instance) => {
        const writer = instance === this.writer ? 1 : 0;
        return { instance, writer, lag_ms: writer === 1 ? 0 : 12, updated };
      });
    }
    if (statement.startsWith("SHOW GLOBAL STATUS LIKE 'Uptime'")) return [{ Variable_name: 'Uptime', Value: '1000' }];
    if (/^select instance/i.test(statement)) return [{ instance: name }];
    return /^(?:SHOW|SELECT)/i.test(statement) ? [] : null;
  }
}

async function instanceReached(evenkeel: Evenkeel, endpoint: 'writer' | 'reader'): Promise<string> {
  const connection = await mysql.createConnection({ ...evenkeel.login(endpoint), connectTimeout: 20_000 });
  try {
    const [rows] = await connection.query<RowDataPacket[]>('SELECT instance');
    return String(rows[0]?.['instance']);
  } finally {
    connection.destroy();
  }
}

test('Aurora: the writer that the platform makes is followed, and no server is changed', {
  timeout: 60_000,
}, async () => {
  const names = ['shop-a', 'shop-b', 'shop-c'];
  const platform = new Platform(names);
  for (const server of platform.servers.values()) await server.start();
  const at = (name: string) => ({
    name,
    host: '127.0.0.1',
    port: platform.server(name).port,
    pid: 0,
    role: 'replica' as const,
  });
  const sandbox: SandboxInfo = {
    flavor: 'mysql',
    replication: 'async',
    dir: '',
    admin: { user: 'evenkeel', password: 'x' },
    app: { user: 'app', password: 'app-password', database: 'app' },
    nodes: names.map(at),
  };
  const config = 'users:\n  - { name: app, password: "app-password" }';
  const primaryIs = (evenkeel: Evenkeel, name: string) =>
    until(`${name} to be the primary`, 10_000, async () => {
      const [seen] = (await evenkeel.status()).clusters;
      return seen?.primary === `127.0.0.1:${at(name).port}` && seen.state !== 'recovering' && seen.state !== 'holding';
    });
  try {
    await inFrontOf(sandbox, { replication: 'async', nodes: 3, config }, async (evenkeel) => {
      await evenkeel.healthy();
      await primaryIs(evenkeel, 'shop-a');
      assert.equal(await instanceReached(evenkeel, 'writer'), 'shop-a');
      assert.notEqual(await instanceReached(evenkeel, 'reader'), 'shop-a');
      const lags = (await evenkeel.status()).clusters[0]?.nodes.map(({ lagMs }) => lagMs);
      assert.deepEqual(
        lags?.toSorted((a, b) => Number(a) - Number(b)),
        [0, 12, 12],
      );

      // The writer dies; a statement waits until the platform has made another one.
      await platform.server('shop-a').stop();
      const waiting = instanceReached(evenkeel, 'writer');
      await until('the hold', 10_000, async () => (await evenkeel.status()).clusters[0]?.state !== 'healthy');
      platform.writer = 'shop-b';
      assert.equal(await waiting, 'shop-b');
      await primaryIs(evenkeel, 'shop-b');
      const [record] = await evenkeel.history();
      assert.deepEqual([record?.kind, record?.outcome], ['follow', 'done']);
      assert.match(record?.reason ?? '', /platform/);

      // It comes back as a reader; then the platform moves the writer while all are up.
      await platform.server('shop-a').start();
      await evenkeel.healthy();
      platform.writer = 'shop-c';
      await primaryIs(evenkeel, 'shop-c');
      assert.equal(await instanceReached(evenkeel, 'writer'), 'shop-c');

      const refused = await evenkeel.run('switchover');
      assert.equal(refused.code, 1);
      assert.match(refused.stderr + refused.stdout, /platform that runs these servers promotes them/);
    });
    const changes = [...platform.servers.values()].flatMap(({ statements }) =>
      statements.filter((one) => /^(?:SET GLOBAL|CHANGE|STOP|START|RESET|KILL|FLUSH)/i.test(one)),
    );
    assert.deepEqual(changes, []);
  } finally {
    for (const server of platform.servers.values()) await server.stop();
  }
});
