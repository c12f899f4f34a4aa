/* SPDX-License-Identifier: BSD-3-Clause */
/* What only SQLite can show: files that are not ours, full disks, kill -9. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/time.h"
#include "store/store.h"
#include "store/test-helpers.h"

/* --- SQLite: files ------------------------------------------------------------------------- */

static void reopened_store_has_everything(void **state)
{
        struct fixture *f = *state;

        put_one(f->store, "a", "1");
        put_one(f->store, "b", "2");
        close_and_wait(f->store);
        f->store = open_sqlite(f->path);
        assert_int_equal(store_revision(f->store), 2);
        assert_scan(f->store, "", "a=1;b=2;");
        put_one(f->store, "c", "3");
        assert_int_equal(store_revision(f->store), 3);
}

static void file_is_private(void **state)
{
        static const char *const suffixes[] = { "", "-wal", "-shm", "-lock" };
        struct fixture *f = *state;

        put_one(f->store, "a", "1");
        for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
                AUTO(mem_freep) char *path = mem_printf("%s%s", f->path, suffixes[i]);
                struct stat st;

                assert_int_equal(stat(path, &st), 0);
                assert_int_equal(st.st_mode & 0777, 0600);
        }
}

static void assert_refused(const char *path, enum error_code code, const char *why)
{
        struct error err = ERROR_INIT;
        struct store *s = NULL;

        assert_int_equal(store_open_sqlite(&test_loop, path, &s, &err), -1);
        assert_null(s);
        assert_int_equal(err.code, code);
        if (strstr(err.message, why) == NULL)
                fail_msg("\"%s\" does not say \"%s\"", err.message, why);
}

static void second_opener_is_told_who(void **state)
{
        struct fixture *f = *state;
        char who[64];

        snprintf(who, sizeof who, "in use by process %d", (int) getpid());
        assert_refused(f->path, ERR_CONFLICT, who);
        put_one(f->store, "a", "1"); /* the first is none the worse */
        assert_scan(f->store, "", "a=1;");
}

static void file_without_a_folder_is_refused(void **state)
{
        (void) state;
        assert_refused("/nonexistent/store.db", ERR_NOT_FOUND, "/nonexistent/store.db");
}

static void other_file_is_refused_and_left_alone(void **state)
{
        static const char text[] = "This is not a database, but it is dear to somebody. "
                                   "It is longer than the header of an SQLite file, 100 bytes.\n";
        struct buffer after = { 0 };
        char path[128];

        (void) state;
        make_path(path, sizeof path);
        assert_int_equal(file_replace(path, text, sizeof text, 0600, false, NULL), 0);
        assert_refused(path, ERR_INVALID, "not a store of Reeve");
        assert_int_equal(file_read(path, 4096, &after, NULL), 0);
        assert_memory_equal(after.data, text, sizeof text);
        buffer_done(&after);
}

static void run_sql(const char *path, const char *sql)
{
        sqlite3 *db;

        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
                fail_msg("%s: %s", sql, sqlite3_errmsg(db));
        sqlite3_close(db);
}

static void other_database_is_refused_and_left_alone(void **state)
{
        struct buffer before = { 0 }, after = { 0 };
        char path[128];

        (void) state;
        make_path(path, sizeof path);
        run_sql(path, "CREATE TABLE songs(title TEXT)");
        assert_int_equal(file_read(path, 1 << 20, &before, NULL), 0);
        assert_refused(path, ERR_INVALID, "another program");
        assert_int_equal(file_read(path, 1 << 20, &after, NULL), 0);
        assert_int_equal(before.len, after.len);
        assert_memory_equal(before.data, after.data, before.len);
        buffer_done(&before);
        buffer_done(&after);
}

static void newer_schema_is_refused(void **state)
{
        struct fixture *f = *state;

        close_and_wait(take_ptr(f->store));
        run_sql(f->path, "PRAGMA user_version = 2");
        assert_refused(f->path, ERR_INVALID, "newer Reeve (store version 2; this one knows 1)");
}

/* Batches of 1 MB over the same key: the log must not keep them all. */
static void log_does_not_grow_for_ever(void **state)
{
        struct fixture *f = *state;
        AUTO(mem_freep) char *log = mem_printf("%s-wal", f->path);
        AUTO(mem_freep) char *value = mem_alloc(1 << 20);
        struct stat st;

        for (int i = 0; i < 40; i++) {
                struct store_batch batch = { 0 };

                store_batch_put(&batch, "large", value, 1 << 20);
                commit_well(f->store, &batch);
        }
        assert_int_equal(stat(log, &st), 0);
        assert_in_range(st.st_size, 1, 10 << 20);
}

/* --- SQLite: full disks -------------------------------------------------------------------- */

/* Puts rows of 1 KB until the disk is full; returns how many are in. */
static int fill(struct store *s)
{
        AUTO(mem_freep) char *value = mem_alloc(1024);

        for (int n = 0; n < 4000; n++) {
                struct store_batch batch = { 0 };
                struct outcome o;
                char key[32];

                snprintf(key, sizeof key, "fill/%05d", n);
                store_batch_put(&batch, key, value, 1024);
                o = commit(s, &batch);
                if (o.code == ERR_NONE)
                        continue;
                if (o.code != ERR_NO_SPACE)
                        fail_msg("%s", o.message);
                return n;
        }
        fail_msg("the disk never became full");
        return 0;
}

static int count_row(void *data, const char *key, const char *value, size_t len, struct error *err)
{
        (void) key;
        (void) value;
        (void) len;
        (void) err;
        ++*(int *) data;
        return 0;
}

static void assert_rows(struct store *s, const char *prefix, int expected)
{
        int rows = 0;

        assert_int_equal(store_scan(s, prefix, count_row, &rows, NULL), 0);
        assert_int_equal(rows, expected);
}

/* A group on a full disk fails as a whole, what was there before stays, and deleting makes room. */
static void live_with_a_full_disk(struct store *s)
{
        AUTO(mem_freep) char *value = mem_alloc(1 << 20);
        struct store_batch large = { 0 };
        int rows = fill(s);
        uint64_t revision = store_revision(s);
        struct outcome o;

        put(&large, "half/1", "1");
        store_batch_put(&large, "half/2", value, 1 << 20);
        o = commit(s, &large);
        assert_int_equal(o.code, ERR_NO_SPACE);
        assert_int_equal(store_revision(s), revision);
        assert_rows(s, "fill/", rows);
        assert_rows(s, "half/", 0);
}

static void recover(struct store *s)
{
        uint64_t revision = store_revision(s);

        put_one(s, "after", "1");
        assert_int_equal(store_revision(s), revision + 1);
        assert_value(s, "after", "1");
}

/* A file system of its own for the store; in the namespace of this process, see main(). */
static void mount_small(const char *mount_point)
{
        if (mkdir(mount_point, 0700) < 0 || mount("small", mount_point, "tmpfs", 0, "size=1m") < 0)
                skip();
}

static void full_file_system_is_survived(void **state)
{
        AUTO(mem_freep) char *mount_point = mem_printf("%s/small", test_directory);
        AUTO(mem_freep) char *path = mem_printf("%s/store.db", mount_point);
        struct store *s;
        int rows;

        (void) state;
        mount_small(mount_point);
        s = open_sqlite(path);
        live_with_a_full_disk(s);
        assert_int_equal(mount("small", mount_point, "tmpfs", MS_REMOUNT, "size=8m"), 0);
        recover(s);
        rows = fill(s); /* over the old rows and beyond */
        assert_true(rows > 1000);
        close_and_wait(s);
        s = open_sqlite(path);
        assert_rows(s, "fill/", rows);
        assert_value(s, "after", "1");
        close_and_wait(s);
        assert_int_equal(umount(mount_point), 0);
}

static void fill_with_a_file(const char *path)
{
        static const char block[4096];
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        while (write(fd, block, sizeof block) > 0)
                continue;
        assert_int_equal(errno, ENOSPC);
        close(fd);
}

/* Somebody else has filled the disk; what needs no more room than there was still works. */
static void updates_go_on_though_the_disk_is_full(void **state)
{
        AUTO(mem_freep) char *mount_point = mem_printf("%s/shared", test_directory);
        AUTO(mem_freep) char *path = mem_printf("%s/store.db", mount_point);
        AUTO(mem_freep) char *other = mem_printf("%s/other", mount_point);
        AUTO(mem_freep) char *log = mem_printf("%s/store.db-wal", mount_point);
        struct stat before, after;
        struct store *s;

        (void) state;
        mount_small(mount_point);
        s = open_sqlite(path);
        for (int i = 0; i < 10; i++)
                put_one(s, "a", "1");
        fill_with_a_file(other);
        assert_int_equal(stat(log, &before), 0);
        for (int i = 0; i < 200; i++)
                put_one(s, "a", i % 2 == 0 ? "2" : "3");
        assert_int_equal(stat(log, &after), 0);
        assert_true(after.st_size <= before.st_size + 4096); /* the rest of a page, at most */
        assert_scan(s, "", "a=3;");
        close_and_wait(s);
        assert_int_equal(umount(mount_point), 0);
}

/* The same without being root: no file may grow beyond 256 KB. */
static void limited_file_size_is_survived(void **state)
{
        struct fixture *f = *state;
        struct rlimit old, small;
        void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);

        assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
        small = (struct rlimit){ .rlim_cur = 256 << 10, .rlim_max = old.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        live_with_a_full_disk(f->store);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        signal(SIGXFSZ, handler);
        recover(f->store);
}

/* --- SQLite: kill -9 ------------------------------------------------------------------------ */

/* What the child process does: commits pairs, several batches on their way at a time, and reports
 * the number of each on stdout as soon as it is durable. Ends only by being killed. */
enum { CHILD_AHEAD = 8 };

struct child {
        struct store *store;
        uint64_t next;
};

static void child_commit(struct child *c);

static void on_child_commit(void *data, uint64_t revision, const struct error *err)
{
        if (err != NULL || write(STDOUT_FILENO, &revision, sizeof revision) != sizeof revision)
                _exit(1);
        child_commit(data);
}

static void child_commit(struct child *c)
{
        struct store_batch batch = { 0 };
        char key[32];

        snprintf(key, sizeof key, "a/%010" PRIu64, ++c->next);
        put(&batch, key, "1");
        key[0] = 'b';
        put(&batch, key, "1");
        store_commit(c->store, &batch, on_child_commit, c);
}

static int child_main(const char *path)
{
        struct child c = { 0 };
        struct error err = ERROR_INIT;

        if (uv_loop_init(&test_loop) < 0 ||
                store_open_sqlite(&test_loop, path, &c.store, &err) < 0) {
                fprintf(stderr, "%s\n", err.message);
                return 1;
        }
        c.next = store_revision(c.store);
        for (int i = 0; i < CHILD_AHEAD; i++)
                child_commit(&c);
        return uv_run(&test_loop, UV_RUN_DEFAULT);
}

static pid_t child_start(const char *path, int *ret_fd)
{
        const char *argv[] = { "test-sqlite", "--child", path, NULL };
        posix_spawn_file_actions_t actions;
        int pipe_fds[2];
        pid_t pid;

        assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], STDOUT_FILENO);
        assert_int_equal(posix_spawn(&pid, "/proc/self/exe", &actions, NULL,
                                 (char *const *) (uintptr_t) argv, environ),
                0);
        posix_spawn_file_actions_destroy(&actions);
        close(pipe_fds[1]);
        *ret_fd = pipe_fds[0];
        return pid;
}

/* Reads numbers until @enough or the end; returns the last one. */
static uint64_t read_acknowledged(int fd, uint64_t last, uint64_t enough)
{
        uint64_t number;

        while (last < enough) {
                ssize_t n = read(fd, &number, sizeof number);

                if (n == 0)
                        break;
                assert_int_equal(n, sizeof number); /* writes this small are whole */
                assert_true(number == last + 1 || last == 0);
                last = number;
        }
        return last;
}

struct sequence_check {
        char letter;
        uint64_t last;
};

static int check_next(void *data, const char *key, const char *value, size_t len, struct error *err)
{
        struct sequence_check *c = data;
        char expected[32];

        (void) err;
        snprintf(expected, sizeof expected, "%c/%010" PRIu64, c->letter, ++c->last);
        assert_string_equal(key, expected);
        assert_int_equal(len, 1);
        assert_string_equal(value, "1");
        return 0;
}

static void check_after_kill(const char *path, uint64_t acknowledged)
{
        struct sequence_check a = { .letter = 'a' }, b = { .letter = 'b' };
        struct store *s = open_sqlite(path);

        assert_int_equal(store_scan(s, "a/", check_next, &a, NULL), 0);
        assert_int_equal(store_scan(s, "b/", check_next, &b, NULL), 0);
        assert_true(a.last >= acknowledged);
        assert_int_equal(a.last, b.last);
        assert_int_equal(a.last, store_revision(s));
        close_and_wait(s);
}

/* Kills at a random instant, not one between two reports. */
static void kill_soon(pid_t pid)
{
        struct timespec ts = { .tv_nsec = random() % 2000000 };
        int status;

        nanosleep(&ts, NULL);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
}

static void acknowledged_batches_survive_kill(void **state)
{
        unsigned seed = (unsigned) time_wall();
        uint64_t last = 0;
        char path[128];

        (void) state;
        print_message("seed %u\n", seed);
        srandom(seed);
        make_path(path, sizeof path);
        for (int round = 0; round < 12; round++) {
                int fd;
                pid_t pid = child_start(path, &fd);
                uint64_t enough = last + 1 + (uint64_t) random() % 700;
                uint64_t first = read_acknowledged(fd, 0, 1);

                assert_true(first > last || last == 0);
                last = read_acknowledged(fd, first, enough);
                assert_true(last >= enough); /* it did not end by itself */
                kill_soon(pid);
                last = read_acknowledged(fd, last, UINT64_MAX);
                close(fd);
                check_after_kill(path, last);
        }
}

/* The child holds the lock until it is killed, and only until then. */
static void lock_goes_with_the_process(void **state)
{
        char path[128], who[64];
        pid_t pid;
        int fd;

        (void) state;
        make_path(path, sizeof path);
        pid = child_start(path, &fd);
        read_acknowledged(fd, 0, 1);
        snprintf(who, sizeof who, "in use by process %d", (int) pid);
        assert_refused(path, ERR_CONFLICT, who);
        kill_soon(pid);
        close(fd);
        close_and_wait(open_sqlite(path));
}

/* --- the table ----------------------------------------------------------------------------- */

static int run_all(void)
{
        const struct CMUnitTest files[] = {
                WITH(setup_sqlite, reopened_store_has_everything),
                WITH(setup_sqlite, file_is_private),
                WITH(setup_sqlite, second_opener_is_told_who),
                cmocka_unit_test(file_without_a_folder_is_refused),
                cmocka_unit_test(other_file_is_refused_and_left_alone),
                cmocka_unit_test(other_database_is_refused_and_left_alone),
                WITH(setup_sqlite, newer_schema_is_refused),
                WITH(setup_sqlite, log_does_not_grow_for_ever),
                cmocka_unit_test(full_file_system_is_survived),
                cmocka_unit_test(updates_go_on_though_the_disk_is_full),
                WITH(setup_sqlite, limited_file_size_is_survived),
                cmocka_unit_test(acknowledged_batches_survive_kill),
                cmocka_unit_test(lock_goes_with_the_process),
        };

        return cmocka_run_group_tests_name("files", files, NULL, NULL);
}

/* What a test mounts is seen by nobody else and gone with the process. Before the first thread, so
 * that all are in it. */
static void leave_mount_namespace(void)
{
        if (unshare(CLONE_NEWNS) == 0)
                mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

int main(int argc, char **argv)
{
        if (argc == 3 && strcmp(argv[1], "--child") == 0)
                return child_main(argv[2]);
        leave_mount_namespace();
        return test_main(run_all);
}
