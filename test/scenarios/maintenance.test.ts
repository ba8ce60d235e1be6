// The rolling restart of docs/maintenance.md, with its commands as they stand there, under load; and what a drained node
// means to those who read from it.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { RowDataPacket } from 'mysql2/promise';
import { findTool, type SandboxNode } from '../../src/sandbox/index.ts';
import {
  addressOf,
  application,
  directly,
  type Evenkeel,
  Load,
  reached,
  stories,
  through,
  until,
} from './harness/index.ts';

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

/** Reads all the time, each client over one connection of its own. */
async function readers(evenkeel: Evenkeel, count: number) {
  const connections = await Promise.all(Array.from({ length: count }, () => application(evenkeel, 'reader')));
  const errors: string[] = [];
  const state = { running: true };
  const all = connections.map(async (connection) => {
    connection.on('error', (error: Error) => errors.push(error.message));
    while (state.running) {
      await connection.query('SELECT @@port, SLEEP(0.02)').catch((error: Error) => errors.push(error.message));
    }
    await connection.end();
  });
  return {
    errors,
    stop: async () => {
      state.running = false;
      await Promise.all(all);
    },
  };
}

async function stateOf(evenkeel: Evenkeel, node: SandboxNode): Promise<string | undefined> {
  const { nodes = [] } = (await evenkeel.status()).clusters[0] ?? {};
  return nodes.find((each) => each.node === addressOf(node))?.state;
}

/** What a supervisor does: nobody else starts the server again after a clone. */
async function restartWhenStopped(evenkeel: Evenkeel, node: SandboxNode): Promise<void> {
  const answers = () =>
    directly(evenkeel, node, 'DO 0').then(
      () => true,
      (error: NodeJS.ErrnoException) => error.code !== 'ECONNREFUSED',
    );
  await until('its server to stop', 30_000, async () => !(await answers()));
  await evenkeel.signalNode(node, 'SIGTERM'); // which waits for its end
  await evenkeel.restartNode(node);
}

/** The commands that `rebuild` tells for MariaDB, on one machine. */
async function byHand(evenkeel: Evenkeel, node: SandboxNode, donor: SandboxNode): Promise<void> {
  const tool = await findTool('mariadb-backup');
  const [command = '', ...words] = tool.argv0;
  const { user, password } = evenkeel.sandbox.admin;
  const data = join(evenkeel.sandbox.dir, node.name, 'data');
  const backup = (...args: string[]) =>
    promisify(execFile)(command, [...words, ...args, `--target-dir=${data}`], { env: { ...process.env, ...tool.env } });
  await evenkeel.signalNode(node, 'SIGTERM');
  await rename(data, `${data}.old`);
  const login = [`--host=${donor.host}`, `--port=${donor.port}`, `--user=${user}`, `--password=${password}`];
  await backup('--backup', `--datadir=${join(evenkeel.sandbox.dir, donor.name, 'data')}`, ...login);
  await backup('--prepare');
  await evenkeel.restartNode(node);
  const info = await readFile(join(data, 'xtrabackup_binlog_info'), 'utf8');
  await directly(evenkeel, node, `SET GLOBAL gtid_slave_pos = '${info.trim().split('\t')[2]}'`);
}

stories(
  'maintenance',
  { replication: 'semisync', nodes: 3, workers: 2, storyTimeoutMs: 120_000 },
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

    'a node with errant transactions is shown with what they did, and built anew': async (evenkeel) => {
      const mysql = evenkeel.sandbox.flavor === 'mysql';
      const [node, donor] = await evenkeel.replicas();
      assert.ok(node && donor);
      const address = addressOf(node);
      await through(evenkeel, 'CREATE TABLE before_rebuild (n INT PRIMARY KEY)');
      const sound = await evenkeel.run('rebuild', address);
      assert.equal(sound.code, 1);
      assert.match(sound.stderr, mysql ? /no errant transactions/ : /mariadb-backup/);
      const readOnly = mysql ? 'super_read_only' : 'read_only';
      await directly(
        evenkeel,
        node,
        'SET GLOBAL read_only = 0',
        'CREATE TABLE app.own (n INT)',
        'INSERT INTO app.own VALUES (1)',
        `SET GLOBAL ${readOnly} = 1`,
      );
      await until('it to be named', 10_000, async () => (await stateOf(evenkeel, node)) === 'errant');
      const shown = await evenkeel.run('errant', address);
      assert.equal(shown.code, 0, shown.stderr);
      assert.match(shown.stdout, /has 2 that the primary has not.*CREATE TABLE app\.own \(n INT\).*insert: app\.own/s);

      const rebuilding = evenkeel.run('rebuild', address);
      if (mysql) {
        await restartWhenStopped(evenkeel, node);
        const rebuilt = await rebuilding;
        assert.equal(rebuilt.code, 0, rebuilt.stderr);
        assert.match(rebuilt.stdout, /start the server.*is built anew from/s);
      } else {
        const refused = await rebuilding;
        assert.equal(refused.code, 1);
        assert.match(refused.stderr, /mariadb-backup --backup.*gtid_slave_pos/s);
        await byHand(evenkeel, node, donor);
      }
      await evenkeel.healthy();
      await assert.rejects(directly(evenkeel, node, 'SELECT * FROM app.own'), { errno: 1146 });
      await through(evenkeel, 'CREATE TABLE rebuilt (n INT PRIMARY KEY)');
      await until('it to follow', 10_000, async () =>
        directly(evenkeel, node, 'SELECT * FROM app.rebuilt').then(
          () => true,
          () => false,
        ),
      );
    },

    'a node is removed and added again, and the endpoints do not change': async (evenkeel) => {
      const mysql = evenkeel.sandbox.flavor === 'mysql';
      const [node] = await evenkeel.replicas();
      assert.ok(node);
      const address = addressOf(node);
      assert.equal((await evenkeel.run('remove-node', address)).code, 1, 'it is in service');
      assert.equal((await evenkeel.run('drain', address)).code, 0);
      const removed = await evenkeel.run('remove-node', address);
      assert.equal(removed.code, 0, removed.stderr);
      const nodes = async () => (await evenkeel.status()).clusters[0]?.nodes.map((each) => each.node) ?? [];
      assert.ok(!(await nodes()).includes(address));
      // Its address is a seed: a restart does not bring it back.
      await evenkeel.stop('SIGTERM');
      await evenkeel.start();
      assert.equal((await nodes()).length, 2);

      const full = await evenkeel.run('add-node', address);
      assert.equal(full.code, 1);
      assert.match(full.stderr, mysql ? /is not empty: it has app/ : /add-node .* --keep-data/);
      if (mysql) {
        const empty = ['SET sql_log_bin = 0', 'SET GLOBAL super_read_only = 0', 'DROP DATABASE app'];
        await directly(evenkeel, node, ...empty);
        const adding = evenkeel.run('add-node', address);
        await restartWhenStopped(evenkeel, node);
        const added = await adding;
        assert.equal(added.code, 0, added.stderr);
      } else {
        const added = await evenkeel.run('add-node', address, '--keep-data');
        assert.equal(added.code, 0, added.stderr);
      }
      await evenkeel.healthy();
      assert.ok((await nodes()).includes(address));
    },
  },
);
