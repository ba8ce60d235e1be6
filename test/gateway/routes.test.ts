// The worker's routing table: the life of a suspicion, from the first broken connection to the control process's word;
// which node is picked for what; and which orders a worker refuses.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { HoldBudget, type HoldLimits } from '../../src/gateway/hold.ts';
import { type ClusterRouting, type Gate, RoutingTable } from '../../src/gateway/routes.ts';
import type { ClusterRoute, EndpointRoute, EndpointSettings, RouteNode } from '../../src/messages/index.ts';

const LIMITS: HoldLimits = { timeoutMs: 1000, maxStatements: 10, maxBytes: 1000, releaseConcurrency: 4 };
const replica = (node: string, fields: Partial<RouteNode> = {}): RouteNode => ({
  node,
  role: 'replica',
  serving: true,
  lagMs: 0,
  ...fields,
});
const primary: RouteNode = { node: 'db1:1', role: 'primary', serving: true, lagMs: 0 };

function route(fields: Partial<ClusterRoute> = {}): ClusterRoute {
  return {
    cluster: 'shop',
    epoch: 1,
    flavor: 'mysql',
    serverVersion: '9.7.4',
    collation: 255,
    primary: 'db1:1',
    gate: { state: 'open' },
    nodes: [primary, replica('db2:2'), replica('db3:3')],
    ...fields,
  };
}

interface Stage {
  table: RoutingTable;
  cluster: ClusterRouting;
  writer: Gate;
  reader: Gate;
  told: string[];
  load: Map<string, number>;
}

function stage(
  readerRoute: EndpointRoute = { kind: 'replica', maxLagMs: null, fallbackToPrimary: false },
  near?: string[],
): Stage {
  const endpoint = (name: string, kind: EndpointRoute): EndpointSettings => ({
    name,
    cluster: 'shop',
    host: '127.0.0.1',
    port: 1,
    route: kind,
    inFlight: 'report',
    ...(near === undefined ? {} : { near }),
  });
  const told: string[] = [];
  const load = new Map<string, number>();
  const endpoints = [endpoint('writer', { kind: 'primary' }), endpoint('reader', readerRoute)];
  const table = new RoutingTable(endpoints, LIMITS, new HoldBudget(), {
    evidence: (_cluster, node, kind, evidence) => void told.push(`${node} ${kind} ${evidence}`),
    load: (node) => load.get(node) ?? 0,
    closing: () => void told.push('closing'),
  });
  const cluster = table.clusters.get('shop') as ClusterRouting;
  cluster.refresh(0);
  cluster.apply(route(), 0, () => {});
  told.length = 0;
  return {
    table,
    cluster,
    writer: table.gates.get('writer') as Gate,
    reader: table.gates.get('reader') as Gate,
    told,
    load,
  };
}

describe('a suspicion of the primary', () => {
  test('closes the way at the first evidence, and is told once', () => {
    const { cluster, writer, told } = stage();
    cluster.suspect('db1:1', 'connection-lost', 'reset', 10);
    cluster.suspect('db1:1', 'connect-failed', 'refused', 11);
    cluster.suspect('db1:1', 'shutdown', 'bye', 12);
    assert.deepEqual(told, ['db1:1 connection-lost 1', 'closing']);
    assert.deepEqual(writer.pick(), { closed: 'connection-lost' });
    assert.equal(writer.hold.closedFor, 'connection-lost');
  });

  test('ends when the control process finds the node well', () => {
    const { cluster, writer } = stage();
    cluster.suspect('db1:1', 'connection-lost', '', 10);
    cluster.reviewed(1, true, 20);
    assert.deepEqual(writer.pick(), { node: 'db1:1' });
    assert.ok(writer.hold.passes);
  });

  test('is not ended by an answer to earlier evidence, or to evidence against another node', () => {
    const { cluster, writer, told } = stage();
    cluster.suspect('db1:1', 'connection-lost', '', 10);
    cluster.reviewed(1, true, 20);
    cluster.suspect('db1:1', 'connection-lost', '', 30);
    cluster.reviewed(1, true, 31);
    assert.ok(!writer.hold.passes);
    cluster.suspect('db2:2', 'connect-failed', '', 32);
    assert.deepEqual(told.filter((word) => word !== 'closing').slice(-2), [
      'db1:1 connection-lost 2',
      'db2:2 connect-failed 3',
    ]);
    cluster.reviewed(3, true, 33);
    assert.ok(!writer.hold.passes);
    cluster.reviewed(2, true, 34);
    assert.ok(writer.hold.passes);
  });

  test('found justified, stays until there is a route of a newer epoch, or one that says the primary is open', () => {
    const { cluster, writer } = stage();
    cluster.suspect('db1:1', 'connection-lost', '', 10);
    cluster.reviewed(1, false, 20);
    assert.equal(writer.hold.closedFor, 'connection-lost');
    cluster.apply(route({ gate: { state: 'closed', reason: 'failover' } }), 30, () => {});
    assert.equal(writer.hold.closedFor, 'failover');
    cluster.apply(route({ epoch: 2, primary: 'db2:2' }), 40, () => {});
    assert.deepEqual(writer.pick(), { node: 'db2:2' });
    assert.ok(writer.hold.passes);
  });

  test('that nobody has looked at yet outlives a route of the same epoch: it may have been made before', () => {
    const { cluster, writer } = stage();
    cluster.suspect('db1:1', 'connection-lost', '', 10);
    cluster.apply(route(), 11, () => {});
    assert.ok(!writer.hold.passes);
    cluster.apply(route({ epoch: 2 }), 12, () => {});
    assert.ok(writer.hold.passes);
  });

  test('that is not answered is told again after a second, and no more often', () => {
    const { table, cluster, told } = stage();
    cluster.suspect('db1:1', 'connection-lost', '', 0);
    told.length = 0;
    for (let now = 20; now <= 2100; now += 20) table.tick(now, true);
    assert.deepEqual(told, ['db1:1 connection-lost 1', 'db1:1 connection-lost 1']);
  });

  test('without a control process, ends by itself after a quarter of a second', () => {
    const { table, cluster, writer } = stage();
    cluster.suspect('db1:1', 'connection-lost', '', 0);
    table.tick(250, false);
    assert.ok(!writer.hold.passes);
    table.tick(251, false);
    assert.ok(writer.hold.passes);
  });

  test('an idle connection that was closed is told, and holds nobody', () => {
    const { cluster, writer, told } = stage();
    cluster.suspect('db1:1', 'idle-closed', '', 0);
    assert.deepEqual(told, ['db1:1 idle-closed 1']);
    assert.ok(writer.hold.passes);
  });
});

describe('routes', () => {
  test('before the first one everything waits', () => {
    const table = new RoutingTable(
      [{ name: 'writer', cluster: 'shop', host: '', port: 1, route: { kind: 'primary' }, inFlight: 'report' }],
      LIMITS,
      new HoldBudget(),
      { evidence: () => {}, load: () => 0, closing: () => {} },
    );
    assert.deepEqual(table.gates.get('writer')?.pick(), { closed: 'no-primary' });
  });

  test('of an older epoch are refused: they would lead back to a demoted primary', () => {
    const { cluster, writer } = stage();
    assert.ok(cluster.apply(route({ epoch: 5, primary: 'db2:2' }), 10, () => {}));
    assert.ok(!cluster.apply(route({ epoch: 4, primary: 'db1:1' }), 20, () => assert.fail('nothing opens')));
    assert.deepEqual(writer.pick(), { node: 'db2:2' });
    assert.ok(
      cluster.apply(route({ epoch: 5, primary: 'db2:2', gate: { state: 'closed', reason: 'paused' } }), 30, () => {}),
    );
    assert.equal(writer.hold.closedFor, 'paused');
  });

  test('take clients off nodes before what waits is let go', () => {
    const { cluster, writer } = stage();
    const order: string[] = [];
    cluster.apply(route({ gate: { state: 'closed', reason: 'failover' } }), 10, () => {});
    const waiter = { bytes: 1, release: () => void order.push('released'), refuse: () => assert.fail('refused') };
    writer.hold.enter(waiter, 10, 10);
    cluster.apply(route({ epoch: 2, primary: 'db2:2' }), 20, () => void order.push('left'));
    assert.deepEqual(order, ['left', 'released']);
  });

  test('a pause holds its endpoint alone, whatever the route says, and ends by itself', () => {
    const { cluster, table, writer, reader } = stage();
    table.applyPauses([{ endpoint: 'writer', leftMs: 100 }], 10);
    assert.deepEqual(writer.pick(), { closed: 'paused' });
    assert.equal(writer.hold.closedFor, 'paused');
    assert.ok(writer.admits('db1:1', 'primary'), 'an open transaction may come to its end');
    assert.ok(reader.hold.passes);
    cluster.apply(route({ epoch: 2, primary: 'db2:2' }), 20, () => {});
    assert.equal(writer.hold.closedFor, 'paused');
    table.tick(109, true);
    assert.equal(writer.hold.closedFor, 'paused');
    table.tick(110, true);
    assert.deepEqual(writer.pick(), { node: 'db2:2' });
    assert.ok(writer.hold.passes);

    table.applyPauses([{ endpoint: 'writer', leftMs: 100 }], 200);
    table.applyPauses([{ endpoint: 'reader', leftMs: 100 }], 210);
    assert.ok(writer.hold.passes, 'it was resumed');
    assert.deepEqual(reader.pick(), { closed: 'paused' });
    cluster.apply(route({ epoch: 2, primary: 'db2:2', gate: { state: 'closed', reason: 'failover' } }), 220, () => {});
    table.applyPauses([], 230);
    assert.deepEqual(writer.pick(), { closed: 'failover' });
    assert.ok(reader.hold.passes);
  });

  test('a route without a primary, or with a closed gate, says why', () => {
    const { cluster, writer } = stage();
    cluster.apply(route({ primary: null }), 1, () => {});
    assert.deepEqual(writer.pick(), { closed: 'no-primary' });
    cluster.apply(route({ gate: { state: 'closed', reason: 'switchover' } }), 2, () => {});
    assert.deepEqual(writer.pick(), { closed: 'switchover' });
    assert.ok(writer.admits('db1:1', 'primary'), 'an open transaction may come to its end');
  });
});

describe('replicas', () => {
  test('the one with the fewest statements is picked, the primary never', () => {
    const { reader, load } = stage();
    load.set('db2:2', 5).set('db3:3', 4);
    assert.deepEqual(reader.pick(), { node: 'db3:3' });
    load.set('db3:3', 6);
    assert.deepEqual(reader.pick(), { node: 'db2:2' });
    assert.ok(!reader.admits('db1:1', 'primary'));
  });

  test('a suspicion excludes its node only, and holds nobody while there is another', () => {
    const { cluster, reader, writer } = stage();
    cluster.suspect('db2:2', 'connect-failed', '', 1);
    assert.deepEqual(reader.pick(), { node: 'db3:3' });
    assert.ok(!reader.admits('db2:2', 'primary'));
    assert.ok(reader.hold.passes && writer.hold.passes);
    cluster.suspect('db3:3', 'connect-failed', '', 2);
    assert.deepEqual(reader.pick(), { closed: 'no-replica' });
    assert.ok(!reader.hold.passes && writer.hold.passes);
    cluster.reviewed(2, true, 3);
    assert.deepEqual(reader.pick(), { node: 'db3:3' });
    assert.ok(reader.hold.passes);
  });

  test('one that lags too far, whose lag is not known, or that does not serve is not picked', () => {
    const { cluster, reader } = stage({ kind: 'replica', maxLagMs: 1000, fallbackToPrimary: false });
    const nodes = (...lags: (number | null)[]): RouteNode[] => lags.map((lagMs, i) => replica(`r${i}:1`, { lagMs }));
    cluster.apply(route({ nodes: [primary, ...nodes(1001, null, 1000)] }), 1, () => {});
    assert.deepEqual(reader.pick(), { node: 'r2:1' });
    assert.ok(
      !reader.admits('r0:1', 'primary') && !reader.admits('r1:1', 'primary') && reader.admits('r2:1', 'primary'),
    );
    const idle = nodes(0).map((node) => ({ ...node, serving: false }));
    cluster.apply(route({ nodes: [primary, ...idle, replica('x:1', { role: 'unknown' })] }), 2, () => {});
    assert.deepEqual(reader.pick(), { closed: 'no-replica' });
  });

  test('a read in flight on one that falls behind comes to its end; on one that no longer serves it does not', () => {
    const { cluster, reader, writer } = stage({ kind: 'replica', maxLagMs: 1000, fallbackToPrimary: false });
    cluster.apply(route({ nodes: [primary, replica('db2:2', { lagMs: 1001 })] }), 1, () => {});
    assert.ok(!reader.admits('db2:2', 'primary') && reader.letsEnd('db2:2'));
    assert.ok(!writer.letsEnd('db2:2') && !reader.letsEnd('db1:1'));
    cluster.apply(route({ nodes: [primary, replica('db2:2', { serving: false })] }), 2, () => {});
    assert.ok(!reader.letsEnd('db2:2'));
  });

  test('with fallback the primary serves where no replica can', () => {
    const { cluster, reader } = stage({ kind: 'replica', maxLagMs: null, fallbackToPrimary: true });
    cluster.apply(route({ nodes: [primary] }), 1, () => {});
    assert.deepEqual(reader.pick(), { node: 'db1:1' });
    assert.ok(reader.admits('db1:1', 'primary'));
    cluster.suspect('db1:1', 'connection-lost', '', 2);
    assert.deepEqual(reader.pick(), { closed: 'connection-lost' });
  });

  test('a fixed endpoint uses its own nodes only, whatever their role', () => {
    const { cluster, reader } = stage({ kind: 'fixed', nodes: ['db1:1', 'db9:9'] });
    assert.deepEqual(reader.pick(), { node: 'db1:1' });
    assert.ok(!reader.admits('db2:2', 'primary'));
    cluster.suspect('db1:1', 'connection-lost', '', 2);
    assert.deepEqual(reader.pick(), { closed: 'no-replica' });
  });
});

test('a session stays on its replica where no other is less busy', () => {
  const { reader: gate, load, cluster } = stage();
  cluster.apply(route({ nodes: [primary, replica('db2:2'), replica('db3:3')] }), 1, () => {});
  for (let n = 0; n < 4; n++) assert.deepEqual(gate.pick('db3:3'), { node: 'db3:3' });
  load.set('db2:2', 1).set('db3:3', 1);
  assert.deepEqual(gate.pick('db2:2'), { node: 'db2:2' });
  load.set('db2:2', 2);
  assert.deepEqual(gate.pick('db2:2'), { node: 'db3:3' });
  assert.deepEqual(gate.pick('gone:1'), { node: 'db3:3' });
});

describe('auto', () => {
  const auto = { kind: 'auto', maxLagMs: 1000, causal: 'session', causalTimeoutMs: 50 } as const;
  const anyone = (): boolean => true;

  test('its own way is the primary; aside it has the replicas, in turns, by their load and lag', () => {
    const { cluster, reader: gate, load } = stage(auto);
    assert.deepEqual(gate.pick(), { node: 'db1:1' });
    assert.deepEqual(new Set([1, 2, 3].map(() => gate.pickAside(anyone))), new Set(['db2:2', 'db3:3']));
    load.set('db3:3', 1);
    assert.equal(gate.pickAside(anyone), 'db2:2');
    assert.equal(
      gate.pickAside((node) => node !== 'db2:2'),
      'db3:3',
    );
    assert.equal(
      gate.pickAside(() => false),
      null,
    );
    cluster.apply(route({ nodes: [primary, replica('db2:2', { lagMs: 1001 }), replica('db3:3')] }), 1, () => {});
    assert.equal(gate.pickAside(anyone), 'db3:3');
    cluster.apply(route({ nodes: [primary] }), 2, () => {});
    assert.equal(gate.pickAside(anyone), null);
  });

  test('aside is open while the primary is being replaced, and closed in a pause', () => {
    const { table, cluster, reader: gate } = stage(auto);
    cluster.suspect('db1:1', 'connection-lost', '', 10);
    assert.ok(!gate.hold.passes);
    assert.notEqual(gate.pickAside(anyone), null);
    table.applyPauses([{ endpoint: 'reader', leftMs: 100 }], 20);
    assert.equal(gate.pickAside(anyone), null);
  });

  test('what is on a replica may end there though it lags, and nothing of the primary may go on on a replica', () => {
    const { cluster, reader: gate } = stage(auto);
    const nodes = [{ ...primary, role: 'replica' as const }, replica('db2:2', { lagMs: 5000 }), replica('db3:3')];
    assert.ok(gate.admits('db2:2', 'replica') && !gate.admits('db2:2', 'primary'));
    cluster.apply(route({ epoch: 2, primary: 'db3:3', nodes }), 1, () => {});
    assert.ok(gate.admits('db2:2', 'replica') && !gate.admits('db1:1', 'primary'));
    cluster.suspect('db2:2', 'connection-lost', '', 2);
    assert.ok(!gate.admits('db2:2', 'replica'));
  });
});

test('replicas of the own zone come first, whatever their load; others only where none of them is fit', () => {
  const far = { kind: 'replica', maxLagMs: 1000, fallbackToPrimary: false } as const;
  const { cluster, reader, load } = stage(far, ['db1:1', 'db3:3', 'db4:4']);
  const nodes = [primary, replica('db2:2'), replica('db3:3'), replica('db4:4'), replica('db5:5')];
  cluster.apply(route({ nodes }), 1, () => {});
  load.set('db3:3', 9).set('db4:4', 8);
  for (let turn = 0; turn < nodes.length; turn++) assert.deepEqual(reader.pick(), { node: 'db4:4' });
  cluster.suspect('db4:4', 'connection-lost', '', 2);
  for (let turn = 0; turn < nodes.length; turn++) assert.deepEqual(reader.pick(), { node: 'db3:3' });
  cluster.apply(
    route({ nodes: nodes.map((node) => (node.node === 'db3:3' ? { ...node, lagMs: 2000 } : node)) }),
    3,
    () => {},
  );
  load.set('db2:2', 1);
  for (let turn = 0; turn < nodes.length; turn++) assert.deepEqual(reader.pick(), { node: 'db5:5' });
});

test('what waits at a gate times out by the tick', () => {
  const { table, cluster, writer } = stage();
  cluster.apply(route({ primary: null }), 0, () => {});
  const seen: string[] = [];
  writer.hold.enter(
    { bytes: 1, release: () => {}, refuse: (exit, reason) => void seen.push(`${exit} ${reason}`) },
    0,
    0,
  );
  table.tick(999, true);
  assert.deepEqual(seen, []);
  table.tick(1000, true);
  assert.deepEqual(seen, ['timed-out no-primary']);
});
