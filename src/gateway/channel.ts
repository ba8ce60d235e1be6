// The worker's end of the channel to the control process. A control process that dies takes no client with it: the
// worker goes on with the routes that it has, and tries to reach whoever comes after it under the same path.
import net, { type Socket } from 'node:net';
import { type FromWorker, LineDecoder, type ToWorker } from '../messages/index.ts';

const RETRY_MS = 100;
/** Evidence and counters that nobody reads are not worth more memory than this. */
const MAX_OUTGOING_BYTES = 8 * 1024 * 1024;

export interface ChannelOptions {
  path: string;
  /** Said first on every connection. */
  hello(): FromWorker;
  onMessage(message: ToWorker): void;
  /** Without a control process for this long: called once. */
  orphanAfterMs: number;
  onOrphaned(): void;
}

export class ControlChannel {
  connected = false;
  #options: ChannelOptions;
  #socket: Socket | null = null;
  #lostAtMs = performance.now();
  #orphaned = false;
  #closed = false;

  constructor(options: ChannelOptions) {
    this.#options = options;
    this.#connect();
  }

  send(message: FromWorker): void {
    const socket = this.#socket;
    if (socket === null || !this.connected) return;
    if (socket.writableLength > MAX_OUTGOING_BYTES) {
      socket.destroy();
      return;
    }
    socket.write(`${JSON.stringify(message)}\n`);
  }

  /** Sends what is under way, and stays silent from then on. */
  close(): void {
    this.#closed = true;
    this.#socket?.end();
  }

  #connect(): void {
    const socket = net.connect({ path: this.#options.path });
    const lines = new LineDecoder();
    this.#socket = socket;
    socket.on('connect', () => {
      this.connected = true;
      this.send(this.#options.hello());
    });
    socket.on('data', (chunk: Buffer) => {
      for (const line of lines.push(chunk)) this.#options.onMessage(JSON.parse(line) as ToWorker);
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#onClose());
  }

  #onClose(): void {
    if (this.connected) this.#lostAtMs = performance.now();
    this.connected = false;
    this.#socket = null;
    if (this.#closed) return;
    if (!this.#orphaned && performance.now() - this.#lostAtMs > this.#options.orphanAfterMs) {
      this.#orphaned = true;
      this.#options.onOrphaned();
    }
    setTimeout(() => this.#connect(), RETRY_MS).unref();
  }
}
