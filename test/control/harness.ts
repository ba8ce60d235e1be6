// A control process with fake workers (real processes) and a fake monitor, and the verbs that tests need.
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Claim, CommitHealth, NodeRebuilder } from '../../src/cluster/index.ts';
import type {
  ClusterView,
  NodeControl,
  NodeFacts,
  NodeObservation,
  NodeState,
  NodeView,
  PrimaryHealth,
  ServerGreeting,
} from '../../src/cluster/types.ts';
import type { Config } from '../../src/config/types.ts';
import { type ControlParts, type ControlProcess, startControlWith } from '../../src/control/control.ts';
import { type Log, type Monitor, systemClock } from '../../src/control/ports.ts';
import type { Account, NodeAddress } from '../../src/messages/index.ts';
import type { RecoveryContext, RecoveryRecord } from '../../src/recovery/index.ts';
import { freePorts } from '../../src/sandbox/index.ts';
import { openEmbeddedStore } from '../../src/store/index.ts';
import type { FakeOrder, FakeState } from './fake-worker.ts';
import { onLine } from './lines.ts';

export const silentLog: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/** Waits for `condition` to give something else than undefined or false. Fails past the deadline. */
export async function until<T>(
  what: string,
  condition: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 15_000,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const found = await condition();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > deadline) throw new Error(`not in time: ${what}`);
    await pause(10);
  }
}

export function facts(over: Partial<NodeFacts> = {}): NodeFacts {
  return {
    flavor: 'mysql',
    version: '9.7.0',
    serverId: 1,
    identity: 'a',
    startedAtMs: 1000,
    readOnly: false,
    superReadOnly: false,
    gtidExecuted: '',
    gtidPosition: '',
    logBin: true,
    logReplicaUpdates: true,
    replication: null,
    semiSync: null,
    replicas: [],
    ...over,
  };
}

/** One node as a monitor shows it. */
export function nodeView(
  node: NodeAddress,
  role: NodeView['role'],
  state: NodeState = 'ok',
  over: Partial<NodeFacts> = {},
): NodeView {
  const observation: NodeObservation = {
    node,
    at: performance.now(),
    reach: state === 'unreachable' ? { state: 'refused', error: 'ECONNREFUSED' } : { state: 'up', rttMs: 1 },
    facts: facts({ readOnly: role !== 'primary' && state !== 'second-writer', identity: node, ...over }),
    factsAt: performance.now(),
  };
  return { node, role, state, detail: '', lagMs: role === 'primary' ? 0 : 5, gtid: '', observation };
}

/** A monitor that shows what a test wants it to. */
export class FakeMonitor implements Monitor {
  shown: ClusterView;
  health: PrimaryHealth = { state: 'alive' };
  looks: NodeAddress[] = [];
  /** What a look does before it ends, e.g. to show something else. */
  onLook: (node: NodeAddress) => void = () => {};
  heard: string[] = [];
  found: Account[] = [];
  primaries: (NodeAddress | null)[] = [];
  nodeControl: NodeControl = {
    look: (node) => {
      const seen = this.shown.nodes.find((each) => each.node === node)?.observation;
      return seen?.reach.state === 'up' && seen.facts
        ? Promise.resolve(seen.facts)
        : Promise.reject(new Error('does not answer'));
    },
    setReadOnly: () => Promise.resolve(),
    setWritable: () => Promise.resolve(),
    killClients: () => Promise.resolve(0),
    waitForGtid: () => Promise.resolve(true),
    applyAllReceived: () => Promise.resolve(true),
    detachFromSource: () => Promise.resolve(),
    follow: () => Promise.resolve(),
    setSemiSyncRole: () => Promise.resolve(),
    rotateBinlog: () => Promise.resolve(),
    electMember: () => Promise.resolve(),
    joinGroup: () => Promise.resolve(),
    syncWithCluster: () => Promise.resolve(),
    globals: () => Promise.resolve({}),
    keepLedger: () => Promise.resolve(),
  };
  rebuilder: NodeRebuilder = {
    errant: (node) => Promise.resolve({ node, count: 0, gtids: '', transactions: [], note: '' }),
    inspect: () => Promise.resolve({ flavor: 'mysql', version: '9.7.0', serverId: 9, databases: [] }),
    clone: () => Promise.resolve('restarts'),
    cloneError: () => Promise.resolve(null),
  };
  removed: NodeAddress[] = [];
  admitted: NodeAddress[] = [];
  readonly #callbacks = new Set<() => void>();

  constructor(nodes: NodeView[] = [nodeView('a:1', 'primary'), nodeView('b:1', 'replica')]) {
    const primary = nodes.find(({ role }) => role === 'primary')?.node ?? null;
    this.shown = { cluster: 'shop', flavor: 'mysql', primary, nodes, problems: [] };
  }

  start(): void {}
  stop(): Promise<void> {
    return Promise.resolve();
  }
  view(): ClusterView {
    return this.shown;
  }
  primaryHealth(): PrimaryHealth {
    return this.health;
  }
  claim(): Claim {
    return { owner: 'us' };
  }
  commitHealth(): CommitHealth {
    return { state: 'unknown', why: 'a fake' };
  }
  onChange(callback: () => void): () => void {
    this.#callbacks.add(callback);
    return () => this.#callbacks.delete(callback);
  }
  lookNow(node: NodeAddress): Promise<NodeObservation> {
    this.looks.push(node);
    this.onLook(node);
    const seen = this.shown.nodes.find((each) => each.node === node)?.observation;
    return seen ? Promise.resolve(seen) : Promise.reject(new Error('no such node'));
  }
  evidence(kind: string, node: NodeAddress): void {
    this.heard.push(`${kind} ${node}`);
  }
  removeNode(node: NodeAddress): void {
    this.removed.push(node);
    this.show(this.shown.nodes.filter((each) => each.node !== node));
  }
  admitNode(node: NodeAddress): void {
    this.admitted.push(node);
  }
  setPrimary(node: NodeAddress | null): void {
    this.primaries.push(node);
    this.shown = { ...this.shown, primary: node };
  }
  accounts(): Promise<Account[]> {
    return Promise.resolve(this.found);
  }
  greeting(): ServerGreeting | null {
    return { version: '9.7.0', collation: 255 };
  }

  /** Shows other nodes; `health` and `primary` stay unless given. */
  show(nodes: NodeView[], over: { health?: PrimaryHealth; primary?: NodeAddress | null } = {}): void {
    this.shown = { ...this.shown, nodes, ...(over.primary === undefined ? {} : { primary: over.primary }) };
    if (over.health) this.health = over.health;
    for (const callback of this.#callbacks) callback();
  }
}

export function record(context: RecoveryContext, over: Partial<RecoveryRecord>): RecoveryRecord {
  return {
    id: `r${Math.random()}`,
    kind: 'failover',
    cluster: context.cluster,
    from: null,
    to: null,
    epoch: 0,
    outcome: 'done',
    reason: 'test',
    startedAt: new Date(0).toISOString(),
    durationMs: 1,
    longestStallMs: 1,
    clientErrors: 0,
    steps: [],
    ...over,
  };
}

export type FakeRecoveries = ControlParts['recoveries'];

/** Recoveries that are not expected to run. */
export function noRecoveries(over: Partial<FakeRecoveries> = {}): FakeRecoveries {
  const unexpected = () => Promise.reject(new Error('this recovery was not expected'));
  return {
    switchover: unexpected,
    failover: unexpected,
    rejoin: unexpected,
    reinstate: unexpected,
    semisync: unexpected,
    rebuild: unexpected,
    ...over,
  };
}

/** Not one that the kernel might give to an outgoing connection meanwhile. */
export async function freePort(): Promise<number> {
  const [port = 0] = await freePorts(1);
  return port;
}

export function temporaryDir(): { dir: string; remove: () => void } {
  const dir = mkdtempSync(join(tmpdir(), 'ek-'));
  return { dir, remove: () => rmSync(dir, { recursive: true, force: true }) };
}

export function testConfig(stateDir: string, port: number, over: Partial<Config> = {}): Config {
  return {
    file: null,
    rules: [],
    clusters: [
      {
        name: 'shop',
        seeds: ['a:1'],
        admin: { user: 'admin', password: 'secret' },
        durability: 'none',
        semisync: { acks: 1, timeoutMs: 1_000_000_000 },
        nodes: [],
        recovery: 'automatic',
        serverTls: { mode: 'off' },
        probe: { intervalMs: 100, timeoutMs: 500, silentAfterMs: 1500 },
        heartbeat: { enabled: false, intervalMs: 500, deadlineMs: 2_000, degradedAfterMs: 30_000 },
        failover: { unfenced: 'promote', minIntervalMs: 0, maxFailures: 5 },
        switchover: { drainTimeoutMs: 500, catchUpTimeoutMs: 1000, maxLagMs: 1000, degraded: 'tell' },
      },
    ],
    endpoints: [
      { name: 'writer', cluster: 'shop', host: '127.0.0.1', port, route: { kind: 'primary' }, inFlight: 'report' },
    ],
    users: 'cluster',
    hold: { timeoutMs: 30_000, maxStatements: 1000, maxBytes: 1 << 20 },
    replay: { maxStatements: 1000, maxBytes: 1 << 20 },
    pool: {
      maxPerNode: 8,
      maxConnecting: 2,
      connectRate: 100,
      connectTimeoutMs: 1000,
      idleTimeoutMs: 60_000,
      minPerAccount: 1,
      maxLifetimeMs: 3_600_000,
      maxPreparedPerConnection: 200,
      pipelining: true,
    },
    limits: {
      maxClients: 100,
      maxPacketBytes: 1 << 20,
      handshakeTimeoutMs: 1000,
      maxUnauthenticated: 10,
      clientBufferBytes: 1 << 16,
    },
    workers: 2,
    http: { host: '127.0.0.1', port: 0, token: null },
    tls: null,
    stateDir,
    store: 'embedded',
    log: { level: 'info' },
    shutdownTimeoutMs: 1000,
    ...over,
  };
}

export interface TestControl {
  control: ControlProcess;
  monitor: FakeMonitor;
}

export async function startTestControl(
  config: Config,
  over: {
    monitor?: FakeMonitor;
    onMonitor?: (options: { removed: readonly NodeAddress[] }) => void;
    recoveries?: Partial<FakeRecoveries>;
    timeouts?: ControlParts['timeouts'];
  } = {},
): Promise<TestControl> {
  const monitor = over.monitor ?? new FakeMonitor();
  const control = await startControlWith(config, silentLog, {
    monitor: (options) => {
      over.onMonitor?.(options);
      return monitor;
    },
    recoveries: noRecoveries(over.recoveries),
    openStore: openEmbeddedStore,
    workerEntry: new URL('fake-worker.ts', import.meta.url),
    clock: systemClock,
    timeouts: { settleMs: 100, reconnectMs: 2000, ...over.timeouts },
  });
  return { control, monitor };
}

/** Gives a fake worker an order; resolves with its state after it. */
export function order(stateDir: string, worker: number, what: FakeOrder = { do: 'state' }): Promise<FakeState> {
  return new Promise((resolve, reject) => {
    const socket = connect(join(stateDir, `worker-${worker}.sock`));
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('the worker is gone')));
    onLine(socket, (line) => {
      socket.destroy();
      resolve(JSON.parse(line) as FakeState);
    });
    socket.write(`${JSON.stringify(what)}\n`);
  });
}

/** The state of a fake worker, or undefined while it cannot be asked: for `until`. */
export function stateOf(stateDir: string, worker: number): Promise<FakeState | undefined> {
  return order(stateDir, worker).catch(() => undefined);
}
