// How the ledger is asked what became of a commit, against a connection that answers as it is told to.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, type Asked, ask } from '../../src/gateway/in-flight/ask.ts';
import { Witnesses } from '../../src/gateway/in-flight/witness.ts';
import type { Exchange, ServerConnection } from '../../src/gateway/server-connection.ts';
import { rowOf } from '../support/bridge.ts';

type Says = { err: number } | { row: string | null } | 'ok';

/** `says`: by statement, one time after the other; a statement that is not among them succeeds. */
function connection(says: Record<string, Says[]>): { link: ServerConnection; asked: string[] } {
  const asked: string[] = [];
  const link = {
    query: (sql: string) => Buffer.from(sql),
    send(packet: Buffer, exchange: Exchange) {
      const sql = packet.toString();
      asked.push(sql);
      const word = Object.keys(says).find((one) => sql.startsWith(one));
      const answer = (word === undefined ? undefined : says[word]?.shift()) ?? 'ok';
      queueMicrotask(() => {
        if (answer === 'ok')
          exchange.ok({ affectedRows: 1n, insertId: 0n, status: 0, warnings: 0, info: '' } as never, []);
        else if ('err' in answer)
          exchange.error({ errno: answer.err, sqlState: '40001', message: 'as it was told to' }, true);
        else if (answer.row !== null) for (const piece of rowOf(answer.row)) exchange.forward(piece);
        exchange.end();
      });
    },
    lose: () => undefined,
    state: { variables: new Map() },
  };
  return { link: link as unknown as ServerConnection, asked };
}

type Server = Pick<Asked, 'flavor' | 'group'>;

const told = async (
  says: Record<string, Says[]>,
  server: Server = { flavor: 'mariadb', group: null },
): Promise<[Answer, string[]]> => {
  const witness = new Witnesses().take(server.flavor);
  const { link, asked } = connection({
    'SELECT COUNT': [{ row: '0' }, { row: '0' }],
    'SELECT IF(EXISTS': [{ row: '1' }],
    'SELECT @@global.super_read_only': [{ row: '0' }],
    ...says,
  });
  const answer = await new Promise<Answer>((resolve) =>
    ask(link, { ...server, witness, timeoutMs: 5_000, ahead: [] }, resolve),
  );
  return [answer, asked];
};

test('what the row has tells, and the transaction whose number is the next is told to be none', async () => {
  const [executed] = await told({ 'SELECT n': [{ row: '2' }] });
  assert.deepEqual(executed, { kind: 'told', told: 'executed', covered: true, why: '' });
  const [not, asked] = await told({ 'SELECT n': [{ row: '3' }] });
  assert.deepEqual(not, { kind: 'told', told: 'not-executed', covered: true, why: '' });
  assert.equal(asked.filter((sql) => sql.startsWith('UPDATE')).length, 1);
});

test('where others are at the ledger it is asked again', async () => {
  for (const errno of [1213, 1205, 1020]) {
    const rows = [{ row: null }, { row: '3' }];
    const [answer, asked] = await told({ INSERT: [{ err: errno }], UPDATE: [{ err: errno }], 'SELECT n': rows });
    assert.equal(answer.kind === 'told' && answer.told, 'not-executed', String(errno));
    assert.equal(asked.filter((sql) => sql.startsWith('COMMIT')).length, 2);
  }
});

test('a claim that succeeded behind one that failed is what the row has', async () => {
  const [answer, asked] = await told({ INSERT: [{ err: 1213 }], 'SELECT n': [{ row: '3' }] });
  assert.equal(answer.kind === 'told' && answer.told, 'not-executed');
  assert.equal(asked.filter((sql) => sql.startsWith('COMMIT')).length, 1);
});

test('nothing is told by what was not committed, or was refused, and the reason is the server’s', async () => {
  const [failed] = await told({ 'SELECT n': [{ row: '3' }], COMMIT: [{ err: 1290 }] });
  assert.deepEqual(failed, { kind: 'told', told: 'untold', covered: true, why: '1290 as it was told to' });
  const [refused] = await told({ UPDATE: [{ err: 1142 }], 'SELECT n': [{ row: '0' }] });
  assert.deepEqual(refused, { kind: 'told', told: 'untold', covered: true, why: '1142 as it was told to' });
});

const GROUP: Server = { flavor: 'mysql', group: 'group' };
const SERVES = { row: '0' };

test('a member of a group is asked in a transaction that waits for all that the group has agreed on', async () => {
  for (const [row, expected] of [
    ['1', 'executed'],
    ['0', 'not-executed'],
  ] as const) {
    const says = { 'SELECT GTID_SUBSET': [{ row }], 'SELECT @@global.super_read_only': [SERVES, SERVES] };
    const [answer, asked] = await told(says, GROUP);
    assert.equal(answer.kind === 'told' && answer.told, expected);
    const order = [
      "SET gtid_next='AUTOMATIC'",
      "SET SESSION group_replication_consistency='BEFORE'",
      'START TRANSACTION',
      'SELECT GTID_SUBSET',
    ];
    const places = order.map((sql) => asked.findIndex((one) => one.startsWith(sql)));
    assert.deepEqual(
      places,
      places.toSorted((a, b) => a - b),
    );
    assert.ok(places.every((at) => at >= 0));
    assert.ok(asked.includes('SET SESSION group_replication_consistency=DEFAULT'));
  }
});

test('a member that leaves its group while it is asked is left', async () => {
  const row = [{ row: '0' }];
  const readOnly = { 'SELECT GTID_SUBSET': row, 'SELECT @@global.super_read_only': [SERVES, { row: '1' }] };
  assert.equal((await told(readOnly, GROUP))[0].kind, 'lost');
  assert.equal(
    (await told({ 'START TRANSACTION': [{ err: 3797 }], 'SELECT GTID_SUBSET': row }, GROUP))[0].kind,
    'lost',
  );
  const [failed] = await told({ 'START TRANSACTION': [{ err: 1227 }], 'SELECT GTID_SUBSET': row }, GROUP);
  assert.equal(failed.kind === 'told' && failed.told, 'untold');
});

test('a member that left its group, or of which something else was known, is not asked', async () => {
  const [left, none] = await told({ 'SELECT @@global.super_read_only': [{ row: '1' }] }, GROUP);
  assert.equal(left.kind, 'lost');
  assert.ok(!none.some((sql) => sql.startsWith('SET gtid_next')));
  const [other, nothing] = await told({ 'SELECT IF(EXISTS': [{ row: '0' }] }, { flavor: 'mysql', group: null });
  assert.equal(other.kind === 'told' && other.told, 'untold');
  assert.ok(!nothing.some((sql) => sql.startsWith('SET gtid_next')));
});

test('in Galera a question that the cluster puts behind the commit it asks about is put again', async () => {
  const galera: Server = { flavor: 'mariadb', group: 'galera' };
  const rows = [{ row: '3' }, { row: '2' }];
  const [answer] = await told({ 'SELECT n': rows, COMMIT: [{ err: 1213 }] }, galera);
  assert.equal(answer.kind === 'told' && answer.told, 'executed');
});
