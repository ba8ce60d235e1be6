// The classifier's rewriting of CONNECTION_ID() against real servers: a rewritten text is answered as the original, in
// values and in the columns' names.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import mysql from 'mysql2/promise';
import { withSandbox } from '../../src/sandbox/index.ts';
import { rewriteConnectionId } from '../../src/sql/index.ts';

const TEXTS = [
  'SELECT CONNECTION_ID()',
  'select 1, connection_id ( ) , 3',
  'SELECT `connection_id`(), `Connection_ID` ( )',
  'SELECT (CONNECTION_ID()), (SELECT CONNECTION_ID()), CONNECTION_ID()+1, 1 + ( CONNECTION_ID( ) )',
  'SELECT CONNECTION_ID(\n), CONNECTION_ID()\t+\t1',
  `SELECT CONCAT('a', "b", CONNECTION_ID()), @a := CONNECTION_ID()`,
  'SELECT NOT CONNECTION_ID(), -CONNECTION_ID(), + CONNECTION_ID(), !CONNECTION_ID()',
  'SELECT DISTINCT CONNECTION_ID()FROM DUAL',
  'SELECT * FROM (SELECT CONNECTION_ID()) d',
  `SELECT CONNECTION_ID() x, CONNECTION_ID() 'y', CONNECTION_ID()"z", CONNECTION_ID()\`w\`, CONNECTION_ID()AS v`,
  'SELECT CONNECTION_ID() IS NULL, CASE WHEN 1 THEN CONNECTION_ID() END, CONNECTION_ID() IN (1, 2)',
  'SELECT CONNECTION_ID() = `identity`.x FROM (SELECT 1 x) `identity`',
  'SELECT EXISTS (SELECT CONNECTION_ID()) e, 1 IN (SELECT CONNECTION_ID())',
  'SELECT CONNECTION_ID() FROM DUAL WHERE CONNECTION_ID() > 0 GROUP BY 1 HAVING 1 ORDER BY 1 LIMIT 1',
  'WITH x AS (SELECT CONNECTION_ID()) SELECT *, CONNECTION_ID() FROM x WHERE `CONNECTION_ID()` = CONNECTION_ID()',
  'SELECT {fn CONNECTION_ID()}',
  'SELECT /*!50000CONNECTION_ID()*/',
  'SELECT CONNECTION_ID() -- x',
  '(SELECT CONNECTION_ID());',
  'SELECT id FROM information_schema.processlist WHERE id = CONNECTION_ID()',
];

for (const flavor of ['mysql', 'mariadb'] as const) {
  test(`${flavor} answers a text with CONNECTION_ID() replaced as it answers the original`, async () => {
    await withSandbox({ flavor, nodes: 1, replication: 'async' }, async ({ nodes: [node], admin }) => {
      assert.ok(node);
      const connection = await mysql.createConnection({
        host: node.host,
        port: node.port,
        ...admin,
        rowsAsArray: true,
      });
      try {
        const answer = async (text: string): Promise<unknown> => {
          const [rows, fields] = await connection.query(text);
          return [rows, fields.map(({ name }) => name)];
        };
        for (const text of TEXTS) {
          const rewritten = rewriteConnectionId(Buffer.from(text), { flavor }, connection.threadId)?.toString();
          assert.ok(rewritten, text);
          assert.deepEqual(await answer(rewritten), await answer(text), rewritten);
        }
      } finally {
        await connection.end();
      }
    });
  });
}
