// What a server's error says of the server.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isCutOff, isReadOnlyNode } from '../../src/gateway/evidence.ts';

const error = (errno: number, message: string) => ({ errno, sqlState: 'HY000', message });

test('a member that was cut off from its cluster is told from a cluster that refuses, and from a full disk', () => {
  const status = (text: string) => `Error while appending streaming replication fragment(provider status: ${text})`;
  assert.equal(isCutOff(error(1180, status('Not connected to Primary Component'))), true);
  assert.equal(isCutOff(error(1180, status('Requested size exceeded'))), false);
  assert.equal(isCutOff(error(1180, 'Got error 28 "No space left on device" during COMMIT')), false);
});

test('a node that takes no writes says so in several ways, and a refused file is none of them', () => {
  const option = (name: string) => `The server is running with the ${name} option so it cannot execute this statement`;
  assert.equal(isReadOnlyNode(error(1290, option('--super-read-only'))), true);
  assert.equal(isReadOnlyNode(error(1290, option('--secure-file-priv'))), false);
  assert.equal(isReadOnlyNode(error(1047, 'WSREP has not yet prepared node for application use')), true);
  assert.equal(isReadOnlyNode(error(1047, 'Unknown command')), false);
});
