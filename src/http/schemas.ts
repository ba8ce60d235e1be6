// The JSON of the API as schemas: request bodies are checked with them, the OpenAPI document is made of them, and
// the tests hold the answers against them. `satisfies` lets the compiler compare each with its type.
import { z } from 'zod';
import { ANALYSIS_NAMES } from '../cluster/index.ts';
import { type DigestCounts, PIN_REASONS } from '../messages/index.ts';
import type { RecoveryRecord } from '../recovery/types.ts';
import type {
  ClusterStatus,
  ControlEvent,
  DrainReport,
  EndpointStatus,
  ErrantReport,
  NodeStatus,
  OperatorOrder,
  PauseReport,
  StatusJson,
} from './api.ts';

const nodeAddress = z.string().describe('host:port');

const until = z.string().nullable().describe('ISO 8601, UTC; null: until it is ended');
const maintenance = z.object({ until }).nullable().describe('Nothing is recovered by itself');

export const nodeSchema = z.object({
  node: nodeAddress,
  role: z.enum(['primary', 'replica', 'unknown']),
  state: z.enum([
    'ok',
    'unreachable',
    'denied',
    'read-only-primary',
    'second-writer',
    'replication-stopped',
    'replication-broken',
    'replication-wrong-source',
    'not-replicating',
    'delayed',
    'lagging',
    'errant',
    'identity-changed',
    'other-flavor',
    'member-joining',
    'member-out',
    'no-majority',
    'desynced',
    'discovering',
    'draining',
    'drained',
    'maintenance',
  ]),
  lagMs: z.number().nullable(),
  gtid: z.string(),
  detail: z.string().describe('What is wrong and what mends it; empty when the state is ok'),
  leaving: z.enum(['draining', 'drained']).nullable().describe("Out of service by an operator's word, or on its way"),
  maintenance,
}) satisfies z.ZodType<NodeStatus>;

export const problemSchema = z.object({
  code: z.enum(ANALYSIS_NAMES).describe('One of docs/analyses.md'),
  node: nodeAddress.optional(),
  text: z.string(),
});

export const clusterSchema = z.object({
  name: z.string(),
  epoch: z.int().nonnegative().describe('Grows by one with every change of primary'),
  state: z.enum(['healthy', 'holding', 'recovering', 'degraded', 'down']),
  primary: nodeAddress.nullable(),
  flavor: z.enum(['mysql', 'mariadb']).nullable(),
  topology: z.enum(['replication', 'group', 'galera', 'aurora', 'rds']).describe('Who makes a node the primary'),
  durability: z.string(),
  recovery: z.enum(['automatic', 'observe']),
  maintenance,
  nodes: z.array(nodeSchema),
  problems: z.array(problemSchema),
}) satisfies z.ZodType<Omit<ClusterStatus, 'problems'>>;

export const endpointSchema = z.object({
  name: z.string(),
  cluster: z.string(),
  listen: z.string().describe('host:port'),
  route: z.string(),
  clients: z.int().nonnegative(),
  held: z.int().nonnegative().describe('Statements that wait now'),
  statements: z.int().nonnegative().describe('Received since the start'),
  errors: z.int().nonnegative().describe('That Evenkeel itself answered, since the start'),
  pinned: z
    .partialRecord(z.enum(PIN_REASONS), z.int().nonnegative())
    .describe('Sessions that keep their server connection, by reason; a reason with none is not there'),
  paused: z
    .object({ until: z.string().describe('ISO 8601, UTC') })
    .nullable()
    .describe("Its statements are held by an operator's word, until this time at the latest"),
}) satisfies z.ZodType<EndpointStatus>;

export const statusSchema = z.object({
  clusters: z.array(clusterSchema),
  endpoints: z.array(endpointSchema),
}) satisfies z.ZodType<Omit<StatusJson, 'clusters'>>;

export const stepSchema = z.object({
  name: z.string(),
  startedMs: z.number().describe("Since the recovery's start"),
  durationMs: z.number(),
  detail: z.string(),
});

export const recoverySchema = z.object({
  id: z.string(),
  kind: z.enum(['switchover', 'failover', 'rejoin', 'follow', 'reinstate', 'semisync', 'rebuild', 'add-node']),
  cluster: z.string(),
  from: nodeAddress.nullable(),
  to: nodeAddress.nullable(),
  epoch: z.int().nonnegative(),
  outcome: z.enum(['done', 'failed', 'rolled-back']),
  analysis: z.enum(ANALYSIS_NAMES).optional().describe('What it was begun for; absent where an operator ordered it'),
  reason: z.string(),
  startedAt: z.string().describe('ISO 8601, UTC'),
  durationMs: z.number(),
  longestStallMs: z.number().describe('The longest that a statement of a client waited because of it'),
  clientErrors: z.number(),
  steps: z.array(stepSchema),
}) satisfies z.ZodType<RecoveryRecord>;

export const digestSchema = z.object({
  endpoint: z.string(),
  user: z.string().describe('Empty: of accounts that were too many to be told apart'),
  schema: z.string().nullable().describe("The session's default schema"),
  statement: z
    .string()
    .describe('Their shape, with ? for values; empty: of shapes that were too many to be told apart'),
  count: z.int().nonnegative(),
  errors: z.int().nonnegative(),
  totalMs: z.number().describe('From their arrival to the end of their answers, waits included'),
  longestMs: z.number(),
}) satisfies z.ZodType<DigestCounts>;

export const readySchema = z.object({ ready: z.boolean(), reasons: z.array(z.string()) });
export const healthSchema = z.object({ status: z.literal('ok') });

export const eventSchema = z.object({
  type: z.enum([
    'cluster-changed',
    'recovery-started',
    'recovery-step',
    'recovery-ended',
    'operator-order',
    'worker-changed',
  ]),
  at: z.string().describe('ISO 8601, UTC'),
  cluster: z.string().nullable(),
  data: z.looseObject({ kind: z.string() }),
}) satisfies z.ZodType<Omit<ControlEvent, 'data'>>;

export const ERROR_CODES = [
  'bad-request',
  'unauthorized',
  'forbidden',
  'host-not-allowed',
  'not-found',
  'unknown-cluster',
  'unknown-endpoint',
  'unknown-node',
  'method-not-allowed',
  'busy',
  'body-too-large',
  'unsupported-media-type',
  'refused',
  'too-many-subscribers',
  'internal',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

export const errorSchema = z.object({
  error: z.object({ code: z.enum(ERROR_CODES), message: z.string() }),
});

const to = z.string().min(1).max(300).optional().describe('host:port of the new primary; absent: the best candidate');

export const switchoverBody = z.strictObject({ to });
export const failoverBody = z.strictObject({
  to,
  force: z.boolean().optional().describe('Promote even where acknowledged writes may be lost'),
});

export const operatorOrderSchema = z.object({
  order: z.enum(['maintenance', 'pause', 'drain', 'remove-node']),
  of: z.string().describe('The node, the cluster or the endpoint that it is about'),
  state: z.enum(['begun', 'ended']),
  by: z.enum(['operator', 'time-limit']),
  until,
}) satisfies z.ZodType<OperatorOrder>;

const forMs = z
  .int()
  .min(1000)
  .max(30 * 86_400_000);

export const maintenanceBody = z.strictObject({
  node: z.string().min(1).max(300).optional().describe('host:port; absent: the whole cluster'),
  forMs: forMs.optional().describe('Ends by itself after this time; absent: lasts until it is ended'),
  end: z.boolean().optional().describe('Ends it'),
});

export const pauseSchema = operatorOrderSchema.extend({
  inProgress: z.int().nonnegative().describe('Transactions and statements that have not come to their end yet'),
}) satisfies z.ZodType<PauseReport>;

export const pauseBody = z.strictObject({
  forMs: z.int().min(100).max(3_600_000).describe('It resumes by itself after this time'),
  waitMs: z
    .int()
    .min(0)
    .max(3_600_000)
    .optional()
    .describe('How long the answer may wait for what is in progress; 0 if absent'),
});

export const resumeBody = z.strictObject({});

export const drainSchema = operatorOrderSchema.extend({
  ended: z.int().nonnegative().describe('Clients whose work there did not come to its end in time: it was ended'),
  switchover: recoverySchema.nullable().describe('Where the node was the primary: the switchover'),
}) satisfies z.ZodType<DrainReport>;

const node = z.string().min(1).max(300).describe('host:port');

export const drainBody = z.strictObject({
  node,
  timeoutMs: z
    .int()
    .min(0)
    .max(3_600_000)
    .optional()
    .describe('How long what has begun there may take; 60000 if absent'),
  to,
  force: z.boolean().optional().describe('Even where an endpoint or the durability policy needs the node'),
});

export const undrainBody = z.strictObject({ node });

const from = z
  .string()
  .min(1)
  .max(300)
  .optional()
  .describe('Where the data comes from; absent: a sound replica, else the primary');
const returnWaitMs = z
  .int()
  .min(1000)
  .max(86_400_000)
  .optional()
  .describe('How long its server may take to come back after the clone; 1800000 if absent');

export const errantBody = z.strictObject({ node });

export const errantSchema = z.object({
  node,
  count: z.int().nonnegative(),
  gtids: z.string(),
  transactions: z.array(
    z.object({
      gtid: z.string(),
      statements: z.array(z.string()),
      tables: z.array(z.object({ table: z.string(), did: z.array(z.enum(['insert', 'update', 'delete'])) })),
    }),
  ),
  note: z.string().describe('Why there are fewer transactions than `count`; empty where there are not'),
}) satisfies z.ZodType<ErrantReport>;

export const rebuildBody = z.strictObject({
  node,
  from,
  force: z.boolean().optional().describe('Also a node without errant transactions'),
  returnWaitMs,
});

export const addNodeBody = z.strictObject({
  node,
  from,
  credentials: z
    .strictObject({ user: z.string().min(1).max(100), password: z.string().max(1000) })
    .optional()
    .describe("Of an account that the server has now; absent: the cluster's admin account"),
  keepData: z.boolean().optional().describe("It has the cluster's data already, from a backup: nothing is copied"),
  returnWaitMs,
});

export const removeNodeBody = z.strictObject({
  node,
  force: z.boolean().optional().describe('Also one that does not answer, or is in service'),
});
