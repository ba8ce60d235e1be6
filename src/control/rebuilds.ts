// Nodes that are being built anew, each by itself and beside everything else: a rebuild takes as long as its data takes,
// and a failover must not wait for it. While it runs its node is left alone by everybody else.
import type { NodeAddress } from '../messages/index.ts';
import type { RebuildOptions, RecoveryContext, RecoveryRecord, RecoveryStep } from '../recovery/index.ts';
import { OrderError } from './order-error.ts';

export interface RebuildsOptions {
  context: RecoveryContext;
  run: (context: RecoveryContext, options: RebuildOptions) => Promise<RecoveryRecord>;
  onStarted: (record: RecoveryRecord) => void;
  onStep: (record: RecoveryRecord, step: RecoveryStep) => void;
  onEnded: (record: RecoveryRecord) => void;
  onChanged: () => void;
}

/** More at a time would only slow each other down, and the donors. */
const MAX_AT_A_TIME = 2;

export class Rebuilds {
  readonly #options: RebuildsOptions;
  readonly #running = new Set<NodeAddress>();

  constructor(options: RebuildsOptions) {
    this.#options = options;
  }

  /** Nodes that are being built now. */
  get nodes(): ReadonlySet<NodeAddress> {
    return this.#running;
  }

  /** Resolves with the record, however it ended. Rejects with an OrderError where it did not begin. */
  async start(options: RebuildOptions): Promise<RecoveryRecord> {
    const { node } = options;
    if (this.#running.has(node)) throw new OrderError('busy', `${node} is being built already`);
    if (this.#running.size >= MAX_AT_A_TIME) {
      throw new OrderError('busy', `${[...this.#running].join(' and ')} are being built; wait for one of them`);
    }
    const { context, onChanged, onEnded, onStarted, onStep, run } = this.#options;
    this.#running.add(node);
    onChanged();
    let begun = false;
    try {
      const record = await run(
        {
          ...context,
          onProgress: (current, step) => {
            if (step === null) {
              begun = true;
              onStarted(current);
              for (const earlier of current.steps) onStep(current, earlier);
            } else if (begun) onStep(current, step);
          },
        },
        options,
      );
      if (!begun) throw new OrderError('refused', record.reason.replace(/^refused: /, ''));
      onEnded(record);
      return record;
    } finally {
      this.#running.delete(node);
      onChanged();
    }
  }
}
