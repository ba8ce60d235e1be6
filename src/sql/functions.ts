// The built-in functions that have no effect: calling one a second time, or on another server connection, changes nothing.
// A name that is in none of these lists is treated as a stored or loadable function, of which nothing is known.
// Probed on MySQL 9.7 and MariaDB 10.11 (error 1305 tells a name that is not native) and completed with MariaDB 11's additions.
// A server on which a listed name is not native (MariaDB before 11 and its additions; MD5, SHA and SHA1 since MySQL 9.6, where
// a component brings them) could have a stored function of that name. Such stand-ins compute the same; they are trusted.

/** Native in both flavors. */
export const COMMON_FUNCTIONS = `
  abs acos adddate addtime aes_decrypt aes_encrypt ascii asin atan atan2 avg benchmark bin bit_and bit_count
  bit_length bit_or bit_xor cast ceil ceiling char char_length character_length charset coalesce coercibility
  collation compress concat concat_ws connection_id contains conv convert convert_tz cos cot count crc32 cume_dist
  curdate current_role current_user curtime database date date_add date_format date_sub datediff day dayname
  dayofmonth dayofweek dayofyear default degrees dense_rank elt exp export_set extract extractvalue field find_in_set
  first_value floor format from_base64 from_days from_unixtime geometrycollection get_format greatest group_concat hex
  hour if ifnull inet6_aton inet6_ntoa inet_aton inet_ntoa insert instr interval is_ipv4 is_ipv4_compat is_ipv4_mapped
  is_ipv6 isnull json_array json_array_append json_array_insert json_arrayagg json_contains json_contains_path
  json_depth json_extract json_insert json_keys json_length json_merge json_merge_patch json_merge_preserve
  json_object json_objectagg json_overlaps json_pretty json_quote json_remove json_replace json_schema_valid
  json_search json_set json_type json_unquote json_valid json_value lag last_day last_value lcase lead least left
  length linestring ln load_file localtime locate log log10 log2 lower lpad ltrim make_set makedate maketime
  master_pos_wait max mbrcontains mbrdisjoint mbrequals mbrintersects mbroverlaps mbrtouches mbrwithin md5 microsecond
  mid min minute mod month monthname multilinestring multipoint multipolygon name_const now nth_value ntile nullif oct
  octet_length ord password percent_rank period_add period_diff pi polygon position pow power quarter quote radians
  rand random_bytes rank regexp_instr regexp_replace regexp_substr repeat replace reverse right round row_number rpad
  rtrim schema sec_to_time second session_user sha sha1 sha2 sign sin sleep soundex space sqrt srid st_area
  st_asbinary st_asgeojson st_astext st_aswkb st_aswkt st_buffer st_centroid st_contains st_convexhull st_crosses
  st_difference st_dimension st_disjoint st_distance st_distance_sphere st_endpoint st_envelope st_equals
  st_exteriorring st_geomcollfromtext st_geomcollfromwkb st_geometrycollectionfromtext st_geometrycollectionfromwkb
  st_geometryfromtext st_geometryfromwkb st_geometryn st_geometrytype st_geomfromgeojson st_geomfromtext
  st_geomfromwkb st_interiorringn st_intersection st_intersects st_isclosed st_isempty st_issimple st_length
  st_linefromtext st_linefromwkb st_linestringfromtext st_linestringfromwkb st_mlinefromtext st_mlinefromwkb
  st_mpointfromtext st_mpointfromwkb st_mpolyfromtext st_mpolyfromwkb st_multilinestringfromtext
  st_multilinestringfromwkb st_multipointfromtext st_multipointfromwkb st_multipolygonfromtext st_multipolygonfromwkb
  st_numgeometries st_numinteriorrings st_numpoints st_overlaps st_pointfromtext st_pointfromwkb st_pointn
  st_polyfromtext st_polyfromwkb st_polygonfromtext st_polygonfromwkb st_srid st_startpoint st_symdifference
  st_touches st_union st_within st_x st_y std stddev stddev_pop stddev_samp str_to_date strcmp subdate substr
  substring substring_index subtime sum sysdate system_user tan time time_format time_to_sec timediff timestamp
  timestampadd timestampdiff to_base64 to_days to_seconds trim truncate ucase uncompress uncompressed_length unhex
  unix_timestamp updatexml upper user utc_date utc_time utc_timestamp uuid uuid_short values var_pop var_samp variance
  version week weekday weekofyear weight_string year yearweek
`;

/** Native in MySQL only. */
export const MYSQL_FUNCTIONS = `
  any_value bin_to_uuid etag format_bytes format_pico_time from_vector geomcollection grouping gtid_subset
  gtid_subtract icu_version is_uuid json_duality_object json_schema_validation_report json_storage_free
  json_storage_size mbrcoveredby mbrcovers point ps_current_thread_id ps_thread_id regexp_like roles_graphml
  source_pos_wait st_buffer_strategy st_collect st_frechetdistance st_geohash st_geomcollfromtxt st_hausdorffdistance
  st_isvalid st_latfromgeohash st_latitude st_lineinterpolatepoint st_lineinterpolatepoints st_longfromgeohash
  st_longitude st_makeenvelope st_numinteriorring st_pointatdistance st_pointfromgeohash st_simplify st_swapxy
  st_transform st_validate statement_digest statement_digest_text string_to_vector to_vector uuid_to_bin
  validate_password_strength vector_dim vector_to_string wait_for_executed_gtid_set wait_until_sql_thread_after_gtids
`;

/** Native in MariaDB only. */
export const MARIADB_FUNCTIONS = `
  add_months area asbinary astext aswkb aswkt binlog_gtid_pos boundary centroid chr column_add column_check
  column_create column_delete column_exists column_get column_json column_list concat_operator_oracle convexhull
  crc32c crosses decode decode_histogram decode_oracle des_decrypt des_encrypt dimension disjoint encode encrypt
  endpoint envelope equals exteriorring geomcollfromtext geomcollfromwkb geometrycollectionfromtext
  geometrycollectionfromwkb geometryfromtext geometryfromwkb geometryn geometrytype geomfromtext geomfromwkb glength
  interiorringn intersects isclosed isempty isring issimple json_array_intersect json_compact json_detailed
  json_equals json_exists json_key_value json_loose json_normalize json_object_filter_keys json_object_to_array
  json_query kdf lengthb linefromtext linefromwkb linestringfromtext linestringfromwkb lpad_oracle ltrim_oracle
  master_gtid_wait mbrequal median mlinefromtext mlinefromwkb mpointfromtext mpointfromwkb mpolyfromtext mpolyfromwkb
  multilinestringfromtext multilinestringfromwkb multipointfromtext multipointfromwkb multipolygonfromtext
  multipolygonfromwkb natural_sort_key numgeometries numinteriorrings numpoints nvl nvl2 old_password overlaps
  percentile_cont percentile_disc pointfromtext pointfromwkb pointn pointonsurface polyfromtext polyfromwkb
  polygonfromtext polygonfromwkb replace_oracle rownum rpad_oracle rtrim_oracle sformat st_boundary st_isring
  st_pointonsurface st_relate startpoint substr_oracle sys_guid to_char touches trim_oracle uuid_v4 uuid_v7
  vec_distance vec_distance_cosine vec_distance_euclidean vec_fromtext vec_totext within wsrep_sync_wait_upto_gtid x y
`;
