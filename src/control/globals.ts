// Notices a SET GLOBAL on the primary that went past Evenkeel: who logs in from then on is to have the new value, though the
// server connections that are there were opened with the old one. Workers are told as of a client's own SET GLOBAL.
import type { ClusterView, NodeControl } from '../cluster/types.ts';
import { INHERITED_DEFAULTS, type NodeAddress, type Replaced, SESSION_DEFAULTS } from '../messages/index.ts';
import { type Clock, errorText, type Log } from './ports.ts';

const TIMEOUT_MS = 2000;
const NAMES = [...SESSION_DEFAULTS, ...INHERITED_DEFAULTS];

export interface GlobalsOptions {
  cluster: string;
  nodes: Pick<NodeControl, 'globals'>;
  clock: Clock;
  log: Log;
  /** How often they are read: more seldom where one process watches many clusters. */
  everyMs: number;
  onReplaced: (node: NodeAddress, replaced: Replaced) => void;
}

export class Globals {
  readonly #options: GlobalsOptions;
  #node: NodeAddress | null = null;
  /** By variable, as last read. */
  #known = new Map<string, string>();
  #nextMs = 0;
  #reading = false;
  /** Variables that a client set through a worker while they were read. */
  #toldMeanwhile = new Set<string>();

  constructor(options: GlobalsOptions) {
    this.#options = options;
  }

  /** To be called after every change of the view, and now and then. */
  evaluate({ primary, nodes }: ClusterView): void {
    const up = nodes.some(({ node, observation }) => node === primary && observation.reach.state === 'up');
    if (primary === null || !up || this.#reading) return;
    const now = this.#options.clock.nowMs();
    if (primary !== this.#node) {
      this.#node = primary;
      this.#known = new Map();
    } else if (now < this.#nextMs) return;
    this.#nextMs = now + this.#options.everyMs;
    this.#reading = true;
    void this.#read(primary);
  }

  /** A client's SET GLOBAL, of which all workers know. */
  told(node: NodeAddress, replaced: Replaced): void {
    if (node !== this.#node) return;
    for (const name of Object.keys(replaced)) {
      this.#known.delete(name);
      if (this.#reading) this.#toldMeanwhile.add(name);
    }
  }

  async #read(node: NodeAddress): Promise<void> {
    const { cluster, log, nodes, onReplaced } = this.#options;
    try {
      const values = await nodes.globals(node, NAMES, TIMEOUT_MS);
      const replaced: Record<string, string> = {};
      for (const [name, value] of Object.entries(values)) {
        const before = this.#known.get(name);
        if (this.#toldMeanwhile.has(name)) continue;
        if (before !== undefined && before !== value) replaced[name] = before;
        this.#known.set(name, value);
      }
      const names = Object.keys(replaced);
      if (names.length > 0) {
        log.info({ cluster, node, variables: names }, 'somebody has set global variables');
        onReplaced(node, replaced);
      }
    } catch (error) {
      log.debug({ cluster, node, error: errorText(error) }, 'global variables cannot be read');
    }
    this.#toldMeanwhile.clear();
    this.#reading = false;
  }
}
