// What routes are made of: their description, the reading of requests, and the errors that are answers.
import type { Context } from 'hono';
import type { z } from 'zod';
import type { ControlApi } from './api.ts';
import type { EventStream } from './events.ts';
import type { ErrorCode } from './schemas.ts';

/** An answer that is an error: `{ error: { code, message } }`. */
export class HttpError extends Error {
  readonly status: 400 | 401 | 403 | 404 | 405 | 409 | 413 | 415 | 422 | 503;
  readonly code: ErrorCode;

  constructor(status: HttpError['status'], code: ErrorCode, message: string) {
    super(message);
    this.name = 'HttpError';
    this.status = status;
    this.code = code;
  }
}

export interface Services {
  api: ControlApi;
  events: EventStream;
  heartbeatMs: number;
  openapi: () => object;
}

export interface Route {
  method: 'GET' | 'POST';
  /** `:name` marks a parameter. */
  path: string;
  /** `open`: to everyone, for health checks. `read`: open on loopback. `change`: with the token, everywhere. */
  access: 'open' | 'read' | 'change';
  summary: string;
  query?: Record<string, string>;
  body?: { name: string; schema: z.ZodType };
  /** The successful answer; a string is a content type. */
  answers: { name: string; schema: z.ZodType; list?: true } | string;
  errors: HttpError['status'][];
  handle: (context: Context, services: Services) => Response | Promise<Response>;
}

/** Rejects with an HttpError where the body does not fit the schema. */
export async function readBody<T>(context: Context, schema: z.ZodType<T>): Promise<T> {
  const text = await context.req.text();
  if (text !== '' && !/^application\/json *(;|$)/i.test(context.req.header('content-type') ?? '')) {
    throw new HttpError(415, 'unsupported-media-type', 'send the body as application/json');
  }
  let value: unknown;
  try {
    value = text === '' ? {} : JSON.parse(text);
  } catch {
    throw new HttpError(400, 'bad-request', 'the body is not JSON');
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [first] = result.error.issues;
  const where = first?.path.join('.') ?? '';
  throw new HttpError(
    400,
    'bad-request',
    `the body does not fit: ${where === '' ? '' : `${where}: `}${first?.message}`,
  );
}

const ORDER_STATUS = {
  'unknown-cluster': 404,
  'unknown-endpoint': 404,
  'unknown-node': 404,
  busy: 409,
  refused: 422,
} as const;

/** Carries an order out; a rejection with an OrderErrorCode becomes its answer. */
export async function order<T>(run: () => T | Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined;
    if (typeof code !== 'string' || !Object.hasOwn(ORDER_STATUS, code)) throw error;
    const known = code as keyof typeof ORDER_STATUS;
    throw new HttpError(ORDER_STATUS[known], known, (error as Error).message);
  }
}

/** Throws an HttpError where there is none of the name. */
export function clusterName(context: Context, api: ControlApi): string {
  const name = context.req.param('name') ?? '';
  if (api.status().clusters.some((cluster) => cluster.name === name)) return name;
  throw new HttpError(404, 'unknown-cluster', 'there is no cluster of this name');
}

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> };

/** Without the keys that are undefined. */
export function compact<T extends object>(value: T): Defined<T> {
  return Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== undefined)) as Defined<T>;
}
