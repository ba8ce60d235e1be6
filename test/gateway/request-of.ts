// A statement's text as the data plane reads it.
import assert from 'node:assert/strict';
import { readRequest, type ServerRequest } from '../../src/gateway/command.ts';
import { SessionState } from '../../src/gateway/session.ts';
import type { Flavor } from '../../src/messages/index.ts';
import { asPacket, queryPacket } from '../../src/wire/index.ts';

/** As a COM_QUERY of a new session. */
export function requestOf(sql: string, flavor: Flavor = 'mysql'): ServerRequest {
  const request = readRequest(asPacket(queryPacket(sql, 0)), new SessionState(45), flavor, 0);
  assert.equal(request.kind, 'server');
  return request;
}
