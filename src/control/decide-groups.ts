// What to do in a cluster whose members form a group: pure, as decide.ts, which it falls back to for plain replication.
// The group itself keeps two members from confirming writes apart; so what is left is to send writes where they belong,
// and to leave alone what the group, or an operator, is about to do.
import { couldWrite, galeraOf, leftBehindBy } from '../cluster/index.ts';
import type { NodeView } from '../cluster/types.ts';
import type { NodeAddress } from '../messages/index.ts';
import {
  type Action,
  decide,
  followAction,
  inMaintenance,
  isWritable,
  mayFailOver,
  reinstateReason,
  releases,
  type Situation,
  secondWriterGraceMs,
} from './decide.ts';

/** A writer that gives its data to a newcomer does so for a moment only, where that has missed little. */
export const desyncedGraceMs = 3000;
/** A member that was expelled tries to come back by itself; one that restarted usually joins at its start. */
export const memberOutGraceMs = 5000;

const nothing: Action = { do: 'nothing' };

/** The one thing to do now. The caller runs nothing else of this cluster meanwhile. */
export function decideByTopology(situation: Situation): Action {
  const { primary, view } = situation;
  const topology = view.topology ?? 'replication';
  if (topology === 'replication') return decide(situation);
  if (primary === null) {
    if (view.primary !== null) return { do: 'begin', primary: view.primary };
    const first = topology === 'galera' ? firstWriter(situation) : null;
    return first === null ? nothing : { do: 'begin', primary: first };
  }
  if (view.primary !== null && view.primary !== primary) {
    const why = { group: 'its group elected it', galera: 'someone else made it the primary' };
    const by = topology === 'group' || topology === 'galera' ? why[topology] : 'its platform made it the writer';
    return followAction(situation, view.primary, by);
  }
  if (situation.standBack) return nothing;
  return topology === 'galera' ? decideGalera(situation, primary) : decideFollowing(situation, primary);
}

/**
 * Nobody takes writes, and every member of the component was asked: the first that could. It is made writable as a
 * writer that came back is.
 */
function firstWriter({ view }: Situation): NodeAddress | null {
  if (view.nodes.some(({ state }) => state === 'discovering')) return null;
  const first = view.nodes.find(isFit);
  const own = galeraOf(first?.observation.facts ?? null);
  if (first === undefined || own === null) return null;
  const up = view.nodes.filter(({ observation }) => observation.reach.state === 'up');
  const asked =
    up.length === view.nodes.length ||
    leftBehindBy(
      own,
      up.map((one) => galeraOf(one.observation.facts)),
    );
  return asked ? first.node : null;
}

function isFit({ observation }: NodeView): boolean {
  const own = galeraOf(observation.facts);
  return observation.reach.state === 'up' && own !== null && couldWrite(own);
}

/** Whoever the primary is, dead or alive, is for the group or the platform to say. */
function decideFollowing(situation: Situation, primary: NodeAddress): Action {
  const { view, health, now, stories } = situation;
  const seen = view.nodes.find(({ node }) => node === primary);
  if (health.state !== 'alive' || seen === undefined || seen.state !== 'ok') return nothing;
  if (releases(situation, seen)) return { do: 'release' };
  for (const node of view.nodes) {
    if (node.node === primary || node.state !== 'member-out' || inMaintenance(situation, node.node)) continue;
    const story = stories.get(node.node);
    if (!story || now < story.notBefore || now - story.since < memberOutGraceMs) continue;
    const own = node.observation.facts?.topology;
    // One that an operator took out stays out.
    if (!story.restarted && (own?.kind !== 'group' || own.state !== 'ERROR')) continue;
    return { do: 'rejoin', analysis: 'member-out', node: node.node, reason: node.detail };
  }
  return nothing;
}

function decideGalera(situation: Situation, primary: NodeAddress): Action {
  const { view, health } = situation;
  const seen = view.nodes.find(({ node }) => node === primary);
  if (!inMaintenance(situation, primary)) {
    const leave = leaveReason(situation, seen);
    if (leave !== null) return mayFailOver(situation) ? { do: 'failover', answers: false, ...leave } : nothing;
    const reason = seen === undefined || !isFit(seen) ? null : reinstateReason(situation, seen);
    if (reason !== null) return { do: 'reinstate', analysis: 'primary-read-only', node: primary, reason };
  }
  if (health.state !== 'alive' || seen === undefined || !isWritable(seen) || !isFit(seen)) return nothing;
  if (releases(situation, seen)) return { do: 'release' };
  for (const node of view.nodes) {
    if (node.node === primary || !isWritable(node) || inMaintenance(situation, node.node)) continue;
    const reason = fenceReason(situation, node);
    if (reason !== null) return { do: 'rejoin', analysis: 'two-writers', node: node.node, reason };
  }
  return nothing;
}

/** Why a member that takes writes beside the writer is made read-only; null where it is not, or not yet. */
function fenceReason({ formerPrimaries, now, quietSince, stories }: Situation, member: NodeView): string | null {
  const story = stories.get(member.node);
  if (!story || now < story.notBefore || member.state !== 'second-writer') return null;
  if ((member.observation.factsAt ?? 0) < quietSince) return null;
  if (formerPrimaries.has(member.node)) return 'a former writer takes writes';
  if (story.restarted) return 'a member came back and takes writes';
  return now - story.since >= secondWriterGraceMs ? 'a second member takes writes' : null;
}

type Leave = Pick<Extract<Action, { do: 'failover' }>, 'analysis' | 'reason'>;

/** Why another member should be the writer; null where none should, or none could. */
function leaveReason({ health, now, primary, stories, view }: Situation, seen: NodeView | undefined): Leave | null {
  if (!view.nodes.some((node) => node.node !== primary && isFit(node))) return null;
  if (health.state === 'dead') return { analysis: 'primary-dead', reason: health.reason };
  if (seen === undefined || health.state !== 'alive') return null;
  const ageMs = now - (stories.get(seen.node)?.since ?? now);
  switch (seen.state) {
    case 'no-majority':
      return { analysis: 'primary-no-majority', reason: seen.detail };
    case 'member-out':
    case 'member-joining':
      return { analysis: 'primary-out-of-group', reason: seen.detail };
    case 'desynced':
      return ageMs < desyncedGraceMs ? null : { analysis: 'member-desynced', reason: seen.detail };
    default:
      return null;
  }
}
