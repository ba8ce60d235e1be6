// Rules of the configuration, as one worker applies them: of those for a client's endpoint and account the first that
// fits a statement counts. What ends a transaction is never refused.
import type { RuleSettings } from '../messages/index.ts';
import { shapeOf } from '../sql/index.ts';
import { Command, type ErrPacket } from '../wire/index.ts';
import { executes, type ServerRequest } from './command.ts';
import { gatewayError } from './errors.ts';
import type { LogicalStatement } from './prepared.ts';

/** The shapes of prepared texts, which are asked for at each execution. */
const preparedShapes = new WeakMap<LogicalStatement, string | null>();

function shapeOfRequest({ options, statement, text }: ServerRequest): string | null {
  if (text === null) return null;
  if (statement === null) return shapeOf(text, options);
  let shape = preparedShapes.get(statement.logical);
  if (shape === undefined) {
    shape = shapeOf(text, options);
    preparedShapes.set(statement.logical, shape);
  }
  return shape;
}

/** As many a second as are allowed, and as many at once. */
class Rate {
  readonly #perMs: number;
  readonly #most: number;
  #left: number;
  #atMs: number;

  constructor(perSecond: number, nowMs: number) {
    this.#perMs = perSecond / 1000;
    this.#most = Math.max(1, perSecond);
    this.#left = this.#most;
    this.#atMs = nowMs;
  }

  /** False: one too many. */
  take(nowMs: number): boolean {
    this.#left = Math.min(this.#most, this.#left + Math.max(0, nowMs - this.#atMs) * this.#perMs);
    this.#atMs = nowMs;
    if (this.#left < 1) return false;
    this.#left--;
    return true;
  }
}

/** One rule of this worker's. */
export class Rule {
  readonly name: string;
  readonly route: RuleSettings['route'];
  readonly refuse: string | null;
  readonly timeoutMs: number | null;
  readonly #schemas: readonly string[] | null;
  /** As each family of servers reads the example; a shape that cannot be is nobody's. */
  readonly #shapes: { mysql: string; mariadb: string } | null;
  readonly #rate: Rate | null;

  constructor(settings: RuleSettings, workers: number, nowMs: number) {
    const { maxPerSecond, name, refuse, route, schemas, statement, timeoutMs } = settings;
    this.name = name;
    this.route = route;
    this.refuse = refuse;
    this.timeoutMs = timeoutMs;
    this.#schemas = schemas;
    const shape = (flavor: 'mysql' | 'mariadb') => shapeOf(statement ?? '', { flavor }) ?? '';
    this.#shapes = statement === null ? null : { mysql: shape('mysql'), mariadb: shape('mariadb') };
    this.#rate = maxPerSecond === null ? null : new Rate(maxPerSecond / workers, nowMs);
  }

  fits(request: ServerRequest, schema: string | null, shape: () => string | null): boolean {
    if (this.#schemas !== null && (schema === null || !this.#schemas.includes(schema))) return false;
    return this.#shapes === null || this.#shapes[request.options.flavor] === shape();
  }

  /** Null: it may run. Its end is never kept from a transaction. */
  refusalOf({ sql: { kind } }: ServerRequest, nowMs: number): ErrPacket | null {
    if (kind === 'commit' || kind === 'rollback' || kind === 'savepoint') return null;
    if (this.refuse !== null) return gatewayError('refused-by-rule', `${this.name}: ${this.refuse}`);
    return this.#rate?.take(nowMs) === false ? gatewayError('rate-limited', this.name) : null;
  }

  /** How long the statement may take, ms; null: as long as it takes. Only what surely writes nothing is ever stopped. */
  limitOf({ reads, sql }: ServerRequest): number | null {
    return reads && !sql.flags.unknownFunction ? this.timeoutMs : null;
  }
}

/** Those for one endpoint and account, in their order. */
export class ClientRules {
  readonly #rules: readonly Rule[];

  constructor(rules: readonly Rule[]) {
    this.#rules = rules;
  }

  /** The one that counts; null where none fits. `schema`: the session's. */
  find(request: ServerRequest, schema: string | null): Rule | null {
    if (request.command !== Command.QUERY && !executes(request.command)) return null;
    let shape: string | null | undefined;
    const its = (): string | null => (shape === undefined ? (shape = shapeOfRequest(request)) : shape);
    return this.#rules.find((rule) => rule.fits(request, schema, its)) ?? null;
  }
}

/** All of a worker's. */
export class Rules {
  readonly #rules: { settings: RuleSettings; rule: Rule }[];
  readonly #byClient = new Map<string, ClientRules | null>();

  constructor(settings: readonly RuleSettings[], workers: number, nowMs: number) {
    this.#rules = settings.map((one) => ({ settings: one, rule: new Rule(one, workers, nowMs) }));
  }

  /** Null where there are none. */
  of(endpoint: string, user: string): ClientRules | null {
    if (this.#rules.length === 0) return null;
    const key = `${endpoint}\0${user}`;
    let found = this.#byClient.get(key);
    if (found === undefined) {
      const its = this.#rules.filter(
        ({ settings: { endpoints, users } }) =>
          (endpoints?.includes(endpoint) ?? true) && (users?.includes(user) ?? true),
      );
      found = its.length === 0 ? null : new ClientRules(its.map(({ rule }) => rule));
      this.#byClient.set(key, found);
    }
    return found;
  }
}
