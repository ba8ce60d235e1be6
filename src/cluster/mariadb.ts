// MariaDB 10.5 and later: the statements of probes and of recovery.
// https://mariadb.com/kb/en/gtid/, https://mariadb.com/kb/en/show-replica-status/
import type { Account } from '../messages/index.ts';
import type { ControlConnection } from './connection.ts';
import type { Dialect, FollowSettings, ProbePart, ProbeRows } from './dialect.ts';
import { errorOrNull, isOn, modern, receiverState, semiSyncReplicaActive, toNumber } from './dialect.ts';
import { GALERA_PARTS, galeraFacts } from './galera.ts';
import { formatPositionOf, gtidUnion, parsePosition, reaches } from './gtid.ts';
import type { ReplicationFacts } from './types.ts';

const PARTS: Partial<Record<ProbePart, string>> = {
  ...GALERA_PARTS,
  state:
    'SELECT @@global.read_only AS read_only, @@global.server_id AS server_id,' +
    ' @@global.gtid_binlog_state AS gtid_binlog_state, @@global.gtid_slave_pos AS gtid_slave_pos,' +
    ' @@global.gtid_current_pos AS gtid_current_pos, @@global.max_connections AS max_connections, @@global.sql_mode AS sql_mode,' +
    ' @@global.autocommit AS autocommit',
  replication: 'SHOW ALL SLAVES STATUS',
  'semisync-variables': "SHOW GLOBAL VARIABLES LIKE 'rpl\\_semi\\_sync\\_%'",
  'semisync-status': "SHOW GLOBAL STATUS LIKE 'Rpl\\_semi\\_sync\\_%'",
  activity: "SHOW GLOBAL STATUS WHERE Variable_name IN ('Threads_connected', 'Threads_running')",
  replicas: 'SHOW SLAVE HOSTS',
  'dump-threads': "SELECT HOST FROM information_schema.PROCESSLIST WHERE COMMAND = 'Binlog Dump'",
};

/**
 * A stopping receiver that has semi-sync connects to its source once more, to end its dump thread there; a frozen
 * source lets it wait for this time-out (default 5 s, smallest 1 s; 0 is for ever), and STOP SLAVE with it.
 */
const SHORT_GOODBYE = 'SET GLOBAL rpl_semi_sync_slave_kill_conn_timeout = 1; ';

function replication(rows: ProbeRows): ReplicationFacts | null {
  const channels = (rows['replication'] ?? []).map(modern);
  const status = channels.find((row) => row['connection_name'] === '') ?? channels[0];
  // While a channel is being removed its row is there for a moment without a source.
  if (status === undefined || (status['source_host'] ?? '') === '') return null;
  const applier = isOn(status['replica_sql_running']) ? 'running' : 'stopped';
  const secondsBehind = status['seconds_behind_source'];
  const period = toNumber(status['replica_heartbeat_period']);
  return {
    sourceHost: status['source_host'] ?? '',
    sourcePort: toNumber(status['source_port'], 3306),
    sourceUuid: null,
    receiver: receiverState(status['replica_io_running']),
    receiverError: errorOrNull(status['last_io_errno'], status['last_io_error']),
    applier,
    applierError: errorOrNull(status['last_sql_errno'], status['last_sql_error']),
    delaySeconds: toNumber(status['sql_delay']),
    lagMs:
      applier === 'stopped' || secondsBehind === null || secondsBehind === undefined
        ? null
        : toNumber(secondsBehind) * 1000,
    received: status['gtid_io_pos'] ?? '',
    heard: [status['source_log_file'], status['read_source_log_pos'], status['replica_received_heartbeats']].join('/'),
    ...(period > 0 ? { heartbeatMs: period * 1000 } : {}),
    semiSyncActive: semiSyncReplicaActive(rows),
  };
}

async function follow(connection: ControlConnection, settings: FollowSettings, timeoutMs: number): Promise<void> {
  const q = (value: string | number): string => connection.quote(value);
  const options = [
    `MASTER_HOST=${q(settings.host)}`,
    `MASTER_PORT=${settings.port}`,
    'MASTER_HEARTBEAT_PERIOD=0.5',
    'MASTER_CONNECT_RETRY=1',
    'MASTER_USE_GTID=slave_pos',
  ];
  if (settings.login !== null) {
    options.push(`MASTER_USER=${q(settings.login.user)}`, `MASTER_PASSWORD=${q(settings.login.password)}`);
  }
  if (settings.tls) options.push('MASTER_SSL=1');
  await connection.query(`${SHORT_GOODBYE}STOP SLAVE`, timeoutMs);
  // What a former primary wrote itself is in its binary log but not in gtid_slave_pos; without it the server
  // would ask its source for transactions that it has. (This is what MASTER_USE_GTID=current_pos did.)
  const [positions] = await connection.query(
    'SELECT @@global.gtid_slave_pos AS slave_pos, @@global.gtid_current_pos AS current_pos',
    timeoutMs,
  );
  const current = positions?.['current_pos'] ?? '';
  if (!reaches(parsePosition(positions?.['slave_pos'] ?? ''), parsePosition(current))) {
    await connection.query(`SET GLOBAL gtid_slave_pos = ${q(current)}`, timeoutMs);
  }
  await connection.query(`CHANGE MASTER TO ${options.join(', ')}`, timeoutMs);
  await connection.query('START SLAVE', timeoutMs);
}

/** Names of replication connections; the default one is ''. */
async function channelNames(connection: ControlConnection, timeoutMs: number): Promise<string[]> {
  const rows = (await connection.query('SHOW ALL SLAVES STATUS', timeoutMs)).map(modern);
  return rows.map((row) => row['connection_name'] ?? '');
}

async function waitForGtid(
  connection: ControlConnection,
  gtid: string,
  waitMs: number,
  timeoutMs: number,
): Promise<boolean> {
  const position = formatPositionOf(gtid);
  if (position === '') return true;
  // MASTER_GTID_WAIT knows gtid_slave_pos only: what a former primary wrote itself it would wait for in vain.
  const current = await connection.query('SELECT @@global.gtid_current_pos AS current_pos', timeoutMs);
  if (reaches(parsePosition(current[0]?.['current_pos'] ?? ''), parsePosition(position))) return true;
  const seconds = (waitMs / 1000).toFixed(3);
  const rows = await connection.query(
    `SELECT MASTER_GTID_WAIT(${connection.quote(position)}, ${seconds}) AS result`,
    timeoutMs,
  );
  return rows[0]?.['result'] === '0';
}

interface Privileges {
  plugin?: unknown;
  authentication_string?: unknown;
  auth_or?: unknown;
  account_locked?: unknown;
  password_last_changed?: unknown;
  password_lifetime?: unknown;
  ssl_type?: unknown;
  is_role?: unknown;
}

/** A password check that a proxy can do; `unix_socket` and the like only a server can. */
const PASSWORD_PLUGINS = new Set(['mysql_native_password', 'ed25519', 'caching_sha2_password', 'sha256_password']);

/** The ways in, first the one that the row names itself; in `auth_or` an empty object stands for it. */
function alternatives(privileges: Privileges): { plugin: string; stored: string }[] {
  const own = privileges;
  const list = Array.isArray(privileges.auth_or) ? (privileges.auth_or as Privileges[]) : [own];
  return list.map((entry) => {
    const chosen = entry.plugin === undefined ? own : entry;
    return {
      plugin: typeof chosen.plugin === 'string' && chosen.plugin !== '' ? chosen.plugin : 'mysql_native_password',
      stored: typeof chosen.authentication_string === 'string' ? chosen.authentication_string : '',
    };
  });
}

function isExpired(privileges: Privileges, nowSeconds: number): boolean {
  const changed = privileges.password_last_changed;
  if (changed === 0) return true; // PASSWORD EXPIRE
  const days = privileges.password_lifetime;
  return typeof changed === 'number' && typeof days === 'number' && days > 0 && changed + days * 86_400 < nowSeconds;
}

/** A row of mysql.global_priv; null for roles and for what is not JSON. */
export function accountOfGlobalPriv(user: string, host: string, priv: string, nowSeconds: number): Account | null {
  let privileges: Privileges;
  try {
    privileges = JSON.parse(priv) as Privileges;
  } catch {
    return null;
  }
  if (privileges.is_role === true) return null;
  const ways = alternatives(privileges);
  // `invalid` is what installations store to keep the password way of a unix_socket account shut.
  const way = ways.find(({ plugin, stored }) => PASSWORD_PLUGINS.has(plugin) && stored !== 'invalid') ?? ways[0];
  if (way === undefined) return null;
  const binary = way.plugin === 'caching_sha2_password';
  return {
    user,
    host,
    plugin: way.plugin,
    stored: binary ? Buffer.from(way.stored, 'utf8').toString('base64') : way.stored,
    encoding: binary ? 'base64' : 'text',
    locked: privileges.account_locked === true,
    passwordExpired: isExpired(privileges, nowSeconds),
    requireTls: typeof privileges.ssl_type === 'number' && privileges.ssl_type > 0,
    // As text: the number has more bits than JSON.parse keeps.
    grants: /"access":\s*(\d+)/.exec(priv)?.[1] ?? '0',
  };
}

export const mariadbDialect: Dialect = {
  flavor: 'mariadb',
  parts: PARTS,
  everyProbe: ['state', 'replication'],
  everyProbeOfReplicas: [],
  everyProbeOfMembers: ['galera-status'],
  firstProbe: [],
  fullProbe: [
    'galera-settings',
    'galera-status',
    'semisync-variables',
    'semisync-status',
    'activity',
    'replicas',
    'dump-threads',
  ],
  executed(state) {
    // Without log_slave_updates what came by replication is in no binary log; gtid_slave_pos tells of it.
    const binlog = state['gtid_binlog_state'] ?? '';
    return {
      gtidExecuted: gtidUnion('mariadb', binlog, state['gtid_slave_pos'] ?? ''),
      gtidPosition: state['gtid_current_pos'] ?? '',
    };
  },
  replication,
  topology: galeraFacts,
  readOnly: ['SET GLOBAL read_only = ON'],
  writable: ['SET GLOBAL read_only = OFF'],
  stopReceiver: `${SHORT_GOODBYE}STOP SLAVE IO_THREAD`,
  startReceiver: 'START SLAVE IO_THREAD',
  startApplier: 'START SLAVE SQL_THREAD',
  async detach(connection, timeoutMs) {
    const names = await channelNames(connection, timeoutMs);
    if (names.length > 0) await connection.query(`${SHORT_GOODBYE}STOP ALL SLAVES`, timeoutMs);
    for (const name of names) await connection.query(`RESET SLAVE ${connection.quote(name)} ALL`, timeoutMs);
  },
  async channelUser(connection, timeoutMs) {
    const rows = (await connection.query('SHOW ALL SLAVES STATUS', timeoutMs)).map(modern);
    const user = rows.find((row) => row['connection_name'] === '')?.['source_user'];
    return user === undefined || user === '' ? null : user;
  },
  follow,
  waitForGtid,
  async accounts(connection, timeoutMs) {
    const rows = await connection.query(
      'SELECT User AS user, Host AS host, Priv AS priv, UNIX_TIMESTAMP() AS now FROM mysql.global_priv',
      timeoutMs,
    );
    return rows.flatMap((row) => {
      const account = accountOfGlobalPriv(
        row['user'] ?? '',
        row['host'] ?? '',
        row['priv'] ?? '{}',
        toNumber(row['now']),
      );
      return account === null ? [] : [account];
    });
  },
  ioCounters:
    "SHOW GLOBAL STATUS WHERE Variable_name IN ('Innodb_data_fsyncs', 'Innodb_data_written', 'Innodb_os_log_written'," +
    " 'Binlog_bytes_written')",
  diskFullLog: null,
};
