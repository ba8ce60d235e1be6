// The control process's door: `startControl` joins configuration, clusters, recoveries, store and workers.
import { ClusterMonitor, LookBudget, monitorClock } from '../cluster/index.ts';
import type { Config } from '../config/types.ts';
import { reinstate, runFailover, runRebuild, runRejoin, runSwitchover, runUpkeep } from '../recovery/index.ts';
import { openEmbeddedStore } from '../store/index.ts';
import { type ControlProcess, startControlWith } from './control.ts';
import { type Log, systemClock } from './ports.ts';

export type { ControlProcess } from './control.ts';
export type { Log } from './ports.ts';

/**
 * Takes the state directory, watches the clusters, starts the workers or takes over those of an earlier run, and
 * resolves when all of them listen. Rejects with a sentence for the operator, nothing being left behind.
 */
export function startControl(config: Config, log: Log): Promise<ControlProcess> {
  // The worker stands beside us in source and in the build alike, with our own ending.
  const ending = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const budget = new LookBudget();
  return startControlWith(config, log, {
    monitor: (options) => new ClusterMonitor({ ...options, clock: monitorClock, budget }),
    recoveries: {
      switchover: runSwitchover,
      failover: runFailover,
      rejoin: runRejoin,
      reinstate,
      semisync: runUpkeep,
      rebuild: runRebuild,
    },
    openStore: openEmbeddedStore,
    workerEntry: new URL(`../gateway/worker.${ending}`, import.meta.url),
    clock: systemClock,
  });
}
