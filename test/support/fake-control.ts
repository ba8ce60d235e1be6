// A control process that exists only as answers: for tests of HTTP and of the verbs that talk to it.
import { pino } from 'pino';
import {
  type ControlApi,
  type ControlEvent,
  createHttp,
  type DigestCounts,
  type ErrantReport,
  type HttpServer,
  type OperatorOrder,
  type StatusJson,
} from '../../src/http/index.ts';
import type { RecoveryRecord } from '../../src/recovery/types.ts';

export const TOKEN = 'the-token-of-the-tests-0123456789';

export const RECORD: RecoveryRecord = {
  id: 'r-1',
  kind: 'switchover',
  cluster: 'shop',
  from: 'db1:3306',
  to: 'db2:3306',
  epoch: 4,
  outcome: 'done',
  reason: 'asked for',
  startedAt: '2030-01-01T00:00:00.000Z',
  durationMs: 120,
  longestStallMs: 45,
  clientErrors: 0,
  steps: [
    { name: 'check', startedMs: 0, durationMs: 20, detail: '' },
    { name: 'promote', startedMs: 80, durationMs: 10, detail: 'db2:3306' },
  ],
};

export const STATUS: StatusJson = {
  clusters: [
    {
      name: 'shop',
      epoch: 3,
      state: 'degraded',
      primary: 'db1:3306',
      flavor: 'mysql',
      topology: 'replication',
      durability: 'semisync',
      recovery: 'automatic',
      maintenance: null,
      nodes: [
        {
          node: 'db1:3306',
          role: 'primary',
          state: 'ok',
          lagMs: 0,
          gtid: `${'a'.repeat(36)}:1-10`,
          detail: '',
          leaving: null,
          maintenance: null,
        },
        {
          node: 'db2:3306',
          role: 'replica',
          state: 'replication-broken',
          lagMs: null,
          gtid: '',
          detail: 'bad \u001b[31m row',
          leaving: null,
          maintenance: null,
        },
      ],
      problems: [{ code: 'replica-broken', node: 'db2:3306', text: 'db2:3306 is broken' }],
    },
  ],
  endpoints: [
    {
      name: 'writer',
      cluster: 'shop',
      listen: '127.0.0.1:6446',
      route: 'primary',
      clients: 7,
      held: 1,
      statements: 100,
      errors: 0,
      pinned: { transaction: 1, 'temporary-table': 3 },
      paused: null,
    },
  ],
};

const ERRANT: ErrantReport = {
  node: '',
  count: 2,
  gtids: '0-2-1, 0-2-2',
  transactions: [
    { gtid: '0-2-1', statements: ['CREATE TABLE t (n INT)'], tables: [] },
    { gtid: '0-2-2', statements: [], tables: [{ table: 'app.t', did: ['insert', 'delete'] }] },
  ],
  note: '',
};

const DIGEST: DigestCounts = {
  endpoint: 'writer',
  user: 'app',
  schema: 'shop',
  statement: 'select n from t where id = ?',
  count: 3,
  errors: 1,
  totalMs: 6,
  longestMs: 4,
};

export const DIGESTS: readonly DigestCounts[] = [DIGEST, { ...DIGEST, user: '', schema: null, statement: '' }];

export interface FakeControl extends ControlApi {
  emit(event: ControlEvent): void;
  /** The orders that were carried out. */
  orders: { kind: string; cluster: string; options: object }[];
  /** Replaces what an order comes to. */
  onOrder: () => Promise<RecoveryRecord>;
  /** Replaces what an order that stands answers. */
  onStanding: (about: Pick<OperatorOrder, 'order' | 'of'>) => OperatorOrder;
  isReady: boolean;
}

export function fakeControl(): FakeControl {
  const listeners = new Set<(event: ControlEvent) => void>();
  const order = (kind: string) => (cluster: string, options: object) => {
    fake.orders.push({ kind, cluster, options });
    return fake.onOrder();
  };
  const fake: FakeControl = {
    orders: [],
    onOrder: () => Promise.resolve(RECORD),
    onStanding: (about) => ({ ...about, state: 'begun', by: 'operator', until: '2030-01-01T00:00:00.000Z' }),
    isReady: true,
    emit: (event) => listeners.forEach((listener) => listener(event)),
    status: () => STATUS,
    ready: () => ({ ready: fake.isReady, reasons: fake.isReady ? [] : ['cluster shop has no primary'] }),
    history: ({ cluster, limit }) =>
      [RECORD].filter((one) => cluster === undefined || one.cluster === cluster).slice(0, limit),
    recovery: (id) => (id === RECORD.id ? RECORD : null),
    digests: ({ limit }) => Promise.resolve(DIGESTS.slice(0, limit)),
    switchover: order('switchover'),
    failover: order('failover'),
    maintenance: (cluster, options) => {
      fake.orders.push({ kind: 'maintenance', cluster, options });
      return fake.onStanding({ order: 'maintenance', of: options.node ?? cluster });
    },
    drain: (cluster, options) => {
      fake.orders.push({ kind: 'drain', cluster, options });
      return Promise.resolve({
        ...fake.onStanding({ order: 'drain', of: options.node }),
        ended: 3,
        switchover: RECORD,
      });
    },
    errant: (cluster, options) => {
      fake.orders.push({ kind: 'errant', cluster, options });
      return Promise.resolve({ ...ERRANT, node: options.node });
    },
    rebuild: order('rebuild'),
    addNode: order('add-node'),
    removeNode: (cluster, options) => {
      fake.orders.push({ kind: 'remove-node', cluster, options });
      return Promise.resolve(fake.onStanding({ order: 'remove-node', of: options.node }));
    },
    undrain: (cluster, options) => {
      fake.orders.push({ kind: 'undrain', cluster, options });
      return { ...fake.onStanding({ order: 'drain', of: options.node }), state: 'ended' };
    },
    pause: (endpoint, options) => {
      fake.orders.push({ kind: 'pause', cluster: endpoint, options });
      return Promise.resolve({ ...fake.onStanding({ order: 'pause', of: endpoint }), inProgress: 2 });
    },
    resume: (endpoint) => {
      fake.orders.push({ kind: 'resume', cluster: endpoint, options: {} });
      return Promise.resolve({ ...fake.onStanding({ order: 'pause', of: endpoint }), state: 'ended' });
    },
    metrics: () => Promise.resolve('evenkeel_up 1\n'),
    subscribe: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
  return fake;
}

export function stepEvent(index: number): ControlEvent {
  const step = RECORD.steps[index] ?? { name: `step ${index}`, startedMs: index, durationMs: 1, detail: '' };
  const at = '2030-01-01T00:00:00.000Z';
  return { type: 'recovery-step', at, cluster: 'shop', data: { kind: 'recovery-step', recovery: RECORD.id, step } };
}

export interface FakeServer extends AsyncDisposable {
  control: FakeControl;
  server: HttpServer;
  base: string;
  port: number;
}

/** Serves a fake control process on a free port. */
export async function serveFake(options: { host?: string; heartbeatMs?: number } = {}): Promise<FakeServer> {
  const control = fakeControl();
  const server = createHttp({
    http: { host: options.host ?? '127.0.0.1', port: 0 },
    api: control,
    token: TOKEN,
    log: pino({ level: 'silent' }),
    ...(options.heartbeatMs === undefined ? {} : { heartbeatMs: options.heartbeatMs }),
  });
  const { port } = await server.listen();
  return { control, server, port, base: `http://127.0.0.1:${port}`, [Symbol.asyncDispose]: () => server.close() };
}
