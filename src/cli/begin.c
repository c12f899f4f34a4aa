/* SPDX-License-Identifier: BSD-3-Clause */
/* begin: Reeve on this machine, by becoming its keeper.
 *
 * It checks what can be checked while a person looks, writes the keeper's arguments down (whoever
 * must start a new keeper later reads them), and executes reeve-keeper in its own place, which
 * starts the programs. A child stays behind for a moment to say how to look, as soon as they
 * answer.
 *
 * What an earlier Reeve left on the same directory is taken over by the agent. Only leftovers
 * without a keeper need care here: normally they start a new keeper themselves within milliseconds.
 */
#include "cli/begin.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/time.h"
#include "cli/client.h"
#include "keeper/launch.h"
#include "net/address.h"
#include "node/agent-options.h"
#include "node/agent.h"

#define ANSWER_WITHIN  (30 * USEC_SEC)
#define LEFTOVER_GRACE (5 * USEC_SEC)
#define POLL_USEC      20000

void begin_done(struct begin *b)
{
        for (size_t i = 0; i < b->arguments_len; i++)
                free(b->arguments[i]);
        free(b->arguments);
        free(b->data);
        free(b->reeve);
        free(b->keeper);
}

static void add(struct begin *b, const char *argument)
{
        b->arguments = mem_resize(b->arguments, b->arguments_len + 2, sizeof *b->arguments);
        b->arguments[b->arguments_len++] = mem_strdup(argument);
        b->arguments[b->arguments_len] = NULL;
}

void begin_add(struct begin *b, const char *option, const char *value)
{
        if (value == NULL)
                return;
        add(b, option);
        add(b, value);
}

void begin_add_program(struct begin *b, const char *name)
{
        const char *const arguments[] = { "--", b->reeve, name, "--data", b->data };

        for (size_t i = 0; i < ARRAY_SIZE(arguments); i++)
                add(b, arguments[i]);
}

int begin_check_keep(const struct begin_keep *keep, struct error *err)
{
        if (keep->events < 1 || keep->events > SERVER_KEEP_EVENTS_MAX)
                return error_set(err, ERR_INVALID, "--keep-events: expected 1 to %d",
                        SERVER_KEEP_EVENTS_MAX);
        if (keep->metrics_tasks > SERVER_METRICS_TASKS_MAX)
                return error_set(err, ERR_INVALID, "--metrics-tasks: expected at most %d",
                        SERVER_METRICS_TASKS_MAX);
        return 0;
}

void begin_add_keep(struct begin *b, const struct begin_keep *keep)
{
        AUTO(mem_freep) char *events = mem_printf("%" PRId64, keep->events);
        AUTO(mem_freep) char *tasks = mem_printf("%" PRId64, keep->metrics_tasks);
        char span[TIME_TEXT_MAX];

        begin_add(b, "--keep-events", events);
        begin_add(b, "--keep-events-for", time_format_exact(span, keep->events_for));
        begin_add(b, "--metrics-tasks", tasks);
}

struct agent_option {
        const char *option, *value; /* NULL: was not given */
};

#define AGENT_OPTIONS 4

static void list_agent(const struct begin_agent *agent, struct agent_option ret[AGENT_OPTIONS])
{
        ret[0] = (struct agent_option){ "--logs-max", agent->logs_max };
        ret[1] = (struct agent_option){ "--vitals-every", agent->vitals_every };
        ret[2] = (struct agent_option){ "--syslog-socket", agent->syslog_socket };
        ret[3] = (struct agent_option){ "--journal-socket", agent->journal_socket };
}

int begin_check_agent(const struct begin_agent *agent, struct error *err)
{
        struct agent_options scratch = { 0 };
        struct agent_option list[AGENT_OPTIONS];

        list_agent(agent, list);
        for (size_t i = 0; i < ARRAY_SIZE(list); i++)
                if (list[i].value != NULL &&
                        agent_take_option(
                                &scratch, list[i].option + strlen("--"), list[i].value, err) < 0)
                        return -1;
        return 0;
}

void begin_add_agent(struct begin *b, const struct begin_agent *agent)
{
        struct agent_option list[AGENT_OPTIONS];

        list_agent(agent, list);
        for (size_t i = 0; i < ARRAY_SIZE(list); i++)
                begin_add(b, list[i].option, list[i].value);
}

void begin_add_alerts(struct begin *b, const struct server_alerts *alerts)
{
        char span[TIME_TEXT_MAX];

        begin_add(b, "--alert-webhook", alerts->webhook);
        begin_add(b, "--alert-mail", alerts->mail);
        begin_add(b, "--alert-command", alerts->command);
        begin_add(b, "--alert-on", alerts->on);
        begin_add(b, "--alert-repeat", time_format_exact(span, alerts->repeat));
        begin_add(b, "--sendmail", alerts->sendmail);
}

/* ---- Finding */

char *begin_absolute(const char *path)
{
        char cwd[PATH_MAX];

        if (path[0] == '/' || getcwd(cwd, sizeof cwd) == NULL)
                return mem_strdup(path);
        return mem_printf("%s/%s", cwd, path);
}

/* The keeper is installed beside this program; where both were built, each is in the folder of its
 * sources. */
static int find_programs(struct begin *b, struct error *err)
{
        char self[PATH_MAX], built[PATH_MAX];
        ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
        AUTO(mem_freep) char *beside = NULL;
        AUTO(mem_freep) char *in_build = NULL;

        if (n < 0)
                return error_sys(err, errno, "find this program (is /proc mounted?)");
        self[n] = '\0';
        b->reeve = mem_strdup(self);
        *strrchr(self, '/') = '\0';
        beside = mem_printf("%s/reeve-keeper", self);
        in_build = mem_printf("%s/../keeper/reeve-keeper", self);
        if (access(beside, X_OK) == 0)
                b->keeper = take_ptr(beside);
        else if (access(in_build, X_OK) == 0 && realpath(in_build, built) != NULL)
                b->keeper = mem_strdup(built);
        else
                return error_set(
                        err, ERR_NOT_FOUND, "reeve-keeper belongs beside reeve: no %s", beside);
        return 0;
}

/* A host may be called what no node may be: with dots, say. */
char *begin_default_node(void)
{
        char host[TEXT_NAME_MAX + 1];

        if (gethostname(host, sizeof host) < 0 && errno != ENAMETOOLONG)
                return mem_strdup("node");
        host[TEXT_NAME_MAX] = '\0';
        host[strcspn(host, ".")] = '\0';
        return mem_strdup(text_is_name(host) ? host : "node");
}

static int make_parent(const char *path, struct error *err)
{
        AUTO(mem_freep) char *parent = mem_strdup(path);
        char *slash = strrchr(parent, '/');

        if (slash == NULL || slash == parent)
                return 0;
        *slash = '\0';
        return file_mkdirs(parent, 0755, err);
}

int begin_init(struct begin *b, const char *data, struct error *err)
{
        AUTO(mem_freep) char *default_data = client_default_data();
        struct stat st;

        b->data = begin_absolute(data != NULL ? data : default_data);
        if (find_programs(b, err) < 0)
                return -1;
        if (stat(b->data, &st) == 0 && !S_ISDIR(st.st_mode))
                return error_set(err, ERR_INVALID, "--data %s: not a directory", b->data);
        if (file_mkdirs(b->data, 0755, err) < 0)
                return -1;
        if (access(b->data, W_OK) < 0)
                return error_sys(err, errno, "--data %s", b->data);
        add(b, b->keeper);
        begin_add(b, "--dir", b->data);
        return 0;
}

int begin_socket(const char *path, char **ret, struct error *err)
{
        AUTO(mem_freep) char *fallback = client_default_socket();
        AUTO(mem_freep) char *socket = begin_absolute(path != NULL ? path : fallback);
        struct address address;

        if (strlen(socket) >= sizeof address.path)
                return error_set(err, ERR_INVALID,
                        "--socket %s: longer than the %zu bytes that a socket's name may have",
                        socket, sizeof address.path - 1);
        if (make_parent(socket, err) < 0)
                return -1;
        *ret = take_ptr(socket);
        return 0;
}

/* ---- Beginning */

/* An agent or a server without a keeper starts one by itself; what does not do so in time is asked
 * to make room. */
static void await_leftovers(const struct begin *b)
{
        AUTO(mem_freep) char *node = mem_printf("%s/node", b->data);
        usec_t deadline = time_mono() + LEFTOVER_GRACE;
        bool asked = false;

        while (keeper_lock_owner(b->data, "keeper.lock") == 0) {
                int64_t server = keeper_lock_owner(b->data, "server.lock");
                int64_t agent = access(node, F_OK) == 0 ? keeper_lock_owner(node, "lock") : 0;

                if (server == 0 && agent == 0)
                        return;
                if (time_mono() > deadline && !asked) {
                        asked = true;
                        if (server > 0)
                                kill((pid_t) server, SIGTERM);
                        if (agent > 0)
                                kill((pid_t) agent, SIGTERM);
                }
                if (time_mono() > deadline + LEFTOVER_GRACE)
                        return; /* the new ones wait for the locks, and say so */
                usleep(POLL_USEC);
        }
}

/* A child of ours is reaped when it has ended: as a zombie it would look alive for ever. */
static bool has_ended(pid_t pid)
{
        return waitpid(pid, NULL, WNOHANG) == pid || kill(pid, 0) < 0;
}

/* Waits until it is up, and says so. */
static int announce(const struct begin_watch *watch, pid_t keeper, struct error *err)
{
        usec_t deadline = time_mono() + ANSWER_WITHIN;

        while (time_mono() < deadline) {
                if (watch->is_up(watch->data)) {
                        watch->tell(watch->data);
                        fflush(stdout);
                        return 0;
                }
                if (has_ended(keeper))
                        return error_set(err, ERR_SYSTEM, "the keeper has ended");
                usleep(POLL_USEC);
        }
        return error_set(err, ERR_TIMEOUT, "it does not answer");
}

static int become_keeper(struct begin *b, struct error *err)
{
        execv(b->keeper, b->arguments);
        return error_sys(err, errno, "execute %s", b->keeper);
}

static int run_in_foreground(struct begin *b, const struct begin_watch *watch, struct error *err)
{
        pid_t keeper = getpid();

        /* twice, so that it is no child of the keeper */
        if (fork() == 0)
                _exit(fork() == 0 ? (announce(watch, keeper, err) < 0) : 0);
        wait(NULL);
        return become_keeper(b, err);
}

static int run_detached(struct begin *b, const struct begin_watch *watch, struct error *err)
{
        AUTO(mem_freep) char *log = mem_printf("%s/reeve.log", b->data);
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0640), null = open("/dev/null", O_RDONLY);
        pid_t pid;

        if (fd < 0 || null < 0)
                return error_sys(err, errno, "open %s", log);
        pid = fork();
        if (pid < 0)
                return error_sys(err, errno, "begin a process");
        if (pid == 0) {
                setsid();
                if (dup2(null, 0) < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
                        _exit(1);
                become_keeper(b, err);
                _exit(1);
        }
        close(fd);
        close(null);
        return announce(watch, pid, err) < 0 ? error_wrap(err, "see %s", log) : 0;
}

int begin_run(struct begin *b, bool detach, const struct begin_watch *watch, struct error *err)
{
        int64_t owner;
        int r;

        await_leftovers(b);
        owner = keeper_lock_owner(b->data, "keeper.lock");
        if (owner > 0)
                return error_set(err, ERR_CONFLICT,
                        "Reeve runs on %s already (keeper: process %lld); `reeve down` ends it",
                        b->data, (long long) owner);
        if (agent_call_off_down(b->data, err) < 0)
                return -1;
        r = keeper_save_arguments(b->data, b->arguments);
        if (r < 0)
                return error_sys(err, -r, "write %s/" KEEPER_ARGUMENTS_FILE, b->data);
        return detach ? run_detached(b, watch, err) : run_in_foreground(b, watch, err);
}
