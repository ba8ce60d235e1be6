// An Evenkeel of the test's own in front of a sandbox: started by the command that users start, on free ports, in a
// temporary directory, and ended with everything it started, whatever the test does. The methods are an operator's
// verbs, so that a test reads as a story.
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { InFlightMode } from '../../../src/messages/index.ts';
import type { RecoveryRecord } from '../../../src/recovery/types.ts';
import {
  freePorts,
  killNode,
  type SandboxInfo,
  type SandboxNode,
  type SandboxOptions,
  startNode,
  withSandbox,
} from '../../../src/sandbox/index.ts';
import { until } from './until.ts';

const MAIN = new URL('../../../src/main.ts', import.meta.url).pathname;

interface Login {
  host: string;
  port: number;
  user: string;
  password: string;
  database: string;
}

export interface EvenkeelOptions extends Omit<SandboxOptions, 'dir'> {
  /** More YAML for the configuration file, at the top level. */
  config?: string;
  /** More YAML for the cluster, each line indented by four. */
  cluster?: string;
  /** The writer's. */
  inFlight?: InFlightMode;
  /** More endpoints, each a line. */
  endpoints?: string;
  workers?: number;
  /** `semisync` where the servers replicate so, else `none`. */
  durability?: 'semisync' | 'cross-zone';
  /** `users:` and so on may need it. */
  recovery?: 'automatic' | 'observe';
}

interface NodeStatus {
  node: string;
  role: string;
  state: string;
  lagMs: number | null;
  detail: string;
}

interface Status {
  clusters: {
    name: string;
    epoch: number;
    state: string;
    primary: string | null;
    nodes: NodeStatus[];
    problems: { code: string; node?: string; text: string }[];
  }[];
  endpoints: { name: string; clients: number; held: number }[];
}

export class Evenkeel {
  readonly sandbox: SandboxInfo;
  readonly dir: string;
  readonly ports: { writer: number; reader: number; http: number };
  output = '';
  #process: ChildProcess | null = null;
  #config: string;

  constructor(sandbox: SandboxInfo, dir: string, ports: Evenkeel['ports'], config: string) {
    this.sandbox = sandbox;
    this.dir = dir;
    this.ports = ports;
    this.#config = config;
  }

  get configFile(): string {
    return join(this.dir, 'evenkeel.yaml');
  }

  /** Starts `evenkeel start` and waits until it says that it would serve. */
  async start(): Promise<void> {
    await writeFile(this.configFile, this.#config, { mode: 0o600 });
    const argv = ['--disable-warning=ExperimentalWarning', MAIN, 'start', '--config', this.configFile];
    const child = spawn(process.execPath, argv, { cwd: this.dir, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#process = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.output = (this.output + chunk.toString()).slice(-200_000);
      });
    }
    await until('Evenkeel to be ready', 45_000, async () => {
      if (child.exitCode !== null) throw new Error(`evenkeel start ended with ${child.exitCode}:\n${this.output}`);
      return (await this.fetch('/readyz').catch(() => null))?.status === 200;
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${this.output}`);
    });
  }

  get pid(): number {
    return this.#process?.pid ?? -1;
  }

  /** Sends a signal, and waits for the exit status. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    const child = this.#process;
    if (child === null || child.exitCode !== null) return child?.exitCode ?? null;
    const exited = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
    child.kill(signal);
    const code = await exited;
    this.#process = null;
    return code;
  }

  /** Kills what is left, workers included. */
  async destroy(): Promise<void> {
    const workers = await this.workerPids().catch(() => []);
    const child = this.#process;
    if (child !== null && child.exitCode === null) {
      child.kill('SIGKILL');
      await new Promise((resolve) => child.once('exit', resolve));
    }
    for (const pid of workers) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // gone already
      }
    }
  }

  /** The same for a process that is about to exit: without waiting, and with the directory. */
  destroyNow(): void {
    this.#process?.kill('SIGKILL');
    try {
      const file = JSON.parse(readFileSync(join(this.dir, '.evenkeel', 'workers.json'), 'utf8')) as {
        workers: { pid: number }[];
      };
      for (const { pid } of file.workers) process.kill(pid, 'SIGKILL');
    } catch {
      // none was started yet, or gone already
    }
    rmSync(this.dir, { recursive: true, force: true });
  }

  async workerPids(): Promise<number[]> {
    const file = JSON.parse(await readFile(join(this.dir, '.evenkeel', 'workers.json'), 'utf8')) as {
      workers: { pid: number }[];
    };
    return file.workers.map((worker) => worker.pid);
  }

  fetch(path: string, init?: RequestInit): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.ports.http}${path}`, init);
  }

  async status(): Promise<Status> {
    return (await (await this.fetch('/api/v1/clusters')).json()) as Status;
  }

  async history(): Promise<RecoveryRecord[]> {
    const answer = (await (await this.fetch('/api/v1/history')).json()) as
      | RecoveryRecord[]
      | { history: RecoveryRecord[] };
    return Array.isArray(answer) ? answer : answer.history;
  }

  /** Runs a verb of the command line against this Evenkeel. */
  async run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    const child = spawn(process.execPath, [MAIN, ...args, '--config', this.configFile], { cwd: this.dir });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    const code = await new Promise<number>((resolve) => child.once('close', (status) => resolve(status ?? -1)));
    return { code, stdout, stderr };
  }

  async switchover(to?: SandboxNode): Promise<RecoveryRecord> {
    const target = to === undefined ? [] : ['--to', addressOf(to)];
    const { code, stdout, stderr } = await this.run('switchover', '--json', ...target);
    if (code !== 0) throw new Error(`switchover failed (${code}):\n${stdout}${stderr}`);
    return JSON.parse(stdout) as RecoveryRecord;
  }

  /** For any driver: through the proxy, as the application's account. */
  login(endpoint: 'writer' | 'reader' = 'writer'): Login {
    const { user, password, database } = this.sandbox.app;
    return { host: '127.0.0.1', port: this.ports[endpoint], user, password, database };
  }

  /** Past the proxy, as the administrator. */
  direct(node: SandboxNode): Omit<Login, 'database'> {
    const { user, password } = this.sandbox.admin;
    return { host: node.host, port: node.port, user, password };
  }

  async primary(): Promise<SandboxNode> {
    const { clusters } = await this.status();
    return this.node(clusters[0]?.primary ?? 'none');
  }

  async replicas(): Promise<SandboxNode[]> {
    const primary = await this.primary();
    return this.sandbox.nodes.filter((node) => node !== primary);
  }

  node(address: string): SandboxNode {
    const node = this.sandbox.nodes.find((each) => addressOf(each) === address);
    if (node === undefined) throw new Error(`no node ${address}`);
    return node;
  }

  async signalNode(node: SandboxNode, signal: 'SIGKILL' | 'SIGTERM' | 'SIGSTOP' | 'SIGCONT'): Promise<void> {
    await killNode(this.sandbox.dir, node.name, signal);
  }

  async restartNode(node: SandboxNode): Promise<void> {
    await startNode(this.sandbox.dir, node.name);
  }

  /** Waits until the primary is another one than `old` and clients are served. */
  async promotedFrom(old: SandboxNode, timeoutMs = 20_000): Promise<SandboxNode> {
    await until('a promotion', timeoutMs, async () => {
      const { clusters } = await this.status();
      const primary = clusters[0]?.primary ?? null;
      return primary !== null && primary !== addressOf(old) && clusters[0]?.state !== 'recovering';
    });
    return this.primary();
  }

  /** Waits until every node is up and in its place. */
  async healthy(timeoutMs = 60_000): Promise<void> {
    await until('a healthy cluster', timeoutMs, async () => (await this.status()).clusters[0]?.state === 'healthy');
  }
}

export function addressOf(node: SandboxNode): string {
  return `${node.host}:${node.port}`;
}

/** Runs `work` against a new sandbox with an Evenkeel in front of it, and cleans up. */
export async function withEvenkeel<T>(options: EvenkeelOptions, work: (evenkeel: Evenkeel) => Promise<T>): Promise<T> {
  return withSandbox(options, (sandbox) => inFrontOf(sandbox, options, work));
}

/** Runs `work` with an Evenkeel in front of a sandbox that is there already. Two at a time: one must only observe. */
export async function inFrontOf<T>(
  sandbox: SandboxInfo,
  options: Omit<EvenkeelOptions, 'flavor'>,
  work: (evenkeel: Evenkeel) => Promise<T>,
): Promise<T> {
  const dir = await mkdtemp(join(tmpdir(), 'evenkeel-test-'));
  await mkdir(dir, { recursive: true });
  const [writer = 0, reader = 0, http = 0] = await freePorts(3);
  const ports = { writer, reader, http };
  const evenkeel = new Evenkeel(sandbox, dir, ports, configOf(options, sandbox, ports));
  // Whoever interrupts a test or a benchmark must not be left with its processes.
  const atExit = (): void => evenkeel.destroyNow();
  process.once('exit', atExit);
  try {
    await evenkeel.start();
    return await work(evenkeel);
  } catch (error) {
    process.stderr.write(`--- evenkeel said:\n${evenkeel.output.slice(-8000)}\n---\n`);
    throw error;
  } finally {
    await evenkeel.destroy();
    process.off('exit', atExit);
    await rm(dir, { recursive: true, force: true });
  }
}

function configOf(options: Omit<EvenkeelOptions, 'flavor'>, sandbox: SandboxInfo, ports: Evenkeel['ports']): string {
  const usual = options.replication === 'semisync' && options.nodes > 1 ? 'semisync' : 'none';
  return `clusters:
  shop:
    seeds: [${sandbox.nodes.map((node) => `"${addressOf(node)}"`).join(', ')}]
    admin: { user: ${sandbox.admin.user}, password: "${sandbox.admin.password}" }
    durability: ${options.durability ?? usual}
    recovery: ${options.recovery ?? 'automatic'}
${options.cluster ?? ''}
endpoints:
  - { name: writer, cluster: shop, listen: "127.0.0.1:${ports.writer}", route: primary, inFlight: ${options.inFlight ?? 'exactly-once'} }
  - { name: reader, cluster: shop, listen: "127.0.0.1:${ports.reader}", route: replica }
${options.endpoints ?? ''}
http: { listen: "127.0.0.1:${ports.http}" }
workers: ${options.workers ?? 2}
${options.config ?? ''}
`;
}
