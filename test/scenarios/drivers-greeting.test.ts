// The first packet decides what some drivers begin with, so clients are greeted as by the server itself.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Greeting } from '../../src/wire/index.ts';
import { withEvenkeel } from './harness/index.ts';
import { RawClient } from './raw-client.ts';

async function greetingAt(port: number): Promise<Greeting> {
  const client = await RawClient.open(port);
  const greeting = await client.greet();
  client.close();
  return greeting;
}

for (const flavor of ['mysql', 'mariadb'] as const) {
  test(`clients of ${flavor} are greeted with the server's version and collation`, { timeout: 60_000 }, async () => {
    await withEvenkeel({ flavor, replication: 'async', nodes: 1, workers: 1 }, async (ek) => {
      const seen = async (port: number): Promise<unknown> => {
        const { serverVersion, collation, status, authPlugin, nonce } = await greetingAt(port);
        return { serverVersion, collation, status, authPlugin, nonceBytes: nonce.length };
      };
      const direct = await seen((await ek.primary()).port);
      assert.deepEqual(await seen(ek.ports.writer), direct);
      assert.deepEqual(await seen(ek.ports.reader), direct);
    });
  });
}
