// Sets semi-sync up anew on one node, for its role, as the durability policy wants it. Clients notice nothing.
import type { NodeAddress } from '../messages/index.ts';
import { carryOut, newRun } from './execute.ts';
import { Journal } from './journal.ts';
import { LIMITS, step } from './plan.ts';
import type { RecoveryContext, RecoveryRecord } from './types.ts';

export interface UpkeepOptions {
  node: NodeAddress;
  role: 'source' | 'replica';
  reason: string;
}

/** Never rejects. */
export async function runUpkeep(ctx: RecoveryContext, { node, role, reason }: UpkeepOptions): Promise<RecoveryRecord> {
  const primary = ctx.view().primary;
  const journal = new Journal(ctx, 'semisync', primary, node);
  if (primary === null) return journal.refuse('refused: no primary is known', false);
  journal.note('why', reason);
  journal.begin();
  const action = { do: 'semi-sync-role', node, role, primary } as const;
  const carried = await carryOut(newRun(ctx, journal), [{ lanes: [[step(action, LIMITS.roleMs)]] }]);
  if (!carried.ok) return journal.end('failed', `${carried.step}: ${carried.error}`, false);
  return journal.end('done', reason, false);
}
