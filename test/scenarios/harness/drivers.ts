// One test a flavor for a list of programs: each runs against the primary, through Evenkeel, and through an Evenkeel
// that has so few server connections that sessions must move between them. What they observe must be equal.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import mysql from 'mysql2/promise';
import { type Flavor } from '../../../src/messages/index.ts';
import { withSandbox } from '../../../src/sandbox/index.ts';
import { differences, type Program, run, type Target } from './driver-programs.ts';
import { type Evenkeel, inFrontOf } from './index.ts';

const OTHER = { user: 'reporting', password: 'reporting-secret' };
const SHAPE = { replication: 'async', nodes: 1 } as const;
/** As many as two programs at a time can pin, and one to move on. */
const FEW = 3;

/** Why the words of an error may differ. */
export const OWN_TEXT = "the number and the state are the same, the words are Evenkeel's";

/** Programs that run on a flavor; `only` where one cannot speak to the other. */
export interface Listed extends Program {
  only?: Flavor;
}

export function compareDrivers(title: string, programs: Listed[]): void {
  for (const flavor of ['mysql', 'mariadb'] as const) {
    test(`${flavor}: ${title}`, { timeout: 240_000, concurrency: 2 }, async (context) => {
      await withSandbox({ flavor, ...SHAPE }, (sandbox) =>
        inFrontOf(sandbox, SHAPE, (plenty) =>
          inFrontOf(sandbox, { ...SHAPE, ...few }, async (scarce) => {
            const admin = await mysql.createConnection(plenty.direct(await plenty.primary()));
            await accounts(admin, plenty.sandbox.app.user);
            await knowPasswords({ admin, plenty, scarce });
            const mine = programs.filter(({ only }) => only === undefined || only === flavor);
            await Promise.all(mine.map((program) => subtest(context, program, { admin, plenty, scarce })));
            await admin.end();
          }),
        ),
      );
    });
  }
}

const few = {
  workers: 1,
  recovery: 'observe',
  config: `pool: { maxPerNode: ${FEW} }`,
} as const;

interface Stage {
  admin: mysql.Connection;
  plenty: Evenkeel;
  scarce: Evenkeel;
}

/** The application may do anything in schemas named `d_…`, the second account may read them. */
async function accounts(admin: mysql.Connection, app: string): Promise<void> {
  await admin.query(`GRANT ALL ON \`d\\_%\`.* TO ${app}@'%'`);
  await admin.query(`CREATE USER ${OTHER.user}@'%' IDENTIFIED BY '${OTHER.password}'`);
  await admin.query(`GRANT SELECT, EXECUTE, CREATE TEMPORARY TABLES ON \`d\\_%\`.* TO ${OTHER.user}@'%'`);
}

/**
 * Without TLS some drivers can only log in to an account of caching_sha2_password whose password the server, or Evenkeel, has
 * seen before: so it is seen before, whichever program comes first.
 */
async function knowPasswords({ plenty, scarce }: Stage): Promise<void> {
  const { host, port } = await plenty.primary();
  const places = [{ host, port }, ...[plenty, scarce].map(({ ports }) => ({ host: '127.0.0.1', port: ports.writer }))];
  const { user, password } = plenty.login();
  for (const place of places) {
    for (const account of [{ user, password }, OTHER]) {
      await (await mysql.createConnection({ ...place, ...account })).end();
      // Each worker learns for itself.
      const several = Array.from({ length: 8 }, async () => mysql.createConnection({ ...place, ...account }));
      for (const connection of await Promise.all(several)) await connection.end();
    }
  }
}

async function subtest(context: TestContext, program: Listed, { admin, plenty, scarce }: Stage): Promise<void> {
  const name = [program.file, ...(program.args ?? [])].join(' ');
  await context.test(name, { timeout: 200_000 }, async () => {
    const schema = `d_${name.replace(/\.\w+|^.*\//g, '').replaceAll(/\W+/g, '_')}`;
    const start = async (at: { host: string; port: number }): ReturnType<typeof run> => {
      await admin.query(`DROP DATABASE IF EXISTS ${schema}`);
      await admin.query(`CREATE DATABASE ${schema} CHARACTER SET utf8mb4`);
      const target: Target = { ...plenty.login(), ...at, database: schema, other: OTHER };
      return await run(program, target);
    };
    const { host, port } = await plenty.primary();
    const expected = await start({ host, port });
    assert.equal(expected.code, 0, `it fails without Evenkeel:\n${expected.lines.at(-1)}\n${expected.stderr}`);
    assert.ok(expected.lines.length > 5, `it observes next to nothing:\n${expected.stderr}`);
    for (const [how, through] of Object.entries({ 'with many connections': plenty, 'with few': scarce })) {
      const got = await start({ host: '127.0.0.1', port: through.ports.writer });
      const wrong = differences(program, expected, got);
      assert.equal(wrong.length, 0, `through Evenkeel, ${how}:\n${wrong.join('\n')}\n${got.stderr}`);
    }
  });
}
