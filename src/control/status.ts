// The state of everything in the shape of `status --json` (design.md section 3), made from what the other parts
// know. Pure: no part of it is kept anywhere. Keys may be added, never renamed.
import type { ClusterView, NodeRole, NodeState, NodeView, PrimaryHealth, Problem, Topology } from '../cluster/types.ts';
import type { ClusterConfig } from '../config/types.ts';
import type { ClusterRoute, EndpointRoute, EndpointSettings, NodeAddress, PinCounts } from '../messages/index.ts';
import type { RecoveryKind } from '../recovery/types.ts';
import type { MaintenanceOrder } from '../store/types.ts';
import type { EndpointTotals } from './counters.ts';
import { isoTime, type Leaving } from './standing.ts';

export type ClusterState = 'healthy' | 'holding' | 'recovering' | 'degraded' | 'down';

export interface MaintenanceStatus {
  until: string | null;
}

export interface NodeStatus {
  node: NodeAddress;
  role: NodeRole;
  state: NodeState | Leaving | 'maintenance';
  lagMs: number | null;
  gtid: string;
  detail: string;
  leaving: Leaving | null;
  maintenance: MaintenanceStatus | null;
}

export interface ClusterStatus {
  name: string;
  epoch: number;
  state: ClusterState;
  primary: NodeAddress | null;
  flavor: 'mysql' | 'mariadb' | null;
  /** Who makes a node the primary. */
  topology: Topology;
  durability: string;
  recovery: 'automatic' | 'observe';
  maintenance: MaintenanceStatus | null;
  nodes: NodeStatus[];
  problems: Problem[];
}

export interface EndpointStatus {
  name: string;
  cluster: string;
  listen: string;
  route: string;
  clients: number;
  held: number;
  statements: number;
  errors: number;
  /** Sessions that keep their server connection, by reason. */
  pinned: PinCounts;
  paused: { until: string } | null;
}

export interface StatusJson {
  clusters: ClusterStatus[];
  endpoints: EndpointStatus[];
}

export interface ClusterStatusInput {
  config: Pick<ClusterConfig, 'name' | 'durability' | 'recovery'>;
  route: ClusterRoute;
  view: ClusterView;
  health: PrimaryHealth;
  /** What runs now. */
  running: RecoveryKind | null;
  /** Beyond those of the view. */
  problems: Problem[];
  maintenance: readonly MaintenanceOrder[];
  drained: ReadonlyMap<NodeAddress, Leaving>;
}

function stateOf(input: ClusterStatusInput, problems: Problem[]): ClusterState {
  // A node's rejoin leaves the clients alone: it is no state of the cluster.
  if (input.running !== null && input.running !== 'rejoin' && input.running !== 'semisync') return 'recovering';
  if (input.route.primary === null || input.health.state === 'dead') return 'down';
  if (input.route.gate.state === 'closed') return 'holding';
  // A node that someone works at is nobody's news.
  const news = problems.filter(({ node }) => !input.maintenance.some((order) => order.node === (node ?? '')));
  return news.length > 0 ? 'degraded' : 'healthy';
}

function maintenanceOf(input: ClusterStatusInput, of: NodeAddress | null): MaintenanceStatus | null {
  const order = input.maintenance.find(({ node }) => node === of);
  return order === undefined ? null : { until: isoTime(order.until) };
}

function nodeStatus(input: ClusterStatusInput, view: NodeView): NodeStatus {
  const { node, role, lagMs, gtid } = view;
  const maintenance = maintenanceOf(input, node);
  const leaving = input.drained.get(node) ?? null;
  const ordered = leaving ?? (maintenance === null ? null : 'maintenance');
  const state = (view.state === 'ok' || view.state === 'lagging') && ordered !== null ? ordered : view.state;
  const ends = maintenance?.until ?? `it is ended: evenkeel maintenance ${node} --end`;
  const why = maintenance === null ? [] : [`in maintenance until ${ends}`];
  const out =
    leaving === null
      ? []
      : [`${leaving === 'drained' ? 'out of service' : 'leaves service'}: evenkeel undrain ${node}`];
  const detail = [...out, ...why, view.detail].filter((part) => part !== '').join('; ');
  return { node, role, state, lagMs, gtid, detail, leaving, maintenance };
}

export function clusterStatus(input: ClusterStatusInput): ClusterStatus {
  const { config, route, view } = input;
  const problems = [...view.problems, ...input.problems];
  return {
    name: config.name,
    epoch: route.epoch,
    state: stateOf(input, problems),
    primary: route.primary,
    flavor: view.flavor,
    topology: view.topology ?? 'replication',
    durability: config.durability,
    recovery: config.recovery,
    maintenance: maintenanceOf(input, null),
    nodes: view.nodes.map((node) => nodeStatus(input, node)),
    problems,
  };
}

function routeText(route: EndpointRoute): string {
  return route.kind === 'fixed' ? route.nodes.join(',') : route.kind;
}

/** `counted` holds the sums over all workers, by endpoint. */
export function endpointStatus(
  settings: EndpointSettings,
  counted: ReadonlyMap<string, EndpointTotals>,
  pausedUntil: number | null,
): EndpointStatus {
  const { name, cluster, host, port, route } = settings;
  const nothing = { clients: 0, held: 0, statements: 0, errors: 0, pinned: {} };
  const { clients, held, statements, errors, pinned } = counted.get(name) ?? nothing;
  const paused = pausedUntil === null ? null : { until: new Date(pausedUntil).toISOString() };
  const listen = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  return { name, cluster, listen, route: routeText(route), clients, held, statements, errors, pinned, paused };
}

function notServing({ route: wanted }: EndpointSettings, route: ClusterRoute): string | null {
  const held = route.gate.state === 'closed' ? `statements are held (${route.gate.reason})` : null;
  if (wanted.kind === 'primary' || wanted.kind === 'auto') return held;
  if (wanted.kind === 'replica') {
    const replicaServes = route.nodes.some((node) => node.role === 'replica' && node.serving);
    return replicaServes || (wanted.fallbackToPrimary && held === null) ? null : 'no replica serves reads';
  }
  const oneServes = route.nodes.some((node) => node.serving && wanted.nodes.includes(node.node));
  return oneServes ? null : 'none of its nodes serves';
}

/** What keeps an endpoint from serving a client now, as a sentence; null where nothing does. */
export function notReadyReason(settings: EndpointSettings, route: ClusterRoute | undefined): string | null {
  const reason = route ? notServing(settings, route) : `nothing is known of cluster ${settings.cluster}`;
  return reason === null ? null : `endpoint ${settings.name}: ${reason}`;
}
