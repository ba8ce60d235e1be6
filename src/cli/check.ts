// `evenkeel check`: reads the configuration, connects, and reports every privilege, setting and version that a promise
// needs, each with the statement that mends it. Exit status 1 where one fails.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import type { ClusterConfig, Config } from '../config/types.ts';
import { DEFAULT_CONFIG_FILE } from './api-client.ts';
import type { Finding, Verdict } from './checks/rules.ts';
import { CommandFailure, UsageError } from './failure.ts';
import { terminal } from './output.ts';

async function checkCluster(config: Config, cluster: ClusterConfig): Promise<Finding[]> {
  const [{ inspectCluster }, { judgeNode, judgeTogether }] = await Promise.all([
    import('./checks/gather.ts'),
    import('./checks/rules.ts'),
  ]);
  const looked = await inspectCluster(cluster, config.pool.connectTimeoutMs);
  const inspections = looked.flatMap((one) => (one.state === 'seen' ? [one.value] : []));
  const about =
    (node: string | null) =>
    (verdict: Verdict): Finding => ({ ...verdict, cluster: cluster.name, node });
  const writers = inspections.filter((one) => !['ON', '1'].includes(one.variables.get('read_only') ?? ''));
  const findings = judgeTogether(inspections, cluster).map(about(null));
  for (const one of looked) {
    if (one.state === 'seen') {
      const inspection = one.value;
      const follows = (inspection.replication ?? []).length > 0;
      const primary = writers.length === 1 ? writers[0] === inspection : writers.includes(inspection) && !follows;
      findings.push(...judgeNode({ config, cluster, inspection, primary }).map(about(inspection.node)));
    } else {
      const mend =
        one.state === 'denied'
          ? ['mend the account, or `admin:` in the configuration']
          : ['start it, or mend the way to it'];
      const text =
        one.state === 'denied'
          ? `does not let ${cluster.admin.user} in: ${one.error}`
          : `does not answer: ${one.error}`;
      findings.push(about(one.node)({ level: 'fail', check: 'connect', text, mend }));
    }
  }
  return findings;
}

function print(findings: readonly Finding[]): void {
  let heading = '';
  for (const finding of findings) {
    const of = finding.node === null ? `cluster ${finding.cluster}` : `${finding.cluster}: ${finding.node}`;
    if (of !== heading) terminal.out(of);
    heading = of;
    terminal.out(`  ${finding.level.padEnd(4)}  ${finding.check}: ${finding.text}`);
    for (const statement of finding.mend) terminal.out(`          mend: ${statement}`);
  }
}

async function check(urls: string[], options: { config?: string; json?: true }): Promise<void> {
  const cwd = process.cwd();
  const byDefault = urls.length === 0 && existsSync(join(cwd, DEFAULT_CONFIG_FILE)) ? DEFAULT_CONFIG_FILE : undefined;
  const file = options.config ?? byDefault;
  if (file !== undefined && urls.length > 0) throw new UsageError('give --config or URLs, not both');
  const { loadConfig } = await import('../config/index.ts');
  const config = loadConfig({ ...(file === undefined ? { urls } : { file }), env: process.env, cwd });
  const findings = (await Promise.all(config.clusters.map((cluster) => checkCluster(config, cluster)))).flat();
  const count = (level: Finding['level']) => findings.filter((finding) => finding.level === level).length;
  const failed = count('fail');
  if (options.json) {
    terminal.out(JSON.stringify({ ok: failed === 0, fail: failed, warn: count('warn'), findings }, null, 2));
  } else {
    print(findings);
    terminal.out(`${count('ok')} ok, ${count('warn')} warn, ${failed} fail`);
  }
  if (failed > 0) throw new CommandFailure(`${failed} of the checks failed`);
}

export function checkCommand(): Command {
  return new Command('check')
    .description(
      'reads the configuration, connects, and reports what a promise lacks, with the statement that mends it',
    )
    .argument('[urls...]', 'seeds of one cluster, as mysql://user:password@host:port, instead of a file')
    .option('--config <file>', `the configuration file (default: ./${DEFAULT_CONFIG_FILE})`)
    .option('--json', 'as JSON')
    .addHelpText('after', '\nExample:\n  evenkeel check --config /etc/evenkeel.yaml')
    .action(check);
}
