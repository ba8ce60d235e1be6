// Variables whose global value is what a session begins with. Both planes know them: workers see a client's SET GLOBAL, the
// control process sees one that went past Evenkeel.

/** Every account may set them in its session: so one that is there can keep the value that it began with. */
export const SESSION_DEFAULTS: ReadonlySet<string> = new Set(
  [
    'sql_mode time_zone lc_time_names transaction_isolation transaction_read_only tx_isolation tx_read_only',
    'lock_wait_timeout innodb_lock_wait_timeout max_execution_time max_statement_time sql_select_limit',
    'group_concat_max_len div_precision_increment default_week_format foreign_key_checks unique_checks',
    'sql_safe_updates sql_auto_is_null sql_notes sql_warnings sql_quote_show_create optimizer_switch',
    'default_storage_engine tmp_table_size max_heap_table_size max_sort_length',
    'sort_buffer_size join_buffer_size net_read_timeout net_write_timeout updatable_views_with_limit',
    'optimizer_search_depth optimizer_prune_level eq_range_index_dive_limit completion_type',
  ].flatMap((names) => names.split(' ')),
);

/** Each session has what was global when it began, and cannot choose. */
export const INHERITED_DEFAULTS: ReadonlySet<string> = new Set(['max_allowed_packet', 'net_buffer_length']);
