// The keys of the file, their notations, ranges and defaults (design.md section 3). One setting at a time;
// what two settings say together is judged in contradictions.ts. Keys are the file's; load.ts turns them into Config.
import { z } from 'zod';
import {
  type Address,
  Complaint,
  formatAddress,
  isWhat,
  readAddress,
  readCount,
  readDuration,
  readName,
  readSecret,
  readSize,
  readText,
} from './units.ts';

/** Marks an issue whose message is a finished sentence of ours. */
const OURS = { ours: true } as const;

export function isOurs(params: unknown): boolean {
  return typeof params === 'object' && params !== null && 'ours' in params;
}

/** A scalar that `read` understands or complains about. */
function scalar<T>(read: (value: unknown) => T | Complaint) {
  return z.unknown().transform((value, context): T => {
    const result = read(value);
    if (!(result instanceof Complaint)) return result;
    context.addIssue({ code: 'custom', message: result.toString(), params: OURS });
    return z.NEVER;
  });
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
/** Milliseconds in 32 bits. */
const MAX_SEMISYNC_TIMEOUT = 4_294_967_000;
const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

const duration = (min: number, max: number) => scalar((value) => readDuration(value, { min, max }));
const size = (min: number, max: number) => scalar((value) => readSize(value, { min, max }));
const count = (min: number, max: number) => scalar((value) => readCount(value, { min, max }));
const secret = scalar(readSecret);
const text = (what: string) => scalar((value) => readText(value, what));
const name = scalar(readName);

function word<const T extends string>(...words: T[]) {
  return scalar((value): T | Complaint => {
    const known = words.find((candidate) => candidate === value);
    if (known !== undefined) return known;
    const wrong = typeof value === 'string' ? `${JSON.stringify(value.slice(0, 40))} is not known here` : isWhat(value);
    return new Complaint(wrong, `write ${words.join(' or ')}`);
  });
}

const flag = scalar((value): boolean | Complaint => {
  if (typeof value === 'boolean') return value;
  if (value === 'true' || value === 'false') return value === 'true';
  return new Complaint(isWhat(value), 'write true or false');
});

const node = scalar((value): string | Complaint => {
  const address = readAddress(value, { defaultPort: 3306 });
  return address instanceof Complaint ? address : formatAddress(address);
});
const listen = scalar((value): Address | Complaint => readAddress(value));
const httpListen = scalar((value): Address | Complaint => readAddress(value, { anyPort: true }));

export const clusterSchema = z.strictObject({
  seeds: z.array(node).min(1).max(64),
  admin: z.strictObject({ user: text('the account that Evenkeel itself uses'), password: secret }),
  durability: word('none', 'semisync', 'cross-zone', 'detect').default('detect'),
  semisync: z
    .strictObject({
      acks: count(1, 16).default(1),
      // As good as for ever, and what every version accepts.
      timeout: duration(1 * SECOND, MAX_SEMISYNC_TIMEOUT).default(1_000_000 * SECOND),
    })
    .prefault({}),
  nodes: z
    .array(
      z.strictObject({
        node,
        zone: name.optional(),
        promotion: word('prefer', 'neutral', 'avoid', 'never').default('neutral'),
        tier: count(0, 100).default(1),
      }),
    )
    .max(64)
    .default([]),
  recovery: word('automatic', 'observe').default('automatic'),
  serverTls: z
    .strictObject({
      mode: word('as-client', 'off', 'preferred', 'required', 'verify-ca', 'verify-identity').default('as-client'),
      ca: text('the path of a PEM file').optional(),
    })
    .default({ mode: 'as-client' }),
  probe: z
    .strictObject({
      interval: duration(20, MINUTE).default(100),
      timeout: duration(50, MINUTE).default(1 * SECOND),
      silentAfter: duration(100, 10 * MINUTE).default(1500),
    })
    .prefault({}),
  heartbeat: z
    .strictObject({
      enabled: flag.default(true),
      interval: duration(100, MINUTE).default(500),
      deadline: duration(500, 10 * MINUTE).default(2 * SECOND),
      degradedAfter: duration(SECOND, 24 * HOUR).default(30 * SECOND),
    })
    .prefault({}),
  failover: z
    .strictObject({
      unfenced: word('promote', 'wait', 'refuse').default('promote'),
      minInterval: duration(0, HOUR).default(MINUTE),
      maxFailures: count(1, 1000).default(5),
    })
    .prefault({}),
  switchover: z
    .strictObject({
      drainTimeout: duration(0, 10 * MINUTE).default(5 * SECOND),
      catchUpTimeout: duration(1 * SECOND, HOUR).default(MINUTE),
      maxLag: duration(0, HOUR).default(10 * SECOND),
      degraded: word('tell', 'move').default('tell'),
    })
    .prefault({}),
});

export type ClusterInput = z.output<typeof clusterSchema>;

export const endpointSchema = z.strictObject({
  name,
  cluster: name.optional(),
  listen,
  route: z.union([z.array(node).min(1).max(64), word('primary', 'replica', 'auto')]),
  maxLag: duration(0, HOUR).optional(),
  fallbackToPrimary: flag.optional(),
  zone: name.optional(),
  causal: word('session', 'global', 'none').optional(),
  causalTimeout: duration(1, MINUTE).optional(),
  inFlight: word('exactly-once', 'report').optional(),
});

export type EndpointInput = z.output<typeof endpointSchema>;

/** One name, or a list of them. */
const names = (what: string) =>
  scalar((value): string[] | Complaint => {
    const read = (Array.isArray(value) ? value : [value]).map((one: unknown) => readText(one, what));
    const wrong = read.find((one) => one instanceof Complaint);
    if (wrong !== undefined) return wrong;
    return read.length === 0 ? new Complaint('is an empty list', `write ${what}, or leave it out`) : (read as string[]);
  });

const rule = z.strictObject({
  name,
  endpoint: names('the name of an endpoint').optional(),
  user: names('the name of an account').optional(),
  schema: names('the name of a schema').optional(),
  statement: text('an example of the statements that are meant').optional(),
  route: word('primary', 'replica').optional(),
  timeout: duration(1, 24 * HOUR).optional(),
  refuse: text('the text that clients are told').optional(),
  maxPerSecond: count(1, 10_000_000).optional(),
});

export type RuleInput = z.output<typeof rule>;

const user = z.strictObject({
  name: text('the name of the account'),
  password: secret,
  hosts: z.array(text('a host pattern as in CREATE USER, such as `%` or `10.0.%`')).min(1).max(1000).default(['%']),
});

/** Everything but `clusters` and `endpoints`, which load.ts takes apart itself so that one bad entry hides no other. */
export const settingsSchemas = {
  rules: z.array(rule).max(1000).default([]),
  users: z.union([z.literal('cluster'), z.array(user).min(1).max(100_000)]).default('cluster'),
  hold: z
    .strictObject({
      timeout: duration(100, HOUR).default(30 * SECOND),
      maxStatements: count(1, 10_000_000).default(10_000),
      maxBytes: size(64 * KIB, 64 * GIB).default(64 * MIB),
    })
    .prefault({}),
  replay: z
    .strictObject({
      maxStatements: count(0, 1_000_000).default(1000),
      maxBytes: size(0, GIB).default(MIB),
    })
    .prefault({}),
  pool: z
    .strictObject({
      maxPerNode: count(1, 100_000).default(64),
      maxConnecting: count(1, 10_000).default(8),
      connectRate: count(1, 1_000_000).default(500),
      connectTimeout: duration(50, 10 * MINUTE).default(5 * SECOND),
      idleTimeout: duration(1 * SECOND, 24 * HOUR).default(MINUTE),
      minPerAccount: count(0, 10_000).default(1),
      maxLifetime: duration(10 * SECOND, 24 * HOUR).default(HOUR),
      maxPreparedPerConnection: count(1, 100_000).default(200),
      pipelining: flag.default(true),
    })
    .prefault({}),
  limits: z
    .strictObject({
      maxClients: count(1, 1_000_000).default(10_000),
      // As large as the protocol's own limit: the servers' max_allowed_packet decides.
      maxPacket: size(16 * KIB, GIB).default(GIB),
      handshakeTimeout: duration(100, 10 * MINUTE).default(10 * SECOND),
      maxUnauthenticated: count(1, 1_000_000).default(1000),
      clientBuffer: size(16 * KIB, GIB).default(MIB),
    })
    .prefault({}),
  workers: z.union([z.literal('auto'), count(1, 256)]).default('auto'),
  http: z
    .strictObject({
      listen: httpListen.default({ host: '127.0.0.1', port: 6460 }),
      token: secret.optional(),
    })
    .prefault({}),
  tls: z
    .strictObject({
      cert: text('the path of a PEM file'),
      key: text('the path of a PEM file'),
      minVersion: word('TLSv1.2', 'TLSv1.3').default('TLSv1.2'),
    })
    .optional(),
  stateDir: text('a directory').optional(),
  store: z
    .unknown()
    .transform((value, context): 'embedded' => {
      if (value === 'embedded') return 'embedded';
      const etcd = typeof value === 'object' && value !== null && 'etcd' in value;
      const message = etcd
        ? 'the etcd store is not available yet; write `store: embedded` and run one Evenkeel'
        : `${isWhat(value)}, not a known store; write embedded`;
      context.addIssue({ code: 'custom', message, params: OURS });
      return z.NEVER;
    })
    .default('embedded'),
  log: z.strictObject({ level: word('debug', 'info', 'warn', 'error').default('info') }).prefault({}),
  shutdownTimeout: duration(0, HOUR).default(30 * SECOND),
};

type Settings = { [K in keyof typeof settingsSchemas]: z.output<(typeof settingsSchemas)[K]> };

/** Settings that could be read; a setting with an error is absent. */
export type PartialSettings = { [K in keyof Settings]?: Settings[K] | undefined };

export const TOP_KEYS = ['clusters', 'endpoints', ...Object.keys(settingsSchemas)];
