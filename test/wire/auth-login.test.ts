// Our two halves against each other, stored forms of real servers, and what cannot be answered.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ed25519PublicKey, ed25519Sign, ed25519Verify, parseEd25519Stored } from '../../src/wire/auth/ed25519.ts';
import {
  type ClientAuthStep,
  type Credential,
  makeNonce,
  PlaintextCache,
  ServerAuth,
  type ServerAuthServices,
  type ServerAuthStep,
  ServerLogin,
} from '../../src/wire/auth/index.ts';
import { parseNativeStored, sha1, sha256 } from '../../src/wire/auth/scramble.ts';
import { parseCachingSha2Stored, parseSha256Stored, sha256Crypt } from '../../src/wire/auth/sha256-crypt.ts';
import { encodeAuthSwitch } from '../../src/wire/auth-packets.ts';
import { Capability } from '../../src/wire/capabilities.ts';
import { encodeErr, plainOk } from '../../src/wire/response.ts';
import fc from '../seed.ts';
import { ACCOUNTS, account, makeServices, seededRandom, VECTORS } from './auth-support.ts';

// The driver keeps its signing to itself, so it is imported by path, past the package's exports.
const driverFile = new URL('lib/cmd/handshake/auth/ed25519-password-auth.js', import.meta.resolve('mariadb'));
const driver = (await import(driverFile.href)) as {
  default: { encryptPassword(password: string, seed: Buffer): Uint8Array };
};

const capabilities = Capability.PROTOCOL_41 | Capability.PLUGIN_AUTH | Capability.SECURE_CONNECTION;
const known = (password: string): Credential => ({ kind: 'plaintext', password: Buffer.from(password) });
const nonce = makeNonce(seededRandom('nonce'));
const CLOSED = { tls: true, local: false };
const OPEN = { tls: false, local: false };

interface Setup {
  user: string;
  credential: Credential;
  plugin?: string;
  transport?: { tls: boolean; local: boolean };
  services?: ServerAuthServices;
}

/** One login of ServerLogin at ServerAuth; what each made of it. */
async function converse(setup: Setup): Promise<{ client: ClientAuthStep; server: ServerAuthStep | null }> {
  const { user, credential, plugin = 'caching_sha2_password', transport = OPEN, services = makeServices() } = setup;
  const login = new ServerLogin({ user, credential, nonce, authPlugin: plugin, transport, capabilities });
  const start = login.start();
  if (start.kind === 'fail') return { client: start, server: null };
  const request = { flavor: 'mysql', accounts: ACCOUNTS, clientAddress: '127.0.0.1', transport, capabilities } as const;
  const auth = new ServerAuth({ ...request, user, nonce, ...start }, services);
  let server = await auth.start();
  for (;;) {
    if (server.kind === 'fail') return { client: login.step(encodeErr(server.error)), server };
    if (server.kind === 'done') {
      if (server.send !== null) assert.equal(login.step(server.send).kind, 'wait');
      return { client: login.step(plainOk(2, capabilities)), server };
    }
    const client = login.step(server.payload);
    if (client.kind !== 'send') return { client, server };
    server = await auth.step(client.payload);
  }
}

describe('stored forms of real servers', () => {
  it('verify with SHA-256-crypt', async () => {
    for (const { password, stored } of VECTORS.cachingSha2) {
      const form = parseCachingSha2Stored(Buffer.from(stored, 'base64'));
      assert.ok(form !== null);
      assert.deepEqual(await sha256Crypt(Buffer.from(password), form.salt, form.rounds), form.digest);
      assert.notDeepEqual(await sha256Crypt(Buffer.from(`${password}x`), form.salt, form.rounds), form.digest);
    }
    const form = parseSha256Stored(Buffer.from(VECTORS.sha256.stored, 'base64'));
    assert.ok(form !== null);
    assert.deepEqual(await sha256Crypt(Buffer.from('s3cret'), form.salt, form.rounds), form.digest);
  });

  it('verify with SHA1 and with ed25519', () => {
    assert.deepEqual(parseNativeStored(VECTORS.native.stored), sha1(sha1(Buffer.from('s3cret'))));
    for (const { password, stored } of VECTORS.ed25519) {
      assert.deepEqual(ed25519PublicKey(Buffer.from(password)), parseEd25519Stored(stored));
    }
  });

  it('that are damaged are refused, not misread', () => {
    const good = Buffer.from(VECTORS.cachingSha2[0].stored, 'base64');
    for (let length = 0; length < good.length; length++) {
      assert.equal(parseCachingSha2Stored(good.subarray(0, length)), null);
    }
    assert.equal(parseCachingSha2Stored(Buffer.concat([Buffer.from('$A$000$'), good.subarray(7)])), null);
    assert.equal(parseNativeStored('*THISISNOTAVALIDPASSWORDTHATCANBEUSEDHERE'), null);
    assert.equal(parseEd25519Stored('invalid'), null);
    assert.equal(ed25519Verify(Buffer.alloc(32, 0xff), nonce, Buffer.alloc(64)), false);
  });

  it('let others run while they are computed', async () => {
    let turns = 0;
    await sha256Crypt(Buffer.from('x'), Buffer.alloc(20, 1), 5000, async () => void turns++);
    assert.equal(turns, 9);
  });
});

describe('ed25519 signatures', () => {
  it('are the same as the mariadb driver`s, and verify with OpenSSL', () => {
    fc.assert(
      fc.property(
        fc.string({ minLength: 1, unit: 'grapheme' }),
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        (pw, n) => {
          const [password, challenge] = [Buffer.from(pw), Buffer.from(n)];
          const ours = ed25519Sign(password, challenge);
          assert.deepEqual(ours, Buffer.from(driver.default.encryptPassword(pw, challenge)));
          assert.ok(ed25519Verify(ed25519PublicKey(password), challenge, ours));
        },
      ),
      { numRuns: 25 },
    );
  });
});

describe('a login', () => {
  for (const transport of [OPEN, CLOSED]) {
    for (const user of ['native', 'sha2', 'sha256', 'ed', 'configured']) {
      it(`as ${user} succeeds ${transport.tls ? 'over TLS' : 'without TLS'} and fails with a wrong password`, async () => {
        assert.equal((await converse({ user, credential: known('s3cret'), transport })).client.kind, 'done');
        const { client, server } = await converse({ user, credential: known('wrong'), transport });
        assert.ok(client.kind === 'fail' && client.err?.errno === 1045);
        assert.ok(server?.kind === 'fail' && server.reason === 'wrong-password');
      });
    }
  }

  it('goes on from SHA1(password) to the next mysql_native_password server', async () => {
    const first = await converse({ user: 'native', credential: known('s3cret') });
    assert.ok(first.server?.kind === 'done' && first.server.credential.kind === 'sha1');
    const next = await converse({ user: 'native', credential: first.server.credential });
    assert.equal(next.client.kind, 'done');
  });

  it('says which credential is not enough for which plugin, and for whom', async () => {
    const { client } = await converse({
      user: 'sha2',
      credential: { kind: 'sha1', hash: sha1(Buffer.from('s3cret')) },
    });
    assert.ok(client.kind === 'fail' && client.reason === 'credential-insufficient');
    assert.match(client.message, /'sha2'.*caching_sha2_password.*SHA1/);
    const half = await converse({ user: 'sha2', credential: { kind: 'sha256', hash: sha256(Buffer.from('s3cret')) } });
    assert.ok(half.client.kind === 'fail' && half.client.reason === 'credential-insufficient');
    const proof = await converse({ user: 'ed', credential: { kind: 'proof-only' } });
    assert.ok(proof.client.kind === 'fail' && proof.client.reason === 'credential-insufficient');
  });

  it('never sends the clear password over an open network', () => {
    const options = {
      user: 'u',
      credential: known('s3cret'),
      nonce,
      authPlugin: 'mysql_native_password',
      capabilities,
    };
    const login = new ServerLogin({ ...options, transport: OPEN });
    login.start();
    const step = login.step(encodeAuthSwitch('mysql_clear_password', Buffer.alloc(0)));
    assert.ok(step.kind === 'fail' && step.reason === 'secure-transport-needed');
    const safe = new ServerLogin({ ...options, transport: CLOSED });
    safe.start();
    assert.deepEqual(safe.step(encodeAuthSwitch('mysql_clear_password', Buffer.alloc(0))), {
      kind: 'send',
      payload: Buffer.from('s3cret\0'),
    });
  });

  it('ends at a server that never stops asking, and at nonsense', () => {
    const options = { user: 'u', credential: known('x'), nonce, capabilities, transport: OPEN };
    const login = new ServerLogin({ ...options, authPlugin: 'mysql_native_password' });
    login.start();
    let last: ClientAuthStep = { kind: 'wait' };
    for (let i = 0; i < 20 && last.kind !== 'fail'; i++) {
      last = login.step(encodeAuthSwitch('mysql_native_password', Buffer.concat([nonce, Buffer.of(0)])));
    }
    assert.ok(last.kind === 'fail' && last.reason === 'malformed');
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 4 }), (packets) => {
        const victim = new ServerLogin({ ...options, authPlugin: 'caching_sha2_password' });
        victim.start();
        for (const packet of packets) if (victim.step(Buffer.from(packet)).kind === 'fail') return;
      }),
    );
  });

  it('of a client that sends nonsense ends in a refusal', async () => {
    const services = makeServices();
    const bytes = fc.uint8Array({ maxLength: 80 }).map((data) => Buffer.from(data));
    const user = fc.constantFrom('native', 'sha2', 'sha256', 'ed', 'configured', 'nobody');
    const plugin = fc.constantFrom('mysql_native_password', 'caching_sha2_password', 'client_ed25519', 'other', null);
    await fc.assert(
      fc.asyncProperty(
        user,
        plugin,
        fc.array(bytes, { minLength: 6, maxLength: 6 }),
        async (name, authPlugin, data) => {
          const [authResponse = Buffer.alloc(0), ...rest] = data;
          const request = { flavor: 'mariadb', accounts: ACCOUNTS, clientAddress: '', transport: OPEN } as const;
          const auth = new ServerAuth(
            { ...request, user: name, authPlugin, authResponse, capabilities, nonce },
            services,
          );
          let step = await auth.start();
          for (const input of rest) if (step.kind === 'send') step = await auth.step(input);
          assert.equal(step.kind, 'fail');
        },
      ),
      { numRuns: 60 },
    );
  });

  it('without PLUGIN_AUTH works for mysql_native_password only', async () => {
    const services = makeServices();
    const request = { flavor: 'mysql', accounts: ACCOUNTS, clientAddress: '', transport: OPEN, nonce } as const;
    const old = {
      ...request,
      capabilities: Capability.PROTOCOL_41,
      authPlugin: null,
      authResponse: Buffer.alloc(20, 1),
    };
    const step = await new ServerAuth({ ...old, user: 'sha2' }, services).start();
    assert.ok(step.kind === 'fail' && step.error.errno === 1251);
    // COM_CHANGE_USER: such a client cannot be asked anew, and is judged by what it sent.
    const changed = await new ServerAuth({ ...old, user: 'native', alwaysSwitch: true }, services).start();
    assert.ok(changed.kind === 'fail' && changed.error.errno === 1045);
  });
});

describe('the plaintext cache', () => {
  const row = account({ user: 'a', stored: 'one' });

  it('forgets a password when the stored form changes', () => {
    const cache = new PlaintextCache(3);
    cache.remember(row, Buffer.from('pw'));
    assert.equal(cache.get(row)?.password.toString(), 'pw');
    assert.equal(cache.get({ ...row, stored: 'two' }), null);
    assert.equal(cache.size, 0);
  });

  it('holds no more than its bound, drops the least recently used, and overwrites what it drops', () => {
    const cache = new PlaintextCache(2);
    const rows = ['a', 'b', 'c'].map((user) => account({ user }));
    const [a, b, c] = rows as [typeof row, typeof row, typeof row];
    cache.remember(a, Buffer.from('pa'));
    cache.remember(b, Buffer.from('pb'));
    const dropped = cache.get(b)?.password;
    cache.get(a);
    cache.remember(c, Buffer.from('pc'));
    assert.equal(cache.size, 2);
    assert.equal(cache.get(b), null);
    assert.deepEqual(dropped, Buffer.alloc(2));
  });

  it('checks the same password once for logins that come together', async () => {
    const cache = new PlaintextCache(2);
    const gate = Promise.withResolvers<boolean>();
    let checks = 0;
    const check = (): Promise<boolean> => {
      checks++;
      return gate.promise;
    };
    const both = [cache.checkOnce(row, Buffer.from('pw'), check), cache.checkOnce(row, Buffer.from('pw'), check)];
    const other = cache.checkOnce(row, Buffer.from('other'), async () => false);
    gate.resolve(true);
    assert.deepEqual(await Promise.all([...both, other]), [true, true, false]);
    assert.equal(checks, 1);
  });
});
