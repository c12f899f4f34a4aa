/* SPDX-License-Identifier: BSD-3-Clause */
/* Restore: a snapshot becomes the store of a server that does not run.
 *
 * The rows go into a new store beside the old one; when all of them are on disk, and the file was
 * whole to its end, the new one takes the old one's name in one step. Killed at any instant before,
 * the old store is as it was. The server's lock is held all the while, so none can start in
 * between.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/snapshot.h"
#include "cli/terminal.h"
#include "keeper/launch.h"
#include "store/snapshot.h"
#include "store/store.h"

#define BATCH_BYTES ((size_t) 1 << 20)

static const char *data_directory;
static bool force;

static const struct option_row options[] = {
        { "data", 'd', OPTION_TEXT, &data_directory, "DIR",
                "state directory of the server (/var/lib/reeve, or ~/.local/state/reeve)" },
        { "force", 'f', OPTION_FLAG, &force, NULL,
                "also where the store is not empty; it is kept as DIR/store.db.before-restore" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

struct restore {
        const char *data;
        char *store, *fresh, *aside; /* paths: the store, the one being made, where the old goes */
        uv_loop_t loop;
        struct store *to;
        struct store_batch batch;
        bool committed;
        struct error failure; /* of the last commit */
        struct snapshot_counts counts;
};

/* ---- Whether it may be */

static int check_stopped(const struct restore *r, int64_t pid, struct error *err)
{
        if (pid == 0)
                return 0;
        return error_set(err, ERR_CONFLICT,
                "Reeve runs on %s (process %" PRId64
                "); end it first: `reeve down`, or TERM to its "
                "keeper, which leaves the tasks running",
                r->data, pid);
}

static int take_lock(const struct restore *r, int *ret_fd, struct error *err)
{
        int fd;

        if (file_mkdirs(r->data, 0700, err) < 0 ||
                check_stopped(r, keeper_lock_owner(r->data, "keeper.lock"), err) < 0)
                return -1;
        fd = keeper_lock_take(r->data, "server.lock", false);
        if (fd == -EWOULDBLOCK)
                return check_stopped(r, keeper_lock_owner(r->data, "server.lock"), err);
        if (fd < 0)
                return error_sys(err, -fd, "lock %s/server.lock", r->data);
        *ret_fd = fd;
        return 0;
}

static int on_any_row(void *data, const char *key, const char *value, size_t len, struct error *err)
{
        (void) key, (void) value, (void) len, (void) err;
        *(bool *) data = true;
        return 1;
}

/* Opening and closing it also brings its write-ahead log into the file. */
static int look_into(struct restore *r, bool *ret_rows, struct error *err)
{
        struct store *old;
        int rc;

        if (store_open_sqlite(&r->loop, r->store, &old, err) < 0)
                return -1;
        rc = store_scan(old, "", on_any_row, ret_rows, err);
        store_close(old, NULL, NULL);
        uv_run(&r->loop, UV_RUN_DEFAULT);
        return rc;
}

static int check_old(struct restore *r, struct error *err)
{
        bool rows = false;

        if (access(r->store, F_OK) < 0)
                return 0;
        if (look_into(r, &rows, err) < 0) {
                if (err->code == ERR_CONFLICT || !force)
                        return -1;
                return 0; /* whatever it is, it is kept */
        }
        if (rows && !force)
                return error_set(err, ERR_CONFLICT,
                        "%s is not empty; with --force it is kept aside as %s", r->store, r->aside);
        if (access(r->aside, F_OK) == 0)
                return error_set(err, ERR_CONFLICT,
                        "%s is there already, from an earlier restore; move it away first",
                        r->aside);
        return 0;
}

/* ---- The new store */

static void on_committed(void *data, uint64_t revision, const struct error *err)
{
        struct restore *r = data;

        (void) revision;
        r->committed = true;
        r->failure = err == NULL ? ERROR_INIT : *err;
}

static int commit(struct restore *r, struct error *err)
{
        r->committed = false;
        store_commit(r->to, &r->batch, on_committed, r);
        while (!r->committed)
                uv_run(&r->loop, UV_RUN_ONCE);
        if (r->failure.code == ERR_NONE)
                return 0;
        *err = r->failure;
        return -1;
}

static int put_row(void *data, const char *key, const char *value, size_t len, struct error *err)
{
        struct restore *r = data;

        snapshot_count(&r->counts, key, value, len);
        store_batch_put(&r->batch, key, value, len);
        return r->batch.ops.len < BATCH_BYTES ? 0 : commit(r, err);
}

/* "PATH", and what SQLite and the store put beside it. */
static const char *const endings[] = { "", "-wal", "-shm", "-lock" };

static void remove_store(const char *path)
{
        for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
                AUTO(mem_freep) char *name = mem_printf("%s%s", path, endings[i]);

                unlink(name);
        }
}

static int fill(struct restore *r, const char *file, struct error *err)
{
        const struct snapshot_handlers handlers = { .row = put_row, .data = r };
        int rc;

        remove_store(r->fresh); /* of a restore that was killed */
        if (store_open_sqlite(&r->loop, r->fresh, &r->to, err) < 0)
                return -1;
        rc = snapshot_read_file(file, &handlers, err);
        if (rc == 0)
                rc = commit(r, err);
        store_batch_done(&r->batch);
        store_close(take_ptr(r->to), NULL, NULL);
        uv_run(&r->loop, UV_RUN_DEFAULT);
        return rc;
}

/* ---- The change */

/* A store that could not be opened may have a log, which belongs to it. */
static int move_log_aside(const struct restore *r, const char *ending, struct error *err)
{
        AUTO(mem_freep) char *from = mem_printf("%s%s", r->store, ending);
        AUTO(mem_freep) char *to = mem_printf("%s%s", r->aside, ending);

        if (rename(from, to) < 0 && errno != ENOENT)
                return error_sys(err, errno, "rename %s to %s", from, to);
        return 0;
}

static int sync_folder(const char *path, struct error *err)
{
        AUTO(fd_closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0 || fsync(fd) < 0)
                return error_sys(err, errno, "sync %s", path);
        return 0;
}

static int change(const struct restore *r, struct error *err)
{
        if (link(r->store, r->aside) < 0 && errno != ENOENT)
                return error_sys(err, errno, "keep %s as %s", r->store, r->aside);
        if (move_log_aside(r, "-wal", err) < 0 || move_log_aside(r, "-shm", err) < 0)
                return -1;
        if (rename(r->fresh, r->store) < 0)
                return error_sys(err, errno, "rename %s to %s", r->fresh, r->store);
        return sync_folder(r->data, err);
}

static int replace(struct restore *r, const char *file, struct error *err)
{
        AUTO(fd_closep) int lock = -1;
        int rc;

        if (take_lock(r, &lock, err) < 0 || check_old(r, err) < 0)
                return -1;
        rc = fill(r, file, err);
        if (rc == 0)
                rc = change(r, err);
        remove_store(r->fresh);
        return rc;
}

static int restore(
        const char *file, const char *data, struct snapshot_counts *ret_counts, struct error *err)
{
        struct restore r = { .data = data,
                .store = mem_printf("%s/store.db", data),
                .fresh = mem_printf("%s/store.db.restoring", data),
                .aside = mem_printf("%s/store.db.before-restore", data) };
        int rc;

        uv_loop_init(&r.loop);
        rc = replace(&r, file, err);
        uv_run(&r.loop, UV_RUN_DEFAULT);
        uv_loop_close(&r.loop);
        *ret_counts = r.counts;
        free(r.store);
        free(r.fresh);
        free(r.aside);
        return rc;
}

static int run(const char *const *operands, struct error *err)
{
        AUTO(mem_freep)
        char *data = data_directory != NULL ? mem_strdup(data_directory) : client_default_data();
        AUTO(buffer_done) struct buffer out = { 0 };
        struct snapshot_counts counts;

        if (restore(operands[0], data, &counts, err) < 0)
                return -1;
        buffer_puts(&out, "restored ");
        snapshot_put_counts(&counts, &out);
        buffer_printf(&out, " to %s; the next server there starts with them\n", data);
        terminal_print(&out);
        return 0;
}

const struct command command_snapshot_restore = {
        .name = "snapshot restore",
        .operands = "FILE",
        .summary = "make a snapshot the state of a server that does not run",
        .details =
                "FILE is checked first. Afterwards everything is wanted as it was when the "
                "snapshot "
                "was saved: agents that connect stop what was begun since, bring back what was "
                "changed since, and begin again what was removed since, batches included. Tokens "
                "that were revoked since are good again; nodes that joined since have to join "
                "again.",
        .options = options,
        .operands_min = 1,
        .operands_max = 1,
        .run = run,
};
