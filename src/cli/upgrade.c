/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/client.h"
#include "cli/command.h"

#define POLL_USEC     20000
#define UPGRADE_LIMIT (30 * USEC_SEC)

static const char *keeper;

static const struct option_row options[] = {
        { "keeper", 'k', OPTION_TEXT, &keeper, "PATH",
                "execute this keeper (the one at the same path as before)" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

/* Processes of one machine; 0 for what does not answer now. */
struct parts {
        json_int_t server, agent;
        bool alone; /* the server has no agent beside it */
};

static void who_runs(struct parts *ret)
{
        struct error err = ERROR_INIT;
        AUTO(client_json_decref) json_t *version = NULL;
        AUTO(client_json_decref) json_t *nodes = NULL;
        const char *own;
        json_t *node;
        size_t i;

        *ret = (struct parts){ 0 };
        if (client_get("/v1/version", &version, &err) < 0 ||
                client_get("/v1/nodes", &nodes, &err) < 0)
                return;
        own = json_string_value(json_object_get(version, "node"));
        ret->alone = own == NULL;
        ret->server = json_integer_value(json_object_get(version, "pid"));
        json_array_foreach (nodes, i, node) {
                const char *name = json_string_value(json_object_get(node, "name"));
                const char *state = json_string_value(json_object_get(node, "state"));

                if (own != NULL && name != NULL && strcmp(own, name) == 0 && state != NULL &&
                        strcmp(state, "ready") == 0)
                        ret->agent = json_integer_value(json_object_get(node, "agent_pid"));
        }
}

static bool are_replaced(const struct parts *before, const struct parts *now)
{
        bool agent = now->alone || (now->agent > 0 && now->agent != before->agent);

        return agent && now->server > 0 && now->server != before->server;
}

static int find_keeper(char path[PATH_MAX], struct error *err)
{
        struct stat st;

        if (realpath(keeper, path) == NULL || stat(path, &st) < 0)
                return error_sys(err, errno, "--keeper %s", keeper);
        if (!S_ISREG(st.st_mode) || access(path, X_OK) < 0)
                return error_set(err, ERR_INVALID, "--keeper %s: not a program", keeper);
        return 0;
}

static int run(const char *const *operands, struct error *err)
{
        AUTO(client_json_decref) json_t *body = json_object();
        AUTO(mem_freep) char *text = NULL;
        struct parts before, now;
        usec_t deadline = time_mono() + UPGRADE_LIMIT;
        char path[PATH_MAX];

        (void) operands;
        if (keeper != NULL && find_keeper(path, err) < 0)
                return -1;
        json_object_set_new(body, "keeper", keeper != NULL ? json_string(path) : json_null());
        text = json_dumps(body, 0);
        who_runs(&before);
        if (client_request("POST", "/v1/upgrade", NULL, text, strlen(text), NULL, err) < 0)
                return -1;
        while (time_mono() < deadline) {
                who_runs(&now);
                if (are_replaced(&before, &now)) {
                        printf("upgraded: server is process %lld", (long long) now.server);
                        if (!now.alone)
                                printf(", agent process %lld", (long long) now.agent);
                        putchar('\n');
                        return 0;
                }
                usleep(POLL_USEC);
        }
        return error_set(err, ERR_TIMEOUT, "server and agent were not replaced; see their log");
}

const struct command command_upgrade = {
        .name = "upgrade",
        .operands = "",
        .summary = "replace keeper, server and agent by the installed programs",
        .details = "Tasks run on, no exit status and no log byte is lost.",
        .options = options,
        .run = run,
};
