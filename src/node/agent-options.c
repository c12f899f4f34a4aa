/* SPDX-License-Identifier: BSD-3-Clause */
/* Options of the agent: read by the program, and by the command of the same name before it becomes
 * the keeper, so that a person sees the mistake. */
#include "node/agent-options.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "model/attributes.h"
#include "model/vitals.h"

#define CORES_MAX 65536.0

static int take_name(char **at, const char *option, const char *value, struct error *err)
{
        if (!text_is_name(value))
                return error_set(err, ERR_INVALID,
                        "--%s %s: a name is 1 to %d letters, digits, - and _, the first of them "
                        "a letter or digit",
                        option, value, TEXT_NAME_MAX);
        free(*at);
        *at = mem_strdup(value);
        return 0;
}

static int take_cpu(struct agent_options *o, const char *value, struct error *err)
{
        char *end;
        double cores = strtod(value, &end);

        if (end == value || *end != '\0' || !(cores >= 0.001 && cores <= CORES_MAX))
                return error_set(
                        err, ERR_INVALID, "--cpu %s: expected a number of cores, as 1.5", value);
        o->cpu = (uint32_t) lround(cores * 1000);
        return 0;
}

static int take_size(uint64_t *at, const char *option, const char *value, struct error *err)
{
        if (!text_parse_size(value, at) || *at == 0 || *at > INT64_MAX)
                return error_set(
                        err, ERR_INVALID, "--%s %s: expected a size, as 4GiB", option, value);
        return 0;
}

static int take_path(const char **at, const char *option, const char *value, struct error *err)
{
        if (value[0] != '/')
                return error_set(err, ERR_INVALID, "--%s %s: expected a path that begins with /",
                        option, value);
        *at = value;
        return 0;
}

static int take_attribute(struct agent_options *o, const char *pair, struct error *err)
{
        struct attributes scratch = { 0 };
        int r = attributes_set_pair(&scratch, pair, err);

        attributes_done(&scratch);
        if (r < 0)
                return error_wrap(err, "--attr %s", pair);
        o->attributes = mem_resize(o->attributes, o->attributes_len + 1, sizeof *o->attributes);
        o->attributes[o->attributes_len++] = mem_strdup(pair);
        return 0;
}

/* The server knows the range as the attribute `ports`. */
static int take_ports(struct agent_options *o, const char *value, struct error *err)
{
        const char *dash = strchr(value, '-');
        AUTO(mem_freep)
        char *first = mem_strndup(value, dash != NULL ? (size_t) (dash - value) : 0);
        AUTO(mem_freep) char *pair = mem_printf("ports=%s", value);
        int64_t from, to;

        if (dash == NULL || !text_parse_int(first, 1, UINT16_MAX, &from) ||
                !text_parse_int(dash + 1, from, UINT16_MAX, &to))
                return error_set(err, ERR_INVALID,
                        "--ports %s: expected the first and the last port, as 20000-31999", value);
        return take_attribute(o, pair, err);
}

static int take_every(struct agent_options *o, const char *value, struct error *err)
{
        if (!time_parse_span(value, &o->vitals_every) || o->vitals_every < VITALS_EVERY_MIN ||
                (o->vitals_every != USEC_NEVER && o->vitals_every > VITALS_KEPT_FOR))
                return error_set(
                        err, ERR_INVALID, "--vitals-every %s: expected 1s to 1h, or never", value);
        return 0;
}

int agent_take_option(
        struct agent_options *o, const char *name, const char *value, struct error *err)
{
        AUTO(mem_freep) char *address = NULL;

        if (strcmp(name, "node") == 0)
                return take_name(&o->node, name, value, err);
        if (strcmp(name, "zone") == 0)
                return take_name(&o->zone, name, value, err);
        if (strcmp(name, "attr") == 0)
                return take_attribute(o, value, err);
        if (strcmp(name, "cpu") == 0)
                return take_cpu(o, value, err);
        if (strcmp(name, "memory") == 0)
                return take_size(&o->memory, name, value, err);
        if (strcmp(name, "disk") == 0)
                return take_size(&o->disk, name, value, err);
        if (strcmp(name, "logs-max") == 0)
                return take_size(&o->logs_max, name, value, err);
        if (strcmp(name, "syslog-socket") == 0 || strcmp(name, "journal-socket") == 0)
                return take_path(
                        name[0] == 's' ? &o->syslog_socket : &o->journal_socket, name, value, err);
        if (strcmp(name, "ports") == 0)
                return take_ports(o, value, err);
        if (strcmp(name, "vitals-every") == 0)
                return take_every(o, value, err);
        if (strcmp(name, "server") == 0)
                return servers_add(&o->servers, value, err) < 0 ? error_wrap(err, "--server") : 0;
        if (strcmp(name, "socket") == 0) {
                address = mem_printf("unix:%s", value);
                return servers_add(&o->servers, address, err);
        }
        return error_set(err, ERR_INVALID, "unknown option --%s", name);
}

static const struct option options[] = {
        { "data", required_argument, NULL, 0 },
        { "node", required_argument, NULL, 0 },
        { "socket", required_argument, NULL, 0 },
        { "server", required_argument, NULL, 0 },
        { "zone", required_argument, NULL, 0 },
        { "attr", required_argument, NULL, 0 },
        { "cpu", required_argument, NULL, 0 },
        { "memory", required_argument, NULL, 0 },
        { "disk", required_argument, NULL, 0 },
        { "ports", required_argument, NULL, 0 },
        { "logs-max", required_argument, NULL, 0 },
        { "vitals-every", required_argument, NULL, 0 },
        { "syslog-socket", required_argument, NULL, 0 },
        { "journal-socket", required_argument, NULL, 0 },
        { NULL, 0, NULL, 0 },
};

static const char usage[] = "Usage (as a program of reeve-keeper, which it needs for a parent):\n"
                            "reeve agent --data DIR --socket PATH|--server ADDRESS[,ADDRESS...]\n"
                            "        [--node NAME] [--zone ZONE] [--attr NAME=VALUE]... [--cpu N]\n"
                            "        [--memory SIZE] [--disk SIZE] [--ports FIRST-LAST]\n"
                            "        [--logs-max SIZE] [--vitals-every TIME|never]\n"
                            "        [--syslog-socket PATH] [--journal-socket PATH]\n";

static int read_all(struct agent_options *o, int argc, char **argv, struct error *err)
{
        char host[TEXT_NAME_MAX + 1] = "";
        int c, i;

        while ((c = getopt_long(argc, argv, "", options, &i)) != -1) {
                if (c == '?')
                        return error_set(err, ERR_INVALID, "wrong option");
                if (i == 0)
                        o->data = optarg;
                else if (agent_take_option(o, options[i].name, optarg, err) < 0)
                        return -1;
        }
        if (o->data == NULL || o->servers.len == 0 || optind < argc)
                return error_set(err, ERR_INVALID, "something is missing, or too much");
        if (o->vitals_every == 0)
                o->vitals_every = VITALS_EVERY;
        if (o->node == NULL) {
                gethostname(host, sizeof host - 1);
                o->node = mem_strdup(host);
        }
        return 0;
}

int agent_read_options(struct agent_options *o, int argc, char **argv)
{
        struct error err = ERROR_INIT;

        if (argc > 1 && strcmp(argv[1], "--help") == 0) {
                fputs(usage, stdout);
                return 0;
        }
        if (read_all(o, argc, argv, &err) == 0)
                return -1;
        fprintf(stderr, "reeve agent: %s\n%s", err.message, usage);
        return error_code_exit(ERR_INVALID);
}

void agent_options_done(struct agent_options *o)
{
        for (size_t i = 0; i < o->attributes_len; i++)
                free(o->attributes[i]);
        free(o->attributes);
        free(o->node);
        free(o->zone);
        servers_done(&o->servers);
        *o = (struct agent_options){ 0 };
}
