/* SPDX-License-Identifier: BSD-3-Clause */
/* What processes and machine use, from texts that look like those of /proc; and the file of
 * samples: what is in it after many rows, another task in the same slot, growth, a new start, and
 * what is not a file of samples. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/macros.h"
#include "base/mem.h"
#include "node/usage.h"
#include "node/vitals-machine.h"
#include "node/vitals-ring.h"

static char root[64];

static int set_up(void **state)
{
        (void) state;
        strcpy(root, "/tmp/reeve-test-vitals-XXXXXX"); /* NOLINT: it fits */
        return mkdtemp(root) == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
        (void) state;
        return file_remove_tree(root, NULL);
}

static void put(const char *path, const char *text)
{
        AUTO(mem_freep) char *whole = mem_printf("%s%s", root, path);
        AUTO(mem_freep) char *directory = mem_strdup(whole);
        struct error err = ERROR_INIT;

        *strrchr(directory, '/') = '\0';
        if (file_mkdirs(directory, 0755, &err) < 0 ||
                file_replace(whole, text, strlen(text), 0644, false, &err) < 0)
                fail_msg("%s", err.message);
}

/* ---- processes */

static void test_usage(void **state)
{
        struct usage u;
        pid_t session;

        (void) state;
        assert_true(usage_parse("42 (a ) b (c) R 1 42 7 0 -1 4194304 5 6 7 8 150 50 20 10 20 0 1 0 "
                                "999 12345 25 184467 1 1",
                &u, &session));
        assert_int_equal(session, 7);
        assert_int_equal(u.cpu_usec, 2300000);
        assert_int_equal(u.memory, 25 * sysconf(_SC_PAGESIZE));
        assert_false(usage_parse("", &u, &session));
        assert_false(usage_parse("42 (sh) R 1 42", &u, NULL));
        assert_false(usage_parse("42 sh R 1 42 7 0 -1", &u, NULL));
        assert_true(usage_read(getpid(), &u, &session));
        assert_int_equal(session, getsid(0));
        assert_true(u.memory > 0);
        assert_false(usage_read(0, &u, NULL));
}

/* ---- machine */

static void test_machine(void **state)
{
        struct vitals_machine m;

        (void) state;
        put("/proc/stat", "cpu  100 20 30 4000 500 6 4 9 7 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n");
        put("/proc/loadavg", "12.05 0.50 0.25 2/345 6789\n");
        put("/proc/meminfo", "MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:  400 kB\n");
        vitals_machine_read(root, root, &m);
        assert_int_equal(m.cpu_usec, (100 + 20 + 30 + 6 + 4) * 10000);
        assert_int_equal(m.load, 1205);
        assert_int_equal(m.memory_total, 1000 * 1024);
        assert_int_equal(m.memory, 600 * 1024);
        assert_true(m.disk > 0 && m.disk < m.disk_total);
}

static void test_machine_that_tells_nothing(void **state)
{
        struct vitals_machine m;

        (void) state;
        vitals_machine_read("/nowhere", "/nowhere", &m);
        assert_true(m.cpu_usec == UINT64_MAX && m.load == UINT64_MAX && m.memory == UINT64_MAX &&
                    m.memory_total == UINT64_MAX && m.disk == UINT64_MAX);
        assert_true(vitals_parse_cpu("cpu  1 2") == UINT64_MAX);
        assert_true(vitals_parse_cpu("intr 1 2 3 4 5 6 7 8") == UINT64_MAX);
        assert_true(vitals_parse_load("high") == UINT64_MAX);
}

/* ---- samples */

#define ROWS 10

static struct vitals_ring *open_ring(uint32_t rows)
{
        AUTO(mem_freep) char *path = mem_printf("%s/vitals", root);
        struct error err = ERROR_INIT;
        struct vitals_ring *r;

        if (vitals_ring_open(path, rows, &r, &err) < 0)
                fail_msg("%s", err.message);
        return r;
}

/* A row in which @slot is task @id and all before it are nobody's. */
static void add(struct vitals_ring *r, usec_t wall, size_t slot, const char *id, uint32_t memory)
{
        AUTO(mem_freep) struct vitals_cell *cells = mem_alloc((slot + 1) * sizeof *cells);
        struct vitals_row row = { .wall = wall, .cells = (uint32_t) slot + 1, .memory = wall * 10 };
        struct error err = ERROR_INIT;

        cells[slot] = (struct vitals_cell){
                .key = vitals_ring_key(id), .run = 1, .cpu = 5, .memory_kib = memory
        };
        if (vitals_ring_add(r, &row, cells, &err) < 0)
                fail_msg("%s", err.message);
}

struct found {
        usec_t wall[64];
        uint32_t memory[64];
        size_t len;
};

static void on_row(void *data, const struct vitals_row *row, const struct vitals_cell *cell)
{
        struct found *f = data;

        assert_true(f->len < ARRAY_SIZE(f->wall));
        assert_int_equal(row->memory, row->wall * 10);
        f->wall[f->len] = row->wall;
        f->memory[f->len++] = cell != NULL ? cell->memory_kib : 0;
}

static struct found look_up(struct vitals_ring *r, size_t slot, const char *id)
{
        struct found f = { .len = 0 };

        vitals_ring_each(r, slot, id != NULL ? vitals_ring_key(id) : 0, on_row, &f);
        return f;
}

static void test_ring(void **state)
{
        struct vitals_ring *r = open_ring(ROWS);
        struct found f = look_up(r, 0, NULL);

        (void) state;
        assert_int_equal(f.len, 0);
        for (usec_t i = 1; i <= 25; i++)
                add(r, i, 3, "web.0", (uint32_t) i);
        f = look_up(r, 3, "web.0");
        assert_int_equal(f.len, ROWS);
        for (usec_t i = 0; i < ROWS; i++) {
                assert_int_equal(f.wall[i], 16 + i);
                assert_int_equal(f.memory[i], 16 + i);
        }
        assert_int_equal(look_up(r, 2, "web.0").len, 0);
        assert_int_equal(look_up(r, 3, "web.1").len, 0);
        assert_int_equal(look_up(r, 4, "web.0").len, 0);
        assert_int_equal(look_up(r, 0, NULL).len, ROWS);
        vitals_ring_close(r);
}

static void test_ring_slot_of_another(void **state)
{
        struct vitals_ring *r = open_ring(ROWS);

        (void) state;
        for (usec_t i = 1; i <= 4; i++)
                add(r, i, 5, "web.0", 1);
        for (usec_t i = 5; i <= 6; i++)
                add(r, i, 5, "db.0", 2);
        for (usec_t i = 7; i <= 12; i++) /* shorter ones: what lies behind them is of before */
                add(r, i, 0, "x.0", 3);
        assert_int_equal(look_up(r, 5, "db.0").len, 2);
        assert_int_equal(look_up(r, 5, "web.0").len, 2); /* 3 and 4 */
        assert_int_equal(look_up(r, 0, "x.0").len, 6);
        vitals_ring_close(r);
}

static void test_ring_survives(void **state)
{
        struct vitals_ring *r = open_ring(ROWS);
        struct found f;

        (void) state;
        for (usec_t i = 1; i <= 13; i++)
                add(r, i, 1, "web.0", (uint32_t) i);
        vitals_ring_close(r);
        r = open_ring(ROWS);
        add(r, 14, 1, "web.0", 14);
        f = look_up(r, 1, "web.0");
        assert_int_equal(f.len, ROWS);
        assert_int_equal(f.wall[0], 5);
        assert_int_equal(f.wall[9], 14);
        vitals_ring_close(r);
        r = open_ring(ROWS + 1); /* another hour: begun anew */
        assert_int_equal(look_up(r, 1, "web.0").len, 0);
        vitals_ring_close(r);
}

static void test_ring_grows(void **state)
{
        struct vitals_ring *r = open_ring(ROWS);

        (void) state;
        for (usec_t i = 1; i <= 12; i++)
                add(r, i, 200, "web.0", (uint32_t) i);
        add(r, 13, 5000, "web.5000", 1);
        assert_int_equal(look_up(r, 200, "web.0").len, ROWS - 1);
        assert_int_equal(look_up(r, 5000, "web.5000").len, 1);
        vitals_ring_close(r);
        r = open_ring(ROWS);
        assert_int_equal(look_up(r, 200, "web.0").len, ROWS - 1);
        assert_int_equal(look_up(r, 0, NULL).len, ROWS);
        vitals_ring_close(r);
}

/* The head of a row is written last; a row without one is the one of before, or none. */
static void test_ring_half_a_row(void **state)
{
        AUTO(mem_freep) char *path = mem_printf("%s/vitals", root);
        struct vitals_ring *r = open_ring(ROWS);
        struct vitals_row row = { 0 };
        FILE *file;

        (void) state;
        for (usec_t i = 1; i <= 15; i++)
                add(r, i, 0, "web.0", (uint32_t) i);
        vitals_ring_close(r);
        file = fopen(path, "r+");
        assert_non_null(file);
        /* row 15 lies in place 5: as if the agent had been killed before its head was written */
        row.number = 5;
        row.cells = 1;
        fseek(file, 4096 + 5 * (long) (sizeof row + 256 * sizeof(struct vitals_cell)), SEEK_SET);
        assert_int_equal(fwrite(&row, sizeof row, 1, file), 1);
        fclose(file);
        r = open_ring(ROWS);
        assert_int_equal(look_up(r, 0, "web.0").len, ROWS - 1);
        add(r, 15, 0, "web.0", 15);
        assert_int_equal(look_up(r, 0, "web.0").len, ROWS);
        vitals_ring_close(r);
}

static void test_ring_of_rubbish(void **state)
{
        struct vitals_ring *r;

        (void) state;
        put("/vitals", "this is no file of samples, but a text that somebody put there by mistake");
        r = open_ring(ROWS);
        add(r, 1, 0, "web.0", 1);
        assert_int_equal(look_up(r, 0, "web.0").len, 1);
        vitals_ring_close(r);
}

/* After a loss of power anything may be in it. */
static void test_ring_damaged(void **state)
{
        AUTO(mem_freep) char *path = mem_printf("%s/vitals", root);
        struct vitals_ring *r = open_ring(ROWS);
        struct vitals_row row = { .number = UINT64_MAX, .cells = UINT32_MAX };
        uint32_t room = UINT32_MAX;
        FILE *file;

        (void) state;
        add(r, 1, 0, "web.0", 1);
        vitals_ring_close(r);
        file = fopen(path, "r+");
        assert_non_null(file);
        fseek(file, 4096 + 5 * (long) (sizeof row + 256 * sizeof(struct vitals_cell)), SEEK_SET);
        assert_int_equal(fwrite(&row, sizeof row, 1, file), 1);
        fflush(file);
        r = open_ring(ROWS);
        assert_int_equal(look_up(r, 0, "web.0").len, 1);
        vitals_ring_close(r);
        fseek(file, 12, SEEK_SET); /* how many cells a row has */
        assert_int_equal(fwrite(&room, sizeof room, 1, file), 1);
        fclose(file);
        r = open_ring(ROWS);
        add(r, 1, 300, "web.0", 1);
        assert_int_equal(look_up(r, 300, "web.0").len, 1);
        vitals_ring_close(r);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_usage),
                cmocka_unit_test_setup_teardown(test_machine, set_up, tear_down),
                cmocka_unit_test(test_machine_that_tells_nothing),
                cmocka_unit_test_setup_teardown(test_ring, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_ring_slot_of_another, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_ring_survives, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_ring_grows, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_ring_half_a_row, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_ring_of_rubbish, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_ring_damaged, set_up, tear_down),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
