// From what is known of a cluster to the route that its workers follow. Pure: the same input gives the same
// route. It never names another primary than the remembered one: who is primary is changed by a recovery, which
// saves the new epoch first; this file only decides whether statements may pass, and which nodes may serve reads.
import type { ClusterView, NodeState, NodeView, PrimaryHealth, ServerGreeting } from '../cluster/types.ts';
import type { ClusterRoute, Flavor, Gate, HoldReason, NodeAddress, RouteNode } from '../messages/index.ts';

/** An order to hold, by a recovery or an operator. It outweighs everything that was observed. */
export interface HoldOrder {
  reason: HoldReason;
  recovery?: string;
}

export interface RouteInput {
  cluster: string;
  epoch: number;
  primary: NodeAddress | null;
  hold: HoldOrder | null;
  view: ClusterView;
  health: PrimaryHealth;
  /** Null until a server was seen. */
  greeting: ServerGreeting | null;
  /**
   * When `primary` was last opened, on the monitor's clock: what was seen of it before says nothing against it,
   * because the recovery that opened it looked for itself.
   */
  openedAt: number;
  now: number;
  /** Nodes that an operator takes out of service. */
  drained: ReadonlyMap<NodeAddress, 'draining' | 'drained'>;
}

/**
 * A suspicion younger than this does not make everybody wait: a look, over in a millisecond or two, settles most of
 * them, and a worker with evidence of its own holds already. A primary that is declared dead is not waited for.
 */
export const suspectGraceMs = 30;

/** utf8mb4_general_ci, which both families know, and which loses nothing. */
const fallbackCollation = 45;

const fallbackGreeting: Record<Flavor, ServerGreeting> = {
  mysql: { version: '8.0.0', collation: fallbackCollation },
  mariadb: { version: '5.5.5-10.11.0-MariaDB', collation: fallbackCollation },
};

/** The states in which a node's data is what a reader may expect. A delayed replica is behind on purpose. */
const readableStates: ReadonlySet<NodeState> = new Set<NodeState>(['ok', 'lagging']);

const unfitStates: ReadonlySet<NodeState> = new Set<NodeState>([
  'identity-changed',
  'other-flavor',
  'no-majority',
  'member-out',
  'member-joining',
]);

function mayServeReads(node: NodeView): boolean {
  return node.observation.reach.state === 'up' && readableStates.has(node.state);
}

function isDoubted({ health, now, openedAt, primary, view }: RouteInput): boolean {
  if (health.state === 'alive' || health.since < openedAt) return false;
  if (health.state === 'dead' || now - health.since >= suspectGraceMs) return true;
  // A look that failed since is no mere hint any more.
  const seen = view.nodes.find((node) => node.node === primary)?.observation;
  return seen !== undefined && seen.at >= health.since && seen.reach.state !== 'up' && seen.reach.state !== 'denied';
}

/** A group has another primary, by what it said since ours was opened: ours can confirm nothing, and is followed away from. */
function isElsewhere({ openedAt, primary, view }: RouteInput): boolean {
  if (view.primary === null || view.primary === primary) return false;
  if (view.topology !== 'group' && view.topology !== 'galera' && view.topology !== 'aurora') return false;
  const seen = view.nodes.find((node) => node.node === view.primary)?.observation;
  return seen !== undefined && (seen.factsAt ?? Number.NEGATIVE_INFINITY) >= openedAt;
}

function gateOf(input: RouteInput): Gate {
  if (input.hold) {
    const { reason, recovery } = input.hold;
    return recovery === undefined ? { state: 'closed', reason } : { state: 'closed', reason, recovery };
  }
  if (input.primary === null) return { state: 'closed', reason: 'no-primary' };
  if (isElsewhere(input)) return { state: 'closed', reason: 'no-primary' };
  // What the monitor thinks of another node than the one that we send writes to is no reason to hold.
  if (input.view.primary === input.primary && isDoubted(input)) return { state: 'closed', reason: 'detector' };
  const primary = input.view.nodes.find((node) => node.node === input.primary);
  const factsAt = primary?.observation.factsAt ?? null;
  if (primary === undefined || factsAt === null || factsAt < input.openedAt) return { state: 'open' };
  // Some other server answers at its address, or it can confirm nothing to anyone.
  if (unfitStates.has(primary.state)) {
    return { state: 'closed', reason: 'no-primary' };
  }
  if (primary.observation.facts?.readOnly) return { state: 'closed', reason: 'read-only' };
  return { state: 'open' };
}

function routeNode(node: NodeView, { primary, drained }: RouteInput): RouteNode {
  const isPrimary = node.node === primary;
  const leaving = isPrimary ? undefined : drained.get(node.node);
  return {
    node: node.node,
    role: isPrimary ? 'primary' : node.role === 'replica' ? 'replica' : 'unknown',
    serving: isPrimary ? node.observation.reach.state === 'up' : leaving === undefined && mayServeReads(node),
    lagMs: isPrimary ? 0 : node.lagMs,
    ...(leaving === undefined ? {} : { leaving }),
  };
}

/** The route that follows from `input`. */
export function routeOf(input: RouteInput): ClusterRoute {
  const { flavor: seen, topology } = input.view;
  const flavor = seen ?? 'mysql';
  const greeting = input.greeting ?? fallbackGreeting[flavor];
  const nodes = input.view.nodes.map((node) => routeNode(node, input));
  if (input.primary !== null && !nodes.some((node) => node.node === input.primary)) {
    nodes.push({ node: input.primary, role: 'primary', serving: false, lagMs: 0 });
  }
  nodes.sort((a, b) => (a.node < b.node ? -1 : 1));
  return {
    cluster: input.cluster,
    epoch: input.epoch,
    flavor,
    serverVersion: greeting.version,
    collation: greeting.collation,
    ...(greeting.sessionVariables === undefined ? {} : { sessionVariables: greeting.sessionVariables }),
    ...(greeting.sqlMode === undefined ? {} : { sqlMode: greeting.sqlMode }),
    ...(greeting.autocommit === undefined ? {} : { autocommit: greeting.autocommit }),
    ...(topology === 'group' || topology === 'galera' ? { group: topology } : {}),
    primary: input.primary,
    gate: gateOf(input),
    nodes,
  };
}

/** What changed between two routes: lag alone may wait for company, everything else is told at once. */
export function routeChange(before: ClusterRoute | undefined, after: ClusterRoute): 'none' | 'lag' | 'route' {
  if (!before || !equal({ ...before, nodes: [] }, { ...after, nodes: [] })) return 'route';
  if (before.nodes.length !== after.nodes.length) return 'route';
  let lags = false;
  for (const [i, node] of after.nodes.entries()) {
    const was = before.nodes[i];
    if (was === undefined || !equal({ ...was, lagMs: was.lagMs === null }, { ...node, lagMs: node.lagMs === null }))
      return 'route';
    lags ||= was.lagMs !== node.lagMs;
  }
  return lags ? 'lag' : 'none';
}

/** Of plain objects; a text of some kilobytes that is the same one costs nothing. */
function equal(one: object, other: object): boolean {
  const [mine, theirs] = [Object.entries(one), other as Record<string, unknown>];
  if (mine.length !== Object.keys(other).length) return false;
  return mine.every(([key, value]: [string, unknown]) => {
    const its = theirs[key];
    if (value === its) return true;
    const objects = typeof value === 'object' && typeof its === 'object' && value !== null && its !== null;
    return objects && equal(value, its);
  });
}
