// An operator's `evenkeel check`: a sound cluster passes; a crippled one is told apart, with the statements that mend it.
import assert from 'node:assert/strict';
import { addressOf, directly, stories } from './harness/index.ts';

interface Report {
  ok: boolean;
  fail: number;
  findings: { level: string; node: string | null; check: string; text: string; mend: string[] }[];
}

stories(
  'evenkeel check',
  { replication: 'semisync', nodes: 3 },
  {
    'a sound cluster keeps every promise': async (evenkeel) => {
      const { code, stdout, stderr } = await evenkeel.run('check', '--json');
      assert.equal(code, 0, stdout + stderr);
      const report = JSON.parse(stdout) as Report;
      assert.deepEqual([report.ok, report.fail], [true, 0]);
      for (const node of evenkeel.sandbox.nodes) assert.ok(report.findings.some((one) => one.node === addressOf(node)));
    },

    'what a crippled cluster lacks is reported with what mends it, and mending it is enough': async (evenkeel) => {
      const primary = await evenkeel.primary();
      const [replica, dead] = await evenkeel.replicas();
      assert.ok(replica && dead);
      // Else Evenkeel mends it before anybody can look.
      const cluster = (await evenkeel.status()).clusters[0]?.name ?? '';
      assert.equal((await evenkeel.run('maintenance', cluster, '--for', '5m')).code, 0);
      const off = {
        mysql: 'SET GLOBAL rpl_semi_sync_source_enabled = 0',
        mariadb: 'SET GLOBAL rpl_semi_sync_master_enabled = 0',
      }[evenkeel.sandbox.flavor];
      await directly(evenkeel, primary, off);
      await evenkeel.signalNode(dead, 'SIGKILL');
      const { code, stdout } = await evenkeel.run('check', '--json');
      assert.equal(code, 1, stdout);
      const { findings, ok } = JSON.parse(stdout) as Report;
      assert.equal(ok, false);
      const failing = findings.filter(({ level }) => level === 'fail');
      assert.ok(
        failing.some(({ node, check }) => node === addressOf(dead) && check === 'connect'),
        stdout,
      );
      const semiSync = failing.find(({ node, text }) => node === addressOf(primary) && /semi-sync/i.test(text));
      assert.ok(semiSync, stdout);
      const [statement] = semiSync.mend;
      assert.ok(statement, 'a statement that mends it');
      await directly(evenkeel, primary, statement.replace(/;$/, ''));
      assert.equal((await evenkeel.run('maintenance', cluster, '--end')).code, 0);
      await evenkeel.restartNode(dead);
      await evenkeel.healthy();
      assert.equal((await evenkeel.run('check')).code, 0);
    },
  },
);
