// A worker without a data plane: speaks the control channel as a real one does, listens on the endpoints, and does
// what a test tells it over a socket of its own (`worker-N.sock` beside the control socket). Ends by itself when
// no control process has been there for a while, so that a test that fails leaves nothing behind.
import { rmSync } from 'node:fs';
import { createServer, connect as dial, type Server, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import type { ClusterRoute, FromWorker, ToWorker } from '../../src/messages/index.ts';
import { onLine } from './lines.ts';

export type FakeOrder =
  | { do: 'send'; message: FromWorker }
  /** From now on routes are taken in but not acknowledged. */
  | { do: 'be-deaf' }
  | { do: 'state' };

export interface FakeState {
  pid: number;
  version: number;
  clusters: ClusterRoute[];
  /** Everything but routes, the last hundred. */
  heard: ToWorker[];
}

const patienceMs = 5000;
const { control = '', worker = '0' } = parseArgs({
  options: { control: { type: 'string' }, worker: { type: 'string' } },
}).values;
const index = Number(worker);
const listeners: Server[] = [];
const state: FakeState = { pid: process.pid, version: 0, clusters: [], heard: [] };
let deaf = false;
let channel: Socket | null = null;
let lastSeenAt = performance.now();

function send(message: FromWorker): void {
  channel?.write(`${JSON.stringify(message)}\n`);
}

function listen(message: ToWorker & { type: 'configure' }): void {
  if (listeners.length > 0) return;
  let waiting = message.settings.endpoints.length;
  for (const { host, port } of message.settings.endpoints) {
    const server = createServer((socket) => socket.end(`${index}\n`));
    listeners.push(server);
    server.on('error', (error) => {
      send({ type: 'failed', error: error.message });
      setTimeout(() => process.exit(1), 20);
    });
    server.listen({ host, port, reusePort: true }, () => {
      waiting -= 1;
      if (waiting === 0) send({ type: 'listening' });
    });
  }
}

function take(message: ToWorker): void {
  if (message.type === 'routes') {
    state.version = message.version;
    state.clusters = message.clusters;
    if (!deaf) send({ type: 'routes-applied', version: message.version });
    return;
  }
  state.heard = [...state.heard.slice(-99), message];
  switch (message.type) {
    case 'configure':
      return listen(message);
    case 'drain':
      return send({ type: 'drained', id: message.id, cluster: message.cluster, endedTransactions: index + 1 });
    case 'impact-report': {
      const impact = { heldStatements: 3, longestStallMs: 10 * (index + 1), clientErrors: 1 };
      const { cluster, id, recovery } = message;
      return send({ type: 'impact', id, cluster, recovery, impact });
    }
    case 'pauses':
      if (!deaf) send({ type: 'pauses-applied', version: message.version });
      return;
    case 'open-ahead':
      return send({ type: 'opened-ahead', id: message.id, open: index + 1 });
    case 'quiesce':
      return send({ type: 'quiesced', id: message.id, inProgress: index });
    case 'digests-report': {
      const shape = { endpoint: 'writer', user: 'app', schema: null, statement: 'select ?' };
      const digests = [{ ...shape, count: 1 + index, errors: index, totalMs: 10, longestMs: 5 + index }];
      return send({ type: 'digests', id: message.id, digests });
    }
    case 'retire':
      for (const server of listeners) server.close();
      send({ type: 'retired' });
      setTimeout(() => process.exit(0), 20);
      return;
    case 'accounts':
    case 'defaults-replaced':
    case 'kill':
    case 'kill-answer':
    case 'reviewed':
  }
}

function connect(): void {
  const socket = dial(control);
  socket.on('connect', () => {
    channel = socket;
    send({ type: 'hello', pid: process.pid, worker: index });
  });
  onLine(socket, (line) => {
    lastSeenAt = performance.now();
    take(JSON.parse(line) as ToWorker);
  });
  socket.on('error', () => undefined);
  socket.on('close', () => {
    channel = null;
    if (performance.now() - lastSeenAt > patienceMs) process.exit(2);
    setTimeout(connect, 20);
  });
}

const orders = join(dirname(control), `worker-${index}.sock`);
rmSync(orders, { force: true });
createServer((socket) => {
  socket.on('error', () => undefined);
  onLine(socket, (line) => {
    const order = JSON.parse(line) as FakeOrder;
    if (order.do === 'send') send(order.message);
    if (order.do === 'be-deaf') deaf = true;
    socket.write(`${JSON.stringify(state)}\n`);
  });
}).listen(orders);
connect();
setInterval(() => {
  if (state.version > 0 && !deaf) send({ type: 'routes-applied', version: state.version });
}, 1000);
