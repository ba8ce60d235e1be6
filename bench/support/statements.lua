-- Many prepared statements in use by every client, for sysbench. The table is the one of its point selects.
sysbench.cmdline.options = {
  statements = {"Prepared statements of each client", 24}
}

function thread_init()
  connection = sysbench.sql.driver():connect()
  prepared = {}
  for i = 1, sysbench.opt.statements do
    local statement = connection:prepare(string.format("SELECT c, k + %d FROM sbtest1 WHERE id = ?", i))
    local id = statement:bind_create(sysbench.sql.type.INT)
    statement:bind_param(id)
    prepared[i] = {statement = statement, id = id}
  end
end

function event()
  local one = prepared[sysbench.rand.uniform(1, sysbench.opt.statements)]
  one.id:set(sysbench.rand.uniform(1, 10000))
  one.statement:execute()
end

function thread_done()
  for _, one in ipairs(prepared) do one.statement:close() end
  connection:disconnect()
end
