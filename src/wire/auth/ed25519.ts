// MariaDB's ed25519: an ordinary Ed25519 signature over a 32-byte nonce, but with the secret expanded
// straight from the password (SHA-512 of it stands where RFC 8032 has SHA-512 of a 32-byte seed). node:crypto
// verifies such signatures but takes no expanded key, so signing is done here with big integers. Not constant
// in time: it runs only in our own login to a server, where no attacker holds a clock at our end.
import { createPublicKey, hash, verify } from 'node:crypto';
import { equalBytes } from './scramble.ts';

export const ED25519_NONCE_BYTES = 32;

const P = 2n ** 255n - 19n;
const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;

const mod = (value: bigint, by: bigint = P): bigint => {
  const rest = value % by;
  return rest < 0n ? rest + by : rest;
};

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  let square = mod(base);
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if ((rest & 1n) === 1n) result = mod(result * square);
    square = mod(square * square);
  }
  return result;
}

const invert = (value: bigint): bigint => power(value, P - 2n);
const D = mod(-121665n * invert(121666n));

/** Extended twisted Edwards coordinates: x = X/Z, y = Y/Z, T = XY/Z. */
interface Point {
  X: bigint;
  Y: bigint;
  Z: bigint;
  T: bigint;
}

const ZERO: Point = { X: 0n, Y: 1n, Z: 1n, T: 0n };

const BASE: Point = (() => {
  const X = 15112221349535400772501151409588531511454012693041857206046113283949847762202n;
  const Y = 46316835694926478169428394003475163141307993866256225615783033603165251855960n;
  return { X, Y, Z: 1n, T: mod(X * Y) };
})();

/** RFC 8032, 5.1.4; complete, so it doubles too. */
function add(p: Point, q: Point): Point {
  const a = mod((p.Y - p.X) * (q.Y - q.X));
  const b = mod((p.Y + p.X) * (q.Y + q.X));
  const c = mod(2n * D * p.T * q.T);
  const d = mod(2n * p.Z * q.Z);
  const [e, f, g, h] = [b - a, d - c, d + c, b + a];
  return { X: mod(e * f), Y: mod(g * h), Z: mod(f * g), T: mod(e * h) };
}

let doublings: readonly Point[] | null = null;

/** 2^i times the base point, computed at the first signature. */
function baseDoublings(): readonly Point[] {
  if (doublings !== null) return doublings;
  const table: Point[] = [];
  let point = BASE;
  for (let i = 0; i < 256; i++) {
    table.push(point);
    point = add(point, point);
  }
  doublings = table;
  return table;
}

function timesBase(scalar: bigint): Point {
  let result = ZERO;
  let rest = scalar;
  for (const point of baseDoublings()) {
    if ((rest & 1n) === 1n) result = add(result, point);
    rest >>= 1n;
  }
  return result;
}

function littleEndian(bytes: Buffer): bigint {
  return BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`);
}

function toLittleEndian(value: bigint): Buffer {
  return Buffer.from(value.toString(16).padStart(64, '0'), 'hex').reverse();
}

function compress(point: Point): Buffer {
  const inverse = invert(point.Z);
  const out = toLittleEndian(mod(point.Y * inverse));
  if ((mod(point.X * inverse) & 1n) === 1n) out[31] = (out[31] ?? 0) | 0x80;
  return out;
}

const sha512 = (...parts: Buffer[]): Buffer => hash('sha512', Buffer.concat(parts), 'buffer');

function expand(password: Buffer): { scalar: bigint; prefix: Buffer } {
  const expanded = sha512(password);
  const low = Buffer.from(expanded.subarray(0, 32));
  low[0] = (low[0] ?? 0) & 0xf8;
  low[31] = ((low[31] ?? 0) & 0x7f) | 0x40;
  return { scalar: littleEndian(low), prefix: expanded.subarray(32) };
}

/** The 32-byte public key of a password. Its base64 without padding is MariaDB's stored form. */
export function ed25519PublicKey(password: Buffer): Buffer {
  return compress(timesBase(expand(password).scalar));
}

/** 64 bytes, over the whole nonce. */
export function ed25519Sign(password: Buffer, nonce: Buffer): Buffer {
  const { scalar, prefix } = expand(password);
  const publicKey = compress(timesBase(mod(scalar, ORDER)));
  const r = mod(littleEndian(sha512(prefix, nonce)), ORDER);
  const R = compress(timesBase(r));
  const k = mod(littleEndian(sha512(R, publicKey, nonce)), ORDER);
  return Buffer.concat([R, toLittleEndian(mod(r + k * scalar, ORDER))]);
}

/** SubjectPublicKeyInfo of an Ed25519 key up to the key itself (RFC 8410). */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

/** The stored form, 43 characters of base64; null where it is none. */
export function parseEd25519Stored(stored: string): Buffer | null {
  return /^[A-Za-z0-9+/]{43}$/.test(stored) ? Buffer.from(stored, 'base64') : null;
}

export function ed25519Verify(publicKey: Buffer, nonce: Buffer, signature: Buffer): boolean {
  if (signature.length !== 64 || publicKey.length !== 32) return false;
  try {
    const key = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, publicKey]), format: 'der', type: 'spki' });
    return verify(null, nonce, key, signature);
  } catch {
    return false; // a stored form that is no point on the curve verifies nothing
  }
}

/** For accounts whose plaintext is known: does the signature come from it? */
export function ed25519VerifyPassword(password: Buffer, nonce: Buffer, signature: Buffer): boolean {
  return equalBytes(ed25519Sign(password, nonce), signature);
}
