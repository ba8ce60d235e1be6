// Prepared statements as one thing for all clients: the same text, prepared under the same schema, sql_mode and character
// sets, is one logical statement, whoever asked for it. Each server connection has its own id for it, and prepares it
// when it first meets it.
import type { ClassifyOptions } from '../sql/index.ts';
import type { LinkState } from './link-state.ts';

export interface LogicalStatement {
  readonly key: string;
  /** COM_STMT_PREPARE as it came. */
  readonly packet: Buffer;
  readonly sql: Buffer;
  /** The session's state when it was prepared: names in the text mean what they meant then. */
  readonly state: LinkState;
  readonly parameters: number;
  readonly columns: number;
  /** How it was read then. */
  readonly options: ClassifyOptions;
  /** MySQL takes the types of user variables from their values when it prepares: they belong to the statement, too. */
  readonly seesUserVariables: boolean;
}

export interface StatementShape {
  parameters: number;
  columns: number;
  options: ClassifyOptions;
  seesUserVariables: boolean;
}

/** Texts made to fill it up only lose the sharing. */
const MAX_KNOWN = 20_000;

export class StatementBook {
  #known = new Map<string, LogicalStatement>();

  /** The one statement for this text and state. */
  find(packet: Buffer, sql: Buffer, state: LinkState, shape: StatementShape): LogicalStatement {
    const { parameters, columns, options, seesUserVariables } = shape;
    const context = seesUserVariables ? state.key : state.preparesAs;
    const key = `${parameters}\0${columns}\0${JSON.stringify(options)}\0${context}\0${sql.toString('latin1')}`;
    const same = this.#known.get(key);
    if (same !== undefined) return same;
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    const statement = { key, packet: Buffer.from(packet), sql: Buffer.from(sql), state, ...shape };
    this.#known.set(key, statement);
    return statement;
  }
}

/** A statement as one server connection has it. */
export interface LinkStatement {
  readonly id: number;
  /** The parameter types that the server was told last, by whatever client. */
  types: Buffer | null;
  usedAt: number;
}

/** What is prepared on one server connection; at the limit the one not used for longest goes. */
export class LinkStatements {
  #statements = new Map<LogicalStatement, LinkStatement>();
  #uses = 0;
  /** Grows with every reset: what was being prepared before it is not there after it. */
  generation = 0;

  get(statement: LogicalStatement): LinkStatement | undefined {
    const found = this.#statements.get(statement);
    if (found !== undefined) found.usedAt = ++this.#uses;
    return found;
  }

  has(statement: LogicalStatement): boolean {
    return this.#statements.has(statement);
  }

  /** Adds one. Returns the ids that the server is to close: the one it takes the place of, or one too many. */
  add(statement: LogicalStatement, id: number, limit: number): number[] {
    const closed: number[] = [];
    const old = this.#statements.get(statement);
    if (old !== undefined) closed.push(old.id);
    this.#statements.set(statement, { id, types: null, usedAt: ++this.#uses });
    while (this.#statements.size > limit) {
      let oldest: [LogicalStatement, LinkStatement] | null = null;
      for (const entry of this.#statements) if (oldest === null || entry[1].usedAt < oldest[1].usedAt) oldest = entry;
      if (oldest === null || oldest[0] === statement) break;
      this.#statements.delete(oldest[0]);
      closed.push(oldest[1].id);
    }
    return closed;
  }

  /** All of them go, while what is being prepared stays to come. Returns the ids that the server is to close. */
  shed(): number[] {
    const closed = Array.from(this.#statements.values(), ({ id }) => id);
    this.#statements.clear();
    return closed;
  }

  clear(): void {
    this.generation++;
    this.#statements.clear();
  }

  get size(): number {
    return this.#statements.size;
  }
}
