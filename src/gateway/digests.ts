// Statistics of statements by their shape, account and schema: how many, how many failed, how long they took. What is kept is
// bounded; statements of shapes beyond that are counted together.
import type { DigestCounts } from '../messages/index.ts';
import { shapeOf } from '../sql/index.ts';
import { Command } from '../wire/index.ts';
import type { Client } from './client.ts';
import { executes, type ServerRequest } from './command.ts';

/** Of all groups together. */
const MAX_ENTRIES = 2000;
const MAX_GROUPS = 500;
/** Digests of one group that are known to be of some shape: lists of different lengths are of one shape. */
const MAX_KNOWN = 5000;
const MAX_SHAPE_CHARS = 1024;
/** Where shapes, or accounts, are too many. */
const OTHERS = '';

interface Entry {
  count: number;
  errors: number;
  totalMs: number;
  longestMs: number;
}

/** Statements of one endpoint, account and schema. */
export class DigestGroup {
  readonly endpoint: string;
  readonly user: string;
  readonly schema: string | null;
  readonly shapes = new Map<string, Entry>();
  readonly #byDigest = new Map<number, Entry>();
  readonly #mayGrow: () => boolean;

  constructor(endpoint: string, user: string, schema: string | null, mayGrow: () => boolean) {
    this.endpoint = endpoint;
    this.user = user;
    this.schema = schema;
    this.#mayGrow = mayGrow;
  }

  note(request: ServerRequest, tookMs: number, failed: boolean): void {
    const entry = this.#byDigest.get(request.digest) ?? this.#entryOf(request);
    entry.count++;
    if (failed) entry.errors++;
    entry.totalMs += tookMs;
    if (tookMs > entry.longestMs) entry.longestMs = tookMs;
  }

  #entryOf({ digest, options, text }: ServerRequest): Entry {
    const shape = (text === null ? null : shapeOf(text, options)) ?? OTHERS;
    const known = this.#named(shape.length > MAX_SHAPE_CHARS ? `${shape.slice(0, MAX_SHAPE_CHARS - 1)}…` : shape);
    // 0 is the digest of what was not read.
    if (digest !== 0 && this.#byDigest.size < MAX_KNOWN) this.#byDigest.set(digest, known);
    return known;
  }

  #named(shape: string): Entry {
    const known = this.shapes.get(shape);
    if (known !== undefined) return known;
    if (shape !== OTHERS && !this.#mayGrow()) return this.#named(OTHERS);
    const entry = { count: 0, errors: 0, totalMs: 0, longestMs: 0 };
    this.shapes.set(shape, entry);
    return entry;
  }
}

/** All of a worker's. */
export class Digests {
  readonly #groups = new Map<string, DigestGroup>();
  #entries = 0;

  /** A statement has had its answer; `tookMs`: since it arrived. */
  note({ endpoint, session, tether, user }: Client, request: ServerRequest, tookMs: number, failed: boolean): void {
    if (request.command !== Command.QUERY && !executes(request.command)) return;
    const { schema } = session.state;
    let group = tether.digests;
    if (group === null || group.schema !== schema || group.user !== user) {
      group = this.groupOf(endpoint.name, user, schema);
      tether.digests = group;
    }
    group.note(request, tookMs, failed);
  }

  groupOf(endpoint: string, user: string, schema: string | null): DigestGroup {
    const key = JSON.stringify([endpoint, user, schema]);
    const known = this.#groups.get(key);
    if (known !== undefined) return known;
    if (this.#groups.size >= MAX_GROUPS && user !== OTHERS) return this.groupOf(endpoint, OTHERS, null);
    const group = new DigestGroup(endpoint, user, schema, () => this.#entries < MAX_ENTRIES && ++this.#entries > 0);
    this.#groups.set(key, group);
    return group;
  }

  report(): DigestCounts[] {
    return [...this.#groups.values()].flatMap(({ endpoint, schema, shapes, user }) =>
      [...shapes].map(([statement, entry]) => ({ endpoint, user, schema, statement, ...entry })),
    );
  }
}
