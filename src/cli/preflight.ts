// Before anything starts: would the cluster let us in? A wrong password will not mend itself, so it ends the start with its
// reason; a seed that does not answer may come back, so it does not.
import type { ClusterConfig } from '../config/types.ts';
import { look } from './checks/connect.ts';
import { CommandFailure } from './failure.ts';

const TIMEOUT_MS = 2000;
const ACCESS_DENIED = [1045, 1698, 1130];

/** Rejects with CommandFailure where a seed refuses the admin account and none accepts it. */
export async function preflight(clusters: readonly ClusterConfig[]): Promise<void> {
  for (const cluster of clusters) {
    const results = await Promise.all(
      cluster.seeds.map((seed) => look(cluster, seed, TIMEOUT_MS, () => Promise.resolve(true))),
    );
    if (results.some((one) => one.state === 'seen')) continue;
    const refused = results.find((one) => one.state === 'denied' && ACCESS_DENIED.includes(one.errno));
    if (refused?.state !== 'denied') continue;
    const { user } = cluster.admin;
    throw new CommandFailure(
      `cannot start: ${refused.node} does not let the admin account ${user} of cluster ${cluster.name} in (${refused.error}); mend \`admin:\`, or the account`,
    );
  }
}
