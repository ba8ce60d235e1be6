// What an operator does with a node that is kept out since it has transactions that were never acknowledged: it is built
// anew. On MySQL by `evenkeel rebuild`, with the restart that a supervisor would do; on MariaDB by the commands that
// `evenkeel rebuild` tells.
import { execFile } from 'node:child_process';
import { readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import mysql from 'mysql2/promise';
import { findTool, killNode, type SandboxInfo, type SandboxNode, sandboxStatus, startNode } from '../sandbox/index.ts';
import type { Stage } from './stage.ts';

const STOPPED_TIMEOUT_MS = 30_000;
const TICK_MS = 100;

/** Rejects where it does not succeed. */
export async function rebuildNode(stage: Stage, node: SandboxNode, donor: SandboxNode): Promise<void> {
  const { sandbox } = stage;
  if (sandbox.flavor === 'mariadb') return byHand(sandbox, node, donor);
  const order = stage.order('rebuild', address(node));
  order.catch(() => undefined); // it is awaited below, where restarting has not failed before
  const end = performance.now() + STOPPED_TIMEOUT_MS;
  const pid = await pidOf(sandbox, node);
  // The clone ends the server's process, and nobody else starts it again.
  while ((await pidOf(sandbox, node)) === pid) {
    if (performance.now() > end) {
      await order;
      throw new Error(`${node.name} was not restarted by its clone within ${STOPPED_TIMEOUT_MS / 1000} s`);
    }
    await Promise.race([delay(TICK_MS), order]);
  }
  await startNode(sandbox.dir, node.name, { bound: true });
  await order;
}

async function pidOf(sandbox: SandboxInfo, { name }: SandboxNode): Promise<number | null> {
  const { nodes } = await sandboxStatus(sandbox.dir);
  return nodes.find((node) => node.name === name)?.pid ?? null;
}

async function byHand(sandbox: SandboxInfo, node: SandboxNode, donor: SandboxNode): Promise<void> {
  const tool = await findTool('mariadb-backup');
  const [command = '', ...words] = tool.argv0;
  const { user, password } = sandbox.admin;
  const data = join(sandbox.dir, node.name, 'data');
  const backup = (...args: string[]) =>
    promisify(execFile)(command, [...words, ...args, `--target-dir=${data}`], {
      env: { ...process.env, ...tool.env },
    });
  await killNode(sandbox.dir, node.name, 'SIGKILL');
  await rename(data, `${data}.old`);
  const login = [`--host=${donor.host}`, `--port=${donor.port}`, `--user=${user}`, `--password=${password}`];
  await backup('--backup', `--datadir=${join(sandbox.dir, donor.name, 'data')}`, ...login);
  await backup('--prepare');
  await startNode(sandbox.dir, node.name, { bound: true });
  await rm(`${data}.old`, { recursive: true, force: true });
  const info = await readFile(join(data, 'xtrabackup_binlog_info'), 'utf8');
  const connection = await mysql.createConnection({ host: node.host, port: node.port, user, password });
  try {
    await connection.query(`SET GLOBAL gtid_slave_pos = '${info.trim().split('\t')[2]}'`);
  } finally {
    await connection.end();
  }
}

const address = ({ host, port }: SandboxNode): string => `${host}:${port}`;
