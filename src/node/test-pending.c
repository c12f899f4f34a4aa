/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "node/pending.h"

struct house {
        char directory[64];
        char path[80];
        struct pending *pending;
};

static void reopen(struct house *h)
{
        struct error err = ERROR_INIT;

        pending_close(h->pending);
        assert_int_equal(pending_open(h->path, &h->pending, &err), 0);
}

static int setup(void **state)
{
        struct house *h = mem_alloc(sizeof *h);

        strcpy(h->directory, "/tmp/test-pending-XXXXXX");
        assert_non_null(mkdtemp(h->directory));
        snprintf(h->path, sizeof h->path, "%s/file", h->directory);
        reopen(h);
        *state = h;
        return 0;
}

static int teardown(void **state)
{
        struct house *h = *state;

        pending_close(h->pending);
        file_remove_tree(h->directory, NULL);
        free(h);
        return 0;
}

static bool put(struct house *h, const char *text)
{
        return pending_put(h->pending, text, strlen(text));
}

static void assert_oldest(struct house *h, const char *wanted)
{
        size_t len;
        const char *text = pending_oldest(h->pending, &len);

        if (wanted == NULL) {
                assert_null(text);
                return;
        }
        assert_non_null(text);
        assert_int_equal(len, strlen(wanted));
        assert_memory_equal(text, wanted, len);
}

static void test_first_in_first_out(void **state)
{
        struct house *h = *state;

        assert_oldest(h, NULL);
        pending_drop_oldest(h->pending);
        assert_true(put(h, "one"));
        assert_true(put(h, "two"));
        assert_oldest(h, "one");
        pending_drop_oldest(h->pending);
        assert_true(put(h, "three"));
        assert_oldest(h, "two");
        pending_drop_oldest(h->pending);
        assert_oldest(h, "three");
        pending_drop_oldest(h->pending);
        assert_oldest(h, NULL);
}

static void test_texts_outlive_a_process_that_is_killed(void **state)
{
        struct house *h = *state;
        pid_t child = fork();
        int status;

        if (child == 0) {
                put(h, "of the child");
                put(h, "and another");
                kill(getpid(), SIGKILL);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        reopen(h);
        assert_oldest(h, "of the child");
        pending_drop_oldest(h->pending);
        assert_true(put(h, "later"));
        reopen(h);
        assert_oldest(h, "and another");
        pending_drop_oldest(h->pending);
        assert_oldest(h, "later");
}

static void test_there_is_an_end_of_room(void **state)
{
        struct house *h = *state;
        char long_text[PENDING_TEXT_MAX + 1];
        char text[16];
        int n = 0;

        memset(long_text, 'x', sizeof long_text);
        assert_false(pending_put(h->pending, long_text, sizeof long_text));
        assert_false(pending_put(h->pending, "", 0));
        assert_true(pending_put(h->pending, long_text, sizeof long_text - 1));
        pending_drop_oldest(h->pending);
        do
                snprintf(text, sizeof text, "text %d", n);
        while (put(h, text) && ++n < 10000);
        assert_in_range(n, 16, 9999);
        reopen(h);
        assert_false(put(h, "more"));
        for (int i = 0; i < n; i++) {
                snprintf(text, sizeof text, "text %d", i);
                assert_oldest(h, text);
                pending_drop_oldest(h->pending);
        }
        assert_oldest(h, NULL);
        assert_true(put(h, "more"));
}

static void test_what_a_broken_disk_left_is_no_text(void **state)
{
        struct house *h = *state;
        FILE *f;

        assert_true(put(h, "good"));
        f = fopen(h->path, "r+");
        assert_non_null(f);
        assert_int_equal(fseek(f, 4096, SEEK_SET), 0);
        for (int i = 0; i < 4096; i++)
                fputc(0xff, f);
        assert_int_equal(fclose(f), 0);
        reopen(h);
        assert_oldest(h, "good");
        pending_drop_oldest(h->pending);
        assert_oldest(h, NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_first_in_first_out, setup, teardown),
                cmocka_unit_test_setup_teardown(
                        test_texts_outlive_a_process_that_is_killed, setup, teardown),
                cmocka_unit_test_setup_teardown(test_there_is_an_end_of_room, setup, teardown),
                cmocka_unit_test_setup_teardown(
                        test_what_a_broken_disk_left_is_no_text, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
