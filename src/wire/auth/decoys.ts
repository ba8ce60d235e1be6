// An unknown user must not be told apart from a wrong password. Like MariaDB, we let such a login run the exchange of
// an account that could have been there; unlike it, no password opens the decoy. The same name always meets the same
// decoy, so asking twice tells nothing.
import { createHmac } from 'node:crypto';
import type { Account, Flavor } from '../../messages/index.ts';
import { SERVER_PLUGINS } from './plugins.ts';

function unopenable(plugin: string, seed: Buffer): Pick<Account, 'stored' | 'encoding'> {
  const chars = seed
    .toString('base64')
    .replace(/[^A-Za-z0-9]/g, '.')
    .padEnd(43, '.')
    .slice(0, 43);
  // Salts of real accounts are 7-bit and hold neither a zero byte nor `$`.
  const salt = Buffer.from(seed.subarray(0, 20).map((byte) => (byte & 0x3f) + 0x30));
  switch (plugin) {
    case 'caching_sha2_password': {
      const stored = Buffer.concat([Buffer.from('$A$005$'), salt, Buffer.from(chars)]);
      return { stored: stored.toString('base64'), encoding: 'base64' };
    }
    case 'sha256_password': {
      const stored = Buffer.concat([Buffer.from('$5$'), salt, Buffer.from('$'), Buffer.from(chars)]);
      return { stored: stored.toString('base64'), encoding: 'base64' };
    }
    case 'ed25519':
      return { stored: seed.toString('base64').slice(0, 43), encoding: 'text' };
    default:
      return { stored: `*${seed.subarray(0, 20).toString('hex').toUpperCase()}`, encoding: 'text' };
  }
}

/** `key` is a secret of this process: without it nobody can compute which decoy a name meets. */
export function decoyAccount(accounts: readonly Account[], user: string, flavor: Flavor, key: Buffer): Account {
  const seed = createHmac('sha256', key).update(user).digest();
  // Not every driver speaks ed25519: what it would say of the plugin is no "access denied", and helps nobody.
  const models = accounts.filter(({ plugin }) => SERVER_PLUGINS.has(plugin) && plugin !== 'ed25519');
  const model = models[seed.readUInt32LE(28) % Math.max(1, models.length)];
  const plugin = model?.plugin ?? (flavor === 'mysql' ? 'caching_sha2_password' : 'mysql_native_password');
  return {
    user,
    host: '%',
    plugin,
    ...unopenable(plugin, seed),
    locked: false,
    passwordExpired: false,
    requireTls: false,
    ...(model?.password === undefined ? {} : { password: seed.toString('hex') }),
  };
}
