// The rules of `check`, over what a server might have told; that the statements do mend is shown against real servers.
import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { describe, test } from 'node:test';
import { type Inspection, parseGrants } from '../../src/cli/checks/gather.ts';
import { atLeast, judgeNode, judgeTogether, type Verdict } from '../../src/cli/checks/rules.ts';
import { loadConfig } from '../../src/config/index.ts';
import type { ClusterConfig } from '../../src/config/types.ts';
import type { Flavor } from '../../src/messages/index.ts';

const config = loadConfig({ urls: ['mysql://evenkeel:x@db1'], env: {}, cwd: tmpdir() });
const [detect] = config.clusters;
assert.ok(detect !== undefined);
const cluster = { ...detect, durability: 'semisync' as const };

const GOOD: Record<string, string> = {
  version: '9.7.0',
  server_id: '1',
  server_uuid: 'u1',
  read_only: 'ON',
  log_bin: 'ON',
  log_replica_updates: 'ON',
  sync_binlog: '1',
  innodb_flush_log_at_trx_commit: '1',
  gtid_mode: 'ON',
  enforce_gtid_consistency: 'ON',
  report_host: 'db1',
  max_connections: '100000',
  session_track_system_variables: '*',
  session_track_state_change: 'ON',
  session_track_schema: 'ON',
  rpl_semi_sync_source_enabled: 'OFF',
  rpl_semi_sync_replica_enabled: 'ON',
  rpl_semi_sync_source_timeout: '1000000000',
  rpl_semi_sync_source_wait_point: 'AFTER_SYNC',
};

function replica(variables: Record<string, string> = {}, rest: Partial<Inspection> = {}): Inspection {
  return {
    node: 'db1:3306',
    flavor: 'mysql',
    version: variables['version'] ?? '9.7.0',
    account: "'evenkeel'@'%'",
    grants: { global: new Set(['ALL PRIVILEGES']), select: new Set(), own: new Set() },
    variables: new Map(Object.entries({ ...GOOD, ...variables })),
    status: new Map([['rpl_semi_sync_replica_status', 'ON']]),
    replication: [{ Auto_Position: 1, Replica_IO_Running: 'Yes', Replica_SQL_Running: 'Yes' }],
    heartbeatMs: 500,
    readOnlyOrigin: 'EXPLICIT',
    plugins: [{ plugin: 'caching_sha2_password', accounts: 3 }],
    inFlight: { lacking: [], ledger: null, uncovered: [] },
    neighbours: [],
    ...rest,
  };
}

function judged(inspection: Inspection, primary = false): Verdict[] {
  return judgeNode({ config, cluster, inspection, primary }).filter((verdict) => verdict.level !== 'ok');
}

describe('the rules about members of a group', () => {
  const member = { group_replication_group_name: 'g', rpl_semi_sync_replica_enabled: 'OFF' };
  const none = { ...cluster, durability: 'none' as const };
  const found = (inspection: Inspection, durability = none) =>
    judgeNode({ config, cluster: durability, inspection, primary: false }).filter(({ level }) => level !== 'ok');

  test('a member need not replicate from anyone, nor have semi-sync', () => {
    const good = { ...member, group_replication_consistency: 'BEFORE_ON_PRIMARY_FAILOVER' };
    assert.deepEqual(found(replica(good, { replication: [] })), []);
    assert.deepEqual(
      found(replica(good, { replication: [] }), cluster as never).map(({ check }) => check),
      ['durability'],
    );
    const galera = { version: '10.11.8-MariaDB', wsrep_on: 'ON', wsrep_provider: '/x.so', gtid_strict_mode: 'OFF' };
    const onMariadb: Partial<Inspection> = { flavor: 'mariadb', replication: [], plugins: [] };
    assert.deepEqual(found(replica(galera, onMariadb)), []);
  });

  test('what its writes in flight need is told as of any primary', () => {
    const inFlight = { lacking: ["'app'@'%'"], ledger: null, uncovered: [] };
    const primary = replica(member, { replication: [], inFlight });
    const about = (endpoints: typeof config.endpoints) =>
      judgeNode({ config: { ...config, endpoints }, cluster: none, inspection: primary, primary: true })
        .filter(({ check }) => check === 'writes in flight')
        .flatMap(({ mend }) => mend);
    assert.deepEqual(about(config.endpoints), ["GRANT REPLICATION_APPLIER ON *.* TO 'app'@'%'"]);
    assert.deepEqual(about(config.endpoints.map((each) => ({ ...each, inFlight: 'report' as const }))), []);
  });

  test('an account that may not read performance_schema is told what it costs', () => {
    const may = (select: string[], global: string[]) => {
      const grants = { global: new Set(global), select: new Set(select), own: new Set<string>() };
      const verdicts = judgeNode({ config, cluster: none, inspection: replica({}, { grants }), primary: false });
      return verdicts.filter(({ check }) => check === 'performance_schema').map(({ level }) => level);
    };
    assert.deepEqual(may([], ['PROCESS']), ['warn']);
    assert.deepEqual(may(['performance_schema'], ['PROCESS']), []);
    assert.deepEqual(may([], ['SELECT']), []);
    assert.deepEqual(may([], ['ALL PRIVILEGES']), []);
  });

  test('what a group lacks for a switchover, and for reads after an election, is told with what mends it', () => {
    const grants = { global: new Set(['REPLICATION SLAVE']), select: new Set<string>(), own: new Set<string>() };
    const settings = {
      ...member,
      group_replication_single_primary_mode: 'OFF',
      group_replication_consistency: 'EVENTUAL',
    };
    const verdicts = found(replica(settings, { replication: [], grants }));
    const about = (check: string) => verdicts.filter((one) => one.check === check).flatMap(({ mend }) => mend);
    assert.ok(about('privilege').some((one) => one.startsWith('GRANT GROUP_REPLICATION_ADMIN')));
    assert.deepEqual(about('single primary'), ['SELECT group_replication_switch_to_single_primary_mode()']);
    assert.equal(about('consistency').length, 1);
  });

  test('a second writable member of Galera is a warning, and its number may be the others’ too', () => {
    const galera = { version: '10.11.8-MariaDB', wsrep_on: 'ON', wsrep_provider: '/x.so', read_only: 'OFF' };
    const one = replica(galera, { flavor: 'mariadb', replication: [], plugins: [] });
    assert.deepEqual(
      found(one).map(({ check, level }) => [check, level]),
      [['read_only', 'warn']],
    );
    const both = [one, { ...one, node: 'db2:3306', variables: new Map([...one.variables, ['server_uuid', 'u2']]) }];
    assert.deepEqual(
      judgeTogether(both, none).filter(({ level }) => level === 'fail'),
      [],
    );
  });
});

describe('the rules of check', () => {
  test('find nothing to say of a replica that is as it should be', () => {
    assert.deepEqual(judged(replica()), []);
  });

  for (const [name, variables, check, mend] of [
    ['no GTIDs', { gtid_mode: 'OFF' }, 'gtid_mode', /SET PERSIST gtid_mode=ON/],
    ['no binary log', { log_bin: 'OFF' }, 'log_bin', /option file/],
    ['a writable replica', { read_only: 'OFF' }, 'read_only', /super_read_only=ON/],
    ['a version that is too old', { version: '5.7.44' }, 'version', /upgrade/],
    ['lazy commits', { sync_binlog: '0' }, 'sync_binlog', /SET PERSIST sync_binlog=1/],
    [
      'semi-sync that gives up soon',
      { rpl_semi_sync_source_timeout: '10000' },
      'semi-sync timeout',
      /timeout=1000000000/,
    ],
    ['semi-sync switched off', { rpl_semi_sync_replica_enabled: 'OFF' }, 'semi-sync', /replica_enabled=ON/],
    ['few connections', { max_connections: '10' }, 'max_connections', /SET PERSIST max_connections/],
    ['no report_host', { report_host: '' }, 'report_host', /report_host=/],
  ] as const) {
    test(`name ${name} and what mends it`, () => {
      const verdicts = judged(replica(variables));
      assert.deepEqual(
        verdicts.map((verdict) => verdict.check),
        [check],
      );
      assert.match(verdicts[0]?.mend.join('; ') ?? '', mend);
    });
  }

  test('name each missing privilege with its GRANT', () => {
    const grants = parseGrants([
      'GRANT RELOAD, PROCESS, SUPER ON *.* TO `evenkeel`@`%`',
      'GRANT BACKUP_ADMIN, SYSTEM_USER ON *.* TO `evenkeel`@`%`',
    ]);
    assert.deepEqual(
      judged(replica({}, { grants })).flatMap((verdict) => verdict.mend),
      [
        "GRANT REPLICATION CLIENT ON *.* TO 'evenkeel'@'%'",
        "GRANT REPLICATION SLAVE ON *.* TO 'evenkeel'@'%'",
        "GRANT CLONE_ADMIN ON *.* TO 'evenkeel'@'%'",
        "GRANT CREATE, SELECT, INSERT, UPDATE ON evenkeel.* TO 'evenkeel'@'%'",
        "GRANT SELECT ON performance_schema.* TO 'evenkeel'@'%'",
      ],
    );
  });

  test('ask for what the heartbeat writes, unless there is none', () => {
    const lines = [
      'GRANT ALL PRIVILEGES ON *.* TO `e`@`%`',
      'GRANT CREATE, SELECT, INSERT, UPDATE ON `evenkeel`.* TO `e`@`%`',
      'GRANT CREATE, SELECT ON `evenkeel`.* TO `e`@`%`',
    ];
    const asked = (line: string, given: Partial<ClusterConfig> = {}, flavor: Flavor = 'mysql'): string[] => {
      const inspection = replica({}, { grants: parseGrants([line]), flavor });
      return judgeNode({ config, cluster: { ...cluster, ...given }, inspection, primary: false })
        .filter(({ check }) => check === 'own tables')
        .flatMap(({ mend }) => mend);
    };
    const { heartbeat } = cluster;
    assert.deepEqual(
      lines.map((line) => asked(line)),
      [[], [], ["GRANT INSERT, UPDATE ON evenkeel.* TO 'evenkeel'@'%'"]],
    );
    assert.deepEqual(asked(lines[1] ?? '', {}, 'mariadb'), ["GRANT DELETE ON evenkeel.* TO 'evenkeel'@'%'"]);
    assert.deepEqual(asked(lines[2] ?? '', { heartbeat: { ...heartbeat, enabled: false } }), []);
    assert.deepEqual(asked(lines[2] ?? '', { recovery: 'observe' }), []);
  });

  test('say that accounts of an unknown plug-in cannot log in, and that unread accounts let nobody in', () => {
    const foreign = judged(replica({}, { plugins: [{ plugin: 'authentication_ldap_sasl', accounts: 2 }] }));
    assert.equal(foreign[0]?.level, 'warn');
    const signing = judged(replica({}, { plugins: [{ plugin: 'ed25519', accounts: 1 }] }));
    assert.equal(signing[0]?.level, 'warn');
    assert.match(signing[0].mend[0] ?? '', /users:/);
    const unread = judged(replica({}, { plugins: null }));
    assert.deepEqual(unread[0]?.mend, ["GRANT SELECT ON mysql.user TO 'evenkeel'@'%'"]);
  });

  test('judge a primary as one: it does not replicate, and commits must wait', () => {
    const primary = replica(
      { read_only: 'OFF', rpl_semi_sync_source_enabled: 'ON' },
      { replication: [], status: new Map() },
    );
    assert.match(judged(primary, true)[0]?.text ?? '', /do not wait/);
  });

  test('name what leaves a write in flight in doubt, of the primary alone', () => {
    const inFlight = { lacking: ["'shop'@'%'"], ledger: false, uncovered: ['shop.old'] };
    const primary = replica(
      { read_only: 'OFF', rpl_semi_sync_source_enabled: 'ON' },
      { replication: [], status: new Map([['rpl_semi_sync_source_status', 'ON']]), flavor: 'mysql', inFlight },
    );
    const mends = judged(primary, true).flatMap((verdict) => verdict.mend);
    assert.ok(mends.includes("GRANT REPLICATION_APPLIER ON *.* TO 'shop'@'%'"), mends.join('; '));
    assert.ok(mends.includes('ALTER TABLE shop.old ENGINE=InnoDB'));
    assert.ok(mends.some((mend) => mend.includes('ON evenkeel.*')));
    assert.deepEqual(judged(replica({}, { inFlight })), []);
    const unread = judged({ ...primary, inFlight: { ...inFlight, lacking: null } }, true).flatMap(({ mend }) => mend);
    assert.ok(unread.includes("GRANT SELECT ON mysql.global_grants TO 'evenkeel'@'%'"));
  });

  test('look at all nodes together: one writer, one flavor, ids of their own', () => {
    const checks = (nodes: Inspection[]) =>
      judgeTogether(nodes, cluster)
        .filter((verdict) => verdict.level === 'fail')
        .map((verdict) => verdict.check);
    const writer = replica({ read_only: 'OFF' });
    const other = { server_id: '2', server_uuid: 'u2' };
    assert.deepEqual(checks([writer, replica(other)]), []);
    assert.deepEqual(checks([writer, replica({ ...other, read_only: 'OFF' })]), ['primary']);
    assert.deepEqual(checks([replica(), replica(other)]), ['primary']);
    assert.deepEqual(checks([writer, replica()]), ['server_id', 'server_uuid']);
    assert.deepEqual(checks([writer, replica(other, { flavor: 'mariadb' })]), ['flavor']);
  });
});

test('grants are read as both flavors print them', () => {
  const grants = parseGrants([
    "GRANT REPLICATION SLAVE, SLAVE MONITOR ON *.* TO `e`@`%` IDENTIFIED BY PASSWORD '*00'",
    'GRANT SELECT (User, Host) ON `mysql`.`global_priv` TO `e`@`%`',
    'GRANT `role`@`%` TO `e`@`%`',
  ]);
  assert.deepEqual([...grants.global], ['REPLICATION SLAVE', 'SLAVE MONITOR']);
  assert.deepEqual([...grants.select], ['mysql.global_priv']);
});

test('versions compare by number', () => {
  assert.ok(atLeast('10.11.6-MariaDB', [10, 5]));
  assert.ok(!atLeast('8.0.9', [8, 0, 22]));
  assert.ok(atLeast('9.0.0', [8, 0, 22]));
});
