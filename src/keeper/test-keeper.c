/* SPDX-License-Identifier: BSD-3-Clause */

/* The keeper, as its programs and its operator see it: the real binary
 * (KEEPER_BINARY), real processes, real signals. Each test has a directory and
 * a keeper of its own. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "keeper/test-house.h"

/* Says HELLO and expects an answer without deposits and records. */
static void hello(struct visitor *v)
{
        struct keeper_message m;
        message_simple(v->channel, KEEPER_HELLO, "", KEEPER_PROTOCOL);
        message_expect(v->channel, KEEPER_READY, &m);
        assert_int_equal(m.value, v->hello.parent);
}

static void begin(struct house *h, struct visitor *v)
{
        house_open(h);
        house_start(h, false, -1);
        visitor_accept(h->agent_door, v);
        assert_int_equal(v->hello.parent, h->keeper);
}

static void begin_both(struct house *h, struct visitor *agent, struct visitor *server)
{
        house_open(h);
        house_start(h, true, -1);
        visitor_accept(h->agent_door, agent);
        visitor_accept(h->server_door, server);
}

/* Lets the next program in, instead of @v. That one must not notice before (it would end, and the
 * next be one that the re-execution under test did not start). */
static void accept_next(int door, struct visitor *v)
{
        struct visitor next;
        visitor_accept(door, &next);
        visitor_close(v);
        *v = next;
}

/* Kills the agent and lets the next one in. */
static void replace_agent(struct house *h, struct visitor *v)
{
        pid_t old = v->hello.pid;
        assert_int_equal(kill(old, SIGKILL), 0);
        accept_next(h->agent_door, v);
        assert_int_not_equal(v->hello.pid, old);
        assert_int_equal(v->hello.parent, h->keeper);
}

static void end(struct house *h, struct visitor *v)
{
        visitor_close(v);
        house_close(h);
}

static void expect_record(int channel, pid_t pid, int code, int status, struct keeper_record *ret)
{
        struct keeper_message m;
        message_expect(channel, KEEPER_RECORD, &m);
        assert_int_equal(m.seq, m.record.seq);
        assert_int_equal(m.record.pid, pid);
        assert_int_equal(m.record.code, code);
        assert_int_equal(m.record.status, status);
        if (ret != NULL)
                *ret = m.record;
}

/* ---- records ---- */

static void test_record_tells_how_a_task_ended(void **state)
{
        (void) state;
        struct house h;
        struct visitor v;
        struct keeper_record r;
        uint64_t ticks;
        pid_t parent;
        begin(&h, &v);
        hello(&v);

        pid_t sleeper = visitor_order(&v, ORDER_SLEEP, 0);
        process_expect_state(sleeper, 'S');
        process_state(sleeper, &parent, &ticks);
        assert_int_equal(parent, h.keeper);
        kill(sleeper, SIGTERM);
        expect_record(v.channel, sleeper, CLD_KILLED, SIGTERM, &r);
        assert_int_equal(r.start_ticks, ticks);
        assert_int_equal(r.seq, 1);
        assert_true(r.user_usec + r.system_usec < 100000);

        pid_t burner = visitor_order(&v, ORDER_BURN, 120);
        expect_record(v.channel, burner, CLD_EXITED, 0, &r);
        assert_true(r.user_usec + r.system_usec >= 90000);
        assert_true(r.user_usec + r.system_usec < 2000000);
        assert_true(r.max_rss_kib > 100);
        assert_int_equal(r.seq, 2);

        struct timespec wall, mono;
        clock_gettime(CLOCK_REALTIME, &wall);
        clock_gettime(CLOCK_BOOTTIME, &mono);
        assert_true(r.end_wall / 1000000 + 20 >= (uint64_t) wall.tv_sec);
        assert_true(r.end_wall / 1000000 <= (uint64_t) wall.tv_sec);
        assert_true(r.end_mono / 1000000 + 20 >= (uint64_t) mono.tv_sec);
        assert_true(r.end_mono / 1000000 <= (uint64_t) mono.tv_sec);
        end(&h, &v);
}

static void test_records_wait_for_the_acknowledgement(void **state)
{
        (void) state;
        struct house h;
        struct visitor v;
        struct keeper_record r;
        begin(&h, &v);
        pid_t early = visitor_order(&v, ORDER_EXIT, 7); /* nobody has said HELLO yet */
        process_expect_state(early, 0);

        message_simple(v.channel, KEEPER_HELLO, "", KEEPER_PROTOCOL);
        expect_record(v.channel, early, CLD_EXITED, 7, &r);
        message_expect(v.channel, KEEPER_READY, NULL);
        pid_t killed = visitor_order(&v, ORDER_SIGNAL, SIGUSR1);
        expect_record(v.channel, killed, CLD_KILLED, SIGUSR1, NULL);

        /* an acknowledgement of what was never sent changes nothing */
        message_ack(v.channel, 1000000);
        replace_agent(&h, &v);
        message_ack(v.channel, 2); /* nor one before the records were sent on this channel */
        message_simple(v.channel, KEEPER_HELLO, "", KEEPER_PROTOCOL);
        struct keeper_record again;
        expect_record(v.channel, early, CLD_EXITED, 7, &again);
        assert_memory_equal(&r, &again, sizeof r);
        expect_record(v.channel, killed, CLD_KILLED, SIGUSR1, NULL);
        message_expect(v.channel, KEEPER_READY, NULL);

        /* said just before the end, and yet heard */
        message_ack(v.channel, 1);
        replace_agent(&h, &v);
        message_simple(v.channel, KEEPER_HELLO, "", KEEPER_PROTOCOL);
        expect_record(v.channel, killed, CLD_KILLED, SIGUSR1, NULL);
        message_expect(v.channel, KEEPER_READY, NULL);
        message_ack(v.channel, 2);
        hello(&v);
        end(&h, &v);
}

#define MANY      1500
#define RING_SIZE 1024

static int index_of(const pid_t *pids, int count, pid_t pid)
{
        for (int i = 0; i < count; i++)
                if (pids[i] == pid)
                        return i;
        fail_msg("a record of process %d, which is no task", (int) pid);
        return -1;
}

static void expect_still(pid_t pid)
{
        uint64_t before = process_switches(pid);
        poll(NULL, 0, 400);
        assert_int_equal(process_switches(pid), before);
}

static void test_full_ring_loses_nothing(void **state)
{
        (void) state;
        struct house h;
        struct visitor v;
        static pid_t pids[MANY];
        static bool seen[MANY];
        begin(&h, &v);
        visitor_order_many(&v, 3, MANY, pids);
        for (uint64_t deadline = now_ms() + DEADLINE_MS;
                process_count_zombies(h.keeper) != MANY - RING_SIZE;)
                assert_true(now_ms() < deadline);
        for (int i = 0; i < MANY; i++)
                assert_true(process_state(pids[i], NULL, NULL) == 'Z' ||
                            process_state(pids[i], NULL, NULL) == 0);
        expect_still(h.keeper); /* it does not spin on what it cannot reap */
        assert_int_equal(process_count_zombies(h.keeper), MANY - RING_SIZE);

        replace_agent(&h, &v); /* a full ring does not keep programs from being started again */
        message_simple(v.channel, KEEPER_HELLO, "", KEEPER_PROTOCOL);
        for (uint64_t seq = 1; seq <= MANY; seq++) {
                struct keeper_message m;
                message_receive(v.channel, &m, NULL, NULL);
                if (m.type == KEEPER_READY) {
                        assert_int_equal(seq, RING_SIZE + 1);
                        message_receive(v.channel, &m, NULL, NULL);
                }
                assert_int_equal(m.type, KEEPER_RECORD);
                assert_int_equal(m.seq, seq);
                int i = index_of(pids, MANY, m.record.pid);
                assert_false(seen[i]);
                seen[i] = true;
                assert_int_equal(m.record.code, CLD_EXITED);
                assert_int_equal(m.record.status, (3 + i) % 256);
                assert_true(m.record.start_ticks > 0);
                /* nothing is taken before the first ring is through: then one by one */
                if (seq >= RING_SIZE)
                        message_ack(v.channel, seq);
        }
        assert_int_equal(process_count_zombies(h.keeper), 0);
        hello(&v);
        end(&h, &v);
}

/* The agent looks after it: it may be a daemon's. */
static void test_rest_of_a_process_group_is_left_alone(void **state)
{
        (void) state;
        struct house h;
        struct visitor v;
        begin(&h, &v);
        hello(&v);
        pid_t leader = visitor_order(&v, ORDER_GROUP, 5);
        pid_t member = visitor_next_pid(&v);
        expect_record(v.channel, leader, CLD_EXITED, 5, NULL);
        assert_int_equal(kill(member, 0), 0);
        assert_int_equal(kill(member, SIGTERM), 0);
        expect_record(v.channel, member, CLD_KILLED, SIGTERM, NULL); /* it came to the keeper */
        end(&h, &v);
}

/* ---- deposits ---- */

static void put(int channel, const char *name, const int *fds, unsigned count)
{
        struct keeper_message m = { .type = KEEPER_PUT };
        snprintf(m.name, sizeof m.name, "%s", name);
        message_send(channel, &m, fds, count);
}

static void expect_failed(int channel, int error, const char *name)
{
        struct keeper_message m;
        message_expect(channel, KEEPER_FAILED, &m);
        assert_int_equal(m.status, error);
        assert_string_equal(m.name, name);
}

/* Makes a pipe with @name in it and deposits both ends. Returns what tells it from other pipes. */
static ino_t put_pipe(int channel, const char *name)
{
        int fds[2];
        struct stat st;
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        assert_int_equal(fstat(fds[0], &st), 0);
        assert_int_equal(write(fds[1], name, strlen(name)), (ssize_t) strlen(name));
        put(channel, name, fds, 2);
        close(fds[0]);
        close(fds[1]);
        return st.st_ino;
}

static void expect_pipe(int channel, const char *name, ino_t inode)
{
        struct keeper_message m;
        int fds[8];
        unsigned count;
        struct stat st;
        char text[KEEPER_NAME_MAX] = "";
        message_receive(channel, &m, fds, &count);
        assert_int_equal(m.type, KEEPER_DEPOSIT);
        assert_string_equal(m.name, name);
        assert_int_equal(count, 2);
        assert_int_equal(fstat(fds[0], &st), 0);
        assert_int_equal(st.st_ino, inode);
        assert_int_equal(read(fds[0], text, sizeof text - 1), (ssize_t) strlen(name));
        assert_string_equal(text, name);
        assert_int_equal(write(fds[1], name, strlen(name)), (ssize_t) strlen(name));
        close(fds[0]);
        close(fds[1]);
}

static void test_deposits_outlive_the_agent(void **state)
{
        (void) state;
        struct house h;
        struct visitor v;
        begin(&h, &v);
        int descriptors = v.hello.descriptors;
        put_pipe(v.channel, "web.0");
        put_pipe(v.channel, "web.1");
        ino_t second = put_pipe(v.channel, "web.2");
        ino_t first = put_pipe(v.channel, "web.0"); /* instead of the first */
        message_simple(v.channel, KEEPER_DROP, "web.1", 0);
        message_simple(v.channel, KEEPER_DROP, "never there", 0);

        for (int i = 0; i < 2; i++) {
                replace_agent(&h, &v);
                assert_int_equal(v.hello.descriptors, descriptors); /* none leaks into programs */
                message_simple(v.channel, KEEPER_HELLO, "", KEEPER_PROTOCOL);
                expect_pipe(v.channel, "web.0", first);
                expect_pipe(v.channel, "web.2", second);
                message_expect(v.channel, KEEPER_READY, NULL);
        }
        end(&h, &v);
}

static void test_bad_deposits_are_refused(void **state)
{
        (void) state;
        struct house h;
        struct visitor v;
        begin(&h, &v);
        const int fds[6] = { 0, 0, 0, 0, 0, 0 };
        put(v.channel, "nothing", NULL, 0);
        expect_failed(v.channel, EINVAL, "nothing");
        put(v.channel, "", fds, 1);
        expect_failed(v.channel, EINVAL, "");
        put(v.channel, "five", fds, 5);
        expect_failed(v.channel, EINVAL, "five");
        put(v.channel, "six", fds, 6);
        expect_failed(v.channel, EINVAL, "six");
        struct keeper_message m = { .type = KEEPER_PUT };
        memset(m.name, 'x', sizeof m.name); /* no NUL */
        message_send(v.channel, &m, fds, 1);
        message_receive(v.channel, &m, NULL, NULL);
        assert_int_equal(m.type, KEEPER_FAILED);
        assert_int_equal(strlen(m.name), KEEPER_NAME_MAX - 1);
        message_simple(v.channel, (enum keeper_message_type) 4711, "", 0); /* unknown: ignored */
        hello(&v);
        end(&h, &v);
}

/* Neighbouring versions: a shorter packet lacks what is new, a longer one has what we do not know.
 */
static void test_packets_of_other_lengths(void **state)
{
        (void) state;
        struct house h;
        struct visitor v;
        begin(&h, &v);
        unsigned char packet[sizeof(struct keeper_message) + 64];
        memset(packet, 0xff, sizeof packet);
        memcpy(packet, &(struct keeper_message){ .type = KEEPER_HELLO },
                sizeof(struct keeper_message));
        assert_int_equal(send(v.channel, packet, 4, 0), 4);
        message_expect(v.channel, KEEPER_READY, NULL);
        assert_int_equal(send(v.channel, packet, sizeof packet, 0), sizeof packet);
        message_expect(v.channel, KEEPER_READY, NULL);
        assert_int_equal(send(v.channel, packet, 3, 0), 3); /* not even a type: ignored */
        hello(&v);
        end(&h, &v);
}

static void test_deposits_stop_before_descriptors_run_out(void **state)
{
        (void) state;
        struct house h;
        struct visitor v;
        char self[4096] = "";
        house_open(&h);
        assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
        char *arguments[] = { (char[]){ "--dir" }, h.dir, (char[]){ "--" }, self,
                (char[]){ "agent" }, h.dir, NULL };
        h.keeper = house_run(&h, arguments, -1, 128);
        visitor_accept(h.agent_door, &v);
        assert_int_equal(v.hello.nofile_soft, 64); /* the keeper raised its own, not ours */

        char name[16];
        const int fds[4] = { 0, 0, 0, 0 };
        unsigned failed = 0;
        for (int i = 0; i < 40; i++) {
                snprintf(name, sizeof name, "d%d", i);
                put(v.channel, name, fds, 4);
        }
        message_simple(v.channel, KEEPER_UPGRADE, "not absolute", 0); /* marks the end */
        for (;;) {
                struct keeper_message m;
                message_expect(v.channel, KEEPER_FAILED, &m);
                if (strcmp(m.name, "not absolute") == 0)
                        break;
                assert_int_equal(m.status, EMFILE);
                failed++;
        }
        assert_int_equal(failed, 24); /* (128 - 64 reserved) / 4 were taken */
        replace_agent(&h, &v);        /* there is room for that */
        end(&h, &v);
}

static int count_descriptors_of(pid_t pid)
{
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/fd", (int) pid);
        DIR *dir = opendir(path);
        assert_non_null(dir);
        int count = 0;
        while (readdir(dir) != NULL)
                count++;
        closedir(dir);
        return count;
}

/* A packet of no bytes looks like the end of the channel, and may carry descriptors. */
static void test_empty_packet_leaves_nothing(void **state)
{
        (void) state;
        struct house h;
        struct visitor v;
        begin(&h, &v);
        hello(&v);
        int before = count_descriptors_of(h.keeper), fd = STDIN_FILENO;
        packet_send(v.channel, "", 0, &fd, 1);
        message_expect_end(v.channel);
        assert_int_equal(count_descriptors_of(h.keeper), before - 1); /* the channel */
        end(&h, &v);
}

/* ---- programs ---- */

static void test_program_that_keeps_ending_is_delayed(void **state)
{
        (void) state;
        struct house h;
        struct visitor v;
        uint64_t started[5];
        begin(&h, &v);
        started[0] = now_ms();
        for (int i = 1; i < 5; i++) {
                replace_agent(&h, &v);
                started[i] = now_ms();
        }
        house_expect_log(&h, "was killed by signal 9; starting it again\n");
        assert_true(started[2] - started[1] >= 95);
        assert_true(started[3] - started[2] >= 195);
        assert_true(started[4] - started[3] >= 395);
        house_expect_log(&h, "was killed by signal 9; starting it again in 400 ms");
        end(&h, &v);
}

static void test_program_that_cannot_be_executed(void **state)
{
        (void) state;
        struct house h;
        house_open(&h);
        char *arguments[] = { (char[]){ "--dir" }, h.dir, (char[]){ "--" },
                (char[]){ "/nonexistent/reeve" }, (char[]){ "agent" }, NULL };
        h.keeper = house_run(&h, arguments, -1, 0);
        house_expect_log(&h, "cannot execute /nonexistent/reeve: No such file or directory");
        house_expect_log(&h, "exited with status 127; starting it again in 100 ms");
        kill(h.keeper, SIGTERM);
        assert_int_equal(house_wait(h.keeper), 0);
        h.keeper = 0;
        house_close(&h);
}

static void test_programs_get_back_what_the_keeper_changed(void **state)
{
        (void) state;
        struct house h;
        struct visitor v;
        struct rlimit limit;
        begin(&h, &v);
        getrlimit(RLIMIT_NOFILE, &limit);
        assert_int_equal(v.hello.blocked, 0);
        assert_int_equal(v.hello.nofile_soft, limit.rlim_cur);
        kill(h.keeper, SIGHUP); /* and also after a re-execution, which finds them changed */
        accept_next(h.agent_door, &v);
        assert_int_equal(v.hello.blocked, 0);
        assert_int_equal(v.hello.nofile_soft, limit.rlim_cur);
        end(&h, &v);
}

static void test_server_has_a_lifeline_only(void **state)
{
        (void) state;
        struct house h;
        struct visitor agent, server;
        begin_both(&h, &agent, &server);
        message_simple(server.channel, KEEPER_END, "", 0);
        message_simple(server.channel, KEEPER_HELLO, "", 0);
        house_expect_log(&h, "ignoring message");
        hello(&agent);
        kill(h.keeper, SIGKILL);
        message_expect_end(server.channel);
        message_expect_end(agent.channel);
        visitor_close(&server);
        end(&h, &agent);
}

/* ---- signals ---- */

static void test_term_leaves_tasks_running(void **state)
{
        (void) state;
        struct house h;
        struct visitor agent, server;
        pid_t parent;
        begin_both(&h, &agent, &server);
        pid_t task = visitor_order(&agent, ORDER_SLEEP, 0);
        kill(h.keeper, SIGTERM);
        assert_int_equal(house_wait(h.keeper), 0);
        h.keeper = 0;
        assert_int_equal(process_state(agent.hello.pid, NULL, NULL), 0);
        assert_int_equal(process_state(server.hello.pid, NULL, NULL), 0);
        process_expect_state(task, 'S');
        process_state(task, &parent, NULL);
        assert_int_equal(parent, getpid()); /* we are the next sub-reaper */
        visitor_close(&server);
        end(&h, &agent);
}

static void test_interrupt_asks_the_agent(void **state)
{
        (void) state;
        struct house h;
        struct visitor agent, server;
        begin_both(&h, &agent, &server);
        kill(h.keeper, SIGINT); /* nobody has said HELLO yet */
        house_expect_log(&h, "interrupted");
        hello(&agent);
        message_expect(agent.channel, KEEPER_DOWN, NULL);
        kill(h.keeper, SIGINT); /* the second changes nothing */
        message_simple(agent.channel, KEEPER_UPGRADE, "/nonexistent", 0);
        expect_failed(agent.channel, ENOENT, "/nonexistent");
        replace_agent(&h, &agent); /* it died over it: the next one hears of it too */
        hello(&agent);
        message_expect(agent.channel, KEEPER_DOWN, NULL);
        message_simple(agent.channel, KEEPER_END, "", 0);
        assert_int_equal(house_wait(h.keeper), 0);
        h.keeper = 0;
        assert_int_equal(process_state(server.hello.pid, NULL, NULL), 0);
        assert_int_equal(process_state(agent.hello.pid, NULL, NULL), 0);
        visitor_close(&server);
        end(&h, &agent);
}

static void test_interrupt_reaches_a_listening_agent(void **state)
{
        (void) state;
        struct house h;
        struct visitor v;
        begin(&h, &v);
        hello(&v);
        kill(h.keeper, SIGINT);
        message_expect(v.channel, KEEPER_DOWN, NULL);
        end(&h, &v);
}

/* ---- re-execution ---- */

static void test_upgrade_keeps_everything(void **state)
{
        (void) state;
        struct house h;
        struct visitor agent, server;
        struct keeper_record r;
        begin_both(&h, &agent, &server);
        hello(&agent);
        put_pipe(agent.channel, "gone");
        ino_t inode = put_pipe(agent.channel, "kept");
        message_simple(agent.channel, KEEPER_DROP, "gone", 0);
        pid_t task = visitor_order(&agent, ORDER_SLEEP, 0);
        pid_t ended = visitor_order(&agent, ORDER_EXIT, 9);
        expect_record(agent.channel, ended, CLD_EXITED, 9, NULL);

        /* by another path: HUP uses that one from then on */
        char link[128];
        snprintf(link, sizeof link, "%s/link", h.dir);
        assert_int_equal(symlink(getenv("KEEPER_BINARY"), link), 0);
        for (int i = 0; i < 3; i++) {
                if (i == 0)
                        message_simple(agent.channel, KEEPER_UPGRADE, link, 0);
                else
                        kill(h.keeper, SIGHUP);
                pid_t old = agent.hello.pid;
                accept_next(h.agent_door, &agent);
                accept_next(h.server_door, &server);
                assert_int_not_equal(agent.hello.pid, old);
                assert_int_equal(agent.hello.parent, h.keeper); /* the same pid */
                assert_int_equal(server.hello.parent, h.keeper);
                message_simple(agent.channel, KEEPER_HELLO, "", KEEPER_PROTOCOL);
                expect_pipe(agent.channel, "kept", inode);
                expect_record(agent.channel, ended, CLD_EXITED, 9, &r);
                assert_int_equal(r.seq, 1);
                message_expect(agent.channel, KEEPER_READY, NULL);
        }
        char path[64], command[4096] = "";
        snprintf(path, sizeof path, "/proc/%d/cmdline", h.keeper);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(read(fd, command, sizeof command - 1) > 0);
        close(fd);
        assert_string_equal(command, link);

        kill(task, SIGTERM); /* still our child, and numbers go on */
        expect_record(agent.channel, task, CLD_KILLED, SIGTERM, &r);
        assert_int_equal(r.seq, 2);
        char *again[] = { (char[]){ "--dir" }, h.dir, (char[]){ "--" }, (char[]){ "/bin/true" },
                (char[]){ "agent" }, NULL };
        assert_int_equal(WEXITSTATUS(house_wait(house_run(&h, again, -1, 0))), KEEPER_EXIT_KEPT);
        kill(h.keeper, SIGINT); /* a pending DOWN travels too */
        message_expect(agent.channel, KEEPER_DOWN, NULL);
        kill(h.keeper, SIGHUP);
        accept_next(h.agent_door, &agent);
        message_simple(agent.channel, KEEPER_HELLO, "", KEEPER_PROTOCOL);
        expect_pipe(agent.channel, "kept", inode);
        expect_record(agent.channel, ended, CLD_EXITED, 9, NULL);
        expect_record(agent.channel, task, CLD_KILLED, SIGTERM, NULL);
        message_expect(agent.channel, KEEPER_READY, NULL);
        message_expect(agent.channel, KEEPER_DOWN, NULL);
        visitor_close(&server);
        end(&h, &agent);
}

static void test_upgrade_that_fails_changes_nothing(void **state)
{
        (void) state;
        struct house h;
        struct visitor v;
        begin(&h, &v);
        int descriptors = v.hello.descriptors;
        ino_t inode = put_pipe(v.channel, "kept");
        message_simple(v.channel, KEEPER_UPGRADE, "/nonexistent/keeper", 0);
        expect_failed(v.channel, ENOENT, "/nonexistent/keeper");
        message_simple(v.channel, KEEPER_UPGRADE, h.dir, 0);
        expect_failed(v.channel, EACCES, h.dir);
        message_simple(v.channel, KEEPER_UPGRADE, "relative", 0);
        expect_failed(v.channel, EINVAL, "relative");
        message_simple(v.channel, KEEPER_HELLO, "", KEEPER_PROTOCOL);
        expect_pipe(v.channel, "kept", inode);
        message_expect(v.channel, KEEPER_READY, NULL);
        replace_agent(&h, &v);
        assert_int_equal(v.hello.descriptors, descriptors); /* close-on-exec is back */
        end(&h, &v);
}

#define ROUNDS    6
#define PER_ROUND 150

static void test_upgrade_in_a_storm_of_ends(void **state)
{
        (void) state;
        struct house h;
        struct visitor v;
        static pid_t pids[ROUNDS * PER_ROUND];
        static bool seen[ROUNDS * PER_ROUND];
        begin(&h, &v);
        for (int round = 0; round < ROUNDS; round++) {
                message_simple(v.channel, KEEPER_HELLO, "", KEEPER_PROTOCOL);
                visitor_order_many(&v, 11, PER_ROUND, &pids[round * PER_ROUND]);
                kill(h.keeper, SIGHUP);
                accept_next(h.agent_door, &v);
        }
        message_simple(v.channel, KEEPER_HELLO, "", KEEPER_PROTOCOL);
        for (uint64_t seq = 1; seq <= ROUNDS * PER_ROUND; seq++) {
                struct keeper_message m;
                message_receive(v.channel, &m, NULL, NULL);
                if (m.type == KEEPER_READY)
                        message_receive(v.channel, &m, NULL, NULL);
                assert_int_equal(m.type, KEEPER_RECORD);
                assert_int_equal(m.seq, seq);
                int i = index_of(pids, ROUNDS * PER_ROUND, m.record.pid);
                assert_false(seen[i]);
                seen[i] = true;
                assert_int_equal(m.record.status, (11 + i % PER_ROUND) % 256);
                assert_true(m.record.start_ticks > 0);
        }
        message_ack(v.channel, ROUNDS * PER_ROUND);
        replace_agent(&h, &v);
        hello(&v);
        end(&h, &v);
}

/* ---- one keeper per directory; another after it ---- */

static void test_second_keeper_is_refused(void **state)
{
        (void) state;
        struct house h;
        struct visitor v;
        char text[128], path[128], number[32] = "";
        begin(&h, &v);
        char *again[] = { (char[]){ "--dir" }, h.dir, (char[]){ "--" }, (char[]){ "/bin/true" },
                (char[]){ "agent" }, NULL };
        assert_int_equal(WEXITSTATUS(house_wait(house_run(&h, again, -1, 0))), KEEPER_EXIT_KEPT);
        snprintf(text, sizeof text, "reeve-keeper: %s is kept by process %d already\n", h.dir,
                (int) h.keeper);
        house_expect_log(&h, text);
        struct stat st;
        snprintf(path, sizeof path, "%s/keeper.lock", h.dir);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(read(fd, number, sizeof number - 1) > 0);
        close(fd);
        snprintf(text, sizeof text, "%d\n", (int) h.keeper);
        assert_string_equal(number, text);
        end(&h, &v);
}

static void adopt(int channel, const char *name, pid_t pid)
{
        struct keeper_message m = { .type = KEEPER_ADOPT, .value = (uint64_t) pid };
        snprintf(m.name, sizeof m.name, "%s", name);
        int pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
        assert_true(pidfd >= 0);
        message_send(channel, &m, &pidfd, 1);
        close(pidfd);
}

static void expect_nobody(int door)
{
        struct pollfd in = { .fd = door, .events = POLLIN };
        assert_int_equal(poll(&in, 1, 0), 0);
}

/* Kills the keeper and starts another; returns our end of the handover channel. */
static int start_handover(struct house *h, bool server)
{
        int pair[2];
        kill(h->keeper, SIGKILL);
        house_wait(h->keeper);
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
        house_start(h, server, pair[1]);
        close(pair[1]);
        return pair[0];
}

static void test_handover_from_survivors(void **state)
{
        (void) state;
        struct house h;
        struct visitor agent, server;
        struct keeper_message m;
        begin_both(&h, &agent, &server);
        int channel = start_handover(&h, true);
        message_expect_end(agent.channel);

        ino_t inode = put_pipe(channel, "kept");
        adopt(channel, "nobody", agent.hello.pid);
        expect_failed(channel, EINVAL, "nobody");
        adopt(channel, "agent", agent.hello.pid);
        adopt(channel, "server", server.hello.pid);
        message_simple(channel, KEEPER_GO, "", 0);
        message_expect(channel, KEEPER_READY, &m);
        assert_int_equal(m.value, h.keeper);
        adopt(channel, "agent", agent.hello.pid); /* too late */
        expect_failed(channel, EINVAL, "agent");
        expect_nobody(h.agent_door); /* both were adopted: none was started */
        expect_nobody(h.server_door);

        /* the adopted agent ends; what replaces it is a child */
        replace_agent(&h, &agent);
        message_simple(agent.channel, KEEPER_HELLO, "", KEEPER_PROTOCOL);
        expect_pipe(agent.channel, "kept", inode);
        message_expect(agent.channel, KEEPER_READY, NULL);
        pid_t task = visitor_order(&agent, ORDER_EXIT, 4);
        expect_record(agent.channel, task, CLD_EXITED, 4, NULL);

        /* a re-execution remembers the adopted server, and that it is told by its
         * pidfd */
        kill(h.keeper, SIGHUP);
        accept_next(h.agent_door, &agent);
        pid_t adopted = server.hello.pid;
        accept_next(h.server_door, &server);
        assert_int_equal(server.hello.parent, h.keeper);
        process_expect_state(adopted, 'Z'); /* we are its parent since the first keeper is gone */
        kill(h.keeper, SIGKILL);
        message_expect_end(channel); /* the handover channel stays, as a lifeline */
        close(channel);
        visitor_close(&server);
        end(&h, &agent);
}

static void test_handover_that_just_ends_counts_as_go(void **state)
{
        (void) state;
        struct house h;
        struct visitor agent, server;
        begin_both(&h, &agent, &server);
        int channel = start_handover(&h, true);
        adopt(channel, "server", server.hello.pid);
        kill(agent.hello.pid, SIGKILL); /* the one that began the handover */
        close(channel);
        accept_next(h.agent_door, &agent);
        assert_int_equal(agent.hello.parent, h.keeper);
        expect_nobody(h.server_door);

        /* TERM reaches the adopted one through its pidfd */
        kill(h.keeper, SIGTERM);
        assert_int_equal(house_wait(h.keeper), 0);
        h.keeper = 0;
        assert_int_equal(process_state(server.hello.pid, NULL, NULL), 'Z');
        visitor_close(&server);
        end(&h, &agent);
}

/* Who waits for READY gets it, although an upgrade was asked for during the handover. */
static void test_upgrade_waits_for_the_handover(void **state)
{
        (void) state;
        struct house h;
        struct visitor v;
        struct keeper_message m;
        begin(&h, &v);
        int channel = start_handover(&h, false);
        message_simple(channel, KEEPER_ADOPT, "nobody", 0); /* answered: it reads, HUP is blocked */
        expect_failed(channel, EINVAL, "nobody");
        kill(h.keeper, SIGHUP);
        message_simple(channel, KEEPER_ADOPT, "nobody", 0);
        expect_failed(channel, EINVAL, "nobody"); /* and now the signal was read */
        message_simple(channel, KEEPER_GO, "", 0);
        message_expect(channel, KEEPER_READY, &m);
        assert_int_equal(m.value, h.keeper);
        house_expect_log(&h, "re-executed");
        close(channel);
        end(&h, &v);
}

static void test_handover_into_a_kept_directory(void **state)
{
        (void) state;
        struct house h;
        struct visitor v;
        int pair[2];
        begin(&h, &v);
        pid_t first = h.keeper;
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
        house_start(&h, false, pair[1]);
        close(pair[1]);
        message_expect_end(pair[0]); /* without a READY */
        close(pair[0]);
        assert_int_equal(WEXITSTATUS(house_wait(h.keeper)), KEEPER_EXIT_KEPT);
        h.keeper = first;
        hello(&v);
        end(&h, &v);
}

/* ---- the command line, and doing nothing ---- */

static void expect_usage(struct house *h, char *const *arguments)
{
        assert_int_equal(WEXITSTATUS(house_wait(house_run(h, arguments, -1, 0))), 2);
}

static void test_usage(void **state)
{
        (void) state;
        struct house h;
        house_open(&h);
#define WORDS(...) (char *[]){ __VA_ARGS__, NULL }
#define W(text)    ((char[]){ text })
        expect_usage(&h, WORDS(W("--dir")));
        expect_usage(&h, WORDS(W("--dir"), h.dir));
        expect_usage(&h, WORDS(W("--dir"), h.dir, W("--")));
        expect_usage(&h, WORDS(W("--dir"), h.dir, W("--"), W("/bin/true")));
        expect_usage(&h, WORDS(W("--dir"), h.dir, W("--"), W("true"), W("agent")));
        expect_usage(&h, WORDS(W("--"), W("/bin/true"), W("agent")));
        expect_usage(&h, WORDS(W("--what"), h.dir, W("--"), W("/bin/true"), W("agent")));
        expect_usage(&h, WORDS(W("--handover-fd"), W("x"), W("--dir"), h.dir, W("--"),
                                 W("/bin/true"), W("agent")));
        expect_usage(&h, WORDS(W("--handover-fd"), W("1"), W("--dir"), h.dir, W("--"),
                                 W("/bin/true"), W("agent")));
        expect_usage(&h, WORDS(W("--dir"), h.dir, W("--"), W("/bin/true"), W("agent"), W("--"),
                                 W("/bin/true"), W("agent")));
        house_expect_log(&h, "usage: reeve-keeper --dir DIR");
        int status = house_wait(house_run(&h,
                WORDS(W("--dir"), W("/nonexistent"), W("--"), W("/bin/true"), W("agent")), -1, 0));
        assert_int_equal(WEXITSTATUS(status), 1);
        house_expect_log(&h, "/nonexistent/keeper.lock: No such file or directory");
        house_close(&h);
}

static void test_version(void **state)
{
        (void) state;
        char command[4200], line[128] = "";
        snprintf(command, sizeof command, "'%s' --version", getenv("KEEPER_BINARY"));
        FILE *f = popen(command, "re");
        assert_non_null(f);
        assert_non_null(fgets(line, sizeof line, f));
        assert_int_equal(pclose(f), 0);
        assert_string_equal(line, "reeve-keeper " REEVE_VERSION "\n");
}

static void test_idle_keeper_does_nothing(void **state)
{
        (void) state;
        struct house h;
        struct visitor v;
        begin(&h, &v);
        hello(&v);
        put_pipe(v.channel, "held");
        visitor_order(&v, ORDER_SLEEP, 0);
        message_simple(v.channel, KEEPER_DROP, "nothing", 0);
        message_simple(v.channel, KEEPER_UPGRADE, "relative", 0);
        expect_failed(v.channel, EINVAL, "relative");
        process_expect_state(h.keeper, 'S');
        expect_still(h.keeper);
        end(&h, &v);
}

int main(int argc, char **argv)
{
        if (argc > 1) /* a keeper calls us: never run the tests, which would start keepers */
                return argc == 3 ? program_main(argv[1], argv[2]) : 2;
        /* programs and tasks of a keeper that is killed come to us, to be reaped */
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_record_tells_how_a_task_ended),
                cmocka_unit_test(test_records_wait_for_the_acknowledgement),
                cmocka_unit_test(test_full_ring_loses_nothing),
                cmocka_unit_test(test_rest_of_a_process_group_is_left_alone),
                cmocka_unit_test(test_deposits_outlive_the_agent),
                cmocka_unit_test(test_bad_deposits_are_refused),
                cmocka_unit_test(test_packets_of_other_lengths),
                cmocka_unit_test(test_empty_packet_leaves_nothing),
                cmocka_unit_test(test_deposits_stop_before_descriptors_run_out),
                cmocka_unit_test(test_program_that_keeps_ending_is_delayed),
                cmocka_unit_test(test_program_that_cannot_be_executed),
                cmocka_unit_test(test_programs_get_back_what_the_keeper_changed),
                cmocka_unit_test(test_server_has_a_lifeline_only),
                cmocka_unit_test(test_term_leaves_tasks_running),
                cmocka_unit_test(test_interrupt_asks_the_agent),
                cmocka_unit_test(test_interrupt_reaches_a_listening_agent),
                cmocka_unit_test(test_upgrade_keeps_everything),
                cmocka_unit_test(test_upgrade_that_fails_changes_nothing),
                cmocka_unit_test(test_upgrade_in_a_storm_of_ends),
                cmocka_unit_test(test_second_keeper_is_refused),
                cmocka_unit_test(test_handover_from_survivors),
                cmocka_unit_test(test_handover_that_just_ends_counts_as_go),
                cmocka_unit_test(test_upgrade_waits_for_the_handover),
                cmocka_unit_test(test_handover_into_a_kept_directory),
                cmocka_unit_test(test_usage),
                cmocka_unit_test(test_version),
                cmocka_unit_test(test_idle_keeper_does_nothing),
        };
        return cmocka_run_group_tests_name("keeper", tests, NULL, NULL);
}
