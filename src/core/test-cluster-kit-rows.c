/* SPDX-License-Identifier: BSD-3-Clause */
/* The store of the tests' cluster: its rows, which after each event must be what the cluster knows.
 * Whoever changes the state and forgets to have it written is found here, and not only by those who
 * kill the server at that moment. */

#include "core/test-cluster-kit.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/cluster-internal.h"

#define ROWS_CHECKED 64 /* after so many events, and every so many from then on */

static void store(struct kit *k, const struct cluster_write *w)
{
        size_t i = 0;

        while (i < k->rows_len && strcmp(k->rows[i].key, w->key) != 0)
                i++;
        if (i < k->rows_len) {
                free(k->rows[i].key);
                free(k->rows[i].value);
                k->rows[i] = k->rows[--k->rows_len];
        }
        if (w->value == NULL)
                return;
        k->rows = mem_resize(k->rows, k->rows_len + 1, sizeof k->rows[0]);
        k->rows[k->rows_len++] = (struct kit_row){ mem_strdup(w->key), mem_strdup(w->value) };
}

/* Whether a task has run, and when something was, is as of the last time that more was written; the
 * number of a node's newest note has a row of its own. */
static char *without_details(const char *value)
{
        static const char *const details[] = { "\"has_run\":", "\"since\":", "\"note_seq\":" };
        char *text = mem_strdup(value);

        for (size_t i = 0; i < ARRAY_SIZE(details); i++)
                for (char *at = text; (at = strstr(at, details[i])) != NULL;) {
                        char *end = at + strcspn(at, ",}");

                        if (*end == ',')
                                end++;
                        else if (at[-1] == ',')
                                at--;
                        memmove(at, end, strlen(end) + 1);
                }
        return text;
}

static void expect_row(const struct kit *k, const struct cluster_write *w)
{
        for (size_t i = 0; i < k->rows_len; i++) {
                AUTO(mem_freep) char *is = NULL, *shall = NULL;

                if (strcmp(k->rows[i].key, w->key) != 0)
                        continue;
                is = without_details(k->rows[i].value);
                shall = without_details(w->value);
                if (strcmp(is, shall) != 0)
                        fail_msg("row %s is\n%s\nand shall be\n%s", w->key, is, shall);
                return;
        }
        fail_msg("row %s is not there", w->key);
}

void kit_lose_rows(struct kit *k)
{
        for (size_t i = 0; i < k->rows_len; i++) {
                free(k->rows[i].key);
                free(k->rows[i].value);
        }
        free(take_ptr(k->rows));
        k->rows_len = 0;
}

static uint64_t stored_note_seq(const struct kit *k, const char *prefix, const char *name)
{
        AUTO(mem_freep) char *key = mem_printf("%s/%s", prefix, name);
        const char *at;

        for (size_t i = 0; i < k->rows_len; i++) {
                if (strcmp(k->rows[i].key, key) != 0)
                        continue;
                at = strstr(k->rows[i].value, "\"note_seq\":");
                if (strcmp(prefix, "notes") == 0)
                        return strtoull(k->rows[i].value, NULL, 10);
                return at != NULL ? strtoull(at + strlen("\"note_seq\":"), NULL, 10) : 0;
        }
        return 0;
}

static void check_notes(const struct kit *k)
{
        for (const struct node *node = k->c->nodes; node != NULL; node = node->hh.next)
                assert_int_equal(
                        node->note_seq, MAX(stored_note_seq(k, "node", node->status.name),
                                                stored_note_seq(k, "notes", node->status.name)));
}

/* What a server that begins anew would find is what this one knows. */
static void check_rows(const struct kit *k)
{
        struct cluster_effects all = { 0 };
        size_t rows = 0;

        rows_dump(k->c, &all);
        for (size_t i = 0; i < all.writes_len; i++)
                if (all.writes[i].value != NULL)
                        expect_row(k, &all.writes[i]);
        for (size_t i = 0; i < all.writes_len; i++)
                rows += all.writes[i].value != NULL;
        for (size_t i = 0; i < k->rows_len; i++)
                rows -= strncmp(k->rows[i].key, "event/", 6) != 0 &&
                        strncmp(k->rows[i].key, "notes/", 6) != 0;
        assert_int_equal(rows, 0);
        check_notes(k);
        cluster_effects_done(&all);
}

/* Events are many, and only the newest counts. */
void kit_store_rows(struct kit *k)
{
        for (size_t i = 0; i < k->fx.writes_len; i++) {
                struct cluster_write *w = &k->fx.writes[i];
                struct cluster_write newest = { .key = (char[]){ "event/x" }, .value = w->key };

                if (strncmp(w->key, "event/", 6) == 0)
                        store(k, &newest);
                else
                        store(k, w);
        }
        if (++k->handled < ROWS_CHECKED || k->handled % ROWS_CHECKED == 0)
                check_rows(k);
}
