// What can be done to a cluster, handed in: tests have others do it.
import type { reinstate, runFailover, runRebuild, runRejoin, runSwitchover, runUpkeep } from '../recovery/index.ts';

/** The recoveries themselves, as src/recovery carries them out. None rejects: see the record's outcome. */
export interface Recoveries {
  switchover: typeof runSwitchover;
  failover: typeof runFailover;
  rejoin: typeof runRejoin;
  reinstate: typeof reinstate;
  semisync: typeof runUpkeep;
  /** Beside the others: see rebuilds.ts. */
  rebuild: typeof runRebuild;
}
