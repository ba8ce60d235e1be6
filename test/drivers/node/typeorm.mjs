// TypeORM as applications use it: entities, synchronisation, migrations made by looking at the schema, query runners.
import { DataSource, EntitySchema, In } from 'typeorm';
import { byText, fails, login, say } from './say.mjs';

const Author = new EntitySchema({
  name: 'Author',
  columns: {
    id: { type: 'int', primary: true, generated: true },
    name: { type: 'varchar', length: 60, unique: true },
    born: { type: 'date', nullable: true },
    extra: { type: 'json', nullable: true },
    version: { type: 'int', version: true },
  },
  relations: { books: { type: 'one-to-many', target: 'Book', inverseSide: 'author', cascade: true } },
});
const Book = new EntitySchema({
  name: 'Book',
  columns: {
    id: { type: 'bigint', primary: true, generated: true },
    title: { type: 'varchar', nullable: true },
    price: { type: 'decimal', precision: 10, scale: 2, default: 0 },
    cover: { type: 'blob', nullable: true },
    sold: { type: 'boolean', default: false },
    kind: { type: 'enum', enum: ['paper', 'screen'], default: 'paper' },
    at: { type: 'datetime', precision: 6, nullable: true },
  },
  indices: [{ columns: ['title'] }],
  relations: {
    author: { type: 'many-to-one', target: 'Author', inverseSide: 'books', onDelete: 'CASCADE' },
    tags: { type: 'many-to-many', target: 'Tag', joinTable: true, cascade: true },
  },
});
const Tag = new EntitySchema({
  name: 'Tag',
  columns: { id: { type: 'int', primary: true, generated: true }, name: { type: 'varchar', length: 20 } },
});

const { user: username, ...where } = login;
const db = new DataSource({
  type: process.argv[2],
  ...where,
  username,
  charset: 'utf8mb4',
  timezone: 'Z',
  entities: [Author, Book, Tag],
  synchronize: true,
  poolSize: 6,
  bigNumberStrings: true,
  supportBigNumbers: true,
});
await db.initialize();
await db.synchronize();
say(
  'nothing left to change',
  (await db.driver.createSchemaBuilder().log()).upQueries.map((q) => q.query),
);
const authors = db.getRepository('Author');
const books = db.getRepository('Book');
say(
  'saved',
  await authors.save({
    name: 'Zoë 🐘',
    born: '1970-02-28',
    extra: { a: [1, null] },
    books: [
      {
        title: 'one',
        price: '1.50',
        cover: Buffer.from([0, 255]),
        at: new Date(Date.UTC(2024, 1, 29, 1, 2, 3)),
        tags: [{ name: 'x' }],
      },
      { sold: true, kind: 'screen' },
    ],
  }),
);
say(
  'inserted',
  (
    await db
      .createQueryBuilder()
      .insert()
      .into('Tag')
      .values([{ name: 'a' }, { name: 'b' }])
      .execute()
  ).identifiers,
);
say('found', await authors.find({ relations: { books: { tags: true } }, order: { id: 'ASC', books: { id: 'ASC' } } }));
say(
  'query builder',
  await books
    .createQueryBuilder('b')
    .leftJoinAndSelect('b.author', 'a')
    .where('b.price > :p', { p: 1 })
    .orderBy('b.id')
    .getManyAndCount(),
);
say('raw', await books.createQueryBuilder('b').select('SUM(b.price)', 'sum').addSelect('COUNT(*)', 'n').getRawOne());
const author = await authors.findOneBy({ id: 1 });
author.name = 'renamed';
say('versioned', await authors.save(author));
say('updated', (await books.update({ sold: true }, { price: 9 })).affected);
say('upsert', (await authors.upsert([{ name: 'renamed', extra: [] }], ['name'])).generatedMaps);
await books.increment({ id: '1' }, 'price', 2);
say('in', await books.find({ where: { id: In(['1', '2']) }, order: { id: 'ASC' } }));
await fails('duplicate key', () => authors.insert({ name: 'renamed' }));
await fails('missing table', () => db.query('SELECT * FROM missing'));
await fails('rolled back', () =>
  db.transaction(async (manager) => {
    await manager
      .getRepository('Book')
      .clear()
      .catch((error) => say('cleared', error.errno));
    await manager.query('DELETE FROM book');
    throw new Error('on purpose');
  }),
);
await db.transaction('SERIALIZABLE', async (manager) => {
  await manager.getRepository('Book').save({ id: '1', title: 'in a transaction' });
  await manager
    .transaction(async (inner) => {
      await inner.query('DELETE FROM book_tags_tag');
      throw new Error('inner');
    })
    .catch(() => {});
});
const runner = db.createQueryRunner();
await runner.connect();
await runner.startTransaction('READ COMMITTED');
say(
  'locked',
  await runner.manager.createQueryBuilder('Book', 'b').setLock('pessimistic_write').where('b.id = 1').getOne(),
);
await runner.rollbackTransaction();
say(
  'tables',
  (await runner.getTables(['author', 'book', 'tag']))
    .map((t) => [
      t.name.split('.').at(-1),
      t.columns.map((c) => [c.name, c.type, c.isNullable, c.default]).sort(byText),
      t.indices.map((i) => i.columnNames).sort(byText),
      t.foreignKeys.map((k) => k.columnNames).sort(byText),
    ])
    .sort(byText),
);
const stream = await runner.stream(
  'SELECT a.character_set_name FROM information_schema.character_sets a, information_schema.character_sets b',
);
let count = 0;
for await (const row of stream) count += Object.keys(row).length;
say('streamed', count);
await runner.release();
say(
  'together',
  await Promise.all(
    Array.from({ length: 24 }, (_, i) =>
      db
        .transaction(async (manager) => {
          await manager.query('SET @mine = ?', [i]);
          await manager.getRepository('Tag').insert({ name: `w${i}` });
          const [row] = await manager.query('SELECT @mine AS m');
          if (i % 2) throw new Error('odd');
          return Number(row.m);
        })
        .catch((error) => error.message),
    ),
  ),
);
say('what was committed', (await db.query("SELECT name FROM tag WHERE name LIKE 'w%'")).map((row) => row.name).sort());
await db.dropDatabase();
await db.destroy();
