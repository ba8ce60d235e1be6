// The options a sandbox's servers run with: how each flavor is told to be a small, durable, GTID-replicating
// node that starts read-only. Pure text; nodes.ts writes it, template.ts initialises with a part of it.
// Semi-sync: every node may acknowledge, but none waits for acknowledgements until it is made primary. A
// restarted replica whose source side is on would make its own applier wait.
import { galeraLines } from './galera.ts';
import { groupLines } from './group.ts';
import type { ServerProgram } from './servers.ts';
import type { Replication } from './types.ts';

export interface NodeOptions {
  serverId: number;
  port: number;
  dataDir: string;
  /** Of this server alone: a MariaDB that starts removes every `#sql` file in it, whoever's temporary tables they are. */
  tmpDir: string;
  errorLog: string;
  replication: Replication;
  /** Ports beside the clients' one, of this node first: for Group Replication one, for Galera three. */
  peerPorts: number[];
  /** The first peer port of every node. */
  groupPorts: number[];
  /** Names the group: a UUID. */
  group: string;
}

/** Long enough that a primary never silently goes on without an acknowledgement. */
const ACK_TIMEOUT_MS = 3_600_000;

/** Where the program finds its own files, and who it runs as; needed for initialising, too. */
export function programOptions(program: ServerProgram): string[] {
  return [
    `basedir=${program.baseDir}`,
    `plugin_dir=${program.pluginDir}`,
    `lc_messages_dir=${program.shareDir}`,
    `character_sets_dir=${program.shareDir}/charsets`,
    // A server refuses to run as root unless it is told to.
    ...(process.getuid?.() === 0 ? ['user=root'] : []),
    'secure_file_priv=NULL',
    ...(program.flavor === 'mysql' ? ['mysqlx=OFF', 'innodb_redo_log_capacity=32M'] : ['innodb_log_file_size=32M']),
  ].filter((line) => program.flavor === 'mysql' || !line.startsWith('secure_file_priv'));
}

/** The option file of one node. */
export function optionFile(program: ServerProgram, node: NodeOptions): string {
  const lines = [
    ...programOptions(program),
    `datadir=${node.dataDir}`,
    `tmpdir=${node.tmpDir}`,
    `log_error=${node.errorLog}`,
    // Relative to the data directory: an absolute path may be longer than a socket's address can be.
    'socket=mysqld.sock',
    'pid_file=mysqld.pid',
    'bind_address=127.0.0.1',
    `port=${node.port}`,
    'skip_name_resolve=ON',
    `server_id=${node.serverId}`,
    'report_host=127.0.0.1',
    `report_port=${node.port}`,
    'read_only=ON',
    'log_bin=binlog',
    'relay_log=relay',
    'relay_log_recovery=ON',
    'binlog_format=ROW',
    // What is committed survives the death of the process, not of the machine: several servers share one disk here.
    'sync_binlog=0',
    'innodb_flush_log_at_trx_commit=2',
    'innodb_buffer_pool_size=64M',
    'max_connections=300',
    'local_infile=ON',
    'max_allowed_packet=64M',
    ...(program.flavor === 'mysql' ? mysqlLines(node) : mariadbLines(program, node)),
  ];
  return `[mysqld]\n${lines.join('\n')}\n`;
}

function mysqlLines(node: NodeOptions): string[] {
  const lines = [
    'super_read_only=ON',
    'gtid_mode=ON',
    'enforce_gtid_consistency=ON',
    'log_replica_updates=ON',
    'replica_net_timeout=4',
    'performance_schema=ON',
    'binlog_expire_logs_seconds=86400',
  ];
  if (node.replication === 'group') return [...lines, ...groupLines(node)];
  if (node.replication !== 'semisync') return lines;
  return [
    ...lines,
    'plugin_load_add=semisync_source.so',
    'plugin_load_add=semisync_replica.so',
    'rpl_semi_sync_replica_enabled=ON',
    'rpl_semi_sync_source_enabled=OFF',
    `rpl_semi_sync_source_timeout=${ACK_TIMEOUT_MS}`,
    'rpl_semi_sync_source_wait_for_replica_count=1',
    'rpl_semi_sync_source_wait_no_replica=ON',
    'rpl_semi_sync_source_wait_point=AFTER_SYNC',
  ];
}

function mariadbLines(program: ServerProgram, node: NodeOptions): string[] {
  const lines = [
    'gtid_strict_mode=ON',
    'log_slave_updates=ON',
    'slave_net_timeout=4',
    // A single applier cannot follow a primary whose clients share their commits' flushes.
    'slave_parallel_threads=4',
    'plugin_load_add=auth_ed25519',
    'plugin_maturity=beta',
  ];
  if (node.replication === 'galera') return [...lines, ...galeraLines(program, node)];
  if (node.replication !== 'semisync') return lines;
  return [
    ...lines,
    'rpl_semi_sync_slave_enabled=ON',
    // STOP SLAVE waits this long for a primary that does not answer; frozen primaries are our daily bread.
    'rpl_semi_sync_slave_kill_conn_timeout=1',
    'rpl_semi_sync_master_enabled=OFF',
    `rpl_semi_sync_master_timeout=${ACK_TIMEOUT_MS}`,
    'rpl_semi_sync_master_wait_no_slave=ON',
    'rpl_semi_sync_master_wait_point=AFTER_SYNC',
    // A crashed primary that comes back drops what no replica acknowledged, or it could never rejoin.
    'init_rpl_role=SLAVE',
  ];
}
