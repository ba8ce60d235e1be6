// The entry of a worker process: `--control PATH --worker N`. It has no configuration of its own; the control process
// sends everything it needs to know.
import { parseArgs } from 'node:util';
import pino from 'pino';
import { ControlChannel } from './channel.ts';
import { GatewayWorker } from './gateway.ts';

/** How long a worker waits for a new control process before it takes no more clients. */
const ORPHAN_AFTER_MS = 5000;

const { values } = parseArgs({ options: { control: { type: 'string' }, worker: { type: 'string' } } });
const index = Number(values.worker);
if (values.control === undefined || !Number.isSafeInteger(index)) {
  process.stderr.write('usage: worker --control PATH --worker N (started by `evenkeel start`)\n');
  process.exit(2);
}

let gateway: GatewayWorker | null = null;
let log = pino({ level: 'info', base: { worker: index } }, pino.destination(2));

const channel = new ControlChannel({
  path: values.control,
  hello: () => ({ type: 'hello', pid: process.pid, worker: index }),
  orphanAfterMs: ORPHAN_AFTER_MS,
  onOrphaned: () => {
    log.warn('no control process: no new clients are taken');
    if (gateway === null) process.exit(1);
    gateway.orphan(() => process.exit(0));
  },
  onMessage: (message) => {
    if (message.type === 'configure' && gateway === null) {
      const { worker, workers, settings } = message;
      log = pino({ level: settings.logLevel, base: { worker } }, pino.destination(2));
      const send = channel.send.bind(channel);
      const nowMs = (): number => performance.now();
      gateway = new GatewayWorker({ worker, workers, settings, log, send, controlled: () => channel.connected, nowMs });
      gateway.listen().then(
        () => channel.send({ type: 'listening' }),
        (error: Error) => {
          channel.send({ type: 'failed', error: error.message });
          setTimeout(() => process.exit(1), 100);
        },
      );
      return;
    }
    // A control process that was restarted sends its settings again: they are the same, or it would have retired us.
    if (message.type === 'configure') channel.send({ type: 'listening' });
    else if (gateway !== null) gateway.onMessage(message);
    if (message.type === 'retire') waitForRetirement();
  },
});

/** `retired` was sent when the last client left; then there is nothing to stay for. */
function waitForRetirement(): void {
  const timer = setInterval(() => {
    if (gateway !== null && !gateway.closed) return;
    clearInterval(timer);
    channel.close();
    process.exitCode = 0;
    setTimeout(() => process.exit(0), 200);
  }, 20);
}

process.on('SIGTERM', () => {}); // the control process retires its workers; a signal to the whole group must not cut clients
process.on('SIGINT', () => {});
