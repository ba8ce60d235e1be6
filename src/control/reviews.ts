// Evidence from workers and its answer. A worker holds from its first evidence until it hears `reviewed healthy` or
// gets another route, so the answer must come fast, must rest on a look that began after the evidence was seen, and
// must not be lost: evidence that could not be answered well is answered when the node is fit again.
import type { EvidenceKind, NodeAddress } from '../messages/index.ts';

/** Who asked, and how to answer. */
interface Asker {
  /** The highest number heard; answering it answers all before. */
  evidence: number;
  answer: (evidence: number, healthy: boolean) => void;
}

export interface ReviewsOptions {
  /** Tells the detector. */
  evidence: (kind: EvidenceKind, node: NodeAddress, detail: string) => void;
  /** Looks at the node with a probe that begins now. */
  look: (node: NodeAddress) => Promise<unknown>;
  /** Judges by what was seen last: answers, and takes writes where it is the primary. */
  fit: (node: NodeAddress) => boolean;
}

/** One cluster's evidence. `key` is one worker. */
export class Reviews<K> {
  readonly #options: ReviewsOptions;
  /** By node, then by worker: bounded by both. */
  readonly #open = new Map<NodeAddress, Map<K, Asker>>();
  readonly #looking = new Set<NodeAddress>();
  readonly #lookAgain = new Set<NodeAddress>();

  constructor(options: ReviewsOptions) {
    this.#options = options;
  }

  /** Takes evidence in; `answer` may be called several times, the last time with `healthy`. */
  take(
    key: K,
    message: { node: NodeAddress; kind: EvidenceKind; evidence: number; detail: string },
    answer: Asker['answer'],
  ): void {
    const { node } = message;
    let askers = this.#open.get(node);
    if (!askers) {
      askers = new Map();
      this.#open.set(node, askers);
    }
    askers.set(key, { evidence: Math.max(message.evidence, askers.get(key)?.evidence ?? 0), answer });
    this.#options.evidence(message.kind, node, message.detail);
    if (this.#looking.has(node)) this.#lookAgain.add(node);
    else void this.#look(node);
  }

  /** A worker is gone: nobody waits for its answers. */
  forget(key: K): void {
    for (const askers of this.#open.values()) askers.delete(key);
  }

  /** Call it after every change of what is known: answers all whose node is fit now and is not being looked at. */
  settle(): void {
    for (const [node, askers] of this.#open) {
      if (askers.size === 0) {
        this.#open.delete(node);
      } else if (!this.#looking.has(node) && this.#options.fit(node)) {
        const all = [...askers].map(([key, { evidence }]) => [key, evidence] as const);
        this.#answer(node, all, true);
      }
    }
  }

  async #look(node: NodeAddress): Promise<void> {
    this.#looking.add(node);
    do {
      this.#lookAgain.delete(node);
      // Whoever comes during the look is answered by the next one.
      const batch = [...(this.#open.get(node) ?? [])].map(([key, { evidence }]) => [key, evidence] as const);
      await this.#options.look(node).catch(() => undefined);
      this.#answer(node, batch, this.#options.fit(node));
    } while (this.#lookAgain.has(node));
    this.#looking.delete(node);
  }

  #answer(node: NodeAddress, batch: readonly (readonly [K, number])[], healthy: boolean): void {
    const askers = this.#open.get(node);
    for (const [key, evidence] of batch) {
      const asker = askers?.get(key);
      asker?.answer(evidence, healthy);
      if (healthy && asker?.evidence === evidence) askers?.delete(key);
    }
    if (askers?.size === 0) this.#open.delete(node);
  }
}
