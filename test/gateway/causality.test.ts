// What reads must not be older than: positions as texts, and a simulation of sessions that write and read beside replicas
// that lag, fail to tell, are replaced and promoted. In it, the model knows what every read should have seen.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { askPosition, Causality, Position, waitFor } from '../../src/gateway/causality.ts';
import fc from '../seed.ts';

const U = '3e11fa47-71ca-11e1-9e33-c80aa9429562';
const V = 'e7e14ee1-0000-4000-a000-000000000001';

function positionOf(flavor: 'mysql' | 'mariadb', ...texts: string[]): string {
  const position = new Position();
  for (const text of texts) assert.ok(position.add(flavor, text), text);
  return position.text;
}

describe('a position', () => {
  test('of MySQL is a set: what touches is joined, and what a server prints can be read', () => {
    assert.equal(positionOf('mysql', `${U}:5`, `${U}:7`), `${U}:5:7`);
    assert.equal(positionOf('mysql', `${U}:5`, `${U}:7`, `${U}:6`), `${U}:5-7`);
    assert.equal(positionOf('mysql', `${U}:1-5:9-12`, `${U}:3-10`), `${U}:1-12`);
    assert.equal(positionOf('mysql', `${U}:1-5,\n${V}:8`, `${U.toUpperCase()}:6`), `${U}:1-6,${V}:8`);
    assert.equal(positionOf('mysql', `${U}:1:tag:4-5`, `${U}:tag:6`), `${U}:1,${U}:tag:4-6`);
  });

  test('of MariaDB is the newest of each domain, whichever server wrote it', () => {
    assert.equal(positionOf('mariadb', '0-1-5', '0-2-7', '0-1-6', '3-1-1'), '0-2-7,3-1-1');
  });

  test('takes nothing that no server prints', () => {
    for (const text of ['x', `${U}:x-1`, `${U}:1')`, '0-1-5']) assert.ok(!new Position().add('mysql', text), text);
    for (const text of ['0-1', "0-1-5'", `${U}:1`]) assert.ok(!new Position().add('mariadb', text), text);
  });

  test('joined of many pieces holds exactly what was put in', () => {
    const interval = fc.tuple(fc.integer({ min: 1, max: 60 }), fc.nat(4)).map(([first, more]) => [first, first + more]);
    fc.assert(
      fc.property(fc.array(interval, { maxLength: 30 }), (intervals) => {
        const all = new Set<number>();
        const position = new Position();
        for (const [first = 0, last = 0] of intervals) {
          position.add('mysql', `${U}:${first}-${last}`);
          for (let n = first; n <= last; n++) all.add(n);
        }
        const found = new Set<number>();
        for (const part of position.text.split(':').slice(1)) {
          const [first = 0, last = first] = part.split('-').map(Number);
          for (let n = first; n <= last; n++) {
            assert.ok(!found.has(n));
            found.add(n);
          }
        }
        assert.deepEqual(found, all);
      }),
    );
  });
});

describe('what a session must see', () => {
  const server = { incarnation: 1 };
  const scattered = (count: number): string[] => Array.from({ length: count }, (_, n) => `${U}:${2 * n + 1}`);

  test('is left out nowhere: with too many pieces it is to be asked for, whatever is told meanwhile', () => {
    const causality = new Causality('mysql', 1);
    for (const gtid of scattered(256)) {
      causality.begins(true);
      causality.tell(gtid);
      causality.ends(true);
    }
    assert.ok(!causality.dirty);
    assert.equal(causality.missing(server)?.split(':').length, 257);
    for (const gtid of [`${U}:1001`, `${U}:1002`]) {
      causality.begins(true);
      causality.tell(gtid);
      causality.ends(true);
      assert.ok(causality.dirty);
    }
    assert.ok(causality.resolve(`${U}:1-1002`));
    assert.ok(!causality.dirty);
    assert.equal(causality.missing(server), `${U}:1-1002`);
  });

  test('is all that the primary says, of however many sources, and as much again of what is told', () => {
    const causality = new Causality('mysql', 1);
    const uuid = (n: number): string => `e7e14ee1-0000-4000-a000-${String(n).padStart(12, '0')}`;
    const all = Array.from({ length: 300 }, (_, n) => `${uuid(n)}:1`).join(',');
    assert.ok(causality.resolve(all));
    assert.equal(causality.missing(server), all);
    for (const gtid of scattered(256)) causality.tell(gtid);
    assert.ok(!causality.dirty);
    assert.ok(causality.missing(server)?.startsWith(all));
  });

  test('a token of many pieces sends reads to the primary; one that is no list of GTIDs changes nothing', () => {
    const causality = new Causality('mysql', 1);
    assert.ok(!causality.mustSee(`${U}:1,${V}:x-1`));
    assert.equal(causality.missing(server), null);
    assert.ok(
      causality.mustSee(
        `${U}:${scattered(257)
          .map((each) => each.split(':')[1])
          .join(':')}`,
      ),
    );
    assert.ok(causality.dirty);
    assert.ok(!causality.mustSee('x y'));
    assert.ok(causality.mustSee(`${U}:1`));
    assert.ok(causality.dirty);
  });
});

test('a server waits for as long as it is told to, never for ever', () => {
  assert.equal(waitFor('mysql', `${U}:1`, 50), `SELECT WAIT_FOR_EXECUTED_GTID_SET('${U}:1', 0.050) LIMIT 1`);
  assert.equal(waitFor('mysql', `${U}:1`, 0), `SELECT WAIT_FOR_EXECUTED_GTID_SET('${U}:1', 0.001) LIMIT 1`);
  assert.equal(waitFor('mariadb', '0-1-5', 1500), "SELECT MASTER_GTID_WAIT('0-1-5', 1.500) LIMIT 1");
  assert.match(askPosition('mysql'), /gtid_executed/);
  assert.match(askPosition('mariadb'), /gtid_binlog_pos/);
});

// ---- sessions beside replicas that lag ---------------------------------------------------------------------------------

/** A server: which of the writes, by number, it has executed. */
interface Server {
  incarnation: number;
  executed: Set<number>;
}

type Event =
  | { do: 'write'; session: number; fate: 'told' | 'untold' | 'failed' }
  | { do: 'apply'; server: number }
  | { do: 'restart'; server: number; loses: number }
  | { do: 'promote'; server: number }
  | { do: 'read'; session: number; server: number };

const event: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('write' as const),
      session: fc.nat(2),
      fate: fc.constantFrom('told' as const, 'told' as const, 'told' as const, 'untold' as const, 'failed' as const),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('apply' as const), server: fc.nat(2) }) },
  fc.record({ do: fc.constant('restart' as const), server: fc.nat(2), loses: fc.nat(2) }),
  fc.record({ do: fc.constant('promote' as const), server: fc.nat(2) }),
  { weight: 6, arbitrary: fc.record({ do: fc.constant('read' as const), session: fc.nat(2), server: fc.nat(2) }) },
);

const gtids = (set: Iterable<number>): string => `${U}:${[...set].sort((a, b) => a - b).join(':')}`;
const numbers = (text: string): number[] =>
  text
    .split(':')
    .slice(1)
    .flatMap((part) => {
      const [first = 0, last = first] = part.split('-').map(Number);
      return Array.from({ length: last - first + 1 }, (_, at) => first + at);
    });

for (const mode of ['session', 'global'] as const) {
  test(`${mode}: no read is answered by a server that lacks what it must see`, () => {
    let waited = 0;
    fc.assert(
      fc.property(fc.array(event, { minLength: 30, maxLength: 80 }), (events) => {
        const servers: Server[] = [0, 1, 2].map(() => ({ incarnation: 0, executed: new Set<number>() }));
        let [primary, epoch, next] = [0, 1, 1];
        const sessions = [0, 1, 2].map(() => ({
          causality: new Causality('mysql', epoch),
          wrote: new Set<number>(),
        }));
        /** Acknowledged or not, what each session has written and the present primary has. */
        const mustSee = (session: number): number[] => {
          const of = mode === 'global' ? sessions : [sessions[session] as (typeof sessions)[0]];
          const writes = of.flatMap(({ wrote }) => [...wrote]);
          return writes.filter((write) => servers[primary]?.executed.has(write));
        };
        for (const each of events) {
          if (each.do === 'write') {
            const { causality, wrote } = sessions[each.session] as (typeof sessions)[0];
            causality.begins(true);
            const number = next++;
            // What fails may have written more than was told before that.
            const written = each.fate === 'failed' ? [number, next++] : [number];
            for (const write of written) {
              servers[primary]?.executed.add(write);
              wrote.add(write);
            }
            if (each.fate !== 'untold') causality.tell(gtids([number]));
            causality.ends(each.fate !== 'failed');
          } else if (each.do === 'apply') {
            // In the primary's order.
            const { executed } = servers[each.server] as Server;
            const missing = [...(servers[primary]?.executed ?? [])].find((write) => !executed.has(write));
            if (missing !== undefined) executed.add(missing);
          } else if (each.do === 'restart' && each.server !== primary) {
            const server = servers[each.server] as Server;
            server.incarnation++;
            for (const write of [...server.executed].slice(server.executed.size - each.loses))
              server.executed.delete(write);
          } else if (each.do === 'promote' && each.server !== primary) {
            primary = each.server;
            epoch++;
            // What the others have beyond the new primary is rewound.
            for (const server of servers) {
              if (server === servers[primary]) continue;
              server.incarnation++;
              for (const write of server.executed)
                if (!servers[primary]?.executed.has(write)) server.executed.delete(write);
            }
          } else if (each.do === 'read') {
            const { causality } = sessions[each.session] as (typeof sessions)[0];
            const server = servers[each.server] as Server;
            causality.begins(false);
            causality.enter(epoch);
            const ask = (): unknown => causality.resolve(gtids(servers[primary]?.executed ?? []));
            if (mode === 'global') ask();
            if (each.server !== primary && !causality.dirty) {
              const missing = causality.missing(server);
              const there = missing === null || numbers(missing).every((write) => server.executed.has(write));
              if (missing !== null) waited++;
              if (missing !== null && there) causality.reached(server, server.incarnation, missing);
              const lacks = mustSee(each.session).filter((write) => !server.executed.has(write));
              if (there) assert.deepEqual(lacks, [], `read on ${each.server}`);
            } else if (causality.dirty) ask();
            causality.ends(true);
          }
        }
      }),
      { numRuns: 2000 },
    );
    assert.ok(waited > 1000, `${waited} waits`);
  });
}

test('what a client wants to see is waited for as what it wrote itself, and what is no position is refused', () => {
  const causality = new Causality('mysql', 1);
  const server = { incarnation: 0 };
  assert.equal(causality.missing(server), null);
  assert.ok(causality.mustSee(`${U}:7`));
  assert.equal(causality.missing(server), `${U}:7`);
  assert.ok(!causality.dirty);
  causality.reached(server, 0, `${U}:7`);
  assert.equal(causality.missing(server), null);
  assert.ok(!causality.mustSee("x', 1)"));
  assert.equal(causality.missing(server), null);
  assert.ok(causality.mustSee(`${U}:8`));
  assert.equal(causality.missing(server), `${U}:7-8`);
});

test('a server that has all of what the primary names is not waited for again until the primary names more', () => {
  const causality = new Causality('mysql', 1);
  const server = { incarnation: 0 };
  causality.resolve(`${U}:1-7`);
  causality.reached(server, 0, `${U}:1-7`);
  causality.resolve(`${U}:1-7`);
  assert.equal(causality.missing(server), null);
  causality.resolve(`${U}:1-8`);
  assert.equal(causality.missing(server), `${U}:1-8`);
});

test('a primary that says nothing of use, or too much, settles nothing', () => {
  const causality = new Causality('mysql', 1);
  causality.begins(true);
  causality.ends(true);
  for (const text of ['', 'x', `${U}:${Array.from({ length: 8000 }, (_, n) => 2 * n + 1).join(':')}`]) {
    assert.ok(!causality.resolve(text));
    assert.ok(causality.dirty);
  }
});
