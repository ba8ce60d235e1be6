// Words that both planes and everybody who reads metrics use: why a session keeps its server connection, and why a
// server connection ended. docs/sessions.md says what brings each reason about and what ends it.

/** Why a session keeps its server connection. Metric labels, keys of `pinned` in `status --json`. */
export const PIN_REASONS = [
  'temporary-table',
  'table-lock',
  'named-lock',
  'cursor',
  'xa',
  'sql-prepare',
  'handler',
  'user-variable',
  'unmovable-variable',
  'trace',
  'session-tracking',
  'unknown-effect',
  // These end by themselves.
  'transaction',
  'diagnostics',
  'counts',
  'one-shot-transaction',
  'reading-back',
] as const;

export type PinReason = (typeof PIN_REASONS)[number];

/** Sessions by reason; a reason that holds none is not there. */
export type PinCounts = Partial<Record<PinReason, number>>;

/** Why a server connection that had been opened ended. Metric labels. */
export const CLOSE_REASONS = [
  'idle', // free for pool.idleTimeout
  'lifetime', // older than pool.maxLifetime
  'room', // at pool.maxPerNode, for another account
  'left-service', // the node is no longer one to talk to
  'discarded', // left in a state that nobody else may have
  'lost', // broken, or closed by the server
] as const;

export type CloseReason = (typeof CLOSE_REASONS)[number];

/** Server connections of one node. Those of an ended worker stay in the sums of `opened`, `closed` and `joined`. */
export interface ServerConnectionCounts {
  /** Logged in, all together. */
  open: number;
  /** A session's, or shared. */
  inUse: number;
  /** Of these: with reads that others may join. */
  shared: number;
  /** Being opened. */
  connecting: number;
  /** Statements that wait for one. */
  waiting: number;
  /** Since the worker started. */
  opened: number;
  closed: Record<CloseReason, number>;
  /** Statements that were queued behind another session's. */
  joined: number;
}

export function noServerConnections(): ServerConnectionCounts {
  const closed = Object.fromEntries(CLOSE_REASONS.map((reason) => [reason, 0])) as Record<CloseReason, number>;
  return { open: 0, inUse: 0, shared: 0, connecting: 0, waiting: 0, opened: 0, closed, joined: 0 };
}
