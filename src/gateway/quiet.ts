// Commands of our own on a server connection, whose answers no client sees: session state being restored, a statement
// being prepared again. All are sent in one flight.
import {
  type AnswerShape,
  Capability,
  Command,
  type ErrPacket,
  HEADER_BYTES,
  PacketReader,
  queryPacket,
} from '../wire/index.ts';
import type { Exchange, Loss, ServerConnection } from './server-connection.ts';

export interface QuietCommand {
  /** A COM_QUERY as without query attributes; what the connection needs is added. */
  packet: Buffer;
  shape: AnswerShape;
  status: number;
  /** For the error's text. */
  what?: string;
  /** Takes the one value of the one row of its answer. */
  row?: (value: string) => void;
}

export type QuietResult =
  /** `statementId`: of the last COM_STMT_PREPARE among them. */
  | { kind: 'done'; statementId: number }
  /** The first error; the commands behind it were sent all the same. */
  | { kind: 'error'; err: ErrPacket; what: string }
  | { kind: 'lost'; loss: Loss };

/** Sends `commands`, and calls back once, when the last answer is there or the connection broke. */
export function runQuietly(
  link: ServerConnection,
  commands: readonly QuietCommand[],
  callback: (result: QuietResult) => void,
): void {
  let left = commands.length;
  let failure: QuietResult | null = null;
  let statementId = 0;
  if (left === 0) return callback({ kind: 'done', statementId });
  for (const command of commands) {
    const rows: Buffer[] = [];
    const exchange: Exchange = {
      shape: command.shape,
      clientCapabilities: Capability.DEPRECATE_EOF | Capability.SESSION_TRACK,
      status: command.status,
      forward: (piece) => void (command.row === undefined || rows.push(Buffer.from(piece))),
      ok: () => {},
      error: (err) => {
        failure ??= { kind: 'error', err, what: command.what ?? 'prepare' };
        return false;
      },
      localInfile: () => {
        throw new Error('a file was asked for where none was offered');
      },
      prepared: (id) => {
        statementId = id;
        return id;
      },
      end: () => {
        if (command.row !== undefined && failure === null) command.row(onlyValue(Buffer.concat(rows)));
        if (--left === 0) callback(failure ?? { kind: 'done', statementId });
      },
      lost: (loss) => {
        if (left <= 0) return;
        left = 0;
        callback({ kind: 'lost', loss });
      },
    };
    link.send(asSpoken(command.packet, link.capabilities), exchange);
  }
}

function asSpoken(packet: Buffer, capabilities: number): Buffer {
  if (packet[HEADER_BYTES] !== Command.QUERY) return packet;
  return queryPacket(packet.subarray(HEADER_BYTES + 1), capabilities);
}

/** A text result of one short column and one row: column count, definition, row, end. */
function onlyValue(answer: Buffer): string {
  const reader = new PacketReader(1 << 16);
  reader.push(answer);
  reader.next();
  reader.next();
  const row = reader.next()?.payload ?? Buffer.alloc(1);
  return row.toString('utf8', 1, 1 + (row[0] as number));
}
