// Every route as data: how it is called, what it answers, and what the OpenAPI document says of it. server.ts registers
// this list and openapi.ts describes it, so neither can know of a route that the other does not.
import type { Context } from 'hono';
import { streamSSE } from 'hono/streaming';
import { DIGEST_ORDERS, type DigestOrder } from '../messages/index.ts';
import { ORDER_ROUTES } from './orders.ts';
import { clusterName, compact, HttpError, order, type Route, readBody, type Services } from './requests.ts';
import {
  clusterSchema,
  digestSchema,
  failoverBody,
  healthSchema,
  readySchema,
  recoverySchema,
  statusSchema,
  switchoverBody,
} from './schemas.ts';

export const MAX_LISTED = 1000;
const DEFAULT_LISTED = 100;
const LIMIT_TEXT = `1 to ${MAX_LISTED}; ${DEFAULT_LISTED} if absent`;

function listLimit(text: string | undefined): number {
  if (text === undefined) return DEFAULT_LISTED;
  const limit = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (limit >= 1 && limit <= MAX_LISTED) return limit;
  throw new HttpError(400, 'bad-request', `limit is not a whole number from 1 to ${MAX_LISTED}`);
}

function digestOrder(text: string | undefined): DigestOrder {
  const order = DIGEST_ORDERS.find((one) => one === (text ?? 'time'));
  if (order !== undefined) return order;
  throw new HttpError(400, 'bad-request', `sort is not one of ${DIGEST_ORDERS.join(', ')}`);
}

function streamEvents(context: Context, { events, heartbeatMs }: Services): Response {
  const subscription = events.subscribe(context.req.header('last-event-id') ?? null);
  if (subscription === null) {
    throw new HttpError(503, 'too-many-subscribers', 'too many subscribers to the events; close some');
  }
  return streamSSE(context, async (stream) => {
    stream.onAbort(() => subscription.end());
    // A comment at once, so that the subscriber's connection is known to be open before anything happens.
    await stream.write(': evenkeel events\n\n');
    if (subscription.gap) await stream.writeSSE({ event: 'reset', data: '{}' });
    for (;;) {
      const next = await subscription.next(heartbeatMs);
      if (next.state === 'ended' || stream.aborted) break;
      if (next.state === 'quiet') await stream.write(': heartbeat\n\n');
      else {
        const { id, event } = next.event;
        await stream.writeSSE({ id, event: event.type, data: JSON.stringify(event) });
      }
    }
    subscription.end();
  });
}

export const ROUTES: readonly Route[] = [
  {
    method: 'GET',
    path: '/healthz',
    access: 'open',
    summary: 'The process is alive',
    answers: { name: 'Health', schema: healthSchema },
    errors: [],
    handle: (context) => context.json({ status: 'ok' }),
  },
  {
    method: 'GET',
    path: '/readyz',
    access: 'open',
    summary: 'Every endpoint would serve a client now (200), or would not, and why (503)',
    answers: { name: 'Ready', schema: readySchema },
    errors: [],
    handle: (context, { api }) => {
      const ready = api.ready();
      return context.json(ready, ready.ready ? 200 : 503);
    },
  },
  {
    method: 'GET',
    path: '/metrics',
    access: 'read',
    summary: 'Metrics for Prometheus',
    answers: 'text/plain; version=0.0.4; charset=utf-8',
    errors: [],
    handle: async (context, { api }) =>
      context.body(await api.metrics(), 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }),
  },
  {
    method: 'GET',
    path: '/api/v1/clusters',
    access: 'read',
    summary: 'All clusters and endpoints, in the shape of `evenkeel status --json`',
    answers: { name: 'Status', schema: statusSchema },
    errors: [],
    handle: (context, { api }) => context.json(api.status()),
  },
  {
    method: 'GET',
    path: '/api/v1/clusters/:name',
    access: 'read',
    summary: 'One cluster',
    answers: { name: 'Cluster', schema: clusterSchema },
    errors: [404],
    handle: (context, { api }) => {
      const name = clusterName(context, api);
      return context.json(api.status().clusters.find((cluster) => cluster.name === name));
    },
  },
  {
    method: 'POST',
    path: '/api/v1/clusters/:name/switchover',
    access: 'change',
    summary: 'Moves the primary, planned; answers when it has ended, however it ended',
    body: { name: 'SwitchoverOrder', schema: switchoverBody },
    answers: { name: 'Recovery', schema: recoverySchema },
    errors: [400, 404, 409, 413, 415, 422],
    handle: async (context, { api }) => {
      const name = clusterName(context, api);
      const body = await readBody(context, switchoverBody);
      return context.json(await order(() => api.switchover(name, compact(body))));
    },
  },
  {
    method: 'POST',
    path: '/api/v1/clusters/:name/failover',
    access: 'change',
    summary: 'Promotes a replica without the help of the primary; answers when it has ended',
    body: { name: 'FailoverOrder', schema: failoverBody },
    answers: { name: 'Recovery', schema: recoverySchema },
    errors: [400, 404, 409, 413, 415, 422],
    handle: async (context, { api }) => {
      const name = clusterName(context, api);
      const body = await readBody(context, failoverBody);
      return context.json(await order(() => api.failover(name, compact(body))));
    },
  },
  ...ORDER_ROUTES,
  {
    method: 'GET',
    path: '/api/v1/history',
    access: 'read',
    summary: 'Recoveries, newest first',
    query: { cluster: 'Only of this cluster', limit: LIMIT_TEXT },
    answers: { name: 'Recovery', schema: recoverySchema, list: true },
    errors: [400],
    handle: (context, { api }) => {
      const cluster = context.req.query('cluster');
      const limit = listLimit(context.req.query('limit'));
      return context.json(api.history({ ...(cluster === undefined ? {} : { cluster }), limit }));
    },
  },
  {
    method: 'GET',
    path: '/api/v1/history/:id',
    access: 'read',
    summary: 'One recovery with its timeline',
    answers: { name: 'Recovery', schema: recoverySchema },
    errors: [404],
    handle: (context, { api }) => {
      const record = api.recovery(context.req.param('id') ?? '');
      if (record === null) throw new HttpError(404, 'not-found', 'there is no recovery of this id');
      return context.json(record);
    },
  },
  {
    method: 'GET',
    path: '/api/v1/digests',
    access: 'read',
    summary: 'Statements by endpoint, account, schema and shape, since their worker started',
    query: { sort: `${DIGEST_ORDERS.join(', ')}: most first; time if absent`, limit: LIMIT_TEXT },
    answers: { name: 'Digest', schema: digestSchema, list: true },
    errors: [400],
    handle: async (context, { api }) => {
      const limit = listLimit(context.req.query('limit'));
      return context.json(await api.digests({ order: digestOrder(context.req.query('sort')), limit }));
    },
  },
  {
    method: 'GET',
    path: '/api/v1/events',
    access: 'read',
    summary: 'Server-sent events (schema Event); `reset` says that events were missed and the state must be read anew',
    answers: 'text/event-stream',
    errors: [503],
    handle: streamEvents,
  },
  {
    method: 'GET',
    path: '/api/v1/openapi.json',
    access: 'read',
    summary: 'This document',
    answers: 'application/json',
    errors: [],
    handle: (context, { openapi }) => context.json(openapi()),
  },
];
