// What a pool has done since its worker started, in plain numbers: some are counted on the way of every statement.
import type { CloseReason } from '../messages/index.ts';
import type { Loss } from './server-connection.ts';

export class PoolStats {
  opened = 0;
  /** Statements that were queued behind another session's. */
  joined = 0;
  readonly closed: Record<CloseReason, number> = {
    idle: 0,
    lifetime: 0,
    room: 0,
    'left-service': 0,
    discarded: 0,
    lost: 0,
  };

  /** `intent`: why the pool itself ended it, if it did. */
  ended(loss: Loss, intent: CloseReason | null): void {
    this.closed[intent ?? (loss.kind === 'closed' ? 'discarded' : 'lost')]++;
  }
}
