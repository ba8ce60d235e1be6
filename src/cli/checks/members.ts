// What a promise needs of a server that is a member of a group, in place of the rules about replication. Pure.
import type { Inspection } from './gather.ts';
import type { Situation, Verdict } from './rules.ts';

export type Membership = 'group' | 'galera';

/** Which kind of group a server is set up for; null where for none. */
export function membershipOf({ variables, replication }: Inspection): Membership | null {
  if ((variables.get('group_replication_group_name') ?? '') !== '' && (replication ?? []).length === 0) return 'group';
  const provider = variables.get('wsrep_provider') ?? 'none';
  return variables.get('wsrep_on') === 'ON' && provider !== 'none' && provider !== '' ? 'galera' : null;
}

/** The findings about a member; empty where the server is none. */
export function membership(situation: Situation): Verdict[] {
  const { inspection } = situation;
  const kind = membershipOf(inspection);
  if (kind === null) return [];
  const found = kind === 'group' ? group(situation) : galera(situation);
  if (situation.cluster.durability === 'semisync') {
    const text = 'durability: semisync says nothing of a group, which confirms a write to its own rules';
    found.push({ level: 'warn', check: 'durability', text, mend: ['durability: none, in the configuration'] });
  }
  const name = kind === 'group' ? 'Group Replication' : 'Galera';
  return found.length > 0
    ? found
    : [{ level: 'ok', check: kind, text: `it is set up as a member of ${name}`, mend: [] }];
}

function group({ inspection }: Situation): Verdict[] {
  const { account, grants, variables } = inspection;
  const verdicts: Verdict[] = [];
  const may = (name: string) => grants?.global.has(name) === true;
  if (!may('ALL PRIVILEGES') && !may('GROUP_REPLICATION_ADMIN') && !may('SUPER')) {
    const text = `${account} lacks GROUP_REPLICATION_ADMIN, for switchovers, and for letting members join again`;
    const mend = [`GRANT GROUP_REPLICATION_ADMIN ON *.* TO ${account}`];
    verdicts.push({ level: 'fail', check: 'privilege', text, mend });
  }
  if (variables.get('group_replication_single_primary_mode') === 'OFF') {
    const text = 'its group has no single primary: writes go to one member all the same, and it cannot be moved';
    verdicts.push({
      level: 'warn',
      check: 'single primary',
      text,
      mend: ['SELECT group_replication_switch_to_single_primary_mode()'],
    });
  }
  if (variables.get('group_replication_consistency') === 'EVENTUAL') {
    const text = 'as a new primary it may answer reads before it has applied all that the old one had confirmed';
    const mend = ["SET PERSIST group_replication_consistency='BEFORE_ON_PRIMARY_FAILOVER'"];
    verdicts.push({ level: 'warn', check: 'consistency', text, mend });
  }
  if ((variables.get('report_host') ?? '') === '') {
    const text = 'report_host is not set: its group tells its host name, by which it may not be reached';
    const mend = ['in the option file, then restart: report_host=ITS_ADDRESS'];
    verdicts.push({ level: 'warn', check: 'report_host', text, mend });
  }
  return verdicts;
}

function galera({ cluster, inspection, primary }: Situation): Verdict[] {
  const { readOnlyOrigin, variables } = inspection;
  const verdicts: Verdict[] = [];
  const readOnly = ['ON', '1'].includes(variables.get('read_only') ?? '');
  if (!primary && !readOnly && cluster.recovery === 'automatic') {
    const text = 'it takes writes beside the writer; Evenkeel makes it read-only when it has chosen one';
    const mend = ['SET GLOBAL read_only=ON (and in the option file)'];
    verdicts.push({ level: 'warn', check: 'read_only', text, mend });
  } else if (!primary && readOnly && ['SQL', 'COMPILE-TIME'].includes(readOnlyOrigin ?? '')) {
    const text = 'it would start writable, and take writes beside the writer until it is made read-only';
    const mend = ['in the option file, then restart: read_only=ON'];
    verdicts.push({ level: 'warn', check: 'read_only', text, mend });
  }
  return verdicts;
}
