// By what a session's texts are read: what it chose, else what its login and its server's sql_mode say.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { optionsFor } from '../../src/gateway/reading.ts';
import { SessionState } from '../../src/gateway/session.ts';

const TEXT = Buffer.from(`SELECT "get_lock"('a', 0)`);
const PLAIN = Buffer.from(`SELECT 'a'`);

function sessionOf(collation: number, sqlMode: string | null, variables: Record<string, string> = {}): SessionState {
  const session = new SessionState(collation);
  session.sqlMode = sqlMode;
  for (const [name, value] of Object.entries(variables)) session.setVariable(name, value);
  return session;
}

test('the sql_mode is the one that was chosen, else what was global at login', () => {
  const ansi = (session: SessionState): boolean | undefined => optionsFor(TEXT, session, 'mysql').sqlMode?.ansiQuotes;
  assert.equal(ansi(sessionOf(45, '')), false);
  assert.equal(ansi(sessionOf(45, 'ANSI_QUOTES,STRICT_ALL_TABLES')), true);
  assert.equal(ansi(sessionOf(45, 'ANSI_QUOTES', { sql_mode: '' })), false);
  assert.equal(ansi(sessionOf(45, '', { sql_mode: 'REAL_AS_FLOAT,PIPES_AS_CONCAT,ANSI_QUOTES,ANSI' })), true);
  const session = sessionOf(45, '');
  assert.equal(ansi(session), false);
  session.setVariable('sql_mode', 'ANSI_QUOTES');
  assert.equal(ansi(session), true);
  session.reset();
  session.sqlMode = 'NO_BACKSLASH_ESCAPES';
  assert.deepEqual(optionsFor(TEXT, session, 'mysql').sqlMode, { ansiQuotes: false, noBackslashEscapes: true });
});

test('where it is not known, a text in which it matters is not read at all', () => {
  const session = sessionOf(45, null);
  assert.equal(optionsFor(TEXT, session, 'mysql').multiByteUnsafe, true);
  assert.equal(optionsFor(Buffer.from(String.raw`SELECT 'a\''`), session, 'mysql').multiByteUnsafe, true);
  assert.equal(optionsFor(PLAIN, session, 'mysql').multiByteUnsafe, false);
  session.setVariable('sql_mode', 'STRICT_TRANS_TABLES');
  assert.equal(optionsFor(TEXT, session, 'mysql').multiByteUnsafe, false);
});

test('the character set is the one that was chosen, else the one of the login’s collation', () => {
  const unsafe = (session: SessionState): boolean | undefined => optionsFor(PLAIN, session, 'mysql').multiByteUnsafe;
  for (const collation of [1, 84, 13, 88, 28, 87, 95, 96, 248, 249, 250, 1024 + 13]) {
    assert.equal(unsafe(sessionOf(collation, '')), true, String(collation));
    assert.equal(unsafe(sessionOf(collation, '', { character_set_client: 'utf8mb4' })), false);
  }
  for (const collation of [8, 33, 45, 46, 63, 192, 224, 255, 1024 + 45]) {
    assert.equal(unsafe(sessionOf(collation, '')), false, String(collation));
    assert.equal(unsafe(sessionOf(collation, '', { character_set_client: 'gbk' })), true);
  }
});

test('what is read alike is read by the same object', () => {
  const [one, other] = [sessionOf(45, 'STRICT_TRANS_TABLES'), sessionOf(33, '')];
  assert.equal(optionsFor(TEXT, one, 'mysql'), optionsFor(PLAIN, other, 'mysql'));
  assert.notEqual(optionsFor(TEXT, one, 'mysql'), optionsFor(TEXT, one, 'mariadb'));
});
