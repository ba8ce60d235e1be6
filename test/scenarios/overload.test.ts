// More work than the servers may be given: at every limit new work waits, or is refused with an error that says why,
// and what is under way goes on. The hold's own bounds are in hold.test.ts, those of logins in login.test.ts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { type SandboxInfo, withSandbox } from '../../src/sandbox/index.ts';
import { application, type Evenkeel, type EvenkeelOptions, inFrontOf, through, until } from './harness/index.ts';

const CLIENTS = 30;
const cluster = '    switchover: { drainTimeout: 100ms, maxLag: 500ms }';
const options = { replication: 'async', nodes: 1, workers: 1, recovery: 'observe', cluster } as const;

for (const flavor of ['mysql', 'mariadb'] as const) {
  test(`${flavor}: overload`, { timeout: 120_000 }, async (t) => {
    await withSandbox({ flavor, replication: 'async', nodes: 1 }, async (sandbox) => {
      const story = (name: string, over: Partial<EvenkeelOptions>, work: (ek: Evenkeel) => Promise<void>) =>
        t.test(name, () => inFrontOf(sandbox, { ...options, ...over }, work));
      await story(
        'transactions beyond the pool wait, are refused in time, and go when there is room',
        { config: 'pool: { maxPerNode: 2 }\nhold: { timeout: 3s }\nlimits: { maxClients: 40 }' },
        fullPool,
      );
      await story('one client too many is refused; those that are there go on', tooManyOptions, tooManyClients);
      await story(
        'a slow read makes nobody wait behind it',
        { config: 'pool: { maxPerNode: 8 }' },
        slowReadAmongOthers,
      );
      await equalWithoutPipelining(t.test.bind(t), sandbox);
      await story(
        'a KILL QUERY that comes late stops no statement of a stranger',
        { config: 'pool: { maxPerNode: 1, pipelining: false }' },
        lateKills,
      );
      await story('a killed worker costs its own clients only, and is replaced', { workers: 2 }, killedWorker);
    });
  });
}

const tooManyOptions = { config: 'limits: { maxClients: 10 }' };

/** `count` connections for as long as `work` takes. */
async function clients<T>(ek: Evenkeel, count: number, work: (all: Connection[]) => Promise<T>): Promise<T> {
  const all: Connection[] = [];
  try {
    for (let n = 0; n < count; n++) {
      const connection = await application(ek);
      connection.on('error', () => {}); // a connection that is ended under it fails its statements, too
      all.push(connection);
    }
    return await work(all);
  } finally {
    for (const connection of all) connection.destroy();
  }
}

/** The sum of a metric over its labels; 0 where it is not there. */
async function metric(ek: Evenkeel, name: string): Promise<number> {
  const text = await (await ek.fetch('/metrics')).text();
  let sum = 0;
  for (const [, value] of text.matchAll(new RegExp(`^evenkeel_${name}(?:\\{.*\\})? (\\S+)$`, 'gm')))
    sum += Number(value);
  return sum;
}

async function fullPool(ek: Evenkeel): Promise<void> {
  await through(ek, 'CREATE TABLE full (n INT PRIMARY KEY)');
  await clients(ek, CLIENTS, async ([first, second, ...others]) => {
    assert.ok(first !== undefined && second !== undefined);
    const under = [first, second];
    for (const [n, client] of under.entries()) {
      await client.query('BEGIN');
      await client.query('INSERT INTO full VALUES (?)', [n]);
    }
    const refused = others.map(async (client, n) => {
      await client.query('BEGIN');
      await assert.rejects(client.query('INSERT INTO full VALUES (?)', [100 + n]), {
        errno: 9103,
        message: /no server connection became free: .+ \(Evenkeel: pool-timeout; not executed\)/,
      });
    });
    const waiting = Promise.all(refused);
    await until('them to be counted', 3000, async () => {
      const count = await metric(ek, 'server_connections_waited_for');
      return count === others.length;
    });
    // Work in progress goes on meanwhile.
    for (const [n, client] of under.entries()) await client.query('INSERT INTO full VALUES (?)', [10 + n]);
    await waiting;
    const { endpoints } = (await (await ek.fetch('/api/v1/clusters')).json()) as {
      endpoints: { name: string; pinned: Record<string, number> }[];
    };
    assert.deepEqual(endpoints.find(({ name }) => name === 'writer')?.pinned, { transaction: 2 });
    for (const client of under) await client.query('COMMIT');
    // The same sessions, in the transactions that they had begun: many, two at a time.
    await Promise.all(
      others.map(async (client, n) => {
        await client.query('INSERT INTO full VALUES (?)', [100 + n]);
        await client.query('COMMIT');
      }),
    );
    const [rows] = await through(ek, 'SELECT COUNT(*) AS count FROM full');
    assert.equal(rows[0]?.['count'], 4 + others.length);
    assert.ok((await metric(ek, 'server_connections')) <= 2);
  });
}

async function tooManyClients(ek: Evenkeel): Promise<void> {
  await clients(ek, 10, async (all) => {
    await assert.rejects(application(ek), { errno: 1040, message: 'Too many connections' });
    const answers = await Promise.all(all.map((client) => client.query<RowDataPacket[]>('SELECT 1 AS one')));
    for (const [rows] of answers) assert.deepEqual(rows, [{ one: 1 }]);
    all[0]?.destroy();
    await until('room for another', 3000, async () => {
      const another = await application(ek).catch(() => null);
      another?.destroy();
      return another !== null;
    });
  });
}

async function slowReadAmongOthers(ek: Evenkeel): Promise<void> {
  await through(ek, 'CREATE TABLE points (n INT PRIMARY KEY)', 'INSERT INTO points VALUES (1), (2), (3), (4)');
  await clients(ek, 51, async ([slow, ...others]) => {
    assert.ok(slow);
    // A machine that is busy elsewhere makes these reads look too costly to share a connection: then another time.
    for (let time = 1; ; time++) {
      const joined = await metric(ek, 'pipelined_statements_total');
      await slowReadOnce(slow, others, `slept${time}`);
      const diverted = async () => (await metric(ek, 'diverted_total')) > 0;
      const late = await until('diversions to be counted', 3000, diverted).catch((error: unknown) => error);
      if (late === undefined) return assert.ok((await metric(ek, 'pipelined_statements_total')) > joined);
      if (time === 5) throw late;
    }
  });
}

/** `column`: of a shape that nobody has seen yet. */
async function slowReadOnce(slow: Connection, others: Connection[], column: string): Promise<void> {
  const select = async (client: Connection, n: number): Promise<void> => {
    const [rows] = await client.query(`SELECT n, SLEEP(0) AS ${column} FROM points WHERE n = ?`, [1 + (n % 4)]);
    assert.deepEqual(rows, [{ n: 1 + (n % 4), [column]: 0 }]);
  };
  // What they take becomes known: little.
  for (let n = 0; n < 5; n++) await Promise.all([slow, ...others].map((client) => select(client, n)));
  // The same shape, and so expected to be as quick: it is let in among the others.
  let slept = false;
  const sleeping = slow.query(`SELECT n, SLEEP(4) AS ${column} FROM points WHERE n = 1`).then(() => {
    slept = true;
  });
  for (let n = 0; n < 20; n++) await Promise.all(others.map((client) => select(client, n)));
  assert.equal(slept, false, 'others waited for the slow one');
  await sleeping;
}

type Run = (name: string, work: () => Promise<void>) => Promise<void>;

async function equalWithoutPipelining(run: Run, sandbox: SandboxInfo): Promise<void> {
  const seen: unknown[] = [];
  for (const pipelining of [true, false]) {
    await run(`equal answers with pipelining ${pipelining ? 'on' : 'off'}`, () =>
      inFrontOf(sandbox, { ...options, config: `pool: { maxPerNode: 4, pipelining: ${pipelining} }` }, async (ek) => {
        seen.push(await clients(ek, 20, answersOf));
        await until('the counters', 3000, async () => (await metric(ek, 'endpoint_statements_total')) >= 20 * 40);
        assert.equal((await metric(ek, 'pipelined_statements_total')) > 0, pipelining);
      }),
    );
  }
  assert.deepEqual(seen[1], seen[0]);
}

/** Reads of all clients at a time, text and prepared, with errors, each in a session of its own. */
async function answersOf(all: Connection[]): Promise<unknown[]> {
  await all[0]?.query('CREATE TABLE IF NOT EXISTS equal (n INT PRIMARY KEY, text VARCHAR(20))');
  await all[0]?.query("REPLACE INTO equal VALUES (1, 'one'), (2, 'two'), (3, NULL)");
  return await Promise.all(
    all.map(async (client, at) => {
      const answers: unknown[] = [];
      await client.query('SET @mine = ?', [at]);
      for (let n = 0; n < 10; n++) {
        const key = (at + n) % 5;
        answers.push((await client.query('SELECT * FROM equal WHERE n = ?', [key]))[0]);
        answers.push((await client.execute('SELECT text, n + ? AS sum FROM equal WHERE n <= ?', [at, key]))[0]);
        answers.push((await client.query('SELECT @mine AS mine, DATABASE() AS here'))[0]);
        answers.push(
          await client
            .query('SELECT nothing FROM equal')
            .catch(({ errno, message }: mysql.QueryError) => [errno, message]),
        );
      }
      return answers;
    }),
  );
}

async function killedWorker(ek: Evenkeel): Promise<void> {
  await clients(ek, 24, async (all) => {
    const pids = await ek.workerPids();
    // Ids take turns by worker.
    const workerOf = (client: Connection): number => client.threadId % pids.length;
    const victim = workerOf(all[0] as Connection);
    const lost = all.filter((client) => workerOf(client) === victim);
    const kept = all.filter((client) => workerOf(client) !== victim);
    assert.ok(kept.length > 0);
    for (const client of all) await client.query('SET @mine = ?', [client.threadId]);
    process.kill(pids[victim] as number, 'SIGKILL');
    for (const client of lost) await assert.rejects(client.query('SELECT 1'), { fatal: true });
    for (const client of kept) {
      const [rows] = await client.query('SELECT @mine AS mine');
      assert.deepEqual(rows, [{ mine: client.threadId }]);
    }
    await until('another worker', 10_000, async () => {
      const now = await ek.workerPids();
      return now.length === 2 && now.every((pid) => pid !== pids[victim]) && (await metric(ek, 'worker_up')) === 2;
    });
    assert.equal(await metric(ek, 'worker_restarts_total'), 1);
    await clients(ek, 8, async (fresh) => {
      for (const client of fresh) await client.query('SELECT 1');
    });
    for (const client of kept) await client.query('SELECT @mine');
  });
}

/** One connection for all: as soon as a statement has had its answer, a stranger's goes over it. */
async function lateKills(ek: Evenkeel): Promise<void> {
  await through(ek, 'CREATE TABLE counted (id INT PRIMARY KEY, n INT)', 'INSERT INTO counted VALUES (1, 0)');
  await clients(ek, 3, async ([victim, stranger, killer]) => {
    assert.ok(victim && stranger && killer);
    const end = new AbortController();
    let [written, stopped] = [0, 0];
    const reads = (async () => {
      while (!end.signal.aborted) {
        await victim.query('SELECT SLEEP(0.002), n FROM counted').catch((error: { fatal?: boolean }) => {
          if (error.fatal === true) throw error;
          stopped++;
        });
      }
    })();
    const writes = (async () => {
      for (; !end.signal.aborted; written++) await stranger.query('UPDATE counted SET n = n + 1');
    })();
    for (let n = 0; n < 300; n++) await killer.query(`KILL QUERY ${victim.threadId}`);
    end.abort();
    await Promise.all([reads, writes]);
    const [rows] = await stranger.query<RowDataPacket[]>('SELECT n FROM counted');
    assert.deepEqual(rows, [{ n: written }]);
    process.stdout.write(`# ${stopped} reads stopped, ${written} writes\n`);
  });
}
