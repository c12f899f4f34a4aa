/* SPDX-License-Identifier: BSD-3-Clause */
/* Listening sockets.
 *
 * UNIX. A socket file outlives its process, so one that is in the way says nothing: whether anybody
 * listens is found out by connecting. The new socket is bound under a name of its own, gets its
 * mode, begins to listen, and only then is renamed into place. At no instant is there a path
 * without a listener where one was before, nor one with another mode. Removing at the end looks at
 * the inode: the file may have become a successor's.
 *
 * TCP. A name may stand for several addresses (localhost: ::1 and 127.0.0.1); the first that can be
 * bound is taken. An empty host is every interface, IPv6 with IPv4 inside, or IPv4 where there is
 * no IPv6. Options are set here because accepted sockets inherit them: no Nagle, and probes that
 * find vanished peers of silent or of half-sent connections. */
#include "net/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "base/macros.h"

#define BACKLOG        4096
#define UNIX_PATH_SIZE sizeof((struct sockaddr_un){ 0 }.sun_path)

/* UNIX */

static struct sockaddr_un unix_sockaddr(const char *path)
{
        struct sockaddr_un sun = { .sun_family = AF_UNIX };

        memcpy(sun.sun_path, path, strlen(path) + 1);
        return sun;
}

/* Fails unless @path is free or a socket that nobody listens on. */
static int unix_check_free(const char *path, struct error *err)
{
        struct sockaddr_un sun = unix_sockaddr(path);
        AUTO(fd_closep) int fd = -1;
        struct stat st;

        if (lstat(path, &st) < 0)
                return errno == ENOENT ? 0 : error_sys(err, errno, "look at %s", path);
        if (!S_ISSOCK(st.st_mode))
                return error_set(err, ERR_CONFLICT, "%s is there and is not a socket", path);

        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return error_sys(err, errno, "make a socket");
        if (connect(fd, (struct sockaddr *) &sun, sizeof sun) == 0 || errno == EAGAIN)
                return error_set(err, ERR_CONFLICT, "somebody is listening there already");
        if (errno != ECONNREFUSED && errno != ENOENT)
                return error_sys(err, errno, "find out who listens there");
        return 0;
}

/* A short name in the same directory: it has to fit into an address, too. */
static int unix_temporary_name(const char *path, char name[UNIX_PATH_SIZE], struct error *err)
{
        const char *slash = strrchr(path, '/');
        int dir = slash == NULL ? 0 : (int) (slash - path) + 1;
        int len = snprintf(name, UNIX_PATH_SIZE, "%.*s.%x", dir, path, (unsigned) gettid());

        if (len < 0 || (size_t) len >= UNIX_PATH_SIZE)
                return error_set(err, ERR_INVALID, "the directory's name is too long");
        return 0;
}

static int unix_bind(int fd, const char *name, mode_t mode, struct error *err)
{
        struct sockaddr_un sun = unix_sockaddr(name);

        if (unlink(name) < 0 && errno != ENOENT)
                return error_sys(err, errno, "remove %s", name);
        if (bind(fd, (struct sockaddr *) &sun, sizeof sun) < 0)
                return error_sys(err, errno, "bind");
        if (chmod(name, mode) < 0)
                return error_sys(err, errno, "set the mode");
        if (listen(fd, BACKLOG) < 0)
                return error_sys(err, errno, "listen");
        return 0;
}

static int unix_open(struct listen_socket *s, const char *path, mode_t mode, struct error *err)
{
        AUTO(fd_closep) int fd = -1;
        char name[UNIX_PATH_SIZE];
        struct stat st;

        if (unix_check_free(path, err) < 0 || unix_temporary_name(path, name, err) < 0)
                return -1;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return error_sys(err, errno, "make a socket");
        if (unix_bind(fd, name, mode, err) < 0) {
                unlink(name);
                return -1;
        }
        if (stat(name, &st) < 0 || rename(name, path) < 0) {
                error_sys(err, errno, "put the socket in place");
                unlink(name);
                return -1;
        }
        *s = (struct listen_socket){ .is_unix = true, .dev = st.st_dev, .ino = st.st_ino };
        snprintf(s->path, sizeof s->path, "%s", path);
        s->fd = take_fd(fd);
        return 0;
}

/* TCP */

static void tcp_set_options(int fd)
{
        static const struct {
                int level, name, value;
        } options[] = {
                { SOL_SOCKET, SO_REUSEADDR, 1 },
                { IPPROTO_TCP, TCP_NODELAY, 1 },
                { SOL_SOCKET, SO_KEEPALIVE, 1 },
                { IPPROTO_TCP, TCP_KEEPIDLE, 60 },
                { IPPROTO_TCP, TCP_KEEPINTVL, 15 },
                { IPPROTO_TCP, TCP_KEEPCNT, 4 },
                { IPPROTO_TCP, TCP_USER_TIMEOUT, 60 * 1000 },
        };

        for (size_t i = 0; i < ARRAY_SIZE(options); i++) /* none of them is worth failing for */
                setsockopt(fd, options[i].level, options[i].name, &options[i].value,
                        sizeof options[i].value);
}

static int tcp_bind(const struct addrinfo *ai, int *ret_fd)
{
        AUTO(fd_closep) int fd = -1;
        int off = 0;

        fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        tcp_set_options(fd);
        if (ai->ai_family == AF_INET6)
                setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
        if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
                return -errno;
        *ret_fd = take_fd(fd);
        return 0;
}

static int tcp_bind_family(const struct addrinfo *found, int family, int *ret_fd)
{
        int r = -EADDRNOTAVAIL;

        for (const struct addrinfo *ai = found; ai != NULL; ai = ai->ai_next) {
                if (family != AF_UNSPEC && ai->ai_family != family)
                        continue;
                r = tcp_bind(ai, ret_fd);
                if (r == 0)
                        break;
        }
        return r;
}

static uint16_t tcp_port(int fd)
{
        struct sockaddr_storage ss;
        socklen_t len = sizeof ss;

        if (getsockname(fd, (struct sockaddr *) &ss, &len) < 0)
                return 0;
        if (ss.ss_family == AF_INET6)
                return ntohs(((struct sockaddr_in6 *) &ss)->sin6_port);
        return ntohs(((struct sockaddr_in *) &ss)->sin_port);
}

static int tcp_open(struct listen_socket *s, const struct address *address, struct error *err)
{
        struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
        bool everywhere = address->host[0] == '\0';
        struct addrinfo *found;
        char port[8];
        int r, fd;

        snprintf(port, sizeof port, "%u", (unsigned) address->port);
        r = getaddrinfo(everywhere ? NULL : address->host, port, &hints, &found);
        if (r != 0)
                return error_set(
                        err, ERR_INVALID, "look up %s: %s", address->host, gai_strerror(r));
        r = tcp_bind_family(found, everywhere ? AF_INET6 : AF_UNSPEC, &fd);
        if (r < 0 && everywhere && r != -EADDRINUSE)
                r = tcp_bind_family(found, AF_INET, &fd);
        freeaddrinfo(found);
        if (r < 0)
                return error_sys(err, -r, "bind");
        *s = (struct listen_socket){ .fd = fd, .port = tcp_port(fd) };
        return 0;
}

int listen_socket_open(
        struct listen_socket *s, const struct address *address, mode_t mode, struct error *err)
{
        char text[ADDRESS_TEXT_MAX];
        int r;

        if (address->tls && address->context == NULL)
                r = error_set(err, ERR_INVALID, "there is no certificate for it");
        else if (address->is_unix)
                r = unix_open(s, address->path, mode, err);
        else
                r = tcp_open(s, address, err);
        if (r < 0)
                return error_wrap(err, "listen on %s", address_format(text, address));
        if (address->tls)
                s->tls = tls_context_ref(address->context);
        return 0;
}

void listen_socket_close(struct listen_socket *s)
{
        struct stat st;

        if (s->fd < 0)
                return;
        if (s->is_unix && stat(s->path, &st) == 0 && st.st_dev == s->dev && st.st_ino == s->ino)
                unlink(s->path);
        close(take_fd(s->fd));
        tls_context_unref(take_ptr(s->tls));
}
