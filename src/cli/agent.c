/* SPDX-License-Identifier: BSD-3-Clause */
/* agent: makes this machine a node of a cluster, and runs the agent under a keeper of its own
 * (begin.c).
 *
 * With a join token it asks the server for a credential first, while a person looks: the token
 * names the authority that the server's certificate has to be of, so the token goes to nobody else.
 * What comes back is kept in DIR/node/credential; from then on --join is not needed any more.
 *
 * Started by a keeper, the same name is the program itself (node/agent.c). */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "base/time.h"
#include "cli/begin.h"
#include "cli/client.h"
#include "cli/command.h"
#include "keeper/launch.h"
#include "net/http-client.h"
#include "net/tls.h"
#include "node/agent-options.h"
#include "node/agent.h"
#include "node/credential.h"

#define JOIN_WITHIN     (20 * USEC_SEC)
#define JOIN_TOKEN      "reeve-join-"
#define JOIN_SECRET_LEN 32 /* hexadecimal digits; the fingerprint follows behind a dash */

static struct {
        const char *data, *join, *name, *zone, *cpu, *memory, *disk, *ports;
        struct option_list servers, attributes;
        struct begin_agent agent;
        bool detach;
} opt;

static const struct option_row options[] = {
        { "server", 's', OPTION_LIST, &opt.servers, "URL",
                "the cluster's server, https://HOST:PORT; several: with commas, or repeated" },
        { "join", 'j', OPTION_TEXT, &opt.join, "TOKEN",
                "join token, needed once (`reeve token create --join` on the server)" },
        { "name", 'n', OPTION_TEXT, &opt.name, "NAME",
                "name of this node (the host name up to its first dot)" },
        { "data", 'd', OPTION_TEXT, &opt.data, "DIR",
                "state directory (/var/lib/reeve, or ~/.local/state/reeve)" },
        { "zone", 'z', OPTION_TEXT, &opt.zone, "ZONE", "the zone that it is in, for `place`" },
        { "attr", 'a', OPTION_LIST, &opt.attributes, "NAME=VALUE",
                "attribute for `place`; may be repeated" },
        { "cpu", 0, OPTION_TEXT, &opt.cpu, "CORES", "cores that tasks may have (as found)" },
        { "memory", 0, OPTION_TEXT, &opt.memory, "SIZE", "memory that they may have (as found)" },
        { "disk", 0, OPTION_TEXT, &opt.disk, "SIZE",
                "disk that they may have (what is free in DIR)" },
        { "ports", 0, OPTION_TEXT, &opt.ports, "FIRST-LAST",
                "ports that are handed out to tasks (20000-31999)" },
        BEGIN_AGENT_ROWS(opt.agent),
        { "detach", 'D', OPTION_FLAG, &opt.detach, NULL, "return as soon as the agent runs" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

struct start {
        struct begin begin;
        struct agent_options agent; /* what was given, checked */
        struct credential credential;
};

static void start_done(struct start *s)
{
        begin_done(&s->begin);
        agent_options_done(&s->agent);
        credential_done(&s->credential);
}

/* ---- what was given */

static const struct {
        const char *name;
        const char **value;
} texts[] = {
        { "node", &opt.name },
        { "zone", &opt.zone },
        { "cpu", &opt.cpu },
        { "memory", &opt.memory },
        { "disk", &opt.disk },
        { "ports", &opt.ports },
};

static int check_servers(const struct servers *servers, struct error *err)
{
        for (size_t i = 0; i < servers->len; i++) {
                char text[ADDRESS_TEXT_MAX];

                address_format(text, &servers->items[i]);
                if (servers->items[i].is_unix)
                        return error_set(err, ERR_INVALID,
                                "--server %s: beside a server, `reeve up` runs the agent", text);
                if (!servers->items[i].tls && !address_is_loopback(&servers->items[i]))
                        return error_set(err, ERR_INVALID,
                                "--server %s: only https:// leaves this machine", text);
        }
        return 0;
}

static int check_options(struct start *s, struct error *err)
{
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
                if (*texts[i].value != NULL &&
                        agent_take_option(&s->agent, texts[i].name, *texts[i].value, err) < 0)
                        return -1;
        if (begin_check_agent(&opt.agent, err) < 0)
                return -1;
        for (size_t i = 0; i < opt.attributes.len; i++)
                if (agent_take_option(&s->agent, "attr", opt.attributes.items[i], err) < 0)
                        return -1;
        for (size_t i = 0; i < opt.servers.len; i++)
                if (agent_take_option(&s->agent, "server", opt.servers.items[i], err) < 0)
                        return -1;
        return check_servers(&s->agent.servers, err);
}

/* ---- joining */

/* The fingerprint of the authority in a join token; NULL if it has none (no TLS). Borrowed. */
static int check_token(const char *token, const char **ret_fingerprint, struct error *err)
{
        const char *secret = token + strlen(JOIN_TOKEN);
        size_t len;

        if (strncmp(token, JOIN_TOKEN, strlen(JOIN_TOKEN)) != 0)
                return error_set(err, ERR_INVALID,
                        "--join: not a join token: they begin with " JOIN_TOKEN
                        " (`reeve token create --join`)");
        len = strspn(secret, "0123456789abcdef");
        if (len != JOIN_SECRET_LEN || (secret[len] != '\0' && secret[len] != '-'))
                return error_set(err, ERR_INVALID, "--join: the token is cut or mistyped");
        *ret_fingerprint = secret[len] == '-' ? secret + len + 1 : NULL;
        return 0;
}

static char *join_question(const struct start *s)
{
        char now[TIME_TEXT_MAX];
        json_t *question = json_pack("{s:s, s:s, s:s, s:i, s:i, s:s}", "token", opt.join, "name",
                s->credential.node, "version", REEVE_VERSION, "protocol", 2, "protocol_min", 1,
                "time", time_format_wall(now, time_wall()));
        char *text = json_dumps(question, JSON_COMPACT);

        json_decref(question);
        return text;
}

static int take_answer(struct start *s, const struct buffer *body, struct error *err)
{
        json_error_t why;
        AUTO(client_json_decref) json_t *answer = json_loads(buffer_str(body), 0, &why);
        const char *secret = json_string_value(json_object_get(answer, "credential"));
        const char *warning = json_string_value(json_object_get(answer, "warning"));

        if (secret == NULL)
                return error_set(err, ERR_UNAVAILABLE, "what answers there is no server of Reeve");
        s->credential.secret = mem_strdup(secret);
        s->credential.ca = mem_strdup(json_string_value(json_object_get(answer, "ca")));
        if (warning != NULL)
                fprintf(stderr, "reeve agent: warning: %s\n", warning);
        return 0;
}

static int ask_server(
        struct start *s, const struct address *address, const char *question, struct error *err)
{
        static const char *const headers[] = { "Content-Type", "application/json", NULL };
        AUTO(buffer_done) struct buffer body = { 0 };
        int status;

        if (http_fetch(address, "POST", "/v1/join", headers, question, strlen(question),
                    JOIN_WITHIN, &status, &body, err) < 0)
                return -1;
        if (status / 100 != 2)
                return client_problem(status, buffer_str(&body), body.len, err);
        return take_answer(s, &body, err);
}

/* The first server that answers decides. */
static int join(struct start *s, struct error *err)
{
        AUTO(tls_context_unrefp) struct tls_context *tls = NULL;
        AUTO(mem_freep) char *question = join_question(s);
        struct tls_trust trust = { 0 };

        if (check_token(opt.join, &trust.fingerprint, err) < 0)
                return -1;
        if (trust.fingerprint != NULL && tls_context_new_client(&trust, &tls, err) < 0)
                return error_wrap(err, "--join: the token is cut or mistyped");
        for (size_t i = 0; i < s->agent.servers.len; i++) {
                struct address address = s->agent.servers.items[i];
                char text[ADDRESS_TEXT_MAX];

                if (address.tls && tls == NULL)
                        return error_set(err, ERR_INVALID,
                                "--join: the token is of a server without TLS, or cut");
                address.context = tls;
                if (ask_server(s, &address, question, err) == 0)
                        return credential_write(s->begin.data, &s->credential, err);
                error_wrap(err, "join the cluster at %s", address_format(text, &address));
                if (err->code != ERR_UNAVAILABLE && err->code != ERR_TIMEOUT)
                        return -1;
        }
        return -1;
}

static int check_free(const struct start *s, struct error *err)
{
        int64_t owner = keeper_lock_owner(s->begin.data, "keeper.lock");

        if (owner <= 0)
                return 0;
        return error_set(err, ERR_CONFLICT,
                "Reeve runs on %s already (keeper: process %lld); SIGTERM ends it and leaves the "
                "tasks running",
                s->begin.data, (long long) owner);
}

static char *list_servers(const struct start *s)
{
        AUTO(buffer_done) struct buffer list = { 0 };

        for (size_t i = 0; i < s->agent.servers.len; i++) {
                char text[ADDRESS_TEXT_MAX];

                buffer_printf(&list, "%s%s", i > 0 ? "," : "",
                        address_format(text, &s->agent.servers.items[i]));
        }
        return buffer_take(&list);
}

static int become_node(struct start *s, struct error *err)
{
        if (s->agent.servers.len == 0)
                return error_set(err, ERR_INVALID, "--server is missing: where to join");
        s->credential.node =
                s->agent.node != NULL ? mem_strdup(s->agent.node) : begin_default_node();
        s->credential.servers = list_servers(s);
        return join(s, err);
}

/* It was a node before; other addresses than then replace those. */
static int be_node_again(struct start *s, struct error *err)
{
        if (credential_read(s->begin.data, &s->credential, err) < 0)
                return err->code != ERR_NOT_FOUND
                               ? -1
                               : error_set(err, ERR_INVALID,
                                         "%s is no node of a cluster yet: --server URL --join "
                                         "TOKEN (`reeve token create --join` on the server)",
                                         s->begin.data);
        if (s->agent.node != NULL && strcmp(s->agent.node, s->credential.node) != 0)
                return error_set(err, ERR_CONFLICT,
                        "--name %s: %s is node %s; another name needs --join", s->agent.node,
                        s->begin.data, s->credential.node);
        if (s->agent.servers.len == 0)
                return 0;
        free(s->credential.servers);
        s->credential.servers = list_servers(s);
        return credential_write(s->begin.data, &s->credential, err);
}

/* ---- beginning */

static void add_program(struct start *s)
{
        struct begin *b = &s->begin;

        begin_add_program(b, "agent");
        begin_add(b, "--server", s->credential.servers);
        begin_add(b, "--node", s->credential.node);
        begin_add(b, "--zone", opt.zone);
        for (size_t i = 0; i < opt.attributes.len; i++)
                begin_add(b, "--attr", opt.attributes.items[i]);
        begin_add(b, "--cpu", opt.cpu);
        begin_add(b, "--memory", opt.memory);
        begin_add(b, "--disk", opt.disk);
        begin_add(b, "--ports", opt.ports);
        begin_add_agent(b, &opt.agent);
}

static bool is_up(void *data)
{
        const struct start *s = data;
        AUTO(mem_freep) char *node = mem_printf("%s/node", s->begin.data);

        return keeper_lock_owner(node, "lock") > 0;
}

static void tell(void *data)
{
        const struct start *s = data;

        printf("\nNode %s (Reeve %s) is up. State: %s\n", s->credential.node, REEVE_VERSION,
                s->begin.data);
        printf("Server: %s\n", s->credential.servers);
        printf("End:    SIGTERM to its keeper; its tasks run on, and the next start takes them "
               "over\n\n");
}

static int run(const char *const *operands, struct error *err)
{
        AUTO(start_done) struct start s = { 0 };
        const struct begin_watch watch = { .is_up = is_up, .tell = tell, .data = &s };

        (void) operands;
        if (check_options(&s, err) < 0 || begin_init(&s.begin, opt.data, err) < 0 ||
                check_free(&s, err) < 0)
                return -1;
        if ((opt.join != NULL ? become_node(&s, err) : be_node_again(&s, err)) < 0)
                return -1;
        add_program(&s);
        return begin_run(&s.begin, opt.detach, &watch, err);
}

const struct command command_agent = {
        .name = "agent",
        .operands = "",
        .summary = "make this machine a node of a cluster, and run its agent",
        .details = "Runs in the foreground, opens one connection to the server and listens on "
                   "nothing. The join token is\n"
                   "needed once: the node then has a credential of its own in DIR/node, and "
                   "`reeve agent --data DIR` is\n"
                   "enough. While the server is away the tasks go on, restarts included. SIGTERM "
                   "ends Reeve and leaves\n"
                   "the tasks running: the next start on the same directory takes them over.",
        .options = options,
        .run = run,
        .main = agent_main,
};
