// `evenkeel start`: runs the proxy in the foreground. Here the planes are joined: configuration, log, control process,
// HTTP. SIGTERM or SIGINT drains and ends with 0; a second one ends at once with 1.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import type { Logger } from 'pino';
import type { Config } from '../config/types.ts';
import type { ControlApi, HttpServer } from '../http/index.ts';
import { BREAKS_PROMISES, broken } from '../messages/index.ts';
import { DEFAULT_CONFIG_FILE } from './api-client.ts';
import { CommandFailure, UsageError } from './failure.ts';
import { type Output, terminal } from './output.ts';
import { provideToken } from './token.ts';

/** What `startControl` gives. */
export interface Control extends ControlApi {
  /** Stops listening, lets clients finish for at most `drainMs`, ends the workers. */
  stop(drainMs: number): Promise<void>;
  /** Settles only where the control process cannot go on; with the reason, as value or rejection. */
  done: Promise<unknown>;
}

/** What `serve` needs of the world; tests hand in their own. */
export interface ServeWorld {
  startControl(config: Config, log: Logger): Promise<Control>;
  createHttp(options: { http: Config['http']; api: ControlApi; token: string; log: Logger }): HttpServer;
  /** Resolves with the first signal's name; `exitNow` is called at the second. */
  signal: Promise<string>;
  log: Logger;
  output: Output;
}

/** In one line of the terminal. */
const MAX_NODES_NAMED = 5;

type End = { by: 'signal'; name: string } | { by: 'failure'; error: unknown };

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Why a cluster without a primary has none, as far as its nodes tell. */
function silentNodes(control: Control): string[] {
  return control
    .status()
    .clusters.filter((cluster) => cluster.primary === null)
    .flatMap((cluster) =>
      cluster.nodes
        .slice(0, MAX_NODES_NAMED)
        .map((node) => `${node.node} is ${node.state}${node.detail && ` (${node.detail})`}`),
    );
}

/** Says once what keeps clients waiting, each time that it changes, and when nothing does any more. */
function announceReadiness(control: Control, output: Output): () => void {
  let said = '';
  const look = () => {
    const { ready, reasons } = control.ready();
    const line = ready ? 'ready' : `not ready: ${[...reasons, ...silentNodes(control)].join('; ')}`;
    if (line === said) return;
    said = line;
    output.out(line);
  };
  look();
  return control.subscribe(look);
}

/** Runs until a signal (resolves) or until it cannot go on (rejects with CommandFailure). */
export async function serve(config: Config, world: ServeWorld): Promise<void> {
  const { log, output } = world;
  if (broken !== null) {
    output.out(
      `THIS EVENKEEL IS BROKEN ON PURPOSE (${BREAKS_PROMISES}=${broken}): it loses writes or applies them twice`,
    );
    log.error({ broken }, 'broken on purpose, for a test: writes are lost or applied twice');
  }
  const token = provideToken(config.stateDir, config.http.token);
  let control: Control;
  try {
    control = await world.startControl(config, log);
  } catch (error) {
    throw new CommandFailure(`cannot start: ${reason(error)}`);
  }
  const http = world.createHttp({ http: config.http, api: control, token, log });
  try {
    const { host, port } = await http.listen();
    for (const endpoint of control.status().endpoints) {
      output.out(`endpoint ${endpoint.name} listens on ${endpoint.listen}: ${endpoint.route} of ${endpoint.cluster}`);
    }
    output.out(`HTTP listens on ${host.includes(':') ? `[${host}]` : host}:${port}`);
  } catch (error) {
    await control.stop(0).catch(() => {});
    throw new CommandFailure(
      `cannot start: HTTP cannot listen on ${config.http.host}:${config.http.port} (${reason(error)}); change http.listen`,
    );
  }
  const unsubscribe = announceReadiness(control, output);
  const end = await Promise.race<End>([
    world.signal.then((name) => ({ by: 'signal', name })),
    control.done.then(
      (error) => ({ by: 'failure', error }),
      (error: unknown) => ({ by: 'failure', error }),
    ),
  ]);
  unsubscribe();
  if (end.by === 'signal') log.info({ signal: end.name, drainMs: config.shutdownTimeoutMs }, 'draining');
  // HTTP goes last, so that the drain can be watched.
  const stopped = await control.stop(end.by === 'signal' ? config.shutdownTimeoutMs : 0).then(
    () => null,
    (error: unknown) => ({ error }),
  );
  await http.close();
  if (end.by === 'failure') throw new CommandFailure(`cannot go on: ${reason(end.error)}`);
  if (stopped !== null) throw new CommandFailure(`the drain failed: ${reason(stopped.error)}`);
  log.info('stopped');
}

/** Resolves at the first SIGTERM or SIGINT; the second one ends the process at once. */
function firstSignal(flush: () => void): Promise<string> {
  return new Promise((resolve) => {
    let seen = false;
    for (const name of ['SIGTERM', 'SIGINT'] as const) {
      process.on(name, () => {
        if (!seen) {
          seen = true;
          resolve(name);
          return;
        }
        flush();
        process.exit(1);
      });
    }
  });
}

async function start(urls: string[], options: { config?: string }): Promise<void> {
  // The command line may hold the admin's password; this takes it out of the list of processes.
  process.title = 'evenkeel';
  const cwd = process.cwd();
  const file =
    options.config ??
    (urls.length === 0 && existsSync(join(cwd, DEFAULT_CONFIG_FILE)) ? DEFAULT_CONFIG_FILE : undefined);
  if (file !== undefined && urls.length > 0) throw new UsageError('give --config or URLs, not both');
  const [{ loadConfig }, { createLog }] = await Promise.all([import('../config/index.ts'), import('./log.ts')]);
  const config = loadConfig({ ...(file === undefined ? { urls } : { file }), env: process.env, cwd });
  const { log, flush } = createLog(config.log.level, process.stderr.isTTY);
  const signal = firstSignal(flush);
  const { preflight } = await import('./preflight.ts');
  await preflight(config.clusters);
  const [{ startControl }, { createHttp }] = await Promise.all([
    import('../control/index.ts'),
    import('../http/index.ts'),
  ]);
  try {
    await serve(config, { startControl, createHttp, signal, log, output: terminal });
  } finally {
    flush();
    // Whatever still holds the process open has had its time.
    setTimeout(() => process.exit(process.exitCode ?? 0), 1000).unref();
  }
}

export function startCommand(): Command {
  return new Command('start')
    .description('runs the proxy in the foreground')
    .argument('[urls...]', 'seeds of one cluster, as mysql://user:password@host:port, instead of a file')
    .option('--config <file>', `the configuration file (default: ./${DEFAULT_CONFIG_FILE})`)
    .addHelpText(
      'after',
      '\nExamples:\n  evenkeel start --config /etc/evenkeel.yaml\n  EVENKEEL_ADMIN_PASSWORD=secret evenkeel start mysql://evenkeel@db1:3306',
    )
    .action(start);
}
