// What stands side by side: the server itself, HAProxy passing TCP through, MySQL Router with connection sharing, and
// Evenkeel with one worker, all on the same server, which is a sandbox of one node, or the primary of one of several. All of them run all the time, and
// are measured in turn.
import mysql, { type RowDataPacket } from 'mysql2/promise';
import { freePorts, type SandboxInfo, withSandbox } from '../../src/sandbox/index.ts';
import { type Evenkeel, inFrontOf } from './cluster.ts';
import { withBare, withHaproxy, withRouter } from './forwarders.ts';
import { withProfiles } from './profile.ts';
import { type Flavor, progress } from './report.ts';
import type { Target } from './sysbench.ts';

/**
 * `bare`: a program in our runtime that passes bytes on. `report`: another endpoint of the same Evenkeel, with `inFlight: report`;
 * `auto` and `uncausal`: with `route: auto`, and with `causal: none`, too.
 */
export const PEER_NAMES = ['direct', 'haproxy', 'bare', 'router', 'evenkeel', 'report', 'auto', 'uncausal'] as const;
export type PeerName = (typeof PEER_NAMES)[number];

export interface Peer {
  name: PeerName;
  target: Target;
  /** Processes that statements pass through; none where clients reach the server itself. */
  pids: number[];
  /** Evenkeel's control process, which no statement passes through. */
  controlPid: number | null;
}

const OTHER_ENDPOINTS: readonly { name: PeerName; route: string }[] = [
  { name: 'report', route: 'route: primary, inFlight: report' },
  { name: 'auto', route: 'route: auto' },
  { name: 'uncausal', route: 'route: auto, causal: none' },
];

export interface PeersOptions {
  /** MySQL Router is left out in front of MariaDB, which it does not support. */
  names: readonly PeerName[];
  /** Servers of the cluster; one where nothing is said. */
  nodes?: number;
  routerThreads?: number;
  /** From clients to proxies and from proxies to the server. MySQL only. */
  tls?: boolean;
  /** More YAML for Evenkeel's configuration file, at the top level. */
  config?: string;
  /** Evenkeel's processes write a profile of their processor time into it when they end. */
  profileDir?: string | undefined;
}

export interface Peers {
  all: Peer[];
  /** The server itself, as the application's account. */
  direct: Target;
  sandbox: SandboxInfo;
  /** The server's data directory. */
  dataDir: string;
  version: string;
}

/** Runs `work` with the peers in front of one server. */
export async function withPeers<T>(
  flavor: Flavor,
  options: PeersOptions,
  work: (peers: Peers) => Promise<T>,
): Promise<T> {
  const { names, nodes = 1, tls = false, config = '', profileDir, routerThreads: threads = 1 } = options;
  return withSandbox({ flavor, nodes, replication: 'async', progress }, async (sandbox) => {
    const node = sandbox.nodes[0];
    if (node === undefined) throw new Error('the sandbox has no node');
    const { user, password, database } = sandbox.app;
    const direct: Target = { host: node.host, port: node.port, user, password, database, tlsFrom: null };
    const dataDir = `${sandbox.dir}/${node.name}/data`;
    if (tls) direct.tlsFrom = dataDir;
    const [version = ''] = await Promise.all(sandbox.nodes.map((each) => makeRoom(sandbox, each)));
    const has = (name: PeerName): boolean => names.includes(name) && (name !== 'router' || flavor === 'mysql');
    const all: Peer[] = [];
    const finish = (): Promise<T> => work({ all, direct, sandbox, dataDir, version });
    if (has('direct')) all.push({ name: 'direct', target: direct, pids: [], controlPid: null });

    const withEvenkeel = async (): Promise<T> => {
      if (!has('evenkeel')) return finish();
      const cluster = tls ? '    serverTls: { mode: required }' : '';
      // The certificate that Router shows, too: sysbench knows whose signature to expect.
      const shown = tls ? `\ntls: { cert: ${dataDir}/server-cert.pem, key: ${dataDir}/server-key.pem }` : '';
      const others = OTHER_ENDPOINTS.filter(({ name }) => has(name));
      const ports = await freePorts(others.length);
      const endpoints = others
        .map(({ name, route }, at) => `  - { name: ${name}, listen: "127.0.0.1:${ports[at]}", ${route} }`)
        .join('\n');
      const setUp = { nodes, replication: 'async', workers: 1, cluster, endpoints, config: config + shown } as const;
      return withProfiles(profileDir, (profiles) =>
        inFrontOf(sandbox, setUp, async (evenkeel: Evenkeel) => {
          const pids = await evenkeel.workerPids();
          profiles.started(pids);
          const target = { ...direct, ...evenkeel.login() };
          all.push({ name: 'evenkeel', target, pids, controlPid: evenkeel.pid });
          for (const [at, { name }] of others.entries()) {
            all.push({ name, target: { ...target, port: ports[at] ?? 0 }, pids, controlPid: evenkeel.pid });
          }
          const value = await finish();
          await profiles.end(() => evenkeel.stop());
          return value;
        }),
      );
    };
    const withRouterToo = (): Promise<T> => {
      if (!has('router')) return withEvenkeel();
      return withRouter(direct, { tls: tls ? { dataDir } : null, threads }, ({ target, pid }) => {
        all.push({ name: 'router', target, pids: [pid], controlPid: null });
        return withEvenkeel();
      });
    };
    const withBareToo = (): Promise<T> => {
      if (!has('bare')) return withRouterToo();
      return withBare(direct, ({ target, pid }) => {
        all.push({ name: 'bare', target, pids: [pid], controlPid: null });
        return withRouterToo();
      });
    };
    if (!has('haproxy')) return withBareToo();
    return withHaproxy(direct, ({ target, pid }) => {
      all.push({ name: 'haproxy', target, pids: [pid], controlPid: null });
      return withBareToo();
    });
  });
}

/** For the clients of one run, and for the server connections that proxies keep after theirs. The server's version. */
async function makeRoom(sandbox: SandboxInfo, node: SandboxInfo['nodes'][number]): Promise<string> {
  const { user, password } = sandbox.admin;
  const connection = await mysql.createConnection({ host: node.host, port: node.port, user, password });
  try {
    await connection.query('SET GLOBAL max_connections = 4000');
    await connection.query('SET GLOBAL table_open_cache = 4000');
    await connection.query('SET GLOBAL max_prepared_stmt_count = 200000');
    // Or the server starts a thread for every login of `connect`, of direct clients alone.
    await connection.query('SET GLOBAL thread_cache_size = 1000');
    const [rows] = await connection.query<RowDataPacket[]>('SELECT VERSION() AS version');
    return String(rows[0]?.['version']);
  } finally {
    connection.destroy();
  }
}

/** Turns the order by one each round, so that nobody is always first. */
export function inTurn<T>(items: readonly T[], round: number): T[] {
  const shift = (round - 1) % Math.max(1, items.length);
  return [...items.slice(shift), ...items.slice(0, shift)];
}
