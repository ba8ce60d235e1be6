// How a MariaDB node is built anew from another by `mariadb-backup`: the commands that `evenkeel rebuild` tells
// (src/recovery/procedure.ts), on one machine. The cluster's proxy must leave the node alone meanwhile.
import { execFile } from 'node:child_process';
import { readFile, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { asAdmin, textOf } from './admin.ts';
import { SandboxError } from './errors.ts';
import { gone, launch, logTail, nodeFiles } from './process.ts';
import { killNode, startNode } from './sandbox.ts';
import { mustLoad, named } from './saved.ts';
import { findServer, findTool } from './servers.ts';

/** The copying waits for commits that are under way, and those perhaps for a replica that never acknowledges. */
const BACKUP_TIMEOUT_MS = 60_000;
const RECOVERY_TIMEOUT_MS = 60_000;

/** Throws SandboxError, or what the tool said. The node runs then, read-only, and follows nobody. */
export async function buildFromBackup(
  dir: string,
  { node, donor, donorIsPrimary }: { node: string; donor: string; donorIsPrimary: boolean },
): Promise<void> {
  const at = resolve(dir);
  const saved = await mustLoad(at);
  const [from, to] = [named(saved, donor), named(saved, node)];
  const nodeDir = join(at, node);
  const { data } = nodeFiles(nodeDir);
  await killNode(at, node, 'SIGKILL');
  await rename(data, `${data}.old`);
  // Before the backup: it must claim nothing that the backup has not.
  const state = await asAdmin(saved, from, async (ask) =>
    textOf(await ask('SELECT @@global.gtid_binlog_state AS state'), 'state'),
  );
  const { user, password } = saved.admin;
  const login = [`--host=${from.host}`, `--port=${from.port}`, `--user=${user}`, `--password=${password}`];
  await backup('--backup', `--target-dir=${data}`, `--datadir=${nodeFiles(join(at, donor)).data}`, ...login);
  await backup('--prepare', `--target-dir=${data}`);
  // Of a replica that applies in parallel, transactions come along that it had not committed (MDEV-36025).
  await launch(await findServer(saved.flavor), nodeDir, ['--tc-heuristic-recover=ROLLBACK'], true);
  await gone(nodeDir, RECOVERY_TIMEOUT_MS);
  await startNode(at, node, { bound: true });
  await rm(`${data}.old`, { recursive: true, force: true });
  // A replica's position has come with its data.
  const position = donorIsPrimary ? await positionIn(data) : null;
  const told = asAdmin(saved, to, async (ask) => {
    await ask('RESET MASTER');
    await ask(`SET GLOBAL gtid_binlog_state = '${state}'`);
    if (position !== null) await ask(`SET GLOBAL gtid_slave_pos = '${position}'`);
  });
  await told.catch(async (error: unknown) => {
    throw new SandboxError(
      'start-failed',
      `${node}: ${String(error)}; the end of its log:\n${await logTail(nodeDir, 40)}`,
    );
  });
}

async function backup(...args: string[]): Promise<void> {
  const tool = await findTool('mariadb-backup');
  const [command = '', ...words] = tool.argv0;
  const options = { env: { ...process.env, ...tool.env }, timeout: BACKUP_TIMEOUT_MS, maxBuffer: 1 << 24 };
  try {
    await promisify(execFile)(command, [...words, ...args], options);
  } catch (error) {
    const { killed, stderr = '' } = error as { killed?: boolean; stderr?: string };
    const why = killed === true ? `not done within ${BACKUP_TIMEOUT_MS / 1000} s` : stderr.trim().slice(-1000);
    // Not the command: the password is in it.
    throw new SandboxError('start-failed', `mariadb-backup ${args[0]}: ${why}`);
  }
}

async function positionIn(data: string): Promise<string> {
  const info = await readFile(join(data, 'xtrabackup_binlog_info'), 'utf8');
  return info.trim().split('\t')[2] ?? '';
}
