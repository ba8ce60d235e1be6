-- Every client writes a row and reads it, in turns, each on its own, for sysbench. The table is the one of its point selects.
function thread_init()
  connection = sysbench.sql.driver():connect()
end

function event()
  local id = sysbench.rand.uniform(1, 10000)
  connection:query(string.format("UPDATE sbtest1 SET k = k + 1 WHERE id = %d", id))
  connection:query(string.format("SELECT k FROM sbtest1 WHERE id = %d", id))
end

function thread_done()
  connection:disconnect()
end
