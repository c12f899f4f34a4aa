/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <limits.h>
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

/* Pid of the server and of the node's agent; 0 while nobody answers. */
static void who_runs(json_int_t *server, json_int_t *agent)
{
        struct error err = ERROR_INIT;
        AUTO(client_json_decref) json_t *version = NULL;
        AUTO(client_json_decref) json_t *nodes = NULL;

        *server = *agent = 0;
        if (client_get("/v1/version", &version, &err) < 0 ||
                client_get("/v1/nodes", &nodes, &err) < 0)
                return;
        *server = json_integer_value(json_object_get(version, "pid"));
        if (strcmp("ready", json_string_value(json_object_get(json_array_get(nodes, 0), "state"))
                                    ?: "") == 0)
                *agent = json_integer_value(json_object_get(json_array_get(nodes, 0), "agent_pid"));
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
        json_int_t server_before, agent_before, server, agent;
        usec_t deadline = time_mono() + UPGRADE_LIMIT;
        char path[PATH_MAX];

        (void) operands;
        if (keeper != NULL && find_keeper(path, err) < 0)
                return -1;
        json_object_set_new(body, "keeper", keeper != NULL ? json_string(path) : json_null());
        text = json_dumps(body, 0);
        who_runs(&server_before, &agent_before);
        if (client_request("POST", "/v1/upgrade", NULL, text, strlen(text), NULL, err) < 0)
                return -1;
        while (time_mono() < deadline) {
                who_runs(&server, &agent);
                if (server > 0 && agent > 0 && server != server_before && agent != agent_before) {
                        printf("upgraded: server is process %lld, agent process %lld\n",
                                (long long) server, (long long) agent);
                        return 0;
                }
                usleep(POLL_USEC);
        }
        return error_set(err, ERR_TIMEOUT, "server and agent were not replaced; see their log");
}

const struct command command_upgrade = {
        .name = "upgrade",
        .operands = "",
        .summary = "replace keeper, server and agent by the programs installed now",
        .details = "Tasks run on, no exit status and no log byte is lost.",
        .options = options,
        .run = run,
};
