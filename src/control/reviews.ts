// Evidence from workers and its answer. A worker holds from its first evidence until it hears `reviewed healthy` or
// gets another route, so the answer must come fast, must rest on a look that began after the evidence was seen, and
// must not be lost: evidence that could not be answered well is answered when the node is fit again.
import type { EvidenceKind, NodeAddress } from '../messages/index.ts';

/** Who asked, and how to answer. */
interface Asker {
  /** The highest number heard; answering it answers all before. */
  evidence: number;
  /** When the highest one was heard. */
  since: number;
  answer: (evidence: number, healthy: boolean) => void;
}

export interface ReviewsOptions {
  /** Tells the detector. */
  evidence: (kind: EvidenceKind, node: NodeAddress, detail: string) => void;
  /** Looks at the node with a probe that begins now. */
  look: (node: NodeAddress) => Promise<unknown>;
  /** Judges by a look that began at `since` or later: answers, and takes writes where it is the primary. */
  fit: (node: NodeAddress, since: number) => boolean;
  nowMs: () => number;
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
    this.#options.evidence(message.kind, node, message.detail);
    // An idle connection that was closed makes nobody wait, so nobody waits for an answer.
    if (message.kind === 'idle-closed') return;
    let askers = this.#open.get(node);
    if (!askers) {
      askers = new Map();
      this.#open.set(node, askers);
    }
    const evidence = Math.max(message.evidence, askers.get(key)?.evidence ?? 0);
    askers.set(key, { evidence, since: this.#options.nowMs(), answer });
    if (this.#looking.has(node)) this.#lookAgain.add(node);
    else void this.#look(node);
  }

  /** A worker is gone: nobody waits for its answers. */
  forget(key: K): void {
    for (const askers of this.#open.values()) askers.delete(key);
  }

  /** Call it after every change of what is known: answers those whose node proved fit since they asked. */
  settle(): void {
    for (const [node, askers] of this.#open) {
      if (askers.size === 0) this.#open.delete(node);
      else if (!this.#looking.has(node)) this.#answer(node, this.#batch(node), false);
    }
  }

  async #look(node: NodeAddress): Promise<void> {
    this.#looking.add(node);
    do {
      this.#lookAgain.delete(node);
      // Whoever comes during the look is answered by the next one.
      const batch = this.#batch(node);
      await this.#options.look(node).catch(() => undefined);
      this.#answer(node, batch, true);
    } while (this.#lookAgain.has(node));
    this.#looking.delete(node);
  }

  #batch(node: NodeAddress): [K, Asker][] {
    return [...(this.#open.get(node) ?? [])];
  }

  #answer(node: NodeAddress, batch: [K, Asker][], tellUnfit: boolean): void {
    const askers = this.#open.get(node);
    for (const [key, asked] of batch) {
      const asker = askers?.get(key);
      if (!asker) continue; // it is gone, or was answered
      const healthy = this.#options.fit(node, asked.since);
      if (healthy || tellUnfit) asker.answer(asked.evidence, healthy);
      if (healthy && asker.evidence === asked.evidence) askers?.delete(key);
    }
    if (askers?.size === 0) this.#open.delete(node);
  }
}
