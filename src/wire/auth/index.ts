// Authentication, both ways: verifying a client against an account (ServerAuth), and logging in to a server as a user
// (ServerLogin). What a login leaves behind, the Credential, is what the second needs from the first.
export { type AccountMatch, hostAllowed, hostInMessages, matchAccount } from './accounts.ts';
export { type LoginStart, ServerLogin, type ServerLoginOptions } from './client.ts';
export { type Refusal, refusal } from './errors.ts';
export { PlaintextCache } from './plaintexts.ts';
export type { RsaKeys } from './plugins.ts';
export { loadRsaKeys, makeNonce, ServerAuth, type ServerAuthRequest, type ServerAuthServices } from './server.ts';
export type {
  AuthFailure,
  ClientAuthStep,
  Credential,
  LoginFailure,
  ServerAuthStep,
  Transport,
} from './types.ts';
