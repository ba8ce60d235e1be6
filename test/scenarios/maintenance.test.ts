// The rolling restart of docs/maintenance.md, with its commands as they stand there, under load; and what a drained node
// means to those who read from it.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import type { RowDataPacket } from 'mysql2/promise';
import type { SandboxNode } from '../../src/sandbox/index.ts';
import { addressOf, application, type Evenkeel, Load, reached, stories, through, until } from './harness/index.ts';

/** The commands for one node, in their order: verbs of ours, and `restart` for what stands between them. */
async function commandsOfDocs(): Promise<string[][]> {
  const text = await readFile(new URL('../../docs/maintenance.md', import.meta.url), 'utf8');
  const block = /## Rolling restart[^]*?```sh\n([^]*?)```/.exec(text)?.[1] ?? '';
  return block.split('\n').flatMap((line) => {
    if (line.startsWith('evenkeel ')) return [line.split(' ').slice(1)];
    return line.startsWith('#') ? [['restart']] : [];
  });
}

async function nodesInOrder(evenkeel: Evenkeel): Promise<SandboxNode[]> {
  return [...(await evenkeel.replicas()), await evenkeel.primary()];
}

/** Reads until it is told to stop, or cannot any more; each client over one connection of its own. */
async function readers(evenkeel: Evenkeel, count: number) {
  const connections = await Promise.all(Array.from({ length: count }, () => application(evenkeel, 'reader')));
  const errors: string[] = [];
  const state = { running: true };
  const all = connections.map(async (connection) => {
    const broken = (error: Error): void => {
      errors.push(error.message);
      state.running = false;
    };
    connection.on('error', broken);
    while (state.running) {
      await connection.query('SELECT @@port, SLEEP(0.02)').catch(broken);
      await pause(1);
    }
    connection.destroy();
  });
  return {
    errors,
    stop: async () => {
      state.running = false;
      await Promise.all(all);
    },
  };
}

stories(
  'maintenance',
  // A MySQL replica may take a minute to stop (docs/maintenance.md).
  { replication: 'semisync', nodes: 3, workers: 2, storyTimeoutMs: 300_000 },
  {
    'all nodes are restarted one after the other, and no client gets an error': async (evenkeel) => {
      const commands = await commandsOfDocs();
      assert.deepEqual(
        commands.map(([verb]) => verb),
        ['drain', 'restart', 'undrain'],
      );
      const load = await Load.start(evenkeel, { clients: 3, pauseMs: 20 });
      const transactions = await Load.start(evenkeel, { clients: 2, mode: 'transactions', pauseMs: 20 });
      const reading = await readers(evenkeel, 3);
      for (const node of await nodesInOrder(evenkeel)) {
        for (const [verb = '', ...args] of commands) {
          if (verb === 'restart') {
            await evenkeel.signalNode(node, 'SIGTERM');
            await evenkeel.restartNode(node);
            continue;
          }
          const run = await evenkeel.run(verb, ...args.map((arg) => (arg === 'NODE' ? addressOf(node) : arg)));
          assert.equal(run.code, 0, `${verb} ${addressOf(node)}:\n${run.stdout}${run.stderr}`);
        }
      }
      await load.more();
      await transactions.more();
      await reading.stop();
      const primary = await evenkeel.primary();
      assert.deepEqual(await load.lostOn(primary), []);
      assert.deepEqual(await transactions.lostOn(primary), []);
      assert.deepEqual(reading.errors, []);
      assert.deepEqual([load.errors, load.broken], [[], []]);
      assert.deepEqual([transactions.errors, transactions.broken], [[], []]);
    },

    'what reads from a node that is drained comes to its end there, and goes on elsewhere': async (evenkeel) => {
      await through(evenkeel, 'CREATE TABLE drained (n INT)');
      const node = await reached(evenkeel, 'reader');
      const client = await application(evenkeel, 'reader');
      const port = async (sql: string): Promise<unknown> => (await client.query<RowDataPacket[]>(sql))[0][0]?.['port'];
      // It keeps the session on one node as long as it is there.
      const there = await port('SELECT @@port AS port FROM (SELECT SLEEP(0)) AS one');
      const from = evenkeel.sandbox.nodes.find((each) => each.port === Number(there)) ?? node;
      const slow = port('SELECT @@port AS port FROM (SELECT SLEEP(2)) AS one');
      const began = async (): Promise<boolean> => {
        const metrics = await (await evenkeel.fetch('/metrics')).text();
        return metrics.includes(`evenkeel_server_connections{node="${addressOf(from)}",state="in-use"} 1`);
      };
      await until('the statement to be there', 5000, began);
      const drained = await evenkeel.run('drain', addressOf(from), '--json');
      assert.equal(drained.code, 0, drained.stderr);
      assert.equal((JSON.parse(drained.stdout) as { ended: number }).ended, 0);
      assert.equal(await slow, from.port, 'it was not cut');
      assert.notEqual(await port('SELECT @@port AS port'), from.port);

      // Both replicas cannot be gone.
      const [other] = (await evenkeel.replicas()).filter((each) => each !== from);
      assert.ok(other);
      const refused = await evenkeel.run('drain', addressOf(other));
      assert.equal(refused.code, 1);
      assert.match(refused.stderr, /0 of 1 replicas would acknowledge writes/);

      await evenkeel.stop('SIGTERM');
      await evenkeel.start();
      const { nodes = [] } = (await evenkeel.status()).clusters[0] ?? {};
      assert.equal(nodes.find((each) => each.node === addressOf(from))?.state, 'drained');
      for (let i = 0; i < 5; i++) assert.notEqual(await reached(evenkeel, 'reader'), from);
      assert.equal((await evenkeel.run('undrain', addressOf(from), '--wait', '20s')).code, 0);
    },
  },
);
