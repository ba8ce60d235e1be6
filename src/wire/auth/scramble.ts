// The challenge-response arithmetic of mysql_native_password, caching_sha2_password and sha256_password.
// Pure functions over buffers; comparisons are in constant time.
import { constants, hash, type KeyObject, privateDecrypt, publicEncrypt, timingSafeEqual } from 'node:crypto';

/** Bytes of the nonce that these plugins use. */
export const NONCE_BYTES = 20;

/** Longest password that MySQL's SHA-2 plugins take; longer ones are refused before any work is done. */
export const MAX_PLAINTEXT_BYTES = 256;

export const sha1 = (data: Buffer): Buffer => hash('sha1', data, 'buffer');
export const sha256 = (data: Buffer): Buffer => hash('sha256', data, 'buffer');

export function equalBytes(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

/** `data` XOR `pad`, the pad repeated. */
export function xorRepeated(data: Buffer, pad: Buffer): Buffer {
  if (pad.length === 0) throw new TypeError('an empty pad');
  const out = Buffer.allocUnsafe(data.length);
  for (let i = 0; i < data.length; i++) out[i] = (data[i] ?? 0) ^ (pad[i % pad.length] ?? 0);
  return out;
}

/** What a client of mysql_native_password answers: SHA1(pw) XOR SHA1(nonce, SHA1(SHA1(pw))). */
export function nativeToken(passwordSha1: Buffer, nonce: Buffer): Buffer {
  return xorRepeated(passwordSha1, sha1(Buffer.concat([nonce.subarray(0, NONCE_BYTES), sha1(passwordSha1)])));
}

/** The stored form `*` and 40 hex digits, as SHA1(SHA1(pw)); null where it is none. */
export function parseNativeStored(stored: string): Buffer | null {
  return /^\*[0-9A-Fa-f]{40}$/.test(stored) ? Buffer.from(stored.slice(1), 'hex') : null;
}

/** SHA1(pw) where the token proves the password, else null: the proof gives away what the next server needs. */
export function openNativeToken(token: Buffer, nonce: Buffer, stage2: Buffer): Buffer | null {
  if (token.length !== 20) return null;
  const passwordSha1 = xorRepeated(token, sha1(Buffer.concat([nonce.subarray(0, NONCE_BYTES), stage2])));
  return equalBytes(sha1(passwordSha1), stage2) ? passwordSha1 : null;
}

/** caching_sha2_password's fast answer: SHA256(pw) XOR SHA256(SHA256(SHA256(pw)), nonce). */
export function sha2Token(passwordSha256: Buffer, nonce: Buffer): Buffer {
  return xorRepeated(passwordSha256, sha256(Buffer.concat([sha256(passwordSha256), nonce.subarray(0, NONCE_BYTES)])));
}

export function sha2TokenMatches(token: Buffer, nonce: Buffer, passwordSha256: Buffer): boolean {
  return equalBytes(token, sha2Token(passwordSha256, nonce));
}

/** The zero-terminated password, hidden by the nonce and sealed with the server's RSA key. Throws on a bad key. */
export function sealPassword(password: Buffer, nonce: Buffer, publicKey: KeyObject): Buffer {
  const hidden = xorRepeated(Buffer.concat([password, Buffer.of(0)]), nonce.subarray(0, NONCE_BYTES));
  return publicEncrypt({ key: publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' }, hidden);
}

/** The password out of `sealPassword`'s result; null where it was not made with our key. */
export function unsealPassword(sealed: Buffer, nonce: Buffer, privateKey: KeyObject): Buffer | null {
  try {
    const hidden = privateDecrypt(
      { key: privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' },
      sealed,
    );
    return withoutTerminator(xorRepeated(hidden, nonce.subarray(0, NONCE_BYTES)));
  } catch {
    return null;
  }
}

/** A clear-text password as the SHA-2 plugins send it; null without its zero byte, or over the limit. */
export function withoutTerminator(bytes: Buffer): Buffer | null {
  const end = bytes.indexOf(0);
  return end < 0 || end !== bytes.length - 1 || end > MAX_PLAINTEXT_BYTES ? null : bytes.subarray(0, end);
}
