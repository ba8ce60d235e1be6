// Every way in which a cluster can be wrong, as one table: its name, what was observed, what makes us sure, and what is
// done about it. Problems, events, metrics and history take their names from here; docs/analyses.md is this table,
// and a test holds the two together. What is not in this table is not diagnosed.
import type { NodeState } from './types.ts';

/** What is done about it, where `recovery` is `automatic`. */
export type AnalysisAction =
  | 'failover'
  | 'switchover'
  | 'reinstate'
  | 'rejoin'
  | 'follow'
  | 'semisync'
  | 'hold'
  | 'tell';

export interface Analysis {
  name: string;
  about: 'cluster' | 'primary' | 'replica' | 'recovery';
  /** Over what was observed. */
  condition: string;
  /** When it is believed. */
  confidence: string;
  action: AnalysisAction;
  /** What exactly is done, or why nothing is. */
  does: string;
}

export const ANALYSES = [
  {
    name: 'no-primary',
    about: 'cluster',
    condition: 'nobody remembers a primary, and no node, or several of which none follows another, takes writes',
    confidence: 'every node had its chance to answer',
    action: 'hold',
    does: 'statements wait; make one node writable and it is followed, or `failover --to NODE`',
  },
  {
    name: 'two-writers',
    about: 'cluster',
    condition: 'more than one node takes writes',
    confidence: 'at once for a former primary or a node that restarted; after 3 s else: someone may be at work',
    action: 'rejoin',
    does: 'statements go to the known primary only; the other is made read-only and follows, if it is a member',
  },
  {
    name: 'primary-moved',
    about: 'cluster',
    condition: 'the known primary takes no writes, and exactly one other node does that has all it had, or is followed',
    confidence: 'seen in one look at all of them; never where the known one is merely silent',
    action: 'follow',
    does: 'someone else moved the primary: clients are held, the old one is made read-only if need be, writes go on',
  },
  {
    name: 'mixed-flavors',
    about: 'cluster',
    condition: 'MySQL and MariaDB in one cluster',
    confidence: 'what the servers say of themselves',
    action: 'tell',
    does: 'the smaller part is kept out of everything',
  },
  {
    name: 'cluster-restarted',
    about: 'cluster',
    condition: 'no node answered, and now one does again, and its primary does not yet',
    confidence: 'none of at least two nodes answered at the same time; groups settle it by themselves',
    action: 'hold',
    does: 'for 10 s nobody is promoted: the primary has all that was acknowledged and is reinstated when it is back; then as `primary-dead`',
  },
  {
    name: 'primary-suspect',
    about: 'primary',
    condition: 'a connection broke, a look failed, or a worker brought evidence',
    confidence: 'one sign',
    action: 'hold',
    does: 'every node is looked at at once; statements wait from 30 ms on',
  },
  {
    name: 'primary-out-of-our-reach',
    about: 'primary',
    condition: 'it refuses or does not answer us, but a replica still hears it',
    confidence: 'as for a dead one; a replica that has rare heartbeats is made to connect anew',
    action: 'hold',
    does: 'nobody is promoted: it may be serving others, and mending the network is quicker than two writers',
  },
  {
    name: 'primary-dead',
    about: 'primary',
    condition: 'its process is gone, its host is gone or frozen, or nobody that we can ask reaches it',
    confidence:
      'two signs: new connections refused twice, or `probe.silentAfter` without an answer on old and new connections; and no replica that answers hears it',
    action: 'failover',
    does: 'receivers are stopped, it is fenced as far as it can be reached, the replica that received most is promoted',
  },
  {
    name: 'primary-read-only',
    about: 'primary',
    condition: 'it answers and takes no writes, and no other node does',
    confidence:
      'at once after a restart of its process; after 5 s where it was so when we came; never where someone set it under our eyes',
    action: 'reinstate',
    does: 'it is made writable again if it has all that it was last seen to have, and no replica has more',
  },
  {
    name: 'primary-replaced',
    about: 'primary',
    condition: "another server answers at the primary's address",
    confidence: 'its identity differs from the one remembered',
    action: 'hold',
    does: 'statements wait: it may lack everything; `failover --to NODE` names who has the data',
  },
  {
    name: 'primary-denied',
    about: 'primary',
    condition: 'it answers, but does not let us in: connections used up, the admin account refused',
    confidence: "the server's own error",
    action: 'tell',
    does: 'it lives, and clients that have connections go on; the error names what to mend',
  },
  {
    name: 'primary-no-majority',
    about: 'primary',
    condition: 'the primary of a group answers, but sees no majority of it',
    confidence: 'what it says of itself',
    action: 'hold',
    does: 'it can confirm nothing: statements wait until it is back in the majority, or that has another primary',
  },
  {
    name: 'primary-out-of-group',
    about: 'primary',
    condition: 'the primary of a group answers, but is offline, expelled or still joining',
    confidence: 'what it says of itself',
    action: 'hold',
    does: 'statements wait; who is primary then is for the group to elect, or on Galera for a failover',
  },
  {
    name: 'primary-disk-full',
    about: 'primary',
    condition: 'it answers, but a commit does not end, or is refused: its disk is full',
    confidence:
      "`heartbeat.deadline`, and the server's own words (its error, its state, on MySQL its error log); an error has to come twice",
    action: 'failover',
    does: 'as for a dead one; its connections are ended first, and it is made read-only as soon as it can be',
  },
  {
    name: 'primary-stalled',
    about: 'primary',
    condition: 'it answers, but a commit does not end, and no counter of writes or syncs moves',
    confidence: '`heartbeat.deadline`, and two looks between which nothing moved',
    action: 'failover',
    does: 'as for a full disk',
  },
  {
    name: 'primary-waits-for-replicas',
    about: 'primary',
    condition: 'a commit waits for the acknowledgement of a replica, and none comes',
    confidence: "`heartbeat.deadline`, and the state of our own session in the server's words",
    action: 'failover',
    does: 'to a replica that we reach though the primary does not; refused where there is none: then bring a replica back',
  },
  {
    name: 'primary-locked',
    about: 'primary',
    condition: 'a commit waits for a lock: a global read lock, a backup, a table',
    confidence: "`heartbeat.deadline`, and the state of our own session in the server's words",
    action: 'tell',
    does: 'somebody holds the lock, on purpose perhaps: the state says which',
  },
  {
    name: 'primary-commits-late',
    about: 'primary',
    condition: 'a commit does not end, but the server goes on writing',
    confidence: '`heartbeat.deadline`, and counters that move',
    action: 'tell',
    does: "most often somebody's large transaction is being written, which another primary would not do faster",
  },
  {
    name: 'primary-degraded',
    about: 'primary',
    condition: 'its commits take ten times as long as they used to, and 250 ms or more',
    confidence:
      'our own writes (`heartbeat`): four of five within `heartbeat.degradedAfter`, after 120 of them to compare with',
    action: 'switchover',
    does: 'with `switchover.degraded: move` a planned switchover, at most every ten minutes, to a replica that keeps up: it does the same writes; else it is told',
  },
  {
    name: 'primary-connections-used-up',
    about: 'primary',
    condition: 'as many clients are connected as `max_connections` allows',
    confidence: 'what the server says of itself, over connections that are there',
    action: 'tell',
    does: 'clients that have connections go on, and they would fill another primary just as well',
  },
  {
    name: 'semisync-degraded',
    about: 'primary',
    condition: 'semi-sync is asked for and off, timed out, or fewer replicas acknowledge than it waits for',
    confidence: 'what the nodes say of themselves, for 2.5 s',
    action: 'semisync',
    does: 'with `durability: semisync` or `cross-zone` replicas that should acknowledge are made to, and the primary is told to wait once enough of them do; a failover refuses where an acknowledged write could be lost',
  },
  {
    name: 'replica-unreachable',
    about: 'replica',
    condition: 'a node refuses connections or does not answer',
    confidence: 'the last look',
    action: 'tell',
    does: 'no reads go to it; it joins by itself when it is back',
  },
  {
    name: 'replica-denied',
    about: 'replica',
    condition: 'a node answers, but does not let us in',
    confidence: "the server's own error",
    action: 'tell',
    does: 'no reads go to it; the error names what to mend',
  },
  {
    name: 'replica-stopped',
    about: 'replica',
    condition: 'its receiver or its applier is stopped, without an error',
    confidence: 'what it says of itself; rejoined only where its source is not the primary any more',
    action: 'tell',
    does: 'an operator stopped it on purpose, perhaps: no reads go to it, the statement that starts it is told',
  },
  {
    name: 'replica-broken',
    about: 'replica',
    condition: 'its receiver or its applier stopped on an error',
    confidence: 'what it says of itself, while the primary is up',
    action: 'tell',
    does: 'no reads go to it, it is not promoted; the error is told',
  },
  {
    name: 'replica-wrong-source',
    about: 'replica',
    condition: 'the chain of its sources does not end at the primary',
    confidence: 'at once after a restart; after 2 s else',
    action: 'rejoin',
    does: 'it follows the primary, unless it has transactions that the primary has not',
  },
  {
    name: 'replica-not-replicating',
    about: 'replica',
    condition: 'it is read-only and follows nobody',
    confidence: 'at once after a restart; after 2 s else',
    action: 'rejoin',
    does: 'it follows the primary, unless it has transactions that the primary has not',
  },
  {
    name: 'replica-delayed',
    about: 'replica',
    condition: 'it applies later on purpose',
    confidence: 'its configured delay',
    action: 'tell',
    does: 'no reads go to it; it is promoted only where there is nobody else',
  },
  {
    name: 'replica-lagging',
    about: 'replica',
    condition: 'it is behind by more than `switchover.maxLag`',
    confidence: 'the lag that it tells',
    action: 'tell',
    does: 'endpoints with a `maxLag` leave it out; a switchover to it is refused until it has caught up',
  },
  {
    name: 'replica-errant',
    about: 'replica',
    condition: 'it has transactions that the primary has not',
    confidence:
      'its set was read before the one of the primary; remembered while the primary cannot be asked. What the primary of MySQL is committing its replicas may have executed already: such a transaction counts after 10 s only',
    action: 'tell',
    does: 'kept out of reads and of promotion, the transactions are named',
  },
  {
    name: 'replica-replaced',
    about: 'replica',
    condition: "another server answers at a replica's address",
    confidence: 'its identity differs; accepted after a minute of replicating in health',
    action: 'tell',
    does: 'no reads go to it until then',
  },
  {
    name: 'member-joining',
    about: 'replica',
    condition: 'a member of a group is being brought up to date',
    confidence: 'what it says of itself',
    action: 'tell',
    does: 'no reads go to it, it is not promoted',
  },
  {
    name: 'member-out',
    about: 'replica',
    condition: 'a member of a group is offline, expelled, disconnected, or takes no statements',
    confidence: 'what it says of itself',
    action: 'tell',
    does: 'no reads go to it, it is not promoted; what brings it back is told',
  },
  {
    name: 'member-no-majority',
    about: 'replica',
    condition: 'a member of a group sees no majority of it',
    confidence: 'what it says of itself',
    action: 'tell',
    does: 'no reads go to it, they could be old; it is not promoted',
  },
  {
    name: 'member-desynced',
    about: 'replica',
    condition: 'Galera: a member gives its data to another, or was told not to keep up',
    confidence: 'what it says of itself',
    action: 'tell',
    does: 'no reads go to it, it does not become the writer',
  },
  {
    name: 'recovery-refused',
    about: 'recovery',
    condition: 'a recovery was refused or failed, and its cause still stands',
    confidence: 'the refusal itself',
    action: 'tell',
    does: 'tried again when something changed, and every 10 s; the sentence says what an operator can do',
  },
  {
    name: 'recovery-postponed',
    about: 'recovery',
    condition: 'a failover from a primary that answers would follow the last failover too soon',
    confidence: '`failover.minInterval`, by the history',
    action: 'tell',
    does: 'waits for the time to pass; a dead primary is not made to wait',
  },
  {
    name: 'recovery-stopped',
    about: 'recovery',
    condition:
      '`failover.maxFailures` failovers failed in a row within ten minutes, or an old primary could not be fenced and `failover.unfenced` is `refuse`',
    confidence: 'the history, which a restart does not forget; refusals do not count',
    action: 'tell',
    does: "nobody is promoted until an operator's failover or switchover came about",
  },
  {
    name: 'recovery-elsewhere',
    about: 'recovery',
    condition: 'another Evenkeel holds the advisory lock of this cluster on most of the nodes that answer',
    confidence: 'the servers say who holds it; where both have as many, the first node by name decides',
    action: 'tell',
    does: 'stands back: what the other one does is followed, orders are refused; when it is gone its place is taken',
  },
  {
    name: 'recovery-observed',
    about: 'recovery',
    condition: '`recovery: observe`, and something would have been done',
    confidence: 'as for what would have been done',
    action: 'tell',
    does: 'says what it would have done, in status, events and history; nothing is touched',
  },
] as const satisfies readonly Analysis[];

/** The word that stands in problems, events, metrics and history. */
export type AnalysisName = (typeof ANALYSES)[number]['name'];

export const ANALYSIS_NAMES = ANALYSES.map(({ name }) => name) as readonly AnalysisName[];

/** What a node that is not the primary is said to have, by its state; null where nothing is wrong or it is told elsewhere. */
export const ANALYSIS_OF_STATE: Readonly<Record<NodeState, AnalysisName | null>> = {
  ok: null,
  discovering: null,
  unreachable: 'replica-unreachable',
  denied: 'replica-denied',
  'read-only-primary': null,
  'second-writer': null,
  'replication-stopped': 'replica-stopped',
  'replication-broken': 'replica-broken',
  'replication-wrong-source': 'replica-wrong-source',
  'not-replicating': 'replica-not-replicating',
  delayed: 'replica-delayed',
  lagging: 'replica-lagging',
  errant: 'replica-errant',
  'identity-changed': 'replica-replaced',
  'other-flavor': null,
  'member-joining': 'member-joining',
  'member-out': 'member-out',
  'no-majority': 'member-no-majority',
  desynced: 'member-desynced',
};
