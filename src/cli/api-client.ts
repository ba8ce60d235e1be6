// How a verb finds a running Evenkeel and talks to it: the address by --api, --config or ./evenkeel.yaml, the token by
// --token-file, EVENKEEL_TOKEN, the configuration or the state directory. node:http rather than fetch, which gives up on
// an answer after five minutes, and a switchover may take longer.
import { existsSync, readFileSync } from 'node:fs';
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { CommandFailure, UsageError } from './failure.ts';

export interface ApiOptions {
  config?: string;
  api?: string;
  tokenFile?: string;
}

export const DEFAULT_CONFIG_FILE = 'evenkeel.yaml';
export const DEFAULT_API = 'http://127.0.0.1:6460';
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
const CONNECT_TIMEOUT_MS = 10_000;

/** The options of every verb that talks to a running Evenkeel. */
export function addApiOptions(command: Command): Command {
  return command
    .addOption(new Option('--config <file>', `its configuration file (default: ./${DEFAULT_CONFIG_FILE} if there)`))
    .addOption(new Option('--api <url>', `its HTTP address (default: ${DEFAULT_API})`).conflicts('config'))
    .option(
      '--token-file <file>',
      'file with the token (default: EVENKEEL_TOKEN, the configuration, the state directory)',
    );
}

export interface ApiTarget {
  base: URL;
  token: string | null;
}

function readToken(file: string): string | null {
  try {
    return readFileSync(file, 'utf8').trim() || null;
  } catch {
    return null;
  }
}

function parseBase(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !['http:', 'https:'].includes(url.protocol)) {
    throw new UsageError('--api is not an http:// URL; write it as http://127.0.0.1:6460');
  }
  return url;
}

/** A wildcard is listened on, not connected to. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  if (host === '::') return '[::1]';
  return host.includes(':') ? `[${host}]` : host;
}

/** Throws UsageError or ConfigError. */
export async function findApi(
  options: ApiOptions,
  env: Record<string, string | undefined>,
  cwd: string,
): Promise<ApiTarget> {
  const file = options.config ?? (existsSync(join(cwd, DEFAULT_CONFIG_FILE)) ? DEFAULT_CONFIG_FILE : undefined);
  let base = parseBase(options.api ?? DEFAULT_API);
  let stateDir = join(cwd, '.evenkeel');
  let configured: string | null = null;
  if (options.api === undefined && file !== undefined) {
    const { loadApiAddress } = await import('../config/index.ts');
    const address = loadApiAddress({ file, env, cwd });
    base = new URL(`http://${reachable(address.host)}:${address.port}`);
    ({ stateDir, token: configured } = address);
  }
  if (options.tokenFile !== undefined) {
    const token = readToken(options.tokenFile);
    if (token === null) throw new UsageError('--token-file cannot be read, or is empty');
    return { base, token };
  }
  return { base, token: (env['EVENKEEL_TOKEN'] || null) ?? configured ?? readToken(join(stateDir, 'token')) };
}

function open(
  target: ApiTarget,
  path: string,
  options: { method: 'GET' | 'POST'; body?: unknown },
): { request: ClientRequest; answered: Promise<IncomingMessage> } {
  const url = new URL(target.base);
  const [pathname = '', query] = path.split('?');
  url.pathname = url.pathname.replace(/\/$/, '') + pathname;
  url.search = query ?? '';
  const body = options.body === undefined ? null : JSON.stringify(options.body);
  const request = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, {
    method: options.method,
    agent: false,
    headers: {
      accept: 'application/json',
      ...(target.token === null ? {} : { authorization: `Bearer ${target.token}` }),
      ...(body === null ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
    },
  });
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const timer = setTimeout(() => request.destroy(new Error('no connection in time')), CONNECT_TIMEOUT_MS);
  request.once('socket', (socket) => socket.once('connect', () => clearTimeout(timer)));
  request.once('response', resolve);
  request.on('error', reject);
  request.once('close', () => clearTimeout(timer));
  request.end(body ?? undefined);
  return { request, answered: promise };
}

function unreachable(target: ApiTarget, error: unknown): CommandFailure {
  const code = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
  return new CommandFailure(
    `no Evenkeel answers at ${target.base.origin} (${code}); is it running? name it with --config FILE or --api URL`,
  );
}

async function readAnswer(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_ANSWER_BYTES) throw new Error('the answer is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** The JSON of a successful answer; anything else rejects with CommandFailure. */
export async function callApi<T>(
  target: ApiTarget,
  path: string,
  options: { method: 'GET' | 'POST'; body?: unknown } = { method: 'GET' },
): Promise<T> {
  let text: string;
  let status: number;
  try {
    const response = await open(target, path, options).answered;
    status = response.statusCode ?? 0;
    text = await readAnswer(response);
  } catch (error) {
    throw unreachable(target, error);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new CommandFailure(`what answers at ${target.base.origin} is not Evenkeel (HTTP ${status}, not JSON)`);
  }
  if (status === 200) return value as T;
  const message = (value as { error?: { message?: unknown } } | null)?.error?.message;
  const hint =
    status === 401 || status === 403
      ? '; give the token by --token-file, EVENKEEL_TOKEN, or run where its state directory is'
      : '';
  throw new CommandFailure(`${typeof message === 'string' ? message : `HTTP ${status}`}${hint}`);
}

/**
 * Calls `onEvent` with the data of every event until closed; resolves when the stream is open. A stream that cannot be had
 * or ends is no error: events are for showing progress, the answer comes by itself.
 */
export async function followEvents(target: ApiTarget, onEvent: (data: unknown) => void): Promise<{ close(): void }> {
  const { request, answered } = open(target, '/api/v1/events', { method: 'GET' });
  const opened = Promise.withResolvers<void>();
  void answered
    .then(async (response) => {
      let buffer = '';
      response.setEncoding('utf8');
      for await (const chunk of response as AsyncIterable<string>) {
        opened.resolve();
        buffer += chunk;
        if (buffer.length > MAX_ANSWER_BYTES) return;
        const blocks = buffer.split('\n\n');
        buffer = blocks.pop() ?? '';
        for (const block of blocks) {
          const data = /^data: (.*)$/m.exec(block)?.[1];
          if (data !== undefined) onEvent(JSON.parse(data));
        }
      }
    })
    .catch(() => {})
    .finally(() => opened.resolve());
  await opened.promise;
  return { close: () => void request.destroy() };
}
