// Many nodes that are none, in a process of their own: `--nodes` stand-ins in `--clusters` clusters, all of MySQL, the first
// of each its primary. Prints their ports, one cluster a line of JSON; then, for each line `N` on standard input, the
// primary of cluster N dies, and the moment is printed. Ends with its parent.
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { type Answer, StandIn } from '../../test/support/stand-in.ts';

const VERSION = '8.0.36';
const { clusters = '1', nodes = '3' } = parseArgs({
  options: { clusters: { type: 'string' }, nodes: { type: 'string' } },
}).values;

/** SHOW REPLICA STATUS has about 60 columns, of which a probe looks at these few. */
const FURTHER_COLUMNS = Object.fromEntries(Array.from({ length: 45 }, (_, i) => [`Further_Column_${i}`, 'No']));

const identity = (number: number) => `00000000-0000-0000-0000-${String(number).padStart(12, '0')}`;

/** As a node that only repeats itself: everything is applied, and nothing is written. */
function answerOf(number: number, own: () => number, source: { port: () => number; identity: string } | null): Answer {
  const executed = `${source?.identity ?? identity(number)}:1-1000`;
  return (statement) => {
    if (statement.startsWith('SELECT VERSION()')) return [{ version: VERSION, now: Math.floor(Date.now() / 1000) }];
    if (statement.startsWith('SHOW GLOBAL VARIABLES WHERE')) {
      const variables = {
        server_uuid: identity(number),
        server_id: String(number),
        hostname: `n${number}`,
        port: String(own()),
        log_bin: 'ON',
        log_replica_updates: 'ON',
      };
      return Object.entries(variables).map(([Variable_name, Value]) => ({ Variable_name, Value }));
    }
    if (statement.startsWith("SHOW GLOBAL STATUS LIKE 'Uptime'")) return [{ Variable_name: 'Uptime', Value: '100000' }];
    if (/innodb_read_only/.test(statement)) {
      const readOnly = source === null ? 0 : 1;
      return [
        {
          read_only: readOnly,
          super_read_only: readOnly,
          server_id: number,
          gtid_executed: executed,
          max_connections: 151,
        },
      ];
    }
    if (statement.startsWith('SHOW REPLICA STATUS') && source !== null) {
      return [
        {
          Source_Host: '127.0.0.1',
          Source_Port: source.port(),
          Source_UUID: source.identity,
          Replica_IO_Running: 'Yes',
          Replica_SQL_Running: 'Yes',
          Retrieved_Gtid_Set: executed,
          Seconds_Behind_Source: 0,
          Last_IO_Errno: 0,
          Last_IO_Error: '',
          Last_SQL_Errno: 0,
          Last_SQL_Error: '',
          SQL_Delay: 0,
          Source_Log_File: 'binlog.000001',
          Read_Source_Log_Pos: 1000,
          Channel_Name: '',
          ...FURTHER_COLUMNS,
        },
      ];
    }
    return /^(?:SHOW|SELECT)/i.test(statement) ? [] : null;
  };
}

const primaries: StandIn[] = [];
const [clusterCount, nodeCount] = [Number(clusters), Number(nodes)];
for (let cluster = 0, number = 0; cluster < clusterCount; cluster++) {
  const size =
    Math.floor(((cluster + 1) * nodeCount) / clusterCount) - Math.floor((cluster * nodeCount) / clusterCount);
  const ports: number[] = [];
  let source: { port: () => number; identity: string } | null = null;
  for (let i = 0; i < size; i++) {
    number += 1;
    const node: StandIn = new StandIn(
      VERSION,
      answerOf(number, () => node.port, source),
      { steady: true },
    );
    await node.start();
    ports.push(node.port);
    if (i > 0) continue;
    primaries.push(node);
    source = { port: () => node.port, identity: identity(number) };
  }
  process.stdout.write(`${JSON.stringify(ports)}\n`);
}

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const primary = primaries[Number(line)];
    if (primary === undefined) throw new Error(`there is no cluster ${line}`);
    const at = Date.now();
    void primary.stop().then(() => process.stdout.write(`${JSON.stringify({ cluster: Number(line), at })}\n`));
  })
  .on('close', () => process.exit(0));
