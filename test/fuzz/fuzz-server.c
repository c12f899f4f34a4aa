/* SPDX-License-Identifier: BSD-3-Clause */
/* What a server reads that others wrote: files of another server's state, zones, and the small
 * languages in specs and reports. The first byte says which:
 *
 *   S  a snapshot; the byte behind is the size of the pieces that it comes in
 *   r  rows of a store, each "key<tab>value" in a line of its own
 *   z  a time zone file
 *   c  a timetable
 *   p  a pattern; what follows the first newline is matched with it
 *   j  a task report as an agent sends it
 *
 * Whatever is accepted must be usable, and be the same when it was written and read again. */
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/zone.h"
#include "core/cluster.h"
#include "model/cron.h"
#include "model/pattern.h"
#include "model/record-scan.h"
#include "model/status.h"
#include "store/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW (UINT64_C(1800000000) * USEC_SEC)

/* Says what is wrong and ends the program, so that the fuzzer keeps the input. */
static void broken(const char *what, const char *detail)
{
        fprintf(stderr, "%s: %s\n", what, detail);
        abort();
}

static void check_refused(const struct error *err)
{
        if (err->code == ERR_NONE || err->message[0] == '\0')
                broken("refused", "without a message");
}

static char *text_of(const uint8_t *data, size_t size)
{
        return mem_strndup((const char *) data, size); /* ends at a zero byte, if there is one */
}

/* ---- snapshots */

struct copy {
        struct snapshot_writer *writer;
        struct buffer out;
};

static int copy_header(void *data, const struct snapshot_header *header, struct error *err)
{
        struct copy *copy = data;

        (void) err;
        snapshot_put_header(copy->writer, header, &copy->out);
        return 0;
}

static int copy_row(void *data, const char *key, const char *value, size_t len, struct error *err)
{
        struct copy *copy = data;

        (void) err;
        snapshot_put_row(copy->writer, key, value, len, &copy->out);
        return 0;
}

/* Copies it to @out. */
static int read_snapshot(
        const void *data, size_t size, size_t piece, struct buffer *out, struct error *err)
{
        struct copy copy = { .writer = snapshot_writer_new() };
        const struct snapshot_handlers handlers = {
                .header = copy_header, .row = copy_row, .data = &copy
        };
        struct snapshot_reader *r = snapshot_reader_new(&handlers);
        int rc = 0;

        for (size_t at = 0; rc == 0 && at < size; at += piece)
                rc = snapshot_reader_feed(r, (const char *) data + at, MIN(piece, size - at), err);
        if (rc == 0)
                rc = snapshot_reader_end(r, err);
        if (rc == 0)
                snapshot_put_end(copy.writer, &copy.out);
        snapshot_reader_free(r);
        snapshot_writer_free(copy.writer);
        *out = copy.out;
        return rc;
}

static void fuzz_snapshot(const uint8_t *data, size_t size)
{
        AUTO(buffer_done) struct buffer once = { 0 }, twice = { 0 };
        size_t piece = size > 0 && data[0] > 0 ? data[0] : 1;
        struct error err = ERROR_INIT;

        if (read_snapshot(data + (size > 0), size - (size > 0), piece, &once, &err) < 0) {
                check_refused(&err);
                return;
        }
        if (read_snapshot(once.data, once.len, 1, &twice, &err) < 0)
                broken("what was written is refused", err.message);
        if (once.len != twice.len || memcmp(once.data, twice.data, once.len) != 0)
                broken("changed by writing and reading", buffer_str(&twice));
}

/* ---- rows */

static int load_row(struct cluster *c, char *line, struct error *err)
{
        struct cluster_effects fx = { 0 };
        char *tab = strchr(line, '\t');
        int rc;

        if (tab == NULL)
                return 0;
        *tab = '\0';
        rc = cluster_handle(c,
                &(struct cluster_event){ .type = CLUSTER_LOAD, .key = line, .value = tab + 1 }, NOW,
                &fx, err);
        cluster_effects_done(&fx);
        return rc;
}

static int load_rows(struct cluster *c, char *rows, struct error *err)
{
        char *rest = rows, *line;

        while ((line = strsep(&rest, "\n")) != NULL)
                if (load_row(c, line, err) < 0)
                        return -1;
        return 0;
}

static void see_task(void *data, const struct task_status *task)
{
        struct task_status again;

        if (!cluster_get_task(data, task->id, &again))
                broken("a task that is not found", task->id);
}

static void see_job(void *data, const struct job_status *job)
{
        struct job_status again;

        if (!cluster_get_job(data, job->name, &again))
                broken("a job that is not found", job->name);
        cluster_each_task(data, job->name, see_task, data);
}

/* A state that was accepted goes on: nodes come, time passes. */
static void use_cluster(struct cluster *c)
{
        struct cluster_effects fx = { 0 };
        struct error err = ERROR_INIT;
        usec_t now = NOW;

        if (cluster_handle(c, &(struct cluster_event){ .type = CLUSTER_LOADED }, now, &fx, &err) <
                0) {
                check_refused(&err);
                cluster_effects_done(&fx);
                return;
        }
        for (int i = 0; i < 8 && cluster_next_deadline(c) != USEC_NEVER; i++) {
                now = MAX(now, cluster_next_deadline(c));
                cluster_effects_reset(&fx);
                if (cluster_handle(
                            c, &(struct cluster_event){ .type = CLUSTER_TICK }, now, &fx, &err) < 0)
                        broken("refused", "that time has passed");
        }
        cluster_each_job(c, see_job, c);
        cluster_effects_done(&fx);
}

static void fuzz_rows(const uint8_t *data, size_t size)
{
        AUTO(mem_freep) char *rows = text_of(data, size);
        struct cluster *c = cluster_new();
        struct error err = ERROR_INIT;

        if (load_rows(c, rows, &err) < 0)
                check_refused(&err);
        else
                use_cluster(c);
        cluster_free(c);
}

/* ---- time */

static void check_zone(const struct zone *zone, int64_t instant)
{
        struct zone_period period = zone_period_at(zone, instant);
        int64_t found[2];
        size_t n;

        if (instant < period.begin || instant >= period.end)
                broken("a period", "that the instant is not in");
        n = zone_instants_of(zone, instant + period.offset, found);
        for (size_t i = 0; i < n; i++)
                if (found[i] == instant)
                        return;
        broken("an instant", "that its own clock does not show");
}

static void fuzz_zone(const uint8_t *data, size_t size)
{
        static const int64_t instants[] = { -5000000000, -1, 0, 1700000000, 1800000000,
                10000000000 };
        AUTO(mem_freep) uint8_t *exact = mem_alloc(size + 1);
        struct error err = ERROR_INIT;
        struct zone *zone = NULL;

        memcpy(exact, data, size);
        if (zone_parse(exact, size, &zone, &err) < 0) {
                check_refused(&err);
                return;
        }
        for (size_t i = 0; i < ARRAY_SIZE(instants); i++)
                check_zone(zone, instants[i]);
        zone_free(zone);
}

static void fuzz_cron(const uint8_t *data, size_t size)
{
        AUTO(mem_freep) char *text = text_of(data, size);
        struct cron_expression expression;
        struct error err = ERROR_INIT;
        usec_t at = NOW, next;

        if (cron_parse(text, &expression, &err) < 0) {
                check_refused(&err);
                return;
        }
        for (int i = 0; i < 5 && cron_next(&expression, NULL, at, &next); i++) {
                if (next <= at || next % USEC_MINUTE != 0)
                        broken("not the next one", text);
                at = next;
        }
}

/* ---- patterns and reports */

static void fuzz_pattern(const uint8_t *data, size_t size)
{
        AUTO(mem_freep) char *text = text_of(data, size);
        char *subject = strchr(text, '\n');
        struct error err = ERROR_INIT;
        struct pattern p = { 0 };

        if (subject != NULL)
                *subject++ = '\0';
        if (pattern_parse(text, &p, &err) < 0) {
                check_refused(&err);
                return;
        }
        if (p.len > PATTERN_SIZE_MAX)
                broken("longer than is allowed", text);
        pattern_matches(&p, subject == NULL ? "" : subject);
        pattern_done(&p);
}

/* As a tree and straight from the text it is the same. */
static void fuzz_report(const uint8_t *data, size_t size)
{
        AUTO(buffer_done) struct buffer a = { 0 }, b = { 0 };
        struct task_status from_text = { 0 }, from_tree = { 0 };
        struct error err = ERROR_INIT;
        struct record_scan r;
        struct scan_text key;
        struct scan s;
        json_t *tree;

        scan_init(&s, (const char *) data, size);
        record_scan_begin(&r, &task_table, &from_text);
        scan_object(&s);
        while (scan_member(&s, &key))
                record_scan_member(&r, &s, &key);
        if (!scan_end(&s) || r.wrong != NULL) {
                record_scan_fail(&r, &s, &err);
                check_refused(&err);
                record_done(&task_table, &from_text);
                return;
        }
        tree = json_loadb((const char *) data, size, 0, NULL);
        if (tree != NULL && record_read(&task_table, tree, &from_tree, &err) == 0) {
                record_write(&task_table, &from_text, &a);
                record_write(&task_table, &from_tree, &b);
                if (strcmp(buffer_str(&a), buffer_str(&b)) != 0)
                        broken(buffer_str(&a), buffer_str(&b));
                record_done(&task_table, &from_tree);
        }
        json_decref(tree);
        record_done(&task_table, &from_text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const struct {
                char kind;
                void (*fuzz)(const uint8_t *data, size_t size);
        } kinds[] = { { 'S', fuzz_snapshot }, { 'r', fuzz_rows }, { 'z', fuzz_zone },
                { 'c', fuzz_cron }, { 'p', fuzz_pattern }, { 'j', fuzz_report } };

        for (size_t i = 0; size > 0 && i < ARRAY_SIZE(kinds); i++)
                if (data[0] == kinds[i].kind)
                        kinds[i].fuzz(data + 1, size - 1);
        return 0;
}
