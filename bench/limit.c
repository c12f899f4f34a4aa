/* SPDX-License-Identifier: BSD-3-Clause */
/* The limit: a supervisor that does the system calls and nothing else.
 *
 *   bench-limit keep COUNT COMMAND [ARGUMENT...]
 *           starts COUNT processes, starts each again when it ends. USR1: ends them all with TERM
 *           and reaps them. TERM: the same, then exits.
 *   bench-limit log DIRECTORY PIPE_BYTES FILE_BYTES COMMAND [ARGUMENT...]
 *           writes what COMMAND prints to DIRECTORY/stdout, read from a pipe of PIPE_BYTES; a file
 *           that has FILE_BYTES is renamed to stdout.1, stdout.2 ... at the end of a line. TERM:
 *           ends COMMAND and exits.
 *
 * It keeps no state on disk, survives nothing and reports nothing: what the kernel charges for the
 * work itself, against which the supervisors are measured. Processes are started by clone() with
 * CLONE_VM and CLONE_VFORK, the cheapest way there is. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { READ_BYTES = 1 << 16 };

static char child_stack[16384] __attribute__((aligned(16)));
static sigset_t handled; /* TERM, USR1 and CHLD: blocked, taken one by one */

static void die(const char *what)
{
        perror(what);
        exit(1);
}

struct start {
        char **command;
        int output; /* becomes stdout; -1 leaves it */
};

static int child(void *data)
{
        const struct start *start = data;

        if (start->output >= 0)
                dup2(start->output, STDOUT_FILENO);
        sigprocmask(SIG_UNBLOCK, &handled, NULL);
        execv(start->command[0], start->command);
        _exit(127);
}

static pid_t spawn(char **command, int output)
{
        struct start start = { .command = command, .output = output };
        pid_t pid = clone(
                child, child_stack + sizeof child_stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &start);

        if (pid < 0)
                die("clone");
        return pid;
}

static void block_signals(void)
{
        sigemptyset(&handled);
        sigaddset(&handled, SIGTERM);
        sigaddset(&handled, SIGUSR1);
        sigaddset(&handled, SIGCHLD);
        sigprocmask(SIG_BLOCK, &handled, NULL);
}

/* --- keep ---------------------------------------------------------------------------------- */

struct keep {
        pid_t *pids; /* 0: ended for good */
        size_t count, alive;
        char **command;
        bool stopping;
};

static void keep_reap(struct keep *k)
{
        pid_t pid;

        while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
                size_t i = 0;

                while (i < k->count && k->pids[i] != pid)
                        i++;
                if (i == k->count)
                        continue;
                k->pids[i] = k->stopping ? 0 : spawn(k->command, -1);
                if (k->stopping)
                        k->alive--;
        }
}

static void keep_stop(struct keep *k)
{
        k->stopping = true;
        for (size_t i = 0; i < k->count; i++)
                if (k->pids[i] != 0)
                        kill(k->pids[i], SIGTERM);
}

static int keep(size_t count, char **command)
{
        struct keep k = { .count = count, .alive = count, .command = command };
        bool leaving = false;

        k.pids = calloc(count + 1, sizeof *k.pids);
        if (k.pids == NULL)
                die("calloc");
        for (size_t i = 0; i < count; i++)
                k.pids[i] = spawn(command, -1);
        while (!leaving || k.alive > 0) {
                int signal_number = sigwaitinfo(&handled, NULL);

                if (signal_number == SIGCHLD)
                        keep_reap(&k);
                else if (signal_number == SIGTERM || signal_number == SIGUSR1)
                        keep_stop(&k);
                leaving = leaving || signal_number == SIGTERM;
        }
        free(k.pids);
        return 0;
}

/* --- log ----------------------------------------------------------------------------------- */

struct log {
        int fd;
        size_t size, limit;
        unsigned files;
};

static void log_open(struct log *l)
{
        l->fd = open("stdout", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (l->fd < 0)
                die("open");
        l->size = 0;
}

static void log_rotate(struct log *l)
{
        char name[32];

        snprintf(name, sizeof name, "stdout.%u", ++l->files);
        close(l->fd);
        if (rename("stdout", name) < 0)
                die("rename");
        log_open(l);
}

static void log_append(struct log *l, const char *data, size_t len)
{
        while (len > 0) {
                ssize_t n = write(l->fd, data, len);

                if (n < 0)
                        die("write");
                data += n;
                len -= (size_t) n;
                l->size += (size_t) n;
        }
}

/* A file that is full ends with the last whole line of this block. */
static void log_put(struct log *l, const char *data, size_t len)
{
        const char *end = l->size + len < l->limit ? NULL : memrchr(data, '\n', len);
        size_t first = end == NULL ? len : (size_t) (end + 1 - data);

        log_append(l, data, first);
        if (end != NULL)
                log_rotate(l);
        log_append(l, data + first, len - first);
}

static void on_term(int number)
{
        (void) number; /* read() returns with EINTR */
}

static void log_run(struct log *l, int input, size_t block)
{
        char *data = malloc(block);
        ssize_t n;

        if (data == NULL)
                die("malloc");
        while ((n = read(input, data, block)) > 0)
                log_put(l, data, (size_t) n);
        free(data);
}

static int capture(const char *directory, int pipe_bytes, size_t file_bytes, char **command)
{
        struct sigaction action = { .sa_handler = on_term };
        struct log l = { .limit = file_bytes };
        int ends[2];
        pid_t pid;

        if (chdir(directory) < 0 || pipe2(ends, O_CLOEXEC) < 0 ||
                fcntl(ends[1], F_SETPIPE_SZ, pipe_bytes) < 0)
                die(directory);
        log_open(&l);
        sigaction(SIGTERM, &action, NULL);
        pid = spawn(command, ends[1]);
        close(ends[1]);
        sigprocmask(SIG_UNBLOCK, &handled, NULL);
        log_run(&l, ends[0], (size_t) (pipe_bytes > READ_BYTES ? pipe_bytes : READ_BYTES));
        kill(pid, SIGTERM);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                continue;
        return 0;
}

int main(int argc, char **argv)
{
        block_signals();
        if (argc > 3 && strcmp(argv[1], "keep") == 0)
                return keep(strtoul(argv[2], NULL, 10), argv + 3);
        if (argc > 5 && strcmp(argv[1], "log") == 0)
                return capture(argv[2], atoi(argv[3]), strtoul(argv[4], NULL, 10), argv + 5);
        fputs("usage: bench-limit keep COUNT COMMAND... | log DIRECTORY PIPE_BYTES FILE_BYTES "
              "COMMAND...\n",
                stderr);
        return 2;
}
