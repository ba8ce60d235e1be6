// What it costs a worker to choose a server for a statement of `route: auto`: the choice alone, without a server. With it goes
// the look for hints. Processor time, not time: how much else the machine has to do does not matter much.
import { replicaFor } from '../src/gateway/aside.ts';
import { Causality } from '../src/gateway/causality.ts';
import type { Client } from '../src/gateway/client.ts';
import { readRequest, type ServerRequest } from '../src/gateway/command.ts';
import { HoldBudget } from '../src/gateway/hold.ts';
import { RoutingTable } from '../src/gateway/routes.ts';
import { SessionState } from '../src/gateway/session.ts';
import { termsOf } from '../src/gateway/terms.ts';
import type { ClusterRoute, EndpointSettings, Flavor, RouteNode } from '../src/messages/index.ts';
import { asPacket, Command, commandPacket } from '../src/wire/index.ts';
import type { Figure } from './support/figures.ts';
import { judgeAll } from './support/matrix.ts';
import { type CommonOptions, eachFlavor, type Result } from './support/report.ts';

const STATEMENTS = 500_000;
const PRIMARY = '127.0.0.1:1';
const REPLICAS = ['127.0.0.1:2', '127.0.0.1:3'];
const GTIDS: Record<Flavor, string> = { mysql: 'e7e14ee1-5d10-4b7e-a3c1-0123456789ab:1-1000', mariadb: '0-1-1000' };

const ENDPOINT: EndpointSettings = {
  name: 'auto',
  cluster: 'shop',
  host: '127.0.0.1',
  port: 1,
  route: { kind: 'auto', maxLagMs: 1000, causal: 'session', causalTimeoutMs: 100 },
  inFlight: 'exactly-once',
};

/** As sysbench's oltp_point_select and oltp_update_index say them. */
const READ = 'SELECT c FROM sbtest1 WHERE id=5012';
const WRITE = 'UPDATE sbtest1 SET k=k+1 WHERE id=5012';

export async function benchSplit({ flavors, rounds }: CommonOptions): Promise<Result> {
  const results = await eachFlavor(flavors, async (flavor) => {
    const samples = { read: [] as number[], own: [] as number[], write: [] as number[] };
    for (let round = 0; round <= rounds; round++) {
      const read = chooseUs(flavor, READ, false);
      const own = chooseUs(flavor, READ, true);
      const write = chooseUs(flavor, WRITE, false);
      if (round === 0) continue; // compiled now
      samples.read.push(read);
      samples.own.push(own);
      samples.write.push(write);
    }
    const aims: Figure['aims'] = [{ of: 'p50', atMost: 2 }];
    const figures: Figure[] = [
      { name: 'a read, which goes to a replica', unit: 'µs', samples: samples.read, aims },
      { name: 'a read of a session that has written', unit: 'µs', samples: samples.own, aims },
      { name: 'a write, which stays', unit: 'µs', samples: samples.write, aims },
    ];
    return { flavor, version: '(no server)', failedRounds: [], rounds: [samples], figures: judgeAll(figures, []) };
  });
  return {
    benchmark: 'split',
    title: 'The choice of a server for a statement of route: auto',
    settings: { rounds, statements: STATEMENTS, replicas: REPLICAS.length },
    results,
  };
}

/** Processor time a statement. `wrote`: the session has, and the replicas are known to have it. */
function chooseUs(flavor: Flavor, text: string, wrote: boolean): number {
  const { client, pools } = staged(flavor);
  const { causality } = client.session;
  if (wrote) {
    causality?.tell(GTIDS[flavor]);
    for (const pool of pools.values()) causality?.reached(pool, pool.incarnation, causality.missing(pool) ?? '');
  }
  const packet = asPacket(commandPacket(Command.QUERY, text));
  const request = readRequest(packet, client.session, flavor, 0) as ServerRequest;
  const aside = text === READ ? STATEMENTS : 0;
  let left = 0;
  const before = process.cpuUsage();
  for (let n = 0; n < STATEMENTS; n++) {
    const { route } = termsOf(client, request, packet);
    if (route !== 'primary' && replicaFor(client, request, false) !== null) left++;
  }
  const { user, system } = process.cpuUsage(before);
  if (left !== aside) throw new Error(`${left} of ${STATEMENTS} left the primary, not ${aside}: ${text}`);
  return (user + system) / STATEMENTS;
}

/** As much of a client as its statements' choice needs. */
function staged(flavor: Flavor) {
  const pools = new Map([PRIMARY, ...REPLICAS].map((node) => [node, { incarnation: 1, behindUntilMs: 0, takes }]));
  const limits = { timeoutMs: 1000, maxStatements: 1000, maxBytes: 1 << 20, releaseConcurrency: 64 };
  const sink = { evidence: () => {}, load: () => 0, closing: () => {} };
  const table = new RoutingTable([ENDPOINT], limits, new HoldBudget(), sink);
  table.clusters.get('shop')?.apply(routeOf(flavor), 0, () => {});
  const session = new SessionState(45, new Causality(flavor, 1));
  const client = {
    cluster: 'shop',
    gate: table.gates.get('auto'),
    session,
    tether: { way: 'primary', guard: {}, link: null },
    link: null,
    rules: null,
    capabilities: 0,
    profileKey: 'app',
    worker: { pool: (_: string, node: string) => pools.get(node), nowMs: () => performance.now() },
  };
  return { client: client as unknown as Client, pools };
}

const takes = (): boolean => true;

function routeOf(flavor: Flavor): ClusterRoute {
  const replicas = REPLICAS.map((node): RouteNode => ({ node, role: 'replica', serving: true, lagMs: 0 }));
  return {
    cluster: 'shop',
    epoch: 1,
    flavor,
    serverVersion: '9.7.4',
    collation: 45,
    primary: PRIMARY,
    gate: { state: 'open' },
    nodes: [{ node: PRIMARY, role: 'primary', serving: true, lagMs: 0 }, ...replicas],
  };
}
