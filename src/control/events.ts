// What happens, told to whoever listens: the HTTP interface's event stream, which numbers and keeps it. The shapes
// are those of the public interface.
import type { NodeAddress } from '../messages/index.ts';
import type { RecoveryRecord, RecoveryStep } from '../recovery/types.ts';
import type { Log } from './ports.ts';
import { errorText } from './ports.ts';
import type { OperatorOrder } from './standing.ts';
import type { ClusterStatus } from './status.ts';

export interface ControlEvent {
  type:
    | 'cluster-changed'
    | 'recovery-started'
    | 'recovery-step'
    | 'recovery-ended'
    | 'operator-order'
    | 'worker-changed';
  /** ISO 8601, UTC. */
  at: string;
  cluster: string | null;
  data:
    | { kind: 'cluster'; status: ClusterStatus }
    | {
        kind: 'recovery-started';
        recovery: Pick<RecoveryRecord, 'id' | 'kind' | 'from' | 'to' | 'reason' | 'analysis'>;
      }
    | { kind: 'recovery-step'; recovery: string; step: RecoveryStep }
    | { kind: 'recovery-ended'; recovery: RecoveryRecord }
    | { kind: 'operator-order'; order: OperatorOrder }
    | { kind: 'worker'; worker: number; state: 'started' | 'listening' | 'exited'; detail: string };
}

/** Tells every listener; one that throws is logged and keeps nothing from the others. */
export class Events {
  readonly #listeners = new Set<(event: ControlEvent) => void>();
  readonly #log: Log;
  readonly #now: () => Date;

  constructor(log: Log, now: () => Date) {
    this.#log = log;
    this.#now = now;
  }

  subscribe(listener: (event: ControlEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  cluster(status: ClusterStatus): void {
    this.#tell('cluster-changed', status.name, { kind: 'cluster', status });
  }

  recoveryStarted(record: RecoveryRecord): void {
    const { analysis, id, kind, from, to, reason } = record;
    this.#tell('recovery-started', record.cluster, {
      kind: 'recovery-started',
      recovery: { id, kind, from, to, reason, ...(analysis === undefined ? {} : { analysis }) },
    });
  }

  recoveryStep(record: RecoveryRecord, step: RecoveryStep): void {
    this.#tell('recovery-step', record.cluster, { kind: 'recovery-step', recovery: record.id, step: { ...step } });
  }

  recoveryEnded(record: RecoveryRecord): void {
    this.#tell('recovery-ended', record.cluster, { kind: 'recovery-ended', recovery: record });
  }

  operatorOrder(cluster: string, order: OperatorOrder): void {
    this.#tell('operator-order', cluster, { kind: 'operator-order', order });
  }

  worker(worker: number, state: 'started' | 'listening' | 'exited', detail: string): void {
    this.#tell('worker-changed', null, { kind: 'worker', worker, state, detail });
  }

  #tell(type: ControlEvent['type'], cluster: NodeAddress | null, data: ControlEvent['data']): void {
    const event: ControlEvent = { type, at: this.#now().toISOString(), cluster, data };
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch (error) {
        this.#log.error({ error: errorText(error) }, 'a listener to events failed');
      }
    }
  }
}
