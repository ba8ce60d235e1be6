// MySQL 8.0 and later: the statements of probes and of recovery.
// https://dev.mysql.com/doc/refman/9.7/en/replication-administration-status.html
import type { Account } from '../messages/index.ts';
import { ConnectionError, type ControlConnection, type Row } from './connection.ts';
import type { Dialect, FollowSettings, ProbePart, ProbeRows } from './dialect.ts';
import { errorOrNull, isOn, modern, receiverState, semiSyncReplicaActive, toNumber } from './dialect.ts';
import { GROUP_PARTS, groupFacts } from './group.ts';
import { gtidUnion } from './gtid.ts';
import { PLATFORM_PARTS } from './platform.ts';
import type { ReplicationFacts } from './types.ts';

const PARTS: Partial<Record<ProbePart, string>> = {
  ...GROUP_PARTS,
  ...PLATFORM_PARTS,
  state:
    // A reader of Aurora says so by the second one only.
    'SELECT @@global.read_only OR @@global.innodb_read_only AS read_only, @@global.super_read_only AS super_read_only,' +
    ' @@global.server_id AS server_id, @@global.gtid_executed AS gtid_executed,' +
    ' @@global.max_connections AS max_connections, @@global.sql_mode AS sql_mode,' +
    ' @@global.autocommit AS autocommit',
  replication: 'SHOW REPLICA STATUS',
  receiver:
    'SELECT CHANNEL_NAME, COUNT_RECEIVED_HEARTBEATS AS heartbeats, LAST_HEARTBEAT_TIMESTAMP AS last_heartbeat' +
    ' FROM performance_schema.replication_connection_status',
  applier:
    'SELECT MAX(TIMESTAMPDIFF(MICROSECOND, APPLYING_TRANSACTION_ORIGINAL_COMMIT_TIMESTAMP, NOW(6))) AS lag_us' +
    " FROM performance_schema.replication_applier_status_by_worker WHERE APPLYING_TRANSACTION NOT IN ('', 'ANONYMOUS')",
  heartbeat:
    'SELECT CHANNEL_NAME, HEARTBEAT_INTERVAL AS period FROM performance_schema.replication_connection_configuration',
  'semisync-variables': "SHOW GLOBAL VARIABLES LIKE 'rpl\\_semi\\_sync\\_%'",
  'semisync-status': "SHOW GLOBAL STATUS LIKE 'Rpl\\_semi\\_sync\\_%'",
  activity: "SHOW GLOBAL STATUS WHERE Variable_name IN ('Threads_connected', 'Threads_running')",
  replicas: 'SHOW REPLICAS',
  'session-variables':
    'SELECT JSON_ARRAYAGG(VARIABLE_NAME) AS names FROM performance_schema.variables_by_thread WHERE THREAD_ID =' +
    ' (SELECT THREAD_ID FROM performance_schema.threads WHERE PROCESSLIST_ID = CONNECTION_ID())',
  'dump-threads':
    "SELECT HOST, STATE FROM performance_schema.processlist WHERE COMMAND IN ('Binlog Dump', 'Binlog Dump GTID')",
};

function lagMs(status: Record<string, string | null>, rows: ProbeRows): number | null {
  if (!isOn(status['replica_sql_running'])) return null;
  const secondsBehind = status['seconds_behind_source'];
  const coarse = secondsBehind === null || secondsBehind === undefined ? null : toNumber(secondsBehind) * 1000;
  const fine = rows['applier']?.[0]?.['lag_us'];
  if (fine !== null && fine !== undefined) return Math.max(0, toNumber(fine) / 1000);
  return coarse;
}

function replication(rows: ProbeRows, gtidExecuted: string): ReplicationFacts | null {
  // The applier of group replication shows no source host.
  const channels = (rows['replication'] ?? []).map(modern).filter((row) => (row['source_host'] ?? '') !== '');
  const status = channels.find((row) => row['channel_name'] === '') ?? channels[0];
  // While a channel is being removed its row is there for a moment without a source.
  if (status === undefined || (status['source_host'] ?? '') === '') return null;
  const channel = status['channel_name'] ?? '';
  const sameChannel = (row: Record<string, string | null>): boolean => row['CHANNEL_NAME'] === channel;
  const heard = rows['receiver']?.find(sameChannel);
  const period = rows['heartbeat']?.find(sameChannel)?.['period'];
  return {
    sourceHost: status['source_host'] ?? '',
    sourcePort: toNumber(status['source_port'], 3306),
    sourceUuid: status['source_uuid'] === '' ? null : (status['source_uuid'] ?? null),
    receiver: receiverState(status['replica_io_running']),
    receiverError: errorOrNull(status['last_io_errno'], status['last_io_error']),
    applier: isOn(status['replica_sql_running']) ? 'running' : 'stopped',
    applierError: errorOrNull(status['last_sql_errno'], status['last_sql_error']),
    delaySeconds: toNumber(status['sql_delay']),
    lagMs: lagMs(status, rows),
    received: gtidUnion('mysql', status['retrieved_gtid_set'] ?? '', gtidExecuted),
    heard: [
      status['source_log_file'],
      status['read_source_log_pos'],
      heard?.['heartbeats'] ?? '',
      heard?.['last_heartbeat'] ?? '',
    ].join('/'),
    ...(period === null || period === undefined ? {} : { heartbeatMs: toNumber(period) * 1000 }),
    semiSyncActive: semiSyncReplicaActive(rows),
  };
}

async function follow(connection: ControlConnection, settings: FollowSettings, timeoutMs: number): Promise<void> {
  const q = (value: string | number): string => connection.quote(value);
  const options = [
    `SOURCE_HOST=${q(settings.host)}`,
    `SOURCE_PORT=${settings.port}`,
    'SOURCE_AUTO_POSITION=1',
    'SOURCE_HEARTBEAT_PERIOD=0.5',
    'SOURCE_CONNECT_RETRY=1',
    'SOURCE_RETRY_COUNT=86400',
    'GET_SOURCE_PUBLIC_KEY=1',
  ];
  if (settings.login !== null) {
    options.push(`SOURCE_USER=${q(settings.login.user)}`, `SOURCE_PASSWORD=${q(settings.login.password)}`);
  }
  if (settings.tls) options.push('SOURCE_SSL=1');
  await connection.query('STOP REPLICA', timeoutMs);
  await connection.query(`CHANGE REPLICATION SOURCE TO ${options.join(', ')}`, timeoutMs);
  await connection.query('START REPLICA', timeoutMs);
}

/** Of all versions. */
const PRIVILEGES = [
  'Select Insert Update Delete Create Drop Reload Shutdown Process File Grant References Index Alter Show_db Super',
  'Create_tmp_table Lock_tables Execute Repl_slave Repl_client Create_view Show_view Create_routine Alter_routine',
  'Create_user Event Trigger Create_tablespace Create_role Drop_role',
].flatMap((names) => names.split(' ').map((name) => `${name}_priv`));

const ACCOUNTS =
  'SELECT User AS user, Host AS host, plugin, TO_BASE64(authentication_string) AS stored_form,' +
  ' account_locked AS locked, password_expired AS expired, ssl_type FROM mysql.user';
/** What stands for the static privileges of each, and for the dynamic ones: a sum, since a list of them all may be cut. */
const STATIC = `SELECT User AS user, Host AS host, SHA2(CONCAT_WS('/', ${PRIVILEGES.join(', ')}, User_attributes), 256) AS grants FROM mysql.user`;
const DYNAMIC =
  'SELECT USER AS user, HOST AS host, SUM(CRC32(CONCAT(PRIV, WITH_GRANT_OPTION))) AS grants FROM mysql.global_grants' +
  ' GROUP BY USER, HOST';

async function accounts(connection: ControlConnection, timeoutMs: number): Promise<Account[]> {
  const [rows, own, dynamic] = await accountRows(connection, timeoutMs);
  const grants = new Map((own ?? []).map((row) => [accountKey(row), grantsIn(row)]));
  const further = new Map((dynamic ?? []).map((row) => [accountKey(row), grantsIn(row)]));
  return (rows ?? []).map((row): Account => {
    const key = accountKey(row);
    const known = grants.get(key);
    const plugin = row['plugin'] ?? '';
    const stored = Buffer.from(row['stored_form'] ?? '', 'base64');
    const binary = plugin === 'caching_sha2_password';
    return {
      user: row['user'] ?? '',
      host: row['host'] ?? '',
      plugin,
      stored: binary ? stored.toString('base64') : stored.toString('latin1'),
      encoding: binary ? 'base64' : 'text',
      locked: row['locked'] === 'Y',
      passwordExpired: row['expired'] === 'Y',
      requireTls: (row['ssl_type'] ?? '') !== '',
      ...(known === undefined ? {} : { grants: `${known}+${further.get(key) ?? ''}` }),
    };
  });
}

/** Of each statement, in one round trip; of the first ones only, where a version has other columns, or we may not read the others. */
async function accountRows(connection: ControlConnection, timeoutMs: number): Promise<Row[][]> {
  for (const asked of [
    [ACCOUNTS, STATIC, DYNAMIC],
    [ACCOUNTS, STATIC],
  ]) {
    try {
      return await connection.queryAll(asked.join(';'), timeoutMs);
    } catch (error) {
      if (!(error instanceof ConnectionError) || error.code !== 'server') throw error;
    }
  }
  return [await connection.query(ACCOUNTS, timeoutMs)];
}

const grantsIn = (row: Row): string => (row['grants'] ?? '').slice(0, 16);
const accountKey = (row: Row): string => `${row['user'] ?? ''}\0${row['host'] ?? ''}`;

export const mysqlDialect: Dialect = {
  flavor: 'mysql',
  parts: PARTS,
  everyProbe: ['state', 'replication'],
  everyProbeOfReplicas: ['receiver', 'applier'],
  everyProbeOfMembers: ['group-members', 'applier'],
  firstProbe: ['session-variables'],
  fullProbe: [
    'group-settings',
    'group-members',
    'heartbeat',
    'semisync-variables',
    'semisync-status',
    'activity',
    'replicas',
    'dump-threads',
  ],
  executed(state) {
    const gtid = (state['gtid_executed'] ?? '').replaceAll(/\s/g, '');
    return { gtidExecuted: gtid, gtidPosition: gtid };
  },
  replication,
  topology: groupFacts,
  readOnly: ['SET GLOBAL super_read_only = ON'],
  writable: ['SET GLOBAL super_read_only = OFF', 'SET GLOBAL read_only = OFF'],
  stopReceiver: 'STOP REPLICA IO_THREAD',
  startReceiver: 'START REPLICA IO_THREAD',
  startApplier: 'START REPLICA SQL_THREAD',
  async detach(connection, timeoutMs) {
    await connection.query('STOP REPLICA', timeoutMs);
    await connection.query('RESET REPLICA ALL', timeoutMs);
  },
  async channelUser(connection, timeoutMs) {
    const rows = (await connection.query('SHOW REPLICA STATUS', timeoutMs)).map(modern);
    const user = rows.find((row) => row['channel_name'] === '')?.['source_user'];
    return user === undefined || user === '' ? null : user;
  },
  follow,
  async waitForGtid(connection, gtid, waitMs, timeoutMs) {
    const seconds = (waitMs / 1000).toFixed(3);
    const rows = await connection.query(
      `SELECT WAIT_FOR_EXECUTED_GTID_SET(${connection.quote(gtid)}, ${seconds}) AS result`,
      timeoutMs,
    );
    return rows[0]?.['result'] === '0';
  },
  accounts,
  ioCounters:
    "SELECT VARIABLE_NAME, VARIABLE_VALUE FROM performance_schema.global_status WHERE VARIABLE_NAME IN ('Innodb_data_fsyncs'," +
    " 'Innodb_data_written', 'Innodb_os_log_fsyncs', 'Innodb_os_log_written') UNION ALL" +
    ' SELECT EVENT_NAME, SUM_NUMBER_OF_BYTES_WRITE FROM performance_schema.file_summary_by_event_name' +
    " WHERE EVENT_NAME = 'wait/io/file/sql/binlog'",
  diskFullLog:
    'SELECT DATA AS text FROM performance_schema.error_log WHERE LOGGED > NOW(6) - INTERVAL 11 MINUTE' +
    " AND DATA LIKE 'Disk is full writing%' ORDER BY LOGGED DESC LIMIT 1",
};
