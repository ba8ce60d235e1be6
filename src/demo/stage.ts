// What the demo plays on: a sandbox of three real servers and `evenkeel start` in front of it, as a process of its own
// and on free ports, so that what is shown is what a user runs. Whatever happens, nothing of it is left behind.
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import mysql, { type Connection } from 'mysql2/promise';
import type { StatusJson } from '../http/api.ts';
import type { Flavor } from '../messages/index.ts';
import type { RecoveryRecord } from '../recovery/types.ts';
import {
  freePorts,
  killNode,
  nodeLog,
  type SandboxInfo,
  type SandboxNode,
  sandboxStatus,
  startNode,
  withSandbox,
} from '../sandbox/index.ts';

const READY_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 5000;
const FETCH_TIMEOUT_MS = 2000;
const MAX_OUTPUT_CHARS = 20_000;
const LOG_LINES = 40;

/** The part of the environment that the demo needs; `main` is the script that this very command runs as. */
export interface StageOptions {
  flavor: Flavor;
  main: string;
  /** Three unless told otherwise. */
  nodes?: number;
  progress: (line: string) => void;
}

export class Stage {
  readonly sandbox: SandboxInfo;
  readonly port: number;
  readonly #httpPort: number;
  readonly #dir: string;
  readonly #main: string;
  #child: ChildProcess | null = null;
  #output = '';

  constructor(sandbox: SandboxInfo, dir: string, ports: { writer: number; http: number }, main: string) {
    this.sandbox = sandbox;
    this.port = ports.writer;
    this.#httpPort = ports.http;
    this.#dir = dir;
    this.#main = main;
  }

  get #configFile(): string {
    return join(this.#dir, 'evenkeel.yaml');
  }

  /** Starts Evenkeel and resolves when it would serve. Rejects with the end of what it said. */
  async start(): Promise<void> {
    await writeFile(this.#configFile, configOf(this.sandbox, this.port, this.#httpPort), { mode: 0o600 });
    const child = this.#run(['start', '--config', this.#configFile]);
    this.#child = child;
    const keep = (chunk: Buffer): void => {
      this.#output = (this.#output + chunk.toString()).slice(-MAX_OUTPUT_CHARS);
    };
    child.stdout?.on('data', keep);
    child.stderr?.on('data', keep);
    const end = performance.now() + READY_TIMEOUT_MS;
    while (!(await this.ready())) {
      if (child.exitCode !== null)
        throw new Error(`evenkeel start ended with status ${child.exitCode}:\n${this.said()}`);
      if (performance.now() > end) throw new Error(`evenkeel start is not ready:\n${this.said()}`);
      await delay(50);
    }
  }

  /** The last lines that Evenkeel printed. */
  said(lines = 15): string {
    return this.#output.trimEnd().split('\n').slice(-lines).join('\n');
  }

  /** Whether Evenkeel would serve. */
  async ready(): Promise<boolean> {
    return ((await this.#fetch('/readyz')) as { ready: boolean } | null)?.ready === true;
  }

  /** Null where Evenkeel does not answer. */
  async status(): Promise<StatusJson | null> {
    return (await this.#fetch('/api/v1/clusters')) as StatusJson | null;
  }

  /** Newest first. */
  async history(): Promise<RecoveryRecord[]> {
    return ((await this.#fetch('/api/v1/history')) as RecoveryRecord[] | null) ?? [];
  }

  /** Runs `evenkeel switchover`; rejects with what it said where it fails. */
  switchover(): Promise<RecoveryRecord> {
    return this.order('switchover');
  }

  /** Begins maintenance of a node, or ends it; rejects as `order` does. */
  async maintain(node: SandboxNode, ...how: ['--for', string] | ['--end']): Promise<void> {
    await this.#json('maintenance', `${node.host}:${node.port}`, ...how);
  }

  /** Runs a verb that begins a recovery; rejects with what it said where it fails. */
  async order(verb: 'switchover' | 'rebuild', ...args: string[]): Promise<RecoveryRecord> {
    return (await this.#json(verb, ...args)) as RecoveryRecord;
  }

  async #json(verb: string, ...args: string[]): Promise<unknown> {
    const child = this.#run([verb, ...args, '--json', '--config', this.#configFile]);
    let stdout = '';
    let stderr = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      stdout += chunk.toString();
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
    if (code !== 0) throw new Error(`evenkeel ${verb} ended with status ${code}: ${stderr.trim()}`);
    return JSON.parse(stdout);
  }

  /** `kill -9`; resolves when the process is gone. */
  async kill(node: SandboxNode): Promise<void> {
    await killNode(this.sandbox.dir, node.name, 'SIGKILL');
  }

  /** Starts a killed node again; resolves when it answers. */
  async restart(node: SandboxNode): Promise<void> {
    await startNode(this.sandbox.dir, node.name, { bound: true });
  }

  /** Stops the node's process where it stands, its sockets open, or lets it go on. */
  async freeze(node: SandboxNode, frozen: boolean): Promise<void> {
    await killNode(this.sandbox.dir, node.name, frozen ? 'SIGSTOP' : 'SIGCONT');
  }

  /** For each node whose server does not run: that, and the end of its log. Nothing where all run. */
  async fallen(): Promise<string> {
    const { nodes } = await sandboxStatus(this.sandbox.dir);
    const down = nodes.filter(({ state }) => state === 'down');
    const logs = down.map(async ({ name }) => {
      const log = await nodeLog(this.sandbox.dir, name, LOG_LINES);
      return `\nthe server of ${name} does not run; the end of its log:\n${log}`;
    });
    return (await Promise.all(logs)).join('');
  }

  /** Does `work` on a connection of its own to a node's server, as the administrator. */
  async asAdmin<T>({ host, port }: SandboxNode, work: (connection: Connection) => Promise<T>): Promise<T> {
    const { user, password } = this.sandbox.admin;
    const connection = await mysql.createConnection({ host, port, user, password });
    try {
      return await work(connection);
    } finally {
      connection.destroy();
    }
  }

  /** The node at this address. */
  node(address: string | null): SandboxNode | null {
    return this.sandbox.nodes.find(({ host, port }) => `${host}:${port}` === address) ?? null;
  }

  /** Ends Evenkeel as a user would, and by force where that takes too long. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (child !== null && child.exitCode === null && child.signalCode === null) {
      const exited = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      const late = new AbortController();
      await Promise.race([exited, delay(STOP_TIMEOUT_MS, null, { signal: late.signal }).catch(() => {})]);
      late.abort();
    }
    this.killNow();
    await rm(this.#dir, { recursive: true, force: true, maxRetries: 5 });
  }

  /** Synchronous, for a process that is about to exit. Workers outlive a killed control process, so they go as well. */
  killNow(): void {
    const pids = this.workers();
    const child = this.#child;
    if (child?.pid !== undefined && child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    for (const pid of pids) {
      try {
        // A number may have been given to somebody else since: ours carries our directory in its command line.
        if (readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(this.#dir)) process.kill(pid, 'SIGKILL');
      } catch {
        // Gone already.
      }
    }
  }

  /** The process ids of Evenkeel's workers. */
  workers(): number[] {
    return workerPids(join(this.#dir, '.evenkeel', 'workers.json'));
  }

  /** Like `stop`, but synchronous and without waiting. */
  destroyNow(): void {
    this.killNow();
    rmSync(this.#dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  }

  #run(args: string[]): ChildProcess {
    // A process group of its own: Ctrl-C reaches the demo alone, which then ends things in their order.
    return spawn(process.execPath, [...process.execArgv, this.#main, ...args], {
      cwd: this.#dir,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
  }

  /** Null where there is no answer, or none that is good. */
  async #fetch(path: string): Promise<unknown> {
    try {
      const answer = await fetch(`http://127.0.0.1:${this.#httpPort}${path}`, {
        signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
      });
      return answer.ok ? await answer.json() : null;
    } catch {
      return null;
    }
  }
}

function workerPids(file: string): number[] {
  try {
    const { workers } = JSON.parse(readFileSync(file, 'utf8')) as { workers: { pid: number }[] };
    return workers.map(({ pid }) => pid);
  } catch {
    return [];
  }
}

/** One seed is enough: the others are discovered. */
function configOf(sandbox: SandboxInfo, writer: number, http: number): string {
  const [seed] = sandbox.nodes;
  const { user, password } = sandbox.admin;
  return `clusters:
  demo:
    seeds: ["${seed?.host}:${seed?.port}"]
    admin: { user: ${user}, password: "${password}" }
    durability: semisync
endpoints:
  - { name: writer, cluster: demo, listen: "127.0.0.1:${writer}", route: primary }
http: { listen: "127.0.0.1:${http}" }
shutdownTimeout: 2s
`;
}

const EXIT_BY_SIGNAL = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/** Runs `play` on a stage and takes the stage down again, also where the process is interrupted meanwhile. */
export async function withStage<T>(options: StageOptions, play: (stage: Stage) => Promise<T>): Promise<T> {
  let stage: Stage | null = null;
  // The sandbox ends its own servers when the process exits; these handlers are first, so their exit status counts.
  for (const [signal, code] of Object.entries(EXIT_BY_SIGNAL)) {
    process.on(signal, () => {
      options.progress(`interrupted by ${signal}; taking everything down`);
      process.exit(code);
    });
  }
  process.on('exit', () => stage?.destroyNow());
  const { flavor, main, nodes = 3, progress } = options;
  return withSandbox({ flavor, replication: 'semisync', nodes, progress }, async (sandbox) => {
    const dir = await mkdtemp(join(tmpdir(), 'evenkeel-demo-'));
    const [writer = 0, http = 0] = await freePorts(2);
    stage = new Stage(sandbox, dir, { writer, http }, main);
    try {
      await stage.start();
      return await play(stage);
    } finally {
      await stage.stop();
      stage = null;
    }
  });
}
