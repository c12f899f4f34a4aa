/* SPDX-License-Identifier: BSD-3-Clause */
/* up: server and agent on this machine, under one keeper (begin.c). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/begin.h"
#include "cli/client.h"
#include "cli/command.h"
#include "net/http-client.h"

static struct {
        const char *data, *socket, *listen, *node;
        struct option_list jobs;
        struct begin_keep keep;
        struct begin_agent agent;
        struct server_alerts alerts;
        bool detach;
} opt = { .keep = BEGIN_KEEP, .alerts = BEGIN_ALERTS };

static const struct option_row options[] = {
        { "data", 'd', OPTION_TEXT, &opt.data, "DIR",
                "state directory (/var/lib/reeve, or ~/.local/state/reeve)" },
        { "socket", 's', OPTION_TEXT, &opt.socket, "PATH",
                "UNIX socket of the API (where the commands look without REEVE_ADDR)" },
        { "listen", 'l', OPTION_TEXT, &opt.listen, "ADDR:PORT",
                "serve the API here too; with TLS unless only this machine can reach it" },
        { "jobs", 'j', OPTION_LIST, &opt.jobs, "PATH",
                "job file or directory of job files, watched; may be repeated" },
        { "node", 'n', OPTION_TEXT, &opt.node, "NAME",
                "name of this node (the host name up to its first dot)" },
        BEGIN_AGENT_ROWS(opt.agent),
        BEGIN_KEEP_ROWS(opt.keep),
        BEGIN_ALERT_ROWS(opt.alerts),
        { "detach", 'D', OPTION_FLAG, &opt.detach, NULL,
                "return as soon as it answers; ends with `reeve down`" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

struct up {
        struct begin begin;
        char *socket, *node;
};

static void up_done(struct up *u)
{
        begin_done(&u->begin);
        free(u->socket);
        free(u->node);
}

static int check_listen(struct error *err)
{
        struct address address;

        if (opt.listen == NULL)
                return 0;
        if (address_parse(opt.listen, &address, err) < 0)
                return error_wrap(err, "--listen");
        if (address.is_unix)
                return error_set(
                        err, ERR_INVALID, "--listen: expected ADDR:PORT; sockets are for --socket");
        return 0;
}

static int check_jobs(struct error *err)
{
        for (size_t i = 0; i < opt.jobs.len; i++)
                if (access(opt.jobs.items[i], R_OK) < 0)
                        return error_sys(err, errno, "--jobs %s", opt.jobs.items[i]);
        return 0;
}

static int prepare(struct up *u, struct error *err)
{
        u->node = opt.node != NULL ? mem_strdup(opt.node) : begin_default_node();
        if (!text_is_name(u->node))
                return error_set(err, ERR_INVALID,
                        "--node %s: a name is 1 to %d letters, digits, - and _, the first of them "
                        "a letter or digit",
                        u->node, TEXT_NAME_MAX);
        if (begin_check_keep(&opt.keep, err) < 0 || server_check_alerts(&opt.alerts, err) < 0 ||
                check_listen(err) < 0 || check_jobs(err) < 0 ||
                begin_check_agent(&opt.agent, err) < 0 ||
                begin_socket(opt.socket, &u->socket, err) < 0)
                return -1;
        return begin_init(&u->begin, opt.data, err);
}

static void add_programs(struct up *u)
{
        struct begin *b = &u->begin;

        begin_add_program(b, "server");
        begin_add(b, "--socket", u->socket);
        begin_add(b, "--node", u->node);
        begin_add(b, "--listen", opt.listen);
        begin_add_keep(b, &opt.keep);
        begin_add_alerts(b, &opt.alerts);
        for (size_t i = 0; i < opt.jobs.len; i++) {
                AUTO(mem_freep) char *path = begin_absolute(opt.jobs.items[i]);

                begin_add(b, "--jobs", path);
        }
        begin_add_program(b, "agent");
        begin_add(b, "--socket", u->socket);
        begin_add(b, "--node", u->node);
        begin_add_agent(b, &opt.agent);
}

/* What a GET over the socket answers, or NULL. */
static json_t *ask(const struct up *u, const char *path)
{
        AUTO(buffer_done) struct buffer body = { 0 };
        struct address address = { .is_unix = true };
        struct error err = ERROR_INIT;
        int status;

        snprintf(address.path, sizeof address.path, "%s", u->socket);
        if (http_fetch(&address, "GET", path, NULL, NULL, 0, USEC_SEC, &status, &body, &err) < 0 ||
                status != 200)
                return NULL;
        return json_loadb(body.data, body.len, 0, NULL);
}

/* The server answers, and its own node is ready. */
static bool is_up(void *data)
{
        const struct up *u = data;
        AUTO(client_json_decref) json_t *nodes = ask(u, "/v1/nodes");
        json_t *node;
        size_t i;

        json_array_foreach (nodes, i, node) {
                const char *name = json_string_value(json_object_get(node, "name"));
                const char *state = json_string_value(json_object_get(node, "state"));

                if (name != NULL && state != NULL && strcmp(name, u->node) == 0)
                        return strcmp(state, "ready") == 0;
        }
        return false;
}

static void tell_tcp(const struct up *u)
{
        AUTO(client_json_decref) json_t *version = ask(u, "/v1/version");
        AUTO(mem_freep) char *token_path = mem_printf("%s/token", u->begin.data);
        AUTO(buffer_done) struct buffer token = { 0 };
        const char *url = json_string_value(json_object_get(version, "listen"));
        const char *fingerprint = json_string_value(json_object_get(version, "fingerprint"));

        if (url == NULL)
                return;
        if (!isatty(STDOUT_FILENO) || file_read(token_path, 4096, &token, NULL) < 0)
                printf("      %s (its token: %s)\n", url,
                        token_path); /* a log is no place for it */
        else
                printf("      %s/v1/jobs?token=%.*s\n", url,
                        (int) strcspn(buffer_str(&token), "\n"), buffer_str(&token));
        if (fingerprint != NULL)
                printf("      fingerprint of its CA: %s\n", fingerprint);
}

static void tell(void *data)
{
        const struct up *u = data;
        AUTO(mem_freep) char *default_socket = client_default_socket();

        printf("\nReeve %s is up. State: %s\n", REEVE_VERSION, u->begin.data);
        printf("API:  unix:%s\n", u->socket);
        tell_tcp(u);
        if (strcmp(u->socket, default_socket) != 0)
                printf("Look: export REEVE_ADDR=unix:%s\n      ", u->socket);
        else
                printf("Look: ");
        printf("reeve ps, reeve logs -f JOB, reeve stop JOB, reeve why TASK\n");
        printf("End:  %s`reeve down`, the tasks first; SIGTERM leaves them running\n\n",
                opt.detach ? "" : "Ctrl-C or ");
}

static int run(const char *const *operands, struct error *err)
{
        AUTO(up_done) struct up u = { 0 };
        const struct begin_watch watch = { .is_up = is_up, .tell = tell, .data = &u };

        (void) operands;
        if (prepare(&u, err) < 0)
                return -1;
        add_programs(&u);
        return begin_run(&u.begin, opt.detach, &watch, err);
}

const struct command command_up = {
        .name = "up",
        .operands = "",
        .summary = "start Reeve on this machine",
        .details = "Runs in the foreground. Ctrl-C stops all tasks in order and ends; so does "
                   "`reeve down`. SIGTERM ends\n"
                   "Reeve and leaves the tasks running: the next `reeve up` on the same directory "
                   "takes them over. SIGHUP\n"
                   "replaces keeper, server and agent by the programs that are installed now; "
                   "tasks run on.\n"
                   "\n"
                   "Jobs come from files given with --jobs, which are watched, and from `reeve "
                   "apply`, which are kept in the\n"
                   "state directory.",
        .options = options,
        .run = run,
};
