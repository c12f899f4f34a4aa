/* SPDX-License-Identifier: BSD-3-Clause */

/* The table of deposits against a model that is too simple to be wrong: an
 * array by number. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "keeper/deposits.h"

#define NAMES 700

struct model {
        unsigned count; /* 0: not held */
        int fds[KEEPER_FDS_MAX];
};

static struct model models[NAMES];
static int null_fd;

static void make_name(char *ret, unsigned number)
{
        snprintf(ret, KEEPER_NAME_MAX, "web.%u:stdout", number);
}

static bool is_open(int fd)
{
        return fcntl(fd, F_GETFD) >= 0;
}

static void check_all(void)
{
        char name[KEEPER_NAME_MAX];
        unsigned held = 0, descriptors = 0, walked = 0;
        for (unsigned i = 0; i < NAMES; i++) {
                make_name(name, i);
                const struct deposit *d = deposits_find(name);
                assert_int_equal(d != NULL, models[i].count > 0);
                if (d == NULL)
                        continue;
                assert_string_equal(d->name, name);
                assert_int_equal(d->count, models[i].count);
                for (unsigned n = 0; n < d->count; n++) {
                        assert_int_equal(d->fds[n], models[i].fds[n]);
                        assert_true(is_open(d->fds[n]));
                }
                held++;
                descriptors += d->count;
        }
        for (uint32_t slot = 0; slot < deposits_end(); slot++)
                walked += deposits_at(slot) != NULL;
        assert_int_equal(deposits_count(), held);
        assert_int_equal(deposits_descriptors(), descriptors);
        assert_int_equal(walked, held);
}

static void drop(unsigned number)
{
        char name[KEEPER_NAME_MAX];
        make_name(name, number);
        struct model old = models[number];
        assert_int_equal(deposits_drop(name), old.count > 0);
        for (unsigned n = 0; n < old.count; n++)
                assert_false(is_open(old.fds[n]));
        models[number].count = 0;
}

static void put(unsigned number, unsigned count)
{
        char name[KEEPER_NAME_MAX];
        make_name(name, number);
        struct model old = models[number], new = { .count = count };
        for (unsigned n = 0; n < count; n++) {
                new.fds[n] = fcntl(null_fd, F_DUPFD_CLOEXEC, 0);
                assert_true(new.fds[n] >= 0);
        }
        assert_int_equal(deposits_put(name, new.fds, count), 0);
        for (unsigned n = 0; n < old.count; n++)
                assert_false(is_open(old.fds[n]));
        models[number] = new;
}

static void test_random_operations(void **state)
{
        (void) state;
        unsigned seed = 12345;
        null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        assert_true(null_fd >= 0);
        for (int step = 0; step < 8000; step++) {
                unsigned number = (unsigned) rand_r(&seed) % NAMES;
                if (rand_r(&seed) % 5 < 2)
                        drop(number);
                else
                        put(number, number % 16 == 0 ? KEEPER_FDS_MAX : 1);
                if (step % 400 == 0)
                        check_all();
        }
        check_all();
        for (unsigned i = 0; i < NAMES; i++)
                drop(i);
        check_all();
        assert_true(deposits_end() <= NAMES); /* freed slots were used again */
        close(null_fd);
}

/* Descriptors beyond any limit are as good as real ones to the table: closing
 * them just fails. */
static void test_full_table(void **state)
{
        (void) state;
        char name[KEEPER_NAME_MAX];
        const int fd = 1 << 30;
        for (unsigned i = 0; i < DEPOSITS_MAX; i++) {
                make_name(name, i);
                assert_int_equal(deposits_put(name, &fd, 1), 0);
        }
        assert_int_equal(deposits_put("one more", &fd, 1), -ENOSPC);
        make_name(name, 77);
        assert_int_equal(deposits_put(name, &fd, 1), 0); /* replacing needs no room */
        assert_true(deposits_drop(name));
        assert_int_equal(deposits_put("one more", &fd, 1), 0);
        assert_non_null(deposits_find("one more"));
        assert_true(deposits_drop("one more"));
        for (unsigned i = 0; i < DEPOSITS_MAX; i++) {
                make_name(name, i);
                assert_int_equal(deposits_drop(name), i != 77);
        }
        assert_int_equal(deposits_count(), 0);
        assert_int_equal(deposits_descriptors(), 0);
}

static void test_longest_name(void **state)
{
        (void) state;
        char name[KEEPER_NAME_MAX];
        memset(name, 'x', sizeof name);
        name[sizeof name - 1] = '\0';
        const int fd = 1 << 30;
        assert_int_equal(deposits_put(name, &fd, 1), 0);
        assert_string_equal(deposits_find(name)->name, name);
        assert_true(deposits_drop(name));
        assert_null(deposits_find(name));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_random_operations),
                cmocka_unit_test(test_full_table),
                cmocka_unit_test(test_longest_name),
        };
        return cmocka_run_group_tests_name("keeper deposits", tests, NULL, NULL);
}
