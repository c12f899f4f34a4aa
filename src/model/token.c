/* SPDX-License-Identifier: BSD-3-Clause */
/* Tokens as nouns: their fields, their roles, and which jobs a limited one covers. Whether a given
 * token is one of ours is the server's affair (server/tokens.c). */
#include "model/token.h"

#include <string.h>

#include "base/macros.h"
#include "base/text.h"

const char *const token_kind_names[] = {
        [TOKEN_API] = "api",
        [TOKEN_JOIN] = "join",
        [TOKEN_NODE] = "node",
        NULL,
};

const char *const role_names[] = {
        [ROLE_NONE] = "none",
        [ROLE_READ] = "read",
        [ROLE_OPERATE] = "operate",
        [ROLE_ADMIN] = "admin",
        NULL,
};

int role_parse(const char *text)
{
        for (int i = ROLE_READ; role_names[i] != NULL; i++)
                if (strcmp(text, role_names[i]) == 0)
                        return i;
        return -1;
}

#define FIELD(member, type, names, help)                                                           \
        {                                                                                          \
#member, type, offsetof(struct token_status, member), names, help                  \
        }

static const struct record_field fields[] = {
        FIELD(id, RECORD_STRING, NULL, "by which it is named; no secret"),
        FIELD(kind, RECORD_ENUM, token_kind_names,
                "`api`: for the API; `join`: lets machines become nodes; `node`: what a node has "
                "got for it"),
        FIELD(role, RECORD_ENUM, role_names, "what it may do; null unless it is for the API"),
        FIELD(jobs, RECORD_STRING, NULL,
                "prefixes of the names of the jobs that it is limited to, separated by commas; "
                "null: no limit"),
        FIELD(node, RECORD_STRING, NULL, "the node whose credential it is"),
        FIELD(uses, RECORD_INT, NULL, "how many nodes can still join with it; null: no limit"),
        FIELD(made, RECORD_TIME, NULL, "when it was made"),
        FIELD(expires, RECORD_TIME, NULL, "when its time is over; null: never"),
        FIELD(note, RECORD_STRING, NULL, "what it is for, as its maker said"),
};

const struct record_table token_table = { "token", fields, ARRAY_SIZE(fields) };

static bool cover(const char *jobs, const char *job, size_t job_len)
{
        while (jobs != NULL && *jobs != '\0') {
                size_t len = strcspn(jobs, ",");

                if (len > 0 && len <= job_len && strncmp(jobs, job, len) == 0)
                        return true;
                jobs += len + (jobs[len] == ',');
        }
        return false;
}

bool token_jobs_cover(const char *jobs, const char *job)
{
        return jobs == NULL || cover(jobs, job, strlen(job));
}

bool token_jobs_cover_task(const char *jobs, const char *task)
{
        const char *dot = strrchr(task, '.');

        return jobs == NULL ||
               cover(jobs, task, dot == NULL ? strlen(task) : (size_t) (dot - task));
}

int token_jobs_check(const char *jobs, struct error *err)
{
        while (true) {
                size_t len = strcspn(jobs, ",");
                char prefix[TEXT_NAME_MAX + 1] = "";

                if (len <= TEXT_NAME_MAX)
                        memcpy(prefix, jobs, len);
                if (!text_is_name(prefix))
                        return error_set(err, ERR_INVALID,
                                "jobs: \"%.*s\" is no beginning of a job's name", (int) len, jobs);
                if (jobs[len] == '\0')
                        return 0;
                jobs += len + 1;
        }
}
