// The processes of a benchmark: started so that they end with it whatever happens, and measured from /proc.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

const atExit = new Set<() => void>();
let guarded = false;

/** Runs `clean` (which must be synchronous) when this process exits, also on a signal. Returns how to forget it. */
export function onExit(clean: () => void): () => void {
  if (!guarded) {
    guarded = true;
    process.on('exit', () => {
      for (const each of atExit) each();
    });
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(1));
  }
  atExit.add(clean);
  return () => atExit.delete(clean);
}

export function killNow(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // gone already
  }
}

/** The words that start a program so that it dies with this process, where the system can do so. */
export function leashed(argv: readonly string[]): string[] {
  const setpriv = ['/usr/bin/setpriv', '/bin/setpriv'].find((file) => existsSync(file));
  return setpriv === undefined ? [...argv] : [setpriv, '--pdeathsig', 'KILL', '--', ...argv];
}

/** Lets this process and those that it starts from now on open so many files. Throws where that is not allowed. */
export function makeRoomForFiles(count: number): void {
  const limits = /^Max open files\s+(\S+)\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'));
  // A Node.js process takes all that its hard limit allows.
  const hard = limits?.[2] === 'unlimited' ? Number.POSITIVE_INFINITY : Number(limits?.[2]);
  if (hard >= count) return;
  try {
    execFileSync('/usr/bin/prlimit', [`--pid=${process.pid}`, `--nofile=${count}:${count}`], { stdio: 'pipe' });
  } catch {
    throw new Error(`${count} open files are needed, and only ${hard} allowed: raise the hard limit (ulimit -Hn)`);
  }
}

export interface RunOptions {
  env?: Record<string, string>;
  cwd?: string;
  deadlineMs: number;
  /** Gets everything that was printed so far, each time that there is more. */
  onOutput?: (output: string) => void;
}

/** Runs a program to its end. Throws with what it printed where it fails or takes longer than its deadline. */
export async function runToEnd(argv: readonly string[], options: RunOptions): Promise<string> {
  const { env = {}, cwd, deadlineMs, onOutput = () => {} } = options;
  const [program = '', ...args] = leashed(argv);
  const child = spawn(program, args, {
    env: { ...process.env, ...env },
    ...(cwd === undefined ? {} : { cwd }),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const forget = onExit(() => killNow(child.pid ?? -1));
  let output = '';
  const take = (chunk: Buffer): void => {
    if (output.length < 4_000_000) output += chunk.toString();
    onOutput(output);
  };
  child.stdout.on('data', take);
  child.stderr.on('data', take);
  const timer = setTimeout(() => child.kill('SIGKILL'), deadlineMs);
  try {
    const status = await new Promise<number | string>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => resolve(code ?? signal ?? 'nothing'));
    });
    if (status !== 0) throw new Error(`${argv[0]} ended with ${status}:\n${output.slice(0, 2000)}`);
    return output;
  } finally {
    clearTimeout(timer);
    forget();
  }
}

/** Processor time that a process has used so far, all threads, user and system. */
export function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name in the second field may hold spaces and parentheses; utime and stime are fields 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / ticksPerSecond();
}

/** Resident memory now. */
export function residentMiB(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? Number.NaN) / 1024;
}

let ticks = 0;

function ticksPerSecond(): number {
  if (ticks === 0) ticks = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
  return ticks;
}
