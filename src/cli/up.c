/* SPDX-License-Identifier: BSD-3-Clause */
/* up: begins Reeve on this machine, by becoming its keeper.
 *
 * It checks what can be checked while a person looks, writes the keeper's arguments down (whoever
 * must start a new keeper later reads them), and executes reeve-keeper in its own place, which
 * starts server and agent. A child stays behind for a moment to say how to look, as soon as the
 * server answers.
 *
 * What an earlier Reeve left on the same directory is taken over by the agent. Only leftovers
 * without a keeper need care here: normally they start a new keeper themselves within milliseconds.
 */
#include <errno.h>
#include <fcntl.h>
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
#include "cli/command.h"
#include "keeper/launch.h"
#include "net/http-client.h"
#include "node/agent.h"

#define ANSWER_WITHIN  (30 * USEC_SEC)
#define LEFTOVER_GRACE (5 * USEC_SEC)
#define POLL_USEC      20000

static struct {
        const char *data, *socket, *listen, *node;
        struct option_list jobs;
        bool detach;
} opt;

static const struct option_row options[] = {
        { "data", 'd', OPTION_TEXT, &opt.data, "DIR",
                "state directory (/var/lib/reeve, or ~/.local/state/reeve)" },
        { "socket", 's', OPTION_TEXT, &opt.socket, "PATH",
                "UNIX socket of the API (where the commands look without REEVE_ADDR)" },
        { "listen", 'l', OPTION_TEXT, &opt.listen, "ADDR:PORT",
                "serve the API here too; only addresses of this machine" },
        { "jobs", 'j', OPTION_LIST, &opt.jobs, "PATH",
                "job file or directory of job files, watched; may be repeated" },
        { "node", 'n', OPTION_TEXT, &opt.node, "NAME",
                "name of this node (the host name up to its first dot)" },
        { "detach", 'D', OPTION_FLAG, &opt.detach, NULL,
                "return as soon as it answers; ends with `reeve down`" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

struct plan { /* everything, made absolute */
        char *data, *socket, *node;
        char *reeve, *keeper; /* programs */
        char **arguments;     /* ended by NULL */
        size_t arguments_len;
};

static void plan_done(struct plan *p)
{
        for (size_t i = 0; i < p->arguments_len; i++)
                free(p->arguments[i]);
        free(p->arguments);
        free(p->data);
        free(p->socket);
        free(p->node);
        free(p->reeve);
        free(p->keeper);
}

static void add(struct plan *p, const char *argument)
{
        p->arguments = mem_resize(p->arguments, p->arguments_len + 2, sizeof *p->arguments);
        p->arguments[p->arguments_len++] = mem_strdup(argument);
        p->arguments[p->arguments_len] = NULL;
}

static char *absolute(const char *path)
{
        char cwd[PATH_MAX];

        if (path[0] == '/' || getcwd(cwd, sizeof cwd) == NULL)
                return mem_strdup(path);
        return mem_printf("%s/%s", cwd, path);
}

/* The keeper is installed beside this program; where both were built, each is in the folder of its
 * sources. */
static int find_programs(struct plan *p, struct error *err)
{
        char self[PATH_MAX], built[PATH_MAX];
        ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
        AUTO(mem_freep) char *beside = NULL;
        AUTO(mem_freep) char *in_build = NULL;

        if (n < 0)
                return error_sys(err, errno, "find this program (is /proc mounted?)");
        self[n] = '\0';
        p->reeve = mem_strdup(self);
        *strrchr(self, '/') = '\0';
        beside = mem_printf("%s/reeve-keeper", self);
        in_build = mem_printf("%s/../keeper/reeve-keeper", self);
        if (access(beside, X_OK) == 0)
                p->keeper = take_ptr(beside);
        else if (access(in_build, X_OK) == 0 && realpath(in_build, built) != NULL)
                p->keeper = mem_strdup(built);
        else
                return error_set(
                        err, ERR_NOT_FOUND, "reeve-keeper belongs beside reeve: no %s", beside);
        return 0;
}

/* A host may be called what no node may be: with dots, say. */
static char *default_node(void)
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

static int check_jobs(struct error *err)
{
        for (size_t i = 0; i < opt.jobs.len; i++)
                if (access(opt.jobs.items[i], R_OK) < 0)
                        return error_sys(err, errno, "--jobs %s", opt.jobs.items[i]);
        return 0;
}

static int make_plan(struct plan *p, struct error *err)
{
        AUTO(mem_freep) char *default_data = client_default_data();
        AUTO(mem_freep) char *default_socket = client_default_socket();
        struct address address;
        struct stat st;

        p->data = absolute(opt.data != NULL ? opt.data : default_data);
        p->socket = absolute(opt.socket != NULL ? opt.socket : default_socket);
        p->node = opt.node != NULL ? mem_strdup(opt.node) : default_node();
        if (!text_is_name(p->node))
                return error_set(err, ERR_INVALID,
                        "--node %s: a name is 1 to %d letters, digits, - and _, the first of them "
                        "a letter or digit",
                        p->node, TEXT_NAME_MAX);
        if (strlen(p->socket) >= sizeof address.path)
                return error_set(err, ERR_INVALID,
                        "--socket %s: longer than the %zu bytes that a socket's name may have",
                        p->socket, sizeof address.path - 1);
        if (opt.listen != NULL) {
                if (address_parse(opt.listen, &address, err) < 0)
                        return error_wrap(err, "--listen");
                if (!address_is_loopback(&address))
                        return error_set(err, ERR_INVALID,
                                "--listen %s: only an address of this machine (127.0.0.1, ::1, "
                                "localhost): "
                                "there is no TLS in this version",
                                opt.listen);
        }
        if (find_programs(p, err) < 0 || check_jobs(err) < 0 || make_parent(p->socket, err) < 0)
                return -1;
        if (stat(p->data, &st) == 0 && !S_ISDIR(st.st_mode))
                return error_set(err, ERR_INVALID, "--data %s: not a directory", p->data);
        if (file_mkdirs(p->data, 0755, err) < 0)
                return -1;
        return access(p->data, W_OK) < 0 ? error_sys(err, errno, "--data %s", p->data) : 0;
}

/* A program for the keeper to start; options of its own may follow. */
static void add_program(struct plan *p, const char *name)
{
        const char *const arguments[] = { "--", p->reeve, name, "--data", p->data, "--socket",
                p->socket, "--node", p->node };

        for (size_t i = 0; i < ARRAY_SIZE(arguments); i++)
                add(p, arguments[i]);
}

static void plan_arguments(struct plan *p)
{
        add(p, p->keeper);
        add(p, "--dir");
        add(p, p->data);
        add_program(p, "server");
        if (opt.listen != NULL) {
                add(p, "--listen");
                add(p, opt.listen);
        }
        for (size_t i = 0; i < opt.jobs.len; i++) {
                AUTO(mem_freep) char *path = absolute(opt.jobs.items[i]);

                add(p, "--jobs");
                add(p, path);
        }
        add_program(p, "agent");
}

/* An agent or a server without a keeper starts one by itself; what does not do so in time is asked
 * to make room. */
static void await_leftovers(const struct plan *p)
{
        AUTO(mem_freep) char *node = mem_printf("%s/node", p->data);
        usec_t deadline = time_mono() + LEFTOVER_GRACE;
        bool asked = false;

        while (keeper_lock_owner(p->data, "keeper.lock") == 0) {
                int64_t server = keeper_lock_owner(p->data, "server.lock");
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

static bool server_answers(const struct address *address)
{
        AUTO(buffer_done) struct buffer body = { 0 };
        struct error err = ERROR_INIT;
        int status;

        return http_fetch(address, "GET", "/v1/nodes", NULL, NULL, 0, USEC_SEC, &status, &body,
                       &err) == 0 &&
               status == 200 && strstr(buffer_str(&body), "\"ready\"") != NULL;
}

static void print_banner(const struct plan *p)
{
        AUTO(mem_freep) char *token_path = mem_printf("%s/token", p->data);
        AUTO(mem_freep) char *default_socket = client_default_socket();
        AUTO(buffer_done) struct buffer token = { 0 };

        printf("\nReeve %s is up. State: %s\n", REEVE_VERSION, p->data);
        printf("API:  unix:%s\n", p->socket);
        if (opt.listen != NULL && !isatty(STDOUT_FILENO)) /* a log is no place for the token */
                printf("      http://%s (its token: %s)\n", opt.listen, token_path);
        else if (opt.listen != NULL && file_read(token_path, 4096, &token, NULL) == 0)
                printf("      http://%s/v1/jobs?token=%.*s\n", opt.listen,
                        (int) strcspn(buffer_str(&token), "\n"), buffer_str(&token));
        if (strcmp(p->socket, default_socket) != 0)
                printf("Look: export REEVE_ADDR=unix:%s\n      ", p->socket);
        else
                printf("Look: ");
        printf("reeve ps, reeve logs -f JOB, reeve stop JOB, reeve why TASK\n");
        printf("End:  %s`reeve down`, the tasks first; SIGTERM leaves them running\n\n",
                opt.detach ? "" : "Ctrl-C or ");
        fflush(stdout);
}

/* A child of ours is reaped when it has ended: as a zombie it would look alive for ever. */
static bool has_ended(pid_t pid)
{
        return waitpid(pid, NULL, WNOHANG) == pid || kill(pid, 0) < 0;
}

/* Waits until the server answers and a node is ready, and says so. */
static int announce(const struct plan *p, pid_t keeper, struct error *err)
{
        usec_t deadline = time_mono() + ANSWER_WITHIN;
        struct address address = { .is_unix = true };

        snprintf(address.path, sizeof address.path, "%s", p->socket);
        while (time_mono() < deadline) {
                if (server_answers(&address)) {
                        print_banner(p);
                        return 0;
                }
                if (has_ended(keeper))
                        return error_set(err, ERR_SYSTEM, "the keeper has ended");
                usleep(POLL_USEC);
        }
        return error_set(err, ERR_TIMEOUT, "it does not answer");
}

static int become_keeper(struct plan *p, struct error *err)
{
        execv(p->keeper, p->arguments);
        return error_sys(err, errno, "execute %s", p->keeper);
}

static int run_in_foreground(struct plan *p, struct error *err)
{
        pid_t keeper = getpid();

        /* twice, so that it is no child of the keeper */
        if (fork() == 0)
                _exit(fork() == 0 ? (announce(p, keeper, err) < 0) : 0);
        wait(NULL);
        return become_keeper(p, err);
}

static int run_detached(struct plan *p, struct error *err)
{
        AUTO(mem_freep) char *log = mem_printf("%s/reeve.log", p->data);
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
                become_keeper(p, err);
                _exit(1);
        }
        close(fd);
        close(null);
        return announce(p, pid, err) < 0 ? error_wrap(err, "see %s", log) : 0;
}

static int run(const char *const *operands, struct error *err)
{
        AUTO(plan_done) struct plan p = { 0 };
        int64_t owner;
        int r;

        (void) operands;
        if (make_plan(&p, err) < 0)
                return -1;
        await_leftovers(&p);
        owner = keeper_lock_owner(p.data, "keeper.lock");
        if (owner > 0)
                return error_set(err, ERR_CONFLICT,
                        "Reeve runs on %s already (keeper: process %lld); `reeve down` ends it",
                        p.data, (long long) owner);
        if (agent_call_off_down(p.data, err) < 0)
                return -1;
        plan_arguments(&p);
        r = keeper_save_arguments(p.data, p.arguments);
        if (r < 0)
                return error_sys(err, -r, "write %s/" KEEPER_ARGUMENTS_FILE, p.data);
        return opt.detach ? run_detached(&p, err) : run_in_foreground(&p, err);
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
