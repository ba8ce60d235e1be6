// Drizzle as applications use it: schema in code, relations, prepared queries, nested transactions, over mysql2.

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { asc, count, eq, gt, inArray, relations, sql, sum } from 'drizzle-orm';
import {
  bigint,
  boolean,
  date,
  datetime,
  decimal,
  int,
  json,
  mysqlEnum,
  mysqlTable,
  varchar,
} from 'drizzle-orm/mysql-core';
import { drizzle } from 'drizzle-orm/mysql2';
import { migrate } from 'drizzle-orm/mysql2/migrator';
import mysql from 'mysql2/promise';
import { failure, login, say } from './say.mjs';

const authors = mysqlTable('authors', {
  id: int().autoincrement().primaryKey(),
  name: varchar({ length: 60 }).notNull().unique(),
  born: date(),
  extra: json(),
});
const books = mysqlTable('books', {
  id: bigint({ mode: 'bigint' }).autoincrement().primaryKey(),
  authorId: int().references(() => authors.id),
  title: varchar({ length: 100 }),
  price: decimal({ precision: 10, scale: 2 }),
  sold: boolean().default(false),
  kind: mysqlEnum(['paper', 'screen']),
  at: datetime({ fsp: 3 }),
});
const authorRelations = relations(authors, ({ many }) => ({ books: many(books) }));
const bookRelations = relations(books, ({ one }) => ({
  author: one(authors, { fields: [books.authorId], references: [authors.id] }),
}));
const pool = mysql.createPool({ ...login, connectionLimit: 6 });
// Drizzle reads relations with lateral joins, which MariaDB does not have.
const [[{ version }]] = await pool.query('SELECT VERSION() AS version');
const db = drizzle(pool, {
  mode: 'default',
  casing: 'snake_case',
  schema: { authors, books, authorRelations, bookRelations },
});
const fails = async (at, work) =>
  say(
    at,
    await work().then(
      (value) => ({ wentWell: value }),
      (error) => failure(error.cause ?? error),
    ),
  );

const folder = await mkdtemp(join(tmpdir(), 'evenkeel-drizzle-'));
await mkdir(join(folder, 'meta'));
await writeFile(
  join(folder, 'meta/_journal.json'),
  JSON.stringify({
    version: '7',
    dialect: 'mysql',
    entries: [{ idx: 0, version: '5', when: 1, tag: '0000_first', breakpoints: true }],
  }),
);
await writeFile(
  join(folder, '0000_first.sql'),
  [
    'CREATE TABLE `authors` (`id` int AUTO_INCREMENT PRIMARY KEY, `name` varchar(60) NOT NULL UNIQUE, `born` date, `extra` json)',
    "CREATE TABLE `books` (`id` bigint AUTO_INCREMENT PRIMARY KEY, `author_id` int, `title` varchar(100), `price` decimal(10,2), `sold` boolean DEFAULT false, `kind` enum('paper','screen'), `at` datetime(3), FOREIGN KEY (`author_id`) REFERENCES `authors` (`id`))",
  ].join(';\n--> statement-breakpoint\n'),
);
await migrate(db, { migrationsFolder: folder });
await migrate(db, { migrationsFolder: folder });
await rm(folder, { recursive: true });
say('migrations', (await db.execute(sql`SELECT COUNT(*) AS n FROM __drizzle_migrations`))[0]);
say(
  'ids',
  await db
    .insert(authors)
    .values([{ name: 'Zoë 🐘', born: new Date(Date.UTC(1970, 1, 28)), extra: { a: [1, null] } }, { name: 'b' }])
    .$returningId(),
);
say(
  'inserted',
  (
    await db.insert(books).values([
      { authorId: 1, title: 'one', price: '1.50', kind: 'paper', at: new Date(Date.UTC(2024, 1, 29, 1, 2, 3, 456)) },
      { authorId: 1, sold: true },
      { authorId: 2, title: 'three', price: '3' },
    ])
  )[0],
);
say('rows', await db.select().from(books).leftJoin(authors, eq(books.authorId, authors.id)).orderBy(asc(books.id)));
if (!/mariadb/i.test(version))
  say(
    'related',
    await db.query.authors.findMany({
      with: { books: { orderBy: asc(books.id), columns: { title: true, price: true } } },
      orderBy: asc(authors.id),
    }),
  );
say(
  'aggregates',
  await db
    .select({ author: books.authorId, n: count(), sum: sum(books.price) })
    .from(books)
    .groupBy(books.authorId)
    .orderBy(asc(books.authorId)),
);
const prepared = db
  .select({ id: books.id, title: books.title })
  .from(books)
  .where(gt(books.id, sql.placeholder('from')))
  .orderBy(asc(books.id))
  .prepare();
for (const from of [0n, 1n, 9n]) say('prepared', await prepared.execute({ from }));
say(
  'updated',
  (
    await db
      .update(books)
      .set({ price: '9.99' })
      .where(inArray(books.id, [1n, 2n]))
  )[0],
);
say(
  'upsert',
  (
    await db
      .insert(authors)
      .values({ name: 'b', extra: [] })
      .onDuplicateKeyUpdate({ set: { extra: sql`VALUES(extra)` } })
  )[0],
);
await fails('duplicate key', () => db.insert(authors).values({ name: 'b' }));
await fails('foreign key', () => db.insert(books).values({ authorId: 99 }));
await fails('missing table', () => db.execute(sql`SELECT * FROM missing`));
await db
  .transaction(
    async (tx) => {
      await tx.delete(books).where(eq(books.id, 3n));
      await tx
        .transaction(async (inner) => {
          await inner.delete(books);
          inner.rollback();
        })
        .catch((error) => say('a savepoint', error.message));
      say('in the transaction', await tx.select({ n: count() }).from(books));
    },
    { isolationLevel: 'read committed', accessMode: 'read write', withConsistentSnapshot: true },
  )
  .catch((error) => say('not together', failure(error.cause ?? error)));
await fails('rolled back', () =>
  db.transaction(async (tx) => {
    await tx.delete(books);
    throw new Error('on purpose');
  }),
);
say('after', await db.select({ n: count() }).from(books));
let seen = 0;
for await (const row of db.select().from(books).iterator()) seen += Number(row.id);
say('iterated', seen);
say(
  'together',
  await Promise.all(
    Array.from({ length: 24 }, (_, i) =>
      db
        .transaction(async (tx) => {
          await tx.execute(sql`SET @mine = ${i}`);
          await tx.insert(authors).values({ name: `w${i}` });
          const [[row]] = await tx.execute(sql`SELECT @mine AS m`);
          if (i % 2) throw new Error('odd');
          return Number(row.m);
        })
        .catch((error) => error.message),
    ),
  ),
);
say(
  'what was committed',
  (await db.select({ name: authors.name }).from(authors).where(sql`name LIKE 'w%'`)).map((row) => row.name).sort(),
);
await pool.end();
