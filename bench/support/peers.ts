// What stands side by side: the server itself, HAProxy passing TCP through with one thread, and Evenkeel with one
// worker, all three on the same server. Nobody speaks TLS: HAProxy in TCP mode would pass it on without looking.
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import mysql from 'mysql2/promise';
import { findTool, freePorts } from '../../src/sandbox/index.ts';
import { type Evenkeel, serverVersion, until, withEvenkeel } from './cluster.ts';
import { cpuMs, killNow, onExit, residentMiB } from './processes.ts';
import { type Flavor, progress } from './report.ts';
import { Sysbench, type Target } from './sysbench.ts';

export type PeerName = 'direct' | 'haproxy' | 'evenkeel';

export interface Peer {
  name: PeerName;
  target: Target;
  /** Processes that statements pass through; none where clients reach the server itself. */
  pids: number[];
  /** Evenkeel's control process, which no statement passes through. */
  controlPid: number | null;
}

export interface Peers {
  all: Peer[];
  sysbench: Sysbench;
  version: string;
}

/** Runs `work` with all three in front of one server with sysbench's table in it. */
export async function withPeers<T>(flavor: Flavor, work: (peers: Peers) => Promise<T>): Promise<T> {
  const sysbench = await Sysbench.find(progress);
  const options = {
    flavor,
    nodes: 1,
    replication: 'async',
    workers: 1,
  } as const;
  return withEvenkeel(options, async (evenkeel) => {
    const node = evenkeel.sandbox.nodes[0];
    if (node === undefined) throw new Error('the sandbox has no node');
    const { user, password, database } = evenkeel.sandbox.app;
    const direct: Target = { host: node.host, port: node.port, user, password, database };
    await makeRoom(evenkeel, node);
    await sysbench.prepare(direct);
    return withHaproxy(direct, async (haproxy) =>
      work({
        all: [
          { name: 'direct', target: direct, pids: [], controlPid: null },
          haproxy,
          { name: 'evenkeel', target: evenkeel.login(), pids: await evenkeel.workerPids(), controlPid: evenkeel.pid },
        ],
        sysbench,
        version: await serverVersion(evenkeel),
      }),
    );
  });
}

/** For the clients of one run, and for the server connections that Evenkeel keeps after its own. */
async function makeRoom(evenkeel: Evenkeel, node: Evenkeel['sandbox']['nodes'][number]): Promise<void> {
  const connection = await mysql.createConnection(evenkeel.direct(node));
  await connection.query('SET GLOBAL max_connections = 2000').finally(() => connection.destroy());
}

async function withHaproxy<T>(server: Target, work: (peer: Peer) => Promise<T>): Promise<T> {
  const { argv0, env } = await findTool('haproxy', progress);
  const dir = await mkdtemp(join(tmpdir(), 'evenkeel-haproxy-'));
  const [port = 0] = await freePorts(1);
  const file = join(dir, 'haproxy.cfg');
  await writeFile(
    file,
    `global
  nbthread 1
  maxconn 4000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen mysql
  bind 127.0.0.1:${port}
  server node ${server.host}:${server.port}
`,
  );
  const [program = '', ...args] = argv0;
  const child = spawn(program, [...args, '-db', '-q', '-f', file], {
    env: { ...process.env, ...env },
    stdio: 'ignore',
  });
  const pid = child.pid ?? -1;
  const forget = onExit(() => {
    killNow(pid);
    rmSync(dir, { recursive: true, force: true });
  });
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  try {
    await until('HAProxy to listen', 10_000, () => listens(port));
    return await work({ name: 'haproxy', target: { ...server, port }, pids: [pid], controlPid: null });
  } finally {
    child.kill('SIGKILL');
    await exited;
    forget();
    await rm(dir, { recursive: true, force: true });
  }
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

export interface Cost {
  /** Of the processes that statements pass through. */
  cpuMs: number;
  residentMiB: number;
  controlCpuMs: number;
  controlResidentMiB: number;
}

/** Runs `work` and says what it cost the proxy. */
export async function costOf<T>(peer: Peer, work: () => Promise<T>): Promise<{ value: T; cost: Cost }> {
  const controls = peer.controlPid === null ? [] : [peer.controlPid];
  const before = { proxy: total(peer.pids, cpuMs), control: total(controls, cpuMs) };
  const value = await work();
  return {
    value,
    cost: {
      cpuMs: total(peer.pids, cpuMs) - before.proxy,
      residentMiB: total(peer.pids, residentMiB),
      controlCpuMs: total(controls, cpuMs) - before.control,
      controlResidentMiB: total(controls, residentMiB),
    },
  };
}

function total(pids: readonly number[], read: (pid: number) => number): number {
  return pids.reduce((all, pid) => all + read(pid), 0);
}

/** Turns the order by one each round, so that nobody is always first. */
export function inTurn<T>(items: readonly T[], round: number): T[] {
  const shift = (round - 1) % items.length;
  return [...items.slice(shift), ...items.slice(0, shift)];
}
