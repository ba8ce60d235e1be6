// MySQL Group Replication: what a member says of its group, and what follows. The group elects its primary; we read
// whom it elected. A member's word counts only while it sees a majority: one that was cut off goes on calling itself
// primary, and of two that both see one, the group that has moved on (its view has the higher number) is the living one.
import { joinAddress, type NodeAddress } from '../messages/index.ts';
import { isOn, nameValues, type ProbeRows, toNumber } from './dialect.ts';
import { type LiveMember, liveMembers, type MembersInput, type Verdict } from './members.ts';
import type { PrimaryChoice } from './primary.ts';
import type { GroupFacts, GroupMember, NodeFacts } from './types.ts';

/** Statements of the probe parts. */
export const GROUP_PARTS = {
  'group-settings':
    'SELECT VARIABLE_NAME, VARIABLE_VALUE FROM performance_schema.global_variables WHERE VARIABLE_NAME IN' +
    " ('group_replication_group_name', 'group_replication_single_primary_mode', 'server_uuid')",
  'group-members':
    'SELECT m.MEMBER_ID AS id, m.MEMBER_HOST AS host, m.MEMBER_PORT AS port, m.MEMBER_STATE AS state,' +
    ' m.MEMBER_ROLE AS role, s.VIEW_ID AS view, s.COUNT_TRANSACTIONS_REMOTE_IN_APPLIER_QUEUE AS queue' +
    ' FROM performance_schema.replication_group_members m' +
    ' LEFT JOIN performance_schema.replication_group_member_stats s ON s.MEMBER_ID = m.MEMBER_ID',
} as const;

/** What the rows say; null where the server has no group configured. */
export function groupFacts(rows: ProbeRows): GroupFacts | null {
  const settings = nameValues(rows['group-settings'] ?? []);
  const group = settings.get('group_replication_group_name') ?? '';
  if (group === '') return null;
  const self = settings.get('server_uuid') ?? '';
  const found = rows['group-members'] ?? [];
  const members = found
    .filter((row) => (row['id'] ?? '') !== '' && (row['host'] ?? '') !== '')
    .map(
      (row): GroupMember => ({
        id: row['id'] ?? '',
        node: joinAddress(row['host'] ?? '', toNumber(row['port'], 3306)),
        state: row['state'] ?? '',
        role: row['role'] === 'PRIMARY' ? 'primary' : 'secondary',
      }),
    );
  const own = found.find((row) => row['id'] === self);
  const lagMs = rows['applier']?.[0]?.['lag_us'];
  const unreachable = members.filter(({ state }) => state === 'UNREACHABLE').length;
  return {
    kind: 'group',
    group,
    self,
    state: rows['group-members'] === undefined ? 'not told to us' : (own?.['state'] ?? 'OFFLINE'),
    role: own?.['role'] === 'PRIMARY' ? 'primary' : 'secondary',
    singlePrimary: isOn(settings.get('group_replication_single_primary_mode')),
    majority: members.length > 0 && unreachable * 2 < members.length,
    view: own?.['view'] ?? '',
    queue: toNumber(own?.['queue']),
    lagMs: lagMs === null || lagMs === undefined ? null : Math.max(0, toNumber(lagMs) / 1000),
    members,
  };
}

/** `17955344548020864:3`: the group's life, and the number of the view in it. */
function viewNumber(view: string): { life: string; number: number } {
  const [life = '', number = ''] = view.split(':');
  return { life, number: toNumber(number, -1) };
}

/** Members that are primary by their own word, with a majority that they see. */
function claims(live: readonly LiveMember<GroupFacts>[]): LiveMember<GroupFacts>[] {
  const claiming = live.filter(
    ({ own, facts }) => own.state === 'ONLINE' && own.role === 'primary' && own.majority && !facts.readOnly,
  );
  const superseded = (one: GroupFacts): boolean => {
    const { life, number } = viewNumber(one.view);
    return live.some(({ own }) => {
      const other = viewNumber(own.view);
      // It saw a later view of the same group, in which this one is not primary any more.
      const later = own.state === 'ONLINE' && own.majority && other.life === life && other.number > number;
      return later && own.members.every(({ id, role }) => id !== one.self || role !== 'primary');
    });
  };
  return claiming.filter(({ own }) => !superseded(own));
}

/**
 * Whom the group has made its primary. Another than the known one only where the group has left that behind; without
 * single-primary mode there are several, and the first of them it is.
 */
export function chooseGroupPrimary(input: MembersInput): PrimaryChoice {
  const { known, observations } = input;
  const claiming = claims(liveMembers(input, 'group'));
  if (known === null) {
    const [first] = claiming;
    if (first !== undefined) return { node: first.node, why: 'only-writer' };
    return { node: null, why: observations.some(({ at }) => at < 0) ? 'discovering' : 'no-writer' };
  }
  if (claiming.some(({ node }) => node === known)) return { node: known, why: 'known' };
  const id = observations.find(({ node }) => node === known)?.facts?.identity ?? null;
  const successors = claiming.filter(({ own }) => leftBehind(own, known, id));
  const [first] = successors;
  const lives = new Set(successors.map(({ own }) => viewNumber(own.view).life));
  if (first !== undefined && lives.size === 1) return { node: first.node, why: 'elected' };
  return { node: known, why: 'known' };
}

export function groupVerdict(own: GroupFacts, facts: NodeFacts, isPrimary: boolean): Verdict {
  switch (own.state) {
    case 'ONLINE':
      break;
    case 'RECOVERING':
      return { state: 'member-joining', detail: 'is being brought up to date by its group' };
    case 'ERROR':
      return {
        state: 'member-out',
        detail: 'was expelled from its group, or left it on an error: STOP GROUP_REPLICATION; START GROUP_REPLICATION',
      };
    default:
      return { state: 'member-out', detail: `is not in its group (${own.state}): START GROUP_REPLICATION` };
  }
  if (!own.majority) {
    const gone = own.members.filter(({ state }) => state === 'UNREACHABLE').map(({ node }) => node);
    return {
      state: 'no-majority',
      detail: `is online, but sees no majority of its group: ${gone.join(', ')} unreachable`,
    };
  }
  if (isPrimary && facts.readOnly) {
    return { state: 'read-only-primary', detail: 'the primary is read-only: its group has elected another, or will' };
  }
  // Without single-primary mode all members are writable, and writes go to one all the same.
  if (!isPrimary && !facts.readOnly && own.singlePrimary && own.role !== 'primary') {
    return {
      state: 'second-writer',
      detail: 'takes writes, but is no primary of its group: SET GLOBAL super_read_only = ON',
    };
  }
  return { state: 'ok', detail: '' };
}

/** Whether the group of a primary's word has left `node` behind: it is in it no more, or is no primary there. */
export function leftBehind(own: GroupFacts, node: NodeAddress, id: string | null): boolean {
  return own.members.every((member) => (member.node !== node && member.id !== id) || member.role !== 'primary');
}
