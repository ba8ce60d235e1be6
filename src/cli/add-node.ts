// `evenkeel add-node HOST:PORT`: an empty server becomes a replica of the cluster. The endpoints do not change.
import { readFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import { type ApiOptions, addApiOptions, findApi } from './api-client.ts';
import { UsageError } from './failure.ts';
import { clusterOf, giveOrder } from './orders.ts';
import { durationMs } from './values.ts';

interface AddOptions extends ApiOptions {
  json?: true;
  cluster?: string;
  from?: string;
  user?: string;
  passwordFile?: string;
  keepData?: true;
  wait: string;
}

function credentials({ user, passwordFile }: AddOptions): { user: string; password: string } | undefined {
  if (user === undefined) return undefined;
  if (passwordFile === undefined) return { user, password: process.env['EVENKEEL_NODE_PASSWORD'] ?? '' };
  try {
    return { user, password: readFileSync(passwordFile, 'utf8').replace(/\r?\n$/, '') };
  } catch {
    throw new UsageError('--password-file cannot be read');
  }
}

async function addNode(node: string, options: AddOptions): Promise<void> {
  const returnWaitMs = await durationMs('--wait', options.wait, { min: 1000, max: 86_400_000 });
  const login = credentials(options);
  const cluster = await clusterOf(await findApi(options, process.env, process.cwd()), options.cluster);
  const body = {
    node,
    returnWaitMs,
    ...(options.from === undefined ? {} : { from: options.from }),
    ...(options.keepData === undefined ? {} : { keepData: true }),
    ...(login === undefined ? {} : { credentials: login }),
  };
  await giveOrder('add-node', { ...options, cluster }, body);
}

export function addNodeCommand(): Command {
  const command = new Command('add-node')
    .description('makes an empty server a replica of the cluster, with the data and the accounts of another node')
    .argument('<node>', 'host:port')
    .option('--cluster <name>', 'of which cluster, where there are several')
    .option('--from <node>', 'where the data comes from (default: a sound replica, else the primary)')
    .option('--user <name>', 'an account that the server has now (default: the admin account of the cluster)')
    .addOption(new Option('--password-file <file>', 'its password (default: EVENKEEL_NODE_PASSWORD)'))
    .option('--keep-data', "it has the cluster's data already, from a backup: nothing is copied")
    .option('--wait <duration>', 'how long its server may take to come back after the clone', '30m')
    .option('--json', 'the record as JSON, at the end');
  return addApiOptions(command)
    .addHelpText('after', '\nExample:\n  evenkeel add-node db4:3306 --user root --password-file root.pw')
    .action(addNode);
}
