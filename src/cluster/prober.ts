// Reads one node's facts over one control connection, in one round trip a probe. What never changes while the
// server runs is read once, what changes slowly only in a full probe. A part that the server refuses to us
// (a missing privilege, a plug-in that is not there) is left out for a while; the rest still counts.
import { joinAddress } from '../messages/index.ts';
import { claimSql } from './claim.ts';
import { ConnectionError, type ControlConnection, type Row } from './connection.ts';
import type { Dialect, ProbePart, ProbeRows } from './dialect.ts';
import { activity, isOn, nameValues, replicaAddresses, semiSync, toNumber } from './dialect.ts';
import { READ_UNREADY } from './galera.ts';
import { mariadbDialect } from './mariadb.ts';
import { mysqlDialect } from './mysql.ts';
import { PLATFORM_VARIABLES, platformFacts, platformOf } from './platform.ts';
import type { NodeFacts } from './types.ts';

/** A refused part is asked again after so many full probes: privileges may have been granted. */
const ASK_AGAIN_AFTER = 30;
const UNKNOWN_VARIABLE = 1193;

/** The lock that says who recovers a cluster, and all connections of ours that may still hold it. */
export interface ClaimSettings {
  name: string;
  ownIds: ReadonlySet<number>;
}

type Constants = Pick<
  NodeFacts,
  'version' | 'identity' | 'startedAtMs' | 'logBin' | 'logReplicaUpdates' | 'selfName'
> & { topology: ReturnType<typeof platformOf> };

const CONSTANTS =
  'SELECT VERSION() AS version, UNIX_TIMESTAMP() AS now;' +
  " SHOW GLOBAL VARIABLES WHERE Variable_name IN ('server_uuid', 'server_uid', 'server_id', 'hostname', 'port'," +
  ` 'log_bin', 'log_replica_updates', 'log_slave_updates', '${PLATFORM_VARIABLES.join("', '")}');` +
  " SHOW GLOBAL STATUS LIKE 'Uptime'";

function constantsOf([head, variableRows, statusRows]: Row[][]): Constants {
  const variables = nameValues(variableRows ?? []);
  const uptime = toNumber(nameValues(statusRows ?? []).get('uptime'));
  const identity =
    variables.get('aurora_server_id') ?? variables.get('server_uuid') ?? variables.get('server_uid') ?? '';
  const topology = platformOf(variables);
  return {
    topology,
    version: head?.[0]?.['version'] ?? '',
    identity: identity === '' ? `server_id:${variables.get('server_id') ?? ''}` : identity,
    startedAtMs: (toNumber(head?.[0]?.['now']) - uptime) * 1000,
    logBin: isOn(variables.get('log_bin')),
    logReplicaUpdates: isOn(variables.get('log_replica_updates')),
    selfName: `${variables.get('hostname') ?? ''}:${variables.get('port') ?? ''}`,
  };
}

export class Prober {
  readonly connection: ControlConnection;
  #constants: Constants | null = null;
  #dialect: Dialect = mysqlDialect;
  #slow: ProbeRows = {};
  #refused = new Map<ProbePart, string>();
  #fullProbes = 0;
  #sessionVariables: string | null = null;
  #isReplica = true;
  #readOnly: boolean | null = null;
  #isMember = false;
  #claim: NodeFacts['claim'];
  /** Set on the connection that stays, which then holds the lock. */
  claims: ClaimSettings | null = null;

  constructor(connection: ControlConnection) {
    this.connection = connection;
  }

  /** Known after the first answer. */
  get dialect(): Dialect {
    return this.#dialect;
  }

  /** What could not be read, and the server's words why. */
  get refused(): ReadonlyMap<ProbePart, string> {
    return this.#refused;
  }

  /** Which server this is; the first round trip of a connection. */
  async constants(timeoutMs: number): Promise<Constants> {
    if (this.#constants === null) {
      this.#constants = constantsOf(await this.#askConstants(timeoutMs));
      this.#dialect = /mariadb/i.test(this.#constants.version) ? mariadbDialect : mysqlDialect;
    }
    return this.#constants;
  }

  /** A member of a Galera cluster that takes no statements would refuse even this. */
  async #askConstants(timeoutMs: number): Promise<Row[][]> {
    if (!/mariadb/i.test(this.connection.greeting?.version ?? '')) {
      return await this.connection.queryAll(CONSTANTS, timeoutMs);
    }
    try {
      return (await this.connection.queryAll(`${READ_UNREADY};${CONSTANTS}`, timeoutMs)).slice(1);
    } catch (error) {
      // A MariaDB that was built without Galera does not know the setting.
      if (!(error instanceof ConnectionError) || error.errno !== UNKNOWN_VARIABLE) throw error;
      return await this.connection.queryAll(CONSTANTS, timeoutMs);
    }
  }

  /** One probe within `timeoutMs` (each of its round trips: one, or two on a new connection). Throws ConnectionError. */
  async probe(full: boolean, timeoutMs: number): Promise<NodeFacts> {
    const constants = await this.constants(timeoutMs);
    const dialect = this.#dialect;
    const isFull = full || this.#fullProbes === 0;
    if (isFull && ++this.#fullProbes % ASK_AGAIN_AFTER === 0) this.#refused.clear();
    const wanted: ProbePart[] = [...dialect.everyProbe];
    if (this.#isReplica || isFull) wanted.push(...dialect.everyProbeOfReplicas);
    if (this.#isMember && !isFull) wanted.push(...dialect.everyProbeOfMembers);
    if (isFull) wanted.push(...dialect.fullProbe);
    if (this.#fullProbes === 1) wanted.push(...dialect.firstProbe);
    if (constants.topology?.kind === 'aurora') wanted.push('platform-topology');
    const rows = await this.#ask(
      [...new Set(wanted)].filter((part) => !this.#refused.has(part)),
      timeoutMs,
    );
    if (isFull) this.#slow = Object.fromEntries(dialect.fullProbe.map((part) => [part, rows[part] ?? []]));
    const told = factsOf(dialect, constants, { ...this.#slow, ...rows });
    // It was promoted or demoted: what changes slowly has changed with that, and half of each would mislead.
    const turned = this.#readOnly !== null && this.#readOnly !== told.readOnly;
    this.#readOnly = told.readOnly;
    if (turned && !isFull) return await this.probe(true, timeoutMs);
    // Groups and platforms decide for themselves, and Galera has no such locks.
    if (isFull && told.topology === null) await this.#takeClaim(timeoutMs);
    this.#sessionVariables ??= namesIn(rows['session-variables']?.[0]?.['names']);
    const { greeting } = this.connection;
    const sessionVariables = this.#sessionVariables === null ? {} : { sessionVariables: this.#sessionVariables };
    const { sql_mode: mode, autocommit } = rows['state']?.[0] ?? {};
    const defaults = {
      ...(typeof mode === 'string' ? { sqlMode: mode } : {}),
      ...(autocommit !== undefined && !isOn(autocommit) ? { autocommit: false as const } : {}),
    };
    const facts = {
      ...told,
      ...(greeting === null ? {} : { greeting: { ...greeting, ...sessionVariables, ...defaults } }),
      claim: this.#claim,
    };
    this.#isReplica = facts.replication !== null;
    this.#isMember = facts.topology !== null;
    return facts;
  }

  async #takeClaim(timeoutMs: number): Promise<void> {
    if (this.claims === null) return;
    const { name, ownIds } = this.claims;
    let row: Row | undefined;
    try {
      [row] = await this.connection.query(claimSql(this.connection.quote(name)), timeoutMs);
    } catch (error) {
      if (!(error instanceof ConnectionError) || error.code !== 'server') throw error;
      this.claims = null; // this server has no such locks
      return;
    }
    const holder = toNumber(row?.['holder']);
    // A connection of ours that broke holds it until the server notices.
    this.#claim = row?.['got'] === '1' || ownIds.has(holder) ? 'ours' : { holder };
  }

  async #ask(parts: ProbePart[], timeoutMs: number): Promise<ProbeRows> {
    const sql = (part: ProbePart): string => this.#dialect.parts[part] ?? 'DO 0';
    try {
      const results = await this.connection.queryAll(parts.map(sql).join(';'), timeoutMs);
      return Object.fromEntries(parts.map((part, index) => [part, results[index] ?? []]));
    } catch (error) {
      if (!(error instanceof ConnectionError) || error.code !== 'server' || this.connection.closed !== null)
        throw error;
      return await this.#askOneByOne(parts, sql, timeoutMs);
    }
  }

  /** A bundle stops at its first error and does not say where: find out. */
  async #askOneByOne(parts: ProbePart[], sql: (part: ProbePart) => string, timeoutMs: number): Promise<ProbeRows> {
    const rows: ProbeRows = {};
    for (const part of parts) {
      try {
        rows[part] = await this.connection.query(sql(part), timeoutMs);
      } catch (error) {
        if (part === 'state' || !(error instanceof ConnectionError) || error.code !== 'server') throw error;
        this.#refused.set(part, error.message);
      }
    }
    return rows;
  }
}

/** Of a JSON array, with commas in between; null where it has none. */
function namesIn(list: string | null | undefined): string | null {
  const names = list?.match(/"[^"]+"/g)?.map((name) => name.slice(1, -1));
  return names?.join(',') ?? null;
}

function factsOf(dialect: Dialect, constants: Constants, rows: ProbeRows): NodeFacts {
  const state = rows['state']?.[0] ?? {};
  const gtid = dialect.executed(state);
  const readOnly = isOn(state['read_only']);
  return {
    ...constants,
    ...gtid,
    flavor: dialect.flavor,
    serverId: toNumber(state['server_id']),
    readOnly,
    superReadOnly: dialect.flavor === 'mariadb' ? readOnly : isOn(state['super_read_only']),
    replication: dialect.replication(rows, gtid.gtidExecuted),
    semiSync: semiSync(rows),
    activity: activity(rows),
    replicas: replicaAddresses(rows, joinAddress),
    topology: constants.topology === null ? dialect.topology(rows) : platformFacts(constants.topology, rows),
  };
}
