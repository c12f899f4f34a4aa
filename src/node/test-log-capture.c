/* SPDX-License-Identifier: BSD-3-Clause */
/* Capture and its reader, with real FIFOs and writing processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/time.h"
#include "node/capture.h"
#include "node/logfile.h"
#include "node/logread.h"

#define DEADLINE (60 * USEC_SEC)

struct place {
        char dir[64];
        bool mounted;
        uv_loop_t loop;
        uv_timer_t beat; /* lets a wait look at its condition */
        struct capture *capture;
        unsigned grown, flows[3];
        struct capture_stream *close_on_growth;
};

static void on_grown(void *data, struct capture_stream *stream)
{
        struct place *p = data;

        p->grown++;
        if (p->close_on_growth == stream)
                capture_stream_close(stream);
}

static void on_flow(
        void *data, struct capture_stream *stream, enum capture_flow flow, const struct error *why)
{
        struct place *p = data;

        assert_int_equal(capture_stream_get_flow(stream), flow);
        assert_true(flow == CAPTURE_FLOWING || why->code == ERR_NO_SPACE);
        p->flows[flow]++;
}

static void start_capture(struct place *p)
{
        struct capture_events events = { .grown = on_grown, .flow = on_flow, .data = p };
        struct error err = ERROR_INIT;
        char path[128];

        snprintf(path, sizeof path, "%s/staging", p->dir);
        if (capture_new(&p->loop, path, &events, &p->capture, &err) < 0)
                fail_msg("%s", err.message);
}

static void stop_capture(struct place *p)
{
        capture_free(take_ptr(p->capture));
        for (int i = 0; i < 3; i++)
                uv_run(&p->loop, UV_RUN_NOWAIT);
}

static int make_place(void **state)
{
        struct place *p = mem_alloc(sizeof *p);

        snprintf(p->dir, sizeof p->dir, "/tmp/reeve-test-capture-XXXXXX");
        assert_non_null(mkdtemp(p->dir));
        uv_loop_init(&p->loop);
        uv_timer_init(&p->loop, &p->beat);
        *state = p;
        return 0;
}

static int remove_place(void **state)
{
        struct place *p = *state;

        capture_free(p->capture);
        uv_close((uv_handle_t *) &p->beat, NULL);
        uv_run(&p->loop, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&p->loop), 0);
        if (p->mounted)
                umount2(p->dir, MNT_DETACH);
        file_remove_tree(p->dir, NULL);
        free(p);
        return 0;
}

/* A task's end of a stream: FIFO held open read-write. */
static int open_fifo(const struct place *p, const char *name)
{
        char path[128];
        int fd;

        snprintf(path, sizeof path, "%s/%s.fifo", p->dir, name);
        assert_true(mkfifo(path, 0600) == 0 || errno == EEXIST);
        fd = open(path, O_RDWR | O_CLOEXEC);
        assert_true(fd >= 0);
        return fd;
}

static struct capture_stream *open_stream(struct place *p, const char *name, uint64_t size,
        uint32_t files, enum capture_when_full when_full)
{
        struct capture_stream_config config = { .directory = p->dir,
                .name = name,
                .size = size,
                .files = files,
                .run = 1,
                .when_full = when_full,
                .owner = p };
        struct capture_stream *stream = NULL;
        struct error err = ERROR_INIT;
        char path[128];

        snprintf(path, sizeof path, "%s/%s.fifo", p->dir, name);
        config.fifo = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        assert_true(config.fifo >= 0);
        if (capture_stream_open(p->capture, &config, &stream, &err) < 0)
                fail_msg("%s", err.message);
        assert_ptr_equal(capture_stream_get_owner(stream), p);
        return stream;
}

static uint64_t size_of(struct capture_stream *stream)
{
        struct error err = ERROR_INIT;
        uint64_t size;

        if (capture_stream_size(stream, &size, &err) < 0)
                fail_msg("%s", err.message);
        return size;
}

static void on_beat(uv_timer_t *beat)
{
        (void) beat;
}

#define RUN_UNTIL(p, condition)                                                                    \
        do {                                                                                       \
                usec_t deadline_ = time_mono() + DEADLINE;                                         \
                uv_timer_start(&(p)->beat, on_beat, 2, 2);                                         \
                while (!(condition)) {                                                             \
                        if (time_mono() > deadline_)                                               \
                                fail_msg("waited in vain for: %s", #condition);                    \
                        uv_run(&(p)->loop, UV_RUN_ONCE);                                           \
                }                                                                                  \
                uv_timer_stop(&(p)->beat);                                                         \
        } while (0)

static void say(int fifo, const char *text)
{
        assert_int_equal(write(fifo, text, strlen(text)), strlen(text));
}

static void expect_file(const struct place *p, const char *name, const char *content)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        struct error err = ERROR_INIT;
        char path[128];

        snprintf(path, sizeof path, "%s/%s", p->dir, name);
        if (file_read(path, 1 << 20, &b, &err) < 0)
                fail_msg("%s", err.message);
        assert_string_equal(buffer_str(&b), content);
}

/* A process that writes lines "0\n", "1\n" … padded to @len bytes; it ends after @count. */
static pid_t start_writer(int fifo, unsigned count, unsigned len)
{
        pid_t pid = fork();
        char line[8192];

        assert_true(pid >= 0);
        if (pid > 0)
                return pid;
        for (unsigned i = 0; i < count; i++) {
                unsigned n = (unsigned) snprintf(line, sizeof line, "%u ", i);

                for (; n < len - 1; n++)
                        line[n] = '.';
                line[n++] = '\n';
                if (write(fifo, line, n) != (ssize_t) n)
                        _exit(1);
        }
        _exit(0);
}

static bool has_ended(pid_t *pid)
{
        int status;

        if (*pid == 0 || waitpid(*pid, &status, WNOHANG) == 0)
                return *pid == 0;
        *pid = 0;
        assert_int_equal(status, 0);
        return true;
}

/* Takes the text apart into lines and checks that their numbers ascend. */
struct line_check {
        struct buffer partial;
        unsigned next, missing;
        uint64_t bytes, dropped, rotated, position;
        uint32_t run;
};

static void check_lines(struct line_check *c, const char *data, size_t len)
{
        buffer_put(&c->partial, data, len);
        for (;;) {
                char *end = memchr(c->partial.data, '\n', c->partial.len);
                unsigned number;

                if (end == NULL)
                        return;
                number = (unsigned) strtoul(c->partial.data, NULL, 10);
                if (number < c->next)
                        fail_msg("line %u after %u", number, c->next - 1);
                c->missing += number - c->next;
                c->next = number + 1;
                buffer_consume(&c->partial, (size_t) (end - c->partial.data) + 1);
        }
}

/* Reads what there is. After a gap the line that was cut by it is left out. */
static void read_on(struct logread *reader, struct line_check *c)
{
        char buf[10000];
        struct logread_chunk chunk;
        struct error err = ERROR_INIT;
        int r;

        while ((r = logread_next(reader, buf, sizeof buf, &chunk, &err)) > 0) {
                assert_int_equal(chunk.byte,
                        c->position + (chunk.gap > 0 && chunk.why == LOGREAD_GAP_ROTATED ? chunk.gap
                                                                                         : 0));
                assert_true(chunk.run >= c->run);
                c->run = chunk.run;
                c->position = chunk.byte + chunk.len;
                c->bytes += chunk.len;
                if (chunk.gap > 0 && chunk.why == LOGREAD_GAP_ROTATED) {
                        c->rotated += chunk.gap;
                        buffer_reset(&c->partial);
                } else if (chunk.gap > 0) {
                        c->dropped += chunk.gap;
                        buffer_reset(&c->partial);
                } else {
                        check_lines(c, buf, chunk.len);
                }
        }
        if (r < 0)
                fail_msg("%s", err.message);
}

static struct logread *open_reader(
        const struct place *p, const char *name, enum logread_start start, uint64_t value)
{
        struct logread *reader = NULL;
        struct error err = ERROR_INIT;

        if (logread_open(p->dir, name, (struct logread_from){ .start = start, .value = value },
                    &reader, &err) < 0)
                fail_msg("%s", err.message);
        return reader;
}

static char *read_text(
        const struct place *p, const char *name, enum logread_start start, uint64_t value)
{
        struct logread *reader = open_reader(p, name, start, value);
        struct buffer text = { 0 };
        struct logread_chunk chunk;
        char buf[7];

        buffer_puts(&text, "");
        while (logread_next(reader, buf, sizeof buf, &chunk, NULL) > 0) {
                if (chunk.gap > 0)
                        buffer_printf(&text, "[%llu]", (unsigned long long) chunk.gap);
                buffer_put(&text, buf, chunk.len);
        }
        logread_free(reader);
        return buffer_take(&text);
}

static void expect_text(const struct place *p, const char *name, enum logread_start start,
        uint64_t value, const char *expected)
{
        AUTO(mem_freep) char *text = read_text(p, name, start, value);

        assert_string_equal(text, expected);
}

/* Capturing */

static void what_is_written_comes_to_the_file(void **state)
{
        struct place *p = *state;
        int out = open_fifo(p, "stdout"), err = open_fifo(p, "stderr");
        struct capture_stream *stream;
        struct stat st;
        char path[128];

        start_capture(p);
        stream = open_stream(p, "stdout", 1000, 2, CAPTURE_FULL_BLOCK);
        open_stream(p, "stderr", 1000, 2, CAPTURE_FULL_BLOCK);
        say(out, "hello\n");
        RUN_UNTIL(p, p->grown > 0);
        expect_file(p, "stdout", "hello\n");
        assert_int_equal(size_of(stream), 6);
        say(out, "no newline");
        assert_int_equal(capture_stream_drain(stream, NULL), 0);
        expect_file(p, "stdout", "hello\nno newline");
        snprintf(path, sizeof path, "%s/stderr", p->dir);
        assert_int_equal(stat(path, &st), -1); /* silence costs no file */
        stop_capture(p);

        say(out, ", later\n"); /* while nobody captures */
        start_capture(p);
        stream = open_stream(p, "stdout", 1000, 2, CAPTURE_FULL_BLOCK);
        RUN_UNTIL(p, size_of(stream) == 24);
        expect_file(p, "stdout", "hello\nno newline, later\n");
        close(out);
        close(err);
}

static void two_cannot_capture_in_one_place(void **state)
{
        struct place *p = *state;
        char path[128];
        int status;
        pid_t pid;

        start_capture(p);
        snprintf(path, sizeof path, "%s/staging", p->dir);
        pid = fork();
        if (pid == 0) {
                struct capture *other;
                struct error err = ERROR_INIT;
                uv_loop_t loop;

                uv_loop_init(&loop);
                _exit(capture_new(&loop, path, &(struct capture_events){ 0 }, &other, &err) < 0 &&
                                        err.code == ERR_CONFLICT
                                ? 0
                                : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
}

static void idle_streams_wake_nobody(void **state)
{
        struct place *p = *state;
        int out = open_fifo(p, "stdout");
        struct capture_stream *stream;
        struct pollfd wait = { .events = POLLIN };
        pid_t writer;

        start_capture(p);
        stream = open_stream(p, "stdout", 1 << 20, 2, CAPTURE_FULL_BLOCK);
        writer = start_writer(out, 20000, 50); /* makes it hot */
        close(out);                            /* from its end on nobody writes: a hang-up */
        RUN_UNTIL(p, has_ended(&writer) && size_of(stream) == 1000000);
        wait.fd = uv_backend_fd(&p->loop);
        for (usec_t deadline = time_mono() + DEADLINE; poll(&wait, 1, 60) > 0;) {
                assert_true(time_mono() < deadline);
                uv_run(&p->loop, UV_RUN_NOWAIT);
        }
        assert_int_equal(uv_backend_timeout(&p->loop), -1); /* no timer of the loop either */
        out = open_fifo(p, "stdout");
        say(out, "awake\n");
        RUN_UNTIL(p, size_of(stream) == 1000006);
        close(out);
}

static void a_loud_stream_does_not_starve_others(void **state)
{
        struct place *p = *state;
        int loud = open_fifo(p, "stdout"), soft = open_fifo(p, "stderr");
        struct capture_stream *stream;
        pid_t writer;

        start_capture(p);
        open_stream(p, "stdout", 4 << 20, 1, CAPTURE_FULL_BLOCK);
        stream = open_stream(p, "stderr", 1 << 20, 1, CAPTURE_FULL_BLOCK);
        writer = start_writer(loud, 1000000, 4000);
        RUN_UNTIL(p, p->grown > 20);
        for (unsigned i = 1; i <= 50; i++) {
                say(soft, "still here\n");
                RUN_UNTIL(p, size_of(stream) == i * 11);
        }
        assert_int_equal(waitpid(writer, NULL, WNOHANG), 0); /* loud to the end */
        kill(writer, SIGKILL);
        waitpid(writer, NULL, 0);
        close(loud);
        close(soft);
}

static void more_streams_than_open_files(void **state)
{
        enum { COUNT = 300 };
        struct place *p = *state;
        struct capture_stream *streams[COUNT];
        int fifos[COUNT];
        struct rlimit limit = { 4096, 4096 };
        char name[32], text[32];

        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
                skip();
        start_capture(p);
        for (int i = 0; i < COUNT; i++) {
                snprintf(name, sizeof name, "s%d", i);
                fifos[i] = open_fifo(p, name);
                streams[i] = open_stream(p, name, 1000, 1, CAPTURE_FULL_BLOCK);
        }
        for (int round = 0; round < 3; round++)
                for (int i = 0; i < COUNT; i++)
                        say(fifos[i], "line\n");
        for (int i = 0; i < COUNT; i++)
                RUN_UNTIL(p, size_of(streams[i]) == 15);
        for (int i = 0; i < COUNT; i++)
                say(fifos[i], "more\n");
        for (int i = 0; i < COUNT; i++) {
                RUN_UNTIL(p, size_of(streams[i]) == 20);
                snprintf(name, sizeof name, "s%d", i);
                snprintf(text, sizeof text, "line\nline\nline\nmore\n");
                expect_file(p, name, text);
                close(fifos[i]);
        }
}

static void a_callback_may_close_its_stream(void **state)
{
        struct place *p = *state;
        int out = open_fifo(p, "stdout"), err = open_fifo(p, "stderr");
        struct capture_stream *other;

        start_capture(p);
        p->close_on_growth = open_stream(p, "stdout", 1000, 2, CAPTURE_FULL_BLOCK);
        other = open_stream(p, "stderr", 1000, 2, CAPTURE_FULL_BLOCK);
        say(out, "one\n");
        say(err, "two\n");
        RUN_UNTIL(p, p->grown >= 2);
        p->close_on_growth = other;
        say(err, "three\n");
        assert_int_equal(capture_stream_drain(other, NULL), 0);
        expect_file(p, "stdout", "one\n");
        expect_file(p, "stderr", "two\nthree\n");
        close(out);
        close(err);
}

/* Reading */

static void a_reader_begins_where_it_is_told(void **state)
{
        struct place *p = *state;
        int out = open_fifo(p, "stdout");
        struct capture_stream *stream;
        usec_t before;

        expect_text(p, "stdout", LOGREAD_LINES, 10, "");
        start_capture(p);
        stream = open_stream(p, "stdout", 12, 3, CAPTURE_FULL_BLOCK);
        say(out, "one\ntwo\nthree\n");
        capture_stream_set_run(stream, 2);
        say(out, "four\nfive\n");
        assert_int_equal(capture_stream_drain(stream, NULL), 0);
        capture_stream_set_run(stream, 4);
        say(out, "six");
        assert_int_equal(capture_stream_drain(stream, NULL), 0);
        expect_text(p, "stdout", LOGREAD_BYTE, 0, "one\ntwo\nthree\nfour\nfive\nsix");
        expect_text(p, "stdout", LOGREAD_BYTE, 20, "ive\nsix");
        expect_text(p, "stdout", LOGREAD_BYTE, 1000, "");
        expect_text(p, "stdout", LOGREAD_LINES, 0, "");
        expect_text(p, "stdout", LOGREAD_LINES, 1, "six");
        expect_text(p, "stdout", LOGREAD_LINES, 3, "four\nfive\nsix");
        expect_text(p, "stdout", LOGREAD_LINES, 99, "one\ntwo\nthree\nfour\nfive\nsix");
        expect_text(p, "stdout", LOGREAD_RUN, 1, "one\ntwo\nthree\n");
        expect_text(p, "stdout", LOGREAD_RUN, 2, "four\nfive\n");
        expect_text(p, "stdout", LOGREAD_RUN, 3, "");
        expect_text(p, "stdout", LOGREAD_RUN, 4, "six");
        expect_text(p, "stdout", LOGREAD_SINCE, 0, "one\ntwo\nthree\nfour\nfive\nsix");
        expect_text(p, "stdout", LOGREAD_SINCE, time_wall() + USEC_HOUR, "");
        before = time_wall();
        RUN_UNTIL(p, time_wall() > before + 1200 * USEC_MSEC);
        say(out, "\nlate\n");
        assert_int_equal(capture_stream_drain(stream, NULL), 0);
        expect_text(p, "stdout", LOGREAD_SINCE, before + 1100 * USEC_MSEC, "six\nlate\n");
        say(out, "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n");
        assert_int_equal(capture_stream_drain(stream, NULL), 0);
        expect_text(p, "stdout", LOGREAD_LINES, 2, "13\n14\n");
        expect_text(p, "stdout", LOGREAD_BYTE, 15,
                "[13]late\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n");
        close(out);
}

static char *read_part(const struct place *p, struct logread_from from)
{
        struct buffer text = { 0 };
        struct logread *reader;
        struct logread_chunk chunk;
        struct error err = ERROR_INIT;
        char buf[7];

        if (logread_open(p->dir, "stdout", from, &reader, &err) < 0)
                fail_msg("%s", err.message);
        while (logread_next(reader, buf, sizeof buf, &chunk, &err) > 0)
                buffer_put(&text, buf, chunk.len);
        logread_free(reader);
        buffer_puts(&text, "");
        return buffer_take(&text);
}

#define expect_part(p, expected, ...)                                                              \
        do {                                                                                       \
                char *text_ = read_part(p, (struct logread_from){ __VA_ARGS__ });                  \
                                                                                                   \
                assert_string_equal(text_, expected);                                              \
                free(text_);                                                                       \
        } while (0)

/* Time, run and a number of lines together; times are told apart by tenths of a second. */
static void a_reader_reads_the_part_it_is_told(void **state)
{
        struct place *p = *state;
        int out = open_fifo(p, "stdout");
        struct capture_stream *stream;
        usec_t began, second, third;

        start_capture(p);
        stream = open_stream(p, "stdout", 24, 9, CAPTURE_FULL_BLOCK);
        began = time_wall();
        say(out, "a1\na2\na3");
        assert_int_equal(capture_stream_drain(stream, NULL), 0);
        RUN_UNTIL(p, time_wall() > began + 300 * USEC_MSEC);
        second = time_wall();
        say(out, " goes on\nb1\nb2\n");
        capture_stream_set_run(stream, 2);
        say(out, "c1\n");
        assert_int_equal(capture_stream_drain(stream, NULL), 0);
        RUN_UNTIL(p, time_wall() > second + 300 * USEC_MSEC);
        third = time_wall();
        say(out, "c2\nc3\n");
        assert_int_equal(capture_stream_drain(stream, NULL), 0);

        expect_part(p, "a1\na2\na3 goes on\nb1\nb2\nc1\nc2\nc3\n", .since = began);
        expect_part(p, "c2\nc3\n", .since = third);
        expect_part(p, "c3\n", .start = LOGREAD_LINES, .value = 1, .since = third);
        expect_part(p, "c2\nc3\n", .start = LOGREAD_LINES, .value = 9, .since = third);
        expect_part(p, "a1\na2\na3 goes on\n", .until = second); /* in whole lines */
        expect_part(p, "a1\na2\na3 goes on\nb1\nb2\nc1\n", .until = third);
        expect_part(p, "b2\nc1\n", .start = LOGREAD_LINES, .value = 2, .until = third);
        expect_part(p, "c1\n", .run = 2, .until = third);
        expect_part(p, "c2\nc3\n", .run = 2, .since = third);
        expect_part(p, "a1\na2\na3 goes on\nb1\nb2\n", .run = 1);
        expect_part(p, "b1\nb2\n", .start = LOGREAD_LINES, .value = 2, .run = 1);
        expect_part(p, "", .run = 1, .since = third);
        expect_part(p, "", .until = began);
        close(out);
}

static void a_run_read_alone_ends(void **state)
{
        struct place *p = *state;
        int out = open_fifo(p, "stdout");
        struct capture_stream *stream;
        struct logread *reader;
        struct logread_chunk chunk;
        char buf[100];

        start_capture(p);
        stream = open_stream(p, "stdout", 1000, 3, CAPTURE_FULL_BLOCK);
        say(out, "one\n");
        assert_int_equal(capture_stream_drain(stream, NULL), 0);
        reader = open_reader(p, "stdout", LOGREAD_RUN, 1);
        assert_int_equal(logread_next(reader, buf, sizeof buf, &chunk, NULL), 1);
        assert_int_equal(chunk.run, 1);
        assert_int_equal(chunk.len, 4);
        assert_true(chunk.wall <= time_wall() && chunk.wall > time_wall() - USEC_MINUTE);
        assert_int_equal(logread_next(reader, buf, sizeof buf, &chunk, NULL), 0);
        assert_false(logread_ended(reader));
        capture_stream_set_run(stream, 2);
        say(out, "two\n");
        assert_int_equal(capture_stream_drain(stream, NULL), 0);
        assert_int_equal(logread_next(reader, buf, sizeof buf, &chunk, NULL), 0);
        assert_true(logread_ended(reader));
        assert_int_equal(logread_position(reader), 4);
        logread_free(reader);
        close(out);
}

static void a_follower_survives_rotation(void **state)
{
        enum { LINES = 60000 };
        struct place *p = *state;
        int out = open_fifo(p, "stdout");
        struct line_check all = { 0 }, slow = { 0 };
        struct logread *follower, *sleeper;
        struct capture_stream *stream;
        pid_t writer;

        start_capture(p);
        stream = open_stream(p, "stdout", 50000, 20, CAPTURE_FULL_BLOCK);
        follower = open_reader(p, "stdout", LOGREAD_BYTE, 0);
        sleeper = open_reader(p, "stdout", LOGREAD_BYTE, 0);
        say(out, "0\n");
        RUN_UNTIL(p, p->grown > 0);
        read_on(sleeper, &slow);
        read_on(follower, &all);
        writer = start_writer(out, LINES, 100);
        all.next = slow.next = 0;
        RUN_UNTIL(p,
                (read_on(follower, &all), has_ended(&writer)) && all.position == LINES * 100 + 2);
        assert_int_equal(size_of(stream), LINES * 100 + 2);
        assert_int_equal(all.bytes + all.rotated, LINES * 100 + 2);
        assert_int_equal(all.next, LINES);
        assert_true(all.missing <= all.rotated / 100 + 1);
        read_on(sleeper, &slow); /* most of it was removed under it, and that is said */
        assert_int_equal(slow.position, LINES * 100 + 2);
        assert_int_equal(slow.bytes + slow.rotated, LINES * 100 + 2);
        assert_true(slow.rotated > LINES * 40);
        assert_int_equal(slow.next, LINES);
        logread_free(follower);
        logread_free(sleeper);
        buffer_done(&all.partial);
        buffer_done(&slow.partial);
        close(out);
}

/* A reader in a process of its own while files come and go every few hundred bytes: nothing may
 * appear twice or in the wrong order, and all numbers are accounted for. */
static void a_reader_elsewhere_survives_rotation(void **state)
{
        enum { LINES = 100000 };
        struct place *p = *state;
        int out = open_fifo(p, "stdout"), status;
        struct capture_stream *stream;
        pid_t writer, reader;

        reader = fork();
        if (reader == 0) {
                struct logread *follower = open_reader(p, "stdout", LOGREAD_BYTE, 0);
                struct line_check all = { 0 };
                usec_t deadline = time_mono() + DEADLINE;

                while (all.position < LINES * 20 && time_mono() < deadline)
                        read_on(follower, &all);
                _exit(all.next == LINES && all.bytes + all.rotated == LINES * 20 ? 0 : 1);
        }
        start_capture(p);
        stream = open_stream(p, "stdout", 2000, 3, CAPTURE_FULL_BLOCK);
        writer = start_writer(out, LINES, 20);
        RUN_UNTIL(p, has_ended(&writer) && size_of(stream) == LINES * 20);
        assert_int_equal(waitpid(reader, &status, 0), reader);
        assert_int_equal(status, 0);
        close(out);
}

/* A full disk: a small one of our own */

static void mount_small(struct place *p)
{
        if (geteuid() != 0 || mount("tmpfs", p->dir, "tmpfs", 0, "size=4m,mode=700") < 0) {
                print_message("skipped: mounting a tmpfs needs root\n");
                skip();
        }
        p->mounted = true;
}

static void fill(const struct place *p, bool full)
{
        char path[128];
        int fd;

        snprintf(path, sizeof path, "%s/filler", p->dir);
        if (!full) {
                assert_int_equal(unlink(path), 0);
                return;
        }
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_int_equal(posix_fallocate(fd, 0, 5 << 19), 0);
        close(fd);
}

/* The end of stdout as the files tell it. */
static uint64_t stored(const struct place *p)
{
        struct logfile lf;
        uint64_t next = 0;
        char path[128];

        snprintf(path, sizeof path, "%s/stdout", p->dir);
        logfile_init(&lf, path, 0, 0);
        if (logfile_load(&lf, NULL) == 0)
                next = logfile_next(&lf);
        logfile_done(&lf);
        return next;
}

static void check_all(struct place *p, const char *name, unsigned lines, uint64_t bytes)
{
        struct logread *reader = open_reader(p, name, LOGREAD_BYTE, 0);
        struct line_check all = { 0 };

        read_on(reader, &all);
        logread_free(reader);
        buffer_done(&all.partial);
        assert_int_equal(all.next, lines);
        assert_int_equal(all.missing, 0);
        assert_int_equal(all.bytes, bytes);
        assert_int_equal(all.dropped, 0);
}

static void a_full_disk_blocks_the_task(void **state)
{
        struct place *p = *state;
        struct capture_stream *out_stream, *err_stream;
        pid_t writers[2];
        int out, err;

        mount_small(p);
        out = open_fifo(p, "stdout");
        err = open_fifo(p, "stderr");
        fill(p, true);
        start_capture(p);
        out_stream = open_stream(p, "stdout", 200000, 100, CAPTURE_FULL_BLOCK);
        err_stream = open_stream(p, "stderr", 0, 0, CAPTURE_FULL_BLOCK);
        writers[0] = start_writer(out, 500, 4000);
        writers[1] = start_writer(err, 5000, 100);
        RUN_UNTIL(p, capture_stream_get_flow(out_stream) == CAPTURE_BLOCKED);
        assert_int_equal(capture_stream_drain(out_stream, NULL), -1);
        assert_false(has_ended(&writers[0]));
        fill(p, false);
        RUN_UNTIL(p, has_ended(&writers[0]) && has_ended(&writers[1]));
        RUN_UNTIL(p, size_of(out_stream) == 2000000 && size_of(err_stream) == 500000);
        assert_int_equal(capture_stream_get_flow(out_stream), CAPTURE_FLOWING);
        assert_true(p->flows[CAPTURE_BLOCKED] >= 1);
        assert_true(p->flows[CAPTURE_FLOWING] == p->flows[CAPTURE_BLOCKED]);
        check_all(p, "stdout", 500, 2000000);
        check_all(p, "stderr", 5000, 500000);
        close(out);
        close(err);
}

static void what_a_full_disk_holds_up_survives_a_restart(void **state)
{
        struct place *p = *state;
        struct capture_stream *stream;
        uint64_t before;
        pid_t writer;
        int out;

        mount_small(p);
        out = open_fifo(p, "stdout");
        fill(p, true);
        start_capture(p);
        stream = open_stream(p, "stdout", 200000, 100, CAPTURE_FULL_BLOCK);
        writer = start_writer(out, 500, 4000);
        RUN_UNTIL(p, capture_stream_get_flow(stream) == CAPTURE_BLOCKED);
        stop_capture(p);
        start_capture(p); /* still full: the bytes stay in staging, without a stream at first */
        stream = open_stream(p, "stdout", 200000, 100, CAPTURE_FULL_BLOCK);
        RUN_UNTIL(p, capture_stream_get_flow(stream) == CAPTURE_BLOCKED);
        before = stored(p);
        stop_capture(p);
        start_capture(p);
        fill(p, false);
        RUN_UNTIL(p, stored(p) > before); /* by itself, without a stream */
        stream = open_stream(p, "stdout", 200000, 100, CAPTURE_FULL_BLOCK);
        RUN_UNTIL(p, has_ended(&writer) && size_of(stream) == 2000000);
        check_all(p, "stdout", 500, 2000000);
        close(out);
}

static void a_full_disk_drops_when_told_and_says_so(void **state)
{
        struct place *p = *state;
        struct capture_stream *stream, *blocked;
        struct line_check all = { 0 };
        struct logread *reader;
        pid_t writer, other;
        int out, err;

        mount_small(p);
        out = open_fifo(p, "stdout");
        err = open_fifo(p, "stderr");
        fill(p, true);
        start_capture(p);
        stream = open_stream(p, "stdout", 300000, 100, CAPTURE_FULL_DROP);
        blocked = open_stream(p, "stderr", 0, 0, CAPTURE_FULL_BLOCK);
        other = start_writer(err, 500, 4000);
        RUN_UNTIL(p, capture_stream_get_flow(blocked) == CAPTURE_BLOCKED);
        writer = start_writer(out, 1000, 4000);
        RUN_UNTIL(p, has_ended(&writer)); /* does not wait for anybody */
        assert_int_equal(capture_stream_drain(stream, NULL), 0);
        assert_int_equal(capture_stream_get_flow(stream), CAPTURE_DROPPING);
        assert_int_equal(p->flows[CAPTURE_DROPPING], 1);
        fill(p, false);
        say(out, "1000\n");
        RUN_UNTIL(p, capture_stream_get_flow(stream) == CAPTURE_FLOWING);
        RUN_UNTIL(p, has_ended(&other) && size_of(blocked) == 2000000);
        check_all(p, "stderr", 500, 2000000);
        reader = open_reader(p, "stdout", LOGREAD_BYTE, 0);
        read_on(reader, &all);
        logread_free(reader);
        buffer_done(&all.partial);
        assert_int_equal(all.bytes + all.dropped, 4000005);
        assert_int_equal(all.rotated, 0);
        assert_true(all.dropped > 1000000);
        assert_int_equal(all.next, 1001);
        close(out);
        close(err);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_place, remove_place)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(what_is_written_comes_to_the_file),
                TEST(two_cannot_capture_in_one_place),
                TEST(idle_streams_wake_nobody),
                TEST(a_loud_stream_does_not_starve_others),
                TEST(more_streams_than_open_files),
                TEST(a_callback_may_close_its_stream),
                TEST(a_reader_begins_where_it_is_told),
                TEST(a_reader_reads_the_part_it_is_told),
                TEST(a_run_read_alone_ends),
                TEST(a_follower_survives_rotation),
                TEST(a_reader_elsewhere_survives_rotation),
                TEST(a_full_disk_blocks_the_task),
                TEST(what_a_full_disk_holds_up_survives_a_restart),
                TEST(a_full_disk_drops_when_told_and_says_so),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
