/* SPDX-License-Identifier: BSD-3-Clause */
/* The socket that programs say how they are over: what a message means, who may send, descriptors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "node/notify.h"

static char directory[] = "/tmp/test-notify-XXXXXX";

static void a_message_is_read_line_by_line(void **state)
{
        char text[] = "READY=1\nSTATUS=a=b c\nWATCHDOG=1\nWATCHDOG_USEC=500\nMAINPID=12\n"
                      "EXTEND_TIMEOUT_USEC=7\nFDSTORE=1\nFDNAME=sock\nUNKNOWN=1\nnonsense";
        char other[] = "READY=0\nSTOPPING=1\nWATCHDOG=trigger\nWATCHDOG_USEC=x\nMAINPID=-1\n"
                       "FDNAME=a:b\nFDSTOREREMOVE=1\n";
        struct notify_message m = { 0 }, n = { 0 };

        (void) state;
        notify_parse(text, &m);
        assert_true(m.notice.ready && m.notice.alive && m.store);
        assert_false(m.notice.stopping || m.notice.hung || m.unstore);
        assert_string_equal(m.notice.status, "a=b c");
        assert_int_equal(m.notice.watchdog, 500);
        assert_int_equal(m.notice.extend, 7);
        assert_int_equal(m.main_pid, 12);
        assert_string_equal(m.name, "sock");
        notify_parse(other, &n);
        assert_true(n.notice.stopping && n.notice.hung && n.unstore);
        assert_false(n.notice.ready || n.notice.alive || n.store);
        assert_int_equal(n.notice.watchdog, 0);
        assert_int_equal(n.main_pid, 0);
        assert_null(n.name);
}

struct heard {
        unsigned messages;
        size_t fds;
        char status[64];
        struct notify **freed; /* this one is freed from within */
};

static void hear(void *data, const struct notify_message *m)
{
        struct heard *h = data;

        h->messages++;
        h->fds += m->fds_len;
        if (m->notice.status != NULL)
                snprintf(h->status, sizeof h->status, "%s", m->notice.status);
        if (h->freed != NULL)
                notify_free(take_ptr(*h->freed));
}

static void send_to(const char *address, const char *text, int fd)
{
        struct sockaddr_un to = { .sun_family = AF_UNIX };
        struct iovec iov = { (void *) (uintptr_t) text, strlen(text) };
        union {
                struct cmsghdr header;
                char room[CMSG_SPACE(sizeof(int))];
        } control = { .header = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
        struct msghdr packet = { .msg_name = &to, .msg_iov = &iov, .msg_iovlen = 1 };
        int from = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        memcpy(to.sun_path, address, strlen(address));
        if (address[0] == '@')
                to.sun_path[0] = '\0';
        packet.msg_namelen = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(address));
        if (fd >= 0) {
                memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
                packet.msg_control = &control;
                packet.msg_controllen = sizeof control;
        }
        assert_int_equal(sendmsg(from, &packet, 0), (ssize_t) strlen(text));
        close(from);
}

static void close_loop(uv_loop_t *loop)
{
        uv_run(loop, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(loop), 0);
}

static void messages_wait_and_are_heard(const char *path, bool abstract)
{
        AUTO(mem_freep) char *address = NULL;
        struct heard heard = { 0 };
        struct notify *n;
        uv_loop_t loop;
        struct error err;
        struct stat st;
        int fds[2], fd;
        char byte;

        uv_loop_init(&loop);
        fd = notify_bind(path, geteuid(), &address, &err);
        assert_true(fd >= 0);
        assert_int_equal(address[0] == '@', abstract);
        if (!abstract) {
                assert_int_equal(stat(path, &st), 0);
                assert_int_equal(st.st_mode & 0777, 0600);
        }
        send_to(address, "STATUS=early", -1); /* nobody listens yet */
        n = notify_new(&loop, fd, geteuid(), hear, &heard);
        uv_run(&loop, UV_RUN_NOWAIT);
        assert_int_equal(heard.messages, 1);
        assert_string_equal(heard.status, "early");

        /* a descriptor that nobody takes is closed, which is what BARRIER=1 waits for */
        assert_int_equal(pipe(fds), 0);
        send_to(address, "BARRIER=1", fds[1]);
        close(fds[1]);
        assert_true(notify_drain(n));
        assert_int_equal(heard.fds, 1);
        assert_int_equal(read(fds[0], &byte, 1), 0);
        close(fds[0]);

        /* freed by its owner while there is more to be heard */
        heard.freed = &n;
        send_to(address, "READY=1", -1);
        send_to(address, "READY=1", -1);
        assert_false(notify_drain(n));
        assert_int_equal(heard.messages, 3);
        close_loop(&loop);
}

static void messages_come_over_a_file(void **state)
{
        AUTO(mem_freep) char *path = mem_printf("%s/web.0.1", directory);

        (void) state;
        messages_wait_and_are_heard(path, false);
        messages_wait_and_are_heard(path, false); /* in place of what an earlier start left */
}

static void a_path_that_is_too_long_gives_way_to_a_name(void **state)
{
        AUTO(mem_freep) char *path = mem_printf("%s/%0120d/web.0.1", directory, getpid());

        (void) state;
        messages_wait_and_are_heard(path, true);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_message_is_read_line_by_line),
                cmocka_unit_test(messages_come_over_a_file),
                cmocka_unit_test(a_path_that_is_too_long_gives_way_to_a_name),
        };
        int failed;

        if (mkdtemp(directory) == NULL)
                return 1;
        failed = cmocka_run_group_tests(tests, NULL, NULL);
        file_remove_tree(directory, NULL);
        return failed;
}
