/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "model/job.h"

/* Control groups: all processes of a task together, however they forked and whatever session they
 * are in, so that they can be limited, looked at and killed as one. cgroup.c says which trees there
 * are and where; cgroup-v1.c and cgroup-v2.c how each version wants it. */

enum { /* what a cgroup can limit */
        CGROUP_MEMORY = 1,
        CGROUP_SWAP = 2,
        CGROUP_CPU = 4,
        CGROUP_PIDS = 8,
        CGROUP_IO = 16,
        CGROUP_ALL = 31,
};

/* The words of @mask ("cpu memory pids") for attributes and messages; "none". */
#define CGROUP_WORDS_MAX 40
const char *cgroup_words(char text[CGROUP_WORDS_MAX], unsigned mask);

/* What the limits of a spec ask for. */
unsigned cgroup_needs(const struct job_spec *spec);

struct cgroups;

/* Finds the trees in which the Reeve of the state directory @directory (DIR/node) may have groups.
 * @root: "" but in tests: where /proc/self/cgroup and /proc/self/mountinfo are read. @keeper: its
 * pid; it and its children, which are we, are moved to a leaf of their own where version 2 wants
 * that. Never fails: what there is not is told by the next two. */
struct cgroups *cgroups_new(const char *root, const char *directory, pid_t keeper);
void cgroups_free(struct cgroups *cs); /* leaves all groups as they are; NULL is fine */

/* Everything is stopped: removes what is empty. */
void cgroups_remove(struct cgroups *cs);

/* What can be limited here, and whether processes can be kept together at all. */
unsigned cgroups_enforced(const struct cgroups *cs);
bool cgroups_tracked(const struct cgroups *cs);

/* Why not more, as a sentence; NULL if all can be. */
const char *cgroups_lack(const struct cgroups *cs);

/* Where a run is to be born; cgroup_birth_done() frees it. */
struct cgroup_birth {
        int fd;       /* directory for CLONE_INTO_CGROUP; -1: none */
        char **procs; /* the files to write the process into, that of fd first; NULL: none */
};
void cgroup_birth_done(struct cgroup_birth *birth);

/* Makes the groups of a run of task @id with the limits of its spec; those that cannot be enforced
 * are passed over. Returns 0; 1 if processes of an earlier run are still in them, which are killed:
 * ask again in a moment; or -1. @clean: nobody was killed in a group that is there with
 * cgroup.kill, so that it may serve again. Seen on Linux 6.18: whoever is born with
 * CLONE_INTO_CGROUP in a group that was killed once is killed, too, since the kernel compares with
 * how often the parent's group was killed (kernel/cgroup/cgroup.c, kill_seq). */
int cgroups_begin(struct cgroups *cs, const char *id, const struct job_spec *spec, bool clean,
        struct cgroup_birth *ret, struct error *err);

/* Gives the groups of a run that is there the limits of @spec. Each error is told as a sentence of
 * its own, the first one is returned, the others are tried nevertheless. */
int cgroups_change(
        struct cgroups *cs, const char *id, const struct job_spec *spec, struct error *err);

/* Kills all that is in the groups of task @id. */
void cgroups_kill(struct cgroups *cs, const char *id);

/* The run is over: removes its groups. Returns false if there is somebody in them, who is killed:
 * ask again in a moment. */
bool cgroups_end(struct cgroups *cs, const char *id);

/* The same, if the next run of @spec begins at once: it may get a group that is there. If it does
 * not begin after all, cgroups_end() is due. @clean: as for cgroups_begin(). */
bool cgroups_pass_on(struct cgroups *cs, const char *id, const struct job_spec *spec, bool clean);

#define CGROUP_UNKNOWN UINT64_MAX

/* What the run has used. */
struct cgroup_usage {
        uint64_t memory, memory_peak; /* bytes; CGROUP_UNKNOWN */
        uint64_t oom_kills;           /* processes that were killed because of its memory limit */
        uint64_t cpu_usec;            /* CGROUP_UNKNOWN */
};
void cgroups_usage(struct cgroups *cs, const char *id, struct cgroup_usage *ret);

/* What is read often: memory and CPU alone, of a run whose spec asks for the limits of @needs
 * (cgroup_needs()). */
void cgroups_vitals(struct cgroups *cs, const char *id, unsigned needs, uint64_t *ret_cpu_usec,
        uint64_t *ret_memory);

/* The process that was last killed because of the memory limit of task @id, as the kernel's log has
 * it. False if it does not tell. */
struct cgroup_victim {
        pid_t pid;
        char name[20];
};
bool cgroups_victim(struct cgroups *cs, const char *id, struct cgroup_victim *ret);

/* Calls @each for every process of the task; false: there are no cgroups to know them by. */
bool cgroups_each_process(
        struct cgroups *cs, const char *id, void (*each)(void *data, pid_t pid), void *data);

/* Calls @each for the name of every group that there is, some twice. It may end it. */
void cgroups_each(struct cgroups *cs, void (*each)(void *data, const char *id), void *data);
