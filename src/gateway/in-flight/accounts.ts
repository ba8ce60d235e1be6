// Which accounts can have their writes witnessed: asked of a server once an account, when it first writes. One that cannot
// is treated as under `inFlight: report`, and asked again after a while: somebody may have followed `evenkeel check`.
import type { Client } from '../client.ts';
import { type QuietCommand, runQuietly } from '../quiet.ts';
import type { Loss, ServerConnection } from '../server-connection.ts';
import { probe } from './witness.ts';

export type Ability = 'unknown' | 'able' | 'unable';

/** Why not; the label of the counter `not_witnessed`. */
export type Inability =
  /** The privilege, the ledger or GTIDs are missing. */
  | 'not-granted'
  /** It changes tables that a transaction does not cover, or calls what commits inside a transaction. */
  | 'commits-inside';

const ASK_AGAIN_MS = 60_000;
const MAX_ACCOUNTS = 10_000;

interface Known {
  ability: 'able' | 'unable';
  untilMs: number;
}

type Whose = Pick<Client, 'cluster' | 'user' | 'worker'>;

export class WitnessedAccounts {
  #known = new Map<string, Known>();

  abilityOf({ cluster, user, worker }: Whose): Ability {
    const known = this.#known.get(`${cluster}\0${user}`);
    if (known === undefined || worker.nowMs() >= known.untilMs) return 'unknown';
    return known.ability;
  }

  /** `why`: for the log, where it cannot. */
  learn({ cluster, user, worker }: Whose, ability: 'able' | Inability, why: string): void {
    if (this.#known.size >= MAX_ACCOUNTS) this.#known.clear();
    const able = ability === 'able';
    const { group } = worker.directory.greeting(cluster);
    // In a group that is a matter of a setting, too.
    const stays = able && group === null;
    const untilMs = stays ? Number.POSITIVE_INFINITY : worker.nowMs() + ASK_AGAIN_MS;
    this.#known.set(`${cluster}\0${user}`, { ability: able ? 'able' : 'unable', untilMs });
    if (able) return;
    worker.count('not_witnessed', ability);
    const text = 'what becomes of the writes of this account in a crash cannot be found out for now';
    worker.log.warn({ cluster, user, reason: ability, error: why }, text);
  }

  /**
   * Asks the server of `link`, on a connection of its own: the session's may be about to begin a transaction as it was told to, or be read-only.
   * Calls back once; `lost`: the connection broke, and nothing was learnt.
   */
  probe({ node, profile }: ServerConnection, client: Client, callback: (lost: Loss | null) => void): void {
    let able = false;
    let told = false;
    const { flavor, group } = client.worker.directory.greeting(client.cluster);
    const sqls = probe(flavor, group);
    const learn = (ability: 'able' | Inability, why: string): void => {
      told = true;
      this.learn(client, ability, why);
      callback(null);
    };
    const onReady = (): void => {
      const commands = sqls.map((sql, at): QuietCommand => {
        const command = { packet: link.query(sql), what: 'whether writes can be witnessed' };
        return at < sqls.length - 1 ? command : { ...command, row: (row) => (able = row?.values[0] === '1') };
      });
      runQuietly(link, commands, (result) => {
        if (result.kind === 'lost') return; // told below
        const why =
          result.kind === 'error'
            ? `${result.err.errno} ${result.err.message}`
            : 'gtid_mode is not ON, group_replication_consistency is BEFORE, or what is known of a group is not true of the server';
        learn(result.kind === 'done' && able ? 'able' : 'not-granted', why);
        link.quit();
      });
    };
    const onLost = (loss: Loss): void => {
      if (told) return;
      told = true;
      if (loss.kind === 'refused') return learn('not-granted', loss.err.message);
      callback(loss);
    };
    const link = client.worker.backend(client.cluster).connect(node, profile, { onReady, onLost });
  }
}
