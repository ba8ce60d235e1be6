// The failure detector of the primary: what it makes of our own looks, of the data plane's evidence and of what
// the replicas hear. Pure: events and time come in, health comes out. The idea: one sign is a doubt, never a
// death. Dead is who refuses a second, fresh connection, or has answered nothing for `silentAfterMs` over old
// and new connections alike, while no replica that we can ask still hears it. A server that answers anything,
// even an error, lives; a slow one lives as long as it answers within a look's time-out.
import type { EvidenceKind, NodeAddress } from '../messages/index.ts';
import type { PrimaryHealth, Reach, ReplicationFacts } from './types.ts';

export interface DetectorSettings {
  /** How long the primary must have answered nothing before silence alone can be its death. */
  silentAfterMs: number;
  /** How often nodes are probed. */
  intervalMs: number;
}

export type DetectorEvent =
  /** A probe of the primary ended; `fresh` where it came over a connection made for it. */
  | { type: 'look'; fresh: boolean; startedAt: number; reach: Reach }
  /** Our standing connection to the primary was closed by the other side. */
  | { type: 'closed'; error: string }
  | { type: 'evidence'; kind: EvidenceKind; detail: string }
  /** A probe of a node that is configured to follow the primary. Null: it could not be asked. */
  | { type: 'replica'; node: NodeAddress; startedAt?: number; facts: Heard | null }
  /** Its receiver is being made to connect anew, or was: by that it finds out whether the primary is there. */
  | { type: 'receiver-restart'; node: NodeAddress; done: boolean }
  /** The node no longer follows the primary. */
  | { type: 'replica-gone'; node: NodeAddress }
  /** Time passed. `lateMs`: this much of it, since the last answer or tick, we were not there to hear anything. */
  | { type: 'tick'; lateMs?: number };

type Heard = Pick<ReplicationFacts, 'receiver' | 'heard' | 'heartbeatMs'> &
  Partial<Pick<ReplicationFacts, 'receiverError'>>;

interface Witness {
  /** Null: it could not be asked last time. */
  receiver: ReplicationFacts['receiver'] | null;
  heard: string;
  /** When it last showed that it hears; the first sight of it counts as such. */
  heardAt: number;
  heartbeatMs: number | null;
  /** While its receiver connects anew, which tells: since when, and since when that was ordered in full. */
  findsOut: { since: number; orderedAt: number | null } | null;
}

interface Doubt {
  since: number;
  /** Only a look that began after this one can dispel the doubt. */
  latest: number;
  /** Of the first sign, in words. */
  reason: string;
  /** Signs of all kinds: failed looks, a closed connection, evidence. */
  signs: number;
  failedFreshLooks: number;
  /** Since when fresh looks have been refused, and nothing else; null where the last one was not. */
  refusedSince: number | null;
  /** It told a client that it shuts down. */
  saidGoodbye: boolean;
}

export interface DetectorState {
  readonly lastAnswerAt: number;
  /** When the latest of the answered looks began. */
  readonly answeredLookAt: number;
  readonly doubt: Readonly<Doubt> | null;
  readonly witnesses: ReadonlyMap<NodeAddress, Readonly<Witness>>;
  readonly health: PrimaryHealth;
}

/**
 * A server that shuts down closes its port first and its replicas' connections last, many seconds later on MySQL. One
 * that said so and has refused everybody for this long is left without waiting for that.
 */
const GOODBYE_MS = 300;

/** How long a receiver that was made to connect anew may take over it before it counts as deaf. */
const FIND_OUT_MS = 750;

const NOT_REFUSED = { refusedSince: null, saidGoodbye: false } as const;

/** A detector of a primary that just now was found, or made, the primary. */
export function newDetector(now: number): DetectorState {
  return { lastAnswerAt: now, answeredLookAt: now, doubt: null, witnesses: new Map(), health: { state: 'alive' } };
}

function doubted(doubt: DetectorState['doubt'], at: number, now: number, reason: string): Doubt {
  if (doubt === null) return { since: now, latest: at, reason, signs: 1, failedFreshLooks: 0, ...NOT_REFUSED };
  return { ...doubt, latest: Math.max(doubt.latest, at), signs: doubt.signs + 1 };
}

function onLook(state: DetectorState, event: Extract<DetectorEvent, { type: 'look' }>, now: number): DetectorState {
  const { reach, startedAt } = event;
  if (reach.state === 'up' || reach.state === 'denied') {
    const dispelled = state.doubt !== null && startedAt >= state.doubt.latest;
    return {
      ...state,
      lastAnswerAt: now,
      answeredLookAt: Math.max(state.answeredLookAt, startedAt),
      doubt: dispelled ? null : state.doubt,
    };
  }
  // A look that began later was answered meanwhile: what failed was a connection, not the node.
  if (startedAt < state.answeredLookAt) return state;
  const doubt = doubted(state.doubt, startedAt, now, reach.error);
  if (!event.fresh) return { ...state, doubt };
  return {
    ...state,
    doubt: {
      ...doubt,
      failedFreshLooks: doubt.failedFreshLooks + 1,
      refusedSince: reach.state === 'refused' ? (doubt.refusedSince ?? now) : null,
    },
  };
}

function onEvidence(
  state: DetectorState,
  { kind, detail }: Extract<DetectorEvent, { type: 'evidence' }>,
  now: number,
): DetectorState {
  const doubt = doubted(state.doubt, now, now, `${kind}: ${detail}`);
  return { ...state, doubt: kind === 'shutdown' ? { ...doubt, saidGoodbye: true } : doubt };
}

function onReplica(
  state: DetectorState,
  event: Extract<DetectorEvent, { type: 'replica' }>,
  now: number,
): DetectorState {
  const before = state.witnesses.get(event.node);
  const witnesses = new Map(state.witnesses);
  if (event.facts === null) {
    if (before === undefined) return state;
    witnesses.set(event.node, { ...before, receiver: null });
  } else {
    const { receiver, receiverError = null, heard, heartbeatMs } = event.facts;
    const unchanged = before !== undefined && before.heard === heard;
    // What was seen before the receiver was stopped and started says nothing about how it fared since.
    const orderedAt = before?.findsOut?.orderedAt ?? null;
    const later = orderedAt !== null && (event.startedAt ?? now) >= orderedAt;
    const knows = later && (receiver === 'running' || (receiver === 'connecting' && receiverError !== null));
    witnesses.set(event.node, {
      receiver,
      heard,
      heardAt: unchanged ? before.heardAt : now,
      heartbeatMs: heartbeatMs ?? null,
      findsOut: knows ? null : (before?.findsOut ?? null),
    });
  }
  return { ...state, witnesses };
}

function onRestart(
  state: DetectorState,
  { node, done }: Extract<DetectorEvent, { type: 'receiver-restart' }>,
  now: number,
): DetectorState {
  const before = state.witnesses.get(node);
  if (before === undefined) return state;
  const witnesses = new Map(state.witnesses);
  const findsOut = { since: before.findsOut?.since ?? now, orderedAt: done ? now : null };
  witnesses.set(node, { ...before, findsOut });
  return { ...state, witnesses };
}

/** Nobody can be called silent for the time in which we did not listen. */
function unheard(state: DetectorState, lateMs: number, now: number): DetectorState {
  const later = (at: number): number => Math.min(now, at + lateMs);
  const witnesses = new Map([...state.witnesses].map(([node, one]) => [node, { ...one, heardAt: later(one.heardAt) }]));
  return { ...state, lastAnswerAt: later(state.lastAnswerAt), witnesses };
}

/** How long a receiver that runs may hear nothing before we count it as deaf: at least two of its heartbeats. */
function patienceMs(witness: Witness, settings: DetectorSettings): number {
  const heartbeats = witness.heartbeatMs === null ? 0 : 2 * witness.heartbeatMs + 2 * settings.intervalMs;
  return Math.max(0.8 * settings.silentAfterMs, heartbeats);
}

/** Replicas that, as far as they told, still hear the primary. */
function hearing(state: DetectorState, settings: DetectorSettings, now: number): NodeAddress[] {
  return [...state.witnesses]
    .filter(([, witness]) => witness.receiver === 'running' && now - witness.heardAt < patienceMs(witness, settings))
    .map(([node]) => node);
}

/** Replicas that could be asked and do not know yet. */
function findingOut({ witnesses }: DetectorState, now: number): NodeAddress[] {
  return [...witnesses]
    .filter(
      ([, { findsOut, receiver }]) => receiver !== null && findsOut !== null && now - findsOut.since < FIND_OUT_MS,
    )
    .map(([node]) => node);
}

/**
 * Replicas whose heartbeats are too rare to tell a silent primary from an idle one within `silentAfterMs`. Restarting
 * their receivers makes them find out at once.
 */
export function slowWitnesses(state: DetectorState, settings: DetectorSettings): NodeAddress[] {
  return [...state.witnesses]
    .filter(
      ([, witness]) =>
        witness.receiver === 'running' &&
        witness.heartbeatMs !== null &&
        patienceMs(witness, settings) > settings.silentAfterMs,
    )
    .map(([node]) => node);
}

function judge(state: DetectorState, settings: DetectorSettings, now: number): PrimaryHealth {
  const { doubt } = state;
  if (doubt === null) return { state: 'alive' };
  const { since } = doubt;
  const silentForMs = Math.round(now - state.lastAnswerAt);
  const refused = doubt.refusedSince !== null && doubt.signs >= 2;
  const silent = silentForMs >= settings.silentAfterMs && doubt.failedFreshLooks >= 1 && doubt.signs >= 2;
  if (!refused && !silent) return { state: 'suspect', since, reason: doubt.reason };
  const found = refused ? 'it refuses new connections' : `no answer for ${settings.silentAfterMs} ms`;
  const stillHeardBy = hearing(state, settings, now);
  const leaving = doubt.saidGoodbye && doubt.refusedSince !== null && now - doubt.refusedSince >= GOODBYE_MS;
  if (leaving) return { state: 'dead', since, reason: 'it shuts down, and refuses new connections' };
  if (stillHeardBy.length > 0) {
    return {
      state: 'suspect',
      since,
      reason: `${found}, but ${stillHeardBy.join(', ')} still hears it`,
      heardBy: stillHeardBy,
    };
  }
  const connecting = findingOut(state, now);
  if (connecting.length > 0) {
    return { state: 'suspect', since, reason: `${found}; ${connecting.join(', ')} is finding out whether it hears it` };
  }
  const asked = [...state.witnesses.values()].filter((witness) => witness.receiver !== null).length;
  return {
    state: 'dead',
    since,
    reason: `${found}; ${asked === 0 ? 'no replica could be asked' : 'no replica hears it'}`,
  };
}

/** One step. `now` is monotonic, ms, and never smaller than before. */
export function detect(
  state: DetectorState,
  event: DetectorEvent,
  settings: DetectorSettings,
  now: number,
): DetectorState {
  const next = applied(state, event, now);
  return { ...next, health: judge(next, settings, now) };
}

function applied(state: DetectorState, event: DetectorEvent, now: number): DetectorState {
  switch (event.type) {
    case 'look':
      return onLook(state, event, now);
    case 'closed':
      return { ...state, doubt: doubted(state.doubt, now, now, event.error) };
    case 'evidence':
      return onEvidence(state, event, now);
    case 'replica':
      return onReplica(state, event, now);
    case 'receiver-restart':
      return onRestart(state, event, now);
    case 'replica-gone': {
      const witnesses = new Map(state.witnesses);
      witnesses.delete(event.node);
      return { ...state, witnesses };
    }
    case 'tick':
      return event.lateMs === undefined || event.lateMs <= 0 ? state : unheard(state, event.lateMs, now);
    default:
      throw new Error(`unknown detector event: ${JSON.stringify(event satisfies never)}`);
  }
}
