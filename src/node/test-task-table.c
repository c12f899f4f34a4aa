/* SPDX-License-Identifier: BSD-3-Clause */
/* The task table, above all that a commit is one step: a child commits as fast as it can and is
 * killed hundreds of times; what it leaves must always be one of the machines that it made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "node/table.h"

#define KILLS     300
#define CHURNED   3 /* tasks that the churning child adds and drops */
#define DEADLINE  (20 * USEC_SEC)
#define MAGIC_LEN 8
#define BOOT_ID   16 /* where the boot id is in the file */
#define HEADER    4096

#define WORDS (sizeof(struct task_machine) / sizeof(uint64_t))
_Static_assert(sizeof(struct task_machine) % sizeof(uint64_t) == 0, "a machine is whole words");

static char directory[64], *path;

static int set_up(void **state)
{
        (void) state;
        strcpy(directory, "/tmp/reeve-test-table-XXXXXX"); /* NOLINT: it fits */
        if (mkdtemp(directory) == NULL)
                return -1;
        path = mem_printf("%s/table", directory);
        return 0;
}

static int tear_down(void **state)
{
        (void) state;
        free(path);
        return file_remove_tree(directory, NULL);
}

static struct table *open_table(void)
{
        struct error err = ERROR_INIT;
        struct table *t = NULL;

        if (table_open(path, &t, &err) < 0)
                fail_msg("%s", err.message);
        return t;
}

static void expect_refused(enum error_code code, const char *words)
{
        struct error err = ERROR_INIT;
        struct table *t = NULL;

        assert_int_equal(table_open(path, &t, &err), -1);
        assert_null(t);
        assert_int_equal(err.code, code);
        if (strstr(err.message, words) == NULL)
                fail_msg("\"%s\" does not say \"%s\"", err.message, words);
}

static struct table_slot *take(struct table *t, const char *job, uint32_t index)
{
        struct error err = ERROR_INIT;
        struct table_slot *slot = NULL;

        if (table_take(t, job, index, &slot, &err) < 0)
                fail_msg("%s", err.message);
        return slot;
}

/* The n-th machine: no two words of it are equal to those of another. */
static void make_machine(struct task_machine *m, uint64_t n)
{
        uint64_t words[WORDS];

        for (size_t i = 0; i < WORDS; i++)
                words[i] = n * WORDS + i;
        memcpy(m, words, sizeof *m);
}

/* Which machine it is; fails if it is none. */
static uint64_t check_machine(const struct task_machine *m)
{
        uint64_t words[WORDS];

        memcpy(words, m, sizeof *m);
        for (size_t i = 0; i < WORDS; i++)
                if (words[i] != words[0] + i)
                        fail_msg("word %zu is of machine %" PRIu64 ", word 0 of %" PRIu64, i,
                                words[i] / WORDS, words[0] / WORDS);
        assert_int_equal(words[0] % WORDS, 0);
        return words[0] / WORDS;
}

struct found {
        struct table *table;
        struct table_slot *slots[200];
        size_t len;
        bool drop;
};

static void on_slot(void *data, struct table_slot *slot)
{
        struct found *f = data;

        assert_true(f->len < ARRAY_SIZE(f->slots));
        f->slots[f->len++] = slot;
        if (f->drop)
                table_drop(f->table, slot);
}

static struct found find_all(struct table *t)
{
        struct found f = { .table = t };

        table_each(t, on_slot, &f);
        return f;
}

static void commit(struct table *t, struct table_slot *slot, uint64_t n, uint64_t note_seq)
{
        struct task_machine m;

        make_machine(&m, n);
        table_commit(t, slot, &m, note_seq);
}

/* ---- in one life */

static void a_slot_exists_from_its_first_commit(void **state)
{
        struct table *t = open_table();
        struct table_slot *slot = take(t, "web", 3);

        (void) state;
        assert_int_equal(find_all(t).len, 0);
        commit(t, slot, 7, 0);
        assert_int_equal(find_all(t).len, 1);
        assert_ptr_equal(find_all(t).slots[0], slot);
        assert_string_equal(table_slot_job(slot), "web");
        assert_int_equal(table_slot_index(slot), 3);
        assert_int_equal(check_machine(table_machine(slot)), 7);
        commit(t, slot, 8, 0);
        assert_int_equal(check_machine(table_machine(slot)), 8);

        take(t, "never-committed", 0);
        table_close(t);
        t = open_table();
        assert_int_equal(find_all(t).len, 1);
        slot = find_all(t).slots[0];
        assert_string_equal(table_slot_job(slot), "web");
        assert_int_equal(check_machine(table_machine(slot)), 8);
        table_drop(t, slot);
        table_close(t);
        t = open_table();
        assert_int_equal(find_all(t).len, 0);
        table_close(t);
}

static void a_slot_that_is_used_again_is_empty(void **state)
{
        struct table *t = open_table();
        struct table_slot *slot = take(t, "a-job-of-a-rather-long-name", 1), *again;

        (void) state;
        commit(t, slot, 1, 0);
        table_run_record(slot)->run = 9;
        table_run_record(slot)->pid = 99;
        table_drop(t, slot);
        again = take(t, "b", 0);
        assert_ptr_equal(again, slot); /* the first that is free */
        assert_int_equal(table_run_record(again)->run, 0);
        assert_int_equal(table_run_record(again)->pid, 0);
        assert_string_equal(table_slot_job(again), "b");
        table_close(t);
}

static void the_table_grows_and_slots_stay(void **state)
{
        struct table *t = open_table();
        struct table_slot *first = take(t, "first", 0);
        struct stat st;
        off_t before;
        struct found f;

        (void) state;
        commit(t, first, 1, 0);
        assert_int_equal(stat(path, &st), 0);
        before = st.st_size;
        for (uint32_t i = 1; i < 150; i++)
                commit(t, take(t, "more", i), i + 1, 0);
        assert_int_equal(stat(path, &st), 0);
        assert_true(st.st_size > before);
        assert_true((off_t) st.st_blocks * 512 >= st.st_size); /* never sparse */
        assert_int_equal(check_machine(table_machine(first)), 1);
        table_close(t);

        t = open_table();
        f = find_all(t);
        assert_int_equal(f.len, 150);
        for (uint64_t i = 0; i < f.len; i++)
                assert_int_equal(check_machine(table_machine(f.slots[i])), i + 1);
        table_drop(t, f.slots[77]); /* holes are filled first */
        table_drop(t, f.slots[5]);
        assert_ptr_equal(take(t, "x", 0), f.slots[5]);
        assert_ptr_equal(take(t, "x", 1), f.slots[77]);
        f = (struct found){ .table = t, .drop = true };
        table_each(t, on_slot, &f);
        assert_int_equal(f.len, 148);
        assert_int_equal(find_all(t).len, 0);
        table_close(t);
}

static void a_table_has_an_end(void **state)
{
        struct table *t = open_table();
        struct error err = ERROR_INIT;
        struct table_slot *slot;
        uint32_t n = 0;

        (void) state;
        while (table_take(t, "many", n, &slot, &err) == 0)
                n++;
        assert_int_equal(n, TABLE_SLOTS_MAX);
        assert_int_equal(err.code, ERR_TOO_LARGE);
        table_close(t);
}

/* ---- numbers of outbox entries */

static void the_number_of_notes_only_grows(void **state)
{
        struct table *t = open_table();
        struct table_slot *a = take(t, "a", 0), *b = take(t, "b", 0);
        uint64_t base = table_note_seq(t);

        (void) state;
        assert_true(base > 0); /* a new table does not begin with numbers that the server knows */
        commit(t, a, 1, 0);
        assert_int_equal(table_note_seq(t), base);
        commit(t, a, 2, base + 5);
        commit(t, b, 1, base + 7);
        assert_int_equal(table_note_seq(t), base + 7);
        commit(t, b, 2, 0); /* a change without notes */
        assert_int_equal(table_note_seq(t), base + 7);
        commit(t, a, 3, base + 6);
        assert_int_equal(table_note_seq(t), base + 7);
        table_drop(t, a); /* not the newest one */
        assert_int_equal(table_note_seq(t), base + 7);
        table_drop(t, b);
        assert_int_equal(table_note_seq(t), base + 7); /* outlives its slot */
        table_close(t);
        t = open_table();
        assert_int_equal(table_note_seq(t), base + 7);
        a = take(t, "a", 0);
        commit(t, a, 1, 0);
        table_drop(t, a);
        assert_int_equal(table_note_seq(t), base + 7);
        table_close(t);
}

/* ---- across boots and halts */

static void overwrite(off_t at, const void *bytes, size_t len)
{
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(pwrite(fd, bytes, len, at), len);
        close(fd);
}

static void a_new_boot_is_seen_once(void **state)
{
        struct table *t = open_table();

        (void) state;
        assert_false(table_booted_anew(t)); /* a new table knows of no earlier boot */
        table_close(t);
        t = open_table();
        assert_false(table_booted_anew(t));
        table_note_boot(t);
        commit(t, take(t, "a", 0), 1, 0);
        table_close(t);
        overwrite(BOOT_ID, "00000000-0000-4000-8000-000000000000", 36);
        t = open_table();
        assert_true(table_booted_anew(t));
        assert_int_equal(find_all(t).len, 1); /* what was desired is known still */
        table_close(t);
        t = open_table(); /* the one before us was killed before it had dealt with it */
        assert_true(table_booted_anew(t));
        table_note_boot(t);
        table_close(t);
        t = open_table();
        assert_false(table_booted_anew(t));
        table_close(t);
}

static bool goes_down(void)
{
        struct table *t = open_table();
        bool down = table_is_going_down(t);

        table_close(t);
        return down;
}

static void what_the_server_heard_is_remembered_in_its_boot(void **state)
{
        struct table *t = open_table();

        (void) state;
        assert_int_equal(table_heard(t), USEC_NEVER); /* no lease runs */
        table_close(t);
        overwrite(BOOT_ID, "00000000-0000-4000-8000-000000000000", 36);
        t = open_table();
        assert_int_equal(table_heard(t), USEC_NEVER);
        table_note_boot(t);
        table_set_heard(t, 123456789);
        table_close(t);
        t = open_table();
        assert_int_equal(table_heard(t), 123456789);
        table_close(t);
        overwrite(BOOT_ID, "00000000-0000-4000-8000-000000000000", 36);
        t = open_table();
        assert_in_range(table_heard(t), 0, 1); /* the clock began anew: long ago */
        table_note_boot(t);
        table_close(t);
        t = open_table();
        assert_in_range(table_heard(t), 0, 1);
        table_set_heard(t, USEC_NEVER);
        assert_int_equal(table_heard(t), USEC_NEVER);
        table_close(t);
}

static void going_down_is_remembered_until_called_off(void **state)
{
        struct table *t;
        struct error err = ERROR_INIT;

        (void) state;
        assert_int_equal(table_call_off_down(path, &err), 0); /* nothing is there yet */
        t = open_table();
        assert_false(table_is_going_down(t));
        table_set_going_down(t);
        table_note_boot(t);
        commit(t, take(t, "a", 0), 1, 0);
        table_close(t);
        assert_true(goes_down());
        assert_int_equal(table_call_off_down(path, &err), 0);
        assert_false(goes_down());

        t = open_table();
        table_set_going_down(t);
        assert_int_equal(find_all(t).len, 1);
        table_close(t);
        overwrite(BOOT_ID, "00000000-0000-4000-8000-000000000000", 36);
        assert_false(goes_down());
}

/* ---- files that are not as we left them */

static void make_table_of_two(void)
{
        struct table *t = open_table();

        commit(t, take(t, "good", 0), 1, 0);
        commit(t, take(t, "other", 1), 2, 0);
        table_close(t);
}

/* Where in the file @text stands. */
static off_t find_in_file(const char *text)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        const char *at;

        assert_int_equal(file_read(path, 64 << 20, &b, NULL), 0);
        at = memmem(b.data, b.len, text, strlen(text) + 1);
        assert_non_null(at);
        return at - b.data;
}

static void foreign_files_are_refused(void **state)
{
        char page[HEADER];

        (void) state;
        overwrite(0, "x", 1);
        expect_refused(ERR_INVALID, "not a task table");
        assert_int_equal(truncate(path, 3), 0); /* of zeros but the first */
        expect_refused(ERR_INVALID, "not a task table");
        memset(page, 'x', sizeof page);
        overwrite(0, page, sizeof page);
        expect_refused(ERR_INVALID, "not a task table");
        overwrite(sizeof page, page, sizeof page);
        expect_refused(ERR_INVALID, "not a task table");
        memset(page, 0, sizeof page);
        overwrite(0, page, sizeof page); /* no magic, but there was something in it */
        expect_refused(ERR_INVALID, "not a task table");
}

static void short_files_are_refused(void **state)
{
        (void) state;
        make_table_of_two();
        assert_int_equal(truncate(path, HEADER - 1), 0);
        expect_refused(ERR_INVALID, "not a task table");
        assert_int_equal(truncate(path, 5), 0);
        expect_refused(ERR_INVALID, "not a task table");
}

static void cut_off_slots_are_gone(void **state)
{
        struct table *t;

        (void) state;
        make_table_of_two();
        assert_int_equal(truncate(path, find_in_file("other")), 0);
        t = open_table();
        assert_int_equal(find_all(t).len, 1);
        commit(t, take(t, "third", 0), 3, 0); /* the file grows again */
        assert_int_equal(find_all(t).len, 2);
        table_close(t);
}

static void a_file_longer_than_any_table_is_read_to_the_end_of_one(void **state)
{
        struct table *t;

        (void) state;
        make_table_of_two();
        assert_int_equal(truncate(path, (off_t) 1 << 30), 0);
        t = open_table();
        assert_int_equal(find_all(t).len, 2);
        table_close(t);
}

/* ---- other versions: the same, with machines and run records that are smaller or larger */

#define SIZES_AT 8  /* slot size, machine size; the run record's size follows behind the boot id */
#define RUN_AT   80 /* within a slot; behind it two copies, each a number and a machine */

static uint32_t get_size(const char *file, size_t at)
{
        uint32_t n;

        memcpy(&n, file + at, sizeof n);
        return n;
}

static void put_size(char *file, size_t at, size_t value)
{
        uint32_t n = (uint32_t) value;

        memcpy(file + at, &n, sizeof n);
}

/* Part @at of an old slot to part @to of a new one, of which less or more is there. */
static void put_part(char *slot, size_t to, const char *old, size_t at, size_t old_len, size_t len)
{
        memcpy(slot + to, old + at, MIN(old_len, len));
}

/* Writes the file as a version would have that had @machine and @run bytes more (or less) in each.
 */
static void rewrite_as_other_version(int machine, int run)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        size_t run_size_at = BOOT_ID + 44, n;
        size_t m0, r0, s0, m1, r1, s1;
        AUTO(mem_freep) char *file = NULL;

        assert_int_equal(file_read(path, 64 << 20, &b, NULL), 0);
        s0 = get_size(b.data, SIZES_AT);
        m0 = get_size(b.data, SIZES_AT + 4);
        r0 = get_size(b.data, run_size_at);
        assert_int_equal(s0, RUN_AT + r0 + 2 * (8 + m0));
        m1 = (size_t) ((int) m0 + machine);
        r1 = (size_t) ((int) r0 + run);
        s1 = RUN_AT + r1 + 2 * (8 + m1);
        n = (b.len - HEADER) / s0;
        file = mem_alloc(HEADER + n * s1);
        memcpy(file, b.data, HEADER);
        put_size(file, SIZES_AT, s1);
        put_size(file, SIZES_AT + 4, m1);
        put_size(file, run_size_at, r1);
        for (size_t i = 0; i < n; i++) {
                const char *old = b.data + HEADER + i * s0;
                char *slot = file + HEADER + i * s1;

                memcpy(slot, old, RUN_AT);
                put_part(slot, RUN_AT, old, RUN_AT, r0, r1);
                put_part(slot, RUN_AT + r1, old, RUN_AT + r0, 8 + m0, 8 + m1);
                put_part(slot, RUN_AT + r1 + 8 + m1, old, RUN_AT + r0 + 8 + m0, 8 + m0, 8 + m1);
        }
        assert_int_equal(truncate(path, 0), 0);
        overwrite(0, file, HEADER + n * s1);
}

static void expect_kept(uint64_t note_seq, size_t machine_cut, size_t run_cut)
{
        struct table *t = open_table();
        struct found f = find_all(t);
        static const char zeros[sizeof(struct task_machine)];

        assert_int_equal(f.len, 150);
        assert_true(table_is_going_down(t));
        assert_int_equal(table_note_seq(t), note_seq);
        for (size_t i = 0; i < f.len; i++) {
                const char *machine = (const char *) table_machine(f.slots[i]);
                const char *record = (const char *) table_run_record(f.slots[i]);
                size_t kept = sizeof(struct task_machine) - machine_cut;
                struct task_machine want;

                make_machine(&want, i + 1);
                assert_string_equal(table_slot_job(f.slots[i]), "web");
                assert_int_equal(table_slot_index(f.slots[i]), i);
                assert_memory_equal(machine, &want, kept);
                assert_memory_equal(machine + kept, zeros, machine_cut);
                assert_int_equal(table_run_record(f.slots[i])->run, 1000 + i);
                assert_memory_equal(record + sizeof(struct table_run) - run_cut, zeros, run_cut);
        }
        commit(t, f.slots[3], 4, 0); /* it can be written and grows */
        commit(t, take(t, "web", 150), 151, 0);
        table_drop(t, find_all(t).slots[150]);
        table_close(t);
}

static void tables_of_older_versions_are_carried_over(void **state)
{
        static const int cuts[][2] = { { 8, 0 }, { 0, 8 }, { 64, 16 } };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(cuts); i++) {
                struct table *t;
                uint64_t base;

                unlink(path);
                t = open_table();
                base = table_note_seq(t);
                for (uint32_t k = 0; k < 150; k++) {
                        struct table_slot *slot = take(t, "web", k);

                        commit(t, slot, 9999, 0);
                        commit(t, slot, k + 1, base + k);
                        memset(table_run_record(slot), 'x', sizeof(struct table_run));
                        table_run_record(slot)->run = 1000 + k;
                }
                table_set_going_down(t);
                table_close(t);
                rewrite_as_other_version(-cuts[i][0], -cuts[i][1]);
                expect_kept(base + 149, (size_t) cuts[i][0], (size_t) cuts[i][1]);
        }
}

static void a_conversion_that_was_cut_off_is_done_again(void **state)
{
        AUTO(mem_freep) char *new_path = mem_printf("%s.new", path);
        struct table *t;

        (void) state;
        make_table_of_two();
        rewrite_as_other_version(-8, 0);
        assert_int_equal(file_replace(new_path, "rubbish", 7, 0600, false, NULL), 0);
        t = open_table();
        assert_int_equal(find_all(t).len, 2);
        table_close(t);
        assert_int_equal(access(new_path, F_OK), -1);
}

/* What such a table knows more of its tasks would be lost: it stays as it is. */
static void tables_of_newer_versions_are_refused(void **state)
{
        AUTO(buffer_done) struct buffer before = { 0 }, after = { 0 };

        (void) state;
        make_table_of_two();
        rewrite_as_other_version(8, 0);
        assert_int_equal(file_read(path, 64 << 20, &before, NULL), 0);
        expect_refused(ERR_INVALID, "newer version of Reeve");
        assert_int_equal(file_read(path, 64 << 20, &after, NULL), 0);
        assert_int_equal(before.len, after.len);
        assert_memory_equal(before.data, after.data, before.len);
        rewrite_as_other_version(-16, 8);
        expect_refused(ERR_INVALID, "newer version of Reeve");
        rewrite_as_other_version(8, -8);
        table_close(open_table());
}

static void sizes_that_do_not_fit_each_other_are_refused(void **state)
{
        static const uint32_t bad[] = { 0, 1, 8, 0x7ffffff8, UINT32_MAX };
        AUTO(buffer_done) struct buffer b = { 0 };

        (void) state;
        make_table_of_two();
        assert_int_equal(file_read(path, 64 << 20, &b, NULL), 0);
        for (size_t i = 0; i < 2; i++) {
                for (size_t k = 0; k < ARRAY_SIZE(bad); k++) {
                        overwrite(SIZES_AT + (off_t) (4 * i), &bad[k], 4);
                        expect_refused(ERR_INVALID, "is damaged");
                }
                overwrite(SIZES_AT + (off_t) (4 * i), b.data + SIZES_AT + 4 * i, 4);
        }
        table_close(open_table());
}

/* The maker was killed after it made room and before the header was written. */
static void an_unfinished_table_is_made_anew(void **state)
{
        static const uint32_t size = 77; /* of the slots: written first, the magic last */
        struct table *t = open_table();
        struct stat st;

        (void) state;
        assert_int_equal(stat(path, &st), 0);
        table_close(t);
        for (int i = 0; i < 3; i++) {
                static const off_t lengths[] = { 1 << 20, 12288, 4096 };

                assert_int_equal(truncate(path, 0), 0);
                assert_int_equal(truncate(path, MIN(st.st_size, lengths[i])), 0);
                overwrite(MAGIC_LEN, &size, sizeof size);
                t = open_table();
                assert_int_equal(find_all(t).len, 0);
                commit(t, take(t, "a", 0), 1, 0);
                table_close(t);
                t = open_table();
                assert_int_equal(find_all(t).len, 1);
                table_close(t);
        }
}

static void damaged_slots_are_dropped(void **state)
{
        static const char *const names[] = { "../x", "", "a b" };
        char endless[TEXT_NAME_MAX + 1];
        struct table *t;

        (void) state;
        for (size_t i = 0; i <= ARRAY_SIZE(names); i++) {
                unlink(path);
                make_table_of_two();
                memset(endless, 'x', sizeof endless);
                if (i < ARRAY_SIZE(names))
                        overwrite(find_in_file("other"), names[i], strlen(names[i]) + 1);
                else
                        overwrite(find_in_file("other"), endless, sizeof endless);
                t = open_table();
                assert_int_equal(find_all(t).len, 1);
                assert_string_equal(table_slot_job(find_all(t).slots[0]), "good");
                table_close(t);
        }
}

static void numbers_that_nobody_gave_are_not_believed(void **state)
{
        struct table *t = open_table();
        uint64_t base = table_note_seq(t);

        (void) state;
        commit(t, take(t, "good", 0), 1, base + 1);
        commit(t, take(t, "bad", 0), 1, UINT64_MAX - 1);
        table_close(t);
        t = open_table();
        assert_int_equal(find_all(t).len, 1);
        assert_int_equal(table_note_seq(t), base + 1);
        table_close(t);
}

static void what_cannot_be_opened_is_an_error(void **state)
{
        (void) state;
        assert_int_equal(mkdir(path, 0700), 0);
        expect_refused(ERR_INVALID, "open "); /* a directory */
        assert_int_equal(rmdir(path), 0);
        free(path);
        path = mem_printf("%s/not/there", directory);
        expect_refused(ERR_NOT_FOUND, "open ");
}

/* ---- SIGKILL */

/* Commits machines of growing numbers to the slots in turn, each with its number as that of its
 * note, until it is killed. */
static _Noreturn void commit_forever(uint64_t base)
{
        struct table *t = NULL;
        struct found f;

        if (table_open(path, &t, NULL) < 0)
                _exit(1);
        f = find_all(t);
        for (uint64_t n = check_machine(table_machine(f.slots[0])) + 1;; n++) {
                struct task_machine m;

                make_machine(&m, n);
                for (size_t i = 0; i < f.len; i++)
                        table_commit(t, f.slots[i], &m, base + n);
        }
}

/* Waits until @condition, kills @pid a random instant later. */
#define kill_soon_after(pid, condition)                                                            \
        do {                                                                                       \
                usec_t end_ = time_mono() + DEADLINE;                                              \
                while (!(condition))                                                               \
                        if (time_mono() > end_ || waitpid(pid, NULL, WNOHANG) != 0)                \
                                fail_msg("the child does nothing");                                \
                for (int i_ = rand() % 3000; i_ > 0; i_--)                                         \
                        __asm__ volatile("");                                                      \
                assert_int_equal(kill(pid, SIGKILL), 0);                                           \
                assert_int_equal(waitpid(pid, NULL, 0), pid);                                      \
        } while (0)

static uint64_t first_word(const struct table_slot *slot)
{
        uint64_t word;

        memcpy(&word, table_machine(slot), sizeof word);
        return word;
}

static void a_commit_is_one_step(void **state)
{
        struct table *t = open_table();
        uint64_t base = table_note_seq(t);
        struct found f;

        (void) state;
        for (uint32_t i = 0; i < 3; i++)
                commit(t, take(t, "web", i), 1, base + 1);
        for (int i = 0; i < KILLS; i++) {
                uint64_t before = first_word(find_all(t).slots[2]), newest = 0, last = UINT64_MAX;
                pid_t pid = fork();

                if (pid == 0)
                        commit_forever(base);
                kill_soon_after(pid, first_word(find_all(t).slots[2]) != before);
                table_close(t);
                t = open_table();
                f = find_all(t);
                assert_int_equal(f.len, 3);
                for (size_t k = 0; k < f.len; k++) {
                        uint64_t n = check_machine(table_machine(f.slots[k]));

                        assert_true(n <= last && (last == UINT64_MAX || last - n <= 1));
                        last = n;
                        newest = MAX(newest, n);
                }
                assert_int_equal(table_note_seq(t), base + newest); /* went with the machine */
        }
        table_close(t);
}

/* Adds tasks and drops them again until it is killed. */
static _Noreturn void churn_forever(uint64_t base)
{
        struct table *t = NULL;

        if (table_open(path, &t, NULL) < 0)
                _exit(1);
        for (uint64_t n = table_note_seq(t) - base + 1;; n++) {
                struct table_slot *slots[CHURNED];

                for (uint32_t i = 0; i < CHURNED; i++) {
                        struct task_machine m;

                        if (table_take(t, "churn", i, &slots[i], NULL) < 0)
                                _exit(1);
                        make_machine(&m, n + i);
                        table_commit(t, slots[i], &m, base + n);
                }
                for (uint32_t i = 0; i < CHURNED; i++)
                        table_drop(t, slots[i]);
        }
}

static void tasks_come_and_go_in_one_step(void **state)
{
        struct table *t = open_table();
        uint64_t base = table_note_seq(t), known = base;
        struct table_slot *kept = take(t, "kept", 0);

        (void) state;
        commit(t, kept, 1, 0);
        for (int i = 0; i < KILLS; i++) {
                struct found f;
                pid_t pid = fork();

                if (pid == 0)
                        churn_forever(base);
                kill_soon_after(pid, table_note_seq(t) > known + 2);
                table_close(t);
                t = open_table();
                assert_true(table_note_seq(t) >= known + 2);
                known = table_note_seq(t);
                f = find_all(t);
                assert_in_range(f.len, 1, 1 + CHURNED);
                assert_string_equal(table_slot_job(f.slots[0]), "kept");
                for (size_t k = 1; k < f.len; k++) {
                        assert_string_equal(table_slot_job(f.slots[k]), "churn");
                        assert_true(table_slot_index(f.slots[k]) < CHURNED);
                        check_machine(table_machine(f.slots[k]));
                        table_drop(t, f.slots[k]);
                }
                assert_int_equal(table_note_seq(t), known);
        }
        table_close(t);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TEST(a_slot_exists_from_its_first_commit),
                TEST(a_slot_that_is_used_again_is_empty),
                TEST(the_table_grows_and_slots_stay),
                TEST(a_table_has_an_end),
                TEST(the_number_of_notes_only_grows),
                TEST(a_new_boot_is_seen_once),
                TEST(what_the_server_heard_is_remembered_in_its_boot),
                TEST(going_down_is_remembered_until_called_off),
                TEST(foreign_files_are_refused),
                TEST(short_files_are_refused),
                TEST(cut_off_slots_are_gone),
                TEST(a_file_longer_than_any_table_is_read_to_the_end_of_one),
                TEST(tables_of_older_versions_are_carried_over),
                TEST(a_conversion_that_was_cut_off_is_done_again),
                TEST(tables_of_newer_versions_are_refused),
                TEST(sizes_that_do_not_fit_each_other_are_refused),
                TEST(an_unfinished_table_is_made_anew),
                TEST(damaged_slots_are_dropped),
                TEST(numbers_that_nobody_gave_are_not_believed),
                TEST(what_cannot_be_opened_is_an_error),
                TEST(a_commit_is_one_step),
                TEST(tasks_come_and_go_in_one_step),
        };

        srand((unsigned) getpid());
        return cmocka_run_group_tests(tests, NULL, NULL);
}
