// Clients that are always at work beside the one that is looked at, each with a session that differs from it in
// everything: what one of them sets, or leaves behind, must show nowhere else.
import { setTimeout as delay } from 'node:timers/promises';
import { SequenceClient } from './client.ts';
import type { Between } from './play.ts';
import type { Stage } from './stage.ts';
import type { Action, Connect, Wire } from './types.ts';

const said = (sql: string): Action => ({ do: 'query', sql });

const LIFE: readonly Action[] = [
  said("SET @a = 'noise', @b = 'noise', @c = 'noise', @marked = 'noise', @mode = 'ANSI'"),
  said("SET sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT', time_zone = '-09:00', group_concat_max_len = 5"),
  said('INSERT INTO t (v) VALUES (1), (2), (3), (4)'),
  said('USE {b}'),
  said('SELECT 1 / 0, CAST("x" AS SIGNED)'),
  said('SET NAMES latin1 COLLATE latin1_german2_ci'),
  { do: 'prepare', slot: 0, sql: "SELECT 'noise', ?" },
  { do: 'execute', slot: 0, values: [{ type: 'string', number: 5 }], types: 'sent', cursor: false },
  said('SELECT SQL_CALC_FOUND_ROWS id FROM u LIMIT 3'),
  said('SELECT LAST_INSERT_ID(123456)'),
  said('SELECT * FROM missing'),
  said('BEGIN'),
  said('UPDATE u SET d = d + 1'),
  said('ROLLBACK'),
  said("SET foreign_key_checks = 0, sql_select_limit = 3, div_precision_increment = 9, lc_time_names = 'ja_JP'"),
  said('SET ROLE eq_role'),
  said('SELECT 5'),
  { do: 'init-db', schema: '{a}' },
  said('SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE'),
  { do: 'reset-connection' },
  said('USE {a}'),
];

/** How long the one that is looked at waits for the others: it may be what they wait for. */
const PATIENCE_MS = 4;

export class Noise {
  #wires: Wire[] = [];
  #loops: Promise<void>[] = [];
  #running = true;
  #answers = 0;
  #waiting: (() => void)[] = [];

  /** Clients number `first` and following. */
  static async start(
    stage: Stage,
    connect: Connect,
    capabilities: number,
    first: number,
    many: number,
  ): Promise<Noise> {
    const noise = new Noise();
    for (let client = first; client < first + many; client++) {
      const words = stage.words(client, 0);
      const wire = await connect({ capabilities, database: words.a });
      noise.#wires.push(wire);
      noise.#loops.push(noise.#live(new SequenceClient(wire, words, stage.accounts), client));
    }
    return noise;
  }

  /** Waits until others were served, or for a moment. */
  readonly others: Between = async () => {
    const goal = this.#answers + 2;
    const timeout = new AbortController();
    const patience = delay(PATIENCE_MS, undefined, { signal: timeout.signal }).catch(() => {});
    const served = (async () => {
      while (this.#running && this.#answers < goal) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    })();
    await Promise.race([patience, served]);
    timeout.abort();
    for (const wake of this.#waiting.splice(0)) wake();
  };

  async stop(): Promise<void> {
    this.#running = false;
    for (const wire of this.#wires) wire.close();
    for (const wake of this.#waiting.splice(0)) wake();
    await Promise.all(this.#loops);
  }

  async #live(client: SequenceClient, first: number): Promise<void> {
    for (let at = first; this.#running; at++) {
      try {
        await client.perform(LIFE[at % LIFE.length] as Action);
      } catch {
        return; // stopped, or refused: then there is less noise
      }
      this.#answers++;
      for (const wake of this.#waiting.splice(0)) wake();
      await delay(0);
    }
  }
}
