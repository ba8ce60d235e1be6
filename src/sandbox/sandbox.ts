// A sandbox is a directory: sandbox.json (mode 0600; accounts, ports) and one directory a node. Nothing else is
// remembered: which nodes run is asked of the system, which one is primary is asked of the nodes.
// A node always starts read-only. Only the first start of a new sandbox makes node1 writable; later starts change
// no role, so that a crashed primary that comes back cannot accept writes.
import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import { mkdir, readdir, rm, rmdir, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { accountsSql, asAdmin, makePrimary, makeReplica, observe, ready } from './admin.ts';
import { SandboxError } from './errors.ts';
import { type Formation, formAnew, formed, peerPortsOf, startWords, takesPart } from './forming.ts';
import { GALERA_BEGINS, GALERA_LOCAL_SQL, galeraProgram, transferPath } from './galera.ts';
import { formGroup, GROUP_STAYS_OUT, groupAccount } from './group.ts';
import { optionFile } from './options.ts';
import { freePorts } from './ports.ts';
import { gone, launch, logTail, nodeFiles, type ProcessState, processOf, signalNode, standsStill } from './process.ts';
import { load, mustLoad, named, type Saved, type SavedNode, STATE_FILE, save } from './saved.ts';
import { findServer, type ServerProgram } from './servers.ts';
import { newDataDir, templateOf } from './template.ts';
import type { SandboxInfo, SandboxNode, SandboxOptions } from './types.ts';

/** One node as it is now. `pid` is null where it is down; `role` is null where it does not answer. */
export interface SandboxNodeStatus extends Omit<SandboxNode, 'pid' | 'role'> {
  pid: number | null;
  role: 'primary' | 'replica' | null;
  state: ProcessState;
}

export interface SandboxStatus extends Omit<SandboxInfo, 'nodes'> {
  nodes: SandboxNodeStatus[];
}

const START_DEADLINE_MS = 60_000;
/** A MySQL replica waits for up to a minute for the rest of a transaction that its source no longer sends (MY-010584). */
const STOP_DEADLINE_MS = 120_000;

interface StartExtras {
  /** The servers die with this process, even when it is killed. */
  bound?: boolean;
  /** More options for the server's start. */
  words?: string[];
}

/**
 * Makes a cluster in `options.dir` and resolves when it replicates. On an existing sandbox it starts the nodes that
 * are down, unchanged; the options must agree with it. Throws SandboxError.
 */
export async function startSandbox(options: SandboxOptions, extras: StartExtras = {}): Promise<SandboxInfo> {
  validate(options);
  const dir = resolve(options.dir);
  const progress = options.progress ?? (() => {});
  const saved = await load(dir);
  if (saved !== null && saved.making === null) return resume(dir, saved, options, extras);
  if (saved !== null) await discard(dir, saved, progress);
  await claim(dir);
  const program = await findServer(options.flavor, progress);
  const template = await templateOf(program, progress);
  progress(
    `starting ${options.nodes} ${options.flavor} ${program.version} node${options.nodes > 1 ? 's' : ''} in ${dir}`,
  );
  const fresh = await plan(options);
  await save(dir, fresh, 'wx').catch((error: Error) => {
    throw new SandboxError('usage', `another process is making a sandbox in ${dir}: ${error.message}`);
  });
  try {
    await create(dir, fresh, program, template, extras);
    progress('connecting the nodes');
    await connect(fresh);
    await save(dir, { ...fresh, making: null }, 'w');
    return await report(dir, fresh);
  } catch (error) {
    await stopSandbox(dir);
    throw error;
  }
}

/** Ends every process of the sandbox and removes its directory. Throws SandboxError `not-a-sandbox`. */
export async function stopSandbox(dir: string): Promise<void> {
  const at = resolve(dir);
  const saved = await mustLoad(at);
  for (const node of saved.nodes) signalNode(join(at, node.name), 'SIGKILL');
  await Promise.all(saved.nodes.map((node) => gone(join(at, node.name), 30_000)));
  await rm(at, { recursive: true, force: true, maxRetries: 5 });
  // The default directory's parent is ours as well; it stays when anything else is in it.
  if (basename(dirname(at)) === '.evenkeel') await rmdir(dirname(at)).catch(() => {});
}

/** Like `stopSandbox`, but synchronous and without waiting: for a process that is about to exit. */
export function destroySandboxNow(dir: string, nodes: number): void {
  for (let i = 1; i <= nodes; i += 1) signalNode(join(dir, `node${i}`), 'SIGKILL');
  rmSync(dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
}

/** What runs, and who is primary now. Throws SandboxError `not-a-sandbox`. */
export async function sandboxStatus(dir: string): Promise<SandboxStatus> {
  const at = resolve(dir);
  const saved = await mustLoad(at);
  const nodes = saved.nodes.map(async ({ name, host, port }): Promise<SandboxNodeStatus> => {
    const node = { name, host, port };
    const running = processOf(join(at, node.name));
    if (running === null) return { ...node, pid: null, role: null, state: 'down' };
    const role = running.state === 'frozen' ? null : await observe(saved, node);
    return { ...node, pid: running.pid, role, state: running.state };
  });
  const { flavor, replication, admin, app } = saved;
  return { flavor, replication, dir: at, admin, app, nodes: await Promise.all(nodes) };
}

/** Starts one node that is down, read-only and otherwise unchanged, and resolves when it answers. Its pid. */
export async function startNode(dir: string, name: string, extras: StartExtras = {}): Promise<number> {
  const at = resolve(dir);
  const saved = await mustLoad(at);
  const node = named(saved, name);
  const running = processOf(join(at, name));
  if (running !== null) return running.pid;
  const program = await findServer(saved.flavor);
  const path = saved.replication === 'galera' ? await transferPath(program, at) : undefined;
  const words = await startWords(saved, program, join(at, name));
  const pid = await launch(program, join(at, name), [...words, ...(extras.words ?? [])], extras.bound ?? false, path);
  await answers(at, saved, node);
  return pid;
}

/**
 * Sends the signal to a node's server. With SIGKILL and SIGTERM it resolves when the process is gone, with SIGSTOP when all of
 * it stands still.
 * A node that is down already is left alone.
 */
export async function killNode(dir: string, name: string, signal: NodeJS.Signals): Promise<void> {
  const at = resolve(dir);
  named(await mustLoad(at), name);
  signalNode(join(at, name), signal);
  if (signal === 'SIGKILL' || signal === 'SIGTERM') await gone(join(at, name), STOP_DEADLINE_MS);
  if (signal === 'SIGSTOP') await standsStill(join(at, name), STOP_DEADLINE_MS);
}

/** The last lines of what a node's server wrote into its log. */
export function nodeLog(dir: string, name: string, lines: number): Promise<string> {
  return logTail(join(resolve(dir), name), lines);
}

function validate(options: SandboxOptions): void {
  const { flavor, replication, nodes } = options as { flavor: string; replication: string; nodes: number };
  const wrong = (message: string): never => {
    throw new SandboxError('usage', message);
  };
  if (process.platform !== 'linux') wrong('a sandbox needs Linux');
  if (flavor !== 'mysql' && flavor !== 'mariadb') wrong(`unknown flavor '${flavor}': mariadb or mysql`);
  if (!['async', 'semisync', 'group', 'galera'].includes(replication)) {
    wrong(`unknown replication '${replication}': async, semisync, group (mysql) or galera (mariadb)`);
  }
  if (replication === 'group' && flavor !== 'mysql') wrong(`replication 'group' needs --flavor mysql, not ${flavor}`);
  if (replication === 'galera' && flavor !== 'mariadb') {
    wrong(`replication 'galera' needs --flavor mariadb, not ${flavor}`);
  }
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > 5) wrong(`a sandbox has 1 to 5 nodes, not ${nodes}`);
  if (replication === 'semisync' && nodes < 2)
    wrong('semisync needs 2 nodes or more: nobody could acknowledge a write');
  if (options.dir === '') wrong('the sandbox needs a directory');
  if (/[\r\n#]/.test(resolve(options.dir)))
    wrong('a directory name with # or a line break cannot stand in an option file');
}

/** The directory is new or empty, and ours to write into. */
async function claim(dir: string): Promise<void> {
  let entries: string[];
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    entries = await readdir(dir);
    await writeFile(join(dir, `.${STATE_FILE}`), '', { mode: 0o600 });
    await rm(join(dir, `.${STATE_FILE}`));
  } catch (error) {
    throw new SandboxError('usage', `cannot use ${dir} for a sandbox: ${(error as Error).message}`);
  }
  if (entries.length > 0)
    throw new SandboxError('usage', `${dir} is not empty and holds no sandbox; name another --dir`);
}

async function plan(options: SandboxOptions): Promise<Saved> {
  const secret = (): string => randomBytes(18).toString('base64url');
  const { nodes, replication } = options;
  const perNode = 1 + peerPortsOf(replication);
  const ports = await freePorts(nodes * perNode);
  return {
    format: 'evenkeel-sandbox-1',
    flavor: options.flavor,
    replication: options.replication,
    admin: { user: 'evenkeel', password: secret() },
    app: { user: 'app', password: secret(), database: 'app' },
    nodes: Array.from({ length: nodes }, (_, i) => ({
      name: `node${i + 1}`,
      host: '127.0.0.1',
      port: ports[i * perNode] ?? 0,
      ...(perNode === 1 ? {} : { peerPorts: ports.slice(i * perNode + 1, (i + 1) * perNode) }),
    })),
    ...(perNode === 1 ? {} : { group: randomUUID() }),
    making: process.pid,
  };
}

/** Removes what an interrupted `up` left behind; leaves the work of one that still runs alone. */
async function discard(dir: string, saved: Saved, progress: (line: string) => void): Promise<void> {
  if (saved.making !== null && saved.making !== process.pid && existsSync(`/proc/${saved.making}`)) {
    throw new SandboxError('usage', `process ${saved.making} is making a sandbox in ${dir} right now`);
  }
  progress(`removing the half-made sandbox in ${dir}`);
  await stopSandbox(dir);
}

/** Makes and starts the nodes. Those of Galera are made from the first one's data, so that nobody needs a transfer. */
async function create(
  dir: string,
  saved: Saved,
  program: ServerProgram,
  template: string,
  extras: StartExtras,
): Promise<void> {
  const [first, ...others] = saved.nodes;
  if (first === undefined) throw new Error('a sandbox without nodes');
  if (saved.replication !== 'galera') {
    await Promise.all(saved.nodes.map((node) => prepare(dir, saved, node, program, template)));
    const words = saved.replication === 'group' ? GROUP_STAYS_OUT : [];
    await Promise.all(saved.nodes.map((node) => firstStart(dir, saved, node, program, { ...extras, words })));
    return;
  }
  await prepare(dir, saved, first, program, template);
  await firstStart(dir, saved, first, program, { ...extras, words: GALERA_BEGINS });
  await formed(saved, [first]);
  signalNode(join(dir, first.name), 'SIGTERM');
  await gone(join(dir, first.name), START_DEADLINE_MS);
  const data = nodeFiles(join(dir, first.name)).data;
  await Promise.all(others.map((node) => prepare(dir, saved, node, program, data)));
  await formAnew(formation(dir, saved, extras));
}

/** The node's directory, with its data and its options. */
async function prepare(
  dir: string,
  saved: Saved,
  node: SavedNode,
  program: ServerProgram,
  data: string,
): Promise<void> {
  const nodeDir = join(dir, node.name);
  const files = nodeFiles(nodeDir);
  await mkdir(nodeDir, { mode: 0o700 });
  await mkdir(files.tmp);
  await newDataDir(data, files.data);
  const settings = {
    serverId: saved.nodes.indexOf(node) + 1,
    port: node.port,
    dataDir: files.data,
    tmpDir: files.tmp,
    errorLog: files.errorLog,
    replication: saved.replication,
    peerPorts: node.peerPorts ?? [],
    groupPorts: saved.nodes.map(({ peerPorts }) => peerPorts?.[0] ?? 0),
    group: saved.group ?? '',
  };
  const own = saved.replication === 'galera' ? galeraProgram(program, dir) : program;
  await writeFile(files.options, optionFile(own, settings), { mode: 0o600 });
}

/** The start that makes the accounts. */
async function firstStart(
  dir: string,
  saved: Saved,
  node: SavedNode,
  program: ServerProgram,
  extras: StartExtras,
): Promise<void> {
  const init = join(dir, node.name, 'init.sql');
  const galera = saved.replication === 'galera';
  const accounts = accountsSql(saved, randomBytes(18).toString('base64url'));
  await writeFile(init, galera ? GALERA_LOCAL_SQL + accounts : accounts, { mode: 0o600 });
  const path = galera ? await transferPath(program, dir) : undefined;
  const words = [`--init-file=${init}`, ...(extras.words ?? [])];
  await launch(program, join(dir, node.name), words, extras.bound ?? false, path);
  await answers(dir, saved, node);
  await rm(init);
}

/** How forming.ts starts nodes of this sandbox. */
function formation(dir: string, saved: Saved, extras: StartExtras): Formation {
  return { dir, saved, start: (name, words) => startNode(dir, name, { ...extras, words }) };
}

async function connect(saved: Saved): Promise<void> {
  const [first, ...others] = saved.nodes;
  if (first === undefined) throw new Error('a sandbox without nodes');
  if (saved.replication === 'group') {
    await Promise.all(saved.nodes.map((node) => asAdmin(saved, node, (ask) => ask(groupAccount(saved)))));
    return formGroup(saved, saved.nodes);
  }
  if (saved.replication === 'galera') {
    return asAdmin(saved, first, (ask) => makePrimary(ask, saved));
  }
  await Promise.all(others.map((node) => asAdmin(saved, node, (ask) => makeReplica(ask, saved, first))));
  await asAdmin(saved, first, (ask) => makePrimary(ask, saved));
  await Promise.all(others.map((node) => asAdmin(saved, node, (ask) => ready(ask, saved))));
}

async function resume(dir: string, saved: Saved, options: SandboxOptions, extras: StartExtras): Promise<SandboxInfo> {
  for (const key of ['flavor', 'replication'] as const) {
    if (saved[key] !== options[key]) {
      throw new SandboxError('usage', `${dir} holds a sandbox with ${key} ${saved[key]}, not ${options[key]}`);
    }
  }
  if (saved.nodes.length !== options.nodes) {
    throw new SandboxError('usage', `${dir} holds a sandbox of ${saved.nodes.length} nodes, not ${options.nodes}`);
  }
  options.progress?.(`starting the nodes of ${dir} that are down; no role changes`);
  if (peerPortsOf(saved.replication) > 0 && !(await takesPart(saved))) {
    options.progress?.('no node takes part in its group: forming it anew, by the node that has most');
    await formAnew(formation(dir, saved, extras));
    return report(dir, saved);
  }
  await Promise.all(saved.nodes.map((node) => startNode(dir, node.name, extras)));
  if (peerPortsOf(saved.replication) > 0) await formed(saved, saved.nodes);
  return report(dir, saved);
}

async function report(dir: string, saved: Saved): Promise<SandboxInfo> {
  const status = await sandboxStatus(dir);
  const nodes = status.nodes.map(({ name, host, port, pid, role }): SandboxNode => {
    if (pid === null) throw new SandboxError('start-failed', `${name} ended right after it had started`);
    return { name, host, port, pid, role: role ?? 'replica' };
  });
  return { flavor: saved.flavor, replication: saved.replication, dir, admin: saved.admin, app: saved.app, nodes };
}

/** Resolves when the node takes the admin's connections; throws with the end of its log when it never will. */
async function answers(dir: string, saved: Saved, node: SavedNode): Promise<void> {
  const nodeDir = join(dir, node.name);
  const end = performance.now() + START_DEADLINE_MS;
  for (;;) {
    if ((await observe(saved, node)) !== null) return;
    const running = processOf(nodeDir) !== null;
    if (running && performance.now() < end) continue;
    const why = running ? 'does not answer' : 'ended while it was starting';
    throw new SandboxError('start-failed', `${node.name} ${why}; the end of its log:\n${await logTail(nodeDir, 12)}`);
  }
}
