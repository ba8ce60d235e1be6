// The control process's end of the channel to its workers: JSON messages (src/messages), one a line, over a unix
// domain socket that only our own user can reach. Lines in and bytes waiting to go out are bounded; a peer
// that breaks a bound or sends anything but our messages loses its connection, never the process.
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { type FromWorker, LineDecoder, maxLineBytes, type ToWorker } from '../messages/index.ts';

/** What may wait for a worker that does not read, before its connection is ended. */
const maxOutgoingBytes = 2 * maxLineBytes;

const fromWorkerTypes: ReadonlySet<string> = new Set<FromWorker['type']>([
  'hello',
  'listening',
  'failed',
  'routes-applied',
  'pauses-applied',
  'quiesced',
  'digests',
  'drained',
  'opened-ahead',
  'evidence',
  'refresh-accounts',
  'defaults-replaced',
  'kill',
  'kill-answer',
  'impact',
  'counters',
  'retired',
]);

function parseFromWorker(line: string): FromWorker {
  const value: unknown = JSON.parse(line);
  if (typeof value !== 'object' || value === null || !('type' in value) || typeof value.type !== 'string') {
    throw new TypeError('not a message');
  }
  if (!fromWorkerTypes.has(value.type)) throw new TypeError('unknown message type');
  return value as FromWorker;
}

/** One connection of one worker. */
export class Link {
  readonly #socket: Socket;
  onMessage: (message: FromWorker) => void = () => undefined;
  /** Called once; `reason` is empty where the peer simply closed. */
  onClose: (reason: string) => void = () => undefined;
  #reason = '';

  constructor(socket: Socket) {
    this.#socket = socket;
    const decoder = new LineDecoder();
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const line of decoder.push(chunk)) {
          if (line !== '') this.onMessage(parseFromWorker(line));
        }
      } catch (error) {
        this.close(`bad message from worker: ${error instanceof Error ? error.message : 'unreadable'}`);
      }
    });
    socket.on('error', (error) => {
      this.#reason ||= error.message;
    });
    socket.on('close', () => this.onClose(this.#reason));
  }

  /** False where the connection is gone or was ended because its peer does not read. */
  send(message: ToWorker): boolean {
    if (this.#socket.destroyed || !this.#socket.writable) return false;
    this.#socket.write(`${JSON.stringify(message)}\n`);
    if (this.#socket.writableLength > maxOutgoingBytes) {
      this.close('worker does not read its messages');
      return false;
    }
    return true;
  }

  close(reason: string): void {
    this.#reason ||= reason;
    this.#socket.destroy();
  }
}

export interface ChannelServer {
  close(): Promise<void>;
}

/**
 * Listens on `path`, which must be free or left over: the caller holds the state directory's lock.
 * Every connection becomes a Link; who it is, its first message tells.
 */
export async function listenChannel(
  path: string,
  { onLink, onLost }: { onLink: (link: Link) => void; onLost: (error: Error) => void },
): Promise<ChannelServer> {
  rmSync(path, { force: true });
  const links = new Set<Socket>();
  const server: Server = createServer((socket) => {
    links.add(socket);
    socket.on('close', () => links.delete(socket));
    onLink(new Link(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      server.on('error', onLost);
      resolve();
    });
  });
  chmodSync(path, 0o600);
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of links) socket.destroy();
      }),
  };
}
