// `evenkeel switchover`: moves the primary, planned; prints the timeline and the longest stall that a client saw.
import { Command } from 'commander';
import { addApiOptions } from './api-client.ts';
import { giveOrder, type OrderOptions } from './orders.ts';

export function switchoverCommand(): Command {
  const command = new Command('switchover')
    .description('moves the primary, planned: prints the timeline and the longest stall that a client saw')
    .option('--to <node>', 'the new primary, host:port (default: the best candidate)')
    .option('--cluster <name>', 'of which cluster, where there are several')
    .option('--json', 'the record as JSON, at the end');
  return addApiOptions(command)
    .addHelpText('after', '\nExample:\n  evenkeel switchover --to db2:3306')
    .action((options: OrderOptions) => giveOrder('switchover', options));
}
