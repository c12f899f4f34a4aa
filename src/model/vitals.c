/* SPDX-License-Identifier: BSD-3-Clause */
/* The tables of what machines and tasks use. The order here is the order in JSON. */
#include "model/vitals.h"

#include <stddef.h>

#include "base/macros.h"

#define FIELD(struct_name, member, type, help)                                                     \
        {                                                                                          \
#member, type, offsetof(struct struct_name, member), NULL, help                    \
        }

static const struct record_field node_fields[] = {
        FIELD(node_vitals, node, RECORD_STRING, "its name"),
        FIELD(node_vitals, time, RECORD_TIME, "when it was looked at"),
        FIELD(node_vitals, every, RECORD_INT,
                "milliseconds between two samples that are kept; null if none are"),
        FIELD(node_vitals, cores, RECORD_INT, "processors there"),
        FIELD(node_vitals, cpu, RECORD_INT,
                "thousandths of a core in use, between the last two looks; null after the first"),
        FIELD(node_vitals, cpu_usec, RECORD_INT,
                "microseconds of all its cores that were used since it was booted"),
        FIELD(node_vitals, memory, RECORD_INT,
                "bytes of memory in use: all but what programs could still get"),
        FIELD(node_vitals, memory_total, RECORD_INT, "bytes of memory there"),
        FIELD(node_vitals, load, RECORD_INT, "load average of a minute, in hundredths"),
        FIELD(node_vitals, disk, RECORD_INT,
                "bytes in use on the file system of the state directory"),
        FIELD(node_vitals, disk_total, RECORD_INT, "bytes there, with those that are free"),
};

const struct record_table node_vitals_table = { "node vitals", node_fields,
        ARRAY_SIZE(node_fields) };

static const struct record_field task_fields[] = {
        FIELD(task_vitals, task, RECORD_STRING, "its id"),
        FIELD(task_vitals, run, RECORD_INT, "number of the run that was looked at"),
        FIELD(task_vitals, cpu, RECORD_INT,
                "thousandths of a core in use, between the last two looks; null after the first"),
        FIELD(task_vitals, cpu_usec, RECORD_INT, "microseconds of processor that the run has used"),
        FIELD(task_vitals, memory, RECORD_INT,
                "bytes of memory: what its cgroup counts if it limits memory, else the resident "
                "memory of all its processes"),
};

const struct record_table task_vitals_table = { "task vitals", task_fields,
        ARRAY_SIZE(task_fields) };

static const struct record_field sample_fields[] = {
        FIELD(vitals_sample, time, RECORD_TIME, "when it was taken"),
        FIELD(vitals_sample, run, RECORD_INT, "of a task: the number of its run; else null"),
        FIELD(vitals_sample, cpu, RECORD_INT,
                "thousandths of a core, since the sample before; null if there is none"),
        FIELD(vitals_sample, memory, RECORD_INT, "bytes of memory"),
        FIELD(vitals_sample, load, RECORD_INT, "of a node: as above; else null"),
        FIELD(vitals_sample, disk, RECORD_INT, "of a node: as above; else null"),
};

const struct record_table vitals_sample_table = { "sample", sample_fields,
        ARRAY_SIZE(sample_fields) };
