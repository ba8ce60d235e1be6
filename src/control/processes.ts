// What the control process must know of the machine around it: which workers an earlier run left behind, whether a
// process is alive and ours, whether an address is free, and that nobody else runs on the same state directory.
import { chmodSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as pause } from 'node:timers/promises';
import type { EndpointSettings } from '../messages/index.ts';

/** `workers.json` in the state directory. */
export interface WorkersFile {
  hash: string;
  socketPath: string | null;
  workers: { pid: number; worker: number }[];
}

const nobody: WorkersFile = { hash: '', socketPath: null, workers: [] };
/** A sockaddr_un holds 108 bytes on Linux and 104 elsewhere. */
const maxSocketPathBytes = 100;

/** What an earlier run wrote; nobody where there was none or the file is damaged. */
export function readWorkersFile(stateDir: string): WorkersFile {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(join(stateDir, 'workers.json'), 'utf8'));
  } catch {
    return nobody;
  }
  if (typeof value !== 'object' || value === null) return nobody;
  const { hash, socketPath, workers } = value as Partial<Record<keyof WorkersFile, unknown>>;
  if (typeof hash !== 'string' || !Array.isArray(workers)) return nobody;
  return {
    hash,
    socketPath: typeof socketPath === 'string' ? socketPath : null,
    workers: workers.filter(
      (entry: unknown): entry is { pid: number; worker: number } =>
        typeof entry === 'object' &&
        entry !== null &&
        'pid' in entry &&
        'worker' in entry &&
        Number.isSafeInteger(entry.pid) &&
        Number(entry.pid) > 1 &&
        Number.isSafeInteger(entry.worker),
    ),
  };
}

export function writeWorkersFile(stateDir: string, file: WorkersFile): void {
  writePrivate(join(stateDir, 'workers.json'), JSON.stringify(file));
}

/** Replaces a file at once, readable by its owner only. */
export function writePrivate(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** A zombie counts as dead: where nobody reaps the workers of a dead parent, they stay in the table. */
export function processLives(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2));
  } catch {
    return true; // No /proc here; the signal's answer must do.
  }
}

/** Whether `pid` lives and was started with our channel: numbers are used again, and a stranger is not killed. */
export function isOurWorker(pid: number, socketPath: string): boolean {
  if (!processLives(pid)) return false;
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(socketPath);
  } catch {
    return false;
  }
}

/** The state directory, made if missing, for our eyes only. */
export function prepareStateDir(stateDir: string): void {
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  chmodSync(stateDir, 0o700);
}

/** Where the channel listens: in the state directory, or in a short directory where that path is too long. */
export function chooseSocketPath(stateDir: string): string {
  const path = join(stateDir, 'control.sock');
  if (Buffer.byteLength(path) <= maxSocketPathBytes) return path;
  const earlier = readWorkersFile(stateDir).socketPath;
  if (earlier !== null && isPrivateDirectory(join(earlier, '..'))) return earlier;
  return join(mkdtempSync(join(tmpdir(), 'evenkeel-')), 'control.sock');
}

function isPrivateDirectory(path: string): boolean {
  try {
    const stat = lstatSync(path);
    return stat.isDirectory() && stat.uid === process.getuid?.() && (stat.mode & 0o077) === 0;
  } catch {
    return false;
  }
}

/**
 * Takes the state directory for this process; the kernel gives it back when the process ends, however it ends.
 * Throws where another control process has it. Returns the release.
 */
export function lockStateDir(stateDir: string): () => void {
  const database = new DatabaseSync(join(stateDir, 'control.lock'));
  try {
    database.exec('PRAGMA busy_timeout = 0; PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    throw new Error(`another Evenkeel runs on the state directory ${stateDir}`, { cause: error });
  }
  chmodSync(join(stateDir, 'control.lock'), 0o600);
  return () => database.close();
}

async function tryListen(host: string, port: number): Promise<NodeJS.ErrnoException | null> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', (error) => resolve(error));
    // Without reusePort: the workers' own way to listen would succeed beside a stranger that does the same.
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(null)));
  });
}

/** Rejects with a sentence that names the endpoint where its address cannot be had within `waitMs`. */
export async function assertAddressesFree(endpoints: EndpointSettings[], waitMs: number): Promise<void> {
  const deadline = performance.now() + waitMs;
  for (const { name, host, port } of endpoints) {
    if (port === 0) continue;
    for (;;) {
      const error = await tryListen(host, port);
      if (!error) break;
      const why = error.code === 'EADDRINUSE' ? 'the address is in use' : error.message;
      // A worker that was just told to retire frees it in a moment.
      if (error.code !== 'EADDRINUSE' || performance.now() >= deadline) {
        throw new Error(`endpoint ${name} cannot listen on ${host}:${port}: ${why}`);
      }
      await pause(50);
    }
  }
}
