// What is sent ahead of a statement, carried out by a small model of a server: from whatever state a connection is in, and
// whoever used it before, the session finds its own. Random sessions take turns on a few connections; what each of them
// must see is known, LAST_INSERT_ID() among it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Accepted, type BringUp, type BringUpOptions, bringUp, readInsertId } from '../../src/gateway/bring-up.ts';
import { readRequest, type ServerRequest } from '../../src/gateway/command.ts';
import { Directory } from '../../src/gateway/directory.ts';
import { AT_LOGIN, type LinkState, sameState, type Terms } from '../../src/gateway/link-state.ts';
import { LinkStatements } from '../../src/gateway/prepared.ts';
import type { QuietCommand } from '../../src/gateway/quiet.ts';
import type { ServerConnection } from '../../src/gateway/server-connection.ts';
import { SessionState, trackingSetup } from '../../src/gateway/session.ts';
import { asPacket, Command, commandPacket, queryPacket, ServerStatus } from '../../src/wire/index.ts';
import fc, { seed } from '../seed.ts';
import { SET_NAMES, ServerModel, TRACKING } from './server-model.ts';
import { anyState, serverIn } from './states.ts';

const TERMS: Terms = {
  flavor: 'mysql',
  asAtLogin: [SET_NAMES],
  tracking: TRACKING,
  multiStatements: false,
  withoutDefault: new Set(),
  ofLogin: [],
};

function newOptions(): BringUpOptions {
  const directory = new Directory(() => {});
  directory.setGreeting('c', {
    serverVersion: '9.7.0',
    collation: 255,
    flavor: 'mysql',
    group: null,
    sqlMode: '',
    autocommit: true,
  });
  const asked: QuietCommand[] = [];
  directory.askCharacterSet('c', 45, (sql) => queryPacket(sql, 0), asked);
  asked[0]?.row?.({ columns: [], values: [SET_NAMES] });
  return { flavor: 'mysql', directory, cluster: 'c', accepted: new Accepted(), tracksGtids: false };
}

class FakeLink {
  ready = true;
  state: LinkState;
  readonly capabilities = 0;
  readonly profile = { dialect: 0, collation: 45 };
  readonly prepared = new LinkStatements();
  insertIdOf: SessionState | null = null;
  insertIdVersion = 0;
  insertIdValue: bigint | null = 0n;
  lastSession: SessionState | null = null;
  lastWriter: SessionState | null = null;
  hasDiagnostics = false;
  readonly server: ServerModel;
  /** LAST_INSERT_ID() at the server. */
  insertId = 0n;
  /** What it was sent, in words. */
  readonly log: string[] = [];
  #late: (() => void)[] = [];

  constructor(state: LinkState = AT_LOGIN) {
    this.state = state;
    this.server = serverIn(state, TERMS);
  }

  query(sql: string | Buffer): Buffer {
    return queryPacket(sql, this.capabilities);
  }

  get connection(): ServerConnection {
    return this as unknown as ServerConnection;
  }

  /** LAST_INSERT_ID() is read now, and its answer is on its way until something else is run. */
  readLate({ row }: QuietCommand): void {
    const values = [String(this.insertId)];
    this.#late.push(() => row?.({ columns: [], values }));
  }

  run(commands: readonly QuietCommand[]): void {
    for (const arrive of this.#late.splice(0)) arrive();
    for (const { packet, row, ok } of commands) {
      const argument = packet.subarray(5).toString('utf8');
      switch (packet[4]) {
        case Command.RESET_CONNECTION:
          this.log.push('reset');
          this.server.reset();
          this.insertId = 0n;
          break;
        case Command.INIT_DB:
          this.log.push(`use ${argument}`);
          this.server.schema = argument;
          break;
        case Command.SET_OPTION:
          this.log.push('option');
          this.server.multiStatements = packet.readUInt16LE(5);
          break;
        case Command.STMT_PREPARE:
          this.log.push(`prepare in ${this.server.schema}`);
          break;
        default: {
          this.log.push(argument);
          this.#query(argument, row);
        }
      }
      ok?.(okOf(this.server.autocommit), []);
    }
  }

  #query(sql: string, row: QuietCommand['row']): void {
    const settle =
      /^DO LAST_INSERT_ID\(IF\(LAST_INSERT_ID\(\) IN \(([\d, ]+)\)(?: OR LAST_INSERT_ID\(\)<>(\d+))?, LAST_INSERT_ID\(\), (\d+)\)\)$/.exec(
        sql,
      );
    const set = /^SET SESSION last_insert_id=(\d+)$/.exec(sql)?.[1];
    if (sql === 'SELECT LAST_INSERT_ID() LIMIT 1') row?.({ columns: [], values: [String(this.insertId)] });
    else if (set !== undefined) this.insertId = BigInt(set);
    else if (settle !== null) {
      const [, claims, there, known] = settle as unknown as [string, string, string | undefined, string];
      const told = claims.split(', ').includes(String(this.insertId));
      const own = told || (there !== undefined && this.insertId !== BigInt(there));
      if (!own) this.insertId = BigInt(known);
    } else if (sql === trackingSetup('mysql', '', false)) this.server.query(TRACKING);
    else if (sql !== 'START TRANSACTION' && !sql.startsWith('SET TRANSACTION') && !sql.startsWith('SELECT 1 FROM')) {
      this.server.query(sql);
    }
  }
}

function okOf(autocommit: boolean): Parameters<SessionState['learn']>[0] {
  const nothing = Buffer.alloc(0);
  const status = autocommit ? ServerStatus.AUTOCOMMIT : 0;
  const rest = { warnings: 0, info: nothing, infoOffset: 7, sessionState: nothing };
  return { affectedRows: 0n, insertId: 0n, status, ...rest };
}

function requestOf(sql: string, session: SessionState): ServerRequest {
  const request = readRequest(asPacket(queryPacket(sql, 0)), session, 'mysql', 0);
  assert.ok(request.kind === 'server');
  return request;
}

function ahead(link: FakeLink, session: SessionState, sql: string, options: BringUpOptions): BringUp {
  const request = requestOf(sql, session);
  const result = bringUp(link.connection, { session, request, shareable: false, warned: null, opening: [] }, options);
  assert.ok('commands' in result, JSON.stringify(result));
  return result;
}

test('from whatever state, what is sent ahead gives the session its own, or says that it cannot', () => {
  const options = newOptions();
  let brought = 0;
  fc.assert(
    fc.property(anyState, anyState, (from, wanted) => {
      const link = new FakeLink(from);
      const session = new SessionState(45);
      session.state = wanted;
      const request = requestOf('SELECT a FROM t', session);
      const result = bringUp(
        link.connection,
        { session, request, shareable: true, warned: null, opening: [] },
        options,
      );
      if ('unreachable' in result) {
        assert.ok(from.schema !== null && wanted.schema === null);
        return;
      }
      assert.ok('commands' in result);
      link.run(result.commands);
      link.server.assertHas(wanted, TERMS);
      assert.ok(sameState(link.state, wanted));
      // Once more there is nothing to do.
      const again = bringUp(link.connection, { session, request, shareable: true, warned: null, opening: [] }, options);
      assert.ok('commands' in again && again.commands.length === 0 && again.sure);
      brought++;
    }),
    { seed, numRuns: 2000 },
  );
  assert.ok(brought > 500, `${brought} times only (seed ${seed})`);
});

test('what no server has taken yet is awaited before a write, and sent along with it afterwards', () => {
  const options = newOptions();
  const session = new SessionState(45);
  session.setVariable('sql_mode', 'ANSI');
  const first = new FakeLink();
  const unsure = ahead(first, session, 'INSERT INTO t VALUES (1)', options);
  assert.equal(unsure.sure, false);
  assert.equal(unsure.sureForReads, true);
  first.run(unsure.commands);
  assert.equal(ahead(new FakeLink(), session, 'INSERT INTO t VALUES (1)', options).sure, true);
  // User variables cannot fail; a schema may be gone by now.
  const other = new SessionState(45);
  other.setUserVariables([['a', '1']]);
  assert.equal(ahead(new FakeLink(), other, 'INSERT INTO t VALUES (1)', options).sure, true);
  other.chooseSchema('one');
  assert.equal(ahead(new FakeLink(), other, 'INSERT INTO t VALUES (1)', options).sure, false);
});

test('everything ahead stands in its order: state, LAST_INSERT_ID(), the next transaction’s isolation, BEGIN', () => {
  const options = newOptions();
  const session = new SessionState(45);
  session.chooseSchema('one');
  session.setVariable('time_zone', '+02:00');
  session.setUserVariables([['a', '1']]);
  session.knowInsertId(7n);
  session.insertIdVersion++;
  session.oneShot = 'SET TRANSACTION READ ONLY';
  session.begun = true;
  const link = new FakeLink();
  const stranger = new SessionState(45);
  link.insertId = 99n;
  stranger.insertIdIsOn(link);
  const result = ahead(link, session, 'INSERT INTO t SELECT LAST_INSERT_ID()', options);
  link.run(result.commands);
  assert.deepEqual(link.log, [
    'SELECT LAST_INSERT_ID() LIMIT 1', // the stranger's, before it is written over
    'use one',
    "SET SESSION `time_zone`='+02:00'",
    'SET @`a`=1',
    'SET SESSION last_insert_id=7',
    'SET TRANSACTION READ ONLY',
    'START TRANSACTION',
  ]);
  assert.equal(stranger.insertId, 99n);
  assert.ok(result.begins && !result.sure);
  assert.equal(session.begun, false);
});

test('a statement is prepared under the schema that it was prepared under first, and the session’s own follows', () => {
  const options = newOptions();
  const session = new SessionState(45);
  session.chooseSchema('one');
  const sql = Buffer.from('SELECT * FROM t');
  const packet = commandPacket(Command.STMT_PREPARE, sql);
  const shape = { parameters: 0, columns: 1, options: { flavor: 'mysql' as const }, seesUserVariables: false };
  const logical = { key: 'k', packet, sql, state: session.state, ...shape };
  const statement = session.addStatement(logical);
  session.chooseSchema('two');
  const execute = Buffer.alloc(10);
  execute[0] = Command.STMT_EXECUTE;
  execute.writeUInt32LE(statement.id, 1);
  const request = readRequest(asPacket(Buffer.concat([Buffer.alloc(4), execute])), session, 'mysql', 0);
  assert.ok(request.kind === 'server');
  const link = new FakeLink();
  const result = bringUp(link.connection, { session, request, shareable: false, warned: null, opening: [] }, options);
  assert.ok('commands' in result);
  link.run(result.commands);
  assert.deepEqual(link.log, ['use two', 'use one', 'prepare in one', 'use two']);
  assert.equal(result.prepares, link.prepared.generation);
  assert.ok(!result.sure && !result.sureForReads);
  assert.ok(sameState(link.state, session.state));
});

// ---- LAST_INSERT_ID() of many sessions over few connections -----------------------------------------------------------

type Turn =
  | { do: 'generate' | 'explicit' | 'set' | 'ask' | 'use' | 'read' | 'state'; session: number; link: number }
  | { do: 'read-in-the-background'; link: number; late: boolean }
  | { do: 'lose'; link: number };

const SQL = {
  generate: 'INSERT INTO t () VALUES ()',
  explicit: 'INSERT INTO t VALUES (1)',
  set: 'UPDATE t SET a=LAST_INSERT_ID(a+1)',
  ask: 'SELECT LAST_INSERT_ID()',
  use: 'INSERT INTO t SELECT LAST_INSERT_ID(), 1',
  read: 'SELECT a FROM t FOR UPDATE',
  state: 'SET sql_log_bin=0',
};

class Story {
  readonly options = newOptions();
  readonly links = [new FakeLink(), new FakeLink(), new FakeLink()];
  readonly sessions = [0, 1, 2].map(() => ({ session: new SessionState(45), truth: 0n, mayBeLost: false }));
  answered = 0;
  #next = 100n;

  play(turn: Turn): void {
    if (turn.do === 'lose') return this.#lose(turn.link);
    const link = this.links[turn.link] as FakeLink;
    if (turn.do === 'read-in-the-background') {
      const { insertIdOf } = link;
      if (insertIdOf?.hasUnreadInsertIdOn(link) !== true) return;
      const command = readInsertId(link.connection, insertIdOf);
      if (turn.late) link.readLate(command);
      else link.run([command]);
      return;
    }
    const subject = this.sessions[turn.session] as Story['sessions'][number];
    const { session } = subject;
    const request = requestOf(SQL[turn.do], session);
    for (let tries = 0; ; tries++) {
      assert.ok(tries < 5, 'fetched again and again');
      const result = bringUp(
        link.connection,
        { session, request, shareable: false, warned: null, opening: [] },
        this.options,
      );
      if ('fetchFrom' in result) {
        (result.fetchFrom as unknown as FakeLink).run([readInsertId(result.fetchFrom, session)]);
        continue;
      }
      if ('error' in result) {
        assert.ok(turn.do === 'ask' || turn.do === 'use', result.error.message);
        assert.ok(subject.mayBeLost, 'called lost though it is not');
        return;
      }
      assert.ok('commands' in result);
      link.run(result.commands);
      break;
    }
    this.#execute(turn.do, subject, link);
  }

  #execute(what: keyof typeof SQL, subject: Story['sessions'][number], link: FakeLink): void {
    const { session } = subject;
    switch (what) {
      case 'ask':
      case 'use':
        assert.equal(link.insertId, subject.truth, `${SQL[what]} after ${link.log.slice(-4).join('; ')}`);
        this.answered++;
        break;
      case 'generate':
      case 'set':
        subject.truth = link.insertId = this.#next++;
        subject.mayBeLost = false;
        if (what === 'set') session.insertIdIsOn(link);
        session.insertIdIsOn(link, subject.truth);
        break;
      case 'explicit':
        // In doubt on three connections: the first of them is not remembered.
        if (session.insertIdBefore !== null) subject.mayBeLost = true;
        session.insertIdIsOn(link, this.#next++); // told, though LAST_INSERT_ID() stays
        break;
      case 'state':
        session.setVariable('sql_log_bin', 'OFF'); // taken back by a reset only
        link.server.query('SET SESSION `sql_log_bin`=OFF');
        link.state = session.state;
        break;
      case 'read':
    }
  }

  #lose(at: number): void {
    const link = this.links[at] as FakeLink;
    link.ready = false;
    for (const each of this.sessions) if (each.session.hasUnreadInsertIdOn(link)) each.mayBeLost = true;
    this.links[at] = new FakeLink();
  }
}

const session = fc.nat(2);
const link = fc.nat(2);
const turn: fc.Arbitrary<Turn> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constantFrom('generate' as const, 'explicit', 'set', 'ask', 'ask', 'use', 'read', 'state'),
      session,
      link,
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('read-in-the-background' as const), link, late: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('lose' as const), link }) },
);

const turns = (...of: [what: keyof typeof SQL, session: number, link: number][]): Turn[] =>
  of.map(([what, by, on]) => ({ do: what, session: by, link: on }));
/** Each of these once gave a session another's value, or an older one of its own. */
const FOUND: Turn[][] = [
  turns(['generate', 2, 0], ['ask', 0, 0], ['explicit', 2, 0], ['use', 2, 0]),
  turns(
    ['generate', 2, 0],
    ['explicit', 2, 1],
    ['generate', 0, 1],
    ['explicit', 2, 0],
    ['generate', 0, 0],
    ['ask', 2, 0],
  ),
  turns(
    ['generate', 2, 2],
    ['generate', 2, 1],
    ['generate', 0, 1],
    ['generate', 2, 2],
    ['explicit', 2, 2],
    ['use', 2, 0],
  ),
];

test('whatever sessions take turns on a connection, LAST_INSERT_ID() is each one’s own, or is known to be lost', () => {
  let answered = 0;
  fc.assert(
    fc.property(fc.array(turn, { maxLength: 40, size: 'max' }), (turns) => {
      const story = new Story();
      for (const each of turns) story.play(each);
      answered += story.answered;
    }),
    { seed, numRuns: 3000, examples: FOUND.map((turns) => [turns]) },
  );
  assert.ok(answered > 3000, `asked ${answered} times only (seed ${seed})`);
});
