"""PyMySQL and mysqlclient (MySQLdb), as applications use them: both speak Python's database interface.

usage: dbapi.py pymysql|MySQLdb
"""
import datetime
import decimal
import importlib
import sys
import tempfile
import threading

from say import HOST, NAME, OTHER_PASSWORD, OTHER_USER, PASSWORD, PORT, USER, fails, say

name = sys.argv[1]
driver = importlib.import_module(name)
cursors = importlib.import_module(name + ".cursors")
client_flags = importlib.import_module(name + ".constants.CLIENT")


def connect(**options):
    settings = dict(host=HOST, port=PORT, user=USER, password=PASSWORD, database=NAME, charset="utf8mb4")
    settings.update(options)
    return driver.connect(**settings)


def ask(db, sql, values=None):
    with db.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()


def connecting():
    db = connect()
    say("version", [str(driver.__version__), db.get_server_info()])
    say("the session as it begins", ask(db, "SELECT @@character_set_client, @@collation_connection, @@sql_mode, @@time_zone, @@autocommit, DATABASE()"))
    say("autocommit as the driver knows it", db.get_autocommit())
    say("character set", db.character_set_name())
    say("host info", db.get_host_info() != "")
    db.ping()
    db.close()
    fails("after close", lambda: ask(db, "SELECT 1"))
    db = connect(init_command="SET time_zone = '+03:00', @hello = 'world'", sql_mode="ANSI_QUOTES", autocommit=True, charset="latin1")
    say("with options", ask(db, "SELECT @@time_zone, @hello, @@sql_mode, @@autocommit, @@character_set_client, 'é', HEX('é')"))
    db.close()
    fails("a wrong password", lambda: connect(password="wrong"))
    fails("a schema that is not there", lambda: connect(database="d_missing"))


def types(db):
    with db.cursor() as cursor:
        cursor.execute("""CREATE TABLE things (
            id INT AUTO_INCREMENT PRIMARY KEY, big BIGINT UNSIGNED, price DECIMAL(20,6), f FLOAT, d DOUBLE, day DATE, at DATETIME(6), ts TIMESTAMP NULL,
            t TIME(3), y YEAR, name VARCHAR(100), raw BLOB, doc JSON, bits BIT(9), kind ENUM('a','b'), tags SET('x','y'), UNIQUE KEY name_key (name))
            ENGINE=InnoDB DEFAULT CHARSET=utf8mb4""")
        columns = "big,price,f,d,day,at,ts,t,y,name,raw,doc,kind,tags"
        row = (18446744073709551615, decimal.Decimal("12345678901234.123456"), 1.5, 0.1, datetime.date(2024, 2, 29), datetime.datetime(2024, 2, 29, 13, 14, 15, 123456),
               datetime.datetime(2024, 1, 2, 3, 4, 5), datetime.timedelta(hours=-12, minutes=3), 2024, "Zoë 🐘 '\"\\%", b"\x00\xff'\\", '{"a": [1, null]}', "b", "x,y")
        marks = ",".join(["%s"] * len(row))
        say("inserted", [cursor.execute("INSERT INTO things (%s) VALUES (%s)" % (columns, marks), row), cursor.lastrowid, cursor.rowcount])
        say("inserted nothing", [cursor.execute("INSERT INTO things (%s) VALUES (%s)" % (columns, marks), [None] * len(row)), cursor.lastrowid])
        say("many", [cursor.executemany("INSERT INTO things (name, d) VALUES (%s, %s)", [("n%d" % i, i / 4) for i in range(50)]), cursor.lastrowid, cursor.rowcount])
        cursor.execute("SELECT * FROM things ORDER BY id LIMIT 4")
        say("columns", cursor.description)
        say("rows", cursor.fetchall())
        cursor.execute("SELECT name FROM things WHERE name IN %s ORDER BY name", (["n1", "n2", "zz"],))
        say("in", [cursor.fetchone(), cursor.fetchmany(5), cursor.fetchone()])
        say("named values", [cursor.execute("UPDATE things SET d = %(d)s WHERE name = %(name)s", {"d": 9, "name": "n3"}), cursor.rowcount])
        say("nothing changed", cursor.execute("UPDATE things SET d = 9 WHERE name = 'n3'"))
        cursor.execute("SELECT LAST_INSERT_ID(), ROW_COUNT()")
        say("last insert id", cursor.fetchall())
    with db.cursor(cursors.DictCursor) as cursor:
        cursor.execute("SELECT id, name, 1 + 1 AS two FROM things WHERE name = 'n1'")
        say("as a dictionary", cursor.fetchone())
    db.commit()


def transactions(db, second):
    ask(db, "CREATE TABLE account (id INT PRIMARY KEY, amount INT) ENGINE=InnoDB")
    # Autocommit is off, as Python's interface asks for.
    ask(db, "INSERT INTO account VALUES (1, 100)")
    say("not seen from outside", ask(second, "SELECT * FROM account"))
    db.commit()
    second.commit()
    say("seen", ask(second, "SELECT * FROM account"))
    ask(db, "UPDATE account SET amount = 5")
    ask(db, "SAVEPOINT one")
    ask(db, "DELETE FROM account")
    ask(db, "ROLLBACK TO one")
    say("back to the savepoint", ask(db, "SELECT * FROM account"))
    db.rollback()
    say("rolled back", ask(db, "SELECT * FROM account"))
    say("repeatable read", ask(second, "SELECT * FROM account"))
    ask(db, "UPDATE account SET amount = 6")
    db.commit()
    say("still as before", ask(second, "SELECT * FROM account"))
    second.rollback()
    say("now new", ask(second, "SELECT * FROM account"))
    second.rollback()
    db.begin() if hasattr(db, "begin") else ask(db, "BEGIN")
    ask(db, "SELECT * FROM account WHERE id = 1 FOR UPDATE")
    ask(second, "SET SESSION innodb_lock_wait_timeout = 1")
    fails("a lock that is not given", lambda: ask(second, "UPDATE account SET amount = 0"))
    db.rollback()
    second.rollback()
    db.autocommit(True)
    say("autocommit", [db.get_autocommit(), ask(db, "SELECT @@autocommit")])
    db.autocommit(False)
    ask(db, "SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
    say("read committed", ask(db, "SELECT * FROM account"))
    ask(second, "UPDATE account SET amount = 7")
    second.commit()
    say("sees what was committed", ask(db, "SELECT * FROM account"))
    db.commit()


def errors(db):
    fails("syntax", lambda: ask(db, "SELEC 1"))
    fails("missing table", lambda: ask(db, "SELECT * FROM missing"))
    fails("duplicate key", lambda: ask(db, "INSERT INTO things (name) VALUES ('n1')"))
    fails("too long", lambda: ask(db, "INSERT INTO things (name) VALUES (%s)", ("x" * 200,)))
    fails("out of range", lambda: ask(db, "INSERT INTO things (big) VALUES (-1)"))
    fails("no default", lambda: ask(db, "INSERT INTO account (amount) VALUES (1)"))
    fails("signal", lambda: ask(db, "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'own words'"))
    ask(db, "INSERT IGNORE INTO things (name) VALUES ('n1'), ('n2')")
    say("warnings", ask(db, "SHOW WARNINGS"))
    ask(db, "SELECT SQL_CALC_FOUND_ROWS id FROM things LIMIT 3")
    say("found rows", ask(db, "SELECT FOUND_ROWS()"))
    ask(db, "SET @a = 1, @b = 'ü', @c = NULL")
    say("user variables", ask(db, "SELECT @a, @b, @c, @d := @a + 1"))
    say("user variable again", ask(db, "SELECT @d"))
    ask(db, "PREPARE st FROM 'SELECT ? + ? AS n'")
    ask(db, "SET @x = 3")
    say("prepared by SQL", [ask(db, "EXECUTE st USING @x, @a"), ask(db, "EXECUTE st USING @a, @a"), ask(db, "DEALLOCATE PREPARE st")])
    db.rollback()


def procedures(db):
    ask(db, "CREATE PROCEDURE sums(IN n INT, OUT twice INT) BEGIN SELECT n AS n; SELECT n AS a, n * n AS b UNION SELECT 0, 0; SET twice = 2 * n; END")
    with db.cursor() as cursor:
        cursor.callproc("sums", (3, 0))
        say("a procedure", cursor.fetchall())
        while cursor.nextset():
            say("its next result", [cursor.fetchall(), cursor.rowcount])
        cursor.execute("SELECT @_sums_0, @_sums_1")
        say("its parameters", cursor.fetchall())
    many = connect(client_flag=client_flags.MULTI_STATEMENTS)
    with many.cursor() as cursor:
        cursor.execute("SELECT 1; INSERT INTO account VALUES (50, 1); SELECT COUNT(*) FROM account")
        say("several statements", cursor.fetchall())
        while cursor.nextset():
            say("next", [cursor.fetchall(), cursor.rowcount])
        many.commit()
        cursor.execute("SELECT 1; SELECT * FROM missing; SELECT 3")
        fails("the second of three fails", cursor.nextset)
    many.close()


def streaming(db):
    ask(db, "CREATE TABLE numbers (n INT PRIMARY KEY, filler VARCHAR(200))")
    with db.cursor() as cursor:
        cursor.executemany("INSERT INTO numbers VALUES (%s, %s)", [(i, "x" * 150) for i in range(3000)])
    db.commit()
    with db.cursor(cursors.SSCursor) as cursor:
        cursor.execute("SELECT * FROM numbers ORDER BY n")
        say("streamed", sum(row[0] + len(row[1]) for row in cursor))
    say("after the stream", ask(db, "SELECT 1"))
    say("a large value", len(ask(db, "SELECT %s", ("a" * 2000000,))[0][0]))
    with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        file.write("5000,five\n5001,\\N\n5002,two\n")
        file.flush()
        local = connect(local_infile=True)
        with local.cursor() as cursor:
            say("LOAD DATA LOCAL", cursor.execute("LOAD DATA LOCAL INFILE '%s' INTO TABLE numbers FIELDS TERMINATED BY ','" % file.name))
        local.commit()
        say("loaded", ask(local, "SELECT * FROM numbers WHERE n >= 5000 ORDER BY n"))
        fails("no file", lambda: ask(local, "LOAD DATA LOCAL INFILE '/no/such/file' INTO TABLE numbers"))
        say("after no file", ask(local, "SELECT 1"))
        local.close()


def together():
    answers = {}

    def work(i):
        db = connect()
        ask(db, "SET @mine = %s, time_zone = %s", (i, "+0%d:00" % (i % 5)))
        seen = []
        for n in range(10):
            ask(db, "INSERT INTO account VALUES (%s, %s)", (1000 + 100 * i + n, i))
            seen.append(ask(db, "SELECT @mine, @@time_zone, COUNT(*) FROM account WHERE amount = %s AND id >= 1000", (i,)))
            db.commit() if n % 2 else db.rollback()
        answers[i] = seen
        db.close()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    say("each its own variables", [answers.get(i) for i in range(6)])


def changing(db):
    ask(db, "CREATE TEMPORARY TABLE scratch (a INT)")
    ask(db, "INSERT INTO scratch VALUES (1), (2)")
    say("temporary table", ask(db, "SELECT SUM(a) FROM scratch"))
    ask(db, "DROP TEMPORARY TABLE scratch")
    ask(db, "ALTER TABLE account ADD COLUMN note VARCHAR(20) DEFAULT 'ü', ADD INDEX (amount)")
    say("after a change of the schema", ask(db, "SELECT * FROM account WHERE id = 1"))
    db.select_db("information_schema")
    say("select_db", ask(db, "SELECT DATABASE()"))
    db.select_db(NAME)
    say("columns", ask(db, "SELECT table_name, column_name, column_type, is_nullable FROM information_schema.columns WHERE table_schema = %s ORDER BY 1, ordinal_position", (NAME,)))
    say("SHOW", [ask(db, "SHOW TABLES"), ask(db, "SHOW INDEX FROM account WHERE Key_name = 'PRIMARY'"), ask(db, "DESCRIBE account"), ask(db, "EXPLAIN SELECT 1")])
    if hasattr(db, "change_user"):
        ask(db, "SET @kept = 1")
        db.change_user(OTHER_USER, OTHER_PASSWORD, NAME)
        say("another user", ask(db, "SELECT CURRENT_USER(), DATABASE(), @kept"))
    say("escaped", [db.escape_string("a'b\\c"), db.literal("it's")] if hasattr(db, "literal") else db.escape("it's"))


connecting()
db = connect()
second = connect()
types(db)
transactions(db, second)
errors(db)
procedures(db)
streaming(db)
together()
changing(db)
db.close()
second.close()
