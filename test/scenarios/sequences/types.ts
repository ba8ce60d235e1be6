// What one client does, as data: it can be generated, shrunk, printed, and done again over another connection.
// In SQL and names, {a}, {b} and {c} stand for the client's own schemas, {k} for a word of its own, {id} for the
// connection id of its greeting; {t} for the column's name of the isolation level, which the families call differently.
import type { Packet } from '../../../src/wire/index.ts';

/** A parameter of a prepared statement: `number` is written in the form of the type, null as NULL of this type. */
export interface Parameter {
  type: ParameterType;
  number: number | null;
}

export type ParameterType = 'tiny' | 'long' | 'longlong' | 'double' | 'string' | 'blob' | 'datetime';

/** The prepared statements of a client have places, so that a sequence stays meaningful when it is shortened. */
export type Slot = 0 | 1 | 2;

export type Action =
  | { do: 'query'; sql: string }
  | { do: 'init-db'; schema: string }
  | { do: 'ping' }
  | { do: 'reset-connection' }
  | { do: 'change-user'; user: 'app' | 'other'; schema: string | null }
  | { do: 'multi-statements'; on: boolean }
  | { do: 'prepare'; slot: Slot; sql: string }
  | { do: 'execute'; slot: Slot; values: Parameter[]; types: 'sent' | 'kept'; cursor: boolean }
  | { do: 'long-data'; slot: Slot; parameter: number; text: string }
  | { do: 'fetch'; slot: Slot; rows: number }
  | { do: 'statement-reset'; slot: Slot }
  | { do: 'statement-close'; slot: Slot };

/** One client's life: how it logs in, and what it does then. */
export interface Sequence {
  /** Bits beside those that every client sets. */
  capabilities: number;
  database: string | null;
  actions: Action[];
}

/** What is needed of a connection of the plain protocol, logged in. */
export interface Wire {
  readonly capabilities: number;
  readonly greeting: { connectionId: number; nonce: Buffer; authPlugin: string } | null;
  write(bytes: Buffer): void;
  /** The next packet; throws where the connection ends or nothing comes for long. */
  packet(): Promise<Packet>;
  close(): void;
}

export interface Account {
  user: string;
  password: string;
}

/** Opens a connection one way or the other. */
export type Connect = (login: { capabilities: number; database: string | null }) => Promise<Wire>;
