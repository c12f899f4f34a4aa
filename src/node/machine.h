/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "model/attributes.h"

/* What this machine is and what it has to give, as far as an agent that runs here may use it. */

#define MACHINE_UNKNOWN UINT64_MAX

/* What the operator says instead of what is found. */
struct machine_config {
        const char *root;              /* "" but in tests: where /proc, /sys and /etc are */
        const char *data;              /* the disk that this directory is on */
        const char *name;              /* of the node */
        const char *zone;              /* NULL: none */
        const char *const *attributes; /* "name=value"; NULL: none */
        size_t attributes_len;
        uint32_t cpu;    /* millicores; 0: as found */
        uint64_t memory; /* bytes; 0: as found */
        uint64_t disk;
};

struct machine {
        uint32_t cores;  /* that we may run on */
        uint32_t cpu;    /* thousandths of a core: those, or less by a quota of our cgroup */
        uint64_t memory; /* bytes: the machine's, or less by a limit of our cgroup */
        uint64_t disk;   /* bytes that were free when the agent began */
        struct attributes attributes; /* all of them, as placement counts with them */
};

/* Finds out. ERR_INVALID if an attribute of the operator is none; what cannot be found out is left
 * out, with a line in the log. */
int machine_find(const struct machine_config *config, struct machine *ret, struct error *err);
void machine_done(struct machine *m);

/* ---- the parts that read texts, each of which may contain anything */

/* NAME="value" of /etc/os-release; a heap string without the quotes, or NULL. */
char *machine_os_release(const char *text, const char *name);

/* The path of our cgroup in the text of /proc/self/cgroup: of the hierarchy that has @controller
 * (v1), or of the one without (v2, @controller NULL). A heap string, or NULL. */
char *machine_cgroup_path(const char *text, const char *controller);

/* "MemTotal:  16333012 kB" of /proc/meminfo, in bytes; MACHINE_UNKNOWN if it is not there. */
uint64_t machine_mem_total(const char *text);
/* The same of "MemAvailable:", what programs could still get. */
uint64_t machine_mem_available(const char *text);
