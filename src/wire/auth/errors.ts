// What a server answers to a client that it does not let in, word for word, in both families' wording. Taken from
// the servers' message files (MySQL 9.7, MariaDB 10.11); names are cut as there. Codes and texts are what drivers,
// frameworks and alerting match on.
import type { Flavor } from '../../messages/index.ts';
import type { ErrPacket } from '../response.ts';

/** The occasions on which a client is turned away. */
export type Refusal =
  | { kind: 'access-denied'; user: string; host: string; usingPassword: boolean }
  | { kind: 'database-access-denied'; user: string; host: string; database: string }
  | { kind: 'account-locked'; user: string; host: string }
  | { kind: 'password-expired' }
  | { kind: 'host-not-allowed'; host: string }
  | { kind: 'host-blocked'; host: string }
  | { kind: 'too-many-connections' }
  | { kind: 'too-many-user-connections'; user: string }
  | { kind: 'old-client' }
  | { kind: 'bad-handshake' }
  | { kind: 'plugin-not-loaded'; plugin: string }
  | { kind: 'handshake-timeout' };

/** Never cuts a surrogate pair in two. */
const cut = (text: string, chars: number): string => Array.from(text).slice(0, chars).join('');

const product = (flavor: Flavor): string => (flavor === 'mariadb' ? 'MariaDB' : 'MySQL');

/** `'user'@'host'`, cut as the servers' message formats cut it. */
const who = (user: string, host: string, flavor: Flavor): string =>
  flavor === 'mysql' ? `'${cut(user, 48)}'@'${cut(host, 64)}'` : `'${cut(user, 128)}'@'${cut(host, 255)}'`;

type Catalogue = { [K in Refusal['kind']]: (why: Extract<Refusal, { kind: K }>, flavor: Flavor) => ErrPacket };

const err = (errno: number, sqlState: string, message: string): ErrPacket => ({ errno, sqlState, message });

const EXPIRED =
  'Your password has expired. To log in you must change it using a client that supports expired passwords';

const CATALOGUE: Catalogue = {
  'access-denied': ({ user, host, usingPassword }, flavor) => {
    const password = usingPassword ? 'YES' : 'NO';
    return err(1045, '28000', `Access denied for user ${who(user, host, flavor)} (using password: ${password})`);
  },
  'database-access-denied': ({ user, host, database }, flavor) => {
    const name = cut(database, 192);
    return err(1044, '42000', `Access denied for user ${who(user, host, flavor)} to database '${name}'`);
  },
  'account-locked': ({ user, host }, flavor) =>
    flavor === 'mysql'
      ? err(3118, 'HY000', `Access denied for user ${who(user, host, flavor)}. Account is locked.`)
      : err(4151, 'HY000', 'Access denied, this account is locked'),
  'password-expired': (_why, flavor) => err(1862, 'HY000', flavor === 'mysql' ? `${EXPIRED}.` : EXPIRED),
  'host-not-allowed': ({ host }, flavor) =>
    err(1130, 'HY000', `Host '${cut(host, 255)}' is not allowed to connect to this ${product(flavor)} server`),
  'host-blocked': ({ host }, flavor) => {
    const tool = flavor === 'mysql' ? 'mysqladmin' : 'mariadb-admin';
    const text = `is blocked because of many connection errors; unblock with '${tool} flush-hosts'`;
    return err(1129, 'HY000', `Host '${cut(host, 255)}' ${text}`);
  },
  'too-many-connections': () => err(1040, '08004', 'Too many connections'),
  'too-many-user-connections': ({ user }) =>
    err(1203, '42000', `User ${cut(user, 64)} already has more than 'max_user_connections' active connections`),
  'old-client': (_why, flavor) => {
    const text = 'Client does not support authentication protocol requested by server; consider upgrading';
    return err(1251, '08004', `${text} ${product(flavor)} client`);
  },
  'bad-handshake': () => err(1043, '08S01', 'Bad handshake'),
  'plugin-not-loaded': ({ plugin }) => err(1524, 'HY000', `Plugin '${cut(plugin, 192)}' is not loaded`),
  'handshake-timeout': () => err(1159, '08S01', 'Got timeout reading communication packets'),
};

/** The ERR packet's content for a refusal. */
export function refusal(why: Refusal, flavor: Flavor): ErrPacket {
  // The entry under a kind takes exactly that kind; the compiler does not follow this through the union.
  const entry = CATALOGUE[why.kind] as (why: Refusal, flavor: Flavor) => ErrPacket;
  return entry(why, flavor);
}
