// What a drill strikes, behind one interface: a sandbox, to which anything may happen, and a user's own cluster, to which
// only happens what Evenkeel is ordered to do.
import type { FaultKind } from '../drill/index.ts';
import type { ClusterStatus } from '../http/api.ts';
import type { Flavor } from '../messages/index.ts';
import type { RecoveryRecord } from '../recovery/types.ts';
import { orderedSwitchover, strike, within } from './faults.ts';
import { ailmentOf, becomesWhole, HEALTHY_TIMEOUT_MS, type Waiting } from './repair.ts';
import type { Stage } from './stage.ts';

/** A busy Evenkeel may take a moment to answer. */
const NAMED_TIMEOUT_MS = 10_000;
const RECOVERIES_TOLD = 4;

export interface Ground {
  readonly flavor: Flavor;
  /** Waits until the cluster is as it was; what is wrong in the end, or null. */
  whole(waiting: Waiting): Promise<string | null>;
  /** How the primary is called; null where Evenkeel names none for a while. */
  primary(): Promise<string | null>;
  /** The last recoveries, a line each, for a drill that has failed. */
  recoveries(): Promise<string[]>;
  /**
   * Strikes once. `alone`: nothing else strikes at the same time that it might fail by. `enough`: the drill has failed, and
   * the end need not be waited for. Says what did not happen that should have, or null.
   */
  strike(kind: FaultKind, primary: string, alone: boolean, enough: () => boolean): Promise<string | null>;
  /** Where the primary itself can be asked what it holds, past Evenkeel; null where it cannot. */
  past(): Promise<{ host: string; port: number } | null>;
}

export function sandboxGround(stage: Stage, nodes: number): Ground {
  const primaryNode = async () => stage.node((await stage.status())?.clusters[0]?.primary ?? null);
  return {
    flavor: stage.sandbox.flavor,
    whole: (waiting) => becomesWhole(stage, nodes, waiting),
    primary: async () => {
      let name: string | null = null;
      await within(NAMED_TIMEOUT_MS, async () => {
        name = (await primaryNode())?.name ?? null;
        return name !== null;
      });
      return name;
    },
    recoveries: async () => (await stage.history()).slice(0, RECOVERIES_TOLD).map(lineOf),
    strike: async (kind, primary, alone, enough) => {
      const victim = stage.sandbox.nodes.find(({ name }) => name === primary);
      if (victim === undefined) throw new Error(`the sandbox has no ${primary}`);
      return strike(stage, { kind, victim, alone, enough });
    },
    past: primaryNode,
  };
}

function lineOf({ startedAt, kind, from, to, outcome, reason, durationMs }: RecoveryRecord): string {
  return `${startedAt} ${kind} ${from ?? '-'} -> ${to ?? '-'}: ${outcome} after ${Math.round(durationMs)} ms; ${reason}`;
}

/** What a drill needs of the Evenkeel in front of a user's own cluster. */
export interface RealCluster {
  flavor: Flavor;
  status(): Promise<ClusterStatus>;
  /** Rejects where it is not done. */
  switchover(): Promise<RecoveryRecord>;
}

export function realGround(cluster: RealCluster): Ground {
  return {
    flavor: cluster.flavor,
    whole: async ({ enough }) => {
      let wrong: string | null = null;
      const met = await within(HEALTHY_TIMEOUT_MS, async () => {
        wrong = ailmentOf(await cluster.status());
        return wrong === null || enough();
      });
      return met ? null : `the cluster was not whole after ${HEALTHY_TIMEOUT_MS / 1000} s: ${wrong}`;
    },
    primary: async () => (await cluster.status()).primary,
    recoveries: () => Promise.resolve([]),
    strike: (kind, _primary, alone, enough) => {
      if (kind !== 'switchover') throw new Error(`a ${kind} is not for a cluster that is in use`);
      return orderedSwitchover(() => cluster.switchover(), alone, enough);
    },
    past: () => Promise.resolve(null),
  };
}
