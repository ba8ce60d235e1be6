// The HTTP server: guards in front of the list of routes, errors as JSON, bounds on everything a stranger can send.
import type { Server } from 'node:http';
import { createAdaptorServer } from '@hono/node-server';
import { type Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import type { Logger } from 'pino';
import type { ControlApi } from './api.ts';
import { EventStream } from './events.ts';
import { bearerToken, hostAllowed, isLoopbackHost, sameToken } from './guard.ts';
import { openapiDocument } from './openapi.ts';
import { HttpError, type Route, type Services } from './requests.ts';
import { ROUTES } from './routes.ts';

export interface HttpOptions {
  /** Where to listen. Port 0: the system chooses. */
  http: { host: string; port: number };
  api: ControlApi;
  /** What changes must bring along, and reading too where `http.host` is not loopback. */
  token: string;
  log: Logger;
  /** Silence on the event stream after which a heartbeat is sent. */
  heartbeatMs?: number;
}

export interface HttpServer {
  /** Rejects with the system's error (EADDRINUSE, EACCES …). */
  listen(): Promise<{ host: string; port: number }>;
  /** Ends event streams and idle connections at once and waits for what is being answered. */
  close(): Promise<void>;
}

const MAX_BODY_BYTES = 16 * 1024;
const MAX_CONNECTIONS = 512;
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
const CLOSE_TIMEOUT_MS = 2000;

function answerError(context: Context, error: HttpError): Response {
  return context.json({ error: { code: error.code, message: error.message } }, error.status);
}

function authorize(context: Context, route: Route, options: HttpOptions): void {
  const open = route.access === 'open' || (route.access === 'read' && isLoopbackHost(options.http.host));
  if (open) return;
  const given = bearerToken(context.req.header('authorization'));
  if (given === null) {
    context.header('www-authenticate', 'Bearer');
    throw new HttpError(401, 'unauthorized', 'send the token: Authorization: Bearer TOKEN');
  }
  if (!sameToken(given, options.token)) throw new HttpError(403, 'forbidden', 'the token is wrong');
}

function buildApp(options: HttpOptions, services: Services): Hono {
  const app = new Hono();
  app.use(async (context, next) => {
    context.header('cache-control', 'no-store');
    context.header('x-content-type-options', 'nosniff');
    if (!hostAllowed(context.req.header('host'), options.http.host)) {
      throw new HttpError(403, 'host-not-allowed', 'the Host header names neither localhost nor a loopback address');
    }
    await next();
  });
  const tooLarge = () => {
    throw new HttpError(413, 'body-too-large', `the body is larger than ${MAX_BODY_BYTES} bytes`);
  };
  const paths = new Map<string, string[]>();
  for (const route of ROUTES) {
    const methods = route.method === 'GET' ? ['GET', 'HEAD'] : [route.method];
    paths.set(route.path, [...(paths.get(route.path) ?? []), ...methods]);
    app.on(
      route.method,
      route.path,
      async (context, next) => {
        authorize(context, route, options);
        await next();
      },
      bodyLimit({ maxSize: MAX_BODY_BYTES, onError: tooLarge }),
      (context) => route.handle(context, services),
    );
  }
  for (const [path, methods] of paths) {
    app.all(path, (context) => {
      context.header('allow', methods.join(', '));
      throw new HttpError(405, 'method-not-allowed', `answers only to ${methods.join(', ')}`);
    });
  }
  app.notFound((context) => answerError(context, new HttpError(404, 'not-found', 'there is nothing at this path')));
  app.onError((error, context) => {
    if (error instanceof HttpError) return answerError(context, error);
    options.log.error({ err: error, path: context.req.path }, 'an HTTP request failed');
    return context.json({ error: { code: 'internal', message: 'an error inside Evenkeel; its log tells more' } }, 500);
  });
  return app;
}

export function createHttp(options: HttpOptions): HttpServer {
  const events = new EventStream(Date.now().toString(36));
  const openapi = openapiDocument();
  const app = buildApp(options, {
    api: options.api,
    events,
    heartbeatMs: options.heartbeatMs ?? 15_000,
    openapi: () => openapi,
  });
  const server = createAdaptorServer({
    fetch: app.fetch,
    serverOptions: { headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS, maxHeaderSize: 16 * 1024 },
  }) as Server;
  server.maxConnections = MAX_CONNECTIONS;
  const unsubscribe = options.api.subscribe((event) => events.publish(event));

  return {
    listen: async () => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      server.once('error', reject);
      server.listen(options.http.port, options.http.host, resolve);
      await promise;
      server.off('error', reject);
      server.on('error', (error) => options.log.error({ err: error }, 'the HTTP server failed'));
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : options.http.port;
      return { host: options.http.host, port };
    },
    close: async () => {
      unsubscribe();
      events.close();
      if (!server.listening) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      server.close(() => resolve());
      // A connection is idle only when its answer is out, which may be after this turn.
      const idle = setInterval(() => server.closeIdleConnections(), 20);
      const late = setTimeout(() => server.closeAllConnections(), CLOSE_TIMEOUT_MS);
      await promise;
      clearInterval(idle);
      clearTimeout(late);
    },
  };
}
