// What is read out of SHOW BINLOG EVENTS, as MySQL 9.7 and MariaDB 10.11 print it, cut into pages of every size.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BinlogReader } from '../../src/cluster/binlog.ts';
import { parseGtidSet, subtract } from '../../src/cluster/gtid.ts';
import { progressOf } from '../../src/cluster/rebuild.ts';

type Event = [type: string, info: string];

const own = '40dd4d95-e820-11f1-80e1-02fc00000001';
const theirs = '40dfd174-e820-11f1-915e-02fc00000001';

const mysql: Event[] = [
  ['Format_desc', 'Server ver: 9.7.4-2, Binlog ver: 4'],
  ['Previous_gtids', `${theirs}:1`],
  ['Gtid', `SET @@SESSION.GTID_NEXT= '${theirs}:2'`],
  ['Query', 'CREATE TABLE app.theirs (n INT) /* xid=18 */'],
  ['Gtid', `SET @@SESSION.GTID_NEXT= '${own}:1'`],
  ['Query', 'use `app`; CREATE TABLE errant (n INT) /* xid=19 */'],
  ['Gtid', `SET @@SESSION.GTID_NEXT= '${own}:2'`],
  ['Query', 'BEGIN'],
  ['Rows_query', "# UPDATE app.errant SET s='z'"],
  ['Table_map', 'table_id: 99 (app.errant)'],
  ['Table_map', 'table_id: 100 (app.t)'],
  ['Update_rows', 'table_id: 99 flags: STMT_END_F'],
  ['Delete_rows', 'table_id: 100'],
  ['Write_rows', 'table_id: 100 flags: STMT_END_F'],
  ['Xid', 'COMMIT /* xid=20 */'],
];

const mariadb: Event[] = [
  ['Format_desc', 'Server ver: 10.11.18-MariaDB-log, Binlog ver: 4'],
  ['Gtid_list', '[0-2-1]'],
  ['Gtid', 'GTID 0-2-1'],
  ['Query', 'CREATE TABLE app.theirs (n INT)'],
  ['Gtid', 'BEGIN GTID 0-2-2'],
  ['Annotate_rows', "INSERT INTO app.errant VALUES (1,'x'),(2,'y')"],
  ['Table_map', 'table_id: 19 (app.errant)'],
  ['Write_rows_v1', 'table_id: 19 flags: STMT_END_F'],
  ['Xid', 'COMMIT /* xid=20 */'],
];

function read(reader: BinlogReader, events: Event[], pageSize: number): void {
  const rows = events.map(([type, info]) => ({ Event_type: type, Info: info }));
  for (let at = 0; at < rows.length; at += pageSize) reader.take(rows.slice(at, at + pageSize));
}

test('of MySQL: the wanted transactions alone, with their tables and the statements that are logged', () => {
  for (let pageSize = 1; pageSize <= mysql.length; pageSize++) {
    const reader = new BinlogReader('mysql', parseGtidSet('mysql', `${own}:1-4`), 10);
    read(reader, mysql, pageSize);
    assert.deepEqual(reader.found, [
      { gtid: `${own}:1`, statements: ['use `app`; CREATE TABLE errant (n INT)'], tables: [] },
      {
        gtid: `${own}:2`,
        statements: ["UPDATE app.errant SET s='z'"],
        tables: [
          { table: 'app.errant', did: ['update'] },
          { table: 'app.t', did: ['delete', 'insert'] },
        ],
      },
    ]);
    assert.equal(reader.count, 2);
  }
});

test('of MariaDB: one GTID is itself, not all up to it', () => {
  const wanted = subtract(parseGtidSet('mariadb', '0-2-2'), parseGtidSet('mariadb', '0-2-1'));
  const reader = new BinlogReader('mariadb', wanted, 10);
  read(reader, mariadb, 100);
  assert.deepEqual(reader.found, [
    {
      gtid: '0-2-2',
      statements: ["INSERT INTO app.errant VALUES (1,'x'),(2,'y')"],
      tables: [{ table: 'app.errant', did: ['insert'] }],
    },
  ]);
});

test('what is kept is bounded, what is counted is not', () => {
  const events: Event[] = [];
  for (let n = 1; n <= 50; n++) {
    events.push(['Gtid', `SET @@SESSION.GTID_NEXT= '${own}:${n}'`]);
    for (let i = 0; i < 30; i++) {
      events.push(['Query', 'x'.repeat(1000)], ['Table_map', `table_id: ${i} (app.t${i})`]);
      events.push(['Write_rows', `table_id: ${i} flags: STMT_END_F`]);
    }
  }
  const reader = new BinlogReader('mysql', parseGtidSet('mysql', `${own}:1-50`), 3);
  read(reader, events, 1000);
  assert.deepEqual([reader.count, reader.found.length], [50, 3]);
  const [first] = reader.found;
  assert.deepEqual([first?.statements.length, first?.statements[0]?.length, first?.tables.length], [5, 301, 20]);
});

test('the progress of a clone is that of the stage that runs, in percent where the server knows how much there is', () => {
  const row = (STAGE: string, STATE: string, ESTIMATE: string, DATA: string) => ({ STAGE, STATE, ESTIMATE, DATA });
  assert.equal(progressOf([]), null);
  const copying = [row('DROP DATA', 'Completed', '0', '0'), row('FILE COPY', 'In Progress', '200', '90')];
  assert.deepEqual(progressOf(copying), { stage: 'file copy', percent: 45, bytes: 90 });
  assert.deepEqual(progressOf([row('DROP DATA', 'Completed', '0', '0')]), {
    stage: 'drop data',
    percent: null,
    bytes: 0,
  });
});
