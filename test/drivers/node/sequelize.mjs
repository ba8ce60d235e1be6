// Sequelize as applications use it: models, sync, associations, transactions, hooks of its own.
// usage: sequelize.mjs mysql|mariadb

import mariadbOfTheProject from 'mariadb';
import { DataTypes, Op, QueryTypes, Sequelize, Transaction } from 'sequelize';
import { byText, login, say } from './say.mjs';

const dialect = process.argv[2];
const db = new Sequelize(login.database, login.user, login.password, {
  dialect,
  host: login.host,
  port: login.port,
  logging: false,
  timezone: '+00:00',
  pool: { max: 6 },
  define: { charset: 'utf8mb4', timestamps: false },
  ...(dialect === 'mariadb' ? { dialectModule: mariadbOfTheProject } : {}),
});
const plain = (rows) => JSON.parse(JSON.stringify(rows));
const fails = async (at, work) =>
  say(
    at,
    await work().then(
      (value) => ({ wentWell: value }),
      (error) => [error.name, error.parent?.errno, error.parent?.sqlState, error.message.replace(/conn:\d+/, 'conn')],
    ),
  );
const Author = db.define('author', {
  name: { type: DataTypes.STRING(60), unique: true, allowNull: false },
  born: DataTypes.DATEONLY,
  extra: DataTypes.JSON,
});
const Book = db.define(
  'book',
  {
    id: { type: DataTypes.BIGINT, primaryKey: true, autoIncrement: true },
    title: DataTypes.STRING,
    price: DataTypes.DECIMAL(10, 2),
    cover: DataTypes.BLOB,
    sold: { type: DataTypes.BOOLEAN, defaultValue: false },
    at: DataTypes.DATE(3),
    kind: DataTypes.ENUM('paper', 'screen'),
  },
  { indexes: [{ fields: ['title'] }] },
);
const Tag = db.define('tag', { name: DataTypes.STRING(20) });
Author.hasMany(Book, { onDelete: 'CASCADE' });
Book.belongsTo(Author);
Book.belongsToMany(Tag, { through: 'book_tag', timestamps: false });
Tag.belongsToMany(Book, { through: 'book_tag', timestamps: false });

await db.authenticate();
await db.sync({ force: true });
say('synchronised', (await db.getQueryInterface().showAllTables()).map((t) => t.tableName ?? t).sort(byText));
say('version', await db.databaseVersion());
// In one transaction, so that both books are made on one connection, and in this order.
const author = await db.transaction((transaction) =>
  Author.create(
    {
      name: 'Zoë 🐘',
      born: '1970-02-28',
      extra: { a: [1, null] },
      books: [
        {
          title: 'one',
          price: '1.50',
          cover: Buffer.from([0, 255]),
          at: new Date(Date.UTC(2024, 1, 29, 1, 2, 3, 456)),
          kind: 'paper',
          tags: [{ name: 'x' }],
        },
        { title: null, sold: true },
      ],
    },
    { include: [{ model: Book, include: [Tag] }], transaction },
  ),
);
say('created', plain(author));
say('bulk', plain(await Tag.bulkCreate(Array.from({ length: 5 }, (_, i) => ({ name: `t${i}` })))));
say(
  'loaded',
  plain(
    await Author.findAll({
      include: [{ model: Book, include: [Tag] }],
      order: [
        ['id', 'ASC'],
        [Book, 'id', 'ASC'],
      ],
    }),
  ),
);
say(
  'found and counted',
  plain(
    await Book.findAndCountAll({
      where: { [Op.or]: [{ sold: true }, { price: { [Op.gt]: 1 } }] },
      order: ['id'],
      limit: 1,
    }),
  ),
);
say('aggregates', [await Book.count(), await Book.sum('price'), await Tag.max('name')]);
say('updated', await Book.update({ price: 3 }, { where: { sold: true } }));
say(
  'found or created',
  await Author.findOrCreate({ where: { name: 'second' } }).then(([row, made]) => [plain(row), made]),
);
say(
  'found or created again',
  await Author.findOrCreate({ where: { name: 'second' } }).then(([row, made]) => [plain(row), made]),
);
say('upsert', (await Author.upsert({ id: 2, name: 'upserted' }))[1]);
await (await Book.findByPk(1)).increment('price', { by: 2 });
say('incremented', plain(await Book.findByPk(1)));
await fails('duplicate key', () => Author.create({ name: 'upserted' }));
await fails('foreign key', () => Book.create({ authorId: 999 }));
await fails('missing table', () => db.query('SELECT * FROM missing'));
await fails('rolled back', () =>
  db.transaction(async (transaction) => {
    await Book.destroy({ where: {}, transaction });
    throw new Error('on purpose');
  }),
);
await db.transaction({ isolationLevel: Transaction.ISOLATION_LEVELS.READ_COMMITTED }, async (transaction) => {
  const locked = await Book.findByPk(1, { transaction, lock: true });
  await locked.update({ title: 'locked' }, { transaction });
  const inner = await db.transaction({ transaction });
  await Book.destroy({ where: {}, transaction: inner });
  await inner.rollback();
});
say('after', plain(await Book.findAll({ order: ['id'] })));
say('raw', await db.query('SELECT :a AS a, :b AS b', { replacements: { a: 1, b: "it's" }, type: QueryTypes.SELECT }));
say('bound', await db.query('SELECT $1 AS a, $2 AS b', { bind: [1, 'ü'], type: QueryTypes.SELECT }));
say(
  'together',
  await Promise.all(
    Array.from({ length: 24 }, (_, i) =>
      db
        .transaction(async (transaction) => {
          await db.query(`SET @mine = ${i}`, { transaction });
          await Author.create({ name: `w${i}` }, { transaction });
          const [row] = await db.query('SELECT @mine AS m', { transaction, type: QueryTypes.SELECT });
          if (i % 2) throw new Error('odd');
          return Number(row.m);
        })
        .catch((error) => error.message),
    ),
  ),
);
say(
  'what was committed',
  (await Author.findAll({ where: { name: { [Op.like]: 'w%' } } })).map((a) => a.name).sort(byText),
);
const structure = db.getQueryInterface();
await structure.addColumn('books', 'pages', { type: DataTypes.INTEGER, defaultValue: 7 });
await structure.changeColumn('books', 'title', { type: DataTypes.STRING(500) });
say('described', plain(await structure.describeTable('books')));
say(
  'indexes',
  plain(await structure.showIndex('books')).map((i) => [i.name, i.unique, i.fields]),
);
say(
  'keys',
  plain(await structure.getForeignKeyReferencesForTable('books')).map((k) => [k.columnName, k.referencedTableName]),
);
await db.drop();
say('dropped', await structure.showAllTables());
await db.close();
