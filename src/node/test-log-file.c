/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/time.h"
#include "node/logfile.h"
#include "node/logindex.h"
#include "node/staging.h"

struct place {
        char dir[64];
        char path[96];
};

static int make_place(void **state)
{
        struct place *p = mem_alloc(sizeof *p);

        snprintf(p->dir, sizeof p->dir, "/tmp/reeve-test-logfile-XXXXXX");
        assert_non_null(mkdtemp(p->dir));
        snprintf(p->path, sizeof p->path, "%s/stdout", p->dir);
        *state = p;
        return 0;
}

static int remove_place(void **state)
{
        struct place *p = *state;

        file_remove_tree(p->dir, NULL);
        free(p);
        return 0;
}

static const char *name_of(const struct place *p, const char *suffix)
{
        static char name[128];

        snprintf(name, sizeof name, "%s%s", p->path, suffix);
        return name;
}

static bool there(const struct place *p, const char *suffix)
{
        return access(name_of(p, suffix), F_OK) == 0;
}

static void expect_file(const struct place *p, const char *suffix, const char *content)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        struct error err = ERROR_INIT;

        if (file_read(name_of(p, suffix), 1 << 20, &b, &err) < 0)
                fail_msg("%s", err.message);
        assert_string_equal(buffer_str(&b), content);
}

static void put_file(const struct place *p, const char *suffix, const char *content)
{
        assert_int_equal(
                file_replace(name_of(p, suffix), content, strlen(content), 0600, false, NULL), 0);
}

/* As capture does it. */
static void append(struct logfile *lf, const char *text)
{
        size_t len = strlen(text);
        struct error err = ERROR_INIT;

        while (len > 0) {
                size_t part, written;

                if (logfile_open(lf, &err) < 0)
                        fail_msg("%s", err.message);
                part = logfile_plan(lf, text, len);
                if (part == 0) {
                        assert_int_equal(logfile_rotate(lf, &err), 0);
                        continue;
                }
                assert_int_equal(logfile_mark(lf, 1, time_wall(), &err), 0);
                assert_int_equal(logfile_write(lf, text, part, &written, &err), 0);
                assert_int_equal(written, part);
                text += part;
                len -= part;
        }
}

static uint64_t next_of(const struct place *p)
{
        struct logfile lf;
        struct error err = ERROR_INIT;
        uint64_t next;

        logfile_init(&lf, p->path, 10, 3);
        if (logfile_load(&lf, &err) < 0)
                fail_msg("%s", err.message);
        next = logfile_next(&lf);
        logfile_done(&lf);
        return next;
}

static void silence_costs_no_file(void **state)
{
        const struct place *p = *state;

        assert_int_equal(next_of(p), 0);
        assert_false(there(p, ""));
        assert_false(there(p, ".index"));
}

static void rotates_at_line_ends(void **state)
{
        const struct place *p = *state;
        struct logfile lf;

        logfile_init(&lf, p->path, 10, 2);
        append(&lf, "aaa\nbbb\nccc\n");
        expect_file(p, ".1", "aaa\nbbb\n");
        expect_file(p, "", "ccc\n");
        append(&lf, "ddd");
        append(&lf, "d\neeee\n"); /* the line that has begun ends where it is */
        expect_file(p, "", "eeee\n");
        expect_file(p, ".1", "ccc\ndddd\n");
        expect_file(p, ".2", "aaa\nbbb\n");
        append(&lf, "ffff\nggggg\n");
        expect_file(p, "", "ggggg\n");
        expect_file(p, ".1", "eeee\nffff\n");
        expect_file(p, ".2", "ccc\ndddd\n");
        assert_false(there(p, ".3"));
        assert_int_equal(logfile_next(&lf), 33);
        logfile_done(&lf);
        assert_int_equal(next_of(p), 33);
}

static void a_long_line_is_cut_at_twice_the_size(void **state)
{
        const struct place *p = *state;
        struct logfile lf;

        logfile_init(&lf, p->path, 10, 5);
        append(&lf, "0123456789abcde\n"); /* longer than the size, shorter than twice */
        append(&lf, "x\n");
        expect_file(p, ".1", "0123456789abcde\n");
        append(&lf, "0123456789");
        expect_file(p, ".1", "x\n");
        append(&lf, "abcdefghijKLM");
        expect_file(p, ".1", "0123456789abcdefghij");
        expect_file(p, "", "KLM");
        logfile_done(&lf);
        assert_int_equal(next_of(p), 41);
}

static void without_old_files_the_new_one_replaces(void **state)
{
        const struct place *p = *state;
        struct logfile lf;

        logfile_init(&lf, p->path, 8, 0);
        append(&lf, "aaa\nbbb\nccc\nddd\neee\n");
        expect_file(p, "", "eee\n");
        assert_false(there(p, ".1"));
        logfile_done(&lf);
        assert_int_equal(next_of(p), 20);
}

static void fewer_files_are_kept_when_told(void **state)
{
        const struct place *p = *state;
        struct logfile lf;

        logfile_init(&lf, p->path, 4, 4);
        append(&lf, "1\n2\n3\n4\n5\n6\n7\n8\n9\n");
        assert_true(there(p, ".4"));
        lf.max_files = 1;
        append(&lf, "a\nb\n");
        assert_false(there(p, ".2"));
        assert_false(there(p, ".4"));
        expect_file(p, ".1", "9\na\n");
        logfile_done(&lf);
}

/* The states that a kill within a rotation can leave behind. */
static void an_interrupted_rotation_loses_nothing(void **state)
{
        const struct place *p = *state;
        struct logfile lf;
        char from[128];

        logfile_init(&lf, p->path, 4, 3);
        append(&lf, "1\n2\n3\n4\n5\n6\n"); /* .2: 12 .1: 34 stdout: 56 */
        logfile_done(&lf);
        strcpy(from, name_of(p, ".2"));
        assert_int_equal(rename(from, name_of(p, ".3")), 0); /* a hole at 2 */

        logfile_init(&lf, p->path, 4, 3);
        append(&lf, "7\n");
        expect_file(p, ".3", "1\n2\n");
        expect_file(p, ".2", "3\n4\n");
        expect_file(p, ".1", "5\n6\n");
        expect_file(p, "", "7\n");
        logfile_done(&lf);

        strcpy(from, p->path);
        unlink(name_of(p, ".3"));
        strcpy(from, name_of(p, ".2"));
        assert_int_equal(rename(from, name_of(p, ".3")), 0);
        strcpy(from, name_of(p, ".1"));
        assert_int_equal(rename(from, name_of(p, ".2")), 0);
        assert_int_equal(rename(p->path, name_of(p, ".1")), 0); /* and no stdout yet */
        assert_int_equal(next_of(p), 14);
        logfile_init(&lf, p->path, 4, 3);
        append(&lf, "8\n");
        expect_file(p, "", "8\n");
        expect_file(p, ".1", "7\n");
        assert_int_equal(logfile_next(&lf), 16);
        logfile_done(&lf);
        assert_int_equal(next_of(p), 16);
}

static void a_file_without_a_name_yet_is_forgotten(void **state)
{
        const struct place *p = *state;
        struct logfile lf;
        struct logindex_record record = { .type = LOGINDEX_FILE, .byte = 4 };
        struct stat st;
        int fd;

        logfile_init(&lf, p->path, 4, 3);
        append(&lf, "1\n2\n");
        assert_int_equal(logfile_rotate(&lf, NULL), 0);
        put_file(p, ".new", "");
        assert_int_equal(stat(name_of(p, ".new"), &st), 0);
        record.value = st.st_ino;
        fd = open(name_of(p, ".index"), O_WRONLY);
        assert_int_equal(logindex_write(fd, lf.index_length, &record, NULL), 0);
        close(fd);
        logfile_done(&lf);
        assert_int_equal(next_of(p), 4);
        logfile_init(&lf, p->path, 4, 3);
        append(&lf, "3\n");
        logfile_done(&lf);
        assert_false(there(p, ".new"));
        assert_int_equal(next_of(p), 6);
}

static void a_reused_inode_number_means_the_newest_file(void **state)
{
        const struct place *p = *state;
        struct logindex_record records[] = {
                { .type = LOGINDEX_FILE, .byte = 0, .value = 7 },
                { .type = LOGINDEX_TIME, .byte = 0, .run = 1, .wall = 5 },
                { .type = LOGINDEX_FILE, .byte = 100, .value = 8 },
                { .type = LOGINDEX_FILE, .byte = 200, .value = 7 },
                { .type = LOGINDEX_TIME, .byte = 210, .run = 2, .wall = 6 },
                { .type = LOGINDEX_FILE, .byte = 300, .value = 9 },
        };
        struct logindex_tail tail;
        int fd;

        assert_int_equal(logindex_file(records, ARRAY_SIZE(records), 7)->byte, 200);
        assert_int_equal(logindex_file(records, ARRAY_SIZE(records), 8)->byte, 100);
        assert_null(logindex_file(records, ARRAY_SIZE(records), 1));
        assert_int_equal(
                file_replace(name_of(p, ".index"), records, sizeof records - 3, 0600, false, NULL),
                0);
        fd = open(name_of(p, ".index"), O_RDONLY);
        assert_int_equal(logindex_tail(fd, sizeof records - 3, 7, &tail, NULL), 0);
        close(fd);
        assert_true(tail.file_known);
        assert_int_equal(tail.file_first, 200);
        assert_int_equal(tail.time.run, 2);
        assert_int_equal(tail.end, 210); /* the last record is torn and does not count */
}

static void a_torn_record_is_written_over(void **state)
{
        const struct place *p = *state;
        struct logfile lf;
        struct stat st;

        logfile_init(&lf, p->path, 100, 3);
        append(&lf, "1\n");
        logfile_done(&lf);
        assert_int_equal(stat(name_of(p, ".index"), &st), 0);
        assert_int_equal(truncate(name_of(p, ".index"), st.st_size + 9), 0);
        logfile_init(&lf, p->path, 100, 3);
        assert_int_equal(logfile_open(&lf, NULL), 0);
        assert_int_equal(logfile_next(&lf), 2);
        assert_int_equal(logfile_mark(&lf, 2, time_wall(), NULL), 0);
        logfile_done(&lf);
        assert_int_equal(stat(name_of(p, ".index"), &st), 0);
        assert_int_equal(st.st_size % (off_t) LOGINDEX_RECORD_SIZE, 0);
}

static void numbers_go_on_whatever_others_do(void **state)
{
        const struct place *p = *state;
        struct logfile lf;

        logfile_init(&lf, p->path, 1000, 3);
        append(&lf, "123456\n");
        assert_int_equal(truncate(p->path, 0), 0); /* by somebody's `> stdout` */
        append(&lf, "8\n");
        assert_int_equal(logfile_next(&lf), 9);
        expect_file(p, "", "8\n");
        assert_int_equal(unlink(p->path), 0);
        append(&lf, "10\n");
        assert_int_equal(logfile_next(&lf), 12);
        expect_file(p, "", "10\n");
        logfile_close(&lf);
        put_file(p, "", "foreign\n");
        append(&lf, "x\n");
        assert_int_equal(logfile_next(&lf), 22);
        logfile_done(&lf);
        assert_int_equal(next_of(p), 22);
        assert_int_equal(unlink(name_of(p, ".index")), 0);
        logfile_init(&lf, p->path, 1000, 3);
        append(&lf, "y\n");
        expect_file(p, "", "foreign\nx\ny\n");
        logfile_done(&lf);
        assert_int_equal(next_of(p), 12); /* all that can be known */
}

static void the_index_does_not_grow_for_ever(void **state)
{
        const struct place *p = *state;
        struct logfile lf;
        struct stat st;
        char line[128];

        logfile_init(&lf, p->path, 64, 2);
        for (unsigned i = 0; i < 5000; i++) {
                snprintf(line, sizeof line, "line %u\n", i);
                append(&lf, line);
                assert_int_equal(logfile_gap(&lf, 1, time_wall(), NULL), 0);
        }
        assert_int_equal(stat(name_of(p, ".index"), &st), 0);
        assert_true(st.st_size <= 40 * 1024);
        st.st_size = (off_t) logfile_next(&lf);
        logfile_done(&lf);
        assert_int_equal(next_of(p), st.st_size);
}

static void gaps_add_up(void **state)
{
        const struct place *p = *state;
        AUTO(buffer_done) struct buffer b = { 0 };
        const struct logindex_record *records;
        uint64_t lost = 0, count = 0;
        struct logfile lf;

        logfile_init(&lf, p->path, 1000, 3);
        append(&lf, "one\n");
        assert_int_equal(logfile_gap(&lf, 10, 1, NULL), 0);
        logfile_close(&lf);
        assert_int_equal(logfile_gap(&lf, 5, 1, NULL), 0);
        append(&lf, "two\n");
        assert_int_equal(logfile_gap(&lf, 7, 1, NULL), 0);
        logfile_done(&lf);
        assert_int_equal(file_read(name_of(p, ".index"), 1 << 20, &b, NULL), 0);
        records = (const void *) b.data;
        for (size_t i = 0; i < b.len / sizeof *records; i++)
                if (records[i].type == LOGINDEX_GAP) {
                        assert_int_equal(records[i].byte, count == 0 ? 4 : 8);
                        lost += records[i].value;
                        count++;
                }
        assert_int_equal(count, 2);
        assert_int_equal(lost, 22);
}

/* Staging: every state that a death can leave */

static const char sample[] = "what the task has written\n";

static void reopen(const struct place *p, struct staging *s)
{
        struct error err = ERROR_INIT;

        staging_close(s);
        if (staging_open(name_of(p, ".staging"), s, &err) < 0)
                fail_msg("%s", err.message);
}

static void expect_rest(const struct staging_slot *slot, const void *data, size_t len)
{
        size_t rest_len;
        const unsigned char *rest = staging_rest(slot, &rest_len);

        assert_int_equal(rest_len, len);
        assert_memory_equal(rest, data, len);
}

static void staging_tells_whether_the_read_happened(void **state)
{
        const struct place *p = *state;
        struct staging s = { .fd = -1 };
        struct staging_owner owner = { .path = p->path, .max_size = 5, .max_files = 6, .run = 7 };
        struct staging_owner found;
        AUTO(mem_freep) unsigned char *bulk = mem_alloc(20000);

        reopen(p, &s);
        assert_false(staging_recover(&s.slots[0], &found));
        for (size_t len = 1; len < sizeof sample; len++) {
                const unsigned char *peek = (const unsigned char *) sample;

                staging_intend(&s.slots[0], &owner, len, peek);
                reopen(p, &s);
                assert_false(staging_recover(&s.slots[0], &found));
                staging_intend(&s.slots[0], &owner, len, peek);
                memcpy(s.slots[0].data, sample, len);
                reopen(p, &s);
                assert_true(staging_recover(&s.slots[0], &found));
                expect_rest(&s.slots[0], sample, len);
                staging_release(&s.slots[0]);
        }
        staging_intend(&s.slots[1], &owner, 20000, NULL);
        reopen(p, &s);
        assert_false(staging_recover(&s.slots[1], &found));
        staging_intend(&s.slots[1], &owner, 20000, NULL);
        memcpy(s.slots[1].data, bulk, 20000);
        reopen(p, &s);
        assert_true(staging_recover(&s.slots[1], &found));
        expect_rest(&s.slots[1], bulk, 20000);
        assert_string_equal(found.path, p->path);
        assert_int_equal(found.max_size, 5);
        assert_int_equal(found.max_files, 6);
        assert_int_equal(found.run, 7);
        assert_false(found.drop);
        staging_close(&s);
}

static void staging_remembers_how_far_it_came(void **state)
{
        const struct place *p = *state;
        struct staging s = { .fd = -1 };
        struct staging_owner owner = { .path = p->path }, found;
        uint64_t inode, offset;
        size_t len;

        reopen(p, &s);
        staging_intend(&s.slots[0], &owner, 10, (const unsigned char *) sample);
        memcpy(s.slots[0].data, sample, 10);
        staging_have(&s.slots[0], 10);
        reopen(p, &s);
        assert_true(staging_recover(&s.slots[0], &found));
        assert_false(staging_segment(&s.slots[0], &inode, &offset, &len));
        staging_segment_begin(&s.slots[0], 42, 1000, 6);
        reopen(p, &s);
        assert_true(staging_recover(&s.slots[0], &found));
        assert_true(staging_segment(&s.slots[0], &inode, &offset, &len));
        assert_int_equal(inode, 42);
        assert_int_equal(offset, 1000);
        assert_int_equal(len, 6);
        expect_rest(&s.slots[0], sample, 10);
        staging_segment_end(&s.slots[0], 4);
        expect_rest(&s.slots[0], sample + 4, 6);
        reopen(p, &s);
        assert_true(staging_recover(&s.slots[0], &found));
        assert_false(staging_segment(&s.slots[0], &inode, &offset, &len));
        expect_rest(&s.slots[0], sample + 4, 6);
        staging_release(&s.slots[0]);
        reopen(p, &s);
        assert_false(staging_recover(&s.slots[0], &found));
        staging_close(&s);
}

static void a_damaged_staging_file_is_not_believed(void **state)
{
        const struct place *p = *state;
        struct staging s = { .fd = -1 };
        struct staging_owner owner = { .path = p->path }, found;
        unsigned char noise[4000];
        int fd;

        reopen(p, &s);
        staging_intend(&s.slots[0], &owner, 10, (const unsigned char *) sample);
        staging_have(&s.slots[0], 10);
        staging_close(&s);
        memset(noise, 0xab, sizeof noise);
        fd = open(name_of(p, ".staging"), O_WRONLY);
        assert_int_equal(pwrite(fd, noise, sizeof noise, 48), sizeof noise);
        close(fd);
        s.fd = -1;
        reopen(p, &s);
        assert_false(staging_recover(&s.slots[0], &found));
        staging_close(&s);
}

static void an_earlier_boot_has_left_nothing(void **state)
{
        const struct place *p = *state;
        struct staging s = { .fd = -1 };
        struct staging_owner owner = { .path = p->path }, found;
        AUTO(buffer_done) struct buffer file = { 0 }, boot = { 0 };
        char *noted;

        reopen(p, &s);
        staging_intend(&s.slots[0], &owner, 10, (const unsigned char *) sample);
        staging_have(&s.slots[0], 10);
        staging_close(&s);
        s.fd = -1;
        assert_int_equal(file_read("/proc/sys/kernel/random/boot_id", 100, &boot, NULL), 0);
        assert_int_equal(file_read(name_of(p, ".staging"), 1 << 24, &file, NULL), 0);
        noted = memmem(file.data, file.len, boot.data, boot.len - 1);
        assert_non_null(noted);
        *noted = *noted == '0' ? '1' : '0';
        assert_int_equal(
                file_replace(name_of(p, ".staging"), file.data, file.len, 0600, false, NULL), 0);
        reopen(p, &s);
        assert_false(staging_recover(&s.slots[0], &found));
        staging_close(&s);
}

static void what_was_written_is_told_by_the_file(void **state)
{
        const struct place *p = *state;
        struct logfile lf;
        uint64_t inode;

        logfile_init(&lf, p->path, 8, 2);
        append(&lf, "1234567\n");
        inode = lf.inode;
        assert_int_equal(logfile_written(&lf, inode, 2, 100), 6);
        assert_int_equal(logfile_written(&lf, inode, 2, 3), 3);
        assert_int_equal(logfile_written(&lf, inode, 8, 3), 0);
        append(&lf, "x\n");
        assert_int_equal(logfile_written(&lf, inode, 0, 100), 8); /* now stdout.1 */
        assert_int_equal(logfile_written(&lf, inode + 1000000, 0, 100), 0);
        logfile_done(&lf);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_place, remove_place)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(silence_costs_no_file),
                TEST(rotates_at_line_ends),
                TEST(a_long_line_is_cut_at_twice_the_size),
                TEST(without_old_files_the_new_one_replaces),
                TEST(fewer_files_are_kept_when_told),
                TEST(an_interrupted_rotation_loses_nothing),
                TEST(a_file_without_a_name_yet_is_forgotten),
                TEST(a_reused_inode_number_means_the_newest_file),
                TEST(a_torn_record_is_written_over),
                TEST(numbers_go_on_whatever_others_do),
                TEST(the_index_does_not_grow_for_ever),
                TEST(gaps_add_up),
                TEST(staging_tells_whether_the_read_happened),
                TEST(staging_remembers_how_far_it_came),
                TEST(a_damaged_staging_file_is_not_believed),
                TEST(an_earlier_boot_has_left_nothing),
                TEST(what_was_written_is_told_by_the_file),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
