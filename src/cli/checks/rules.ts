// What a promise needs of one server, as rules over what was read of it. Pure. `fail`: a promise of design.md section 2
// cannot be kept, or Evenkeel cannot work. `warn`: it can, but less well. Each says which statement mends it.
import { asksForSemiSync } from '../../cluster/index.ts';
import type { ClusterConfig, Config } from '../../config/types.ts';
import type { Flavor } from '../../messages/index.ts';
import type { Inspection } from './gather.ts';
import { inFlight } from './in-flight.ts';
import { membership, membershipOf } from './members.ts';

export interface Finding {
  level: 'ok' | 'warn' | 'fail';
  cluster: string;
  /** Null: of the cluster as a whole. */
  node: string | null;
  /** Stable name of the rule. */
  check: string;
  text: string;
  /** The statements that mend it, each run on the node; empty where there is nothing to mend. */
  mend: string[];
}

/** A finding before it is known of whom. */
export type Verdict = Omit<Finding, 'cluster' | 'node'>;

export interface Situation {
  config: Config;
  cluster: ClusterConfig;
  inspection: Inspection;
  /** It takes writes and follows nobody. */
  primary: boolean;
}

interface Privilege {
  name: string;
  for: string;
  level: 'warn' | 'fail';
}

const PRIVILEGES: Record<Flavor, Privilege[]> = {
  mysql: [
    { name: 'REPLICATION CLIENT', for: 'reading replication status', level: 'fail' },
    { name: 'REPLICATION SLAVE', for: 'finding replicas, and replicating as this account', level: 'fail' },
    { name: 'REPLICATION_SLAVE_ADMIN', for: 'repointing replicas', level: 'fail' },
    { name: 'SYSTEM_VARIABLES_ADMIN', for: 'fencing and promoting (read_only, super_read_only)', level: 'fail' },
    {
      name: 'CONNECTION_ADMIN',
      for: 'ending connections on a fenced primary, and getting in past max_connections',
      level: 'fail',
    },
    { name: 'RELOAD', for: 'RESET REPLICA ALL on a promoted node', level: 'fail' },
    { name: 'PROCESS', for: 'seeing the connections that a fence ends', level: 'fail' },
    { name: 'SYSTEM_USER', for: 'ending connections of accounts that have SYSTEM_USER themselves', level: 'warn' },
    { name: 'BACKUP_ADMIN', for: 'building nodes anew (clone, as the donor)', level: 'warn' },
    { name: 'CLONE_ADMIN', for: 'building nodes anew (clone, as the recipient)', level: 'warn' },
  ],
  mariadb: [
    { name: 'BINLOG MONITOR', for: 'reading binary log status', level: 'fail' },
    { name: 'SLAVE MONITOR', for: 'reading replication status', level: 'fail' },
    { name: 'REPLICATION SLAVE', for: 'replicating as this account', level: 'fail' },
    { name: 'REPLICATION SLAVE ADMIN', for: 'repointing replicas', level: 'fail' },
    { name: 'REPLICATION MASTER ADMIN', for: 'finding replicas, and semi-sync on the primary', level: 'fail' },
    { name: 'READ_ONLY ADMIN', for: 'fencing and promoting (read_only)', level: 'fail' },
    {
      name: 'CONNECTION ADMIN',
      for: 'ending connections on a fenced primary, and getting in past max_connections',
      level: 'fail',
    },
    { name: 'RELOAD', for: 'RESET SLAVE ALL on a promoted node', level: 'fail' },
    { name: 'PROCESS', for: 'seeing the connections that a fence ends', level: 'fail' },
  ],
};

/** Other names under which SHOW GRANTS prints a privilege. */
const ALIASES: Record<string, string[]> = {
  'BINLOG MONITOR': ['REPLICATION CLIENT'],
  'SLAVE MONITOR': ['REPLICA MONITOR'],
  'REPLICATION SLAVE': ['REPLICATION REPLICA'],
  'REPLICATION SLAVE ADMIN': ['REPLICATION REPLICA ADMIN'],
};

/** What the old SUPER still covers on MySQL. */
const UNDER_SUPER = ['REPLICATION_SLAVE_ADMIN', 'SYSTEM_VARIABLES_ADMIN', 'CONNECTION_ADMIN'];

function versionOf(text: string): number[] {
  return (/^(\d+)\.(\d+)(?:\.(\d+))?/.exec(text) ?? []).slice(1).map((part) => Number(part ?? 0));
}

/** Whether `version` is at least `wanted`. */
export function atLeast(version: string, wanted: readonly number[]): boolean {
  const parts = versionOf(version);
  for (const [index, want] of wanted.entries()) {
    const have = parts[index] ?? 0;
    if (have !== want) return have > want;
  }
  return true;
}

function ok(check: string, text: string): Verdict {
  return { level: 'ok', check, text, mend: [] };
}

function privileges({ inspection }: Situation): Verdict[] {
  const { grants, flavor, account } = inspection;
  if (grants === null) {
    return [{ level: 'fail', check: 'privileges', text: 'the privileges of the account cannot be read', mend: [] }];
  }
  const all = grants.global.has('ALL PRIVILEGES');
  const superCovers = (name: string) =>
    grants.global.has('SUPER') &&
    (flavor === 'mysql'
      ? UNDER_SUPER.includes(name)
      : !atLeast(inspection.version, [11]) && (name !== 'READ_ONLY ADMIN' || !atLeast(inspection.version, [10, 11])));
  const missing = PRIVILEGES[flavor].filter(
    ({ name }) => !all && ![name, ...(ALIASES[name] ?? [])].some((one) => grants.global.has(one)) && !superCovers(name),
  );
  const verdicts = missing.map(
    (privilege): Verdict => ({
      level: privilege.level,
      check: 'privilege',
      text: `${account} lacks ${privilege.name}, for ${privilege.for}`,
      mend: [`GRANT ${privilege.name} ON *.* TO ${account}`],
    }),
  );
  return missing.length === 0 ? [ok('privilege', `${account} has every privilege that is needed`)] : verdicts;
}

/** Tables that Evenkeel keeps on the nodes: the heartbeat's and, on MariaDB, the ledger. */
function ownTables({ cluster, inspection }: Situation): Verdict[] {
  const { account, flavor, grants } = inspection;
  const beats = cluster.heartbeat.enabled && cluster.recovery === 'automatic';
  if (grants === null || membershipOf(inspection) !== null || !beats) return [];
  const wanted = ['CREATE', 'SELECT', 'INSERT', 'UPDATE', ...(flavor === 'mariadb' ? ['DELETE'] : [])];
  const has = (name: string): boolean =>
    ['ALL PRIVILEGES', name].some((one) => grants.global.has(one) || grants.own.has(one));
  const missing = wanted.filter((name) => !has(name)).join(', ');
  if (missing === '') return [];
  const text = `${account} lacks ${missing} on evenkeel.*, for its heartbeat: without it a primary that answers and cannot commit is not found`;
  return [{ level: 'warn', check: 'own tables', text, mend: [`GRANT ${missing} ON evenkeel.* TO ${account}`] }];
}

/** What MySQL tells in tables of its own. */
function performanceSchema({ inspection }: Situation): Verdict[] {
  const { account, flavor, grants } = inspection;
  if (flavor !== 'mysql' || grants === null) return [];
  const reads = ['ALL PRIVILEGES', 'SELECT'].some((one) => grants.global.has(one));
  if (reads || grants.select.has('performance_schema')) return [];
  const text =
    `${account} lacks SELECT on performance_schema.*: lag is told in whole seconds, and servers report all variables, not those of ` +
    'sessions alone, which makes every SET slow';
  const mend = [`GRANT SELECT ON performance_schema.* TO ${account}`];
  return [{ level: 'warn', check: 'performance_schema', text, mend }];
}

/** Whose stored form, or whose exchange, lets us log in to a server as the client. Not ed25519: it keeps a public key. */
const SPOKEN_PLUGINS = ['mysql_native_password', 'caching_sha2_password', 'sha256_password'];
/** These let nobody in over TCP, through a proxy or not. */
const LOCAL_PLUGINS = ['', 'auth_socket', 'unix_socket', 'mysql_no_login'];

function accounts({ config, inspection }: Situation): Verdict[] {
  const table = inspection.flavor === 'mysql' ? 'mysql.user' : 'mysql.global_priv';
  if (config.users !== 'cluster') return [ok('accounts', 'accounts are those of the configuration')];
  if (inspection.plugins === null) {
    const text = `${inspection.account} cannot read ${table}, so no client can log in with \`users: cluster\``;
    return [{ level: 'fail', check: 'accounts', text, mend: [`GRANT SELECT ON ${table} TO ${inspection.account}`] }];
  }
  const foreign = inspection.plugins.filter(({ plugin }) => ![...SPOKEN_PLUGINS, ...LOCAL_PLUGINS].includes(plugin));
  if (foreign.length === 0) return [ok('accounts', `accounts are read from ${table}`)];
  return foreign.map(({ plugin, accounts: count }) => ({
    level: 'warn',
    check: 'accounts',
    text: `${count} account(s) with ${plugin} cannot log in through Evenkeel`,
    mend: mendPlugin(plugin, inspection.flavor),
  }));
}

function mendPlugin(plugin: string, flavor: 'mysql' | 'mariadb'): string[] {
  if (plugin === 'ed25519') return ['list them, with their passwords, under `users:` in the configuration'];
  return [`ALTER USER … IDENTIFIED WITH ${flavor === 'mysql' ? 'caching_sha2_password' : 'mysql_native_password'} …`];
}

function version({ inspection }: Situation): Verdict[] {
  const { flavor, version: text } = inspection;
  const wanted = flavor === 'mysql' ? [8, 0, 22] : [10, 5];
  const name = flavor === 'mysql' ? 'MySQL' : 'MariaDB';
  if (atLeast(text, wanted)) return [ok('version', `${name} ${text}`)];
  const mend = [`upgrade to ${name} ${wanted.join('.')} or later`];
  return [{ level: 'fail', check: 'version', text: `${name} ${text} is too old`, mend }];
}

function isOn(inspection: Inspection, ...names: string[]): boolean {
  return names.some((name) => ['ON', '1', 'YES'].includes((inspection.variables.get(name) ?? '').toUpperCase()));
}

/** An option that only the option file can set. */
function inOptionFile(option: string): string {
  return `in the option file, then restart: ${option}`;
}

function binaryLog({ inspection }: Situation): Verdict[] {
  const { flavor, variables } = inspection;
  const verdicts: Verdict[] = [];
  const need = (check: string, good: boolean, level: 'warn' | 'fail', text: string, mend: string[]) => {
    if (!good) verdicts.push({ level, check, text, mend });
  };
  need('log_bin', isOn(inspection, 'log_bin'), 'fail', 'no binary log is written, so nothing can follow it', [
    inOptionFile('log_bin'),
  ]);
  const updates = flavor === 'mysql' ? 'log_replica_updates' : 'log_slave_updates';
  const updatesOn = isOn(inspection, 'log_replica_updates', 'log_slave_updates');
  need(updates, updatesOn, 'fail', 'what it replicates is not in its own binary log, so it cannot be promoted', [
    inOptionFile(`${updates}=ON`),
  ]);
  const format = variables.get('binlog_format');
  need(
    'binlog_format',
    format === undefined || format === 'ROW',
    'warn',
    `binlog_format is ${format}, which can make replicas differ`,
    [
      flavor === 'mysql'
        ? "SET PERSIST binlog_format='ROW'"
        : "SET GLOBAL binlog_format='ROW' (and in the option file)",
    ],
  );
  const set = (name: string, value: string) =>
    flavor === 'mysql' ? `SET PERSIST ${name}=${value}` : `SET GLOBAL ${name}=${value} (and in the option file)`;
  for (const name of ['sync_binlog', 'innodb_flush_log_at_trx_commit']) {
    const text = `${name} is ${variables.get(name)}: a crash of the host can lose commits, or make it differ from its replicas`;
    need(name, variables.get(name) === '1', 'warn', text, [set(name, '1')]);
  }
  if (flavor === 'mysql') {
    const good = variables.get('gtid_mode') === 'ON' && variables.get('enforce_gtid_consistency') === 'ON';
    need(
      'gtid_mode',
      good,
      'fail',
      `gtid_mode is ${variables.get('gtid_mode')}: positions cannot be compared between nodes`,
      [
        'SET PERSIST enforce_gtid_consistency=ON',
        ...['OFF_PERMISSIVE', 'ON_PERMISSIVE', 'ON'].map((mode) => `SET PERSIST gtid_mode=${mode}`),
      ],
    );
  } else {
    const text =
      'gtid_strict_mode is OFF: a node can write transactions out of order and cannot be compared with others';
    const fine = isOn(inspection, 'gtid_strict_mode') || membershipOf(inspection) === 'galera';
    need('gtid_strict_mode', fine, 'warn', text, [set('gtid_strict_mode', 'ON')]);
  }
  return verdicts.length === 0
    ? [ok('binary log', 'binary log, GTIDs and durability of commits are as needed')]
    : verdicts;
}

function replication({ cluster, inspection, primary }: Situation): Verdict[] {
  const { flavor, heartbeatMs, readOnlyOrigin } = inspection;
  const mysql = flavor === 'mysql';
  if (primary) return [];
  if (inspection.replication === null) {
    return [{ level: 'fail', check: 'replication', text: 'replication status cannot be read', mend: [] }];
  }
  if (inspection.replication.length === 0) {
    const text = isOn(inspection, 'read_only')
      ? 'it is read-only and follows nobody'
      : 'it takes writes, and so do others';
    const mend = ['let it follow the primary, or make it writable if it shall be the primary'];
    return [{ level: 'warn', check: 'replication', text, mend }];
  }
  const verdicts: Verdict[] = [];
  const [stop, start, change] = mysql
    ? ['STOP REPLICA', 'START REPLICA', 'CHANGE REPLICATION SOURCE TO']
    : ['STOP SLAVE', 'START SLAVE', 'CHANGE MASTER TO'];
  for (const row of inspection.replication) {
    const positioned = mysql ? String(row['Auto_Position']) === '1' : row['Using_Gtid'] !== 'No';
    if (!positioned) {
      const option = mysql ? 'SOURCE_AUTO_POSITION=1' : 'MASTER_USE_GTID=slave_pos';
      const text = 'it follows a file position, not GTIDs, so it cannot be repointed';
      verdicts.push({ level: 'fail', check: 'auto-position', text, mend: [stop, `${change} ${option}`, start] });
    }
    if (row['Replica_IO_Running'] !== 'Yes' || row['Replica_SQL_Running'] !== 'Yes') {
      const text = `replication does not run: ${String(row['Last_IO_Error'] || row['Last_SQL_Error'] || 'stopped')}`;
      verdicts.push({ level: 'warn', check: 'replication', text, mend: [start] });
    }
  }
  if (heartbeatMs !== null && (heartbeatMs === 0 || heartbeatMs > cluster.probe.silentAfterMs / 2)) {
    const option = mysql ? 'SOURCE_HEARTBEAT_PERIOD=0.5' : 'MASTER_HEARTBEAT_PERIOD=0.5';
    const text = `its source sends a heartbeat every ${heartbeatMs} ms, so its view of a silent primary comes late`;
    verdicts.push({ level: 'warn', check: 'heartbeat', text, mend: [stop, `${change} ${option}`, start] });
  }
  if ((inspection.variables.get('report_host') ?? '') === '') {
    const text = 'report_host is not set, so it may not be found from its primary';
    verdicts.push({ level: 'warn', check: 'report_host', text, mend: [inOptionFile('report_host=ITS_ADDRESS')] });
  }
  if (!isOn(inspection, 'read_only')) {
    const mend = [mysql ? 'SET PERSIST super_read_only=ON' : 'SET GLOBAL read_only=ON (and in the option file)'];
    verdicts.push({ level: 'fail', check: 'read_only', text: 'it is a replica that takes writes', mend });
  } else if (['DYNAMIC', 'SQL', 'COMPILED', 'COMPILE-TIME'].includes(readOnlyOrigin ?? '')) {
    const text = 'it would start writable: a primary that crashed and came back could take writes before it is fenced';
    verdicts.push({ level: 'warn', check: 'read_only', text, mend: [inOptionFile('read_only=ON')] });
  }
  return verdicts.length === 0 ? [ok('replication', 'it replicates by GTID, starts read-only and is found')] : verdicts;
}

function semiSync({ cluster, inspection, primary }: Situation): Verdict[] {
  if (cluster.durability === 'none') return [];
  const { flavor, variables, status } = inspection;
  const [source, replica] = variables.has('rpl_semi_sync_source_enabled') ? ['source', 'replica'] : ['master', 'slave'];
  const has = (role: string) => variables.has(`rpl_semi_sync_${role}_enabled`);
  const wanted = asksForSemiSync(cluster);
  if (!has(source) || !(has(replica) || variables.has('rpl_semi_sync_replica_enabled'))) {
    if (!wanted) return [ok('semi-sync', 'no semi-sync: after a crash the last acknowledged writes are in doubt')];
    const mend =
      flavor === 'mariadb'
        ? ['upgrade to MariaDB 10.5 or later']
        : [
            "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'",
            "INSTALL PLUGIN rpl_semi_sync_replica SONAME 'semisync_replica.so'",
          ];
    return [{ level: 'fail', check: 'semi-sync', text: 'the plug-ins of semi-sync are not there', mend }];
  }
  const persist = flavor === 'mysql' ? 'SET PERSIST' : 'SET GLOBAL';
  const role = primary ? source : replica;
  const enabled = isOn(inspection, `rpl_semi_sync_${role}_enabled`);
  if (!wanted && !enabled)
    return [ok('semi-sync', 'no semi-sync: after a crash the last acknowledged writes are in doubt')];
  const verdicts: Verdict[] = [];
  if (!enabled) {
    const mend = [
      `${persist} rpl_semi_sync_${role}_enabled=ON`,
      ...(primary ? [] : ['restart its replication receiver']),
    ];
    verdicts.push({ level: 'fail', check: 'semi-sync', text: 'semi-sync is not enabled for its role', mend });
  } else if (status.get(`rpl_semi_sync_${role}_status`) !== 'ON') {
    const text = primary
      ? 'commits do not wait for an acknowledgement now: too few replicas acknowledge'
      : 'it does not acknowledge';
    const mend = [primary ? 'mend the replicas below' : 'restart its replication receiver'];
    verdicts.push({ level: 'fail', check: 'semi-sync', text, mend });
  }
  const timeoutMs = Number(variables.get(`rpl_semi_sync_${source}_timeout`));
  if (timeoutMs < 3_600_000) {
    const text = `as primary it goes on without acknowledgement after ${timeoutMs} ms; writes acknowledged then can be lost`;
    verdicts.push({
      level: wanted ? 'fail' : 'warn',
      check: 'semi-sync timeout',
      text,
      mend: [`${persist} rpl_semi_sync_${source}_timeout=1000000000`],
    });
  }
  if ((variables.get(`rpl_semi_sync_${source}_wait_point`) ?? 'AFTER_SYNC').toUpperCase() !== 'AFTER_SYNC') {
    const text = 'as primary it shows a write to other clients before a replica has it';
    const mend = [`${persist} rpl_semi_sync_${source}_wait_point='AFTER_SYNC'`];
    verdicts.push({ level: 'warn', check: 'semi-sync wait point', text, mend });
  }
  return verdicts.length === 0 ? [ok('semi-sync', `semi-sync works as ${primary ? 'source' : 'replica'}`)] : verdicts;
}

function session({ config, inspection }: Situation): Verdict[] {
  const { variables, flavor } = inspection;
  const verdicts: Verdict[] = [];
  const tracked = ['session_track_system_variables', 'session_track_state_change', 'session_track_schema'];
  const missing = tracked.filter((name) => !variables.has(name));
  if (missing.length > 0) {
    const text = `${missing.join(', ')} not there: session state cannot be restored on another server`;
    verdicts.push({ level: 'fail', check: 'session tracking', text, mend: ['upgrade the server'] });
  }
  const most = Number(variables.get('max_connections'));
  const ours = config.workers * config.pool.maxPerNode;
  if (most < ours) {
    const set = flavor === 'mysql' ? 'SET PERSIST' : 'SET GLOBAL';
    const text = `max_connections is ${most}, fewer than workers × pool.maxPerNode (${config.workers} × ${config.pool.maxPerNode})`;
    const mend = [`${set} max_connections=${ours + 50}`];
    verdicts.push({ level: 'warn', check: 'max_connections', text, mend });
  }
  return verdicts.length === 0 ? [ok('sessions', 'sessions can be tracked and connections suffice')] : verdicts;
}

/** Every rule about one node, in the order in which they are printed. */
export function judgeNode(situation: Situation): Verdict[] {
  const together = membershipOf(situation.inspection) === null ? [replication, semiSync] : [membership];
  return [
    version,
    privileges,
    ownTables,
    performanceSchema,
    accounts,
    binaryLog,
    ...together,
    session,
    inFlight,
  ].flatMap((rule) => rule(situation));
}

/** The rules about all nodes of a cluster together. */
export function judgeTogether(inspections: readonly Inspection[], cluster: ClusterConfig): Verdict[] {
  if (inspections.length === 0) return [];
  const verdicts: Verdict[] = [];
  const writers = inspections.filter((one) => !isOn(one, 'read_only'));
  const names = (nodes: readonly Inspection[]) => nodes.map((one) => one.node).join(', ');
  if (writers.length === 0) {
    const mend = ['make one writable, or let Evenkeel promote one'];
    verdicts.push({ level: 'fail', check: 'primary', text: 'no node that lets us in takes writes', mend });
  } else if (writers.length > 1 && !inspections.every((one) => membershipOf(one) === 'galera')) {
    const mend = ['make all but one read-only: SET GLOBAL read_only=ON'];
    verdicts.push({ level: 'fail', check: 'primary', text: `several nodes take writes: ${names(writers)}`, mend });
  } else verdicts.push(ok('primary', `${names(writers)} takes writes`));
  if (new Set(inspections.map((one) => one.flavor)).size > 1) {
    verdicts.push({
      level: 'fail',
      check: 'flavor',
      text: 'MySQL and MariaDB are mixed',
      mend: ['make two clusters of it'],
    });
  }
  for (const name of ['server_id', 'server_uuid']) {
    const values = inspections.flatMap((one) => one.variables.get(name) ?? []);
    if (new Set(values).size === values.length) continue;
    // Members of one Galera cluster may share it, and do where the cluster numbers its GTIDs.
    if (name === 'server_id' && inspections.every((one) => membershipOf(one) === 'galera')) continue;
    const mend = [
      name === 'server_id' ? 'SET PERSIST server_id=…' : 'remove auto.cnf from one data directory and restart it',
    ];
    verdicts.push({ level: 'fail', check: name, text: `two nodes have the same ${name}`, mend });
  }
  if (inspections.length === 1 && cluster.recovery === 'automatic') {
    const text = 'there is one node: nothing can be promoted when it fails';
    verdicts.push({ level: 'warn', check: 'nodes', text, mend: ['add a replica'] });
  }
  return verdicts;
}
