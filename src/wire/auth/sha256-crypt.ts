// SHA-crypt with SHA-256 (Ulrich Drepper's specification), as MySQL uses it to store SHA-2 passwords: the
// salt is 20 raw bytes, the rounds come in thousands. About 5000 hashes a password: computed in slices, so that
// a login never holds up the event loop for more than a few milliseconds.
import { hash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';

/** A stored form of caching_sha2_password (`$A$005$…`) or sha256_password (`$5$…`). */
export interface Sha256Stored {
  rounds: number;
  salt: Buffer;
  /** 43 characters. */
  digest: Buffer;
}

const SALT_BYTES = 20;
const DIGEST_CHARS = 43;
const SHA256_PASSWORD_ROUNDS = 5000;
const ROUNDS_A_SLICE = 500;

/** `$A$`, three hex digits of rounds / 1000, `$`, 20 bytes of salt, 43 characters. Null where it is no such form. */
export function parseCachingSha2Stored(stored: Buffer): Sha256Stored | null {
  if (stored.length !== 7 + SALT_BYTES + DIGEST_CHARS) return null;
  const head = /^\$A\$([0-9A-Fa-f]{3})\$$/.exec(stored.toString('latin1', 0, 7));
  const rounds = Number.parseInt(head?.[1] ?? '', 16) * 1000;
  if (!(rounds > 0)) return null;
  return { rounds, salt: stored.subarray(7, 7 + SALT_BYTES), digest: stored.subarray(7 + SALT_BYTES) };
}

/** sha256_password's `$5$`, 20 bytes of salt, `$`, 43 characters. */
export function parseSha256Stored(stored: Buffer): Sha256Stored | null {
  if (stored.length !== 3 + SALT_BYTES + 1 + DIGEST_CHARS) return null;
  if (stored.toString('latin1', 0, 3) !== '$5$' || stored[3 + SALT_BYTES] !== 0x24) return null;
  return {
    rounds: SHA256_PASSWORD_ROUNDS,
    salt: stored.subarray(3, 3 + SALT_BYTES),
    digest: stored.subarray(4 + SALT_BYTES),
  };
}

const sha256 = (data: Buffer): Buffer => hash('sha256', data, 'buffer');

function repeatTo(block: Buffer, length: number): Buffer {
  const out = Buffer.alloc(length);
  for (let at = 0; at < length; at += block.length) block.copy(out, at);
  return out;
}

function firstDigest(password: Buffer, salt: Buffer): Buffer {
  const b = sha256(Buffer.concat([password, salt, password]));
  const parts = [password, salt, repeatTo(b, password.length)];
  for (let bits = password.length; bits > 0; bits >>= 1) parts.push((bits & 1) === 1 ? b : password);
  return sha256(Buffer.concat(parts));
}

/** The 43 characters of the digest. `yieldTurn` lets others run between slices. */
export async function sha256Crypt(
  password: Buffer,
  salt: Buffer,
  rounds: number,
  yieldTurn: () => Promise<unknown> = nextTurn,
): Promise<Buffer> {
  let digest = firstDigest(password, salt);
  const p = repeatTo(sha256(repeatTo(password, password.length * password.length)), password.length);
  const s = repeatTo(sha256(repeatTo(salt, salt.length * (16 + (digest[0] ?? 0)))), salt.length);
  const scratch = Buffer.alloc(2 * p.length + s.length + 32);
  for (let round = 0; round < rounds; round++) {
    if (round > 0 && round % ROUNDS_A_SLICE === 0) await yieldTurn();
    let length = 0;
    const add = (part: Buffer): void => {
      length += part.copy(scratch, length);
    };
    add((round & 1) === 1 ? p : digest);
    if (round % 3 !== 0) add(s);
    if (round % 7 !== 0) add(p);
    add((round & 1) === 1 ? digest : p);
    digest = sha256(scratch.subarray(0, length));
  }
  scratch.fill(0);
  p.fill(0);
  return encodeDigest(digest);
}

const ALPHABET = './0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/** crypt's own base64: three bytes at a time in the specification's order, least significant six bits first. */
function encodeDigest(digest: Buffer): Buffer {
  let out = '';
  const group = (high: number, middle: number, low: number, chars: number): void => {
    let bits = (high << 16) | (middle << 8) | low;
    for (let i = 0; i < chars; i++) {
      out += ALPHABET.charAt(bits & 0x3f);
      bits >>= 6;
    }
  };
  const byte = (index: number): number => digest[index] ?? 0;
  let [a, b, c] = [0, 10, 20];
  for (let i = 0; i < 10; i++) {
    group(byte(a), byte(b), byte(c), 4);
    [a, b, c] = [c + 1, a + 1, b + 1];
  }
  group(0, byte(31), byte(30), 3);
  return Buffer.from(out, 'latin1');
}
