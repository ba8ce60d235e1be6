// The HTTP interface as a client sees it, over real sockets: who may ask what, the bounds, the errors, the events.
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { connect } from 'node:net';
import { describe, test } from 'node:test';
import type { z } from 'zod';
import { EventStream } from '../../src/http/events.ts';
import { openapiDocument } from '../../src/http/openapi.ts';
import { ROUTES } from '../../src/http/routes.ts';
import { errorSchema } from '../../src/http/schemas.ts';
import { RECORD, STATUS, serveFake, stepEvent, TOKEN } from '../support/fake-control.ts';

const AUTHORIZED = { authorization: `Bearer ${TOKEN}` };
const JSON_TYPE = { 'content-type': 'application/json' };

/** Without fetch's own idea of what a Host header may be. */
function get(port: number, path: string, headers: Record<string, string>): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = request({ port, host: '127.0.0.1', path, headers, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    sent.on('error', reject);
    sent.end();
  });
}

async function assertError(response: Response, status: number, code: string): Promise<void> {
  const body: unknown = await response.json();
  assert.equal(response.status, status, JSON.stringify(body));
  assert.equal(errorSchema.parse(body).error.code, code);
}

describe('reading', () => {
  test('every answer on loopback has the shape that the document says', async () => {
    await using fake = await serveFake();
    for (const route of ROUTES.filter((one) => one.method === 'GET' && typeof one.answers !== 'string')) {
      const path = route.path.replace(':name', 'shop').replace(':id', RECORD.id);
      const response = await fetch(fake.base + path);
      assert.equal(response.status, 200, path);
      assert.equal(response.headers.get('cache-control'), 'no-store');
      const answers = route.answers as { schema: z.ZodType; list?: true };
      const body: unknown = await response.json();
      for (const one of answers.list ? (body as unknown[]) : [body]) answers.schema.parse(one);
    }
  });

  test('GET /api/v1/clusters answers in the shape of status --json', async () => {
    await using fake = await serveFake();
    assert.deepEqual(await (await fetch(`${fake.base}/api/v1/clusters`)).json(), STATUS);
  });

  test('/readyz answers 503 with the reasons while no client would be served', async () => {
    await using fake = await serveFake();
    fake.control.isReady = false;
    const response = await fetch(`${fake.base}/readyz`);
    assert.equal(response.status, 503);
    assert.deepEqual(await response.json(), { ready: false, reasons: ['cluster shop has no primary'] });
    assert.equal((await fetch(`${fake.base}/healthz`)).status, 200);
  });

  test('metrics are in the Prometheus text format', async () => {
    await using fake = await serveFake();
    const response = await fetch(`${fake.base}/metrics`);
    assert.equal(response.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
    assert.equal(await response.text(), 'evenkeel_up 1\n');
  });

  test('what is not there is 404, a wrong limit 400, a wrong method 405 with Allow', async () => {
    await using fake = await serveFake();
    await assertError(await fetch(`${fake.base}/nothing`), 404, 'not-found');
    await assertError(await fetch(`${fake.base}/api/v1/clusters/other`), 404, 'unknown-cluster');
    await assertError(await fetch(`${fake.base}/api/v1/history/r-2`), 404, 'not-found');
    for (const limit of ['0', '-1', '1001', 'x', '']) {
      await assertError(await fetch(`${fake.base}/api/v1/history?limit=${limit}`), 400, 'bad-request');
      await assertError(await fetch(`${fake.base}/api/v1/digests?limit=${limit}`), 400, 'bad-request');
    }
    await assertError(await fetch(`${fake.base}/api/v1/digests?sort=name`), 400, 'bad-request');
    const response = await fetch(`${fake.base}/api/v1/clusters`, { method: 'DELETE', headers: AUTHORIZED });
    assert.equal(response.headers.get('allow'), 'GET, HEAD');
    await assertError(response, 405, 'method-not-allowed');
    await assertError(await fetch(`${fake.base}/api/v1/clusters/shop/switchover`), 405, 'method-not-allowed');
  });

  test('an error inside is told to the log, not to the client', async () => {
    await using fake = await serveFake();
    fake.control.metrics = () => Promise.reject(new Error('a secret of ours'));
    const response = await fetch(`${fake.base}/metrics`);
    const text = await response.text();
    assert.equal(response.status, 500);
    assert.ok(!text.includes('secret'), text);
  });
});

describe('who may ask', () => {
  test('a page of another name in a local browser is kept out (DNS rebinding)', async () => {
    await using fake = await serveFake();
    for (const host of [
      'evil.example',
      'evil.example:6460',
      '127.0.0.1.evil.example',
      'localhost.evil',
      '10.0.0.1',
      '[::2]',
    ]) {
      assert.equal(await get(fake.port, '/api/v1/clusters', { host }), 403, host);
    }
    for (const host of ['localhost', `127.0.0.1:${fake.port}`, '[::1]:1', 'LOCALHOST:80']) {
      assert.equal(await get(fake.port, '/api/v1/clusters', { host }), 200, host);
    }
  });

  test('where it listens beyond loopback, reading needs the token, and health checks do not', async () => {
    await using fake = await serveFake({ host: '0.0.0.0' });
    for (const path of ['/metrics', '/api/v1/clusters', '/api/v1/events', '/api/v1/openapi.json', '/api/v1/history']) {
      const response = await fetch(fake.base + path);
      assert.equal(response.headers.get('www-authenticate'), 'Bearer');
      await assertError(response, 401, 'unauthorized');
      await assertError(await fetch(fake.base + path, { headers: { authorization: 'Bearer x' } }), 403, 'forbidden');
    }
    assert.equal((await fetch(`${fake.base}/api/v1/clusters`, { headers: AUTHORIZED })).status, 200);
    assert.equal((await fetch(`${fake.base}/healthz`)).status, 200);
    assert.equal((await fetch(`${fake.base}/readyz`)).status, 200);
    assert.equal(await get(fake.port, '/api/v1/clusters', { host: 'proxy.internal', ...AUTHORIZED }), 200);
  });

  test('changing needs the token, on loopback too', async () => {
    await using fake = await serveFake();
    for (const { path } of ROUTES.filter(({ method }) => method === 'POST')) {
      const url = fake.base + path.replace(':name', 'shop');
      await assertError(await fetch(url, { method: 'POST' }), 401, 'unauthorized');
      for (const authorization of ['Bearer wrong', `Bearer ${TOKEN}x`, `Bearer ${TOKEN.slice(1)}`]) {
        await assertError(await fetch(url, { method: 'POST', headers: { authorization } }), 403, 'forbidden');
      }
      for (const authorization of [TOKEN, `Basic ${TOKEN}`, 'Bearer']) {
        await assertError(await fetch(url, { method: 'POST', headers: { authorization } }), 401, 'unauthorized');
      }
    }
    assert.deepEqual(fake.control.orders, []);
  });
});

describe('orders', () => {
  const post = (base: string, verb: string, body?: string, headers: Record<string, string> = JSON_TYPE) =>
    fetch(`${base}/api/v1/clusters/shop/${verb}`, {
      method: 'POST',
      headers: { ...AUTHORIZED, ...headers },
      ...(body === undefined ? {} : { body }),
    });

  test('a switchover answers with its record, whatever its outcome', async () => {
    await using fake = await serveFake();
    assert.deepEqual(await (await post(fake.base, 'switchover', '{"to":"db2:3306"}')).json(), RECORD);
    fake.control.onOrder = () => Promise.resolve({ ...RECORD, outcome: 'rolled-back' });
    const response = await post(fake.base, 'failover', '{"force":true}');
    assert.equal(response.status, 200);
    assert.equal(((await response.json()) as typeof RECORD).outcome, 'rolled-back');
    assert.equal((await post(fake.base, 'switchover', undefined, {})).status, 200);
    assert.deepEqual(fake.control.orders, [
      { kind: 'switchover', cluster: 'shop', options: { to: 'db2:3306' } },
      { kind: 'failover', cluster: 'shop', options: { force: true } },
      { kind: 'switchover', cluster: 'shop', options: {} },
    ]);
  });

  test('an order that did not begin says why', async () => {
    await using fake = await serveFake();
    const cases = [
      ['unknown-node', 404],
      ['busy', 409],
      ['refused', 422],
    ] as const;
    for (const [code, status] of cases) {
      fake.control.onOrder = () => Promise.reject(Object.assign(new Error('because'), { code }));
      await assertError(await post(fake.base, 'switchover', '{}'), status, code);
    }
    fake.control.onOrder = () => Promise.reject(Object.assign(new Error('because'), { code: 'ECONNRESET' }));
    assert.equal((await post(fake.base, 'switchover', '{}')).status, 500);
  });

  test('a body that is no JSON, of another type, with other keys or too large is refused', async () => {
    await using fake = await serveFake();
    for (const body of [
      '{',
      'null',
      '[]',
      '"db2"',
      '{"to":1}',
      '{"to":""}',
      '{"tow":"db2"}',
      '{"force":true}',
      `{"to":"${'x'.repeat(400)}"}`,
    ]) {
      await assertError(await post(fake.base, 'switchover', body), 400, 'bad-request');
    }
    await assertError(
      await post(fake.base, 'switchover', '{}', { 'content-type': 'text/plain' }),
      415,
      'unsupported-media-type',
    );
    await assertError(await post(fake.base, 'switchover', ' '.repeat(17 * 1024)), 413, 'body-too-large');
    const url = `${fake.base}/api/v1/clusters/other/switchover`;
    await assertError(await fetch(url, { method: 'POST', headers: AUTHORIZED }), 404, 'unknown-cluster');
    assert.deepEqual(fake.control.orders, []);
  });

  test('a body that never ends is cut off at the bound', async () => {
    await using fake = await serveFake();
    const socket = connect(fake.port, '127.0.0.1');
    let answer = '';
    socket.on('data', (chunk: Buffer) => (answer += chunk.toString()));
    socket.on('error', () => {});
    socket.write(
      `POST /api/v1/clusters/shop/switchover HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${TOKEN}\r\n` +
        'Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n',
    );
    const chunk = `400\r\n${' '.repeat(1024)}\r\n`;
    const { promise, resolve } = Promise.withResolvers<void>();
    socket.on('close', resolve);
    const feed = () => {
      if (answer !== '' || socket.destroyed) socket.destroy();
      else socket.write(chunk, () => setImmediate(feed));
    };
    feed();
    await promise;
    assert.match(answer, /^HTTP\/1\.1 413 /);
    assert.deepEqual(fake.control.orders, []);
  });
});

describe('events', () => {
  /** Reads the stream until `enough` says so; returns what came. */
  async function read(
    url: string,
    enough: (text: string) => boolean,
    headers: Record<string, string> = {},
  ): Promise<string> {
    const abort = new AbortController();
    const response = await fetch(url, {
      headers,
      signal: AbortSignal.any([abort.signal, AbortSignal.timeout(10_000)]),
    });
    assert.equal(response.headers.get('content-type'), 'text/event-stream');
    let text = '';
    const decoder = new TextDecoder();
    for await (const chunk of response.body ?? []) {
      text += decoder.decode(chunk as Uint8Array, { stream: true });
      if (enough(text)) break;
    }
    abort.abort();
    return text;
  }

  test('a subscriber is told what happens, and after a break what it missed', async () => {
    await using fake = await serveFake();
    const url = `${fake.base}/api/v1/events`;
    let emitted = false;
    const first = await read(url, (text) => {
      if (!emitted) [0, 1, 2].forEach((index) => fake.control.emit(stepEvent(index)));
      emitted = true;
      return text.includes('"step 2"');
    });
    assert.match(first, /event: recovery-step\n/);
    const ids = [...first.matchAll(/^id: (.*)$/gm)].map(([, id]) => id ?? '');
    assert.equal(ids.length, 3);
    const again = await read(url, (text) => text.includes('"step 2"'), { 'last-event-id': ids[0] ?? '' });
    assert.deepEqual(
      [...again.matchAll(/^id: (.*)$/gm)].map(([, id]) => id),
      ids.slice(1),
    );
    assert.ok(!again.includes('event: reset'));
  });

  test('a subscriber whose last event is not known any more is told to read anew', async () => {
    await using fake = await serveFake();
    const text = await read(`${fake.base}/api/v1/events`, (all) => all.includes('event: reset'), {
      'last-event-id': 'x-5',
    });
    assert.match(text, /event: reset\n/);
  });

  test('silence is filled with heartbeats', async () => {
    await using fake = await serveFake({ heartbeatMs: 5 });
    await read(`${fake.base}/api/v1/events`, (text) => (text.match(/: heartbeat\n\n/g) ?? []).length >= 2);
  });

  test('closing ends the subscribers', async () => {
    const fake = await serveFake();
    const response = await fetch(`${fake.base}/api/v1/events`);
    await fake.server.close();
    await response.text();
  });

  test('a subscriber that does not read is ended at the bound of its queue, the others go on', async () => {
    const stream = new EventStream('run');
    const slow = stream.subscribe(null);
    const quick = stream.subscribe(null);
    assert.ok(slow !== null && quick !== null);
    for (let index = 0; index < 3000; index += 1) {
      stream.publish(stepEvent(index));
      assert.equal((await quick.next(1000)).state, 'event');
    }
    assert.deepEqual(await slow.next(1000), { state: 'ended', reason: 'overflow' });
    assert.equal(stream.subscribe('run-1')?.gap, true);
    assert.equal(stream.subscribe('run-2999')?.gap, false);
    assert.equal(stream.subscribe('run-9999')?.gap, true);
  });

  test('subscribers are bounded, and one that leaves makes room', () => {
    const stream = new EventStream('run');
    const all = Array.from({ length: 64 }, () => stream.subscribe(null));
    assert.ok(all.every((one) => one !== null));
    assert.equal(stream.subscribe(null), null);
    all[0]?.end();
    assert.notEqual(stream.subscribe(null), null);
  });
});

describe('the OpenAPI document', () => {
  interface Operation {
    responses: Record<string, { content?: object }>;
    parameters?: { name: string; in: string }[];
    requestBody?: object;
    operationId: string;
  }
  interface Document {
    paths: Record<string, Record<string, Operation>>;
    components: { schemas: Record<string, object> };
  }

  test('describes every route and nothing else', async () => {
    await using fake = await serveFake();
    const document = (await (await fetch(`${fake.base}/api/v1/openapi.json`)).json()) as Document;
    const described = Object.entries(document.paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const served = ROUTES.map((route) => `${route.method} ${route.path.replace(/:(\w+)/g, '{$1}')}`);
    assert.deepEqual(described.sort(), served.sort());
    for (const known of served) {
      const [method = '', path = ''] = known.split(' ');
      const response = await fetch(fake.base + path.replace(/\{\w+\}/, 'none'), { method, headers: AUTHORIZED });
      assert.notEqual(response.status, 405, known);
      await response.body?.cancel();
    }
  });

  test('has every schema that it refers to, every path parameter, and its own id for every operation', () => {
    const document = openapiDocument() as Document;
    const text = JSON.stringify(document);
    for (const [, name = ''] of text.matchAll(/#\/components\/schemas\/(\w+)/g)) {
      assert.ok(name in document.components.schemas, name);
    }
    const ids = new Set<string>();
    for (const [path, operations] of Object.entries(document.paths)) {
      for (const operation of Object.values(operations)) {
        const parameters = (operation.parameters ?? []).filter((one) => one.in === 'path').map((one) => one.name);
        assert.deepEqual(
          parameters,
          [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name),
        );
        assert.ok(!ids.has(operation.operationId), operation.operationId);
        ids.add(operation.operationId);
        assert.ok('200' in operation.responses);
      }
    }
  });
});
