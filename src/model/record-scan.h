/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/scan.h"
#include "model/record.h"

/* record_read() for what comes thousands of times in a second: straight from the text, without a
 * tree. The object may have members of its own beside those of the table:
 *
 *      record_scan_begin(&r, &task_table, &status);
 *      scan_object(s);
 *      while (scan_member(s, &key))
 *              if (scan_text_is(&key, "parked"))
 *                      scan_bool(s, &parked);
 *              else
 *                      record_scan_member(&r, s, &key);
 *
 * It reads what record_read() reads, and refuses what that refuses; a table with maps is not for
 * it. */
struct record_scan {
        const struct record_table *table;
        void *record;
        size_t next; /* field that comes next, if they come in the order of the table */
        const struct record_field *wrong;
};

/* Sets all fields to null. The strings that come are freed with record_done(), also after a
 * mistake. */
void record_scan_begin(struct record_scan *r, const struct record_table *table, void *record);

/* Takes the member's value; one that the table does not know is passed over. */
void record_scan_member(struct record_scan *r, struct scan *s, const struct scan_text *key);

/* After a mistake: sets ERR_INVALID, with the field if the value was none for it. Returns -1. */
int record_scan_fail(const struct record_scan *r, const struct scan *s, struct error *err);
