// A server as far as a session's state goes: what it makes of COM_RESET_CONNECTION, COM_INIT_DB, COM_SET_OPTION and of
// the SET statements that Evenkeel sends, left to right, as both families do.
import assert from 'node:assert/strict';
import type { LinkState, Step, Terms } from '../../src/gateway/link-state.ts';

/** The login's character set has a collation of its own, so that a default one shows. */
const LOGIN_COLLATION = 'utf8mb4_login_ci';
export const SET_NAMES = `SET NAMES utf8mb4 COLLATE ${LOGIN_COLLATION}`;
export const IGNORE_SPACE = "SET SESSION sql_mode=CONCAT(@@SESSION.sql_mode, ',IGNORE_SPACE')";
export const TRACKING = 'SET SESSION session_track_schema=ON';

/** Of the server as a whole: what a reset, or DEFAULT, gives. */
const GLOBAL: readonly (readonly [string, string])[] = [
  ['character_set_client', 'swe7'],
  ['character_set_connection', 'swe7'],
  ['character_set_results', 'swe7'],
  ['collation_connection', 'swe7_default'],
  ['sql_mode', 'STRICT'],
  ['time_zone', 'SYSTEM'],
  ['unique_checks', 'ON'],
  ['sql_log_bin', 'ON'],
  ['max_join_size', '18446744073709551615'],
  ['init_text', ''],
];

/** These have no DEFAULT, or another one than the login gave. */
export const WITHOUT_DEFAULT = ['sql_log_bin', 'unique_checks'];

export class ServerModel {
  schema: string | null = null;
  role: string | null = null;
  multiStatements: number;
  autocommit = true;
  tracks = true;
  variables = new Map(GLOBAL);
  userVariables = new Map<string, string>();
  /** How many commands it was sent. */
  sent = 0;

  /** As a login leaves it. */
  constructor({ asAtLogin, multiStatements }: Terms) {
    this.multiStatements = multiStatements ? 0 : 1;
    for (const sql of asAtLogin ?? [SET_NAMES]) this.query(sql);
    this.sent = 0;
  }

  apply(step: Step): void {
    if (step.kind === 'reset') this.reset();
    else if (step.kind === 'schema') this.schema = step.schema;
    else if (step.kind === 'option') this.multiStatements = step.value;
    else this.query(step.sql);
  }

  reset(): void {
    this.variables = new Map(GLOBAL);
    this.userVariables.clear();
    this.autocommit = true;
    this.tracks = false;
  }

  query(sql: string): void {
    this.sent++;
    if (sql === TRACKING) this.tracks = true;
    else if (sql === IGNORE_SPACE) this.variables.set('sql_mode', `${this.variables.get('sql_mode')},IGNORE_SPACE`);
    else if (sql === SET_NAMES) {
      for (const name of ['client', 'connection', 'results']) this.set(`character_set_${name}`, 'utf8mb4');
      this.variables.set('collation_connection', LOGIN_COLLATION);
    } else if (sql.startsWith('SET ROLE ')) this.role = sql === 'SET ROLE DEFAULT' ? null : sql;
    else this.#assignments(sql);
  }

  #assignments(sql: string): void {
    assert.ok(sql.startsWith('SET '), sql);
    const one = /(?:, )?(?:SESSION (autocommit)=([01])|SESSION `([^`]+)`=|@`((?:[^`]|``)+)`=)((?:[^,']|'[^']*')*)/y;
    one.lastIndex = 4;
    while (one.lastIndex < sql.length) {
      const found = one.exec(sql);
      assert.ok(found !== null, `not understood: ${sql}`);
      const [, autocommit, onOff, variable, user, value = ''] = found;
      if (autocommit !== undefined) this.autocommit = onOff === '1';
      else if (variable !== undefined) this.set(variable, valueOf(value));
      else if (user !== undefined) {
        const name = user.replaceAll('``', '`');
        if (value === 'NULL') this.userVariables.delete(name);
        else this.userVariables.set(name, value);
      }
    }
  }

  /** `value`: null for DEFAULT. */
  set(name: string, value: string | null): void {
    if (value === null) {
      assert.ok(!WITHOUT_DEFAULT.includes(name), `${name} has no DEFAULT`);
      return this.set(name, new Map(GLOBAL).get(name) as string);
    }
    this.variables.set(name, value);
    if (name === 'character_set_connection') this.variables.set('collation_connection', `${value}_default`);
    if (name === 'collation_connection') this.variables.set('character_set_connection', value.split('_')[0] as string);
  }

  /** It is in the state that a session wants. */
  assertHas(wanted: LinkState, terms: Terms): void {
    const login = new ServerModel(terms).variables;
    const expected = new Map(login);
    for (const [name, value] of wanted.variables) expected.set(name, value);
    const charset = wanted.variables.get('character_set_connection');
    const collation = wanted.variables.get('collation_connection');
    if (charset !== undefined && collation === undefined) expected.set('collation_connection', `${charset}_default`);
    assert.deepEqual(this.variables, expected);
    assert.deepEqual(this.userVariables, wanted.userVariables);
    assert.equal(this.schema, wanted.schema);
    assert.equal(this.role, wanted.role);
    assert.equal(this.autocommit, wanted.autocommit);
    assert.equal(this.multiStatements, wanted.multiStatements ?? (terms.multiStatements ? 0 : 1));
    assert.ok(this.tracks, 'it reports what changes');
  }
}

/** Null: DEFAULT. */
function valueOf(sql: string): string | null {
  if (sql === 'DEFAULT') return null;
  if (sql === 'NULL') return '';
  const hex = /^CONVERT\(0x([0-9a-f]+) USING utf8mb4\)$/.exec(sql)?.[1];
  if (hex !== undefined) return Buffer.from(hex, 'hex').toString('utf8');
  return sql.startsWith("'") ? sql.slice(1, -1) : sql;
}
