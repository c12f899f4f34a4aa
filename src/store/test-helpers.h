/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What the tests of the store share: a folder and a loop for the whole program, a store of each
 * kind as cmocka fixtures, and commits that are waited for. Only for programs that include cmocka.
 */
#include <uv.h>

#include "base/error.h"
#include "store/store.h"

extern char test_directory[64];
extern uv_loop_t test_loop;

/* Runs @run between making and removing both; returns the exit status. */
int test_main(int (*run)(void));

/* A path in the folder that nobody used before. */
void make_path(char *path, size_t size);

struct fixture {
        char path[128];
        struct store *store; /* NULL once a test has closed it */
};

int setup_memory(void **state);
int setup_sqlite(void **state);
int teardown(void **state);

#define WITH(setup, test) cmocka_unit_test_setup_teardown(test, setup, teardown)

struct store *open_sqlite(const char *path);
void close_and_wait(struct store *s);

/* What a commit reported; filled by on_commit(). */
struct outcome {
        int calls;
        uint64_t revision;
        enum error_code code;
        char message[sizeof((struct error *) NULL)->message];
};

store_commit_cb on_commit;

struct outcome commit(struct store *s, struct store_batch *batch);
void commit_well(struct store *s, struct store_batch *batch);
void put(struct store_batch *batch, const char *key, const char *value);
void put_one(struct store *s, const char *key, const char *value);

store_row_cb add_row; /* "key=value;" to a struct buffer */

/* All that begin with @prefix as add_row() writes it. @expected NULL: the key is not there. */
void assert_scan(struct store *s, const char *prefix, const char *expected);
void assert_value(struct store *s, const char *key, const char *expected);
