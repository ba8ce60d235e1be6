// What two settings say together: each rule is one function over what could be read, so that an error in one
// entry hides no contradiction between two others. A rule names the later or narrower of the two places.
import { ruleContradictions } from './rules.ts';
import type { ClusterInput, EndpointInput, PartialSettings } from './schema.ts';
import type { Path } from './source.ts';
import { type Address, formatAddress, formatDuration, nearest } from './units.ts';

/** The configuration as far as it could be read. */
export interface Draft {
  /** Of all clusters, also of those with errors. */
  clusterNames: string[];
  clusters: { name: string; input: ClusterInput }[];
  /** Null where the file has none; `input` is undefined for an entry with errors. */
  endpoints: { index: number; input: EndpointInput | undefined; raw: unknown }[] | null;
  settings: PartialSettings;
}

export interface Contradiction {
  path: Path;
  text: string;
}

/** In the order of the rules; the caller sorts by place. */
export function findContradictions(draft: Draft): Contradiction[] {
  return [
    ...endpointClusters(draft),
    ...endpointNames(draft),
    ...endpointAddresses(draft),
    ...httpAddress(draft),
    ...routeOptions(draft),
    ...endpointZones(draft),
    ...inFlightModes(draft),
    ...ownAddress(draft),
    ...sharedSeeds(draft),
    ...clusterTimes(draft),
    ...serverTls(draft),
    ...placement(draft),
    ...pool(draft),
    ...accounts(draft),
    ...ruleContradictions(draft.settings.rules ?? [], routesOf(draft)),
  ];
}

interface KnownEndpoint {
  index: number;
  input: EndpointInput;
}

function known(draft: Draft): KnownEndpoint[] {
  return (draft.endpoints ?? []).flatMap(({ index, input }) => (input === undefined ? [] : [{ index, input }]));
}

function endpointClusters(draft: Draft): Contradiction[] {
  const names = draft.clusterNames;
  if (draft.endpoints === null) {
    if (names.length < 2) return [];
    const text = 'there are several clusters and no endpoints; write `endpoints:`, each with its cluster';
    return [{ path: ['clusters'], text }];
  }
  return draft.endpoints.flatMap(({ index, raw }): Contradiction[] => {
    if (typeof raw !== 'object' || raw === null) return [];
    const cluster: unknown = 'cluster' in raw ? raw.cluster : undefined;
    if (cluster === undefined) {
      if (names.length < 2) return [];
      return [{ path: ['endpoints', index], text: `names no cluster; write cluster: ${names.join(' or ')}` }];
    }
    if (typeof cluster !== 'string' || names.includes(cluster) || names.length === 0) return [];
    const near = nearest(cluster, names);
    const mend = near === null ? `there are: ${names.join(', ')}` : `did you mean \`${near}\`?`;
    return [{ path: ['endpoints', index, 'cluster'], text: `no cluster has this name; ${mend}` }];
  });
}

function endpointNames(draft: Draft): Contradiction[] {
  const seen = new Map<string, number>();
  return known(draft).flatMap(({ index, input }) => {
    const first = seen.get(input.name);
    if (first === undefined) {
      seen.set(input.name, index);
      return [];
    }
    return [{ path: ['endpoints', index, 'name'], text: `endpoints[${first}] has this name too; rename one of them` }];
  });
}

/** Where the endpoints listen that there are if the file has none: the writer, the reader. */
export const DEFAULT_LISTEN: readonly [Address, Address] = [
  { host: '127.0.0.1', port: 6446 },
  { host: '127.0.0.1', port: 6447 },
];

const WILDCARDS = ['0.0.0.0', '::'];

function canonicalHost(host: string): string {
  return host === 'localhost' ? '127.0.0.1' : host;
}

/** Whether both cannot be listened on, or a client of one could reach the other. */
function overlap(a: Address, b: Address): boolean {
  if (a.port !== b.port || a.port === 0) return false;
  return canonicalHost(a.host) === canonicalHost(b.host) || WILDCARDS.includes(a.host) || WILDCARDS.includes(b.host);
}

function endpointAddresses(draft: Draft): Contradiction[] {
  const earlier: KnownEndpoint[] = [];
  return known(draft).flatMap((endpoint) => {
    const clash = earlier.find(({ input }) => overlap(input.listen, endpoint.input.listen));
    earlier.push(endpoint);
    if (clash === undefined) return [];
    const text = `endpoint ${clash.input.name} listens on ${formatAddress(clash.input.listen)} already; choose another port`;
    return [{ path: ['endpoints', endpoint.index, 'listen'], text }];
  });
}

function httpAddress(draft: Draft): Contradiction[] {
  const listen = draft.settings.http?.listen;
  if (listen === undefined) return [];
  const clash = known(draft).find(({ input }) => overlap(input.listen, listen));
  if (draft.endpoints === null && DEFAULT_LISTEN.some((address) => overlap(address, listen))) {
    const text = `is the address of a default endpoint; choose another port, or write \`endpoints:\``;
    return [{ path: ['http', 'listen'], text }];
  }
  if (clash === undefined) return [];
  const text = `HTTP and endpoint ${clash.input.name} both want port ${listen.port}; choose another one for one of them`;
  return [{ path: ['endpoints', clash.index, 'listen'], text }];
}

function routeOptions(draft: Draft): Contradiction[] {
  return known(draft).flatMap(({ index, input }) => {
    return ROUTE_OPTIONS.filter(({ key, of }) => input[key] !== undefined && !of.includes(String(input.route))).map(
      ({ key, of }) => ({
        path: ['endpoints', index, key],
        text: `means something only with \`route: ${of.join('` or `')}\`; remove it, or change the route`,
      }),
    );
  });
}

const ROUTE_OPTIONS: readonly { key: keyof EndpointInput; of: readonly string[] }[] = [
  { key: 'maxLag', of: ['replica', 'auto'] },
  { key: 'fallbackToPrimary', of: ['replica'] },
  { key: 'zone', of: ['replica', 'auto'] },
  { key: 'causal', of: ['auto'] },
  { key: 'causalTimeout', of: ['auto'] },
];

function endpointZones(draft: Draft): Contradiction[] {
  return known(draft).flatMap(({ index, input: { zone, cluster } }) => {
    const its = draft.clusters.find(({ name }) => cluster === undefined || name === cluster);
    if (zone === undefined || its === undefined || its.input.nodes.some((node) => node.zone === zone)) return [];
    const text = `no node of ${its.name} is in this zone; name them under \`nodes:\`, such as { node: db2:3306, zone: ${zone} }`;
    return [{ path: ['endpoints', index, 'zone'], text }];
  });
}

/** Nothing is written through the others. */
function inFlightModes(draft: Draft): Contradiction[] {
  return known(draft).flatMap(({ index, input }) =>
    input.inFlight === undefined || input.route === 'primary' || input.route === 'auto'
      ? []
      : [
          {
            path: ['endpoints', index, 'inFlight'],
            text: 'means something only with `route: primary` or `auto`; remove it, or change the route',
          },
        ],
  );
}

function isLoopback(host: string): boolean {
  return canonicalHost(host).startsWith('127.') || host === '::1';
}

/** A seed that is our own endpoint would make Evenkeel its own client. */
function ownAddress(draft: Draft): Contradiction[] {
  const addresses = draft.endpoints === null ? DEFAULT_LISTEN : known(draft).map(({ input }) => input.listen);
  return draft.clusters.flatMap(({ name, input }) =>
    input.seeds.flatMap((seed, index) => {
      const colon = seed.lastIndexOf(':');
      const host = seed.slice(0, colon).replace(/^\[|\]$/g, '');
      const own = addresses.some(
        (listen) =>
          listen.port === Number(seed.slice(colon + 1)) &&
          (canonicalHost(listen.host) === canonicalHost(host) || (WILDCARDS.includes(listen.host) && isLoopback(host))),
      );
      if (!own) return [];
      const text = 'an endpoint of this configuration listens here; name the server itself';
      return [{ path: ['clusters', name, 'seeds', index], text }];
    }),
  );
}

function sharedSeeds(draft: Draft): Contradiction[] {
  const owner = new Map<string, string>();
  return draft.clusters.flatMap(({ name, input }) =>
    input.seeds.flatMap((seed, index) => {
      const first = owner.get(seed);
      if (first === undefined) {
        owner.set(seed, name);
        return [];
      }
      const wrong = first === name ? 'stands in this list twice' : `is a seed of cluster ${first} too`;
      return [{ path: ['clusters', name, 'seeds', index], text: `${wrong}; remove one of them` }];
    }),
  );
}

function clusterTimes(draft: Draft): Contradiction[] {
  const hold = draft.settings.hold;
  return draft.clusters.flatMap(({ name, input: { probe, switchover } }) => {
    const found: Contradiction[] = [];
    const at = (...path: string[]) => ['clusters', name, ...path];
    const silent = formatDuration(probe.silentAfter);
    if (probe.silentAfter <= probe.interval) {
      const text = `is not longer than probe.interval (${formatDuration(probe.interval)}), so one missed probe would count as silence; make it several intervals`;
      found.push({ path: at('probe', 'silentAfter'), text });
    }
    if (hold !== undefined && hold.timeout <= probe.silentAfter) {
      const text = `is not longer than clusters.${name}.probe.silentAfter (${silent}), so statements would fail before a silent primary is known; make it longer`;
      found.push({ path: ['hold', 'timeout'], text });
    }
    if (hold !== undefined && hold.timeout <= switchover.drainTimeout) {
      const text = `is not longer than clusters.${name}.switchover.drainTimeout (${formatDuration(switchover.drainTimeout)}), so statements would fail during a switchover; make it longer`;
      found.push({ path: ['hold', 'timeout'], text });
    }
    return found;
  });
}

function serverTls(draft: Draft): Contradiction[] {
  return draft.clusters.flatMap(({ name, input }) => {
    const { mode, ca } = input.serverTls;
    const path = ['clusters', name, 'serverTls'];
    const verifies = mode === 'verify-ca' || mode === 'verify-identity';
    if (mode === 'off' && ca !== undefined) {
      return [{ path: [...path, 'ca'], text: 'means nothing with `mode: off`; remove it, or choose verify-ca' }];
    }
    if (!verifies && ca !== undefined) {
      const text = `is not looked at with \`mode: ${mode}\`; remove it, or choose verify-ca or verify-identity`;
      return [{ path: [...path, 'ca'], text }];
    }
    return [];
  });
}

function placement(draft: Draft): Contradiction[] {
  return draft.clusters.flatMap(({ name, input }) => {
    const { durability, nodes, semisync } = input;
    const path = ['clusters', name];
    const found: Contradiction[] = [];
    const seen = new Map<string, number>();
    for (const [index, { node }] of nodes.entries()) {
      const first = seen.get(node);
      if (first === undefined) seen.set(node, index);
      else
        found.push({ path: [...path, 'nodes', index, 'node'], text: `is nodes[${first}] already; remove one of them` });
    }
    const zones = new Set(nodes.flatMap(({ zone }) => zone ?? []));
    if (durability === 'cross-zone' && zones.size < 2) {
      const text = 'needs two zones at least; name them under `nodes:`, such as { node: db2:3306, zone: b }';
      found.push({ path: [...path, 'durability'], text });
    }
    if (durability === 'none' && semisync.acks > 1) {
      const text = 'means nothing with `durability: none`; remove it, or write semisync or cross-zone';
      found.push({ path: [...path, 'semisync', 'acks'], text });
    }
    if (
      nodes.length > 0 &&
      nodes.length >= input.seeds.length &&
      nodes.every(({ promotion }) => promotion === 'never')
    ) {
      const text = 'are all `promotion: never`, so nobody could be promoted; leave one out';
      found.push({ path: [...path, 'nodes'], text });
    }
    return found;
  });
}

function pool({ settings }: Draft): Contradiction[] {
  const { pool: limits, workers } = settings;
  if (limits === undefined) return [];
  const { maxPerNode, minPerAccount } = limits;
  const found: Contradiction[] = [];
  const share = typeof workers === 'number' ? Math.max(1, Math.floor(maxPerNode / workers)) : maxPerNode;
  if (minPerAccount > share) {
    const whose =
      share === maxPerNode ? `pool.maxPerNode (${maxPerNode})` : `one worker's share of pool.maxPerNode (${share})`;
    found.push({ path: ['pool', 'minPerAccount'], text: `is more than ${whose}; make it smaller` });
  }
  if (typeof workers === 'number' && workers > maxPerNode) {
    const text = `is less than one connection for each of the ${workers} workers; make it ${workers} or more`;
    found.push({ path: ['pool', 'maxPerNode'], text });
  }
  return found;
}

function accounts(draft: Draft): Contradiction[] {
  const users = draft.settings.users;
  if (users === undefined || users === 'cluster') return [];
  const seen = new Map<string, number>();
  return users.flatMap((user, index) =>
    user.hosts.flatMap((host) => {
      const key = JSON.stringify([user.name, host]);
      const first = seen.get(key);
      seen.set(key, first ?? index);
      if (first === undefined) return [];
      const text = `users[${first}] has this name and host ${JSON.stringify(host)} too; remove one of them`;
      return [{ path: ['users', index, 'name'], text }];
    }),
  );
}

/** What rules may name; null where an endpoint has errors of its own, and may be what is meant. */
function routesOf(draft: Draft): Map<string, EndpointInput['route']> | null {
  if (draft.endpoints?.some(({ input }) => input === undefined) === true) return null;
  if (draft.endpoints === null) {
    return new Map([
      ['writer', 'primary'],
      ['reader', 'replica'],
    ]);
  }
  return new Map(known(draft).map(({ input }) => [input.name, input.route]));
}
