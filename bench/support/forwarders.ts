// The peers that are other people's programs: HAProxy passing TCP through, and MySQL Router with connection sharing.
// Each has one thread, as Evenkeel has one worker, a directory of its own, and ends with the benchmark.
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findTool, freePorts } from '../../src/sandbox/index.ts';
import { until } from './cluster.ts';
import { killNow, leashed, onExit } from './processes.ts';
import { progress } from './report.ts';
import type { Target } from './sysbench.ts';

/** A program that clients connect to instead of the server. */
export interface Forwarder {
  target: Target;
  pid: number;
}

const START_DEADLINE_MS = 15_000;
const MAX_CLIENTS = 4000;

export async function withHaproxy<T>(server: Target, work: (haproxy: Forwarder) => Promise<T>): Promise<T> {
  const { argv0, env } = await findTool('haproxy', progress);
  return forward('HAProxy', server, work, async (dir, port) => {
    const file = join(dir, 'haproxy.cfg');
    await writeFile(
      file,
      `global
  nbthread 1
  maxconn ${MAX_CLIENTS}
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen mysql
  bind 127.0.0.1:${port}
  server node ${server.host}:${server.port}
`,
    );
    return { argv: [...argv0, '-db', '-q', '-f', file], env };
  });
}

const BARE = new URL('bare-forwarder.ts', import.meta.url).pathname;

/** A program that passes bytes on, in the runtime that Evenkeel runs in. */
export async function withBare<T>(server: Target, work: (bare: Forwarder) => Promise<T>): Promise<T> {
  return forward('the bare forwarder', server, work, (_dir, port) => {
    const argv = [process.execPath, BARE, `${port}`, server.host, `${server.port}`];
    return Promise.resolve({ argv, env: {} });
  });
}

export interface RouterOptions {
  /** From clients to it and from it to the server; the server's own certificate is shown, from its data directory. */
  tls: { dataDir: string } | null;
  threads: number;
}

export async function withRouter<T>(
  server: Target,
  options: RouterOptions,
  work: (router: Forwarder) => Promise<T>,
): Promise<T> {
  const { argv0, env, root } = await findTool('mysqlrouter', progress);
  return forward('MySQL Router', server, work, async (dir, port) => {
    const file = join(dir, 'router.conf');
    // Unpacked where it does not belong, it cannot know where its plug-ins are.
    const plugins = root === null ? [] : [`plugin_folder=${root}/usr/lib/mysqlrouter/plugin`];
    await writeFile(
      file,
      [
        '[DEFAULT]',
        ...['logging_folder', 'runtime_folder', 'data_folder'].map((name) => `${name}=${dir}`),
        ...plugins,
        `max_total_connections=${MAX_CLIENTS}`,
        '[logger]',
        'level=warning',
        '[io]',
        `threads=${options.threads}`,
        '[connection_pool]',
        // What its own set-up writes.
        'max_idle_server_connections=64',
        '[routing:classic]',
        'bind_address=127.0.0.1',
        `bind_port=${port}`,
        `destinations=${server.host}:${server.port}`,
        'routing_strategy=first-available',
        'protocol=classic',
        'connection_sharing=1',
        `max_connections=${MAX_CLIENTS}`,
        ...(await routerTls(options.tls, dir)),
        '',
      ].join('\n'),
    );
    return { argv: [...argv0, '-c', file], env };
  });
}

async function routerTls(tls: RouterOptions['tls'], dir: string): Promise<string[]> {
  if (tls === null) return ['client_ssl_mode=DISABLED', 'server_ssl_mode=DISABLED'];
  for (const name of ['server-key.pem', 'server-cert.pem']) await copyFile(join(tls.dataDir, name), join(dir, name));
  return [
    'client_ssl_mode=REQUIRED',
    `client_ssl_key=${dir}/server-key.pem`,
    `client_ssl_cert=${dir}/server-cert.pem`,
    'server_ssl_mode=REQUIRED',
  ];
}

async function forward<T>(
  name: string,
  server: Target,
  work: (forwarder: Forwarder) => Promise<T>,
  prepare: (dir: string, port: number) => Promise<{ argv: string[]; env: Record<string, string> }>,
): Promise<T> {
  const dir = await mkdtemp(join(tmpdir(), 'evenkeel-peer-'));
  const forgetDir = onExit(() => rmSync(dir, { recursive: true, force: true }));
  try {
    const [port = 0] = await freePorts(1);
    const { argv, env } = await prepare(dir, port);
    const [program = '', ...args] = leashed(argv);
    const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-2000);
    });
    const pid = child.pid ?? -1;
    const forgetChild = onExit(() => killNow(pid));
    const exited = new Promise<void>((resolve) => {
      child.once('exit', () => resolve());
      child.once('error', () => resolve());
    });
    try {
      await until(`${name} to listen`, START_DEADLINE_MS, async () => {
        if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode}: ${said}`);
        return listens(port);
      });
      return await work({ target: { ...server, port }, pid });
    } finally {
      child.kill('SIGKILL');
      await exited;
      forgetChild();
    }
  } finally {
    forgetDir();
    await rm(dir, { recursive: true, force: true });
  }
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
