// Authentication, both ways: verifying a client against an account (ServerAuth), and logging in to a server as a user
// (ServerLogin). What a login leaves behind, the Credential, is what the second needs from the first.
export { hostAllowed, hostInMessages, matchAccount, type AccountMatch } from './accounts.ts';
export { ServerLogin, type LoginStart, type ServerLoginOptions } from './client.ts';
export { refusal, type Refusal } from './errors.ts';
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
