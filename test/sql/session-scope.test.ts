// SET @@x becomes SET @@session.x, which MariaDB reports, and nothing else of the text changes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { scopeSystemVariables } from '../../src/sql/index.ts';
import { MARIADB } from './describe.ts';

function scoped(text: string): string | null {
  return scopeSystemVariables(Buffer.from(text), MARIADB)?.toString() ?? null;
}

const SCOPED: [string, string][] = [
  ['set @@wait_timeout=9000', 'set @@session.wait_timeout=9000'],
  ['SET @a=1, @@x := 5, y=(SELECT 1,2), @@`z`=@@x', 'SET @a=1, @@session.x := 5, y=(SELECT 1,2), @@session.`z`=@@x'],
  ['SET @@x = DEFAULT, @@y=@@global.y', 'SET @@session.x = DEFAULT, @@session.y=@@global.y'],
  ['SET @a=@@x, @@b=2', 'SET @a=@@x, @@session.b=2'],
  ['SELECT 1; SET @@x=2; SELECT @@y=3', 'SELECT 1; SET @@session.x=2; SELECT @@y=3'],
  ['/*!40101 SET @@x=1 */', '/*!40101 SET @@session.x=1 */'],
];

for (const [text, expected] of SCOPED) test(text, () => assert.equal(scoped(text), expected));

const AS_THEY_ARE = [
  'SET x = 1, SESSION y = 2, @@session.z = 3, @@local.z = 4, @@global.z = 5',
  // For the next transaction, and with a scope for the session.
  "SET @@tx_isolation = 'READ-COMMITTED'",
  'SET @@transaction_read_only = 1',
  // A key cache's.
  'SET @@hot.key_buffer_size = 3',
  'SET @a = @@x = 1',
  "SET @a = '@@x=1'",
  'SELECT @@x=1',
  'SET STATEMENT x=1 FOR SELECT @@y=2',
];

for (const text of AS_THEY_ARE) test(text, () => assert.equal(scoped(text), null));

test('what may set one in a place that is not looked at is told apart', () => {
  assert.equal(scoped('BEGIN NOT ATOMIC SET @@x=1; END'), 'unsure');
  assert.equal(scoped('/*!999999 SET @@x=1 */ SELECT 1'), 'unsure');
});
