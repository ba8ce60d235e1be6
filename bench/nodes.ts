// What it costs the control process to watch many clusters, and whether it finds a dead primary later for it. The nodes
// are stand-ins that answer probes; Evenkeel is the real one, observing only. One cluster alone is measured first.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePorts } from '../src/sandbox/index.ts';
import { type Figure, judge } from './support/figures.ts';
import { cpuMs, killNow, leashed, makeRoomForFiles, onExit, residentMiB } from './support/processes.ts';
import { eachRound, type FlavorResult, progress, type Result } from './support/report.ts';

export interface NodesOptions {
  rounds: number;
  nodes: number;
  clusters: number;
  seconds: number;
  /** Primaries that die, one after the other. */
  deaths: number;
}

interface Stretch {
  clusters: number;
  /** Of one core, over the window. */
  share: number;
  residentMiB: number;
  detectionMs: number[];
}

interface Round {
  alone: Stretch;
  many: Stretch;
}

const READY_DEADLINE_MS = 60_000;
/** Until a cluster that was just found counts as one in which nothing happens. */
const CALM_MS = 10_000;
const DETECTION_DEADLINE_MS = 20_000;
/** The aim is of so many. */
const AIM_NODES = 1_000;
const AIM_CLUSTERS = 300;
const MAX_SHARE = 0.3;

export async function benchNodes(options: NodesOptions): Promise<Result> {
  const { clusters, deaths, nodes, rounds, seconds } = options;
  makeRoomForFiles(nodes * 4 + 1000);
  const { done, failed } = await eachRound(rounds, 'nodes', async () => {
    const alone = await measure({ ...options, clusters: 1, nodes: 3, deaths: 1 });
    const value: Round = { alone, many: await measure(options) };
    return {
      value,
      line: `${(value.many.share * 100).toFixed(0)} % of a core, detection ${value.many.detectionMs.join(', ')} ms (alone ${alone.detectionMs.join(', ')} ms)`,
    };
  });
  const figures = figuresOf(done, nodes >= AIM_NODES && clusters >= AIM_CLUSTERS).map((figure) =>
    judge(figure, failed.length),
  );
  const result: FlavorResult = {
    flavor: 'mysql',
    version: '8.0 (stand-ins)',
    failedRounds: failed,
    figures,
    rounds: done,
  };
  return {
    benchmark: 'nodes',
    title: 'One control process, many clusters',
    settings: { rounds, clusters, nodes, seconds, deaths, recovery: 'observe' },
    results: [result],
  };
}

function figuresOf(rounds: readonly Round[], full: boolean): Figure[] {
  return [
    {
      name: 'processor of the control process, share of a core',
      unit: 'ratio',
      samples: rounds.map(({ many }) => many.share),
      aims: full ? [{ of: 'max', atMost: MAX_SHARE }] : [],
    },
    { name: 'the same with one cluster of 3', unit: 'ratio', samples: rounds.map(({ alone }) => alone.share) },
    { name: 'memory of the control process', unit: 'MiB', samples: rounds.map(({ many }) => many.residentMiB) },
    {
      name: 'from the death of a primary until it is called dead',
      unit: 'ms',
      samples: rounds.flatMap(({ many }) => many.detectionMs),
    },
    {
      name: 'the same with one cluster of 3',
      unit: 'ms',
      samples: rounds.flatMap(({ alone }) => alone.detectionMs),
    },
  ];
}

async function measure({ clusters, deaths, nodes, seconds }: Omit<NodesOptions, 'rounds'>): Promise<Stretch> {
  const dir = await mkdtemp(join(tmpdir(), 'evenkeel-nodes-'));
  const children: ChildProcess[] = [];
  try {
    const crowd = await Crowd.start(clusters, nodes, children);
    const [http = 0, writer = 0] = await freePorts(2);
    await writeFile(join(dir, 'evenkeel.yaml'), configOf(crowd.ports, http, writer), { mode: 0o600 });
    const control = started(['bin/evenkeel', 'start', '--config', join(dir, 'evenkeel.yaml')], children);
    control.stdout?.resume();
    control.stderr?.resume();
    const pid = control.pid ?? -1;
    await settled(http, nodes);
    await pause(CALM_MS);
    const [fromMs, from] = [performance.now(), cpuMs(pid)];
    await pause(seconds * 1000);
    const share = (cpuMs(pid) - from) / (performance.now() - fromMs);
    const memory = residentMiB(pid);
    progress(`${clusters} clusters: ${(share * 100).toFixed(1)} % of a core, ${memory.toFixed(0)} MiB`);
    const detectionMs = await detections(http, crowd, Math.min(deaths, clusters));
    return { clusters, share, residentMiB: memory, detectionMs };
  } finally {
    for (const child of children) killNow(child.pid ?? -1);
    await rm(dir, { recursive: true, force: true });
  }
}

function started(argv: readonly string[], children: ChildProcess[]): ChildProcess {
  const [program = '', ...args] = leashed(argv);
  const cwd = fileURLToPath(new URL('..', import.meta.url));
  const child = spawn(program, args, { cwd, stdio: ['pipe', 'pipe', 'pipe'] });
  onExit(() => killNow(child.pid ?? -1));
  children.push(child);
  return child;
}

function configOf(clusters: readonly number[][], http: number, writer: number): string {
  const entry = (ports: readonly number[], i: number) =>
    `  c${i}: { seeds: ["127.0.0.1:${ports[0]}", ${ports
      .slice(1)
      .map((port) => `"127.0.0.1:${port}"`)
      .join(', ')}], admin: { user: evenkeel, password: x }, recovery: observe }`;
  return [
    'clusters:',
    ...clusters.map(entry),
    'endpoints:',
    `  - { name: writer, cluster: c0, listen: "127.0.0.1:${writer}", route: primary, inFlight: report }`,
    'users: [{ name: app, password: x }]',
    'workers: 1',
    `http: { listen: "127.0.0.1:${http}" }`,
    '',
  ].join('\n');
}

class Crowd {
  readonly ports: number[][] = [];
  readonly #child: ChildProcess;
  readonly #dead: ((at: number) => void)[] = [];

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(clusters: number, nodes: number, children: ChildProcess[]): Promise<Crowd> {
    const script = fileURLToPath(new URL('support/crowd-of-nodes.ts', import.meta.url));
    const child = started([process.execPath, script, `--clusters=${clusters}`, `--nodes=${nodes}`], children);
    const crowd = new Crowd(child);
    child.stderr?.pipe(process.stderr);
    await new Promise<void>((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`the stand-ins ended with ${String(code)}`)));
      if (child.stdout === null) throw new Error('no pipe');
      createInterface({ input: child.stdout }).on('line', (line) => {
        const told = JSON.parse(line) as number[] | { at: number };
        if (!Array.isArray(told)) return crowd.#dead.shift()?.(told.at);
        crowd.ports.push(told);
        if (crowd.ports.length === clusters) resolve();
      });
    });
    return crowd;
  }

  /** Resolves with the time at which the primary of this cluster was gone. */
  kill(cluster: number): Promise<number> {
    this.#child.stdin?.write(`${cluster}\n`);
    return new Promise((resolve) => this.#dead.push(resolve));
  }
}

interface Status {
  clusters: { name: string; primary: string | null; nodes: { state: string }[] }[];
}

/** Every node is in its place. */
async function settled(http: number, nodes: number): Promise<void> {
  const deadline = performance.now() + READY_DEADLINE_MS;
  for (;;) {
    const response = await fetch(`http://127.0.0.1:${http}/api/v1/clusters`).catch(() => null);
    const status = response?.ok === true ? ((await response.json()) as Status) : { clusters: [] };
    const ok = status.clusters.flatMap((one) => one.nodes).filter(({ state }) => state === 'ok').length;
    if (ok === nodes && status.clusters.every(({ primary }) => primary !== null)) return;
    if (performance.now() > deadline) throw new Error(`only ${ok} of ${nodes} nodes are in order`);
    await pause(500);
  }
}

/** Kills primaries one after the other; how long until each was called dead, by the clocks of one machine. */
async function detections(http: number, crowd: Crowd, deaths: number): Promise<number[]> {
  const abort = new AbortController();
  const calledDead = new Map<string, (at: number) => void>();
  const response = await fetch(`http://127.0.0.1:${http}/api/v1/events`, { signal: abort.signal });
  if (response.body === null) throw new Error('no stream of events');
  void listen(response.body, calledDead).catch(() => undefined);
  try {
    const found: number[] = [];
    for (let i = 0; i < deaths; i++) {
      const cluster = Math.floor((i * crowd.ports.length) / deaths);
      const dead = new Promise<number>((resolve) => calledDead.set(`c${cluster}`, resolve));
      const diedAt = await crowd.kill(cluster);
      const late = pause(DETECTION_DEADLINE_MS).then(() => null);
      const at = await Promise.race([dead, late]);
      if (at === null) throw new Error(`the death of the primary of c${cluster} was not found`);
      found.push(at - diedAt);
    }
    return found;
  } finally {
    abort.abort();
  }
}

interface Told {
  cluster: string | null;
  at: string;
  data: { kind: string; status?: { problems?: { code: string }[] } };
}

async function listen(body: ReadableStream<Uint8Array>, calledDead: Map<string, (at: number) => void>): Promise<void> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of body) {
    text += decoder.decode(chunk, { stream: true });
    const lines = text.split('\n');
    text = lines.pop() ?? '';
    for (const line of lines) {
      if (!line.startsWith('data:')) continue;
      const told = JSON.parse(line.slice('data:'.length)) as Told;
      const dead = told.data?.status?.problems?.some(({ code }) => code === 'primary-dead') === true;
      if (dead && told.cluster !== null) calledDead.get(told.cluster)?.(Date.parse(told.at));
    }
  }
}
