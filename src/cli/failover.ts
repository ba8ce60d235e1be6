// `evenkeel failover`: forces one where the operator knows more than the detector.
import { Command } from 'commander';
import { addApiOptions } from './api-client.ts';
import { giveOrder, type OrderOptions } from './orders.ts';

export function failoverCommand(): Command {
  const command = new Command('failover')
    .description('promotes a replica without the help of the primary, where you know more than the detector')
    .option('--to <node>', 'the new primary, host:port (default: the most advanced eligible replica)')
    .option('--cluster <name>', 'of which cluster, where there are several')
    .option('--force', 'promote even where acknowledged writes may be lost by it')
    .option('--json', 'the record as JSON, at the end');
  return addApiOptions(command)
    .addHelpText('after', '\nExample:\n  evenkeel failover --to db3:3306')
    .action((options: OrderOptions) => giveOrder('failover', options));
}
