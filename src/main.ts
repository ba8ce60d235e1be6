// The entry of the command `evenkeel`; bin/evenkeel finds the runtime and starts this.
import { readFileSync } from 'node:fs';
import { runCli } from './cli/program.ts';

const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };

process.exitCode = await runCli(process.argv.slice(2), manifest.version);
