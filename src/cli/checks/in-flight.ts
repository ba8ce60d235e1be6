// What `inFlight: exactly-once` needs (design.md section 2): accounts that may have their writes witnessed, MariaDB's table
// for it, and tables that a rollback covers. Without, the outcome of what was in flight is `unknown` after a crash.
import type { Inspection, Row } from './gather.ts';
import type { Situation, Verdict } from './rules.ts';

/** Of one server. Null: not readable. */
export interface InFlightFacts {
  /** Accounts that lack what witnesses need, quoted for a GRANT. */
  lacking: string[] | null;
  /** MariaDB: `evenkeel.ledger` is there. */
  ledger: boolean | null;
  /** Tables in which a rolled-back write stays. */
  uncovered: string[] | null;
}

const MAX_LISTED = 20;

type Ask = (sql: string) => Promise<Row[] | null>;

const LACKING = {
  mysql:
    "SELECT user AS name, host FROM mysql.user WHERE account_locked='N' AND user NOT LIKE 'mysql.%' AND super_priv='N' " +
    'AND NOT EXISTS (SELECT 1 FROM mysql.global_grants AS g WHERE g.user=mysql.user.user AND g.host=mysql.user.host ' +
    "AND g.priv='REPLICATION_APPLIER')",
  mariadb:
    "SELECT User AS name, Host AS host FROM mysql.global_priv AS a WHERE COALESCE(JSON_VALUE(Priv, '$.is_role'), '') = '' " +
    "AND COALESCE(JSON_VALUE(Priv, '$.account_locked'), '') = '' AND User <> 'mariadb.sys' AND " +
    "(CAST(COALESCE(JSON_VALUE(Priv, '$.access'), 0) AS UNSIGNED) & 7) <> 7 AND NOT EXISTS (SELECT 1 FROM mysql.tables_priv AS t " +
    "WHERE t.User=a.User AND t.Host=a.Host AND t.Db='evenkeel' AND t.Table_name='ledger' AND FIND_IN_SET('Insert', Table_priv) " +
    "AND FIND_IN_SET('Select', Table_priv) AND FIND_IN_SET('Update', Table_priv)) AND NOT EXISTS (SELECT 1 FROM mysql.db AS d " +
    "WHERE d.User=a.User AND d.Host=a.Host AND d.Db='evenkeel' AND d.Select_priv='Y' AND d.Insert_priv='Y' AND d.Update_priv='Y')",
};

const UNCOVERED =
  "SELECT CONCAT(table_schema, '.', table_name) AS name FROM information_schema.tables WHERE table_type='BASE TABLE' AND engine " +
  "NOT IN ('InnoDB', 'ROCKSDB', 'TokuDB', 'ndbcluster', 'SEQUENCE') AND table_schema NOT IN ('mysql', 'sys', " +
  `'performance_schema', 'information_schema') LIMIT ${MAX_LISTED}`;

const LEDGER =
  "SELECT COUNT(*) AS there FROM information_schema.tables WHERE table_schema='evenkeel' AND table_name='ledger'";

export async function readInFlight(flavor: Inspection['flavor'], ask: Ask): Promise<InFlightFacts> {
  const lacking = await ask(LACKING[flavor]);
  const uncovered = await ask(UNCOVERED);
  const ledger = flavor === 'mariadb' ? await ask(LEDGER) : null;
  const quoted = (value: Row[string] | undefined): string => `'${String(value ?? '').replaceAll("'", "''")}'`;
  return {
    lacking: lacking?.map((row) => `${quoted(row['name'])}@${quoted(row['host'])}`) ?? null,
    ledger: ledger === null ? null : Number(ledger[0]?.['there']) === 1,
    uncovered: uncovered?.map((row) => String(row['name'])) ?? null,
  };
}

/** About the primary: the others have the same accounts and tables. */
export function inFlight({ config, cluster, inspection, primary }: Situation): Verdict[] {
  const { flavor, account, inFlight: facts } = inspection;
  const wanted = config.endpoints.some((each) => each.cluster === cluster.name && each.inFlight === 'exactly-once');
  if (!primary || !wanted) return [];
  const verdicts: Verdict[] = [];
  const warn = (text: string, mend: string[]): void => {
    verdicts.push({ level: 'warn', check: 'writes in flight', text, mend });
  };
  if (facts.lacking === null) {
    const tables = flavor === 'mysql' ? ['mysql.user', 'mysql.global_grants'] : ['mysql.tables_priv', 'mysql.db'];
    const mend = tables.map((table) => `GRANT SELECT ON ${table} TO ${account}`);
    warn('whether the outcome of the accounts’ writes can be found out cannot be read', mend);
  }
  if (facts.ledger === false) {
    const text = 'evenkeel.ledger is not there yet: Evenkeel makes it when it runs, if it may';
    warn(text, [`GRANT CREATE, SELECT, INSERT, UPDATE, DELETE ON evenkeel.* TO ${account}`]);
  }
  const grant = flavor === 'mysql' ? 'REPLICATION_APPLIER ON *.*' : 'SELECT, INSERT, UPDATE ON evenkeel.ledger';
  const ours = config.users === 'cluster' ? null : new Set(config.users.map(({ name }) => name.toLowerCase()));
  const lacking = (facts.lacking ?? []).filter(
    (one) => one !== account && (ours === null || ours.has(one.slice(1, one.lastIndexOf("'@'")).toLowerCase())),
  );
  if (lacking.length > 0) {
    const text = `${lacking.length} account(s) lack what tells the outcome of a write in flight: it is unknown after a crash`;
    warn(
      text,
      lacking.slice(0, MAX_LISTED).map((one) => `GRANT ${grant} TO ${one}`),
    );
  }
  const uncovered = facts.uncovered ?? [];
  if (uncovered.length > 0) {
    const text = 'tables without transactions: what becomes of a write to them in a crash cannot be found out';
    warn(
      text,
      uncovered.map((name) => `ALTER TABLE ${name} ENGINE=InnoDB`),
    );
  }
  if (verdicts.length > 0) return verdicts;
  return [{ level: 'ok', check: 'writes in flight', text: 'the outcome of every write can be found out', mend: [] }];
}
