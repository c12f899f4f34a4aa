/* SPDX-License-Identifier: BSD-3-Clause */
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
#include "base/mem.h"
#include "node/outbox.h"

static char directory[64], *path;

static int set_up(void **state)
{
        (void) state;
        strcpy(directory, "/tmp/reeve-test-outbox-XXXXXX"); /* NOLINT: it fits */
        if (mkdtemp(directory) == NULL)
                return -1;
        path = mem_printf("%s/outbox", directory);
        return 0;
}

static int tear_down(void **state)
{
        (void) state;
        free(path);
        return file_remove_tree(directory, NULL);
}

static struct outbox *open_outbox(uint64_t committed)
{
        struct error err = ERROR_INIT;
        struct outbox *o = NULL;

        if (outbox_open(path, committed, &o, &err) < 0)
                fail_msg("%s", err.message);
        return o;
}

static uint64_t append(struct outbox *o, const char *message)
{
        struct event e = {
                .kind = EVENT_TASK_ENDED, .message = mem_strdup(message), .version = RECORD_NULL
        };
        struct error err = ERROR_INIT;
        uint64_t seq = 0;

        if (outbox_append(o, &e, &seq, &err) < 0)
                fail_msg("%s", err.message);
        free(e.message);
        return seq;
}

/* The messages that outbox_read() gives, joined by blanks, with their numbers. */
static void expect_read(struct outbox *o, size_t max, const char *expected)
{
        AUTO(buffer_done) struct buffer json = { 0 };
        AUTO(buffer_done) struct buffer words = { 0 };
        json_t *array;

        buffer_putc(&json, '[');
        outbox_read(o, max, &json);
        buffer_putc(&json, ']');
        array = json_loads(buffer_str(&json), 0, NULL);
        assert_non_null(array);
        for (size_t i = 0; i < json_array_size(array); i++) {
                json_t *entry = json_array_get(array, i);

                buffer_printf(&words, "%s%d:%s", i > 0 ? " " : "",
                        (int) json_integer_value(json_array_get(entry, 0)),
                        json_string_value(json_object_get(json_array_get(entry, 1), "message")));
        }
        assert_string_equal(buffer_str(&words), expected);
        json_decref(array);
}

static void entries_wait_for_the_ack(void **state)
{
        struct outbox *o = open_outbox(0);

        (void) state;
        assert_true(outbox_empty(o));
        assert_int_equal(append(o, "a"), 1);
        assert_int_equal(append(o, "b"), 2);
        assert_int_equal(append(o, "c"), 3);
        expect_read(o, 2, "1:a 2:b");
        expect_read(o, 2, ""); /* two are on their way */
        outbox_ack(o, 1);
        expect_read(o, 2, "3:c");
        outbox_rewind(o);
        expect_read(o, 9, "2:b 3:c");
        outbox_ack(o, 3);
        assert_true(outbox_empty(o));
        assert_int_equal(append(o, "d"), 4);
        expect_read(o, 9, "4:d");
        outbox_close(o);
}

static void entries_survive_the_agent(void **state)
{
        struct outbox *o = open_outbox(0);

        (void) state;
        append(o, "a");
        append(o, "b");
        append(o, "uncommitted");
        outbox_close(o);
        o = open_outbox(2);
        assert_int_equal(outbox_last(o), 2);
        expect_read(o, 9, "1:a 2:b");
        assert_int_equal(append(o, "c"), 3);
        outbox_ack(o, 2);
        outbox_close(o);

        /* acknowledgements are not stored: what was acknowledged may be read again, the server
         * knows its number */
        o = open_outbox(3);
        expect_read(o, 9, "1:a 2:b 3:c");
        outbox_ack(o, 3);
        append(o, "d"); /* at the front of the file again, over older lines */
        outbox_close(o);
        o = open_outbox(4);
        expect_read(o, 9, "4:d");
        outbox_ack(o, 4);
        outbox_close(o);
        o = open_outbox(7); /* the table knows of more: all of that was acknowledged */
        assert_int_equal(append(o, "e"), 8);
        expect_read(o, 9, "8:e");
        outbox_close(o);
}

static void put_file(const char *text)
{
        assert_int_equal(file_replace(path, text, strlen(text), 0600, false, NULL), 0);
}

/* What a machine that lost power leaves: it must neither come to the server, where half an entry
 * would spoil the whole message, nor stop what comes after. */
static void broken_entries_are_not_sent(void **state)
{
        static const char *const broken[] = { "12 {\"message\":\"b", "12 {\"message\":\"b\n13 {}\n",
                "12\n", "12 \n", "0 {\"message\":\"b\"}\n", "13 {\"message\":\"b\"}\n",
                "12 {\"message\":\"\xff\"}\n", "12 [\"message\"]\n", "12 {} {}\n", "-12 {}\n",
                "99999999999999999999999 {}\n" };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
                AUTO(mem_freep) char *text = mem_printf("11 {\"message\":\"a\"}\n%s", broken[i]);
                struct outbox *o;

                put_file(text);
                o = open_outbox(11);
                expect_read(o, 9, "11:a");
                outbox_ack(o, 11);
                assert_true(outbox_empty(o));
                outbox_close(o);

                put_file(text);
                o = open_outbox(20); /* it was committed: lost with the power */
                assert_int_equal(outbox_last(o), 20);
                assert_true(outbox_empty(o));
                assert_int_equal(append(o, "c"), 21);
                expect_read(o, 9, "21:c");
                outbox_close(o);

                put_file(broken[i]);
                o = open_outbox(0);
                assert_true(outbox_empty(o));
                assert_int_equal(append(o, "c"), 1);
                expect_read(o, 9, "1:c");
                outbox_close(o);
        }
}

static void a_change_that_is_not_made_leaves_nothing(void **state)
{
        struct outbox *o = open_outbox(0);
        struct outbox_mark mark;

        (void) state;
        append(o, "a");
        mark = outbox_mark(o);
        append(o, "half a change");
        append(o, "the other half");
        outbox_rollback(o, mark);
        assert_int_equal(append(o, "b"), 2);
        expect_read(o, 9, "1:a 2:b");
        outbox_close(o);
        o = open_outbox(2);
        assert_int_equal(outbox_last(o), 2);
        expect_read(o, 9, "1:a 2:b");
        outbox_close(o);
}

static void a_long_outbox_shrinks(void **state)
{
        struct outbox *o = open_outbox(0);
        char message[1000];
        off_t size;

        (void) state;
        memset(message, 'x', sizeof message - 1);
        message[sizeof message - 1] = '\0';
        for (int i = 0; i < 12000; i++)
                append(o, message);
        outbox_ack(o, 11990);
        size = 0;
        {
                AUTO(buffer_done) struct buffer b = { 0 };

                assert_int_equal(file_read(path, 64 << 20, &b, NULL), 0);
                size = (off_t) b.len;
        }
        assert_true(size < 3 << 20);
        for (int i = 11991; i <= 12000; i++) {
                AUTO(buffer_done) struct buffer json = { 0 };

                assert_int_equal(outbox_read(o, 1, &json), 1);
                assert_int_equal(strtoull(buffer_str(&json) + 1, NULL, 10), i);
                outbox_ack(o, (uint64_t) i);
        }
        assert_true(outbox_empty(o));
        outbox_close(o);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(entries_wait_for_the_ack, set_up, tear_down),
                cmocka_unit_test_setup_teardown(entries_survive_the_agent, set_up, tear_down),
                cmocka_unit_test_setup_teardown(broken_entries_are_not_sent, set_up, tear_down),
                cmocka_unit_test_setup_teardown(
                        a_change_that_is_not_made_leaves_nothing, set_up, tear_down),
                cmocka_unit_test_setup_teardown(a_long_outbox_shrinks, set_up, tear_down),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
