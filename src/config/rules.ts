// What the settings of one rule, and a rule and the endpoints, say together.
import { shapeOf } from '../sql/index.ts';
import type { Contradiction } from './contradictions.ts';
import type { EndpointInput, RuleInput } from './schema.ts';
import type { Path } from './source.ts';
import { nearest } from './units.ts';

type Routes = ReadonlyMap<string, EndpointInput['route']>;

/** `routes`: of all endpoints, by name; null: not known. */
export function ruleContradictions(rules: readonly RuleInput[], routes: Routes | null): Contradiction[] {
  const seen = new Map<string, number>();
  return rules.flatMap((rule, index) => {
    const first = seen.get(rule.name);
    seen.set(rule.name, first ?? index);
    const at = (key: keyof RuleInput) => ['rules', index, key];
    const found = [...ruleEndpoints(routes, rule, at('endpoint')), ...ruleActions(rule, ['rules', index])];
    if (first !== undefined) {
      found.push({ path: at('name'), text: `rules[${first}] has this name too; rename one of them` });
    }
    const { statement } = rule;
    if (statement !== undefined && !FLAVORS.some((flavor) => shapeOf(statement, { flavor }))) {
      const text =
        'is no text that could be read with certainty, so that nothing would have its shape; write one statement';
      found.push({ path: at('statement'), text });
    }
    return found;
  });
}

const FLAVORS = ['mysql', 'mariadb'] as const;

function ruleEndpoints(routes: Routes | null, { endpoint = [], route }: RuleInput, path: Path): Contradiction[] {
  if (routes === null) return [];
  return endpoint.flatMap((one): Contradiction[] => {
    const its = routes.get(one);
    if (its === undefined) {
      const near = nearest(one, [...routes.keys()]);
      const mend = near === null ? `there are: ${[...routes.keys()].join(', ')}` : `did you mean \`${near}\`?`;
      return [{ path, text: `${JSON.stringify(one)} is no endpoint; ${mend}` }];
    }
    if (route === undefined || its === 'primary' || its === 'auto') return [];
    const text = `endpoint ${one} has one way only, so that the rule's \`route\` means nothing; leave it out, or name another endpoint`;
    return [{ path, text }];
  });
}

function ruleActions({ refuse, route, timeout, maxPerSecond }: RuleInput, path: Path): Contradiction[] {
  const others = { route, timeout, maxPerSecond };
  const given = Object.entries(others).filter(([, value]) => value !== undefined);
  if (refuse === undefined && given.length === 0) {
    return [{ path, text: 'does nothing; write route, timeout, maxPerSecond or refuse' }];
  }
  const [first] = given;
  if (refuse === undefined || first === undefined) return [];
  return [{ path: [...path, first[0]], text: 'means nothing beside `refuse`; remove one of them' }];
}
