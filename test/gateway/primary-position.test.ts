// Reads that ask the primary first: whoever comes while a question is under way gets the answer of the next one, and nobody
// waits for a primary that is gone or says nothing.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { PrimaryPosition } from '../../src/gateway/primary-position.ts';
import { connect, FakeServer, profile, until } from './fake-server.ts';

let server: FakeServer;
let position: PrimaryPosition;
/** Questions that have come, each to be answered by hand. */
let questions: ((value: string) => void)[];

beforeEach(async () => {
  server = new FakeServer();
  await server.listen();
  questions = [];
  server.answer = () => new Promise((resolve) => questions.push((value) => resolve({ value })));
  position = new PrimaryPosition(connect);
});

afterEach(async () => {
  position.close();
  await server.close();
});

const ask = (of = position, node = server.node): Promise<string | null> =>
  new Promise((resolve) => of.ask('mysql', node, profile('app'), resolve));

test('one question at a time; who comes while it is under way gets the answer of the next', async () => {
  const [first, second] = [ask(), ask()]; // before the login has come to its end
  await until('a question', () => questions.length === 1);
  const later = [ask(), ask(), ask()];
  questions[0]?.('a:1');
  assert.deepEqual(await Promise.all([first, second]), ['a:1', 'a:1']);
  await until('the next question', () => questions.length === 2);
  questions[1]?.('a:1-2');
  assert.deepEqual(await Promise.all(later), ['a:1-2', 'a:1-2', 'a:1-2']);
  const last = ask();
  await until('one more', () => questions.length === 3);
  questions[2]?.('a:1-3');
  assert.equal(await last, 'a:1-3');
  assert.equal(server.connections.length, 1);
});

test('a connection that breaks leaves nobody waiting, and the next question opens another', async () => {
  const asked = ask();
  await until('a question', () => questions.length === 1);
  const behind = ask();
  server.connections[0]?.break();
  assert.deepEqual(await Promise.all([asked, behind]), [null, null]);
  const anew = ask();
  await until('the question anew', () => questions.length === 2);
  questions[1]?.('a:1');
  assert.equal(await anew, 'a:1');
  assert.equal(server.connections.length, 2);
});

test('what an old primary says does not count for who asks the new one', async () => {
  const old = ask();
  await until('a question', () => questions.length === 1);
  const next = new FakeServer();
  await next.listen();
  next.answer = () => ({ value: 'b:1' });
  const fresh = ask(position, next.node);
  assert.deepEqual(await Promise.all([old, fresh]), [null, 'b:1']);
  position.close();
  await next.close();
});

test('a primary that lets nobody in, answers an error, or says nothing, leaves nobody waiting', async () => {
  server.answer = () => ({ errno: 1193, sqlState: 'HY000', message: 'Unknown system variable' });
  assert.equal(await ask(), null);
  const silent = new PrimaryPosition(connect, 20);
  server.answer = () => new Promise(() => {});
  assert.equal(await ask(silent), null);
  server.refuses = true;
  assert.equal(await ask(silent), null);
});
