/* SPDX-License-Identifier: BSD-3-Clause */
/* What an agent finds when it begins: files that an earlier one wrote, if nothing happened to them,
 * and the texts of /proc. The first byte says which:
 *
 *   T  the task table, byte by byte
 *   t  a good task table with patches: offset (4 bytes, little endian), length (1), bytes
 *   o  the outbox; the byte behind is the number of the last entry that counts
 *   i  the index of a log; the files of the stream have the inodes that it calls 1 and 2
 *   s  /proc/PID/stat, and other lines of numbers there
 *
 * Whatever is accepted must be usable, and what is told to the server must be JSON. */
#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "node/logfile.h"
#include "node/logindex.h"
#include "node/logread.h"
#include "node/process.h"
#include "node/task.h"
#include "node/usage.h"
#include "node/vitals-machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char directory[64];

static void leave(void)
{
        file_remove_tree(directory, NULL);
}

static void enter(void)
{
        if (directory[0] != '\0')
                return;
        snprintf(directory, sizeof directory, "/tmp/reeve-fuzz-node-XXXXXX");
        if (mkdtemp(directory) == NULL || atexit(leave) != 0)
                abort();
}

/* Says what is wrong and ends the program, so that the fuzzer keeps the input. */
static void broken(const char *what, const char *detail)
{
        fprintf(stderr, "%s: %s\n", what, detail);
        abort();
}

static char *path_of(const char *name)
{
        return mem_printf("%s/%s", directory, name);
}

static void put_file(const char *name, const void *data, size_t size)
{
        AUTO(mem_freep) char *path = path_of(name);

        unlink(path);
        if (file_replace(path, data, size, 0600, false, NULL) < 0)
                abort();
}

static void check_refused(const struct error *err)
{
        if (err->code == ERR_NONE || err->message[0] == '\0')
                broken("refused", "without a message");
}

/* ---- the task table */

static void check_report(void *data, struct task *t)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        json_error_t why;
        json_t *json;

        task_report(t, &b);
        json = json_loadb(b.data, b.len, JSON_REJECT_DUPLICATES, &why);
        if (json == NULL)
                broken(why.text, buffer_str(&b));
        json_decref(json);
        if (tasks_find(data, t->id) != t)
                broken("there twice", t->id);
        if (!task_machine_is_valid(table_machine(t->slot)))
                broken("taken over although damaged", t->id);
}

static void on_changed(void *data)
{
        (void) data;
}

static void load_tasks(struct table *table)
{
        AUTO(mem_freep) char *jobs = path_of("jobs");
        struct tasks_config config = {
                .directory = directory, .node = "n1", .table = table, .on_changed = on_changed
        };
        struct tasks *ts;
        uv_loop_t loop;

        uv_loop_init(&loop);
        config.loop = &loop;
        config.specs = specs_new(jobs);
        ts = tasks_new(&config);
        tasks_load(ts);
        tasks_each(ts, check_report, ts);
        tasks_free(ts);
        specs_free(config.specs);
        uv_run(&loop, UV_RUN_DEFAULT);
        if (uv_loop_close(&loop) != 0)
                broken("left behind", "a handle");
}

static void use_table(struct table *t)
{
        struct error err = ERROR_INIT;
        struct task_machine m;
        struct table_slot *slot;
        uint64_t seq = table_note_seq(t), next = MIN(seq + 1, (uint64_t) INT64_MAX / 2);

        load_tasks(t);
        task_machine_init(&m, 1);
        if (table_take(t, "new", 1, &slot, &err) < 0)
                broken("no room", err.message);
        table_commit(t, slot, &m, next);
        if (table_note_seq(t) != next)
                broken("lost", "the number of a note");
        table_drop(t, slot);
        if (table_note_seq(t) != next)
                broken("lost with its task", "the number of a note");
}

static void check_table(const char *path)
{
        struct error err = ERROR_INIT;
        struct table *t = NULL;

        if (table_open(path, &t, &err) < 0) {
                check_refused(&err);
                return;
        }
        use_table(t);
        table_close(t);
        if (table_open(path, &t, &err) < 0) /* it is one, and was left in order */
                broken("refused the second time", err.message);
        table_close(t);
}

static void fuzz_table(const uint8_t *data, size_t size)
{
        AUTO(mem_freep) char *path = path_of("table");

        put_file("table", data, size);
        check_table(path);
}

/* Three tasks: one that waits, one that runs, one that is being begun. */
static void make_table(const char *path)
{
        static const char *const jobs[] = { "waits", "runs", "begins" };
        struct table *t = NULL;

        if (table_open(path, &t, NULL) < 0)
                abort();
        for (uint32_t i = 0; i < ARRAY_SIZE(jobs); i++) {
                struct table_slot *slot;
                struct task_machine m;

                if (table_take(t, jobs[i], i, &slot, NULL) < 0)
                        abort();
                task_machine_init(&m, 1);
                m.desire = (struct task_desire){ i > 0, 1, 1, 1 };
                m.run_version = i > 0;
                m.runs = i;
                m.pid = i == 1 ? 1000000 : 0;
                m.state = i == 0 ? m.state : i == 1 ? TASK_RUNNING : TASK_STARTING;
                m.run_generation = i > 0;
                table_commit(t, slot, &m, 5);
                *table_run_record(slot) = (struct table_run){ .run = i, .pid = 1000000 };
                if (!task_machine_is_valid(&m))
                        abort();
        }
        table_close(t);
}

static void fuzz_patched_table(const uint8_t *data, size_t size)
{
        AUTO(mem_freep) char *path = path_of("table");
        AUTO(buffer_done) struct buffer b = { 0 };

        unlink(path);
        make_table(path);
        if (file_read(path, 1 << 24, &b, NULL) < 0)
                abort();
        while (size > 5) {
                uint32_t at;
                size_t len = MIN((size_t) data[4], size - 5);

                memcpy(&at, data, sizeof at);
                at = le32toh(at);
                if (at < b.len)
                        memcpy(b.data + at, data + 5, MIN(len, b.len - at));
                data += 5 + len;
                size -= 5 + len;
        }
        put_file("table", b.data, b.len);
        check_table(path);
}

/* ---- the outbox */

/* Reads all that there is; returns how many entries. */
static size_t read_outbox(struct outbox *o)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        json_error_t why;
        json_t *json;
        size_t n;

        buffer_putc(&b, '[');
        n = outbox_read(o, 1000, &b);
        buffer_putc(&b, ']');
        json = json_loadb(b.data, b.len, 0, &why);
        if (json == NULL)
                broken(why.text, buffer_str(&b));
        if (json_array_size(json) != n)
                broken("number of entries", buffer_str(&b));
        for (size_t i = 0; i < n; i++)
                if (!json_is_object(json_array_get(json_array_get(json, i), 1)))
                        broken("not an event", buffer_str(&b));
        json_decref(json);
        return n;
}

static void fuzz_outbox(const uint8_t *data, size_t size)
{
        AUTO(mem_freep) char *path = path_of("outbox");
        struct event e = { .kind = EVENT_TASK_ENDED, .version = RECORD_NULL };
        uint64_t committed = size > 0 ? data[0] : 0, seq = 0;
        struct error err = ERROR_INIT;
        struct outbox *o = NULL;

        put_file("outbox", data + (size > 0), size - (size > 0));
        if (outbox_open(path, committed, &o, &err) < 0)
                broken("refused", err.message);
        if (outbox_last(o) != committed)
                broken("last entry", "is not the one that was committed");
        if ((read_outbox(o) == 0) != outbox_empty(o))
                broken("entries", "that cannot be read");
        if (outbox_append(o, &e, &seq, &err) < 0 || seq != committed + 1)
                broken("cannot append", err.message);
        if (read_outbox(o) != 1)
                broken("lost", "a new entry");
        outbox_ack(o, committed);
        outbox_rewind(o);
        if (read_outbox(o) != 1)
                broken("lost", "what is not acknowledged");
        outbox_ack(o, seq);
        if (!outbox_empty(o))
                broken("left", "in the outbox");
        outbox_close(o);
}

/* ---- the index of a log */

#define LOG_BYTES 1000 /* in each file */

static uint64_t put_log(const char *name, char fill)
{
        AUTO(mem_freep) char *path = path_of(name);
        char text[LOG_BYTES];
        struct stat st;

        for (size_t i = 0; i < sizeof text; i++)
                text[i] = i % 50 == 49 ? '\n' : fill;
        put_file(name, text, sizeof text);
        if (stat(path, &st) < 0)
                abort();
        return st.st_ino;
}

static void put_index(const uint8_t *data, size_t size)
{
        uint64_t inodes[] = { put_log("stdout", 'a'), put_log("stdout.1", 'b') };
        AUTO(buffer_done) struct buffer b = { 0 };

        buffer_put(&b, data, size);
        for (size_t at = 0; at + LOGINDEX_RECORD_SIZE <= b.len; at += LOGINDEX_RECORD_SIZE) {
                struct logindex_record r;

                memcpy(&r, b.data + at, sizeof r);
                if (r.type == LOGINDEX_FILE && (r.value == 1 || r.value == 2))
                        r.value = inodes[r.value - 1];
                memcpy(b.data + at, &r, sizeof r);
        }
        put_file("stdout.index", b.data, b.len);
}

static void read_log(struct logread_from from)
{
        struct error err = ERROR_INIT;
        struct logread *reader = NULL;
        struct logread_chunk chunk;
        size_t bytes = 0, chunks = 0;
        char buf[300];
        int r;

        if (logread_open(directory, "stdout", from, &reader, &err) < 0) {
                check_refused(&err);
                return;
        }
        while ((r = logread_next(reader, buf, sizeof buf, &chunk, &err)) > 0) {
                bytes += chunk.len;
                if (bytes > 2 * (size_t) LOG_BYTES || ++chunks > 10000)
                        broken("endless", "log");
                if (chunk.len > sizeof buf || (chunk.len > 0) == (chunk.gap > 0))
                        broken("neither bytes nor a gap", "");
        }
        if (r < 0)
                check_refused(&err);
        logread_free(reader);
}

/* The one who writes goes on behind all that was. */
static void write_log(void)
{
        AUTO(mem_freep) char *path = path_of("stdout");
        struct error err = ERROR_INIT;
        struct logfile lf;
        size_t written = 0;
        uint64_t next;

        logfile_init(&lf, path, 1500, 3);
        if (logfile_open(&lf, &err) == 0) {
                next = logfile_next(&lf);
                if (logfile_mark(&lf, 7, time_wall(), &err) < 0 ||
                        logfile_write(&lf, "new\n", 4, &written, &err) < 0)
                        check_refused(&err);
                else if (logfile_next(&lf) != next + 4)
                        broken("numbers", "do not grow with the log");
        } else {
                check_refused(&err);
        }
        logfile_done(&lf);
}

static void fuzz_index(const uint8_t *data, size_t size)
{
        put_index(data, size);
        read_log((struct logread_from){ .start = LOGREAD_BYTE, .value = 0 });
        read_log((struct logread_from){ .start = LOGREAD_BYTE, .value = 1500 });
        read_log((struct logread_from){ .start = LOGREAD_LINES, .value = 5 });
        read_log((struct logread_from){ .start = LOGREAD_SINCE, .value = 1000 });
        read_log((struct logread_from){ .start = LOGREAD_RUN, .value = 1 });
        write_log();
}

/* ---- /proc/PID/stat */

static void fuzz_stat(const uint8_t *data, size_t size)
{
        struct usage usage, no_usage;
        struct process_stat untouched, st;
        char *text = malloc(size + 1);

        if (text == NULL)
                abort();
        memcpy(text, data, size);
        text[size] = '\0';
        memset(&untouched, 0x55, sizeof untouched);
        st = untouched;
        if (!process_parse_stat(text, &st) && memcmp(&st, &untouched, sizeof st) != 0)
                broken("refused, but set", text);
        memset(&no_usage, 0x55, sizeof no_usage);
        usage = no_usage;
        if (!usage_parse(text, &usage, NULL) && memcmp(&usage, &no_usage, sizeof usage) != 0)
                broken("refused, but set", text);
        vitals_parse_cpu(text);
        vitals_parse_load(text);
        free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const struct {
                char kind;
                void (*fuzz)(const uint8_t *data, size_t size);
        } kinds[] = { { 'T', fuzz_table }, { 't', fuzz_patched_table }, { 'o', fuzz_outbox },
                { 'i', fuzz_index }, { 's', fuzz_stat } };

        enter();
        for (size_t i = 0; size > 0 && i < ARRAY_SIZE(kinds); i++)
                if (data[0] == kinds[i].kind)
                        kinds[i].fuzz(data + 1, size - 1);
        return 0;
}
