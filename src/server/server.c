/* SPDX-License-Identifier: BSD-3-Clause */
/* Server: the program. Start-up, the loop, the orderly end.
 *
 * It opens the store (DIR/store.db), loads the cluster from it, applies the job files, listens, and
 * from then on only reacts. All state that matters is in the store; killing the server at any
 * instant loses nothing that was answered, and the keeper starts it again. SIGTERM ends it in
 * order: it lets the store finish what was handed to it, then lets go of all and exits with 0;
 * tasks and agents are not touched. SIGINT is the keeper's affair (it asks the agent to stop the
 * tasks first), so it is ignored here.
 *
 * The parts know each other through struct server and are wired together here: the state's hooks go
 * to links and feeds. */
#include "server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "keeper/launch.h"
#include "server/api.h"
#include "server/auth.h"
#include "model/alert.h"
#include "server/alerts.h"
#include "server/dossiers.h"
#include "server/exec.h"
#include "server/feeds.h"
#include "server/gauges.h"
#include "server/identity.h"
#include "server/jobfiles.h"
#include "server/links.h"
#include "server/logs.h"
#include "server/tokens.h"
#include "server/witness.h"

#define EVENTS_SURPLUS     10000 /* then they are looked through before their time */
#define FORGET_EVERY       ((uint64_t) 10 * 60 * 1000)
#define DESCRIPTORS_WISHED 262144 /* three per witnessed task */
#define END_AFTER_MSEC     3000 /* SIGTERM: what the store has not taken by then it will not take */

struct program {
        struct server server;
        uv_signal_t term;
        uv_timer_t forget, end;
        uv_prepare_t watch; /* while ending: for the state to become idle */
        bool ending, ended;
};

/* ---- Wiring */

static void on_assign(void *data, const struct cluster_assign *assign)
{
        links_assign(((struct server *) data)->links, assign);
}

static void on_event(void *data, const struct event *event)
{
        struct server *server = data;

        feeds_event(server->feeds, event);
        alerts_event(server->alerts, event);
}

static void forget_events(struct server *server)
{
        state_forget_events(server->state, (uint64_t) server->options.keep_events,
                server->options.keep_events_for);
}

/* Thousands of tasks that crash all the time make more in ten minutes than shall be kept at all. */
static void forget_surplus(struct server *server)
{
        if (state_events_stored(server->state) >
                (uint64_t) server->options.keep_events + EVENTS_SURPLUS)
                forget_events(server);
}

static void on_published(void *data)
{
        struct server *server = data;

        links_flush(server->links);
        forget_surplus(server);
}

static void on_changed(void *data)
{
        struct server *server = data;

        feeds_changed(server->feeds);
        logs_changed(server->logs);
}

static void on_reset(void *data)
{
        struct server *server = data;

        links_reset(server->links);
        jobfiles_reset(server->jobfiles);
}

static void on_recovered(void *data)
{
        jobfiles_recovered(((struct server *) data)->jobfiles);
}

static void on_token_ended(void *data, const struct token_status *token)
{
        struct server *server = data;

        http_server_drop(server->http, token->id);
        links_revoke(server->links, token->id);
        exec_relays_token_ended(server->exec_relays, token->id);
}

static void on_forget(uv_timer_t *timer)
{
        forget_events(timer->data);
}

/* ---- The end */

static void close_handles(struct program *p)
{
        uv_close((uv_handle_t *) &p->term, NULL);
        uv_close((uv_handle_t *) &p->forget, NULL);
        uv_close((uv_handle_t *) &p->end, NULL);
        uv_close((uv_handle_t *) &p->watch, NULL);
}

static void end_now(struct program *p)
{
        struct server *s = &p->server;

        if (p->ended)
                return;
        p->ended = true;
        jobfiles_free(take_ptr(s->jobfiles));
        links_free(take_ptr(s->links));
        exec_relays_free(take_ptr(s->exec_relays));
        http_server_free(take_ptr(s->http));
        api_plans_end(s);
        api_snapshots_end(s);
        api_vitals_end(s);
        api_metrics_end(s);
        alerts_free(take_ptr(s->alerts));
        dossiers_free(take_ptr(s->dossiers));
        logs_free(take_ptr(s->logs));
        gauges_free(take_ptr(s->gauges));
        feeds_free(take_ptr(s->feeds));
        witness_free(take_ptr(s->witness));
        identity_free(take_ptr(s->identity));
        state_free(take_ptr(s->state));
        tokens_free(take_ptr(s->tokens));
        store_close(take_ptr(s->store), NULL, NULL);
        close_handles(p);
}

static void on_end_watch(uv_prepare_t *handle)
{
        struct program *p = handle->data;

        if (state_is_idle(p->server.state))
                end_now(p);
}

static void on_end_time(uv_timer_t *timer)
{
        end_now(timer->data);
}

static void on_term(uv_signal_t *handle, int number)
{
        struct program *p = handle->data;

        (void) number;
        if (p->ending)
                return;
        p->ending = true;
        log_info("ends");
        uv_prepare_start(&p->watch, on_end_watch);
        uv_timer_start(&p->end, on_end_time, END_AFTER_MSEC, 0);
}

/* ---- The start */

static int usage(const char *problem)
{
        if (problem != NULL)
                fprintf(stderr, "%s\n", problem);
        fputs("usage: reeve server --data DIR --socket PATH [--listen ADDR:PORT]\n"
              "                    [--jobs PATH]... [--node NAME] [--advertise HOST[:PORT]]\n"
              "                    [--tls-cert FILE --tls-key FILE] [--lost-after DURATION]\n"
              "                    [--keep-events N] [--keep-events-for DURATION]\n"
              "                    [--metrics-tasks N]\n",
                stderr);
        return error_code_exit(ERR_INVALID);
}

/* @ret->jobs has room for all arguments. */
static int parse_options(int argc, char **argv, struct server_options *ret)
{
        static const struct option options[] = {
                { "data", required_argument, NULL, 'd' },
                { "socket", required_argument, NULL, 's' },
                { "listen", required_argument, NULL, 'l' },
                { "jobs", required_argument, NULL, 'j' },
                { "node", required_argument, NULL, 'n' },
                { "advertise", required_argument, NULL, 'a' },
                { "tls-cert", required_argument, NULL, 'c' },
                { "tls-key", required_argument, NULL, 'k' },
                { "lost-after", required_argument, NULL, 'o' },
                { "alert-webhook", required_argument, NULL, 'W' },
                { "alert-mail", required_argument, NULL, 'M' },
                { "alert-command", required_argument, NULL, 'C' },
                { "alert-on", required_argument, NULL, 'O' },
                { "alert-repeat", required_argument, NULL, 'R' },
                { "sendmail", required_argument, NULL, 'S' },
                { "keep-events", required_argument, NULL, 'e' },
                { "keep-events-for", required_argument, NULL, 'E' },
                { "metrics-tasks", required_argument, NULL, 'm' },
                { 0 },
        };
        size_t jobs = 0;
        int c;

        optind = 1;
        while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
                switch (c) {
                case 'd':
                        ret->data = optarg;
                        break;
                case 's':
                        ret->socket = optarg;
                        break;
                case 'l':
                        ret->listen = optarg;
                        break;
                case 'j':
                        ret->jobs[jobs++] = optarg;
                        break;
                case 'n':
                        ret->node = optarg;
                        break;
                case 'a':
                        ret->advertise = optarg;
                        break;
                case 'c':
                        ret->tls_cert = optarg;
                        break;
                case 'k':
                        ret->tls_key = optarg;
                        break;
                case 'o':
                        if (!time_parse_span(optarg, &ret->lost_after))
                                return usage("--lost-after: expected a duration such as 2s");
                        break;
                case 'W':
                        ret->alerts.webhook = optarg;
                        break;
                case 'M':
                        ret->alerts.mail = optarg;
                        break;
                case 'C':
                        ret->alerts.command = optarg;
                        break;
                case 'O':
                        ret->alerts.on = optarg;
                        break;
                case 'R':
                        if (!time_parse_span(optarg, &ret->alerts.repeat))
                                return usage("--alert-repeat: expected a duration such as 1h");
                        break;
                case 'S':
                        ret->alerts.sendmail = optarg;
                        break;
                case 'e':
                        if (!text_parse_int(optarg, 1, SERVER_KEEP_EVENTS_MAX, &ret->keep_events))
                                return usage("--keep-events: expected a number from 1");
                        break;
                case 'E':
                        if (!time_parse_span(optarg, &ret->keep_events_for))
                                return usage("--keep-events-for: expected a duration such as 7d");
                        break;
                case 'm':
                        if (!text_parse_int(
                                    optarg, 0, SERVER_METRICS_TASKS_MAX, &ret->metrics_tasks))
                                return usage("--metrics-tasks: expected a number to 1000000");
                        break;
                default:
                        return usage(NULL);
                }
        }
        if (optind < argc || ret->data == NULL || ret->socket == NULL)
                return usage(
                        optind < argc ? "too many arguments" : "--data and --socket are needed");
        return 0;
}

/* TLS is on whenever others can reach us, or are told how. */
static bool wants_tls(const struct server_options *o, const struct address *address)
{
        return !address_is_loopback(address) || o->advertise != NULL || o->tls_cert != NULL;
}

static int secure(struct server *s, struct address *address, struct error *err)
{
        if (identity_new(s, address, &s->identity, err) < 0)
                return -1;
        address->tls = true;
        address->context = identity_context(s->identity);
        s->ca = identity_ca(s->identity);
        identity_fingerprint(s->identity, s->fingerprint, sizeof s->fingerprint - 1);
        return 0;
}

/* A port that is not given is the one that is listened on. */
static bool has_port(const char *text)
{
        const char *scheme = strstr(text, "://"), *bracket = strrchr(text, ']');

        return strchr(bracket != NULL ? bracket : scheme != NULL ? scheme + 3 : text, ':') != NULL;
}

static int set_url(struct server *s, const struct address *listen, struct error *err)
{
        struct address address = *listen;

        if (s->options.advertise != NULL) {
                if (address_parse(s->options.advertise, &address, err) < 0)
                        return error_wrap(err, "--advertise");
                if (!has_port(s->options.advertise))
                        address.port = listen->port;
        }
        address.tls = listen->tls;
        address_format(s->url, &address);
        return 0;
}

static int listen_tcp(struct server *s, struct error *err)
{
        struct address address;

        if (address_parse(s->options.listen, &address, err) < 0)
                return error_wrap(err, "--listen");
        if (address.is_unix)
                return error_set(
                        err, ERR_INVALID, "--listen: expected ADDR:PORT; sockets are for --socket");
        if (wants_tls(&s->options, &address) && secure(s, &address, err) < 0)
                return -1;
        if (http_server_listen(s->http, &address, 0, err) < 0)
                return error_wrap(err, "--listen %s", s->options.listen);
        address.port = http_server_port(s->http);
        address_format(s->listen_text, &address);
        return set_url(s, &address, err);
}

static int listen_unix(struct server *s, struct error *err)
{
        struct address address = { .is_unix = true };

        if (strlen(s->options.socket) >= sizeof address.path)
                return error_set(err, ERR_INVALID, "--socket %s: longer than %zu bytes",
                        s->options.socket, sizeof address.path - 1);
        snprintf(address.path, sizeof address.path, "%s", s->options.socket);
        return http_server_listen(s->http, &address, 0600, err);
}

static int open_state(struct server *s, struct error *err)
{
        AUTO(mem_freep) char *path = mem_printf("%s/store.db", s->options.data);
        struct state_hooks hooks = { .assign = on_assign,
                .event = on_event,
                .published = on_published,
                .changed = on_changed,
                .reset = on_reset,
                .recovered = on_recovered,
                .data = s,
                .lost_after = s->options.lost_after };

        if (store_open_sqlite(s->loop, path, &s->store, err) < 0)
                return -1;
        return state_new(s->loop, s->store, path, &hooks, &s->state, err);
}

static int start(struct server *s, struct error *err)
{
        struct http_server_options http = { .on_request = api_on_request, .data = s };

        if (open_state(s, err) < 0 || auth_new(s->options.data, &s->auth, err) < 0 ||
                tokens_new(s->loop, s->store, s->state, on_token_ended, s, &s->tokens, err) < 0)
                return -1;
        s->feeds = feeds_new(s);
        s->logs = logs_new(s);
        s->gauges = gauges_new(s);
        s->dossiers = dossiers_new(s);
        s->exec_relays = exec_relays_new(s);
        s->links = links_new(s);
        s->witness = witness_new(s);
        s->http = http_server_new(s->loop, &http);
        if (listen_unix(s, err) < 0 || (s->options.listen != NULL && listen_tcp(s, err) < 0))
                return -1;
        s->jobfiles = jobfiles_new(s);
        return alerts_new(s, &s->alerts, err);
}

static void program_init(struct program *p, uv_loop_t *loop)
{
        p->server.loop = loop;
        uv_signal_init(loop, &p->term);
        uv_timer_init(loop, &p->forget);
        uv_timer_init(loop, &p->end);
        uv_prepare_init(loop, &p->watch);
        p->forget.data = &p->server;
        p->term.data = p->end.data = p->watch.data = p;
        uv_signal_start(&p->term, on_term, SIGTERM);
        uv_timer_start(&p->forget, on_forget, FORGET_EVERY, FORGET_EVERY);
}

/* The channel to the keeper, of which we want nothing but to have it. */
static void keep_keeper_channel(void)
{
        const char *text = getenv(KEEPER_FD_VARIABLE);
        int64_t fd;

        if (text != NULL && text_parse_int(text, 3, 1 << 20, &fd))
                fcntl((int) fd, F_SETFD, FD_CLOEXEC);
}

/* Every link, client and witnessed task needs some. */
static void raise_descriptors(void)
{
        struct rlimit limit = { DESCRIPTORS_WISHED, DESCRIPTORS_WISHED }, own;

        if (getrlimit(RLIMIT_NOFILE, &own) < 0)
                return;
        keeper_launch_set_nofile(&own);
        if (own.rlim_max < DESCRIPTORS_WISHED && setrlimit(RLIMIT_NOFILE, &limit) == 0)
                return; /* as root beyond the hard limit */
        own.rlim_cur = own.rlim_max;
        setrlimit(RLIMIT_NOFILE, &own);
}

/* One server per state directory; a successor waits here until its predecessor has ended. The agent
 * finds our pid in it. The descriptor stays open, and with it the lock, as long as we live. */
static int take_lock(const struct server_options *options, struct error *err)
{
        int fd;

        if (file_mkdirs(options->data, 0700, err) < 0)
                return -1;
        fd = keeper_lock_take(options->data, "server.lock", 1);
        return fd < 0 ? error_sys(err, -fd, "lock %s/server.lock", options->data) : 0;
}

static int run(struct program *p)
{
        struct server *s = &p->server;
        uv_loop_t loop;
        struct error err;
        int status = 0;

        uv_loop_init(&loop);
        uv_loop_configure(&loop, UV_METRICS_IDLE_TIME);
        s->started_mono = time_mono();
        program_init(p, &loop);
        if (start(s, &err) < 0) {
                log_error("%s", err.message);
                status = error_code_exit(err.code);
                end_now(p);
        } else {
                log_info("listens on %s%s%s", s->options.socket,
                        s->listen_text[0] == '\0' ? "" : " and ", s->listen_text);
        }
        uv_run(&loop, UV_RUN_DEFAULT);
        uv_loop_close(&loop);
        auth_free(s->auth);
        return status;
}

int server_main(int argc, char **argv)
{
        struct program program = { 0 };
        AUTO(mem_freep) const char **jobs = mem_alloc(((size_t) argc + 1) * sizeof *jobs);
        struct error err;
        int status;

        program.server.options.jobs = jobs;
        program.server.options.lost_after = SERVER_LOST_AFTER;
        program.server.options.alerts.repeat = ALERT_REPEAT;
        program.server.options.alerts.sendmail = SERVER_SENDMAIL;
        program.server.options.keep_events = SERVER_KEEP_EVENTS;
        program.server.options.keep_events_for = SERVER_KEEP_EVENTS_FOR;
        program.server.options.metrics_tasks = SERVER_METRICS_TASKS;
        status = parse_options(argc, argv, &program.server.options);
        if (status != 0)
                return status;
        log_init("server");
        keep_keeper_channel();
        raise_descriptors();
        signal(SIGINT, SIG_IGN);
        signal(SIGPIPE, SIG_IGN);
        if (take_lock(&program.server.options, &err) < 0) {
                log_error("%s", err.message);
                return error_code_exit(err.code);
        }
        return run(&program);
}
