// Plans as data: who is touched, in which order, what may run side by side, how long each step may take, and what
// undoes it. A plan decides nothing more and touches nothing; execute.ts carries it out.
import { broken, type NodeAddress } from '../messages/index.ts';

/** One thing that is done to a node or to the clients. */
export type Action =
  | { do: 'close-gate'; reason: 'switchover' | 'failover' }
  /** Those that clients will need there, so that nobody waits for a login when the gate opens. */
  | { do: 'open-connections'; node: NodeAddress; waitMs: number }
  | { do: 'drain'; drainMs: number }
  | { do: 'open-gate'; node: NodeAddress }
  | { do: 'reopen-gate' }
  | { do: 'set-read-only'; node: NodeAddress }
  /** As set-read-only, of a node whose commits hang: done, or waiting in it, where new writes wait behind it. */
  | { do: 'order-read-only'; node: NodeAddress }
  | { do: 'set-writable'; node: NodeAddress }
  /** As set-writable, tried several times: for a primary that was writable a moment ago. */
  | { do: 'restore-writable'; node: NodeAddress }
  | { do: 'kill-clients'; node: NodeAddress }
  /** Reads the position at which the (now read-only) node ended; the next wait-for-position waits for it. */
  | { do: 'note-position'; node: NodeAddress }
  | { do: 'wait-for-position'; node: NodeAddress }
  | { do: 'apply-received'; node: NodeAddress }
  | { do: 'rotate-binlog'; node: NodeAddress }
  | { do: 'detach'; node: NodeAddress }
  | { do: 'semi-sync-role'; node: NodeAddress; role: 'source' | 'replica'; primary?: NodeAddress }
  | { do: 'follow'; node: NodeAddress; source: NodeAddress }
  /** The group of `node` makes `member` its primary. */
  | { do: 'elect-member'; node: NodeAddress; member: string }
  | { do: 'join-group'; node: NodeAddress }
  | { do: 'sync-with-cluster'; node: NodeAddress };

export interface PlannedStep {
  /** As it stands in the record: `read-only db1:3306`. */
  name: string;
  action: Action;
  timeoutMs: number;
  /** Where it fails, the plan fails; else the failure is recorded, and the next lane or stage goes on. */
  required: boolean;
}

/** Lanes run side by side, the steps of a lane one after the other. A stage ends when all its lanes have. */
export interface Stage {
  lanes: PlannedStep[][];
}

/** How long each kind of step may take, ms. What runs while clients wait is short. */
export const LIMITS = {
  lookMs: 500,
  /** At a primary that the detector, after long enough a silence, has called dead: the last look before the fence. */
  suspectLookMs: 100,
  /** At the same, after the fence: what counts then is what the replicas say. */
  fencedLookMs: 50,
  gateMs: 2_000,
  /** What is open by then is open; the rest comes when it is needed. */
  openConnectionsMs: 1_000,
  /** For workers to hear of it. */
  openOrderMs: 100,
  readOnlyMs: 3_000,
  positionMs: 1_000,
  rotateMs: 1_000,
  detachMs: 3_000,
  roleMs: 1_000,
  writableMs: 3_000,
  /** To make a primary writable again that was so a moment ago, several times if need be. */
  restoreMs: 3_000,
  followMs: 10_000,
  /** Of those that are repointed before the gate opens. */
  acknowledgerMs: 300,
  killMs: 2_000,
  /** An old primary that may be frozen or cut off: what does not succeed at once will not. */
  fenceMs: 200,
  /** The same of one that answers, but whose commits hang; and how long the order may wait in it. */
  stuckFenceMs: 700,
  readOnlyWaitsMs: 120_000,
  /** Stopping the receivers of all replicas, so that what was received stands still. */
  quiesceMs: 150,
  /** The same where the source is silent: MariaDB's with semi-sync connects to it once more, for a second. */
  farewellMs: 1_100,
  /** A receiver of MySQL's that is connecting to a host that is gone is interrupted after two seconds (measured, 9.7). */
  connectingMs: 2_100,
  applyReceivedMs: 30_000,
} as const;

/** One planned step, named by what it does and to whom. */
export function step(action: Action, timeoutMs: number, required = true): PlannedStep {
  return { name: nameOf(action), action, timeoutMs, required };
}

function nameOf(action: Action): string {
  const subject = 'node' in action ? ` ${action.node}` : '';
  return action.do === 'semi-sync-role' ? `semi-sync-${action.role}${subject}` : `${action.do}${subject}`;
}

const one = (planned: PlannedStep): Stage => ({ lanes: [[planned]] });

export interface SwitchoverPlanInput {
  from: NodeAddress;
  to: NodeAddress;
  /** Other replicas that are to follow `to`. */
  others: NodeAddress[];
  semiSync: boolean;
  drainMs: number;
  /** How long the candidate may take, under the hold, to reach the old primary's last position. */
  positionWaitMs: number;
}

export interface PromotionPlan {
  /** Up to and with the candidate's being writable: each failure is undone. */
  before: Stage[];
  /** From then on there is a new primary, whatever fails. */
  after: Stage[];
}

/** For a node that will be primary: before the gate is closed it may take its time, after that nobody waits for it. */
export function openConnections(node: NodeAddress, waitMs: number = LIMITS.openConnectionsMs): PlannedStep {
  return step({ do: 'open-connections', node, waitMs }, waitMs + LIMITS.openOrderMs, false);
}

/** From the closing of the gate to the last repointed replica. Checks and catching up come before it. */
export function planSwitchover(input: SwitchoverPlanInput): PromotionPlan {
  const { from, to } = input;
  return {
    before: [
      // Before anybody waits: what is written until the promotion is little.
      { lanes: [[step({ do: 'rotate-binlog', node: to }, LIMITS.rotateMs, false)], [openConnections(to)]] },
      one(step({ do: 'close-gate', reason: 'switchover' }, LIMITS.gateMs)),
      one(step({ do: 'drain', drainMs: input.drainMs }, input.drainMs + LIMITS.gateMs)),
      ...(broken === 'release-before-fence'
        ? [
            one(step({ do: 'reopen-gate' }, LIMITS.gateMs)),
            promoteFollowed({ ...input, others: [] }),
            one(step({ do: 'set-read-only', node: from }, LIMITS.readOnlyMs)),
          ]
        : [
            one(step({ do: 'set-read-only', node: from }, LIMITS.readOnlyMs)),
            one(step({ do: 'note-position', node: from }, LIMITS.positionMs)),
            one(step({ do: 'wait-for-position', node: to }, input.positionWaitMs)),
            promoteFollowed(input),
          ]),
    ],
    after: [
      {
        lanes: [
          [step({ do: 'open-gate', node: to }, LIMITS.gateMs)],
          [
            repoint(from, to),
            // Direct connections would go on reading an old primary as if it were the primary.
            step({ do: 'kill-clients', node: from }, LIMITS.killMs, false),
          ],
          ...input.others.map((node) => [repoint(node, to)]),
        ],
      },
    ],
  };
}

/**
 * Under semi-sync no write is acknowledged before a replica follows the new primary; and a node that is busy with the
 * clients that were let go takes several times as long for it. So the others are repointed before that. One that takes too
 * long is tried again beside the opening.
 */
function acknowledgers({
  to,
  others,
  semiSync,
}: Pick<FailoverPlanInput, 'to' | 'others' | 'semiSync'>): Stage['lanes'] {
  if (!semiSync) return [];
  return others.map((node) => [{ ...repoint(node, to), timeoutMs: LIMITS.acknowledgerMs }]);
}

/** The candidate has all that the others have, and serves it whether it replicates itself or not: they follow beside its own steps. */
function promoteFollowed(input: Pick<FailoverPlanInput, 'to' | 'others' | 'semiSync'>): Stage {
  const { to, semiSync } = input;
  return { lanes: [[...detached(to, semiSync), writable(to)], ...acknowledgers(input)] };
}

/** The semi-sync source role comes last: on a replica it would make the applier wait for acknowledgements. */
function detached(to: NodeAddress, semiSync: boolean): PlannedStep[] {
  return [
    step({ do: 'detach', node: to }, LIMITS.detachMs),
    ...(semiSync ? [step({ do: 'semi-sync-role', node: to, role: 'source' }, LIMITS.roleMs)] : []),
  ];
}

function writable(to: NodeAddress): PlannedStep {
  return step({ do: 'set-writable', node: to }, LIMITS.writableMs);
}

/** Those that were not repointed in time, once more: nobody is promoted without them. */
export function planInsist(others: readonly NodeAddress[], to: NodeAddress): Stage[] {
  return [{ lanes: others.map((node) => [repoint(node, to)]) }];
}

/** `follow` makes the node read-only and gives it its semi-sync role by itself, in one go with the rest. */
function repoint(node: NodeAddress, source: NodeAddress): PlannedStep {
  return step({ do: 'follow', node, source }, LIMITS.followMs, false);
}

/** Before the decisive look of a failover: receivers stop everywhere, and the old primary is fenced if it can be. */
export function planQuiesce(input: {
  /** With the time that each has to stop its receiver. */
  replicas: { node: NodeAddress; stopMs: number }[];
  fence: NodeAddress | null;
  fenceMs: number;
  /** Who will be promoted, if nothing else turns up. */
  candidate: NodeAddress;
  /** The primary answers, and its commits hang. */
  stuck?: boolean;
}): Stage[] {
  const lanes = input.replicas.map(({ node, stopMs }) => [step({ do: 'apply-received', node }, stopMs, false)]);
  if (input.fence !== null) {
    const order = input.stuck === true ? 'order-read-only' : 'set-read-only';
    lanes.push([step({ do: order, node: input.fence }, input.fenceMs, false)]);
    lanes.push([step({ do: 'kill-clients', node: input.fence }, input.fenceMs, false)]);
  }
  lanes.push([openConnections(input.candidate, 0)]);
  return [{ lanes }];
}

export interface FailoverPlanInput {
  to: NodeAddress;
  /** It has applied all it received, with its receiver stopped, already. */
  applied: boolean;
  /** Received more than `to`, which gets it from there first. */
  catchUpFrom?: NodeAddress | undefined;
  others: NodeAddress[];
  /** Replicas of replicas, whose receivers were stopped: they go on with the source that they have. */
  kept?: { node: NodeAddress; source: NodeAddress }[];
  semiSync: boolean;
}

export interface FailoverPlan extends PromotionPlan {
  /** May take long. */
  apply: Stage[];
  /** Last of what comes before: that the candidate is writable. */
  writable: Stage[];
}

/**
 * From the elected candidate's last received transaction to the last repointed replica. The others leave the old primary
 * for good before there is a new one: a replica that is only stopped follows the old one again when it restarts.
 */
export function planFailover(input: FailoverPlanInput): FailoverPlan {
  const { to } = input;
  return {
    apply: [
      ...(input.applied ? [] : [one(step({ do: 'apply-received', node: to }, LIMITS.applyReceivedMs))]),
      ...(input.catchUpFrom === undefined ? [] : catchUp(to, input.catchUpFrom)),
    ],
    before: [
      one(step({ do: 'rotate-binlog', node: to }, LIMITS.rotateMs, false)),
      { lanes: [detached(to, input.semiSync)] },
      { lanes: acknowledgers(input) },
    ],
    writable: [one(writable(to))],
    after: [
      {
        lanes: [
          [step({ do: 'open-gate', node: to }, LIMITS.gateMs)],
          ...input.others.map((node) => [repoint(node, to)]),
          ...(input.kept ?? []).map(({ node, source }) => [repoint(node, source)]),
        ],
      },
    ],
  };
}

/** What `to` received is applied before it follows `ahead`: repointed, it throws its relay log away. */
function catchUp(to: NodeAddress, ahead: NodeAddress): Stage[] {
  return [
    one(step({ do: 'apply-received', node: ahead }, LIMITS.applyReceivedMs)),
    one(step({ do: 'note-position', node: ahead }, LIMITS.positionMs)),
    one(step({ do: 'follow', node: to, source: ahead }, LIMITS.followMs)),
    one(step({ do: 'wait-for-position', node: to }, LIMITS.applyReceivedMs)),
    one(step({ do: 'apply-received', node: to }, LIMITS.applyReceivedMs)),
  ];
}

/** A node that is not the primary becomes a replica of it. */
export function planRejoin(input: { node: NodeAddress; primary: NodeAddress }): Stage[] {
  return [one({ ...repoint(input.node, input.primary), required: true })];
}

/** The known primary takes writes again; replicas that lost it connect anew at once rather than at their next try. */
export function planReinstate(input: {
  primary: NodeAddress;
  replicas: NodeAddress[];
  semiSync: boolean;
}): PromotionPlan {
  const { primary } = input;
  return {
    before: [
      one(step({ do: 'close-gate', reason: 'failover' }, LIMITS.gateMs)),
      ...(input.semiSync
        ? [one(step({ do: 'semi-sync-role', node: primary, role: 'source' }, LIMITS.roleMs, false))]
        : []),
      one(step({ do: 'set-writable', node: primary }, LIMITS.writableMs)),
    ],
    after: [
      {
        lanes: [
          [step({ do: 'open-gate', node: primary }, LIMITS.gateMs)],
          ...input.replicas.map((node) => [repoint(node, primary)]),
        ],
      },
    ],
  };
}

export interface UndoInput {
  /** In the order in which they began; a step that failed may have taken effect, so it counts. */
  attempted: readonly PlannedStep[];
  from: NodeAddress;
  to: NodeAddress;
}

/**
 * Back to `from` after a switchover that failed before its candidate was writable (the executor has made sure of
 * that). Clients go on as soon as the old primary is writable; the candidate follows again beside that.
 */
export function planUndo(input: UndoInput): Stage[] {
  const { attempted, from, to } = input;
  const did = (action: Action['do'], node?: NodeAddress) =>
    attempted.some((one) => one.action.do === action && (!('node' in one.action) || one.action.node === node));
  const clients: PlannedStep[] = [];
  if (did('set-read-only', from)) clients.push(step({ do: 'restore-writable', node: from }, LIMITS.restoreMs));
  if (did('close-gate')) clients.push(step({ do: 'reopen-gate' }, LIMITS.gateMs));
  const candidate: PlannedStep[] = [];
  if (did('detach', to)) candidate.push(repoint(to, from));
  const repointed = attempted.flatMap(({ action }) =>
    action.do === 'follow' && action.source === to ? [repoint(action.node, from)] : [],
  );
  const lanes = [clients, candidate, ...repointed.map((one) => [one])].filter((lane) => lane.length > 0);
  return lanes.length === 0 ? [] : [{ lanes }];
}
