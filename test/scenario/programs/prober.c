/* SPDX-License-Identifier: BSD-3-Clause */
/* prober TRIAL...
 *
 * Tries what a sandbox may forbid and prints a line for each: "TRIAL: ok", "TRIAL: EPERM", or what
 * it found. Nothing that it tries changes the machine, if it should be allowed. The trial `ready`
 * says so by sd_notify(3); after `wait` it waits to be ended. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define X32_BIT            0x40000000
#define I386_KEYCTL        288
#define KEYCTL_GET_KEYRING 0

static const char *outcome(long r)
{
        return r >= 0 ? "ok" : strerrorname_np(errno);
}

static long try_socket(int domain, int type, int protocol)
{
        int fd = socket(domain, type, protocol);

        return fd < 0 ? -1 : close(fd);
}

static long try_open(const char *path, int flags)
{
        int fd = open(path, flags | O_CLOEXEC, 0600);

        return fd < 0 ? -1 : close(fd);
}

/* By the door that programs of 32 bits take. A kernel without them ends us. */
static long try_i386(void)
{
        long r = -ENOSYS;

#if defined(__x86_64__)
        __asm__ volatile("int $0x80"
                         : "=a"(r)
                         : "a"((long) I386_KEYCTL), "b"(KEYCTL_GET_KEYRING), "c"(-1), "d"(0)
                         : "memory", "r8", "r9", "r10", "r11");
        r = (int) r;
#endif
        errno = r < 0 ? (int) -r : 0;
        return r;
}

static long try_ptrace(void)
{
        return ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static int count_entries(const char *path, const char *first)
{
        DIR *directory = opendir(path);
        int n = 0;

        if (directory == NULL)
                return -1;
        for (const struct dirent *e; (e = readdir(directory)) != NULL;)
                n += e->d_name[0] != '.' && strchr(first, e->d_name[0]) != NULL;
        closedir(directory);
        return n;
}

static void list_interfaces(void)
{
        struct if_nameindex *all = if_nameindex();

        printf("interfaces:");
        for (struct if_nameindex *i = all; i != NULL && i->if_index != 0; i++)
                printf(" %s", i->if_name);
        printf("\n");
        if_freenameindex(all);
}

static long try_loopback(void)
{
        struct sockaddr_in address = { .sin_family = AF_INET,
                .sin_addr = { htonl(INADDR_LOOPBACK) } };
        socklen_t len = sizeof address;
        int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
        long r = bind(listener, (struct sockaddr *) &address, len);

        if (r == 0)
                r = listen(listener, 1);
        if (r == 0)
                r = getsockname(listener, (struct sockaddr *) &address, &len);
        if (r == 0)
                r = connect(fd, (struct sockaddr *) &address, len);
        return r;
}

static long try_port(int port)
{
        struct sockaddr_in address = { .sin_family = AF_INET,
                .sin_port = htons((unsigned short) port),
                .sin_addr = { htonl(INADDR_LOOPBACK) } };
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        return bind(fd, (struct sockaddr *) &address, sizeof address);
}

static long try_clone(void)
{
        pid_t pid = (pid_t) syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);

        if (pid == 0)
                _exit(0);
        return pid < 0 ? -1 : waitpid(pid, NULL, 0);
}

static void try_suid(const char *path)
{
        fflush(stdout);
        if (fork() == 0) {
                execl(path, path, "euid", NULL);
                printf("euid: %s\n", outcome(-1));
                exit(0);
        }
        wait(NULL);
}

/* In a child: the kernel may end who tries. */
static void try_apart(const char *name, long (*try)(void))
{
        int status = 0;

        fflush(stdout);
        if (fork() == 0) {
                printf("%s: %s\n", name, outcome(try()));
                exit(0);
        }
        wait(&status);
        if (WIFSIGNALED(status))
                printf("%s: killed\n", name);
}

static long say_ready(void)
{
        const char *path = getenv("NOTIFY_SOCKET");
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
        socklen_t len;

        if (path == NULL || strlen(path) >= sizeof address.sun_path) {
                errno = ENOENT;
                return -1;
        }
        strcpy(address.sun_path, path); /* NOLINT: it fits */
        len = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(path));
        if (path[0] == '@')
                address.sun_path[0] = '\0';
        else
                len++;
        return sendto(fd, "READY=1", 7, 0, (struct sockaddr *) &address, len);
}

static long try_named(const char *name)
{
        if (strcmp(name, "mount") == 0)
                return mount(NULL, NULL, NULL, 0, NULL);
        if (strcmp(name, "keyctl") == 0)
                return syscall(SYS_keyctl, KEYCTL_GET_KEYRING, -1, 0);
        if (strcmp(name, "raw") == 0)
                return try_socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
        if (strcmp(name, "socket") == 0)
                return try_socket(AF_INET, SOCK_STREAM, 0);
        if (strcmp(name, "chown") == 0)
                return chown("/", 0, 0);
        if (strcmp(name, "unshare") == 0)
                return unshare(CLONE_NEWNS);
        if (strcmp(name, "clone") == 0)
                return try_clone();
        if (strcmp(name, "x32") == 0)
                return syscall(X32_BIT | SYS_keyctl, KEYCTL_GET_KEYRING, -1, 0);
        if (strcmp(name, "loopback") == 0)
                return try_loopback();
        if (strcmp(name, "ready") == 0)
                return say_ready();
        if (strncmp(name, "port=", 5) == 0)
                return try_port(atoi(name + 5));
        if (strncmp(name, "write=", 6) == 0)
                return try_open(name + 6, O_WRONLY | O_CREAT);
        if (strncmp(name, "read=", 5) == 0)
                return try_open(name + 5, O_RDONLY);
        errno = EINVAL;
        return -1;
}

static long read_some(const char *path)
{
        char bytes[256];
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        long n = fd < 0 ? -1 : read(fd, bytes, sizeof bytes);

        if (fd >= 0)
                close(fd);
        return n;
}

static void try(const char *name)
{
        if (strcmp(name, "interfaces") == 0)
                list_interfaces();
        else if (strcmp(name, "processes") == 0)
                printf("processes: %d\n", count_entries("/proc", "123456789"));
        else if (strcmp(name, "pid") == 0)
                printf("pid: %d\n", (int) getpid());
        else if (strcmp(name, "euid") == 0)
                printf("euid: %u\n", geteuid());
        else if (strncmp(name, "size=", 5) == 0)
                printf("%s: %ld\n", name, read_some(name + 5));
        else if (strncmp(name, "entries=", 8) == 0)
                printf("%s: %d\n", name, count_entries(name + 8, "abcdefghijklmnopqrstuvwxyz"));
        else if (strncmp(name, "suid=", 5) == 0)
                try_suid(name + 5);
        else if (strcmp(name, "i386") == 0)
                try_apart(name, try_i386);
        else if (strcmp(name, "ptrace") == 0)
                try_apart(name, try_ptrace);
        else if (strcmp(name, "wait") == 0)
                for (;;)
                        pause();
        else
                printf("%s: %s\n", name, outcome(try_named(name)));
}

int main(int argc, char **argv)
{
        setvbuf(stdout, NULL, _IOLBF, 0);
        for (int i = 1; i < argc; i++)
                try(argv[i]);
        return 0;
}
