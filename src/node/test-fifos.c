/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "node/fifos.h"

static char *make_node(void)
{
        char directory[] = "/tmp/reeve-test-fifos-XXXXXX";

        assert_non_null(mkdtemp(directory));
        return mem_strdup(directory);
}

static char *target_of(const char *node)
{
        AUTO(mem_freep) char *link = mem_printf("%s/fifos", node);

        return realpath(link, NULL);
}

static void prepare(const char *node)
{
        struct error err = ERROR_INIT;

        if (fifos_prepare(node, &err) < 0)
                fail_msg("%s", err.message);
}

static bool exists(const char *path)
{
        struct stat st;

        return lstat(path, &st) == 0;
}

static void the_folder_is_chosen_once(void **state)
{
        AUTO(mem_freep) char *node = make_node();
        AUTO(mem_freep) char *first = NULL;
        AUTO(mem_freep) char *second = NULL;
        AUTO(mem_freep) char *fifo = mem_printf("%s/fifos/web.0.stdout", node);
        struct stat st;

        (void) state;
        prepare(node);
        first = target_of(node);
        assert_int_equal(stat(first, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0700);
        assert_int_equal(mkfifo(fifo, 0600), 0);
        prepare(node);
        second = target_of(node);
        assert_string_equal(first, second);
        assert_true(exists(fifo));

        fifos_remove(node);
        assert_false(exists(first));
        fifos_remove(node); /* twice is fine */
        file_remove_tree(node, NULL);
}

static void a_boot_makes_a_new_one(void **state)
{
        AUTO(mem_freep) char *node = make_node();
        AUTO(mem_freep) char *link = mem_printf("%s/fifos", node);

        (void) state;
        assert_int_equal(symlink("/nowhere/at/all", link), 0);
        prepare(node);
        {
                AUTO(mem_freep) char *target = target_of(node);

                assert_non_null(target);
                assert_string_not_equal(target, "/nowhere/at/all");
        }
        fifos_remove(node);
        file_remove_tree(node, NULL);
}

/* What a deleted state directory left behind goes; what belongs to another stays. */
/* Somebody else was faster after the boot, or the link was turned: nothing there is used, and least
 * of all removed. */
static void a_strangers_folder_is_left_alone(void **state)
{
        AUTO(mem_freep) char *node = make_node();
        AUTO(mem_freep) char *stranger = make_node();
        AUTO(mem_freep) char *link = mem_printf("%s/fifos", node);
        AUTO(mem_freep) char *trap = mem_printf("%s/reeve-fifos-abcdef", stranger);
        AUTO(mem_freep) char *inside = mem_printf("%s/reeve-fifos-ghijkl", stranger);
        const char *const targets[] = { stranger, trap, inside };

        (void) state;
        assert_int_equal(symlink(stranger, trap), 0);
        assert_int_equal(mkdir(inside, 0700), 0);
        assert_int_equal(chmod(inside, 0777), 0);
        for (size_t i = 0; i < 3; i++) {
                AUTO(mem_freep) char *found = NULL;

                assert_int_equal(symlink(targets[i], link), 0);
                fifos_remove(node);
                assert_true(exists(targets[i]));
                assert_true(exists(inside));
                prepare(node);
                found = target_of(node);
                assert_string_not_equal(found, targets[i]);
                assert_true(exists(inside));
                fifos_remove(node);
                unlink(link);
        }
        file_remove_tree(stranger, NULL);
        file_remove_tree(node, NULL);
}

static void leftovers_are_swept(void **state)
{
        AUTO(mem_freep) char *gone = make_node();
        AUTO(mem_freep) char *living = make_node();
        AUTO(mem_freep) char *next = make_node();
        AUTO(mem_freep) char *of_gone = NULL;
        AUTO(mem_freep) char *of_living = NULL;
        const struct timespec long_ago[2] = { { 1000000000, 0 }, { 1000000000, 0 } };

        (void) state;
        prepare(gone);
        prepare(living);
        of_gone = target_of(gone);
        of_living = target_of(living);
        if (strncmp(of_gone, gone, strlen(gone)) == 0) {
                print_message("there is no tmpfs here\n");
                skip();
        }
        file_remove_tree(gone, NULL);
        assert_true(exists(of_gone));
        assert_int_equal(utimensat(AT_FDCWD, of_gone, long_ago, 0), 0);
        assert_int_equal(utimensat(AT_FDCWD, of_living, long_ago, 0), 0);
        prepare(next);
        assert_false(exists(of_gone));
        assert_true(exists(of_living));
        fifos_remove(living);
        fifos_remove(next);
        file_remove_tree(living, NULL);
        file_remove_tree(next, NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_folder_is_chosen_once),
                cmocka_unit_test(a_boot_makes_a_new_one),
                cmocka_unit_test(a_strangers_folder_is_left_alone),
                cmocka_unit_test(leftovers_are_swept),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
