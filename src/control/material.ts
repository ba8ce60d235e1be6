// The keys that this endpoint shows to its clients: the TLS certificate (the configuration's, or one that we sign
// ourselves) and the RSA key for caching_sha2_password without TLS. Ours are kept in the state directory, so that
// a client that remembers them finds the same after a restart.
import { createPrivateKey, generateKeyPair, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { generate } from 'selfsigned';
import type { Config } from '../config/types.ts';
import type { TlsSettings } from '../messages/index.ts';
import { writePrivate } from './processes.ts';

const rsaBits = 2048;
const certificateDays = 825;
/** A certificate of our own is made anew when less than this is left. */
const renewBeforeMs = 30 * 86_400_000;

export interface Material {
  tls: TlsSettings;
  /** PEM, PKCS #8. */
  rsaKey: string;
}

/** Reads, or makes and keeps. Rejects where the state directory cannot be written. */
export async function loadMaterial(config: Config, now: Date): Promise<Material> {
  const rsaKey = readRsaKey(join(config.stateDir, 'rsa-key.pem')) ?? (await makeRsaKey(config.stateDir));
  if (config.tls) return { tls: { ...config.tls }, rsaKey };
  const kept = readCertificate(config.stateDir, now) ?? (await makeCertificate(config.stateDir, now));
  return { tls: { ...kept, minVersion: 'TLSv1.2' }, rsaKey };
}

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

function readRsaKey(path: string): string | null {
  const pem = readIfThere(path);
  if (pem === null) return null;
  try {
    return createPrivateKey(pem).asymmetricKeyType === 'rsa' ? pem : null;
  } catch {
    return null; // Damaged: a new one takes its place.
  }
}

async function makeRsaKey(stateDir: string): Promise<string> {
  const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: rsaBits });
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' });
  writePrivate(join(stateDir, 'rsa-key.pem'), pem);
  return pem;
}

function readCertificate(stateDir: string, now: Date): { cert: string; key: string } | null {
  const cert = readIfThere(join(stateDir, 'tls-cert.pem'));
  const key = readIfThere(join(stateDir, 'tls-key.pem'));
  if (cert === null || key === null) return null;
  try {
    const parsed = new X509Certificate(cert);
    const fits = parsed.checkPrivateKey(createPrivateKey(key));
    return fits && Date.parse(parsed.validTo) - now.getTime() > renewBeforeMs ? { cert, key } : null;
  } catch {
    return null;
  }
}

async function makeCertificate(stateDir: string, now: Date): Promise<{ cert: string; key: string }> {
  const name = hostname();
  const pems = await generate([{ name: 'commonName', value: name }], {
    algorithm: 'sha256',
    keyType: 'rsa',
    keySize: rsaBits,
    // A client whose clock is behind must not refuse it.
    notBeforeDate: new Date(now.getTime() - 86_400_000),
    notAfterDate: new Date(now.getTime() + certificateDays * 86_400_000),
    extensions: [
      { name: 'basicConstraints', cA: false },
      { name: 'keyUsage', digitalSignature: true, keyEncipherment: true },
      { name: 'extKeyUsage', serverAuth: true },
      {
        name: 'subjectAltName',
        altNames: [
          { type: 2, value: 'localhost' },
          { type: 2, value: name },
          { type: 7, ip: '127.0.0.1' },
          { type: 7, ip: '::1' },
        ],
      },
    ],
  });
  const kept = { cert: pems.cert, key: pems.private };
  writePrivate(join(stateDir, 'tls-key.pem'), kept.key);
  writePrivate(join(stateDir, 'tls-cert.pem'), kept.cert);
  return kept;
}
