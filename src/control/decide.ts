// What to do about what is seen: a pure function from the view, the detector's word and the stories of the nodes to
// one action. It is deliberately slow to touch what an operator may have done on purpose (a read-only primary,
// a stopped replica), and fast where a crash is the only explanation: a node whose process started anew.
import { ANALYSIS_OF_STATE, type AnalysisName, type CommitHealth, isActionable } from '../cluster/index.ts';
import type { ClusterView, NodeState, NodeView, PrimaryHealth } from '../cluster/types.ts';
import type { NodeAddress } from '../messages/index.ts';
import type { Brake } from './brake.ts';
import { type Upkeep, upkeepAnalysis } from './upkeep.ts';

/** What was seen of one node over time. */
export interface NodeStory {
  state: NodeState;
  /** Since when it is in `state`, ms. */
  since: number;
  startedAtMs: number | null;
  /** Its process started anew, or it was away, since it was last in order. */
  restarted: boolean;
  /** In order at least once since we run. */
  wasOk: boolean;
  attempts: number;
  /** No attempt to mend it before this. */
  notBefore: number;
}

export type Stories = ReadonlyMap<NodeAddress, NodeStory>;

/** How often a change of primary that someone made was tried to be followed, in vain. */
export interface FollowStory {
  to: NodeAddress;
  attempts: number;
  notBefore: number;
}

/** The failovers of the present incident. */
export interface FailoverStory {
  /** When attempts began, of the last `windowMs`. */
  attempts: readonly number[];
  /** The view's fingerprint when the last one was refused. */
  refusedView: string | null;
}

/** What operators keep for themselves: nothing is recovered there while it lasts. */
export interface Maintenance {
  /** The whole of it. */
  cluster: boolean;
  nodes: ReadonlySet<NodeAddress>;
}

export const noMaintenance: Maintenance = { cluster: false, nodes: new Set() };

export const noFailovers: FailoverStory = { attempts: [], refusedView: null };

export interface Situation {
  now: number;
  view: ClusterView;
  health: PrimaryHealth;
  /** Whether it commits. */
  commit: CommitHealth;
  epoch: number;
  primary: NodeAddress | null;
  /** Nodes that were a sound part of this cluster once. */
  members: ReadonlySet<NodeAddress>;
  /** Nodes that were primary under an earlier epoch. */
  formerPrimaries: ReadonlySet<NodeAddress>;
  stories: Stories;
  failovers: FailoverStory;
  follow: FollowStory | null;
  /** Since when a recovery that ended holds the clients; null where none does. */
  heldSince: number | null;
  /** A recovery that came to no end may have promoted a node that was not looked at yet: clients of the old primary wait for that. */
  awaitsPromised: boolean;
  /** What semi-sync's upkeep has found and may mend now. */
  upkeep: readonly Upkeep[];
  /** What keeps a failover back, where the primary is dead, and where it answers. */
  brakes: { dead: Brake; answers: Brake; degraded: Brake };
  /** A primary that commits far slower than it used to is left. */
  leavesDegraded: boolean;
  /** Another Evenkeel recovers this cluster: what it does is followed. */
  standBack: boolean;
  /** The last failover came to nothing, or to no end: what it stopped may be stopped still. */
  leftStopped: boolean;
  /** Nodes that an earlier failover stopped and did not start again, and that were not seen in order since. */
  stopped: ReadonlySet<NodeAddress>;
  maintenance: Maintenance;
  /** When the last recovery ended. What was seen before that is no reason to mend a node: it may be mended. */
  quietSince: number;
}

export type Action =
  | { do: 'nothing' }
  /** The first primary of a cluster that nobody remembers. */
  | { do: 'begin'; primary: NodeAddress }
  | { do: 'follow'; analysis: AnalysisName; primary: NodeAddress; reason: string }
  /** `answers`: the primary is there and of no use. */
  | { do: 'failover'; analysis: AnalysisName; answers: boolean; reason: string }
  /** Planned: the primary works, and will be of no use soon. */
  | { do: 'switchover'; analysis: AnalysisName; reason: string }
  | { do: 'reinstate'; analysis: AnalysisName; node: NodeAddress; reason: string }
  | { do: 'rejoin'; analysis: AnalysisName; node: NodeAddress; reason: string }
  | { do: 'semisync'; analysis: AnalysisName; node: NodeAddress; role: 'source' | 'replica'; reason: string }
  /** A recovery ended badly and left its hold; the primary proved fit since. */
  | { do: 'release' };

/** A refused failover is tried again at the earliest after this where the view changed … */
export const retryChangedMs = 1000;
/** … and after this where it did not. */
export const retrySameMs = 10_000;
export const failoverWindowMs = 600_000;
export const maxFailoversPerWindow = 30;
/** How long a member may be writable without a restart to explain it: someone may be at work. */
export const secondWriterGraceMs = 3000;
/** The same for a node that replicates from nobody, or from a wrong node. */
export const notReplicatingGraceMs = 2000;
/** A primary that was read-only when we first saw it. */
export const readOnlyGraceMs = 5000;
/** How long replicas that were started again have for their first acknowledgement. */
export const acknowledgementGraceMs = 5000;
/** As long as such an order waits; see readOnlyWaitsMs of recovery. */
const orderedReadOnlyMs = 130_000;
export const mendBackoffMs = 2000;
export const mendBackoffMaxMs = 60_000;

/** The stories after `view` was seen at `now`. Nodes that the view no longer names are forgotten. */
export function observe(before: Stories, view: ClusterView, now: number): Stories {
  const after = new Map<NodeAddress, NodeStory>();
  for (const { node, state, observation } of view.nodes) {
    const old = before.get(node);
    const startedAtMs = observation.facts?.startedAtMs ?? old?.startedAtMs ?? null;
    const ok = state === 'ok' || state === 'lagging';
    // startedAtMs is computed from an uptime in whole seconds on some servers: it wobbles.
    const anew =
      old?.startedAtMs !== null && old !== undefined && startedAtMs !== null && startedAtMs - old.startedAtMs > 2500;
    const away = state === 'unreachable';
    after.set(node, {
      state,
      since: old?.state === state ? old.since : now,
      startedAtMs,
      restarted: !ok && ((old?.restarted ?? false) || anew || (away && old !== undefined)),
      wasOk: ok || (old?.wasOk ?? false),
      attempts: ok ? 0 : (old?.attempts ?? 0),
      notBefore: ok ? now : (old?.notBefore ?? now),
    });
  }
  return after;
}

/** A story after one more attempt. */
export function attempted<S extends Pick<NodeStory, 'attempts' | 'notBefore'>>(story: S, now: number): S {
  const backoffMs = Math.min(mendBackoffMs * 2 ** story.attempts, mendBackoffMaxMs);
  return { ...story, attempts: story.attempts + 1, notBefore: now + backoffMs };
}

/** Equal twice: nothing happened that could change an election. */
export function fingerprint(view: ClusterView): string {
  return JSON.stringify([
    view.primary,
    view.nodes.map((node) => [node.node, node.state, node.observation.reach.state, node.gtid]),
  ]);
}

export function inMaintenance({ maintenance }: Situation, node: NodeAddress): boolean {
  return maintenance.cluster || maintenance.nodes.has(node);
}

export function mayFailOver({ failovers, now, view }: Situation): boolean {
  const recent = failovers.attempts.filter((at) => now - at < failoverWindowMs);
  if (recent.length >= maxFailoversPerWindow) return false;
  const last = recent.at(-1);
  if (last === undefined) return true;
  const changed = failovers.refusedView !== fingerprint(view);
  return now - last >= (changed ? retryChangedMs : retrySameMs);
}

export function isWritable(node: NodeView): boolean {
  return node.observation.reach.state === 'up' && node.observation.facts?.readOnly === false;
}

/** Why the known primary, which answers and is read-only, should take writes again; null where it should not. */
export function reinstateReason(situation: Situation, primary: NodeView): string | null {
  if (primary.observation.reach.state !== 'up' || primary.observation.facts?.readOnly !== true) return null;
  if (situation.health.state === 'dead') return null;
  if (situation.view.nodes.some((node) => node.node !== primary.node && isWritable(node))) return null;
  const story = situation.stories.get(primary.node);
  if (!story || situation.now < story.notBefore) return null;
  if (story.restarted) return 'the primary came back read-only and nobody was promoted';
  // An order to be read-only may have waited in it, behind commits that hung, until long after the failover ended.
  const ordered = situation.leftStopped && story.since <= situation.quietSince + orderedReadOnlyMs;
  if (ordered) return 'a failover that came to nothing left it read-only';
  // It became read-only under our eyes and its process is the same: an operator's act, not ours to undo.
  if (story.wasOk) return null;
  if (situation.now - story.since < readOnlyGraceMs) return null;
  return 'the remembered primary is read-only and no node takes writes';
}

function rejoinReason(situation: Situation, node: NodeView): string | null {
  const story = situation.stories.get(node.node);
  if (!story || situation.now < story.notBefore || node.observation.reach.state !== 'up') return null;
  if (!situation.members.has(node.node) || (node.observation.factsAt ?? 0) < situation.quietSince) return null;
  const ageMs = situation.now - story.since;
  const former = situation.formerPrimaries.has(node.node);
  if (isWritable(node)) {
    if (former) return 'a former primary is back and takes writes';
    if (story.restarted) return 'a replica came back and takes writes';
    return ageMs >= secondWriterGraceMs ? 'a second node takes writes' : null;
  }
  const why = astrayReason(situation, node);
  return why !== null && (former || story.restarted || ageMs >= notReplicatingGraceMs) ? why : null;
}

/** A replica that merely stopped is left alone, unless it stopped at a node that is not the primary any more. */
function astrayReason(situation: Situation, { node, observation, state }: NodeView): string | null {
  const { primary, view } = situation;
  if (state === 'not-replicating') return 'it replicates from no node';
  if (state === 'replication-wrong-source') return 'it does not follow the primary';
  const replication = observation.facts?.replication;
  if ((state !== 'replication-stopped' && state !== 'replication-broken') || !replication) return null;
  if (state === 'replication-stopped' && wasLeftStopped(situation, node)) {
    return 'a failover left it stopped';
  }
  const source = `${replication.sourceHost}:${replication.sourcePort}`;
  const elsewhere = source !== primary && view.nodes.some((each) => each.node === source && each.node !== node);
  return elsewhere ? `it stopped following ${source}, which is not the primary` : null;
}

/** Clients go to the primary that somebody else made. */
export function followAction(situation: Situation, to: NodeAddress, reason: string): Action {
  const { follow, now, primary, quietSince, view } = situation;
  if (follow?.to === to && now < follow.notBefore) return { do: 'nothing' };
  // Right after a recovery the view may still speak of what was before it.
  const stale = ({ node, observation }: NodeView) =>
    (node === primary || node === to) && observation.reach.state === 'up' && (observation.factsAt ?? 0) < quietSince;
  if (view.nodes.some(stale)) return { do: 'nothing' };
  return { do: 'follow', analysis: 'primary-moved', primary: to, reason };
}

/** Whether the hold that a recovery left ends: the primary, which takes writes, was seen since. */
export function releases({ awaitsPromised, heldSince }: Situation, primary: NodeView): boolean {
  return !awaitsPromised && heldSince !== null && (primary.observation.factsAt ?? 0) > heldSince;
}

/**
 * Stopped since the last recovery ended, since before we came, or while it was away; what was stopped later was stopped
 * by somebody.
 */
function wasLeftStopped({ leftStopped, quietSince, stopped, stories }: Situation, node: NodeAddress): boolean {
  const story = stories.get(node);
  if (stopped.has(node)) return true;
  if (!leftStopped || story === undefined) return false;
  return !story.wasOk || story.restarted || story.since <= quietSince + notReplicatingGraceMs;
}

/**
 * A former primary that takes writes beside a primary that came back read-only, and lacks what that one has (or it would
 * have been followed): it is made read-only first, then the primary can be reinstated.
 */
function strayWriter(situation: Situation, primary: NodeView | undefined): Action | null {
  const { formerPrimaries, health, members, now, stories, view } = situation;
  const facts = primary?.observation.reach.state === 'up' ? primary.observation.facts : null;
  if (health.state !== 'alive' || facts?.readOnly !== true || primary === undefined) return null;
  const stray = view.nodes.find(({ node, state, ...one }) => {
    const story = stories.get(node);
    if (node === primary.node || !isWritable({ node, state, ...one }) || story === undefined) return false;
    if (!formerPrimaries.has(node) || !members.has(node) || inMaintenance(situation, node)) return false;
    return now >= story.notBefore && now - story.since >= secondWriterGraceMs;
  });
  if (stray === undefined) return null;
  const reason = 'a former primary takes writes that the primary lacks';
  return { do: 'rejoin', analysis: 'two-writers', node: stray.node, reason };
}

/** A primary that answers and cannot commit: replicas that only stopped are started before anybody takes its place. */
function decideStuck(situation: Situation): Action | null {
  const { commit, now, primary, view } = situation;
  if (commit.state !== 'stuck' || !isActionable(commit) || primary === null) return null;
  if (inMaintenance(situation, primary)) return null;
  const { analysis, reason } = commit;
  if (analysis === 'primary-waits-for-replicas') {
    const idle = view.nodes.find((node) => node.node !== primary && mayAcknowledgeAgain(situation, node));
    if (idle !== undefined) return { do: 'rejoin', analysis, node: idle.node, reason: `${reason}; it was stopped` };
    if (now - commit.since < acknowledgementGraceMs) return null;
  }
  const free = situation.brakes.answers.state === 'free' && mayFailOver(situation);
  return free ? { do: 'failover', analysis, answers: true, reason } : null;
}

/** A primary that works and is about to be of no use, beside a replica that does the same writes and keeps up. */
function decideDegraded({ brakes, commit, leavesDegraded, maintenance, primary, view }: Situation): Action | null {
  if (!leavesDegraded || commit.state !== 'ok' || commit.degraded === undefined || primary === null) return null;
  if (brakes.degraded.state !== 'free' || maintenance.cluster || maintenance.nodes.has(primary)) return null;
  if (!view.nodes.some(({ role, state }) => role === 'replica' && state === 'ok')) return null;
  const { latencyMs, usualMs } = commit.degraded;
  const reason = `commits take ${Math.round(latencyMs)} ms, usually ${usualMs.toFixed(1)} ms`;
  return { do: 'switchover', analysis: 'primary-degraded', reason };
}

function mayAcknowledgeAgain(situation: Situation, { node, observation, state }: NodeView): boolean {
  const story = situation.stories.get(node);
  if (!story || situation.now < story.notBefore || story.attempts > 0) return false;
  if (!situation.members.has(node) || inMaintenance(situation, node)) return false;
  return observation.reach.state === 'up' && observation.facts?.readOnly === true && state === 'replication-stopped';
}

/** The one thing to do now. The caller runs nothing else of this cluster meanwhile. */
export function decide(situation: Situation): Action {
  const { view, health, primary } = situation;
  if (primary === null) return view.primary === null ? { do: 'nothing' } : { do: 'begin', primary: view.primary };
  if (view.primary !== null && view.primary !== primary) {
    return followAction(situation, view.primary, 'someone else made it the primary');
  }
  const primaryView = view.nodes.find((node) => node.node === primary);
  if (situation.standBack) {
    // Who recovers it says who the primary is: no hold of ours outlasts that it takes writes.
    const serves = health.state === 'alive' && primaryView !== undefined && isWritable(primaryView);
    return serves && releases(situation, primaryView) ? { do: 'release' } : { do: 'nothing' };
  }
  if (health.state === 'dead') {
    const free = situation.brakes.dead.state === 'free' && !inMaintenance(situation, primary);
    return free && mayFailOver(situation)
      ? { do: 'failover', analysis: 'primary-dead', answers: false, reason: health.reason }
      : { do: 'nothing' };
  }
  const stray = strayWriter(situation, primaryView);
  if (stray !== null) return stray;
  if (primaryView && !inMaintenance(situation, primary)) {
    const reason = reinstateReason(situation, primaryView);
    if (reason !== null) return { do: 'reinstate', analysis: 'primary-read-only', node: primary, reason };
  }
  // A node joins a primary that is there.
  if (health.state !== 'alive' || primaryView === undefined || !isWritable(primaryView)) return { do: 'nothing' };
  const stuck = decideStuck(situation);
  if (stuck !== null) return stuck;
  const otherWriter = view.nodes.some((node) => node.node !== primary && isWritable(node));
  if (!otherWriter && releases(situation, primaryView)) return { do: 'release' };
  const writersFirst = view.nodes.toSorted((a, b) => Number(isWritable(b)) - Number(isWritable(a)));
  for (const node of writersFirst) {
    if (node.node === primary || inMaintenance(situation, node.node)) continue;
    const reason = rejoinReason(situation, node);
    if (reason === null) continue;
    const analysis = isWritable(node) ? 'two-writers' : (ANALYSIS_OF_STATE[node.state] ?? 'replica-wrong-source');
    return { do: 'rejoin', analysis, node: node.node, reason };
  }
  const degraded = decideDegraded(situation);
  if (degraded !== null) return degraded;
  const [wrong] = situation.upkeep.filter(({ node }) => !inMaintenance(situation, node));
  return wrong === undefined ? { do: 'nothing' } : { do: 'semisync', analysis: upkeepAnalysis, ...wrong };
}
