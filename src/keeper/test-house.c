/* SPDX-License-Identifier: BSD-3-Clause */

/* The fixture of the keeper's tests; see test-house.h. Everything that waits
 * has a deadline after which the test fails; nothing sleeps for a guess. */
#include "keeper/test-house.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

uint64_t now_ms(void)
{
        struct timespec ts;
        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * 1000 + (uint64_t) ts.tv_nsec / 1000000;
}

static void pause_ms(long ms)
{
        nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

/* ---- processes ---- */

char process_state(pid_t pid, pid_t *ret_parent, uint64_t *ret_start_ticks)
{
        char path[64], text[1024];
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return 0;
        ssize_t length = read(fd, text, sizeof text - 1);
        close(fd);
        if (length <= 0)
                return 0;
        text[length] = '\0';
        char state;
        int parent;
        unsigned long long start;
        const char *rest = strrchr(text, ')');
        assert_non_null(rest);
        assert_int_equal(sscanf(rest,
                                 ") %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d "
                                 "%*d %*d %*d %llu",
                                 &state, &parent, &start),
                3);
        if (ret_parent != NULL)
                *ret_parent = parent;
        if (ret_start_ticks != NULL)
                *ret_start_ticks = start;
        return state;
}

void process_expect_state(pid_t pid, char state)
{
        uint64_t deadline = now_ms() + DEADLINE_MS;
        while (process_state(pid, NULL, NULL) != state) {
                assert_true(now_ms() < deadline);
                pause_ms(1);
        }
}

unsigned process_count_zombies(pid_t parent)
{
        unsigned count = 0;
        DIR *proc = opendir("/proc");
        assert_non_null(proc);
        for (struct dirent *e; (e = readdir(proc)) != NULL;) {
                pid_t pid = (pid_t) strtol(e->d_name, NULL, 10), p = 0;
                if (pid > 0 && process_state(pid, &p, NULL) == 'Z' && p == parent)
                        count++;
        }
        closedir(proc);
        return count;
}

uint64_t process_switches(pid_t pid)
{
        char path[64], line[256];
        uint64_t sum = 0;
        snprintf(path, sizeof path, "/proc/%d/status", pid);
        FILE *f = fopen(path, "re");
        assert_non_null(f);
        while (fgets(line, sizeof line, f) != NULL) {
                unsigned long long n;
                if (sscanf(line, "voluntary_ctxt_switches: %llu", &n) == 1 ||
                        sscanf(line, "nonvoluntary_ctxt_switches: %llu", &n) == 1)
                        sum += n;
        }
        fclose(f);
        return sum;
}

/* ---- the house ---- */

static void door_address(const char *dir, const char *name, struct sockaddr_un *ret)
{
        *ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
        snprintf(ret->sun_path, sizeof ret->sun_path, "%s/%s", dir, name);
}

static int door_open(const struct house *h, const char *name)
{
        struct sockaddr_un address;
        door_address(h->dir, name, &address);
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        assert_true(fd >= 0);
        assert_int_equal(bind(fd, (struct sockaddr *) &address, sizeof address), 0);
        assert_int_equal(listen(fd, 16), 0);
        return fd;
}

void house_open(struct house *h)
{
        *h = (struct house){ .dir = "/tmp/test-keeper-XXXXXX" };
        assert_non_null(mkdtemp(h->dir));
        h->agent_door = door_open(h, "agent");
        h->server_door = door_open(h, "server");
}

static void remove_file(const struct house *h, const char *name)
{
        char path[128];
        snprintf(path, sizeof path, "%s/%s", h->dir, name);
        unlink(path);
}

static void kill_children(void)
{
        DIR *proc = opendir("/proc");
        assert_non_null(proc);
        for (struct dirent *e; (e = readdir(proc)) != NULL;) {
                pid_t pid = (pid_t) strtol(e->d_name, NULL, 10), parent = 0;
                if (pid > 0 && process_state(pid, &parent, NULL) != 0 && parent == getpid())
                        kill(pid, SIGKILL);
        }
        closedir(proc);
}

void house_close(struct house *h)
{
        close(h->agent_door); /* programs that would still be started find nobody and
                                 end */
        close(h->server_door);
        if (h->keeper > 0) {
                kill(h->keeper, SIGKILL);
                house_wait(h->keeper);
        }
        /* what the keeper left is ours now, by sub-reaping; and what those leave */
        do
                kill_children();
        while (waitpid(-1, NULL, 0) > 0);
        static const char *const files[] = { "agent", "server", "log", "keeper.lock", "keeper.argv",
                "link" };
        for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
                remove_file(h, files[i]);
        assert_int_equal(rmdir(h->dir), 0);
}

pid_t house_run(struct house *h, char *const *arguments, int keep_fd, uint64_t nofile_hard)
{
        const char *binary = getenv("KEEPER_BINARY");
        assert_non_null(binary);
        char log[128];
        snprintf(log, sizeof log, "%s/log", h->dir);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid > 0)
                return pid;

        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that crashes leaves no keeper */
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        dup2(fd, STDERR_FILENO);
        if (keep_fd >= 0)
                fcntl(keep_fd, F_SETFD, 0);
        if (nofile_hard != 0)
                setrlimit(RLIMIT_NOFILE, &(struct rlimit){ nofile_hard / 2, nofile_hard });
        char *argv[64] = { (char *) (uintptr_t) binary };
        for (int i = 0; arguments[i] != NULL; i++)
                argv[i + 1] = arguments[i];
        execv(binary, argv);
        _exit(127);
}

void house_start(struct house *h, bool server, int handover)
{
        static char self[4096], dir_option[] = "--dir", handover_option[] = "--handover-fd",
                                separator[] = "--", agent_name[] = "agent",
                                server_name[] = "server";
        char number[16], *arguments[32] = { dir_option, h->dir };
        int n = 2;
        assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
        if (handover >= 0) {
                snprintf(number, sizeof number, "%d", handover);
                arguments[n++] = handover_option;
                arguments[n++] = number;
        }
        arguments[n++] = separator;
        arguments[n++] = self;
        arguments[n++] = agent_name;
        arguments[n++] = h->dir;
        if (server) {
                arguments[n++] = separator;
                arguments[n++] = self;
                arguments[n++] = server_name;
                arguments[n++] = h->dir;
        }
        h->keeper = house_run(h, arguments, handover, 0);
}

int house_wait(pid_t pid)
{
        int status;
        uint64_t deadline = now_ms() + DEADLINE_MS;
        pid_t got;
        while ((got = waitpid(pid, &status, WNOHANG)) == 0) {
                assert_true(now_ms() < deadline);
                pause_ms(1);
        }
        assert_int_equal(got, pid);
        return status;
}

bool house_log_holds(struct house *h, const char *text)
{
        char path[128];
        static char log[65536];
        snprintf(path, sizeof path, "%s/log", h->dir);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return false;
        ssize_t length = read(fd, log, sizeof log - 1);
        close(fd);
        log[length > 0 ? length : 0] = '\0';
        return strstr(log, text) != NULL;
}

void house_expect_log(struct house *h, const char *text)
{
        uint64_t deadline = now_ms() + DEADLINE_MS;
        while (!house_log_holds(h, text)) {
                if (now_ms() >= deadline)
                        fail_msg("the log never said \"%s\"", text);
                pause_ms(1);
        }
}

/* ---- packets ---- */

union control {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * 8)];
};

void packet_send(int fd, const void *data, size_t length, const int *fds, unsigned count)
{
        union control control = { 0 };
        struct iovec iov = { (void *) (uintptr_t) data, length };
        struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1 };
        if (count > 0) {
                header.msg_control = control.bytes;
                header.msg_controllen = CMSG_SPACE(sizeof(int) * count);
                struct cmsghdr *c = CMSG_FIRSTHDR(&header);
                c->cmsg_level = SOL_SOCKET;
                c->cmsg_type = SCM_RIGHTS;
                c->cmsg_len = CMSG_LEN(sizeof(int) * count);
                memcpy(CMSG_DATA(c), fds, sizeof(int) * count);
        }
        ssize_t sent;
        do
                sent = sendmsg(fd, &header, MSG_NOSIGNAL);
        while (sent < 0 && errno == ECONNRESET);
        assert_int_equal(sent, (ssize_t) length);
}

/* Returns the length of the packet, 0 at the end. */
static ssize_t packet_receive(int fd, void *ret, size_t size, int *ret_fds, unsigned *ret_count)
{
        union control control;
        struct iovec iov = { ret, size };
        struct msghdr header = { .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = control.bytes,
                .msg_controllen = sizeof control.bytes };
        struct pollfd in = { .fd = fd, .events = POLLIN };
        assert_int_equal(poll(&in, 1, DEADLINE_MS), 1);
        ssize_t length;
        do
                length = recvmsg(fd, &header, MSG_CMSG_CLOEXEC);
        while (length < 0 && errno == ECONNRESET);
        assert_true(length >= 0);
        struct cmsghdr *c = length > 0 ? CMSG_FIRSTHDR(&header) : NULL;
        unsigned count = c != NULL ? (unsigned) ((c->cmsg_len - CMSG_LEN(0)) / sizeof(int)) : 0;
        if (count > 0) {
                assert_non_null(ret_fds);
                memcpy(ret_fds, CMSG_DATA(c), count * sizeof(int));
        }
        if (ret_count != NULL)
                *ret_count = count;
        return length;
}

void message_send(int channel, const struct keeper_message *m, const int *fds, unsigned count)
{
        packet_send(channel, m, sizeof *m, fds, count);
}

void message_receive(int channel, struct keeper_message *ret, int *ret_fds, unsigned *ret_count)
{
        assert_int_equal(
                packet_receive(channel, ret, sizeof *ret, ret_fds, ret_count), sizeof *ret);
}

void message_expect_end(int channel)
{
        struct keeper_message m;
        int fds[8];
        unsigned count;
        while (packet_receive(channel, &m, sizeof m, fds, &count) > 0)
                for (unsigned i = 0; i < count; i++)
                        close(fds[i]);
}

void message_simple(int channel, enum keeper_message_type type, const char *name, uint64_t value)
{
        struct keeper_message m = { .type = type, .value = value };
        snprintf(m.name, sizeof m.name, "%s", name);
        message_send(channel, &m, NULL, 0);
}

void message_ack(int channel, uint64_t seq)
{
        message_send(channel, &(struct keeper_message){ .type = KEEPER_ACK, .seq = seq }, NULL, 0);
}

void message_expect(int channel, enum keeper_message_type type, struct keeper_message *ret)
{
        struct keeper_message m;
        message_receive(channel, &m, NULL, NULL);
        assert_int_equal(m.type, type);
        if (ret != NULL)
                *ret = m;
}

/* ---- programs, as the test sees them ---- */

void visitor_accept(int door, struct visitor *ret)
{
        struct pollfd in = { .fd = door, .events = POLLIN };
        assert_int_equal(poll(&in, 1, DEADLINE_MS), 1);
        int fds[8];
        unsigned count;
        ret->control = accept4(door, NULL, NULL, SOCK_CLOEXEC);
        assert_true(ret->control >= 0);
        assert_int_equal(packet_receive(ret->control, &ret->hello, sizeof ret->hello, fds, &count),
                sizeof ret->hello);
        assert_int_equal(count, 1);
        ret->channel = fds[0];
}

void visitor_close(struct visitor *v)
{
        close(v->control);
        close(v->channel);
}

pid_t visitor_next_pid(struct visitor *v)
{
        pid_t pid;
        assert_int_equal(packet_receive(v->control, &pid, sizeof pid, NULL, NULL), sizeof pid);
        return pid;
}

pid_t visitor_order(struct visitor *v, enum order_type type, int value)
{
        struct order o = { .type = (int) type, .value = value, .count = 1 };
        packet_send(v->control, &o, sizeof o, NULL, 0);
        return visitor_next_pid(v);
}

void visitor_order_many(struct visitor *v, int value, int count, pid_t *ret_pids)
{
        struct order o = { .type = ORDER_EXITS, .value = value, .count = count };
        packet_send(v->control, &o, sizeof o, NULL, 0);
        for (int i = 0; i < count; i++)
                ret_pids[i] = visitor_next_pid(v);
}

/* ---- programs, as they are; no cmocka from here on ---- */

static void reply(int control, pid_t pid)
{
        while (send(control, &pid, sizeof pid, MSG_NOSIGNAL) < 0 && errno == EINTR)
                ;
}

static void burn(long ms)
{
        struct timespec used;
        do
                clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
        while (used.tv_sec * 1000 + used.tv_nsec / 1000000 < ms);
}

/* Leaves a member in a group of its own; the test must know its pid before the
 * leader is gone. */
static void lead_group(int control)
{
        setpgid(0, 0);
        long member = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (member == 0) {
                close_range(3, ~0u, 0);
                for (;;)
                        pause();
        }
        reply(control, (pid_t) member);
}

static void task_main(const struct order *o, int index, int control)
{
        switch (o->type) {
        case ORDER_EXITS:
                close_range(3, ~0u, 0);
                pause_ms(index % 23);
                break;
        case ORDER_SIGNAL:
                setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
                kill((pid_t) syscall(SYS_getpid), o->value);
                break;
        case ORDER_SLEEP:
                close_range(3, ~0u, 0); /* as exec would: nothing must hold the agent's channel */
                for (;;)
                        pause();
        case ORDER_BURN:
                burn(o->value);
                _exit(0);
        case ORDER_GROUP:
                lead_group(control);
                break;
        default:
                break;
        }
        _exit((o->value + index) % 256);
}

/* A task as the agent makes them: a child of the keeper. */
static void make_tasks(const struct order *o, int control)
{
        for (int i = 0; i < o->count; i++) {
                /* the leader of a group answers for itself, in order after this reply */
                int ready[2] = { -1, -1 };
                if (o->type == ORDER_GROUP && pipe(ready) < 0)
                        _exit(1);
                long pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
                if (pid == 0) {
                        char go;
                        if (ready[0] >= 0 && read(ready[0], &go, 1) != 1)
                                _exit(1);
                        task_main(o, i, control);
                }
                reply(control, (pid_t) pid);
                if (ready[1] >= 0) {
                        if (write(ready[1], "", 1) != 1)
                                _exit(1);
                        close(ready[0]);
                        close(ready[1]);
                }
        }
}

static int count_blocked_signals(void)
{
        sigset_t set;
        int count = 0;
        sigprocmask(SIG_SETMASK, NULL, &set);
        for (int i = 1; i < 32; i++)
                count += sigismember(&set, i);
        return count;
}

static int count_descriptors(void)
{
        int count = 0;
        for (int fd = 0; fd < 1024; fd++)
                count += fcntl(fd, F_GETFD) >= 0;
        return count;
}

int program_main(const char *name, const char *dir)
{
        signal(SIGINT, SIG_IGN);
        const char *variable = getenv(KEEPER_FD_VARIABLE);
        int channel = variable != NULL ? (int) strtol(variable, NULL, 10) : -1;
        struct rlimit nofile;
        getrlimit(RLIMIT_NOFILE, &nofile);
        struct program_hello hello = { .pid = getpid(),
                .parent = getppid(),
                .blocked = count_blocked_signals(),
                .nofile_soft = nofile.rlim_cur,
                .descriptors = count_descriptors() };

        struct sockaddr_un address;
        door_address(dir, name, &address);
        int control = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        if (connect(control, (struct sockaddr *) &address, sizeof address) < 0)
                return 1;
        union control space = { 0 };
        struct iovec iov = { &hello, sizeof hello };
        struct msghdr header = { .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = space.bytes,
                .msg_controllen = CMSG_SPACE(sizeof(int)) };
        struct cmsghdr *c = CMSG_FIRSTHDR(&header);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &channel, sizeof channel);
        if (sendmsg(control, &header, MSG_NOSIGNAL) < 0)
                return 1;

        struct order o;
        while (recv(control, &o, sizeof o, 0) == (ssize_t) sizeof o)
                make_tasks(&o, control);
        return 0;
}
