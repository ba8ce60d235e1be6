// Numbers that a crash left in doubt: closed with nothing under them once every server that may have one serves again and says that it
// has not; never before, and never one that somebody may still use.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { Holes, Witnesses } from '../../src/gateway/in-flight/index.ts';
import type { ClusterRoute, RouteNode } from '../../src/messages/index.ts';
import fc from '../seed.ts';
import { connect, FakeServer, profile, until } from './fake-server.ts';

const APP = profile('app');

/** Numbers of `UUID:1-3:7`. */
const numbersOf = (set: string): number[] =>
  set
    .split(':')
    .slice(1)
    .flatMap((part) => {
      const [first = 0, last = first] = part.split('-').map(Number);
      return Array.from({ length: last - first + 1 }, (_, at) => first + at);
    });

class Node {
  readonly server = new FakeServer();
  readonly executed = new Set<number>();
  /** Every number that an empty transaction was committed under. */
  readonly filled: number[] = [];
  refuses = false;

  async listen(): Promise<this> {
    let next = 0;
    this.server.answer = (command) => {
      const text = command.toString('latin1', command[1] === 0 ? 3 : 1);
      const asked = /GTID_SUBTRACT\('([^']*)'/.exec(text)?.[1];
      if (asked !== undefined) {
        const missing = numbersOf(asked).filter((number) => !this.executed.has(number));
        return { value: missing.length === 0 ? '' : `${asked.split(':')[0]}:${missing.join(':')}` };
      }
      if (this.refuses) return { errno: 1227, sqlState: '42000', message: 'Access denied' };
      const chosen = /gtid_next='[^:']+:(\d+)'/.exec(text)?.[1];
      if (chosen !== undefined) next = Number(chosen);
      if (text === 'COMMIT') {
        this.executed.add(next);
        this.filled.push(next);
      }
      return 2;
    };
    await this.server.listen();
    return this;
  }
}

describe('holes', () => {
  let nodes: Node[];
  let route: ClusterRoute;
  let witnesses: Witnesses;
  let holes: Holes;
  let now: number;
  let closed: number;

  const listed = (node: Node, role: 'primary' | 'replica'): RouteNode => {
    return { node: node.server.node, role, serving: true, lagMs: 0 };
  };

  /** Of `count` transactions all are lost. */
  const lose = (count: number): number[] => {
    const lost = Array.from({ length: count }, () => witnesses.take('mysql'));
    for (const witness of lost) witnesses.abandon(witness, APP);
    return lost.map(({ number }) => number);
  };

  /** Time passes, as far as it must for everything that will happen. */
  const settle = async (): Promise<void> => {
    for (let second = 0; second < 10; second++) {
      holes.tick(route);
      now += 1000;
      await until('the servers to be left', () => !holes.busy);
    }
  };

  const primary = (): Node => nodes[0] as Node;
  const replica = (): Node => nodes[1] as Node;

  beforeEach(async () => {
    nodes = await Promise.all([0, 1, 2].map(() => new Node().listen()));
    now = 0;
    closed = 0;
    route = {
      cluster: 'c',
      epoch: 2,
      flavor: 'mysql',
      serverVersion: '9.7.0',
      collation: 45,
      primary: primary().server.node,
      gate: { state: 'open' },
      nodes: nodes.map((node, at) => listed(node, at === 0 ? 'primary' : 'replica')),
    };
    witnesses = new Witnesses(() => route.nodes);
    holes = new Holes(witnesses, {
      nowMs: () => now,
      connect,
      closed: (count) => {
        closed += count;
      },
    });
  });

  afterEach(async () => {
    holes.close();
    for (const { server } of nodes) await server.close();
  });

  test('are closed where all serve, but for what the primary has', async () => {
    const lost = lose(250);
    for (const number of [3, 4, 200]) for (const { executed } of nodes) executed.add(number);
    await settle();
    assert.deepEqual(
      primary().filled.toSorted((a, b) => a - b),
      lost.filter((number) => ![3, 4, 200].includes(number)),
    );
    assert.equal(closed, 247);
    assert.deepEqual(replica().filled, []);
    const connections = primary().server.connections.length;
    await settle();
    assert.equal(primary().server.connections.length, connections, 'nobody is asked where there is none');
  });

  test('stay open while a server is away, drained, or is a member no more', async () => {
    const lost = lose(3);
    const whole = route;
    const [first, second, third] = whole.nodes as [RouteNode, RouteNode, RouteNode];
    const others: Partial<ClusterRoute>[] = [
      { nodes: [first, second, { ...third, serving: false }] },
      { nodes: [first, second, { ...third, leaving: 'drained' }] },
      { nodes: [first, second] },
      { gate: { state: 'closed', reason: 'failover' } },
      { primary: null },
      { group: 'group' },
    ];
    for (const other of others) {
      route = { ...whole, ...other };
      await settle();
    }
    holes.tick(null);
    assert.deepEqual(primary().filled, []);
    // What is lost while it is no member is no concern of it.
    route = { ...whole, nodes: [first, second] };
    const later = lose(2);
    await settle();
    assert.deepEqual(primary().filled, later);
    route = whole;
    await settle();
    assert.deepEqual(primary().filled, [...later, ...lost]);
  });

  test('stay open where a replica has what its primary has not, until it was built anew', async () => {
    const lost = lose(4);
    replica().executed.add(lost[1] as number);
    await settle();
    assert.deepEqual(primary().filled, [lost[0], lost[2], lost[3]]);
    replica().executed.clear();
    await settle();
    assert.equal(primary().filled.length, 3, 'not at once');
    now += 30_000;
    await settle();
    assert.deepEqual(primary().filled.at(-1), lost[1]);
  });

  test('stay open where the account may not, or a server does not answer; that is tried again after a while', async () => {
    const lost = lose(2);
    primary().refuses = true;
    await settle();
    primary().refuses = false;
    await settle();
    assert.deepEqual(primary().filled, []);
    now += 30_000;
    replica().server.refuses = true;
    await settle();
    assert.deepEqual(primary().filled, []);
    replica().server.refuses = false;
    now += 30_000;
    await settle();
    assert.deepEqual(primary().filled, lost);
  });

  test('are not begun before all have served for a while', async () => {
    const lost = lose(1);
    const whole = route;
    for (let round = 0; round < 5; round++) {
      for (route of [whole, { ...whole, epoch: ++whole.epoch }]) {
        holes.tick(route);
        now += 1000;
      }
    }
    assert.equal(primary().server.connections.length, 0);
    await settle();
    assert.deepEqual(primary().filled, lost);
  });
});

test('a number that was abandoned is never used again, one that is free never abandoned', () => {
  const step = fc.record({ do: fc.constantFrom('take', 'give-back', 'abandon', 'used'), which: fc.nat(20) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const witnesses = new Witnesses();
      const taken: ReturnType<Witnesses['take']>[] = [];
      const gone = new Set<number>();
      const free = new Set<number>();
      for (const each of steps) {
        const witness = taken[each.which % Math.max(1, taken.length)];
        if (each.do === 'take') {
          const next = witnesses.take('mysql');
          assert.ok(!gone.has(next.number));
          free.delete(next.number);
          taken.push(next);
        } else if (witness !== undefined && each.do === 'give-back' && !free.has(witness.number)) {
          witnesses.giveBack(witness, 'unused');
          if (!gone.has(witness.number)) free.add(witness.number);
        } else if (witness !== undefined && each.do === 'abandon') {
          witnesses.abandon(witness, APP);
          if (!free.has(witness.number)) gone.add(witness.number);
        }
      }
      const listed = numbersOf(witnesses.abandoned(new Set(), 1000));
      assert.deepEqual(
        listed,
        [...gone].toSorted((a, b) => a - b),
      );
    }),
  );
});
