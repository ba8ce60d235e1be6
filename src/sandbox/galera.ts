// A sandbox of MariaDB Galera: what the servers are told in their option file, where the replication provider and the
// programs of a state transfer are found (a bundle's own programs run with the bundle's loader), and how a cluster
// is formed: from equal data directories, so that nobody needs a state transfer, or anew by the node that has most.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type Ask, asAdmin, type Cluster, textOf } from './admin.ts';
import { bundleProgram } from './apt.ts';
import { SandboxError } from './errors.ts';
import type { NodeOptions } from './options.ts';
import { nodeFiles } from './process.ts';
import type { ServerProgram } from './servers.ts';

const run = promisify(execFile);

type Node = { name: string; host: string; port: number };

const SYNCED_DEADLINE_MS = 60_000;
const PROVIDER = 'libgalera_smm.so';

/** Peer ports of a node: of the group's messages, of incremental state transfers, of whole ones. */
export const GALERA_PORTS = 3;

export function galeraLines(
  program: Pick<ServerProgram, 'root'>,
  node: Pick<NodeOptions, 'port' | 'peerPorts' | 'groupPorts' | 'group'>,
): string[] {
  const [group, incremental, whole] = node.peerPorts;
  const provider = [
    `gmcast.listen_addr=tcp://127.0.0.1:${group}`,
    `ist.recv_addr=127.0.0.1:${incremental}`,
    'gcache.size=32M',
    // A dead member is left behind after this (five and fifteen seconds by default).
    'evs.keepalive_period=PT0.3S',
    'evs.inactive_check_period=PT0.2S',
    'evs.suspect_timeout=PT2S',
    'evs.inactive_timeout=PT6S',
  ];
  return [
    'gtid_strict_mode=OFF',
    'innodb_autoinc_lock_mode=2',
    'wsrep_on=ON',
    `wsrep_provider=${providerOf(program)}`,
    `wsrep_provider_options="${provider.join(';')}"`,
    // Longer names than 32 characters are refused by the other members.
    `wsrep_cluster_name=evenkeel-${node.group.slice(0, 8)}`,
    `wsrep_cluster_address=gcomm://${node.groupPorts.map((port) => `127.0.0.1:${port}`).join(',')}`,
    `wsrep_node_address=127.0.0.1:${group}`,
    `wsrep_node_incoming_address=127.0.0.1:${node.port}`,
    `wsrep_sst_receive_address=127.0.0.1:${whole}`,
    'wsrep_sst_method=rsync',
    'wsrep_slave_threads=2',
    'wsrep_gtid_mode=ON',
  ];
}

function providerOf({ root }: Pick<ServerProgram, 'root'>): string {
  const under = root ?? '/';
  const dirs = ['usr/lib/galera', 'usr/lib64/galera-4', 'usr/lib64/galera', 'usr/lib', 'usr/local/lib'];
  const found = dirs.map((dir) => join(under, dir, PROVIDER)).find((file) => existsSync(file));
  if (found !== undefined) return found;
  const where = root === null ? 'this machine: run `apt-get install galera-4`' : `${root}: remove it and try again`;
  throw new SandboxError('no-server', `${PROVIDER}, the Galera provider, is missing from ${where}`);
}

/** The options with which the first node of a cluster begins it. */
export const GALERA_BEGINS = ['--wsrep-new-cluster'];

/** What stands before the accounts: each node makes its own, and nothing of it is replicated. */
export const GALERA_LOCAL_SQL = 'SET SESSION wsrep_on=OFF;\n';

const TRANSFER_PROGRAMS = ['my_print_defaults', 'rsync', 'lsof', 'ps', 'resolveip'];
const TRANSFER_SCRIPTS = ['wsrep_sst_common', 'wsrep_sst_rsync', 'wsrep_sst_mariabackup', 'wsrep_sst_backup'];

/** A server looks for the programs of a state transfer beside its own first: these must be ours, which run. */
export function galeraProgram(program: ServerProgram, dir: string): ServerProgram {
  return { ...program, baseDir: baseOf(dir) };
}

const baseOf = (dir: string): string => join(dir, 'base');

/** The PATH with which a node finds the programs of a state transfer; a bundle's are made to run in the sandbox. */
export async function transferPath({ root }: Pick<ServerProgram, 'root'>, dir: string): Promise<string> {
  const binDir = join(baseOf(dir), 'bin');
  const path = process.env['PATH'] ?? '';
  await mkdir(binDir, { recursive: true, mode: 0o700 });
  if (root !== null) {
    for (const script of TRANSFER_SCRIPTS) await link(join(root, 'usr/bin', script), join(binDir, script));
  }
  for (const name of TRANSFER_PROGRAMS) {
    const found = path.split(delimiter).find((dir) => existsSync(join(dir, name)));
    if (found === undefined && root !== null && existsSync(join(root, 'usr/bin', name))) {
      await wrap(binDir, name, await ofBundle(root, binDir, name));
    } else if (found !== undefined && name === 'rsync') await wrap(binDir, name, [join(found, name)]);
  }
  return [binDir, path].filter((part) => part !== '').join(delimiter);
}

/** Nodes are started side by side: whoever is second finds the same link there. */
async function link(target: string, path: string): Promise<void> {
  await symlink(target, path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
}

/** The scripts know processes by their names, so the loader runs under the program's. */
async function ofBundle(root: string, binDir: string, name: string): Promise<string[]> {
  const [loader = '', ...words] = await bundleProgram(root, join('usr/bin', name));
  const dir = join(binDir, 'loaders');
  await mkdir(dir, { recursive: true });
  await link(loader, join(dir, name));
  return [join(dir, name), ...words];
}

/** A daemon of rsync that is run by root would write as nobody. */
async function wrap(binDir: string, name: string, words: string[]): Promise<void> {
  const quoted = words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');
  const asRoot = `[ "$1" = --daemon ] && shift && set -- --daemon --dparam=uid=root --dparam=gid=root "$@"\n`;
  const before = name === 'rsync' && process.getuid?.() === 0 ? asRoot : '';
  await writeFile(join(binDir, name), `#!/bin/sh\n${before}exec ${quoted} "$@"\n`, { mode: 0o700 });
}

/** Where a node that is down stands: what it has of which history. */
export interface GaleraPosition {
  uuid: string;
  seqno: number;
}

/** A node that was shut down has written it down; one that crashed finds it out from its data. */
export async function positionOf(program: ServerProgram, nodeDir: string): Promise<GaleraPosition | null> {
  const files = nodeFiles(nodeDir);
  const state = await readFile(join(files.data, 'grastate.dat'), 'utf8').catch(() => '');
  const told = /^uuid:\s*([0-9a-f-]{36})\nseqno:\s*(\d+)$/m.exec(state);
  if (told !== null) return { uuid: told[1] ?? '', seqno: Number(told[2]) };
  const log = join(nodeDir, 'recover.log');
  await rm(log, { force: true });
  const [command = '', ...args] = program.argv0;
  const words = [
    ...args,
    `--defaults-file=${files.options}`,
    '--wsrep-recover',
    '--skip-networking',
    `--log-error=${log}`,
  ];
  await run(command, words, { timeout: SYNCED_DEADLINE_MS, cwd: nodeDir }).catch((error: Error) => {
    throw new SandboxError('start-failed', `cannot find out where ${nodeDir} stands: ${error.message}; see ${log}`);
  });
  const found = /WSREP: Recovered position:?\s*([0-9a-f-]{36}):(-?\d+)/.exec(await readFile(log, 'utf8'));
  return found === null ? null : { uuid: found[1] ?? '', seqno: Number(found[2]) };
}

/** The options of a start from a position. */
export function startsAt(position: GaleraPosition | null): string[] {
  return position === null ? [] : [`--wsrep-start-position=${position.uuid}:${position.seqno}`];
}

/** Lets this node begin the cluster anew, with what it has. */
export async function mayBegin(nodeDir: string): Promise<void> {
  const file = join(nodeFiles(nodeDir).data, 'grastate.dat');
  const text = await readFile(file, 'utf8').catch(() => '');
  await writeFile(file, text.replace(/safe_to_bootstrap: 0/, 'safe_to_bootstrap: 1'));
  // Who remembers the members of before would wait for them.
  await rm(join(nodeFiles(nodeDir).data, 'gvwstate.dat'), { force: true });
}

/** Whether a node is in a cluster that works. */
export async function isSynced(cluster: Cluster, node: Node): Promise<boolean> {
  const state = await asAdmin(cluster, node, stateOf).catch(() => null);
  return state === 'Primary/Synced';
}

async function stateOf(ask: Ask): Promise<string> {
  const value = async (name: string) => textOf(await ask(`SHOW GLOBAL STATUS LIKE 'wsrep_${name}'`), 'Value');
  return `${await value('cluster_status')}/${await value('local_state_comment')}`;
}

/** Resolves when the node takes part. */
export async function synced(cluster: Cluster, node: Node): Promise<void> {
  const end = performance.now() + SYNCED_DEADLINE_MS;
  for (;;) {
    const state = await asAdmin(cluster, node, stateOf);
    if (state === 'Primary/Synced') return;
    if (performance.now() > end) {
      throw new SandboxError('start-failed', `${node.name} is ${state} in its cluster; see error.log in its directory`);
    }
    await delay(50);
  }
}
