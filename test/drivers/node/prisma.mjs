// Prisma as applications use it since version 7: the client without a native engine, over the MariaDB driver's adapter.
// Its engine for schemas is a binary that is downloaded, so the tables are made by SQL; generating the client needs none.
import { execFileSync } from 'node:child_process';
import { PrismaMariaDb } from '@prisma/adapter-mariadb';
import { login, say } from './say.mjs';

const root = new URL('../../../', import.meta.url).pathname;
execFileSync(
  process.execPath,
  [
    `${root}node_modules/prisma/build/index.js`,
    'generate',
    '--schema',
    `${root}test/drivers/node/prisma/schema.prisma`,
  ],
  {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
    // Named, so that it does not look for it on the network.
    env: {
      ...process.env,
      PRISMA_SCHEMA_ENGINE_BINARY: process.execPath,
      CHECKPOINT_DISABLE: '1',
      PRISMA_HIDE_UPDATE_MESSAGE: '1',
    },
  },
);
const { PrismaClient, Prisma } = await import(
  new URL('../../../.runtime/prisma-client/client.ts', import.meta.url).href
);
const adapter = new PrismaMariaDb({ ...login, connectionLimit: 6, allowPublicKeyRetrieval: true });
const db = new PrismaClient({ adapter });
const plain = (value) => JSON.parse(JSON.stringify(value, (_, each) => (typeof each === 'bigint' ? `${each}n` : each)));
const tell = (at, value) => say(at, plain(value));
const fails = async (at, work) =>
  say(
    at,
    await work().then(
      (value) => ({ wentWell: plain(value) }),
      (error) => [error.constructor.name, error.code, error.message.split('\n').at(-1)],
    ),
  );

for (const sql of [
  'CREATE TABLE `Author` (`id` INT AUTO_INCREMENT PRIMARY KEY, `name` VARCHAR(60) NOT NULL, `born` DATE, `extra` JSON, UNIQUE INDEX `Author_name_key` (`name`))',
  "CREATE TABLE `Book` (`id` BIGINT AUTO_INCREMENT PRIMARY KEY, `title` VARCHAR(191), `price` DECIMAL(10,2), `sold` BOOLEAN NOT NULL DEFAULT false, `kind` ENUM('paper','screen') NOT NULL DEFAULT 'paper', `cover` LONGBLOB, `at` DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3), `authorId` INT NOT NULL, INDEX `Book_title_idx` (`title`), FOREIGN KEY (`authorId`) REFERENCES `Author` (`id`) ON DELETE CASCADE)",
  'CREATE TABLE `Tag` (`id` INT AUTO_INCREMENT PRIMARY KEY, `name` VARCHAR(191) NOT NULL, UNIQUE INDEX `Tag_name_key` (`name`))',
  'CREATE TABLE `_BookToTag` (`A` BIGINT NOT NULL, `B` INT NOT NULL, UNIQUE INDEX (`A`, `B`), INDEX (`B`), FOREIGN KEY (`A`) REFERENCES `Book` (`id`) ON DELETE CASCADE, FOREIGN KEY (`B`) REFERENCES `Tag` (`id`) ON DELETE CASCADE)',
])
  await db.$executeRawUnsafe(sql);
const at = new Date(Date.UTC(2024, 1, 29, 1, 2, 3, 456));
tell(
  'created',
  await db.author.create({
    data: {
      name: 'Zoë 🐘',
      born: new Date('1970-02-28'),
      extra: { a: [1, null] },
      books: {
        create: [
          {
            title: 'one',
            price: '1.50',
            at,
            cover: Buffer.from([0, 255]),
            tags: { create: [{ name: 'x' }, { name: 'y' }] },
          },
          { sold: true, kind: 'screen', at },
        ],
      },
    },
    include: { books: { include: { tags: true } } },
  }),
);
tell(
  'many',
  await db.author.createMany({ data: Array.from({ length: 20 }, (_, i) => ({ name: `n${i}` })), skipDuplicates: true }),
);
tell(
  'found',
  await db.author.findMany({
    where: { books: { some: { price: { gt: 1 } } } },
    include: { books: { orderBy: { id: 'asc' } }, _count: true },
  }),
);
tell(
  'related',
  await db.book.findMany({
    where: { tags: { some: { name: { in: ['x', 'zz'] } } } },
    select: { id: true, title: true, author: { select: { name: true } } },
  }),
);
tell('aggregates', [
  await db.book.aggregate({ _sum: { price: true }, _count: true }),
  await db.book.groupBy({ by: ['kind'], _count: true, orderBy: { kind: 'asc' } }),
]);
tell(
  'updated',
  await db.book.update({
    where: { id: 1n },
    data: { price: { increment: 2 }, tags: { disconnect: { name: 'y' } } },
    include: { tags: true },
  }),
);
tell('upsert', [
  await db.author.upsert({ where: { name: 'n1' }, create: { name: 'n1' }, update: { name: 'renamed' } }),
  await db.author.upsert({ where: { name: 'new' }, create: { name: 'new', extra: Prisma.JsonNull }, update: {} }),
]);
tell(
  'pages',
  await db.author.findMany({ take: 3, skip: 1, cursor: { id: 4 }, orderBy: { id: 'asc' }, select: { name: true } }),
);
await fails('duplicate key', () => db.author.create({ data: { name: 'new' } }));
await fails('foreign key', () => db.book.create({ data: { authorId: 999 } }));
await fails('not found', () => db.author.update({ where: { id: 999 }, data: { name: 'x' } }));
await fails('rolled back', () =>
  db.$transaction(async (tx) => {
    await tx.book.deleteMany();
    throw new Error('on purpose');
  }),
);
tell(
  'batch',
  await db.$transaction([db.tag.create({ data: { name: 'in a batch' } }), db.tag.count()], {
    isolationLevel: 'Serializable',
  }),
);
tell('raw', await db.$queryRaw`SELECT ${1} AS a, ${'ü'} AS b, ${null} AS c, CAST(${'1.5'} AS DECIMAL(5,2)) AS d`);
await fails('missing table', () => db.$queryRawUnsafe('SELECT * FROM missing'));
say(
  'together',
  await Promise.all(
    Array.from({ length: 18 }, (_, i) =>
      db
        .$transaction(
          async (tx) => {
            await tx.$executeRawUnsafe(`SET @mine = ${i}`);
            await tx.tag.create({ data: { name: `w${i}` } });
            const [row] = await tx.$queryRaw`SELECT @mine AS m`;
            if (i % 2) throw new Error('odd');
            return Number(row.m);
          },
          { maxWait: 20_000, timeout: 20_000 },
        )
        .catch((error) => error.message),
    ),
  ),
);
tell(
  'what was committed',
  (await db.tag.findMany({ where: { name: { startsWith: 'w' } } })).map((tag) => tag.name).sort(),
);
tell('deleted', [await db.author.delete({ where: { id: 1 }, select: { id: true } }), await db.book.count()]);
await db.$disconnect();
