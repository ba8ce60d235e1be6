// MariaDB Connector/J as applications use it through JDBC: text and server-side prepared statements, batches, generated
// keys, streaming, callable statements, metadata, several threads.
import java.sql.*;
import java.util.*;
import java.util.concurrent.*;

public class Connector {
  static final String AT = "jdbc:mariadb://" + System.getenv("DB_HOST") + ":" + System.getenv("DB_PORT") + "/" + System.getenv("DB_NAME");

  interface Work {
    Object run() throws SQLException;
  }

  static Connection open(String options) throws SQLException {
    return DriverManager.getConnection(AT + "?user=" + System.getenv("DB_USER") + "&password=" + System.getenv("DB_PASSWORD") + "&allowPublicKeyRetrieval=true" + options);
  }

  static String json(Object value) {
    if (value == null || value instanceof Number || value instanceof Boolean) return String.valueOf(value);
    if (value instanceof byte[]) value = "x'" + HexFormat.of().formatHex((byte[]) value) + "'";
    if (value instanceof int[]) value = Arrays.toString((int[]) value);
    if (value instanceof List) {
      StringJoiner all = new StringJoiner(",", "[", "]");
      for (Object each : (List<?>) value) all.add(json(each));
      return all.toString();
    }
    return '"' + String.valueOf(value).replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n").replaceAll("\\(conn=\\d+\\)|\\(port=\\d+\\)", "(which)") + '"';
  }

  static synchronized void say(String at, Object is) {
    byte[] line = ("{\"at\":" + json(at) + ",\"is\":" + json(is) + "}\n").getBytes(java.nio.charset.StandardCharsets.UTF_8);
    System.out.write(line, 0, line.length);
    System.out.flush();
  }

  static void fails(String at, Work work) {
    try {
      say(at, List.of("went well", String.valueOf(work.run())));
    } catch (BatchUpdateException error) {
      say(at, Arrays.asList(error.getErrorCode(), error.getSQLState(), error.getUpdateCounts(), error.getMessage()));
    } catch (SQLException error) {
      say(at, Arrays.asList(error.getClass().getSimpleName(), error.getErrorCode(), error.getSQLState(), error.getMessage()));
    }
  }

  static List<Object> rows(ResultSet result) throws SQLException {
    List<Object> all = new ArrayList<>();
    int columns = result.getMetaData().getColumnCount();
    while (result.next()) {
      List<Object> row = new ArrayList<>();
      for (int i = 1; i <= columns; i++) row.add(result.getObject(i));
      all.add(row);
    }
    return all;
  }

  static List<Object> ask(Connection db, String sql) throws SQLException {
    try (Statement statement = db.createStatement(); ResultSet result = statement.executeQuery(sql)) {
      return rows(result);
    }
  }

  static int update(Connection db, String sql) throws SQLException {
    try (Statement statement = db.createStatement()) {
      return statement.executeUpdate(sql);
    }
  }

  public static void main(String[] args) throws Exception {
    fails("a wrong password", () -> DriverManager.getConnection(AT + "?allowPublicKeyRetrieval=true", System.getenv("DB_USER"), "wrong"));
    for (String options : new String[] {"", "&useServerPrepStmts=true", "&useServerPrepStmts=true&useBulkStmts=true&rewriteBatchedStatements=false&allowMultiQueries=true"}) {
      try (Connection db = open(options); Connection second = open(options)) {
        // This release prepares in a way that MySQL 9 refuses, on any way there.
        if (options.contains("useServerPrepStmts") && !db.getMetaData().getDatabaseProductName().equals("MariaDB")) continue;
        run("with '" + options + "': ", db, second, options.contains("allowMultiQueries"));
      }
    }
    together();
  }

  static void run(String how, Connection db, Connection second, boolean multi) throws SQLException {
    DatabaseMetaData meta = db.getMetaData();
    say(how + "versions", List.of(meta.getDriverVersion(), meta.getDatabaseProductName(), meta.getDatabaseProductVersion()));
    say(how + "session", ask(db, "SELECT @@character_set_client, @@collation_connection, @@sql_mode, @@time_zone, @@autocommit, DATABASE()"));
    update(db, "DROP TABLE IF EXISTS things");
    update(db, "CREATE TABLE things (id INT AUTO_INCREMENT PRIMARY KEY, big BIGINT UNSIGNED, price DECIMAL(20,6), d DOUBLE, day DATE, at DATETIME(6), name VARCHAR(100), raw BLOB, doc JSON, yes BOOLEAN, UNIQUE KEY name_key (name)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4");
    try (PreparedStatement insert = db.prepareStatement("INSERT INTO things (big, price, d, day, at, name, raw, doc, yes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", Statement.RETURN_GENERATED_KEYS)) {
      for (int i = 0; i < 4; i++) {
        boolean none = i == 1;
        insert.setObject(1, none ? null : Long.valueOf(7 * i));
        insert.setBigDecimal(2, none ? null : new java.math.BigDecimal("12345678901234.123456"));
        insert.setObject(3, none ? null : 0.5 * i);
        insert.setDate(4, none ? null : java.sql.Date.valueOf("2024-02-29"));
        insert.setTimestamp(5, none ? null : Timestamp.valueOf("2024-02-29 13:14:15.123456"));
        insert.setString(6, none ? null : "Zoë 🐘 " + i);
        insert.setBytes(7, none ? null : new byte[] {0, -1, 39, 92});
        insert.setString(8, none ? null : "{\"a\": [1, null]}");
        insert.setBoolean(9, i % 2 == 0);
        say(how + "inserted", List.of(insert.executeUpdate(), rows(insert.getGeneratedKeys())));
      }
    }
    say(how + "rows", ask(db, "SELECT * FROM things ORDER BY id"));
    try (PreparedStatement select = db.prepareStatement("SELECT id, name, price, ? AS given FROM things WHERE id >= ? ORDER BY id")) {
      for (int i = 1; i < 30; i++) {
        if (i % 3 == 0) select.setNull(1, Types.VARCHAR);
        else if (i % 3 == 1) select.setString(1, "ü" + i);
        else select.setLong(1, i);
        select.setInt(2, i % 5);
        List<Object> got = rows(select.executeQuery());
        if (i < 7) say(how + "prepared", got);
      }
      ResultSetMetaData columns = select.executeQuery().getMetaData();
      List<Object> about = new ArrayList<>();
      for (int i = 1; i <= columns.getColumnCount(); i++) about.add(Arrays.asList(columns.getColumnName(i), columns.getColumnTypeName(i), columns.getPrecision(i), columns.getScale(i), columns.isNullable(i), columns.getTableName(i)));
      say(how + "columns", about);
    }
    try (PreparedStatement batch = db.prepareStatement("INSERT INTO things (name, d) VALUES (?, ?)")) {
      for (int i = 0; i < 100; i++) {
        batch.setString(1, "batch " + i);
        if (i % 4 == 0) batch.setNull(2, Types.DOUBLE);
        else batch.setDouble(2, i);
        batch.addBatch();
      }
      say(how + "batch", batch.executeBatch().length);
      batch.setString(1, "batch 3");
      batch.setDouble(2, 1);
      batch.addBatch();
      batch.setString(1, "batch 300");
      batch.setDouble(2, 1);
      batch.addBatch();
      fails(how + "duplicate key in a batch", batch::executeBatch);
    }
    say(how + "after the batch", ask(db, "SELECT COUNT(*), COUNT(d), SUM(d) FROM things WHERE name LIKE 'batch%'"));
    db.setAutoCommit(false);
    db.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
    update(db, "UPDATE things SET d = 77 WHERE id = 1");
    Savepoint savepoint = db.setSavepoint("one");
    update(db, "DELETE FROM things");
    db.rollback(savepoint);
    say(how + "seen from outside", ask(second, "SELECT d FROM things WHERE id = 1"));
    db.commit();
    say(how + "committed", ask(second, "SELECT d, (SELECT COUNT(*) FROM things) FROM things WHERE id = 1"));
    update(db, "DELETE FROM things");
    db.rollback();
    db.setAutoCommit(true);
    say(how + "isolation", db.getTransactionIsolation());
    db.setTransactionIsolation(Connection.TRANSACTION_REPEATABLE_READ);
    db.setReadOnly(true);
    say(how + "read only", db.isReadOnly());
    db.setReadOnly(false);
    fails(how + "syntax", () -> ask(db, "SELEC 1"));
    fails(how + "missing table", () -> ask(db, "SELECT * FROM missing"));
    fails(how + "missing table, prepared", () -> db.prepareStatement("SELECT * FROM missing WHERE a = ?").execute());
    fails(how + "duplicate key", () -> update(db, "INSERT INTO things (name) VALUES ('batch 1')"));
    try (Statement statement = db.createStatement()) {
      statement.executeUpdate("INSERT IGNORE INTO things (name) VALUES ('batch 1')");
      SQLWarning warning = statement.getWarnings();
      say(how + "warning", warning == null ? null : Arrays.asList(warning.getErrorCode(), warning.getMessage()));
      statement.executeQuery("SELECT SQL_CALC_FOUND_ROWS id FROM things LIMIT 2").close();
    }
    say(how + "found rows", ask(db, "SELECT FOUND_ROWS()"));
    update(db, "SET @a = 1, @b = 'ü'");
    say(how + "user variables", ask(db, "SELECT @a, @b, @c"));
    update(db, "DROP PROCEDURE IF EXISTS sums");
    update(db, "CREATE PROCEDURE sums(IN n INT, OUT twice INT, INOUT both_ways INT) BEGIN SELECT n AS n; SELECT n AS a, n * n AS b UNION SELECT 0, 0; SET twice = 2 * n; SET both_ways = both_ways + n; END");
    try (CallableStatement call = db.prepareCall("{call sums(?, ?, ?)}")) {
      call.setInt(1, 4);
      call.registerOutParameter(2, Types.INTEGER);
      call.registerOutParameter(3, Types.INTEGER);
      call.setInt(3, 10);
      List<Object> results = new ArrayList<>();
      boolean more = call.execute();
      while (more) {
        results.add(rows(call.getResultSet()));
        more = call.getMoreResults();
      }
      say(how + "a procedure", List.of(results, call.getInt(2), call.getInt(3)));
    }
    if (multi) {
      try (Statement statement = db.createStatement()) {
        List<Object> results = new ArrayList<>();
        boolean result = statement.execute("SELECT 1; UPDATE things SET d = 5 WHERE id < 3; SELECT COUNT(*) FROM things");
        for (int i = 0; i < 3; i++) {
          results.add(result ? rows(statement.getResultSet()) : statement.getUpdateCount());
          result = statement.getMoreResults();
        }
        say(how + "several statements", results);
      }
    }
    try (Statement statement = db.createStatement()) {
      statement.setFetchSize(10);
      ResultSet result = statement.executeQuery("SELECT a.character_set_name FROM information_schema.character_sets a, information_schema.character_sets b");
      int count = 0;
      while (result.next()) count++;
      say(how + "streamed", count);
    }
    try (Statement statement = db.createStatement()) {
      statement.setQueryTimeout(1);
      fails(how + "a statement that takes too long", () -> statement.executeQuery("SELECT SLEEP(3), 1 FROM things LIMIT 1").next());
    }
    say(how + "and the next", ask(db, "SELECT 1"));
    say(how + "valid", db.isValid(2));
    List<Object> columns = new ArrayList<>();
    try (ResultSet found = meta.getColumns(System.getenv("DB_NAME"), null, "things", "%")) {
      while (found.next()) columns.add(Arrays.asList(found.getString("COLUMN_NAME"), found.getString("TYPE_NAME"), found.getInt("COLUMN_SIZE"), found.getString("IS_AUTOINCREMENT")));
    }
    say(how + "metadata", columns);
    db.setCatalog("information_schema");
    say(how + "catalog", ask(db, "SELECT DATABASE()"));
    db.setCatalog(System.getenv("DB_NAME"));
  }

  static void together() throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(6);
    List<Future<Object>> answers = new ArrayList<>();
    for (int i = 0; i < 12; i++) {
      int mine = i;
      answers.add(pool.submit(() -> {
        try (Connection db = open("")) {
          update(db, "SET @mine = " + mine + ", time_zone = '+0" + mine % 5 + ":00'");
          db.setAutoCommit(false);
          try (PreparedStatement insert = db.prepareStatement("INSERT INTO things (name) VALUES (?)")) {
            insert.setString(1, "worker " + mine);
            insert.executeUpdate();
          }
          List<Object> seen = ask(db, "SELECT @mine, @@time_zone");
          if (mine % 2 == 0) db.commit();
          else db.rollback();
          return seen;
        }
      }));
    }
    List<Object> all = new ArrayList<>();
    for (Future<Object> answer : answers) all.add(answer.get());
    pool.shutdown();
    say("each its own variables", all);
    try (Connection db = open("")) {
      say("what was committed", ask(db, "SELECT name FROM things WHERE name LIKE 'worker%' ORDER BY name"));
    }
  }
}
