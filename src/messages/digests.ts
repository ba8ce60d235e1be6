// Statistics of statements by their shape.

/** What statements of one shape took, of one worker or of all since they started. Times in ms, waits included. */
export interface DigestCounts {
  endpoint: string;
  user: string;
  /** The session's default schema. */
  schema: string | null;
  /** Their shape; empty: of all that were too many to be told apart. */
  statement: string;
  count: number;
  errors: number;
  totalMs: number;
  longestMs: number;
}

/** By what they are told first: all their time, their number, how many failed, the longest one's time. */
export const DIGEST_ORDERS = ['time', 'count', 'errors', 'longest'] as const;
export type DigestOrder = (typeof DIGEST_ORDERS)[number];
