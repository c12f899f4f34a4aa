/* SPDX-License-Identifier: BSD-3-Clause */
/* server: a cluster's server on this machine, under a keeper of its own and without an agent
 * (begin.c). Always over TLS: others are to reach it.
 *
 * Started by a keeper, the same name is the program itself (server/server.c), as it is beside an
 * agent in `reeve up`. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/begin.h"
#include "cli/client.h"
#include "cli/command.h"
#include "net/http-client.h"
#include "server/server.h"

#define LISTEN_DEFAULT "0.0.0.0:7433"
#define LOST_AFTER_MIN (200 * USEC_MSEC)

static struct {
        const char *data, *socket, *listen, *advertise, *tls_cert, *tls_key;
        struct option_list jobs;
        usec_t lost_after;
        struct begin_keep keep;
        struct server_alerts alerts;
        bool detach;
} opt = { .listen = LISTEN_DEFAULT,
        .lost_after = SERVER_LOST_AFTER,
        .keep = BEGIN_KEEP,
        .alerts = BEGIN_ALERTS };

static const struct option_row options[] = {
        { "data", 'd', OPTION_TEXT, &opt.data, "DIR",
                "state directory (/var/lib/reeve, or ~/.local/state/reeve)" },
        { "listen", 'l', OPTION_TEXT, &opt.listen, "ADDR:PORT",
                "where nodes and commands connect (" LISTEN_DEFAULT ")" },
        { "advertise", 'a', OPTION_TEXT, &opt.advertise, "HOST",
                "how others reach it, HOST or HOST:PORT; its certificate is for that name (the "
                "host's name)" },
        { "tls-cert", 0, OPTION_TEXT, &opt.tls_cert, "FILE",
                "its certificate, PEM, behind it those of its authorities, the one that nodes "
                "shall trust last (one of a CA of its own, in DIR/tls)" },
        { "tls-key", 0, OPTION_TEXT, &opt.tls_key, "FILE", "the key of that certificate" },
        { "lost-after", 0, OPTION_SPAN, &opt.lost_after, "TIME",
                "silence after which a node is lost (2s)" },
        { "jobs", 'j', OPTION_LIST, &opt.jobs, "PATH",
                "job file or directory of job files, watched; may be repeated" },
        { "socket", 's', OPTION_TEXT, &opt.socket, "PATH",
                "UNIX socket of the API (where the commands look without REEVE_ADDR)" },
        BEGIN_KEEP_ROWS(opt.keep),
        BEGIN_ALERT_ROWS(opt.alerts),
        { "detach", 'D', OPTION_FLAG, &opt.detach, NULL,
                "return as soon as it answers; ends with `reeve down`" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

struct start {
        struct begin begin;
        char *socket, *advertise, *tls_cert, *tls_key;
};

static void start_done(struct start *s)
{
        begin_done(&s->begin);
        free(s->socket);
        free(s->advertise);
        free(s->tls_cert);
        free(s->tls_key);
}

static int check_file(const char *option, const char *path, char **ret, struct error *err)
{
        if (path == NULL)
                return 0;
        if (access(path, R_OK) < 0)
                return error_sys(err, errno, "%s %s", option, path);
        *ret = begin_absolute(path);
        return 0;
}

static int find_address(struct start *s, struct error *err)
{
        struct address listen, advertise;
        char host[256] = "localhost";

        if (address_parse(opt.listen, &listen, err) < 0)
                return error_wrap(err, "--listen");
        if (listen.is_unix)
                return error_set(err, ERR_INVALID, "--listen: expected ADDR:PORT");
        if (opt.advertise != NULL && address_parse(opt.advertise, &advertise, err) < 0)
                return error_wrap(err, "--advertise");
        if (opt.advertise != NULL)
                s->advertise = mem_strdup(opt.advertise);
        else if (address_is_loopback(&listen))
                s->advertise =
                        mem_printf(strchr(listen.host, ':') != NULL ? "[%s]" : "%s", listen.host);
        else if (gethostname(host, sizeof host - 1) == 0)
                s->advertise = mem_strdup(host);
        return 0;
}

static int prepare(struct start *s, struct error *err)
{
        if ((opt.tls_cert == NULL) != (opt.tls_key == NULL))
                return error_set(err, ERR_INVALID, "--tls-cert and --tls-key belong together");
        if (opt.lost_after < LOST_AFTER_MIN || opt.lost_after > USEC_DAY)
                return error_set(err, ERR_INVALID, "--lost-after: expected 200ms to 1d");
        for (size_t i = 0; i < opt.jobs.len; i++)
                if (access(opt.jobs.items[i], R_OK) < 0)
                        return error_sys(err, errno, "--jobs %s", opt.jobs.items[i]);
        if (begin_check_keep(&opt.keep, err) < 0 || server_check_alerts(&opt.alerts, err) < 0 ||
                find_address(s, err) < 0 ||
                check_file("--tls-cert", opt.tls_cert, &s->tls_cert, err) < 0 ||
                check_file("--tls-key", opt.tls_key, &s->tls_key, err) < 0 ||
                begin_socket(opt.socket, &s->socket, err) < 0)
                return -1;
        return begin_init(&s->begin, opt.data, err);
}

static void add_program(struct start *s)
{
        struct begin *b = &s->begin;
        char lost_after[TIME_TEXT_MAX];

        begin_add_program(b, "server");
        begin_add(b, "--socket", s->socket);
        begin_add(b, "--listen", opt.listen);
        begin_add(b, "--advertise", s->advertise);
        begin_add(b, "--tls-cert", s->tls_cert);
        begin_add(b, "--tls-key", s->tls_key);
        begin_add(b, "--lost-after", time_format_exact(lost_after, opt.lost_after));
        begin_add_keep(b, &opt.keep);
        begin_add_alerts(b, &opt.alerts);
        for (size_t i = 0; i < opt.jobs.len; i++) {
                AUTO(mem_freep) char *path = begin_absolute(opt.jobs.items[i]);

                begin_add(b, "--jobs", path);
        }
}

/* What the server says of itself, or NULL if it does not answer. */
static json_t *ask(const struct start *s)
{
        AUTO(buffer_done) struct buffer body = { 0 };
        struct address address = { .is_unix = true };
        struct error err;
        int status;

        snprintf(address.path, sizeof address.path, "%s", s->socket);
        if (http_fetch(&address, "GET", "/v1/version", NULL, NULL, 0, USEC_SEC, &status, &body,
                    &err) < 0 ||
                status != 200)
                return NULL;
        return json_loadb(body.data, body.len, 0, NULL);
}

static bool is_up(void *data)
{
        AUTO(client_json_decref) json_t *version = ask(data);

        return version != NULL;
}

static void tell(void *data)
{
        const struct start *s = data;
        AUTO(client_json_decref) json_t *version = ask(s);
        AUTO(mem_freep) char *default_socket = client_default_socket();
        const char *url = json_string_value(json_object_get(version, "url"));
        const char *fingerprint = json_string_value(json_object_get(version, "fingerprint"));

        url = url == NULL ? "?" : url;
        printf("\nThe server (Reeve %s) is up. State: %s\n", REEVE_VERSION, s->begin.data);
        printf("Address:      %s\n", url);
        printf("Fingerprint:  %s\n", fingerprint == NULL ? "?" : fingerprint);
        if (strcmp(s->socket, default_socket) != 0)
                printf("Here:         export REEVE_ADDR=unix:%s\n", s->socket);
        printf("A node joins: reeve token create --join      (here)\n"
               "              reeve agent --server %s --join TOKEN\n",
                url);
        printf("A person:     reeve token create --role operate      (here)\n"
               "              reeve login %s\n",
                url);
        printf("End:          %s`reeve down`; tasks on the nodes run on\n\n",
                opt.detach ? "" : "Ctrl-C or ");
}

static int run(const char *const *operands, struct error *err)
{
        AUTO(start_done) struct start s = { 0 };
        const struct begin_watch watch = { .is_up = is_up, .tell = tell, .data = &s };

        (void) operands;
        if (prepare(&s, err) < 0)
                return -1;
        add_program(&s);
        return begin_run(&s.begin, opt.detach, &watch, err);
}

const struct command command_server = {
        .name = "server",
        .operands = "",
        .summary = "start the server of a cluster on this machine",
        .details = "Runs in the foreground, and runs no tasks itself: machines become its nodes "
                   "with `reeve agent --server URL --join TOKEN`. They and the commands reach it "
                   "over TLS, and know it by the fingerprint that it prints. Ending it leaves the "
                   "tasks on the nodes running.",
        .options = options,
        .run = run,
        .main = server_main,
};
