// `evenkeel digests`: which statements run through Evenkeel, how often, and how long they take, by their shape.
import { Command, Option } from 'commander';
import { DIGEST_ORDERS, type DigestCounts, type DigestOrder } from '../messages/index.ts';
import { type ApiOptions, addApiOptions, callApi, findApi } from './api-client.ts';
import { printable, shorten, showMs, table, terminal } from './output.ts';
import { wholeNumber } from './values.ts';

interface DigestsOptions extends ApiOptions {
  json?: true;
  sort: DigestOrder;
  limit: number;
}

/** Of a statement in a table; `--json` has it whole. */
const SHOWN_CHARS = 120;

function digestsTable(digests: readonly DigestCounts[]): string[] {
  const rows = digests.map(({ count, endpoint, errors, longestMs, schema, statement, totalMs, user }) => [
    String(count),
    String(errors),
    showMs(totalMs),
    showMs(totalMs / Math.max(count, 1)),
    showMs(longestMs),
    endpoint,
    printable(user) || '(others)',
    printable(schema ?? '-'),
    shorten(statement, SHOWN_CHARS) || '(others)',
  ]);
  const head = ['COUNT', 'ERRORS', 'TIME', 'AVERAGE', 'LONGEST', 'ENDPOINT', 'USER', 'SCHEMA', 'STATEMENT'];
  return table([head, ...rows]);
}

export function digestsCommand(): Command {
  const command = new Command('digests')
    .description('the statements that run through Evenkeel, by their shape: how many, how long')
    .option('--json', 'as JSON')
    .addOption(new Option('--sort <by>', 'most first').choices(DIGEST_ORDERS).default('time'))
    .addOption(new Option('--limit <count>', 'at most so many').argParser(wholeNumber(1, 1000)).default(20));
  return addApiOptions(command)
    .addHelpText('after', '\nExample:\n  evenkeel digests --sort longest --limit 5')
    .action(async (options: DigestsOptions) => {
      const target = await findApi(options, process.env, process.cwd());
      const query = new URLSearchParams({ sort: options.sort, limit: String(options.limit) });
      const digests = await callApi<DigestCounts[]>(target, `/api/v1/digests?${query.toString()}`);
      if (options.json) terminal.out(JSON.stringify(digests, null, 2));
      else if (digests.length === 0) terminal.out('no statement yet');
      else for (const line of digestsTable(digests)) terminal.out(line);
    });
}
