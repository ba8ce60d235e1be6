// What `check` asks of the servers, over one short connection to each. Reading only. What cannot be read is null and
// no error: the rules say what is missing and what mends it.
import type { Connection } from 'mysql2/promise';
import { galeraAddresses } from '../../cluster/index.ts';
import type { ClusterConfig } from '../../config/types.ts';
import { type Flavor, joinAddress, type NodeAddress } from '../../messages/index.ts';
import { printable } from '../output.ts';
import { type Looked, look } from './connect.ts';
import { type InFlightFacts, readInFlight } from './in-flight.ts';

/** Values as mysql2 gives them for what is asked here: text, numbers or null. */
export type Row = Record<string, string | number | null>;

export interface Grants {
  /** Upper case, of `*.*`. */
  global: Set<string>;
  /** `mysql` or `mysql.user`, lower case: SELECT is granted on it. */
  select: Set<string>;
  /** Upper case, of `evenkeel.*`. */
  own: Set<string>;
}

export interface Inspection {
  node: NodeAddress;
  flavor: Flavor;
  version: string;
  /** Quoted for a GRANT: `'evenkeel'@'%'`. */
  account: string;
  grants: Grants | null;
  /** Global variables, names lower case. */
  variables: Map<string, string>;
  /** Status of semi-sync and of the heartbeat, names lower case. */
  status: Map<string, string>;
  /** One row a channel, the columns' names in the words of MySQL 8.0.22; null where it cannot be read. */
  replication: Row[] | null;
  heartbeatMs: number | null;
  /** Where the value of read_only comes from: DYNAMIC or SQL where it would not outlive a restart. */
  readOnlyOrigin: string | null;
  /** Authentication plug-ins of unlocked accounts; null where accounts cannot be read. */
  plugins: { plugin: string; accounts: number }[] | null;
  inFlight: InFlightFacts;
  /** Other nodes that it tells of. */
  neighbours: NodeAddress[];
}

const MAX_NODES = 64;
const QUERY_TIMEOUT_MS = 10_000;

/** Rows, or null where the server refuses. */
async function ask(connection: Connection, sql: string): Promise<Row[] | null> {
  try {
    const [rows] = await connection.query({ sql, timeout: QUERY_TIMEOUT_MS });
    return Array.isArray(rows) ? (rows as Row[]) : [];
  } catch {
    return null;
  }
}

async function askPairs(connection: Connection, sql: string): Promise<Map<string, string>> {
  const rows = (await ask(connection, sql)) ?? [];
  return new Map(rows.map((row) => [String(row['Variable_name']).toLowerCase(), String(row['Value'])]));
}

/** Reads what `SHOW GRANTS` prints; exported for tests. */
export function parseGrants(lines: readonly string[]): Grants {
  const grants: Grants = { global: new Set(), select: new Set(), own: new Set() };
  for (const line of lines) {
    const match = /^GRANT (.+?) ON (\S+) TO /i.exec(line);
    if (!match) continue;
    const [, list = '', on = ''] = match;
    const privileges = list
      .replace(/\([^)]*\)/g, '')
      .split(',')
      .map((privilege) => privilege.trim().toUpperCase());
    if (on === '*.*') for (const privilege of privileges) grants.global.add(privilege);
    else if (/^[`"]?evenkeel[`"]?\.\*$/i.test(on)) for (const privilege of privileges) grants.own.add(privilege);
    else if (privileges.includes('SELECT') || privileges.includes('ALL PRIVILEGES')) {
      grants.select.add(on.replace(/`/g, '').replace(/\.\*$/, '').toLowerCase());
    }
  }
  return grants;
}

/** MariaDB and old MySQL say master and slave. */
function modernNames(row: Row): Row {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [name.replace('Master', 'Source').replace('Slave', 'Replica'), value]),
  );
}

async function readGrants(connection: Connection): Promise<Grants | null> {
  const rows = await ask(connection, 'SHOW GRANTS');
  return rows === null ? null : parseGrants(rows.flatMap((row) => Object.values(row).map(String)));
}

async function readPlugins(connection: Connection, flavor: Flavor): Promise<Inspection['plugins']> {
  const sql =
    flavor === 'mysql'
      ? "SELECT plugin, COUNT(*) AS accounts FROM mysql.user WHERE account_locked='N' GROUP BY plugin"
      : "SELECT COALESCE(JSON_VALUE(Priv, '$.plugin'), '') AS plugin, COUNT(*) AS accounts FROM mysql.global_priv WHERE COALESCE(JSON_VALUE(Priv, '$.is_role'), '') = '' GROUP BY 1";
  const rows = await ask(connection, sql);
  return rows?.map((row) => ({ plugin: String(row['plugin']), accounts: Number(row['accounts']) })) ?? null;
}

async function readHeartbeatMs(
  connection: Connection,
  flavor: Flavor,
  status: Map<string, string>,
): Promise<number | null> {
  if (flavor === 'mariadb') {
    const seconds = status.get('slave_heartbeat_period');
    return seconds === undefined ? null : Number(seconds) * 1000;
  }
  const sql =
    'SELECT HEARTBEAT_INTERVAL AS seconds FROM performance_schema.replication_connection_configuration LIMIT 1';
  const [row] = (await ask(connection, sql)) ?? [];
  return row === undefined ? null : Number(row['seconds']) * 1000;
}

async function readOrigin(connection: Connection, flavor: Flavor): Promise<string | null> {
  const sql =
    flavor === 'mysql'
      ? "SELECT VARIABLE_SOURCE AS origin FROM performance_schema.variables_info WHERE VARIABLE_NAME='read_only'"
      : "SELECT GLOBAL_VALUE_ORIGIN AS origin FROM information_schema.SYSTEM_VARIABLES WHERE VARIABLE_NAME='READ_ONLY'";
  const [row] = (await ask(connection, sql)) ?? [];
  return row === undefined ? null : String(row['origin']);
}

/** Where the other members of its group are, as far as it tells. */
async function readMembers(connection: Connection, flavor: Flavor): Promise<NodeAddress[]> {
  if (flavor === 'mysql') {
    const sql =
      "SELECT MEMBER_HOST AS host, MEMBER_PORT AS port FROM performance_schema.replication_group_members WHERE MEMBER_HOST <> ''";
    const rows = (await ask(connection, sql)) ?? [];
    return rows.map((row) => joinAddress(String(row['host']), Number(row['port'])));
  }
  const status = await askPairs(connection, "SHOW GLOBAL STATUS LIKE 'wsrep_incoming_addresses'");
  return galeraAddresses(status.get('wsrep_incoming_addresses') ?? '');
}

async function inspect(connection: Connection, node: NodeAddress): Promise<Inspection> {
  const variables = await askPairs(connection, 'SHOW GLOBAL VARIABLES');
  const status = await askPairs(
    connection,
    "SHOW GLOBAL STATUS WHERE Variable_name LIKE 'rpl_semi_sync_%' OR Variable_name = 'slave_heartbeat_period'",
  );
  const version = variables.get('version') ?? '';
  const flavor = /mariadb/i.test(version) ? 'mariadb' : 'mysql';
  const [who] = (await ask(connection, 'SELECT CURRENT_USER() AS account')) ?? [];
  const account = String(who?.['account'] ?? '');
  const at = account.lastIndexOf('@');
  const channels = (await ask(connection, 'SHOW REPLICA STATUS')) ?? (await ask(connection, 'SHOW SLAVE STATUS'));
  const replication = channels?.map(modernNames) ?? null;
  const replicas = (await ask(connection, 'SHOW REPLICAS')) ?? (await ask(connection, 'SHOW SLAVE HOSTS')) ?? [];
  return {
    node,
    flavor,
    version: printable(version),
    account: `'${account.slice(0, at)}'@'${account.slice(at + 1)}'`,
    grants: await readGrants(connection),
    variables,
    status,
    replication,
    heartbeatMs: await readHeartbeatMs(connection, flavor, status),
    readOnlyOrigin: await readOrigin(connection, flavor),
    plugins: await readPlugins(connection, flavor),
    inFlight: await readInFlight(flavor, (sql) => ask(connection, sql)),
    neighbours: [
      ...(replication ?? []).map((row) => joinAddress(String(row['Source_Host']), Number(row['Source_Port']))),
      ...replicas.filter((row) => row['Host']).map((row) => joinAddress(String(row['Host']), Number(row['Port']))),
      ...(await readMembers(connection, flavor)),
    ],
  };
}

/** Looks at the seeds and at everything they tell of. In the order of finding. */
export async function inspectCluster(cluster: ClusterConfig, timeoutMs: number): Promise<Looked<Inspection>[]> {
  const looked: Looked<Inspection>[] = [];
  const known = new Set(cluster.seeds);
  const identities = new Set<string>();
  // The set grows while it is walked.
  for (const node of known) {
    const result = await look(cluster, node, timeoutMs, (connection) => inspect(connection, node));
    looked.push(result);
    if (result.state !== 'seen') continue;
    const { variables, neighbours } = result.value;
    // One server under two names (it has MySQL's server_uuid or MariaDB's server_uid) would be judged twice.
    const identity = variables.get('server_uuid') ?? variables.get('server_uid');
    if (identity !== undefined && identities.has(identity)) looked.pop();
    else if (identity !== undefined) identities.add(identity);
    for (const neighbour of neighbours) if (known.size < MAX_NODES) known.add(neighbour);
  }
  return looked;
}
