/* SPDX-License-Identifier: BSD-3-Clause */
/* SQLite: the store of one server, in one file.
 *
 * Two connections. The writer is used by open and close and, between them, by the worker thread
 * that commits; the reader belongs to the loop, so that no read ever waits for a disk. In WAL mode
 * a reader sees a transaction only once its fsync is over (sqlite3WalFrames syncs before it
 * publishes the new end of the log), so what is read is durable. synchronous=FULL makes every
 * commit one fsync of the log; a kill or a power cut at any instant leaves a log whose tail is
 * ignored.
 *
 * That only one store has the file open is not left to SQLite's locks: they are taken per
 * transaction, and a second server would run for a while before it met one. "PATH-lock" is locked
 * by flock() for as long as the store is open; the kernel frees it with the process, however that
 * ended. It is a file of its own because closing any descriptor of the database would drop SQLite's
 * POSIX locks on it. It holds the number of the process, for people.
 *
 * A full disk: the transaction is rolled back, the log moved into the file as far as that goes
 * (which lets the log be used again from its beginning) and the transaction tried once more; then
 * it is reported. Moving the log otherwise happens after the reports, when the log has TIDY_PAGES.
 *
 * Measured, 2,000 puts in one batch: 3 to 4 ms with values of 100 bytes, 4 to 10 ms with 1,000. A
 * table without rowid saves a look-up but keeps the values in the inner nodes of its tree, and took
 * 25 to 50 ms for the latter; so there is a rowid, and INSERT with an update instead of REPLACE, so
 * that a row keeps it. */
#include "store/backend.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

enum {
        APPLICATION_ID = 0x52454556, /* "REEV" */
        SCHEMA_VERSION = 1,
        TIDY_PAGES = 1000,
        BUSY_TIMEOUT_MS = 5000, /* somebody looks into the file by hand */
};

/* What is kept prepared, by connection. */
enum write_stmt {
        W_BEGIN,
        W_COMMIT,
        W_ROLLBACK,
        W_PUT,
        W_DELETE,
        W_DELETE_RANGE,
        W_DELETE_FROM,
        W_REVISION,
        W_COUNT
};
enum read_stmt { R_GET, R_UP, R_UP_OPEN, R_DOWN, R_DOWN_OPEN, R_COUNT };

static const char *const write_sql[W_COUNT] = {
        [W_BEGIN] = "BEGIN IMMEDIATE",
        [W_COMMIT] = "COMMIT",
        [W_ROLLBACK] = "ROLLBACK",
        [W_PUT] = "INSERT INTO kv VALUES(?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value",
        [W_DELETE] = "DELETE FROM kv WHERE key = ?1",
        [W_DELETE_RANGE] = "DELETE FROM kv WHERE key >= ?1 AND key < ?2",
        [W_DELETE_FROM] = "DELETE FROM kv WHERE key >= ?1",
        [W_REVISION] = "UPDATE revision SET number = ?1",
};

static const char *const read_sql[R_COUNT] = {
        [R_GET] = "SELECT value FROM kv WHERE key = ?1",
        [R_UP] = "SELECT key, value FROM kv WHERE key >= ?1 AND key < ?2 ORDER BY key",
        [R_UP_OPEN] = "SELECT key, value FROM kv WHERE key >= ?1 ORDER BY key",
        [R_DOWN] = "SELECT key, value FROM kv WHERE key >= ?1 AND key < ?2 ORDER BY key DESC",
        [R_DOWN_OPEN] = "SELECT key, value FROM kv WHERE key >= ?1 ORDER BY key DESC",
};

static const char create_sql[] =
        "BEGIN IMMEDIATE;"
        "CREATE TABLE kv(key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL);"
        "CREATE TABLE revision(number INTEGER NOT NULL);"
        "INSERT INTO revision VALUES(0);"
        "PRAGMA application_id = %d;"
        "PRAGMA user_version = %d;"
        "COMMIT;";

struct sqlite {
        char *path;
        int lock_fd;
        sqlite3 *writer, *reader;
        sqlite3_stmt *write[W_COUNT], *read[R_COUNT];
        int log_pages; /* in the log after the last commit; worker, or loop while there is none */
};

/* SQLite notes the errno of some failures, of a failed commit it does not. Then errno itself still
 * has it: SQLite makes no other call that fails on its way back. */
static int sql_error_io(sqlite3 *db, int sys_errno, struct error *err)
{
        if (sqlite3_system_errno(db) != 0)
                sys_errno = sqlite3_system_errno(db);
        if (sys_errno == ENOSPC || sys_errno == EDQUOT || sys_errno == EFBIG) {
                error_set(err, ERR_NO_SPACE, "%s", strerror(sys_errno));
                if (err != NULL)
                        err->sys_errno = sys_errno;
                return -1;
        }
        if (sys_errno != 0)
                return error_sys(err, sys_errno, "%s", sqlite3_errmsg(db));
        return error_set(err, ERR_SYSTEM, "%s", sqlite3_errmsg(db));
}

static int sql_error(sqlite3 *db, struct error *err)
{
        int sys_errno = errno;

        switch (sqlite3_errcode(db) & 0xff) {
        case SQLITE_FULL:
                return error_set(err, ERR_NO_SPACE, "no space left on the disk");
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
                return error_set(err, ERR_CONFLICT, "another program keeps the file locked");
        case SQLITE_NOTADB:
                return error_set(err, ERR_INVALID, "this file is not a store of Reeve");
        case SQLITE_TOOBIG:
                return error_set(err, ERR_TOO_LARGE, "a value is too large for the store");
        case SQLITE_IOERR:
        case SQLITE_CANTOPEN:
        case SQLITE_READONLY:
                return sql_error_io(db, sys_errno, err);
        default:
                return error_set(err, ERR_SYSTEM, "%s", sqlite3_errmsg(db));
        }
}

static int sql_exec(sqlite3 *db, const char *sql, struct error *err)
{
        return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : sql_error(db, err);
}

static int sql_query_int(sqlite3 *db, const char *sql, int64_t *ret, struct error *err)
{
        sqlite3_stmt *stmt;
        int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);

        if (rc == SQLITE_OK)
                rc = sqlite3_step(stmt);
        if (rc == SQLITE_ROW)
                *ret = sqlite3_column_int64(stmt, 0);
        if (rc != SQLITE_ROW)
                (void) (rc == SQLITE_DONE ? error_set(err, ERR_SYSTEM, "%s: no answer", sql)
                                          : sql_error(db, err));
        sqlite3_finalize(stmt);
        return rc == SQLITE_ROW ? 0 : -1;
}

static int sql_prepare(
        sqlite3 *db, const char *const *sql, size_t count, sqlite3_stmt **ret, struct error *err)
{
        for (size_t i = 0; i < count; i++)
                if (sqlite3_prepare_v3(db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &ret[i], NULL) !=
                        SQLITE_OK)
                        return sql_error(db, err);
        return 0;
}

/* The bytes must outlive the step. SQLite takes a NULL pointer for an SQL NULL; none comes here. */
static void bind_bytes(sqlite3_stmt *stmt, int index, const char *data, size_t len)
{
        sqlite3_bind_blob64(stmt, index, data, len, SQLITE_STATIC);
}

/* Runs a statement that yields no rows. Too large a value, the one way a binding fails here, shows
 * as SQLITE_TOOBIG or, a NULL being left in its place, as a broken constraint: an error anyway. */
static int write_step(struct sqlite *s, enum write_stmt which, struct error *err)
{
        int rc;

        errno = 0;
        rc = sqlite3_step(s->write[which]);
        if (rc != SQLITE_DONE)
                sql_error(s->writer, err);
        sqlite3_reset(s->write[which]);
        return rc == SQLITE_DONE ? 0 : -1;
}

static int op_apply(struct sqlite *s, const struct store_op *op, struct error *err)
{
        enum write_stmt which = W_PUT;

        if (op->type == STORE_DELETE)
                which = W_DELETE;
        else if (op->type == STORE_DELETE_RANGE)
                which = op->value == NULL ? W_DELETE_FROM : W_DELETE_RANGE;
        bind_bytes(s->write[which], 1, op->key, op->key_len);
        if (op->value != NULL)
                bind_bytes(s->write[which], 2, op->value, op->value_len);
        return write_step(s, which, err);
}

static int batches_apply(struct sqlite *s, const struct store_batch *const *batches, size_t count,
        uint64_t revision, struct error *err)
{
        struct store_op op;

        for (size_t i = 0; i < count; i++)
                for (size_t position = 0; store_batch_next(batches[i], &position, &op);)
                        if (op_apply(s, &op, err) < 0)
                                return -1;
        sqlite3_bind_int64(s->write[W_REVISION], 1, (int64_t) revision);
        return write_step(s, W_REVISION, err);
}

static int transaction(struct sqlite *s, const struct store_batch *const *batches, size_t count,
        uint64_t revision, struct error *err)
{
        if (write_step(s, W_BEGIN, err) < 0)
                return -1;
        if (batches_apply(s, batches, count, revision, err) == 0 &&
                write_step(s, W_COMMIT, err) == 0)
                return 0;
        /* SQLite has rolled back by itself after some failures, and not after others. */
        if (!sqlite3_get_autocommit(s->writer))
                write_step(s, W_ROLLBACK, NULL);
        return -1;
}

static void sqlite_tidy(void *self)
{
        struct sqlite *s = self;

        /* Passive: never waits. What a reader holds back, or a full disk, is moved the next time.
         */
        sqlite3_wal_checkpoint_v2(s->writer, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
        s->log_pages = 0;
}

static bool sqlite_needs_tidy(const void *self)
{
        const struct sqlite *s = self;

        return s->log_pages >= TIDY_PAGES;
}

static int sqlite_commit(void *self, const struct store_batch *const *batches, size_t count,
        uint64_t revision, struct error *err)
{
        struct sqlite *s = self;

        if (transaction(s, batches, count, revision, err) == 0)
                return 0;
        if (err->code == ERR_NO_SPACE) {
                sqlite_tidy(s);
                if (transaction(s, batches, count, revision, err) == 0)
                        return 0;
        }
        return error_wrap(err, "commit to store %s", s->path);
}

static int on_log_grown(void *self, sqlite3 *db, const char *name, int pages)
{
        struct sqlite *s = self;

        (void) db, (void) name;
        s->log_pages = pages;
        return SQLITE_OK;
}

static int sqlite_scan(void *self, const char *first, const char *last, bool reverse, size_t limit,
        store_row_cb *row, void *data, struct error *err)
{
        struct sqlite *s = self;
        enum read_stmt which =
                reverse ? (last == NULL ? R_DOWN_OPEN : R_DOWN) : (last == NULL ? R_UP_OPEN : R_UP);
        sqlite3_stmt *stmt = s->read[which];
        int result = 0, rc = SQLITE_ROW;

        assert(!sqlite3_stmt_busy(stmt)); /* a row callback that scans */
        bind_bytes(stmt, 1, first, strlen(first));
        if (last != NULL)
                bind_bytes(stmt, 2, last, strlen(last));
        /* column_text() of a blob gives its bytes and a NUL behind them. */
        while (limit-- > 0 && result == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
                result = row(data, (const char *) sqlite3_column_text(stmt, 0),
                        (const char *) sqlite3_column_text(stmt, 1),
                        (size_t) sqlite3_column_bytes(stmt, 1), err);
        if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
                sql_error(s->reader, err);
                result = error_wrap(err, "read store %s", s->path);
        }
        sqlite3_reset(stmt);
        return result < 0 ? -1 : 0;
}

static int sqlite_get(void *self, const char *key, struct buffer *ret, struct error *err)
{
        struct sqlite *s = self;
        sqlite3_stmt *stmt = s->read[R_GET];
        int rc;

        bind_bytes(stmt, 1, key, strlen(key));
        rc = sqlite3_step(stmt);
        if (rc == SQLITE_ROW) {
                const void *value = sqlite3_column_blob(stmt, 0); /* NULL when empty */
                int len = sqlite3_column_bytes(stmt, 0);

                buffer_put(ret, value == NULL ? "" : value, (size_t) len);
        } else if (rc == SQLITE_DONE) {
                error_set(err, ERR_NOT_FOUND, "no key \"%s\" in the store", key);
        } else {
                sql_error(s->reader, err);
                error_wrap(err, "read store %s", s->path);
        }
        sqlite3_reset(stmt);
        return rc == SQLITE_ROW ? 0 : -1;
}

static int connection_open(const char *path, sqlite3 **ret, struct error *err)
{
        /* No mutex: each connection is used by one thread at a time. */
        int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
        int rc = sqlite3_open_v2(path, ret, flags, NULL);

        if (*ret == NULL)
                return error_set(err, ERR_SYSTEM, "%s", sqlite3_errstr(rc));
        if (rc != SQLITE_OK)
                return sql_error(*ret, err);
        sqlite3_busy_timeout(*ret, BUSY_TIMEOUT_MS);
        return 0;
}

/* ---- Views: a connection of their own, in a transaction that lasts as long as they do. In WAL
 * mode that holds up nobody; the log is moved into the file only up to where it began. */

struct view {
        char *path; /* for messages */
        sqlite3 *db;
        sqlite3_stmt *rows;
        bool on_row; /* `rows` stands on a row that was not handed out */
};

static void sqlite_view_close(void *self)
{
        struct view *v = self;

        sqlite3_finalize(v->rows);
        sqlite3_close(v->db);
        free(v->path);
        free(v);
}

static void view_closep(struct view **v)
{
        if (*v != NULL)
                sqlite_view_close(*v);
}

/* A transaction sees what there is when it reads first, not when it begins: so it reads here. */
static int sqlite_view_open(void *self, void **ret_view, struct error *err)
{
        const struct sqlite *s = self;
        AUTO(view_closep) struct view *v = mem_alloc(sizeof *v);
        int rc;

        v->path = mem_strdup(s->path);
        if (connection_open(s->path, &v->db, err) < 0 ||
                sql_exec(v->db, "PRAGMA query_only = 1; BEGIN", err) < 0)
                return error_wrap(err, "read store %s", s->path);
        rc = sqlite3_prepare_v2(
                v->db, "SELECT key, value FROM kv ORDER BY key", -1, &v->rows, NULL);
        if (rc == SQLITE_OK)
                rc = sqlite3_step(v->rows);
        if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
                sql_error(v->db, err);
                return error_wrap(err, "read store %s", s->path);
        }
        v->on_row = rc == SQLITE_ROW;
        *ret_view = take_ptr(v);
        return 0;
}

static int sqlite_view_next(void *self, store_row_cb *row, void *data, struct error *err)
{
        struct view *v = self;
        int result = 0, rc = SQLITE_ROW;

        while (result == 0 && v->on_row) {
                result = row(data, (const char *) sqlite3_column_text(v->rows, 0),
                        (const char *) sqlite3_column_text(v->rows, 1),
                        (size_t) sqlite3_column_bytes(v->rows, 1), err);
                rc = sqlite3_step(v->rows);
                v->on_row = rc == SQLITE_ROW;
        }
        if (result >= 0 && rc != SQLITE_ROW && rc != SQLITE_DONE) {
                sql_error(v->db, err);
                return error_wrap(err, "read store %s", v->path);
        }
        return result < 0 ? -1 : v->on_row;
}

/* The reader goes first: the last one to leave moves the log into the file and removes it. */
static void sqlite_close(void *self)
{
        struct sqlite *s = self;

        for (size_t i = 0; i < R_COUNT; i++)
                sqlite3_finalize(s->read[i]);
        sqlite3_close(s->reader);
        for (size_t i = 0; i < W_COUNT; i++)
                sqlite3_finalize(s->write[i]);
        sqlite3_close(s->writer);
        fd_closep(&s->lock_fd);
        free(s->path);
        free(s);
}

static const struct store_backend sqlite_backend = {
        .commit = sqlite_commit,
        .needs_tidy = sqlite_needs_tidy,
        .tidy = sqlite_tidy,
        .scan = sqlite_scan,
        .get = sqlite_get,
        .view_open = sqlite_view_open,
        .view_next = sqlite_view_next,
        .view_close = sqlite_view_close,
        .close = sqlite_close,
};

static void sqlite_closep(struct sqlite **s)
{
        if (*s != NULL)
                sqlite_close(*s);
}

static int lock_refused(int fd, struct error *err)
{
        char text[32] = { 0 };
        int64_t pid;

        if (pread(fd, text, sizeof text - 1, 0) > 0 && text_parse_int(text, 1, INT32_MAX, &pid))
                return error_set(err, ERR_CONFLICT, "in use by process %d", (int) pid);
        return error_set(err, ERR_CONFLICT, "in use by another process");
}

/* The number is there for people: failing to write it (a full disk) is no reason not to start. */
static void lock_sign(int fd)
{
        char text[32];
        int len = snprintf(text, sizeof text, "%d", (int) getpid());

        if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t) len, 0) < 0)
                log_debug("store: cannot write the lock file: %s", strerror(errno));
}

static int lock_take(struct sqlite *s, struct error *err)
{
        AUTO(mem_freep) char *path = mem_printf("%s-lock", s->path);

        s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (s->lock_fd < 0)
                return error_sys(err, errno, "open %s", path);
        if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0)
                return errno == EWOULDBLOCK ? lock_refused(s->lock_fd, err)
                                            : error_sys(err, errno, "lock %s", path);
        lock_sign(s->lock_fd);
        return 0;
}

static int schema_create(struct sqlite *s, struct error *err)
{
        AUTO(mem_freep) char *sql = mem_printf(create_sql, APPLICATION_ID, SCHEMA_VERSION);

        return sql_exec(s->writer, sql, err);
}

/* Looks before anything is written: a file that is not ours is left as it is. An empty one, or one
 * of SQLite without a table, is new; the schema comes in one transaction, whole or not at all. */
static int schema_check_or_create(struct sqlite *s, struct error *err)
{
        int64_t application, version, tables;

        if (sql_query_int(s->writer, "PRAGMA application_id", &application, err) < 0 ||
                sql_query_int(s->writer, "PRAGMA user_version", &version, err) < 0 ||
                sql_query_int(s->writer, "SELECT count(*) FROM sqlite_schema", &tables, err) < 0)
                return -1;
        if (application == 0 && version == 0 && tables == 0)
                return schema_create(s, err);
        if (application != APPLICATION_ID)
                return error_set(err, ERR_INVALID,
                        "this file is an SQLite database of another program, not a store of Reeve");
        if (version > SCHEMA_VERSION)
                return error_set(err, ERR_INVALID,
                        "written by a newer Reeve (store version %d; this one knows %d)",
                        (int) version, SCHEMA_VERSION);
        return 0;
}

static int writer_open(struct sqlite *s, struct error *err)
{
        if (connection_open(s->path, &s->writer, err) < 0 || schema_check_or_create(s, err) < 0)
                return -1;
        /* A log that once grew large is cut back to 4 MiB when it is used from its beginning. */
        if (sql_exec(s->writer,
                    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                    "PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 4194304",
                    err) < 0)
                return -1;
        sqlite3_wal_hook(s->writer, on_log_grown, s);
        return sql_prepare(s->writer, write_sql, W_COUNT, s->write, err);
}

static int reader_open(struct sqlite *s, struct error *err)
{
        if (connection_open(s->path, &s->reader, err) < 0 ||
                sql_exec(s->reader, "PRAGMA query_only = 1", err) < 0)
                return -1;
        return sql_prepare(s->reader, read_sql, R_COUNT, s->read, err);
}

static int sqlite_open(struct sqlite *s, int64_t *ret_revision, struct error *err)
{
        if (lock_take(s, err) < 0)
                return -1;
        /* SQLite would make it readable by all; mknod() because open() needs a close(). */
        if (mknod(s->path, S_IFREG | 0600, 0) < 0 && errno != EEXIST)
                return error_sys(err, errno, "make the file");
        if (writer_open(s, err) < 0 || reader_open(s, err) < 0)
                return -1;
        return sql_query_int(s->reader, "SELECT number FROM revision", ret_revision, err);
}

int store_open_sqlite(uv_loop_t *loop, const char *path, struct store **ret, struct error *err)
{
        AUTO(sqlite_closep) struct sqlite *s = mem_alloc(sizeof *s);
        int64_t revision;

        s->lock_fd = -1;
        /* SQLite gives names like "file:x" and ":memory:" a meaning. */
        s->path = mem_printf("%s%s", path[0] == '/' ? "" : "./", path);
        if (sqlite_open(s, &revision, err) < 0)
                return error_wrap(err, "open store %s", path);
        *ret = store_new(loop, &sqlite_backend, take_ptr(s), (uint64_t) revision);
        return 0;
}
