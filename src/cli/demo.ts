// `evenkeel demo`: a sandbox, the proxy, a workload and a killed primary on one screen. Not there yet.
import { Command } from 'commander';
import { CommandFailure } from './failure.ts';

export function demoCommand(): Command {
  return new Command('demo')
    .description('sandbox, proxy, a running workload and a killed primary, and what the client saw')
    .option('--json', 'the verdict as JSON, at the end')
    .addHelpText('after', '\nExample:\n  evenkeel demo')
    .action(() => {
      throw new CommandFailure('the demo is not available yet');
    });
}
