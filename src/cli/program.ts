// The command `evenkeel`: its verbs, and what becomes of an error. Verbs import what is heavy only when they run, so that
// `--help` is quick.
import { Command, CommanderError } from 'commander';
import { addNodeCommand } from './add-node.ts';
import { checkCommand } from './check.ts';
import { demoCommand } from './demo.ts';
import { digestsCommand } from './digests.ts';
import { drainCommand } from './drain.ts';
import { drillCommand } from './drill.ts';
import { errantCommand } from './errant.ts';
import { failoverCommand } from './failover.ts';
import { CommandFailure, UsageError } from './failure.ts';
import { historyCommand } from './history.ts';
import { maintenanceCommand } from './maintenance.ts';
import { pauseCommand } from './pause.ts';
import { rebuildCommand } from './rebuild.ts';
import { removeNodeCommand } from './remove-node.ts';
import { resumeCommand } from './resume.ts';
import { startCommand } from './start.ts';
import { statusCommand } from './status.ts';
import { switchoverCommand } from './switchover.ts';
import { topCommand } from './top.ts';
import { undrainCommand } from './undrain.ts';

function eachCommand(command: Command, visit: (command: Command) => void): void {
  visit(command);
  for (const child of command.commands) eachCommand(child, visit);
}

/** The sandbox brings a database driver along, which the help of the others need not wait for. */
async function sandbox(argv: readonly string[]): Promise<Command> {
  if (argv.includes('sandbox')) return (await import('./sandbox.ts')).sandboxCommand();
  return new Command('sandbox').description('a local cluster of real MySQL or MariaDB servers');
}

async function buildProgram(argv: readonly string[], version: string): Promise<Command> {
  const program = new Command('evenkeel')
    .description('One address for a MySQL or MariaDB cluster that never moves.')
    .version(version)
    .addHelpText(
      'after',
      '\nExample:\n  evenkeel start mysql://admin:password@db1:3306\n\nExit status: 0 done, 1 failed, 2 wrong usage or configuration.',
    );
  program.addCommand(startCommand());
  program.addCommand(checkCommand());
  program.addCommand(statusCommand());
  program.addCommand(topCommand());
  program.addCommand(switchoverCommand());
  program.addCommand(failoverCommand());
  program.addCommand(drainCommand());
  program.addCommand(undrainCommand());
  program.addCommand(pauseCommand());
  program.addCommand(resumeCommand());
  program.addCommand(maintenanceCommand());
  program.addCommand(errantCommand());
  program.addCommand(rebuildCommand());
  program.addCommand(addNodeCommand());
  program.addCommand(removeNodeCommand());
  program.addCommand(historyCommand());
  program.addCommand(digestsCommand());
  program.addCommand(await sandbox(argv));
  program.addCommand(demoCommand());
  program.addCommand(drillCommand());
  eachCommand(program, (command) => command.exitOverride().showHelpAfterError('(--help tells more)'));
  return program;
}

function report(error: unknown): number {
  // Commander has printed it already.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  const text = error instanceof Error ? error.message : String(error);
  const name = error instanceof Error ? error.name : '';
  for (const line of text.split('\n')) process.stderr.write(`evenkeel: ${line}\n`);
  if (error instanceof UsageError || name === 'ConfigError') return 2;
  const expected = error instanceof CommandFailure || name === 'SandboxError';
  if (!expected && error instanceof Error && process.env['EVENKEEL_DEBUG']) process.stderr.write(`${error.stack}\n`);
  return 1;
}

/** Runs the verb that `argv` (without program names) names; resolves with the exit status. */
export async function runCli(argv: readonly string[], version: string): Promise<number> {
  try {
    const program = await buildProgram(argv, version);
    await program.parseAsync([...argv], { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    return report(error);
  }
}
