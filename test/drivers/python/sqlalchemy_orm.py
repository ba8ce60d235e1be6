"""SQLAlchemy as applications use it: an engine with a pool, reflection, the ORM, transactions.

usage: sqlalchemy_orm.py pymysql|mysqldb
"""
import datetime
import decimal
import sys
from concurrent.futures import ThreadPoolExecutor

import sqlalchemy as sa
from sqlalchemy import orm

from say import HOST, NAME, PASSWORD, PORT, USER, fails, say

url = sa.engine.URL.create("mysql+" + sys.argv[1], USER, PASSWORD, HOST, PORT, NAME, {"charset": "utf8mb4"})
engine = sa.create_engine(url, future=True, pool_size=5, max_overflow=2, pool_pre_ping=True, pool_recycle=3600)
Base = orm.declarative_base()
tags = sa.Table("book_tag", Base.metadata, sa.Column("book_id", sa.ForeignKey("book.id"), primary_key=True), sa.Column("tag_id", sa.ForeignKey("tag.id"), primary_key=True))


class Author(Base):
    __tablename__ = "author"
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.String(60), nullable=False, unique=True)
    born = sa.Column(sa.Date)
    books = orm.relationship("Book", back_populates="author", cascade="all, delete-orphan", order_by="Book.id")


class Book(Base):
    __tablename__ = "book"
    id = sa.Column(sa.BigInteger, primary_key=True)
    author_id = sa.Column(sa.ForeignKey("author.id"), nullable=False)
    title = sa.Column(sa.Unicode(100), index=True)
    price = sa.Column(sa.Numeric(10, 2), default=decimal.Decimal("9.90"))
    printed = sa.Column(sa.DateTime, server_default=sa.text("'2024-01-01 00:00:00'"))
    cover = sa.Column(sa.LargeBinary)
    extra = sa.Column(sa.JSON)
    sold = sa.Column(sa.Boolean, nullable=False, default=False)
    author = orm.relationship("Author", back_populates="books")
    tags = orm.relationship("Tag", secondary=tags, order_by="Tag.id")


class Tag(Base):
    __tablename__ = "tag"
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.Enum("old", "new", "rare"))


say("versions", [sa.__version__, engine.dialect.driver])
Base.metadata.create_all(engine)
Base.metadata.create_all(engine)
say("server version", [list(engine.dialect.server_version_info), engine.dialect.default_schema_name, engine.dialect.is_mariadb])
Session = orm.sessionmaker(engine, future=True)
with Session() as session:
    old, rare = Tag(name="old"), Tag(name="rare")
    author = Author(name="Zoë 🐘", born=datetime.date(1970, 2, 28))
    author.books = [
        Book(title="one", cover=b"\x00\xff", extra={"a": [1, None, "ü"]}, tags=[old, rare]),
        Book(title=None, price=None, extra=None, sold=True),
        Book(title="three", price=decimal.Decimal("0.01"), tags=[rare]),
    ]
    session.add_all([author, Author(name="nobody")])
    session.commit()
    say("ids", [author.id, [book.id for book in author.books], old.id, rare.id])
    say("defaults", [[book.price, book.printed, book.sold] for book in author.books])
with Session() as session:
    query = sa.select(Author).options(orm.selectinload(Author.books).joinedload(Book.tags)).order_by(Author.id)
    say("loaded", [[a.name, a.born, [[b.title, b.cover, b.extra, [t.name for t in b.tags]] for b in a.books]] for a in session.execute(query).unique().scalars()])
    say("joined", session.execute(sa.select(Author.name, sa.func.count(Book.id), sa.func.sum(Book.price)).outerjoin(Book).group_by(Author.id).order_by(Author.id)).all())
    say("in", session.execute(sa.select(Book.id).where(Book.title.in_(["one", "three"])).order_by(Book.id)).scalars().all())
    author = session.get(Author, 1)
    author.books.pop(0)
    author.name = "renamed"
    session.flush()
    with session.begin_nested() as nested:
        session.add(Author(name="in a savepoint"))
        session.flush()
        nested.rollback()
    session.commit()
    say("after", session.execute(sa.select(Author.id, Author.name).order_by(Author.id)).all())
    say("orphans", session.execute(sa.text("SELECT id, title FROM book ORDER BY id")).all())
    session.add(Author(name="renamed"))
    fails("duplicate key", session.commit)
    session.rollback()
    say("after the error", session.execute(sa.select(sa.func.count()).select_from(Author)).scalar())
    say("locked", session.execute(sa.select(Book.id).where(Book.id == 2).with_for_update()).all())
with engine.connect().execution_options(isolation_level="SERIALIZABLE") as connection:
    say("serializable", connection.execute(sa.text("SELECT %s" % ("@@tx_isolation" if engine.dialect.is_mariadb else "@@transaction_isolation"))).scalar())
with engine.connect() as connection:
    say("isolation level again", connection.get_isolation_level())
    result = connection.execution_options(stream_results=True).execute(sa.text("SELECT character_set_name FROM information_schema.character_sets ORDER BY 1"))
    say("streamed", len([row for row in result]))
with engine.begin() as connection:
    say("bulk", connection.execute(sa.insert(Tag), [{"name": "new"} for _ in range(20)]).rowcount)
    say("core", connection.execute(sa.update(Tag).where(Tag.name == "new").values(name="old")).rowcount)
    from sqlalchemy.dialects.mysql import insert
    say("upsert", connection.execute(insert(Author).values(id=1, name="x").on_duplicate_key_update(name="upserted")).rowcount)
inspector = sa.inspect(engine)
say("tables", sorted(inspector.get_table_names()))
say("reflected", [[str(column["type"]), column["name"], column["nullable"], str(column["default"])] for table in sorted(inspector.get_table_names()) for column in inspector.get_columns(table)])
say("keys", [[inspector.get_pk_constraint(t), inspector.get_foreign_keys(t), sorted(inspector.get_indexes(t), key=str), inspector.get_unique_constraints(t)] for t in sorted(inspector.get_table_names())])


def work(i):
    with Session() as session:
        session.execute(sa.text("SET @mine = :i"), {"i": i})
        session.add(Author(name="worker %d" % i))
        session.flush()
        mine = session.execute(sa.text("SELECT @mine")).scalar()
        session.commit() if i % 2 else session.rollback()
        return [i, mine]


with ThreadPoolExecutor(6) as pool:
    say("together", list(pool.map(work, range(24))))
with Session() as session:
    say("what was committed", sorted(session.execute(sa.select(Author.name).where(Author.name.like("worker%"))).scalars()))
Base.metadata.drop_all(engine)
say("dropped", sa.inspect(engine).get_table_names())
fails("missing table", lambda: Session().execute(sa.select(Author)))
engine.dispose()
