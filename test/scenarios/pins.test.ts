// What keeps a session on its server connection, and what lets it go again: for each reason a statement that pins, seen
// in the metrics under that reason's name, and every way that ends it. COM_RESET_CONNECTION ends all of them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { Capability, Command, commandPacket } from '../../src/wire/index.ts';
import { type Evenkeel, until, withEvenkeel } from './harness/index.ts';
import { RawClient } from './raw-client.ts';

type Step = string | ((client: RawClient) => Promise<void>);

interface Pinning {
  reason: string;
  pins: Step[];
  /** Each of these alone ends it. */
  unpins: Step[][];
}

/** Prepares a statement of three rows, opens a cursor on it and fetches the first. */
async function openCursor(client: RawClient): Promise<void> {
  const prepared = await client.command(Command.STMT_PREPARE, 'SELECT n FROM pinned ORDER BY n');
  assert.equal(prepared.readUInt32LE(1), 1);
  await client.packet();
  const execute = Buffer.alloc(9);
  execute.writeUInt32LE(1, 0);
  execute[4] = 1;
  execute.writeUInt32LE(1, 5);
  await client.command(Command.STMT_EXECUTE, execute);
  // The column and the end of the columns, which says that there is a cursor.
  for (let i = 0; i < 2; i++) await client.packet();
  await fetchRows(1)(client);
}

function fetchRows(count: number): (client: RawClient) => Promise<void> {
  return async (client) => {
    const fetch = Buffer.alloc(8);
    fetch.writeUInt32LE(1, 0);
    fetch.writeUInt32LE(count, 4);
    client.write(commandPacket(Command.STMT_FETCH, fetch));
    await client.rows([]);
  };
}

async function closeStatement(client: RawClient): Promise<void> {
  client.write(commandPacket(Command.STMT_CLOSE, statementOne));
}

const statementOne = Buffer.from([1, 0, 0, 0]);

/** All reasons but `reading-back`, which ends by itself at once. */
const PINNINGS: readonly Pinning[] = [
  {
    reason: 'temporary-table',
    pins: ['CREATE TEMPORARY TABLE passing (n INT)'],
    unpins: [['DROP TEMPORARY TABLE passing'], ['DROP TABLE passing']],
  },
  { reason: 'table-lock', pins: ['LOCK TABLES pinned READ'], unpins: [['UNLOCK TABLES']] },
  {
    reason: 'named-lock',
    pins: ["SELECT GET_LOCK('pins', 5)"],
    unpins: [["SELECT RELEASE_LOCK('pins')"], ['DO RELEASE_ALL_LOCKS()']],
  },
  {
    reason: 'cursor',
    pins: [openCursor],
    unpins: [
      [fetchRows(50)],
      [async (client) => void (await client.command(Command.STMT_RESET, statementOne))],
      [closeStatement, 'DO 1'],
    ],
  },
  {
    reason: 'xa',
    pins: ["XA START 'pins'"],
    unpins: [
      ["XA END 'pins'", "XA ROLLBACK 'pins'"],
      ["XA END 'pins'", "XA COMMIT 'pins' ONE PHASE"],
    ],
  },
  {
    reason: 'sql-prepare',
    pins: ["PREPARE one FROM 'SELECT 1'", 'SET @text = 2', "PREPARE two FROM 'SELECT @text'"],
    unpins: [['DEALLOCATE PREPARE ONE', 'EXECUTE two', 'DROP PREPARE `two`']],
  },
  {
    reason: 'handler',
    pins: ['HANDLER pinned OPEN AS Held'],
    unpins: [['HANDLER held READ FIRST', 'HANDLER held CLOSE', 'DO 1']],
  },
  {
    reason: 'diagnostics',
    pins: ['DROP TABLE IF EXISTS there_is_none'],
    unpins: [['DELETE FROM pinned WHERE n = 0'], ['SELECT n FROM pinned']],
  },
  { reason: 'counts', pins: ['SELECT SQL_CALC_FOUND_ROWS n FROM pinned LIMIT 1'], unpins: [['SELECT n FROM pinned']] },
  { reason: 'user-variable', pins: ["SET @long = REPEAT('x', 40000)"], unpins: [] },
  { reason: 'unmovable-variable', pins: ['SET rand_seed1 = 10'], unpins: [] },
  {
    reason: 'trace',
    pins: ['SET profiling = 1', "SET optimizer_trace = 'enabled=on'"],
    unpins: [['SET profiling = 0', "SET SESSION optimizer_trace = 'enabled=off'"]],
  },
  { reason: 'session-tracking', pins: ['SET session_track_schema = ON'], unpins: [] },
  // What it prepares, no server names.
  { reason: 'unknown-effect', pins: ['CALL prepares()'], unpins: [] },
  {
    reason: 'transaction',
    pins: ['BEGIN', 'SELECT n FROM pinned'],
    unpins: [['COMMIT'], ['SET autocommit = 1', 'ROLLBACK']],
  },
  {
    reason: 'one-shot-transaction',
    pins: ['SET TRANSACTION ISOLATION LEVEL SERIALIZABLE'],
    unpins: [['BEGIN', 'COMMIT']],
  },
];

const RESET: Step = async (client) => void (await client.command(Command.RESET_CONNECTION));
const LEAVE: Step = async (client) => client.close();

for (const flavor of ['mysql', 'mariadb'] as const) {
  test(`${flavor}: what pins a session, and what ends it`, { timeout: 120_000 }, async (t) => {
    await withEvenkeel({ flavor, replication: 'async', nodes: 1, workers: 1 }, async (ek) => {
      const client = await RawClient.login(ek.login(), { capabilities: Capability.DEPRECATE_EOF });
      await client.query('CREATE TABLE pinned (n INT PRIMARY KEY)');
      await client.query('INSERT INTO pinned VALUES (1), (2), (3)');
      await client.query("CREATE PROCEDURE prepares() PREPARE unseen FROM 'SELECT 1'");
      // Round by round, all reasons at a time: the metrics are a second old at worst, and none of these disturbs another.
      const ways = PINNINGS.map((pinning) => ({ ...pinning, endings: [...pinning.unpins, [RESET], [LEAVE]] }));
      const rounds = Math.max(...ways.map(({ endings }) => endings.length));
      for (let round = 0; round < rounds; round++) {
        await t.test(`way ${round + 1} of each`, () => together(ek, ways, round));
      }
      client.close();
    });
  });
}

async function together(ek: Evenkeel, ways: (Pinning & { endings: Step[][] })[], round: number): Promise<void> {
  const sessions: { reason: string; client: RawClient; ending: Step[] }[] = [];
  try {
    await pinned(ek, {});
    for (const { reason, pins, endings } of ways) {
      const ending = endings[round];
      if (ending === undefined) continue;
      const client = await RawClient.login(ek.login(), { capabilities: Capability.DEPRECATE_EOF });
      sessions.push({ reason, client, ending });
      for (const step of pins) await take(client, step);
    }
    await pinned(ek, Object.fromEntries(sessions.map(({ reason }) => [reason, 1])));
    for (const { client, ending } of sessions) for (const step of ending) await take(client, step);
    await pinned(ek, {});
  } finally {
    for (const { client } of sessions) client.close();
  }
}

async function take(client: RawClient, step: Step): Promise<void> {
  if (typeof step === 'string') await client.query(step);
  else await step(client);
}

/** Waits until exactly these sessions are pinned, by reason. */
async function pinned(ek: Evenkeel, wanted: Record<string, number>): Promise<void> {
  let seen: Record<string, number> = {};
  try {
    await until('the pins', 5_000, async () => {
      seen = pinsIn(await (await ek.fetch('/metrics')).text());
      return isDeepStrictEqual(seen, wanted);
    });
  } catch {
    assert.deepEqual(seen, wanted);
  }
}

/** Sessions by reason, those of no session left out. */
function pinsIn(metrics: string): Record<string, number> {
  const counts: Record<string, number> = {};
  const gauge = /^evenkeel_pinned_sessions\{[^}]*reason="([^"]+)"[^}]*\} (\d+)$/gm;
  for (const [, reason = '', count] of metrics.matchAll(gauge)) {
    if (count !== '0') counts[reason] = (counts[reason] ?? 0) + Number(count);
  }
  return counts;
}
