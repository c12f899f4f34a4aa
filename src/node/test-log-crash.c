/* SPDX-License-Identifier: BSD-3-Clause */
/* Kills the capturing process at random instants, hundreds of times, while writers write as fast as
 * they are let; afterwards the files must hold exactly what was written. REEVE_TEST_SEED replays a
 * run as far as its writers go, REEVE_TEST_KILLS makes it longer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "node/capture.h"
#include "node/logfile.h"
#include "node/logread.h"

#define LINE_MAX_LENGTH 4100
#define KILLS           300u
#define DEADLINE        (120 * USEC_SEC)

struct kind {
        const char *task, *name;
        uint64_t rotate_size;
        uint32_t files;
        unsigned line_min, line_max;   /* length of a line */
        unsigned write_min, write_max; /* length of a write; 0: each line is one */
        unsigned pause_usec;           /* up to, after each write */
        uint64_t per_kill;             /* bytes that a writer may be ahead, per kill */
};

static const struct kind kinds[] = {
        { "bulk", "stdout", 4 << 20, 1000, 4000, 4000, 0, 0, 0, 700 << 10 },
        { "bulk", "stderr", 300 << 10, 1000, 20, 300, 1, 30000, 0, 200 << 10 },
        { "small", "stdout", 16 << 10, 2000, 10, 120, 0, 0, 0, 16 << 10 },
        { "small", "stderr", 4 << 10, 2000, 5, 40, 0, 0, 800, 1 << 10 },
};
#define STREAMS ARRAY_SIZE(kinds)

struct shared {
        _Atomic uint64_t allowed[STREAMS], written[STREAMS];
        _Atomic bool stop, drain;
        _Atomic unsigned started;
};

struct house {
        char dir[64];
        uint64_t seed;
        struct shared *shared;
        int fifos[STREAMS]; /* held open as a task does */
        pid_t writers[STREAMS];
};

static uint64_t mix(uint64_t z)
{
        z += 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        return z ^ z >> 31;
}

static unsigned between(uint64_t random, unsigned min, unsigned max)
{
        return min + (unsigned) (random % (max - min + 1));
}

/* Line @number of a stream, the same every time. Some are full of NULs and other odd bytes. */
static size_t make_line(char *ret, const struct house *h, size_t stream, uint64_t number)
{
        const struct kind *kind = &kinds[stream];
        uint64_t random = mix(h->seed ^ mix(stream << 56 ^ number));
        size_t len = between(random, kind->line_min, kind->line_max);
        char head[32];
        size_t head_len =
                (size_t) snprintf(head, sizeof head, "%llu ", (unsigned long long) number);
        char fill = (char) (random >> 40);

        memset(ret, fill == '\n' ? 'x' : fill, len);
        memcpy(ret, head, MIN(head_len, len - 1));
        ret[len - 1] = '\n';
        return len;
}

static void path_of(char ret[PATH_MAX], const struct house *h, size_t stream, const char *suffix)
{
        snprintf(ret, PATH_MAX, "%s/%s/%s%s", h->dir, kinds[stream].task, kinds[stream].name,
                suffix);
}

/* The writer */

static void write_exactly(int fd, const char *data, size_t len)
{
        while (len > 0) {
                ssize_t n = write(fd, data, len);

                if (n <= 0)
                        _exit(1);
                data += n;
                len -= (size_t) n;
        }
}

static void write_in_pieces(struct house *h, size_t stream, const char *line, size_t len)
{
        const struct kind *kind = &kinds[stream];
        static char pending[64 << 10];
        static size_t pending_len, target;
        static uint64_t random;

        if (kind->write_max == 0) {
                write_exactly(h->fifos[stream], line, len);
                return;
        }
        memcpy(pending + pending_len, line, len);
        pending_len += len;
        while (pending_len > 0 && pending_len >= target) {
                size_t n = MIN(pending_len, MAX(target, (size_t) 1));

                write_exactly(h->fifos[stream], pending, n);
                memmove(pending, pending + n, pending_len - n);
                pending_len -= n;
                random = mix(random + h->seed);
                target = between(random, kind->write_min,
                        random >> 60 == 0 ? kind->write_max : kind->write_min + 200);
        }
        if (len == 0 && pending_len > 0)
                write_exactly(h->fifos[stream], pending, pending_len);
}

static void writer_main(struct house *h, size_t stream)
{
        char line[LINE_MAX_LENGTH];
        uint64_t total = 0;

        for (uint64_t number = 0; !atomic_load(&h->shared->stop); number++) {
                size_t len = make_line(line, h, stream, number);

                while (total > atomic_load(&h->shared->allowed[stream]) &&
                        !atomic_load(&h->shared->stop))
                        usleep(50);
                write_in_pieces(h, stream, line, len);
                total += len;
                if (kinds[stream].pause_usec > 0)
                        usleep((useconds_t) (mix(number) % kinds[stream].pause_usec));
        }
        write_in_pieces(h, stream, line, 0);
        atomic_store(&h->shared->written[stream], total);
        _exit(0);
}

/* The process that is killed */

struct capturing {
        struct house *house;
        struct capture *capture;
        struct capture_stream *streams[STREAMS];
        uv_timer_t timer;
};

static void on_check(uv_timer_t *timer)
{
        struct capturing *c = timer->data;
        struct error err = ERROR_INIT;

        if (!atomic_load(&c->house->shared->drain))
                return;
        for (size_t i = 0; i < STREAMS; i++)
                if (capture_stream_drain(c->streams[i], &err) < 0)
                        _exit(3);
        capture_free(c->capture);
        uv_close((uv_handle_t *) timer, NULL);
}

static void open_streams(struct capturing *c, uint32_t run)
{
        struct error err = ERROR_INIT;

        for (size_t i = 0; i < STREAMS; i++) {
                char fifo[PATH_MAX], dir[PATH_MAX];
                struct capture_stream_config config = {
                        .directory = dir,
                        .name = kinds[i].name,
                        .size = kinds[i].rotate_size,
                        .files = kinds[i].files,
                        .run = run,
                        .when_full = i % 2 == 0 ? CAPTURE_FULL_BLOCK : CAPTURE_FULL_DROP,
                };

                path_of(fifo, c->house, i, ".fifo");
                snprintf(dir, sizeof dir, "%s/%s", c->house->dir, kinds[i].task);
                config.fifo = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
                if (config.fifo < 0 ||
                        capture_stream_open(c->capture, &config, &c->streams[i], &err) < 0)
                        _exit(4);
        }
}

static void capture_main(struct house *h, uint32_t run)
{
        struct capturing c = { .house = h };
        struct capture_events events = { 0 };
        struct error err = ERROR_INIT;
        char staging[PATH_MAX];
        uv_loop_t loop;

        uv_loop_init(&loop);
        snprintf(staging, sizeof staging, "%s/staging", h->dir);
        if (capture_new(&loop, staging, &events, &c.capture, &err) < 0) {
                log_error("%s", err.message);
                _exit(2);
        }
        open_streams(&c, run);
        uv_timer_init(&loop, &c.timer);
        c.timer.data = &c;
        uv_timer_start(&c.timer, on_check, 2, 2);
        atomic_fetch_add(&h->shared->started, 1);
        uv_run(&loop, UV_RUN_DEFAULT);
        uv_loop_close(&loop);
        _exit(0);
}

static pid_t start_capture(struct house *h, uint32_t run)
{
        pid_t pid = fork();

        if (pid == 0)
                capture_main(h, run);
        assert_true(pid > 0);
        return pid;
}

/* The test */

static int make_house(void **state)
{
        struct house *h = mem_alloc(sizeof *h);
        const char *seed = getenv("REEVE_TEST_SEED");

        snprintf(h->dir, sizeof h->dir, "/tmp/reeve-test-log-XXXXXX");
        assert_non_null(mkdtemp(h->dir));
        if (seed != NULL)
                h->seed = strtoull(seed, NULL, 0);
        else
                assert_int_equal(getrandom(&h->seed, sizeof h->seed, 0), sizeof h->seed);
        h->shared = mmap(
                NULL, sizeof *h->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        assert_ptr_not_equal(h->shared, MAP_FAILED);
        for (size_t i = 0; i < STREAMS; i++) {
                char path[PATH_MAX];

                snprintf(path, sizeof path, "%s/%s", h->dir, kinds[i].task);
                mkdir(path, 0700);
                path_of(path, h, i, ".fifo");
                assert_int_equal(mkfifo(path, 0600), 0);
                h->fifos[i] = open(path, O_RDWR | O_CLOEXEC);
                assert_true(h->fifos[i] >= 0);
        }
        *state = h;
        return 0;
}

static int remove_house(void **state)
{
        struct house *h = *state;

        for (size_t i = 0; i < STREAMS; i++) {
                if (h->writers[i] > 0) {
                        kill(h->writers[i], SIGKILL);
                        waitpid(h->writers[i], NULL, 0);
                }
                close(h->fifos[i]);
        }
        file_remove_tree(h->dir, NULL);
        munmap(h->shared, sizeof *h->shared);
        free(h);
        return 0;
}

static void start_writers(struct house *h)
{
        for (size_t i = 0; i < STREAMS; i++) {
                h->writers[i] = fork();
                if (h->writers[i] == 0)
                        writer_main(h, i);
                assert_true(h->writers[i] > 0);
        }
}

static void wait_writers(struct house *h)
{
        for (size_t i = 0; i < STREAMS; i++) {
                int status;

                assert_int_equal(waitpid(h->writers[i], &status, 0), h->writers[i]);
                h->writers[i] = 0;
                assert_int_equal(status, 0);
        }
}

static void wait_exit(pid_t pid, int expected)
{
        usec_t deadline = time_mono() + DEADLINE;
        int status = 0;
        pid_t r;

        while ((r = waitpid(pid, &status, WNOHANG)) == 0 && time_mono() < deadline)
                usleep(1000);
        if (r == 0) {
                kill(pid, SIGKILL);
                waitpid(pid, NULL, 0);
                fail_msg("the capturing process does not end");
        }
        if (expected == SIGKILL ? !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL
                                : status != expected)
                fail_msg("the capturing process ended with status %#x", (unsigned) status);
}

/* A death in the first few milliseconds of work, mostly very early: that is also a death within the
 * recovery from the one before. */
static void kill_soon(struct house *h, pid_t pid, unsigned started, uint64_t random)
{
        usec_t at = time_mono() + (random % 4 == 0 ? random % 300 : random % 6000);

        if (random % 8 != 0)
                while (atomic_load(&h->shared->started) == started && time_mono() < at + DEADLINE)
                        ;
        at = MAX(at, time_mono() + random / 16 % 3000);
        while (time_mono() < at)
                ;
        kill(pid, SIGKILL);
        wait_exit(pid, SIGKILL);
}

static char *read_stream(struct house *h, size_t stream, size_t *ret_len)
{
        AUTO(buffer_done) struct buffer all = { 0 };
        char path[PATH_MAX], name[PATH_MAX];
        struct error err = ERROR_INIT;
        uint32_t *numbers;
        size_t count;

        path_of(path, h, stream, "");
        numbers = logfile_numbers(path, &count);
        for (size_t i = count + 1; i-- > 0;) {
                size_t before = all.len;

                logfile_name(name, sizeof name, path, i == 0 ? 0 : numbers[i - 1]);
                if (file_read(name, SIZE_MAX / 2, &all, &err) < 0)
                        fail_msg("%s", err.message);
                if (i > 0 && (all.len == before || all.data[all.len - 1] != '\n'))
                        fail_msg("%s does not end with a line", name);
                if (all.len - before > kinds[stream].rotate_size + kinds[stream].line_max)
                        fail_msg("%s is too large", name);
        }
        free(numbers);
        *ret_len = all.len;
        return buffer_take(&all);
}

static void check_bytes(struct house *h, size_t stream, uint64_t *ret_total)
{
        size_t len, at = 0;
        AUTO(mem_freep) char *data = read_stream(h, stream, &len);
        char line[LINE_MAX_LENGTH];

        for (uint64_t number = 0; at < len; number++) {
                size_t n = make_line(line, h, stream, number);

                if (n > len - at || memcmp(data + at, line, n) != 0)
                        fail_msg("%s/%s: line %llu at byte %zu of %zu is not what was written",
                                kinds[stream].task, kinds[stream].name, (unsigned long long) number,
                                at, len);
                at += n;
        }
        assert_int_equal(len, atomic_load(&h->shared->written[stream]));
        *ret_total = len;
}

/* The reader sees the same bytes under contiguous numbers, and runs in order. */
static void check_reader(struct house *h, size_t stream, uint64_t total)
{
        struct logread_from from = { .start = LOGREAD_BYTE, .value = 0 };
        struct logread_chunk chunk;
        struct logread *reader;
        struct error err = ERROR_INIT;
        char dir[PATH_MAX], buf[16384];
        uint64_t next = 0;
        uint32_t run = 0;
        int r;

        snprintf(dir, sizeof dir, "%s/%s", h->dir, kinds[stream].task);
        assert_int_equal(logread_open(dir, kinds[stream].name, from, &reader, &err), 0);
        while ((r = logread_next(reader, buf, sizeof buf, &chunk, &err)) > 0) {
                assert_int_equal(chunk.gap, 0);
                assert_int_equal(chunk.byte, next);
                assert_true(chunk.run >= run && chunk.run > 0);
                run = chunk.run;
                next += chunk.len;
        }
        assert_int_equal(r, 0);
        assert_int_equal(next, total);
        logread_free(reader);
}

static void every_byte_survives_sigkill(void **state)
{
        struct house *h = *state;
        const char *wanted = getenv("REEVE_TEST_KILLS");
        unsigned kills = wanted != NULL ? (unsigned) strtoul(wanted, NULL, 0) : KILLS;
        uint64_t random = h->seed, total;
        pid_t pid;

        print_message("seed %#llx, %u kills\n", (unsigned long long) h->seed, kills);
        start_writers(h);
        for (unsigned i = 0; i < kills; i++) {
                unsigned started = atomic_load(&h->shared->started);

                pid = start_capture(h, i + 1);
                for (size_t s = 0; s < STREAMS; s++)
                        atomic_fetch_add(&h->shared->allowed[s],
                                kinds[s].per_kill * KILLS / MAX(kills, KILLS));
                random = mix(random);
                kill_soon(h, pid, started, random);
        }
        atomic_store(&h->shared->stop, true);
        pid = start_capture(h, kills + 1);
        wait_writers(h);
        atomic_store(&h->shared->drain, true);
        wait_exit(pid, 0);
        for (size_t s = 0; s < STREAMS; s++) {
                check_bytes(h, s, &total);
                print_message("%s/%s: %llu bytes\n", kinds[s].task, kinds[s].name,
                        (unsigned long long) total);
                check_reader(h, s, total);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(
                        every_byte_survives_sigkill, make_house, remove_house),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
