/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/time.h"
#include "model/record.h"

/* What machines and tasks use, as agents measure it: on the link, in the API and in the CLI. What
 * is not known is RECORD_NULL. */

#define VITALS_EVERY     (10 * USEC_SEC) /* the default */
#define VITALS_EVERY_MIN USEC_SEC
#define VITALS_KEPT_FOR  USEC_HOUR

/* A machine, with all that runs on it. */
struct node_vitals {
        char *node;
        usec_t time;   /* wall: when it was looked at */
        int64_t every; /* milliseconds between two samples that are kept; null: none are */
        int64_t cores;
        int64_t cpu;                  /* thousandths of a core, between the last two looks */
        int64_t cpu_usec;             /* since boot, of all cores */
        int64_t memory, memory_total; /* bytes */
        int64_t load;                 /* hundredths */
        int64_t disk, disk_total;     /* bytes, of the file system of the state directory */
};
extern const struct record_table node_vitals_table;

/* A task that runs: all processes of its run. */
struct task_vitals {
        char *task;
        int64_t run;
        int64_t cpu;      /* thousandths of a core, between the last two looks */
        int64_t cpu_usec; /* of this run */
        int64_t memory;   /* bytes */
};
extern const struct record_table task_vitals_table;

/* One of those that are kept. */
struct vitals_sample {
        usec_t time;
        int64_t run; /* of a task */
        int64_t cpu, memory;
        int64_t load, disk; /* of a node */
};
extern const struct record_table vitals_sample_table;
