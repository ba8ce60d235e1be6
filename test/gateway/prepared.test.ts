// Prepared statements as one thing for all clients, and what is prepared on one server connection.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AT_LOGIN, changed } from '../../src/gateway/link-state.ts';
import {
  LinkStatements,
  type LogicalStatement,
  StatementBook,
  type StatementShape,
} from '../../src/gateway/prepared.ts';

const SHAPE: StatementShape = { parameters: 1, columns: 1, options: { flavor: 'mysql' }, seesUserVariables: false };
const ANSI = { ansiQuotes: true, noBackslashEscapes: false };
const text = (sql: string): Buffer => Buffer.from(sql);

test('the same text under the same schema is one statement, under another schema another', () => {
  const book = new StatementBook();
  const find = (schema: string, shape: StatementShape = SHAPE): LogicalStatement =>
    book.find(text('p'), text('SELECT ?'), changed(AT_LOGIN, { schema }), shape);
  assert.equal(find('one'), find('one'));
  assert.notEqual(find('one'), find('two'));
  assert.notEqual(find('one'), find('one', { ...SHAPE, options: { flavor: 'mysql', sqlMode: ANSI } }));
});

test('user variables belong to a statement that sees them, since their types do', () => {
  const book = new StatementBook();
  const find = (value: string, seesUserVariables: boolean): LogicalStatement => {
    const state = changed(AT_LOGIN, { userVariables: new Map([['a', value]]) });
    return book.find(text('p'), text('SELECT @a, ?'), state, { ...SHAPE, seesUserVariables });
  };
  assert.equal(find('1', false), find('2.5', false));
  assert.notEqual(find('1', true), find('2.5', true));
});

test('at the limit the one that was not used for longest is closed; one prepared anew closes the old', () => {
  const book = new StatementBook();
  const [a, b, c] = ['a', 'b', 'c'].map((sql) => book.find(text(sql), text(sql), AT_LOGIN, SHAPE));
  assert.ok(a && b && c);
  const link = new LinkStatements();
  assert.deepEqual(link.add(a, 1, 2), []);
  assert.deepEqual(link.add(b, 2, 2), []);
  link.get(a);
  assert.deepEqual(link.add(c, 3, 2), [2]);
  assert.equal(link.has(b), false);
  assert.deepEqual(link.add(a, 4, 2), [1]);
  assert.equal(link.get(a)?.id, 4);
  const before = link.generation;
  link.clear();
  assert.equal(link.size, 0);
  assert.equal(link.generation, before + 1);
});

test('what is shed is closed, while a statement that is just being prepared is still known when it comes', () => {
  const book = new StatementBook();
  const [a, b] = ['a', 'b'].map((sql) => book.find(text(sql), text(sql), AT_LOGIN, SHAPE));
  assert.ok(a && b);
  const link = new LinkStatements();
  link.add(a, 1, 2);
  const before = link.generation;
  assert.deepEqual(link.shed(), [1]);
  assert.equal(link.generation, before);
  assert.deepEqual(link.add(b, 2, 2), []);
  assert.equal(link.has(b), true);
});
