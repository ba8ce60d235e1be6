// Closes the holes that a crash leaves in a MySQL cluster's `gtid_executed`: numbers that were chosen for transactions of which
// nobody knows whether they were committed. While any server may have one executed it must stay open, so that this server is
// seen to have what its primary has not. Once all that were there serve under the primary again, and say that they have not, an
// empty transaction is committed under it, as an operator would do it.
import type { ClusterRoute, NodeAddress } from '../../messages/index.ts';
import { BEGIN, type QuietCommand, runQuietly } from '../quiet.ts';
import type { Connect, LoginProfile, ServerConnection } from '../server-connection.ts';
import { chooseGtid, type Witnesses } from './witness.ts';

/** In one go. */
const MAX_AT_ONCE = 100;
/** Since all have served without a break. */
const SETTLED_MS = 2000;
/** After it went wrong, or a server had what the primary has not. */
const PAUSE_MS = 30_000;
/** For all of one go. */
const TIME_MS = 10_000;

export interface HoleHooks {
  nowMs(): number;
  connect: Connect;
  /** So many were closed. */
  closed(count: number): void;
}

/** One cluster's. */
export class Holes {
  #witnesses: Witnesses;
  #hooks: HoleHooks;
  /** Since when all have served under this primary. */
  #whole: { primary: NodeAddress; epoch: number; sinceMs: number } | null = null;
  #pausedUntilMs = 0;
  #links: ServerConnection[] = [];

  constructor(witnesses: Witnesses, hooks: HoleHooks) {
    this.#witnesses = witnesses;
    this.#hooks = hooks;
  }

  /** Every second or so. */
  tick(route: ClusterRoute | null): void {
    const now = this.#hooks.nowMs();
    const primary = route === null ? null : wholeUnder(route);
    if (route === null || primary === null) {
      this.#whole = null;
      return this.close();
    }
    if (this.#whole?.epoch !== route.epoch || this.#whole.primary !== primary) {
      this.close();
      this.#whole = { primary, epoch: route.epoch, sinceMs: now };
    }
    if (this.busy || now < this.#pausedUntilMs || now - this.#whole.sinceMs < SETTLED_MS) return;
    const nodes = new Set(route.nodes.map(({ node }) => node));
    const asked = this.#witnesses.abandoned(nodes, MAX_AT_ONCE);
    const profile = this.#witnesses.abandonedBy;
    if (asked === '' || profile === null) return;
    void this.#run(
      primary,
      [...nodes].filter((node) => node !== primary),
      asked,
      profile,
    ).then((fine) => {
      this.close();
      if (!fine) this.#pausedUntilMs = this.#hooks.nowMs() + PAUSE_MS;
    });
  }

  get busy(): boolean {
    return this.#links.length > 0;
  }

  close(): void {
    const links = this.#links;
    this.#links = [];
    for (const link of links) link.lose({ kind: 'closed', detail: 'no longer needed' }, true);
  }

  /** False: not for now. */
  async #run(primary: NodeAddress, replicas: NodeAddress[], asked: string, profile: LoginProfile): Promise<boolean> {
    const timer = setTimeout(() => this.close(), TIME_MS);
    try {
      const link = await this.#connect(primary, profile);
      if (link === null) return false;
      const lacking = await missingOn(link, asked);
      if (lacking === null) return false;
      // What the primary has is used, and everybody gets it.
      this.#witnesses.settle(asked, lacking);
      let nowhere = lacking;
      for (const node of replicas) {
        if (nowhere === '') break;
        const replica = await this.#connect(node, profile);
        const missing = replica === null ? null : await missingOn(replica, nowhere);
        if (missing === null) return false;
        nowhere = missing;
      }
      return (nowhere === '' || (await this.#fill(link, nowhere))) && nowhere === lacking;
    } finally {
      clearTimeout(timer);
    }
  }

  #connect(node: NodeAddress, profile: LoginProfile): Promise<ServerConnection | null> {
    return new Promise((resolve) => {
      const link = this.#hooks.connect(node, profile, {
        onReady: () => resolve(link),
        onLost: () => resolve(null),
      });
      this.#links.push(link);
    });
  }

  #fill(link: ServerConnection, set: string): Promise<boolean> {
    const witnesses = this.#witnesses.numbersOf(set);
    const commands = witnesses.flatMap((witness): QuietCommand[] =>
      [chooseGtid(witness, false), BEGIN, 'COMMIT'].map((sql) => ({ packet: link.query(sql), what: sql })),
    );
    return new Promise((resolve) => {
      runQuietly(link, commands, ({ kind }) => {
        // Whatever was not closed is found to be open the next time.
        if (kind === 'done') {
          this.#witnesses.settle(set, '');
          this.#hooks.closed(witnesses.length);
        }
        resolve(kind === 'done');
      });
    });
  }
}

/** Where all nodes serve, and nothing is being changed. */
function wholeUnder({ flavor, gate, group, nodes, primary }: ClusterRoute): NodeAddress | null {
  if (flavor !== 'mysql' || group !== undefined || gate.state !== 'open') return null;
  return nodes.every(({ serving, role, leaving }) => serving && role !== 'unknown' && leaving === undefined)
    ? primary
    : null;
}

/** Of `set`, what the server has not executed; null: it did not say. */
function missingOn(link: ServerConnection, set: string): Promise<string | null> {
  let missing: string | null = null;
  const row: QuietCommand['row'] = (answer) => {
    missing = answer?.values[0]?.replaceAll('\n', '') ?? null;
  };
  const packet = link.query(`SELECT GTID_SUBTRACT('${set}', @@global.gtid_executed)`);
  return new Promise((resolve) => {
    runQuietly(link, [{ packet, what: 'what was executed', row }], ({ kind }) =>
      resolve(kind === 'done' ? missing : null),
    );
  });
}
