/* SPDX-License-Identifier: BSD-3-Clause */

/* Launching: the real keeper (KEEPER_BINARY), started the way agent and server do when the old one
 * was killed. It is nobody's child, that is ours: the test is a sub-reaper. */
#include "keeper/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "keeper/test-house.h"

static void save(struct house *h, char *program)
{
        static char self[4096];
        char *arguments[] = { program, (char[]){ "--dir" }, h->dir, (char[]){ "--" }, self,
                (char[]){ "agent" }, h->dir, NULL };

        assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
        assert_int_equal(keeper_save_arguments(h->dir, arguments), 0);
}

static bool is_there(const struct house *h, const char *name)
{
        char path[128];

        snprintf(path, sizeof path, "%s/%s", h->dir, name);
        return access(path, F_OK) == 0;
}

static void test_too_many_arguments_are_not_saved(void **state)
{
        static char large[20000];
        char *many[300] = { 0 }, *arguments[] = { large, NULL };
        struct house h;

        (void) state;
        house_open(&h);
        memset(large, 'x', sizeof large - 1);
        for (size_t i = 0; i < 299; i++)
                many[i] = h.dir;
        assert_int_equal(keeper_save_arguments(h.dir, many), -E2BIG);
        assert_int_equal(keeper_save_arguments(h.dir, arguments), -E2BIG);
        assert_false(is_there(&h, KEEPER_ARGUMENTS_FILE));

        many[252] = NULL;
        assert_int_equal(keeper_save_arguments(h.dir, many), 0);
        house_close(&h);
}

static void test_nothing_is_left_of_a_failure(void **state)
{
        char path[128], *arguments[] = { (char[]){ "x" }, NULL };
        struct house h;

        (void) state;
        house_open(&h);
        snprintf(path, sizeof path, "%s/" KEEPER_ARGUMENTS_FILE, h.dir);
        assert_int_equal(mkdir(path, 0700), 0); /* nothing can be renamed to that */
        assert_int_equal(keeper_save_arguments(h.dir, arguments), -EISDIR);
        assert_false(is_there(&h, KEEPER_ARGUMENTS_FILE ".new"));
        assert_int_equal(rmdir(path), 0);
        house_close(&h);
}

static void test_keeper_that_cannot_be_executed(void **state)
{
        char text[256] = "";
        struct house h;

        (void) state;
        house_open(&h);
        assert_int_equal(keeper_launch(h.dir, NULL, 0, text, sizeof text), KEEPER_LAUNCH_FAILED);
        assert_non_null(strstr(text, strerror(ENOENT))); /* no arguments */

        save(&h, (char[]){ "/nonexistent/reeve-keeper" });
        assert_int_equal(keeper_launch(h.dir, NULL, 0, text, sizeof text), KEEPER_LAUNCH_FAILED);
        assert_non_null(strstr(text, "ended at once"));
        house_close(&h);
}

/* One item that cannot be sent must not keep the others, nor both sides, waiting. */
static void test_bad_items_do_no_harm(void **state)
{
        const int closed = -1, five[] = { 0, 0, 0, 0, 0 }, good = STDIN_FILENO;
        const struct keeper_handover items[] = {
                { .type = KEEPER_PUT, .name = "closed", .fds = &closed, .fds_len = 1 },
                { .type = KEEPER_PUT, .name = "five", .fds = five, .fds_len = 5 },
                { .type = KEEPER_PUT, .name = "good", .fds = &good, .fds_len = 1 },
        };
        struct keeper_message m;
        char text[256] = "";
        struct visitor v;
        struct house h;
        unsigned count;
        int fds[8];

        (void) state;
        house_open(&h);
        save(&h, getenv("KEEPER_BINARY"));
        assert_int_equal(keeper_launch(h.dir, items, 3, text, sizeof text), KEEPER_LAUNCHED);
        assert_string_equal(text, "the new keeper was not given \"five\": Invalid argument");
        visitor_accept(h.agent_door, &v);
        h.keeper = v.hello.parent;

        message_simple(v.channel, KEEPER_HELLO, "", KEEPER_PROTOCOL);
        message_receive(v.channel, &m, fds, &count);
        assert_int_equal(m.type, KEEPER_DEPOSIT);
        assert_string_equal(m.name, "good");
        assert_int_equal(count, 1);
        close(fds[0]);
        message_expect(v.channel, KEEPER_READY, NULL);

        assert_int_equal(keeper_launch(h.dir, items, 3, text, sizeof text), KEEPER_LAUNCH_TAKEN);
        visitor_close(&v);
        house_close(&h);
}

static void test_locks(void **state)
{
        struct house h;
        int fd;

        (void) state;
        house_open(&h);
        assert_int_equal(keeper_lock_owner(h.dir, "keeper.lock"), 0);
        assert_false(is_there(&h, "keeper.lock")); /* looking makes nothing */

        fd = keeper_lock_take(h.dir, "keeper.lock", false);
        assert_true(fd >= 0);
        assert_int_equal(keeper_lock_owner(h.dir, "keeper.lock"), getpid());
        assert_int_equal(keeper_lock_take(h.dir, "keeper.lock", false), -EWOULDBLOCK);
        close(fd);
        assert_int_equal(keeper_lock_owner(h.dir, "keeper.lock"), 0);
        assert_int_equal(keeper_lock_take("/nonexistent", "keeper.lock", false), -ENOENT);
        house_close(&h);
}

/* The number of a longer-lived predecessor is longer than ours: nothing of it may stay. */
static void test_lock_is_signed_anew(void **state)
{
        char path[128], text[32] = "";
        struct house h;
        FILE *file;
        int fd;

        (void) state;
        house_open(&h);
        snprintf(path, sizeof path, "%s/keeper.lock", h.dir);
        file = fopen(path, "we");
        assert_non_null(file);
        fputs("999999999999\n", file);
        fclose(file);
        fd = keeper_lock_take(h.dir, "keeper.lock", false);
        assert_true(fd >= 0);
        assert_true(pread(fd, text, sizeof text - 1, 0) > 0);
        assert_int_equal(strtol(text, NULL, 10), getpid());
        assert_int_equal(strcspn(text, "\n") + 1, strlen(text));
        close(fd);
        house_close(&h);
}

int main(int argc, char **argv)
{
        if (argc > 1) /* a keeper calls us: never run the tests, which would start keepers */
                return argc == 3 ? program_main(argv[1], argv[2]) : 2;
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_too_many_arguments_are_not_saved),
                cmocka_unit_test(test_nothing_is_left_of_a_failure),
                cmocka_unit_test(test_keeper_that_cannot_be_executed),
                cmocka_unit_test(test_bad_items_do_no_harm),
                cmocka_unit_test(test_locks),
                cmocka_unit_test(test_lock_is_signed_anew),
        };
        return cmocka_run_group_tests_name("keeper-launch", tests, NULL, NULL);
}
