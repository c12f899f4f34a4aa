/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

/* What is in a snapshot, by the keys of its rows. */
struct snapshot_counts {
        uint64_t jobs, tasks, nodes, events, tokens, others;
};

void snapshot_count(struct snapshot_counts *counts, const char *key, const char *value, size_t len);

/* "3 jobs, 1 task, ..." */
void snapshot_put_counts(const struct snapshot_counts *counts, struct buffer *out);
