// The processes of a sandbox: start one detached, know it again later by its pid file and command line, signal
// it, wait for its end. A pid alone is never trusted: it may have been given to somebody else since.
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { open, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SandboxError } from './errors.ts';
import type { ServerProgram } from './servers.ts';

/** `frozen` is a process that was stopped by SIGSTOP. */
export type ProcessState = 'up' | 'frozen' | 'down';

/** One node's process: everything is derived from its directory. */
export function nodeFiles(nodeDir: string): Record<'options' | 'errorLog' | 'pid' | 'data' | 'tmp', string> {
  return {
    options: join(nodeDir, 'my.cnf'),
    errorLog: join(nodeDir, 'error.log'),
    pid: join(nodeDir, 'pid'),
    data: join(nodeDir, 'data'),
    tmp: join(nodeDir, 'tmp'),
  };
}

/** The running process of this node, or null. Synchronous, because it must work while a process exits. */
export function processOf(nodeDir: string): { pid: number; state: 'up' | 'frozen' } | null {
  const files = nodeFiles(nodeDir);
  try {
    const pid = Number(readFileSync(files.pid, 'utf8'));
    if (!Number.isInteger(pid) || pid <= 1) return null;
    // A zombie's command line is empty: it counts as gone.
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    if (!words.includes(`--defaults-file=${files.options}`)) return null;
    const state = stateOf(`/proc/${pid}/stat`);
    if (state === 'Z' || state === 'X') return null;
    return { pid, state: state === 'T' ? 'frozen' : 'up' };
  } catch {
    return null;
  }
}

/**
 * Starts the node's server and returns its pid; it is not ready for connections yet.
 * `path` is the PATH of its own children. `bound` ties its life to this process, where the system can do so: for tests that may themselves be killed.
 */
export async function launch(
  program: ServerProgram,
  nodeDir: string,
  extra: string[],
  bound: boolean,
  path?: string,
): Promise<number> {
  const files = nodeFiles(nodeDir);
  const leash = bound ? pdeathsig() : [];
  const [command = '', ...args] = [...leash, ...program.argv0, `--defaults-file=${files.options}`, ...extra];
  const env = path === undefined ? process.env : { ...process.env, PATH: path };
  const log = await open(files.errorLog, 'a');
  try {
    const child = spawn(command, args, { detached: true, stdio: ['ignore', log.fd, log.fd], cwd: nodeDir, env });
    const pid = await new Promise<number>((resolve, reject) => {
      child.once('error', (error) => reject(new SandboxError('start-failed', `${command}: ${error.message}`)));
      child.once('spawn', () => resolve(child.pid ?? 0));
    });
    child.unref();
    await writeFile(`${files.pid}.new`, `${pid}\n`);
    await rename(`${files.pid}.new`, files.pid);
    return pid;
  } finally {
    await log.close();
  }
}

function pdeathsig(): string[] {
  const setpriv = ['/usr/bin/setpriv', '/bin/setpriv'].find((file) => existsSync(file));
  return setpriv === undefined ? [] : [setpriv, '--pdeathsig', 'KILL', '--'];
}

/** Sends a signal to this node's process; does nothing where it has none. */
export function signalNode(nodeDir: string, signal: NodeJS.Signals): void {
  const running = processOf(nodeDir);
  if (running === null) return;
  try {
    process.kill(running.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Resolves when the node's process is gone. */
export async function gone(nodeDir: string, deadlineMs: number): Promise<void> {
  const end = performance.now() + deadlineMs;
  while (processOf(nodeDir) !== null) {
    if (performance.now() > end) throw new SandboxError('stop-failed', `${nodeDir}: its process does not end`);
    await delay(10);
  }
}

/**
 * Resolves when every thread of the node's process stands still. One of them has to run before the others are told of a
 * SIGSTOP: on a busy machine a replica acknowledges a few writes more meanwhile.
 */
export async function standsStill(nodeDir: string, deadlineMs: number): Promise<void> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const running = processOf(nodeDir);
    if (running === null || threadStates(running.pid).every((state) => state === 'T')) return;
    if (performance.now() > end) throw new SandboxError('stop-failed', `${nodeDir}: its process goes on after SIGSTOP`);
    await delay(1);
  }
}

/** One letter a thread, as proc(5) has them. */
function threadStates(pid: number): string[] {
  const states: string[] = [];
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) states.push(stateOf(`/proc/${pid}/task/${thread}/stat`));
  } catch {
    // A thread or the process ended meanwhile.
    return [''];
  }
  return states;
}

function stateOf(file: string): string {
  const stat = readFileSync(file, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
}

/** The last lines of the node's error log. */
export async function logTail(nodeDir: string, lines: number): Promise<string> {
  const text = await readFile(nodeFiles(nodeDir).errorLog, 'utf8').catch(() => '');
  return text.trimEnd().split('\n').slice(-lines).join('\n');
}
