#pragma once
#include <sqlite3.h>

// Leaves the log as it is when the last connection closes; sqlite3_db_config is variadic.
static inline int casher_sqlite_keep_log(sqlite3 *connection) {
  return sqlite3_db_config(connection, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)0);
}
