/* SPDX-License-Identifier: BSD-3-Clause */
/* The words of the agents that are played: their nodes, and the members of an assign. */
#include "played.h"

#include <inttypes.h>
#include <string.h>

static struct job *jobs;

static const struct job *get_job(const struct scan_text *name)
{
        struct job *job;

        HASH_FIND(hh, jobs, name->at, (unsigned) name->len, job);
        if (job == NULL) {
                job = mem_alloc(sizeof *job);
                job->name = mem_strndup(name->at, name->len);
                HASH_ADD_KEYPTR(hh, jobs, job->name, (unsigned) name->len, job);
        }
        return job;
}

void played_read_desire(struct scan *s, struct assign *ret)
{
        struct scan_text key;

        scan_object(s);
        while (scan_member(s, &key)) {
                if (scan_text_is(&key, "run"))
                        scan_bool(s, &ret->run);
                else if (scan_text_is(&key, "version"))
                        scan_int(s, &ret->version);
                else if (scan_text_is(&key, "restart_version"))
                        scan_int(s, &ret->restart_version);
                else if (scan_text_is(&key, "generation"))
                        scan_int(s, &ret->generation);
                else
                        scan_skip(s, NULL);
        }
}

void played_read_task(struct scan *s, struct assign *ret)
{
        struct scan_text id, job;
        const char *dot;

        if (!scan_word(s, &id))
                return;
        dot = memrchr(id.at, '.', id.len);
        if (dot == NULL)
                return;
        job = (struct scan_text){ id.at, (size_t) (dot - id.at) };
        ret->job = get_job(&job);
        ret->index = (uint32_t) strtoul(dot + 1, NULL, 10);
}

void played_put_node(struct buffer *out, uint32_t number)
{
        uint32_t n = number;
        static const char *const zones[] = { "a", "b", "c" };
        const char *zone = zones[n % 3], *disk = n % 4 == 0 ? "ssd" : "disk";
        unsigned cores = n % 2 == 0 ? 64 : 32, memory = n % 2 == 0 ? 256 : 128;

        buffer_printf(out,
                "{\"name\":\"node%04" PRIu32 "\",\"state\":\"ready\",\"version\":\"" REEVE_VERSION
                "\",\"kernel\":\"6.1.0\",\"cores\":%u,\"memory\":%" PRIu64 ",\"agent_pid\":%" PRIu32
                ",\"keeper_pid\":%" PRIu32
                ",\"zone\":\"%s\",\"cpu\":%u000,\"disk\":1099511627776,\"attributes\":{",
                n, cores, (uint64_t) memory << 30, FIRST_PID + n, FIRST_PID + n, zone, cores);
        buffer_printf(out,
                "\"name\":\"node%04" PRIu32 "\",\"zone\":\"%s\",\"arch\":\"x86_64\",\"kernel\":"
                "\"6.1.0\",\"os\":\"linux\",\"cores\":\"%u\",\"memory\":\"%uGiB\",\"disk\":"
                "\"1TiB\",\"cgroup\":\"2\",\"reeve\":\"" REEVE_VERSION "\",\"rack\":\"r%03" PRIu32
                "\",\"disk_kind\":\"%s\"}}",
                n, zone, cores, memory, n / 40, disk);
}
