// Lives of a cluster that go one way only, each a case that lives drawn by seeds had found: what must not be lost, and
// who must not be kept waiting. See control-world.ts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { returnMs } from '../../src/control/outage.ts';
import { ControlWorld } from './control-world.ts';
import type { SimNode, WorldOptions } from './model.ts';

async function begin(options: Partial<WorldOptions>): Promise<ControlWorld> {
  const world = new ControlWorld({
    seed: 7,
    flavor: 'mysql',
    nodes: 3,
    durability: 'semisync',
    faults: [],
    bug: 'none',
    load: true,
    unfenced: 'wait',
    ...options,
  });
  world.startControl();
  await pass(world, 1_000);
  return world;
}

const pass = (world: ControlWorld, ms: number) => world.run(world.clock.sleep(ms));

async function settle(world: ControlWorld): Promise<void> {
  world.cut.clear();
  world.stuck.clear();
  for (const node of world.nodes) world.restart(node);
  if (!world.controlRuns) world.startControl();
  for (let ms = 0; world.unsettled().length > 0; ms += 500) {
    assert.ok(ms < 60_000, world.unsettled().join('; '));
    await pass(world, 500);
  }
  assert.deepEqual(world.violations, []);
  world.killControl();
  world.store.close();
}

const db = (world: ControlWorld, id: number) => world.byName(`db${id}:3306`);

/** Waits until clients are at a node; false where they are at none within the time. */
async function arrives(world: ControlWorld, id: number, withinMs: number): Promise<boolean> {
  const there = () => world.applied?.primary === `db${id}:3306` && world.applied.gate.state === 'open';
  for (let ms = 0; ms < withinMs && !there(); ms += 100) await pass(world, 100);
  return there();
}

for (const flavor of ['mysql', 'mariadb'] as const) {
  test(`${flavor}: a replica that has not what the primary before had acknowledged is not promoted after the next one`, async () => {
    const world = await begin({ flavor });
    // db2 is cut off from the others, who go on without it.
    world.cutLink('db2:3306', 'db1:3306');
    world.cutLink('db2:3306', 'db3:3306');
    await pass(world, 2_000);
    world.crash(db(world, 1));
    assert.ok(await arrives(world, 3, 10_000));
    await pass(world, 1_000);
    // Nothing that db3 wrote was acknowledged to anyone; what it got from db1 was.
    world.crash(db(world, 3));
    assert.equal(await arrives(world, 2, 10_000), false);
    await settle(world);
  });

  test(`${flavor}: a replica that is out of reach together with the primary may acknowledge there: nobody is promoted`, async () => {
    const world = await begin({ flavor, unfenced: 'promote' });
    // First db3 is gone for everybody, then it is back for the primary, which we do not reach any more.
    for (const name of ['db1:3306', 'db2:3306', 'control']) world.cutLink('db3:3306', name);
    await pass(world, 1_000);
    world.cutLink('control', 'db1:3306');
    world.cutLink('db2:3306', 'db1:3306');
    world.cut.delete('db1:3306|db3:3306');
    assert.equal(await arrives(world, 2, 10_000), false);
    await settle(world);
  });

  test(`${flavor}: a replica that restarts while the candidate applies what it had follows the old primary again: it counts`, async () => {
    const world = await begin({ flavor });
    Object.assign(db(world, 2), { applySpeed: 1, applyChance: 0.02 });
    await pass(world, 2_000);
    world.cutLink('db1:3306', 'db3:3306');
    await pass(world, 500);
    // db2 alone has received the last writes, and has much to apply.
    world.cutLink('db1:3306', 'db2:3306');
    world.cutLink('control', 'db1:3306');
    for (let ms = 0; !world.isRecovering && ms < 10_000; ms += 100) await pass(world, 100);
    await pass(world, 1_500);
    assert.ok(world.isRecovering && db(world, 2).readOnly, 'it applies still');
    world.crash(db(world, 3));
    world.cut.delete('db1:3306|db3:3306');
    world.restart(db(world, 3));
    await pass(world, 20_000);
    await settle(world);
  });

  test(`${flavor}: a replica whose process is gone, and was gone before the primary died, stands in nobody's way`, async () => {
    const world = await begin({ flavor });
    world.crash(db(world, 3));
    await pass(world, 1_000);
    world.crash(db(world, 1));
    assert.ok(await arrives(world, 2, 10_000));
    await settle(world);
  });

  test(`${flavor}: what a former primary wrote itself does not keep the present one from taking writes again`, async () => {
    const world = await begin({ flavor, nodes: 2, durability: 'none', unfenced: 'promote' });
    world.cutLink('db1:3306', 'db2:3306');
    world.cutLink('control', 'db1:3306');
    assert.ok(await arrives(world, 2, 10_000));
    await pass(world, 1_000);
    world.crash(db(world, 2));
    await pass(world, 1_000);
    await settle(world);
    assert.equal(world.applied?.primary, 'db2:3306');
  });

  test(`${flavor}: a whole cluster that comes back waits for its primary, which has what nobody else was sent`, async () => {
    const world = await begin({ flavor, durability: 'none' });
    for (const id of [2, 3, 1]) world.crash(db(world, id));
    await pass(world, 5_000);
    for (const id of [2, 3]) world.restart(db(world, id));
    assert.equal(await arrives(world, 2, 5_000), false);
    world.restart(db(world, 1));
    assert.ok(await arrives(world, 1, 5_000));
    await settle(world);
    assert.equal(world.applied?.primary, 'db1:3306');
  });

  test(`${flavor}: a primary that does not come back with its cluster is not waited for for ever`, async () => {
    const world = await begin({ flavor, durability: 'none' });
    for (const node of world.nodes) world.crash(node);
    await pass(world, 5_000);
    for (const id of [2, 3]) world.restart(db(world, id));
    await pass(world, returnMs - 1_000);
    assert.equal(world.applied?.primary, 'db1:3306');
    await pass(world, 5_000);
    assert.notEqual(world.applied?.primary, 'db1:3306');
    await settle(world);
  });

  test(`${flavor}: a primary that is back before anybody was elected stays the primary`, async () => {
    const world = await begin({ flavor });
    world.crash(db(world, 1));
    for (let ms = 0; !world.isRecovering && ms < 10_000; ms += 1) await pass(world, 1);
    for (let ms = 0; db(world, 2).receiving && ms < 1_000; ms += 1) await pass(world, 1);
    world.restart(db(world, 1));
    assert.ok(await arrives(world, 1, 5_000));
    await settle(world);
    assert.equal(world.applied?.primary, 'db1:3306');
  });

  test(`${flavor}: a primary that cannot commit keeps its clients where nobody can take its place`, async () => {
    const world = await begin({ flavor });
    for (const id of [2, 3]) world.crash(db(world, id));
    world.stuck.add(db(world, 1));
    let refused = 0;
    for (let ms = 0; ms < 30_000; ms += 1) {
      await pass(world, 1);
      assert.equal(world.applied?.gate.state, 'open');
      if (world.isRecovering) refused += 1;
    }
    assert.ok(refused > 0, 'it was not even tried');
    world.stuck.delete(db(world, 1));
    for (const id of [2, 3]) world.restart(db(world, id));
    await settle(world);
    assert.equal(world.applied?.primary, 'db1:3306');
  });

  test(`${flavor}: an order to be read-only that the process left behind when it died is taken back`, async () => {
    const world = await begin({ flavor });
    world.stuck.add(db(world, 1));
    for (let ms = 0; !world.isRecovering && ms < 10_000; ms += 20) await pass(world, 20);
    // After the order was given, before anybody was promoted.
    for (let ms = 0; !db(world, 2).claimsStopped && db(world, 2).receiving && ms < 2_000; ms += 5) await pass(world, 5);
    await pass(world, 50);
    world.killControl();
    await pass(world, 1_000);
    world.startControl();
    await pass(world, 1_000);
    await settle(world);
  });

  test(`${flavor}: a promotion stands though the process died before anybody was let to it, and the old primary woke up`, async () => {
    const world = await promotedAndDied(flavor);
    world.restart(db(world, 1));
    await pass(world, 500);
    world.startControl();
    await pass(world, 1_000);
    await settle(world);
    assert.equal(world.applied?.primary, writer);
  });

  test(`${flavor}: what was acknowledged by a node that was promoted when the process died is there, though it died, too`, async () => {
    const world = await promotedAndDied(flavor);
    await pass(world, 2_000);
    world.crash(world.byName(writer));
    world.restart(db(world, 1));
    await pass(world, 500);
    world.startControl();
    await pass(world, 1_000);
    world.restart(world.byName(writer));
    await pass(world, 1_000);
    await settle(world);
    assert.equal(world.applied?.primary, writer);
  });

  test(`${flavor}: clients are let to a node that was promoted when the process died once its old primary is fenced`, async () => {
    const world = await promotedAndDied(flavor);
    const other = db(world, writer === 'db2:3306' ? 3 : 2);
    // Somebody makes it follow the old primary again, to which it would acknowledge.
    other.source = db(world, 1);
    world.crash(other);
    world.restart(other);
    world.startControl();
    await pass(world, 5_000);
    assert.notEqual(world.applied?.gate.state === 'open' && world.applied.primary, writer);
    db(world, 1).state = 'up';
    assert.ok(await arrives(world, Number(writer[2]), 20_000));
    await settle(world);
  });

  test(`${flavor}: nobody is promoted while a replica that restarts would acknowledge to an old primary that is silent`, async () => {
    const world = await begin({ flavor });
    db(world, 1).state = 'frozen';
    const stopped = () => [2, 3].every((id) => !db(world, id).receiving);
    for (let ms = 0; !stopped() && ms < 10_000; ms += 1) await pass(world, 1);
    // Whichever is not elected dies when the fence has been found to hold.
    const detached = () => [2, 3].find((id) => db(world, id).source === null);
    for (let ms = 0; detached() === undefined && ms < 3_000; ms += 0.2) await pass(world, 0.2);
    const other = db(world, detached() === 2 ? 3 : 2);
    assert.equal(other.source, db(world, 1));
    world.crash(other);
    await pass(world, 2_000);
    assert.ok([2, 3].every((id) => db(world, id).readOnly));
    assert.notEqual(world.applied?.gate.state, 'open');
    world.restart(other);
    db(world, 1).state = 'up';
    await pass(world, 1_000);
    await settle(world);
  });

  test(`${flavor}: a node that was promoted when the process died, and died itself, keeps nobody waiting`, async () => {
    const world = await promotedAndDied(flavor);
    world.startControl();
    await pass(world, 5);
    world.crash(world.byName(writer));
    await pass(world, 3_000);
    await settle(world);
  });
}

/** Whom it promoted. */
let writer = '';

/** The process dies between the promotion and the opening of the gate. */
async function promotedAndDied(flavor: WorldOptions['flavor']): Promise<ControlWorld> {
  const world = await begin({ flavor });
  db(world, 1).state = 'frozen';
  writer = '';
  for (const node of [db(world, 2), db(world, 3)]) {
    whenWritable(node, () => {
      writer = node.name;
      world.killControl();
    });
  }
  const promoted = () => writer !== '';
  for (let ms = 0; !promoted() && ms < 10_000; ms += 1) await pass(world, 1);
  assert.notEqual(writer, '', 'nobody was promoted');
  assert.equal(world.applied?.primary, 'db1:3306');
  return world;
}

/** Calls `then` once, before whoever made the node writable has his answer. */
function whenWritable(node: SimNode, then: () => void): void {
  const plain = (readOnly: boolean) => ({ configurable: true, enumerable: true, writable: true, value: readOnly });
  const set = (readOnly: boolean) => {
    if (readOnly) return;
    Object.defineProperty(node, 'readOnly', plain(readOnly));
    then();
  };
  Object.defineProperty(node, 'readOnly', { configurable: true, enumerable: true, get: () => true, set });
}
