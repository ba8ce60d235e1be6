// Clients that are logged in and do nothing: how long until all of them are, and what each holds in the worker.
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type Figure, number } from './support/figures.ts';
import { judgeAll } from './support/matrix.ts';
import { settledMiB } from './support/memory.ts';
import { type Peer, withPeers } from './support/peers.ts';
import { killNow, leashed, makeRoomForFiles, onExit } from './support/processes.ts';
import {
  type CommonOptions,
  eachFlavor,
  eachRound,
  type Flavor,
  type FlavorResult,
  progress,
  type Result,
} from './support/report.ts';
import type { Target } from './support/sysbench.ts';

export interface IdleOptions extends CommonOptions {
  clients: number;
}

interface Round {
  loginSeconds: number;
  beforeMiB: number;
  afterMiB: number;
  kibPerClient: number;
  controlMiB: number;
}

const CLIENT_PROCESSES = 2;
/** What the worker needs once, whatever the number of clients, is there before they come. */
const WARM_CLIENTS = 1000;
const SETTLE_DEADLINE_MS = 60_000;
const LOGIN_DEADLINE_MS = 180_000;

export async function benchIdle(options: IdleOptions): Promise<Result> {
  const results = await eachFlavor(options.flavors, (flavor) => measureFlavor(flavor, options));
  const { rounds, clients } = options;
  return {
    benchmark: 'idle',
    title: 'Idle clients, logged in, without TLS',
    settings: { rounds, clients, 'Evenkeel workers': 1 },
    results,
  };
}

async function measureFlavor(flavor: Flavor, options: IdleOptions): Promise<FlavorResult> {
  const { clients, rounds } = options;
  makeRoomForFiles(clients + 2000);
  const config = `limits: { maxClients: ${clients + 1000} }`;
  let version = 'unknown';
  // A worker gives back little of the memory that it once had: each round has a new one.
  const { done, failed } = await eachRound(rounds, `idle ${flavor}`, async () =>
    withPeers(flavor, { names: ['evenkeel'], config }, async ({ all: [peer], version: it }) => {
      if (peer === undefined) throw new Error('there is no Evenkeel');
      version = it;
      const value = await measureRound(peer, clients);
      return {
        value,
        line: `all in after ${value.loginSeconds.toFixed(1)} s, ${number(value.kibPerClient)} KiB each`,
      };
    }),
  );
  return { flavor, version, failedRounds: failed, figures: judgeAll(figuresOf(done), failed), rounds: done };
}

async function measureRound(peer: Peer, clients: number): Promise<Round> {
  const pid = peer.pids[0] ?? -1;
  const warm = await Crowd.gather(peer.target, Math.min(WARM_CLIENTS, clients));
  await warm.leave();
  const beforeMiB = await settledMiB(pid, SETTLE_DEADLINE_MS);
  const begun = performance.now();
  const crowd = await Crowd.gather(peer.target, clients);
  try {
    const loginSeconds = (performance.now() - begun) / 1000;
    progress(
      `idle: ${clients} logged in after ${loginSeconds.toFixed(1)} s; waiting for the worker's memory to settle`,
    );
    const afterMiB = await settledMiB(pid, SETTLE_DEADLINE_MS);
    const kibPerClient = ((afterMiB - beforeMiB) * 1024) / clients;
    const controlMiB = peer.controlPid === null ? Number.NaN : await settledMiB(peer.controlPid, 5000);
    return { loginSeconds, beforeMiB, afterMiB, kibPerClient, controlMiB };
  } finally {
    await crowd.leave();
  }
}

/** Logged-in clients in processes of their own, so that their memory and their work are nobody else's. */
class Crowd {
  readonly #children: ChildProcess[] = [];
  readonly #forget: (() => void)[] = [];

  /** Resolves when all of them are logged in. */
  static async gather(target: Target, clients: number): Promise<Crowd> {
    const crowd = new Crowd();
    const share = Math.ceil(clients / CLIENT_PROCESSES);
    try {
      const each = Array.from({ length: CLIENT_PROCESSES }, (_, i) => Math.min(share, clients - i * share));
      await Promise.all(each.filter((count) => count > 0).map((count) => crowd.#send(target, count)));
      return crowd;
    } catch (error) {
      await crowd.leave();
      throw error;
    }
  }

  async leave(): Promise<void> {
    await Promise.all(
      this.#children.map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const gone = new Promise((resolve) => child.once('exit', resolve));
        child.kill('SIGKILL');
        await gone;
      }),
    );
    for (const forget of this.#forget) forget();
  }

  #send(target: Target, clients: number): Promise<void> {
    const script = fileURLToPath(new URL('./support/idle-clients.ts', import.meta.url));
    const argv = leashed([process.execPath, '--disable-warning=ExperimentalWarning', script]);
    const child = spawn(argv[0] ?? '', argv.slice(1), { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#children.push(child);
    this.#forget.push(onExit(() => killNow(child.pid ?? -1)));
    child.stdin?.on('error', () => {});
    // Not as an argument: others could read the password.
    child.stdin?.end(JSON.stringify({ ...target, clients }));
    return new Promise((resolve, reject) => {
      let said = '';
      const timer = setTimeout(() => reject(new Error(`not all logged in; so far ${said}`)), LOGIN_DEADLINE_MS);
      const settle = (error: Error | null): void => {
        clearTimeout(timer);
        if (error === null) resolve();
        else reject(error);
      };
      const take = (chunk: Buffer): void => {
        said = (said + chunk.toString()).slice(-500);
        if (said.includes('all logged in')) settle(null);
      };
      child.stdout?.on('data', take);
      child.stderr?.on('data', take);
      child.once('error', settle);
      child.once('exit', () => settle(new Error(`the clients' process ended: ${said}`)));
    });
  }
}

function figuresOf(rounds: readonly Round[]): Figure[] {
  const of = (read: (round: Round) => number): number[] => rounds.map(read);
  return [
    {
      name: 'until all are logged in',
      unit: 's',
      samples: of((r) => r.loginSeconds),
      aims: [{ of: 'max', atMost: 20 }],
    },
    {
      name: "the worker's memory for each",
      unit: 'KiB',
      samples: of((r) => r.kibPerClient),
      aims: [{ of: 'max', atMost: 8 }],
    },
    { name: 'the worker before', unit: 'MiB', samples: of((r) => r.beforeMiB) },
    { name: 'the worker after', unit: 'MiB', samples: of((r) => r.afterMiB) },
    { name: 'the control process after', unit: 'MiB', samples: of((r) => r.controlMiB) },
  ];
}
