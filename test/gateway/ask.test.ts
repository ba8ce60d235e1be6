// How the ledger is asked what became of a commit, against a connection that answers as it is told to.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, ask } from '../../src/gateway/in-flight/ask.ts';
import { Witnesses } from '../../src/gateway/in-flight/witness.ts';
import type { Exchange, ServerConnection } from '../../src/gateway/server-connection.ts';
import { frame } from '../../src/wire/index.ts';

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
  };
  return { link: link as unknown as ServerConnection, asked };
}

/** A result of one column and one row. */
function rowOf(value: string): Buffer[] {
  const row = Buffer.from([value.length, ...Buffer.from(value)]);
  return [frame(Buffer.from([1]), 1), frame(Buffer.alloc(24), 2), frame(row, 3)];
}

const told = async (says: Record<string, Says[]>): Promise<[Answer, string[]]> => {
  const witness = new Witnesses().take('mariadb');
  const { link, asked } = connection({ 'SELECT COUNT': [{ row: '0' }, { row: '0' }], ...says });
  const answer = await new Promise<Answer>((resolve) => ask(link, 'mariadb', witness, 5_000, resolve));
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
