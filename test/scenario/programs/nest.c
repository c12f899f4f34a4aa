/* SPDX-License-Identifier: BSD-3-Clause */
/* nest: the process under which one test's Reeve lives, so that nothing of it can escape.
 *
 * It is a sub-reaper: whatever is orphaned below it becomes its child, and it reaps all. Each line
 * on stdin starts a program in a session of its own: LOG, then the arguments, separated by the byte
 * 0x1f. It answers "began PID", and later "ended PID STATUS" (as of wait(2)) for each of these. At
 * the end of stdin, which also comes when the test dies, it kills everything below it until nothing
 * is left, and ends. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEPARATOR   "\x1f"
#define STARTED_MAX 1024

static pid_t started[STARTED_MAX];
static size_t started_len;
static sigset_t before;

static void die(const char *what)
{
        perror(what);
        _exit(1);
}

static void become(char *line)
{
        char *argv[256], *log = strtok(line, SEPARATOR);
        size_t n = 0;
        int fd;

        while (n < 255 && (argv[n] = strtok(NULL, SEPARATOR)) != NULL)
                n++;
        argv[n] = NULL;
        if (log == NULL || n == 0)
                _exit(126);
        fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
        if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
                die(log);
        close(fd);
        fd = open("/dev/null", O_RDONLY);
        if (fd < 0 || dup2(fd, 0) < 0)
                die("/dev/null");
        close(fd);
        setsid();
        sigprocmask(SIG_SETMASK, &before, NULL);
        execv(argv[0], argv);
        die(argv[0]);
}

static void start(char *line)
{
        pid_t pid = fork();

        if (pid < 0)
                die("fork");
        if (pid == 0)
                become(line);
        if (started_len == STARTED_MAX)
                die("too many");
        started[started_len++] = pid;
        printf("began %d\n", pid);
        fflush(stdout);
}

static void told(pid_t pid, int status)
{
        for (size_t i = 0; i < started_len; i++) {
                if (started[i] != pid)
                        continue;
                started[i] = started[--started_len];
                printf("ended %d %d\n", pid, status);
                fflush(stdout);
                return;
        }
}

/* Returns false when there are no children. */
static bool reap(int flags)
{
        pid_t pid;
        int status;

        while ((pid = waitpid(-1, &status, flags)) > 0)
                told(pid, status);
        return pid == 0 || errno != ECHILD;
}

/* Children of children come to us when these are gone, so the tree is eaten from its root. */
static void kill_all(void)
{
        char path[64], *word = NULL;
        size_t allocated = 0;

        snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
        while (reap(WNOHANG)) {
                FILE *f = fopen(path, "re");

                if (f == NULL)
                        die(path);
                while (getdelim(&word, &allocated, ' ', f) > 0)
                        if (atoi(word) > 1)
                                kill(atoi(word), SIGKILL);
                fclose(f);
                poll(NULL, 0, 1);
        }
        free(word);
}

/* Lines may come in pieces. */
static bool take_lines(void)
{
        static char input[65536];
        static size_t len;
        ssize_t n = read(0, input + len, sizeof input - 1 - len);
        char *end;

        if (n <= 0)
                return false;
        len += (size_t) n;
        input[len] = '\0';
        while ((end = strchr(input, '\n')) != NULL) {
                *end++ = '\0';
                start(input);
                len -= (size_t) (end - input);
                memmove(input, end, len + 1);
        }
        return true;
}

int main(void)
{
        struct pollfd fds[2] = { { .fd = 0, .events = POLLIN }, { .events = POLLIN } };
        struct signalfd_siginfo si;
        sigset_t set;

        if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
                die("prctl");
        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        sigprocmask(SIG_BLOCK, &set, &before);
        signal(SIGINT, SIG_IGN); /* of the terminal: the test ends us */
        fds[1].fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        for (;;) {
                if (poll(fds, 2, -1) < 0 && errno != EINTR)
                        die("poll");
                while (read(fds[1].fd, &si, sizeof si) > 0)
                        ;
                reap(WNOHANG);
                if (fds[0].revents != 0 && !take_lines())
                        break;
        }
        kill_all();
        return 0;
}
