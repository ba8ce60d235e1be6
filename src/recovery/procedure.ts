// How a MariaDB node is built anew by hand: MariaDB copies its data by mariadb-backup, which needs a shell on both
// machines, and Evenkeel has none. So the commands are told, as they are to be run, and what Evenkeel does before and after.
import { type NodeAddress, splitAddress } from '../messages/index.ts';

export interface ProcedureInput {
  node: NodeAddress;
  donor: NodeAddress;
  /** Else it replicates. */
  donorIsPrimary: boolean;
  /** The admin account, which mariadb-backup logs in with. */
  user: string;
  /** It is not a node yet. */
  added: boolean;
  /** Where servers keep their data. */
  dataDir?: string;
}

/** Lines: what it is, then the commands, each after the machine that it runs on. */
export function mariadbProcedure(input: ProcedureInput): string[] {
  const { node, donor, donorIsPrimary, user, added, dataDir = '/var/lib/mysql' } = input;
  const [to, from] = [splitAddress(node), splitAddress(donor)];
  return [
    `MariaDB has no clone over SQL, and Evenkeel no shell on ${to.host}. These commands build ${node} anew from ${donor}:`,
    // Between its start and its position it must follow nobody.
    ...(added ? [] : [`evenkeel maintenance ${node} --for 6h`]),
    `on ${to.host}:`,
    '  systemctl stop mariadb',
    `  mv ${dataDir} ${dataDir}.old && install -d -o mysql -g mysql -m 0700 ${dataDir}`,
    `on ${from.host}:`,
    // Before the backup: it must claim nothing that the backup has not.
    `  mariadb -u ${user} -p -Ne "SELECT @@gtid_binlog_state" | ssh ${to.host} 'cat > ${dataDir}.state'`,
    `  mariadb-backup --backup --stream=mbstream --port=${from.port} --user=${user} --password | ssh ${to.host} mbstream -x -C ${dataDir}`,
    `on ${to.host}:`,
    `  mariadb-backup --prepare --target-dir=${dataDir}`,
    `  chown -R mysql:mysql ${dataDir}`,
    // Of a replica that applies in parallel, transactions come along that it had not committed: no server starts with them.
    '  mariadbd --user=mysql --tc-heuristic-recover=ROLLBACK',
    '  (ends by itself: what was not committed at the donor is replicated later, see MDEV-36025)',
    '  systemctl start mariadb',
    // The new log knows no server that wrote before: as a primary it would make all others look errant.
    `  mariadb -e "RESET MASTER; SET GLOBAL gtid_binlog_state='$(cat ${dataDir}.state)'${donorIsPrimary ? `; SET GLOBAL gtid_slave_pos='$(cut -f3 ${dataDir}/*_binlog_info)'` : ''}"`,
    // What the tool tells of a replica may lack the last transaction that it has copied.
    ...(donorIsPrimary ? [] : ['  (gtid_slave_pos has come with the data: leave it as it is)']),
    added ? `evenkeel add-node ${node} --keep-data` : `evenkeel maintenance ${node} --end`,
    `${added ? '' : 'Evenkeel then makes it follow the primary by itself. '}Keep it read-only in its option file (read_only=ON).`,
  ];
}
