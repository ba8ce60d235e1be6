// The words that the classifier knows: one number for each, looked up by hash without making a string.
// A word's traits say how it counts in front of a parenthesis and whether a statement's body must look at it.
import { COMMON_FUNCTIONS, MARIADB_FUNCTIONS, MYSQL_FUNCTIONS } from './functions.ts';

/** Traits of a word, as bits. */
export const TRAIT = {
  /** A native function of MySQL without effect. */
  mysqlFunction: 1,
  /** A native function of MariaDB without effect. */
  mariadbFunction: 2,
  /** May stand in front of a parenthesis without being called. */
  mysqlKeyword: 4,
  /** What follows is a name being declared or a table: `INTO t (a)` calls nothing. */
  namer: 8,
  /** Native only with the parenthesis right behind it (IGNORE_SPACE off); with a blank it is a stored function. */
  mysqlAdjacent: 16,
  mariadbAdjacent: 32,
  /** A statement's body has to look at it. */
  action: 64,
  /** As a system variable it tells of the connection or of the statement before. */
  tellingVariable: 128,
  /** As mysqlKeyword, for MariaDB. */
  mariadbKeyword: 256,
  /** A function whose value is the server's own: its files, its replication, its threads. */
  ofServer: 512,
  /** A schema whose tables are every server's own. */
  systemSchema: 1024,
} as const;

/** Words that the classifier names. Their numbers are their places in this list, from 1. */
const NAMED_ROWS = [
  ['select', 'with', 'table', 'values', 'insert', 'update', 'delete', 'replace', 'load', 'set', 'show', 'use'],
  ['begin', 'start', 'commit', 'rollback', 'savepoint', 'release', 'xa', 'lock', 'unlock', 'flush', 'kill', 'call'],
  ['do', 'prepare', 'execute', 'deallocate', 'create', 'drop', 'alter', 'truncate', 'rename', 'grant', 'revoke'],
  ['optimize', 'repair', 'check', 'checksum', 'install', 'uninstall', 'cache', 'analyze', 'explain', 'describe'],
  ['desc', 'handler', 'help', 'purge', 'reset', 'change', 'stop', 'shutdown', 'restart', 'clone', 'binlog', 'get'],
  ['import', 'backup', 'work', 'not', 'transaction', 'read', 'only', 'write', 'consistent', 'snapshot', 'and'],
  ['chain', 'no', 'to', 'tables', 'instance', 'for', 'export', 'hard', 'soft', 'connection', 'query', 'id', 'user'],
  ['temporary', 'or', 'index', 'data', 'xml', 'share', 'in', 'into', 'outfile', 'dumpfile', 'procedure', 'function'],
  ['sql_calc_found_rows', 'next', 'previous', 'value', 'nextval', 'setval', 'lastval', 'get_lock', 'release_lock'],
  ['release_all_locks', 'is_free_lock', 'is_used_lock', 'last_insert_id', 'found_rows', 'row_count', 'global'],
  ['wsrep_last_seen_gtid', 'wsrep_last_written_gtid', 'session', 'local', 'persist', 'persist_only', 'names', 'as'],
  ['password', 'role', 'default', 'statement', 'resource', 'character', 'charset', 'warnings', 'errors', 'count'],
  ['profile', 'profiles', 'no_write_to_binlog', 'format', 'extended', 'partitions', 'autocommit', 'off', 'false'],
  ['transaction_isolation', 'tx_isolation', 'transaction_read_only', 'tx_read_only', 'diagnostics', 'exists', 'on'],
  ['immediate', 'trigger', 'event', 'end', 'if', 'case', 'loop', 'while', 'repeat', 'then', 'else', 'package'],
  ['unique', 'fulltext', 'spatial', 'recursive', 'null', 'true', 'identity', 'insert_id', 'schema', 'database', 'x'],
  ['b', 'n', 'stage', 'by', 'using', 'verbose', 'elseif', 'definer', 'sequence', 'body', 'view', 'aggregate'],
  [
    'currval',
    'less',
    'connection_id',
    'pseudo_thread_id',
    'warning_count',
    'error_count',
    'last_gtid',
    'wait',
    'nowait',
    'sql',
    'rowcount',
    'returning',
    'limit',
    'fetch',
    'offset',
    'union',
    'except',
    'intersect',
  ],
] as const;
type Named = (typeof NAMED_ROWS)[number][number];
const NAMED: readonly Named[] = NAMED_ROWS.flat();

/** The number of each named word. */
export const W = Object.freeze(Object.fromEntries(NAMED.map((word, at) => [word, at + 1]))) as Readonly<
  Record<Named, number>
>;

// Checked against MySQL 9.7 and MariaDB 10.11: a stored function of such a name cannot be called without a qualifier.
const KEYWORDS = `
  add all alter analyze and any as asc before between bigint binary bit blob bool boolean both by call cascade case
  change char character check collate column comment condition constraint create cross current_user date datetime
  day_hour day_microsecond day_minute day_second dec decimal declare default delayed delete desc describe distinct
  distinctrow div do double drop dual each else elseif enclosed end enum escaped except execute exists explain false
  fetch fixed float float4 float8 for force foreign from fulltext function grant group having high_priority
  hour_microsecond hour_minute hour_second if ignore in index infile inner inout insert int int1 int2 int3 int4 int8
  integer intersect interval into is join json key keys kill leading leave left like limit linear lines load lock long
  longblob longtext loop low_priority match maxvalue mediumblob mediumint mediumtext middleint minute_microsecond
  minute_second mod modifies national natural nchar no_write_to_binlog not null number numeric nvarchar offset on
  optimize option optionally options or order out outer outfile over partition precision prepare primary procedure
  purge range read reads real recursive references regexp release rename repeat replace require restrict return
  returning revoke right rlike row rows schema second_microsecond select separator serial set show signal signed
  smallint some sounds spatial sql_big_result sql_buffer_result sql_calc_found_rows sql_no_cache sql_small_result
  starting stored straight_join table terminated text then time timestamp tinyblob tinyint tinytext to trailing
  trigger true undo union unique unlock unsigned update usage use using value values varbinary varchar varcharacter
  varying when where while window with write xor year year_month zerofill
`;
/** In MariaDB these are ordinary names. */
const MYSQL_KEYWORDS = `
  against btree columns cube data duplicate escape external fields generated geometry groups hash json_table lateral
  list member mode nested of only path qualify returns rollup rtree sets subpartition tables than until vector view
  virtual
`;
const MARIADB_KEYWORDS = `sql_cache within`;

const NAMERS = `
  into table references as with recursive key index insert replace ignore low_priority delayed exists unique partition
  view procedure function subpartition
`;

const ADJACENT = `
  adddate bit_and bit_or bit_xor cast count curdate curtime date_add date_sub extract group_concat json_arrayagg
  json_objectagg max mid min now position session_user st_collect std stddev stddev_pop stddev_samp subdate substr
  substring sum sysdate system_user trim variance var_pop var_samp
`;

const MARIADB_ADJACENT = `
  cume_dist dense_rank first_value lag lead median nth_value ntile percent_rank percentile_cont percentile_disc rank
  row_number trim_oracle
`;

const ACTIONS = `update share into outfile dumpfile delete procedure sql_calc_found_rows value nextval lastval wait nowait rowcount returning
  limit fetch offset union except intersect`;
const TELLING = `warning_count error_count identity last_insert_id last_gtid pseudo_thread_id`;

const OF_SERVER = `
  binlog_gtid_pos connection_id icu_version load_file master_gtid_wait master_pos_wait ps_current_thread_id ps_thread_id
  source_pos_wait uuid_short version wait_for_executed_gtid_set wait_until_sql_thread_after_gtids
  wsrep_sync_wait_upto_gtid
`;
const SYSTEM_SCHEMAS = `information_schema performance_schema mysql sys`;

const list = (words: string): string[] => words.split(/\s+/).filter((word) => word !== '');

interface Dictionary {
  traits: Uint16Array;
  slots: Uint16Array;
  spellings: Uint8Array[];
}

function buildDictionary(): Dictionary {
  const numbers = new Map<string, number>(NAMED.map((word, at) => [word, at + 1]));
  const traits: number[] = Array.from({ length: NAMED.length + 1 }, () => 0);
  const mark = (words: string, bits: number): void => {
    for (const word of list(words)) {
      const number = numbers.get(word) ?? numbers.size + 1;
      numbers.set(word, number);
      traits[number] = (traits[number] ?? 0) | bits;
    }
  };
  mark(COMMON_FUNCTIONS, TRAIT.mysqlFunction | TRAIT.mariadbFunction);
  mark(MYSQL_FUNCTIONS, TRAIT.mysqlFunction);
  mark(MARIADB_FUNCTIONS, TRAIT.mariadbFunction);
  mark(KEYWORDS, TRAIT.mysqlKeyword | TRAIT.mariadbKeyword);
  mark(MYSQL_KEYWORDS, TRAIT.mysqlKeyword);
  mark(MARIADB_KEYWORDS, TRAIT.mariadbKeyword);
  mark(NAMERS, TRAIT.namer);
  mark(ADJACENT, TRAIT.mysqlAdjacent | TRAIT.mariadbAdjacent);
  mark(MARIADB_ADJACENT, TRAIT.mariadbAdjacent);
  mark(ACTIONS, TRAIT.action);
  mark(TELLING, TRAIT.tellingVariable);
  mark(OF_SERVER, TRAIT.ofServer);
  mark(SYSTEM_SCHEMAS, TRAIT.systemSchema);

  const slots = new Uint16Array(SLOTS);
  const spellings: Uint8Array[] = [];
  for (const [word, number] of numbers) {
    const spelling = Uint8Array.from(word, (char) => fold(char.charCodeAt(0)));
    spellings[number] = spelling;
    let slot = spelling.reduce(mix, HASH_SEED) & (SLOTS - 1);
    while (slots[slot] !== 0) slot = (slot + 1) & (SLOTS - 1);
    slots[slot] = number;
  }
  return { traits: Uint16Array.from(traits), slots, spellings };
}

/** A power of two, several times the number of words. */
const SLOTS = 8192;
/** Where the hash of a word starts. */
export const HASH_SEED = 0x811c9dc5 | 0;
/** Letters of both cases fall together (and `_` with DEL, which is in no word). */
export const fold = (byte: number): number => byte | 0x20;
/** Takes one folded byte into the hash. */
export const mix = (hash: number, folded: number): number => Math.imul(hash ^ folded, 0x01000193);

const { traits, slots, spellings } = buildDictionary();

/** The traits of a word's number; 0 for none. */
export const traitsOf = (word: number): number => traits[word] ?? 0;

/** The number of the word that stands at start … stop, given its hash; 0 where it is not a word we know. */
export function findWord(text: Uint8Array, start: number, stop: number, hash: number): number {
  const length = stop - start;
  for (let slot = hash & (SLOTS - 1); ; slot = (slot + 1) & (SLOTS - 1)) {
    const number = slots[slot] ?? 0;
    if (number === 0) return 0;
    const spelling = spellings[number];
    if (spelling === undefined || spelling.length !== length) continue;
    let at = 0;
    while (at < length && ((text[start + at] ?? 0) | 0x20) === spelling[at]) at++;
    if (at === length) return number;
  }
}
