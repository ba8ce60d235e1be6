// What a node tells of itself, for tests of what is concluded from it: each says what matters to it, the rest is in order.
import type { NodeFacts, ReplicationFacts } from '../../src/cluster/types.ts';

/** Of a replica that has nothing yet. */
export const REPLICATION: ReplicationFacts = {
  sourceHost: 'a',
  sourcePort: 1,
  sourceUuid: null,
  receiver: 'running',
  receiverError: null,
  applier: 'running',
  applierError: null,
  delaySeconds: 0,
  lagMs: 0,
  received: '',
  heard: '',
  semiSyncActive: false,
};

/** Of a node that is read-only; it has applied `gtids`, and replicates where it has `received` something, be it ''. */
export function factsOf(
  has: { gtids: string; received?: string | undefined },
  rest: Pick<NodeFacts, 'flavor' | 'serverId' | 'identity'> & Partial<NodeFacts>,
): NodeFacts {
  const { gtids, received } = has;
  return {
    version: 'x',
    startedAtMs: 0,
    readOnly: true,
    superReadOnly: true,
    gtidExecuted: gtids,
    gtidPosition: gtids,
    logBin: true,
    logReplicaUpdates: true,
    replication: received === undefined ? null : { ...REPLICATION, received },
    semiSync: null,
    replicas: [],
    ...rest,
  };
}
