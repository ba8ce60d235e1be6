// What follows a commit whose answer was lost, and which had been executed: a whole worker, and a server that is lost when it is told to.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Command } from '../../src/wire/index.ts';
import { staged } from './worker-stage.ts';

for (const flavor of ['mysql', 'mariadb'] as const) {
  test(`${flavor}: what was pinned is said to be lost before a definition runs without it`, async (t) => {
    const { server, clients } = await staged(t, flavor, [{ name: 'one', cluster: 'c', inFlight: 'exactly-once' }]);
    const { answer } = server;
    let [loses, ledger] = [true, ''];
    server.answer = (command, connection) => {
      const text = command.toString('latin1');
      // It was read, and cannot be prepared.
      if (command[0] === Command.STMT_PREPARE) return { errno: 1295, sqlState: 'HY000', message: 'no' };
      if (/COMMIT/.test(text) && loses) {
        loses = false;
        ledger = /SET n=(\d+)/.exec(text)?.[1] ?? '';
        void answer(command, connection);
        connection.break();
      }
      if (/IF\(EXISTS/.test(text)) return { value: '1' };
      if (/GTID_SUBSET/.test(text)) return { value: '1' };
      if (/SELECT n FROM evenkeel/.test(text)) return { value: ledger };
      if (/COUNT\(\*\) FROM information_schema/.test(text)) return { value: '0' };
      return answer(command, connection);
    };
    const { one } = clients;
    for (const sql of ['CREATE TEMPORARY TABLE staging (n INT)', 'BEGIN', 'INSERT INTO t VALUES (1)'])
      await one.query(sql);
    await assert.rejects(one.query('TRUNCATE TABLE staging'), { errno: 9106 });
    assert.ok(!loses);
    const queries = server.connections.flatMap(({ commands }) =>
      commands.filter((command) => command[4] === Command.QUERY).map((command) => command.toString('latin1', 5)),
    );
    assert.ok(queries.some((text) => /GTID_SUBSET|SELECT n FROM evenkeel/.test(text)));
    assert.ok(!queries.some((text) => text.includes('TRUNCATE')));
    await one.query('SELECT 1 FROM t');
  });
}
