// A client that does actions over a connection of the plain protocol, and gives each one's whole answer.
import {
  Capability,
  Command,
  commandPacket,
  type ServerLogin as Exchange,
  frame,
  parseErr,
  ServerLogin,
} from '../../../src/wire/index.ts';
import { AnswerReader, type Prepared } from './answers.ts';
import type { Account, Action, Parameter, ParameterType, Slot, Wire } from './types.ts';

/** What the names in braces stand for. */
export type Words = Record<'a' | 'b' | 'c' | 'k' | 'id' | 't', string>;

interface Statement extends Prepared {
  /** Of the last execute that sent them. */
  types: ParameterType[] | null;
  /** Parameters whose value went ahead for the next execute. */
  ahead: Set<number>;
}

const UTF8MB4 = 45;

export class SequenceClient {
  readonly #wire: Wire;
  readonly #reader: AnswerReader;
  readonly #words: Words;
  readonly #accounts: Record<'app' | 'other', Account>;
  #statements = new Map<Slot, Statement>();

  constructor(wire: Wire, words: Words, accounts: Record<'app' | 'other', Account>) {
    this.#wire = wire;
    this.#reader = new AnswerReader(wire);
    this.#words = words;
    this.#accounts = accounts;
  }

  /** Does it, and reads all of its answer: one line a packet. */
  async perform(action: Action): Promise<string[]> {
    switch (action.do) {
      case 'query':
        this.#send(Command.QUERY, this.#fill(action.sql));
        return this.#reader.results();
      case 'init-db':
        this.#send(Command.INIT_DB, this.#fill(action.schema));
        return this.#reader.single();
      case 'ping':
        this.#send(Command.PING);
        return this.#reader.single();
      case 'reset-connection':
        this.#statements.clear();
        this.#send(Command.RESET_CONNECTION);
        return this.#reader.single();
      case 'change-user':
        this.#statements.clear();
        return this.#changeUser(this.#accounts[action.user], action.schema === null ? '' : this.#fill(action.schema));
      case 'multi-statements':
        this.#send(Command.SET_OPTION, Buffer.from([action.on ? 0 : 1, 0]));
        return this.#reader.single();
      case 'prepare':
        return this.#prepare(action.slot, this.#fill(action.sql));
      case 'execute':
      case 'long-data':
      case 'fetch':
      case 'statement-reset':
      case 'statement-close': {
        // One that is not there is told so by the proxy, in words of its own.
        const statement = this.#statements.get(action.slot);
        return statement === undefined ? [] : this.#withStatement(statement, action);
      }
    }
  }

  async #withStatement(
    statement: Statement,
    action: Extract<Action, { slot: Slot; do: Exclude<Action['do'], 'prepare'> }>,
  ): Promise<string[]> {
    switch (action.do) {
      case 'execute':
        return this.#execute(statement, action);
      case 'long-data':
        return this.#longData(statement, action);
      case 'fetch':
        return this.#fetch(statement, action.rows);
      case 'statement-reset':
        statement.ahead.clear();
        this.#send(Command.STMT_RESET, idBytes(statement.id));
        return this.#reader.single();
      case 'statement-close':
        // Has no answer.
        this.#send(Command.STMT_CLOSE, idBytes(statement.id));
        this.#statements.delete(action.slot);
        return [];
    }
  }

  #send(command: number, argument: Buffer | string = ''): void {
    this.#wire.write(commandPacket(command, argument));
  }

  #fill(text: string): string {
    return text.replace(/\{(a|b|c|k|id|t)\}/g, (_, word: keyof Words) => this.#words[word]);
  }

  async #prepare(slot: Slot, sql: string): Promise<string[]> {
    const before = this.#statements.get(slot);
    if (before !== undefined) this.#send(Command.STMT_CLOSE, idBytes(before.id));
    this.#statements.delete(slot);
    this.#send(Command.STMT_PREPARE, sql);
    const { lines, statement } = await this.#reader.prepared();
    if (statement !== null) this.#statements.set(slot, { ...statement, types: null, ahead: new Set() });
    return lines;
  }

  #execute(statement: Statement, { values, types, cursor }: Action & { do: 'execute' }): Promise<string[]> {
    const { ahead } = statement;
    const kept = types === 'kept' && ahead.size === 0 ? statement.types : null;
    const bound = Array.from({ length: statement.parameters }, (_, i): Parameter => {
      const value = values[i % Math.max(1, values.length)] ?? { type: 'long', number: i };
      if (ahead.has(i)) return { type: 'blob', number: 0 };
      return kept === null ? value : { ...value, type: kept[i] ?? 'long' };
    });
    if (kept === null) statement.types = bound.map(({ type }) => type);
    statement.ahead = new Set();
    const head = Buffer.alloc(9);
    head.writeUInt32LE(statement.id, 0);
    head[4] = cursor ? 1 : 0;
    head.writeUInt32LE(1, 5);
    this.#send(Command.STMT_EXECUTE, Buffer.concat([head, bindings(bound, kept === null, ahead)]));
    return this.#reader.results();
  }

  /** Has no answer; for a parameter that is not there, one family would answer a later command with an error. */
  #longData(statement: Statement, { parameter, text }: Action & { do: 'long-data' }): string[] {
    if (parameter >= statement.parameters) return [];
    statement.ahead.add(parameter);
    const index = Buffer.alloc(2);
    index.writeUInt16LE(parameter, 0);
    this.#send(Command.STMT_SEND_LONG_DATA, Buffer.concat([idBytes(statement.id), index, Buffer.from(text)]));
    return [];
  }

  #fetch(statement: Statement, rows: number): Promise<string[]> {
    const count = Buffer.alloc(4);
    count.writeUInt32LE(rows, 0);
    this.#send(Command.STMT_FETCH, Buffer.concat([idBytes(statement.id), count]));
    return this.#reader.fetched();
  }

  async #changeUser({ user, password }: Account, schema: string): Promise<string[]> {
    const { nonce = Buffer.alloc(20), authPlugin = '' } = this.#wire.greeting ?? {};
    const credential = { kind: 'plaintext' as const, password: Buffer.from(password) };
    const transport = { tls: false, local: false };
    const { capabilities } = this.#wire;
    const exchange = new ServerLogin({ user, credential, nonce, authPlugin, transport, capabilities });
    const start = exchange.start();
    if (start.kind === 'fail') throw new Error(start.message);
    const charset = Buffer.alloc(2);
    charset.writeUInt16LE(UTF8MB4, 0);
    const attributes = (capabilities & Capability.CONNECT_ATTRS) === 0 ? Buffer.alloc(0) : Buffer.from([0]);
    const argument = [
      Buffer.from(`${user}\0`),
      Buffer.from([start.authResponse.length]),
      start.authResponse,
      Buffer.from(`${schema}\0`),
      charset,
      Buffer.from(`${start.authPlugin}\0`),
      attributes,
    ];
    this.#send(Command.CHANGE_USER, Buffer.concat(argument));
    return this.#authenticate(exchange);
  }

  /** How many rounds it takes is no part of the answer: caches of passwords decide it. */
  async #authenticate(exchange: Exchange): Promise<string[]> {
    for (;;) {
      const { payload, lastSequence } = await this.#wire.packet();
      if (payload[0] === 0xff) {
        const { errno, sqlState, message } = parseErr(payload);
        return [`ERR ${errno} ${sqlState} ${message}`];
      }
      const step = exchange.step(payload);
      if (step.kind === 'done') return [`changed to another user: OK`];
      if (step.kind === 'fail') throw new Error(step.message);
      if (step.kind === 'send') this.#wire.write(frame(step.payload, lastSequence + 1));
    }
  }
}

function idBytes(id: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(id, 0);
  return bytes;
}

const NOTHING = Buffer.alloc(0);

const TYPE_CODES: Record<ParameterType, number> = {
  tiny: 0x01,
  long: 0x03,
  longlong: 0x08,
  double: 0x05,
  string: 0xfd,
  blob: 0xfc,
  datetime: 0x0c,
};

/** Null bits, types where they are sent, values. */
function bindings(values: readonly Parameter[], withTypes: boolean, ahead: ReadonlySet<number>): Buffer {
  if (values.length === 0) return NOTHING;
  const nulls = Buffer.alloc((values.length + 7) >> 3);
  for (const [i, { number }] of values.entries()) {
    if (number === null) nulls[i >> 3] = (nulls[i >> 3] ?? 0) | (1 << (i & 7));
  }
  const types = withTypes ? [1, ...values.flatMap(({ type }) => [TYPE_CODES[type], 0])] : [0];
  return Buffer.concat([
    nulls,
    Buffer.from(types),
    ...values.map((value, i) => (ahead.has(i) ? NOTHING : encoded(value))),
  ]);
}

function encoded({ type, number }: Parameter): Buffer {
  if (number === null) return NOTHING;
  const value = Buffer.alloc(8);
  switch (type) {
    case 'tiny':
      value.writeInt8(Math.trunc(number) % 128);
      return value.subarray(0, 1);
    case 'long':
      value.writeInt32LE(Math.trunc(number));
      return value.subarray(0, 4);
    case 'longlong':
      value.writeBigInt64LE(BigInt(Math.trunc(number)));
      return value;
    case 'double':
      value.writeDoubleLE(number);
      return value;
    case 'string':
    case 'blob': {
      const text = Buffer.from(`${number} ä`);
      return Buffer.concat([Buffer.from([text.length]), text]);
    }
    case 'datetime':
      value[0] = 7;
      value.writeUInt16LE(2000 + (Math.abs(Math.trunc(number)) % 100), 1);
      value.set([2, 28, 23, 59, 58], 3);
      return value;
  }
}
