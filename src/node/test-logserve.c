/* SPDX-License-Identifier: BSD-3-Clause */
/* Logs over the link: real capture into real files, and a server that reads them as it likes. */
#include "node/test-link.h"

#include <endian.h>

#include "node/capture.h"

#define FIRST_CREDIT ((size_t) 256 * 1024)
#define STREAMS_MAX  4096

static struct capture *capture;

static void on_grown(void *data, struct capture_stream *stream)
{
        struct world *w = data;

        link_log_grown(w->link, capture_stream_get_owner(stream), "stdout");
}

static int set_up(void **state)
{
        struct capture_events events = { .grown = on_grown };
        char staging[64];
        struct world *w;

        if (world_new(state) < 0)
                return -1;
        w = *state;
        events.data = w;
        snprintf(staging, sizeof staging, "%s/staging", w->dir);
        if (capture_new(&w->loop, staging, &events, &capture, NULL) < 0)
                return -1;
        meet(w);
        return 0;
}

static int tear_down(void **state)
{
        capture_free(take_ptr(capture));
        return world_free(state);
}

/* ---- tasks that write */

struct writer {
        struct capture_stream *stream;
        int fd;
        struct buffer written; /* all of it */
};

static struct writer begin(struct world *w, const char *task, uint64_t size, uint32_t files)
{
        AUTO(mem_freep) char *directory = task_directory(w->tasks, task);
        AUTO(mem_freep) char *fifo = mem_printf("%s/%s.fifo", w->dir, task);
        union {
                const char *text;
                void *owner;
        } name = { .text = task };
        struct capture_stream_config config = { .directory = directory,
                .name = "stdout",
                .size = size,
                .files = files,
                .run = 1,
                .owner = name.owner };
        struct writer writer = { .fd = -1 };
        struct error err;

        assert_int_equal(mkfifo(fifo, 0600), 0);
        config.fifo = open(fifo, O_RDWR | O_NONBLOCK | O_CLOEXEC);
        writer.fd = open(fifo, O_RDWR | O_NONBLOCK | O_CLOEXEC);
        assert_true(config.fifo >= 0 && writer.fd >= 0);
        if (capture_stream_open(capture, &config, &writer.stream, &err) < 0)
                fail_msg("%s", err.message);
        return writer;
}

static void end(struct writer *writer)
{
        capture_stream_close(writer->stream);
        close(writer->fd);
        buffer_done(&writer->written);
}

/* Writes lines of 64 bytes, numbered, and returns when they are in the files. */
static void put_lines(struct world *w, struct writer *writer, unsigned count)
{
        uint64_t size = 0;
        struct error err;

        for (unsigned i = 0; i < count; i++) {
                char line[65];

                snprintf(line, sizeof line, "%-63zu\n", writer->written.len / 64);
                wait_for(&w->loop, write(writer->fd, line, 64) == 64 || errno != EAGAIN);
                buffer_put(&writer->written, line, 64);
        }
        wait_for(&w->loop, capture_stream_size(writer->stream, &size, &err) == 0 &&
                                   size == writer->written.len);
}

/* ---- a server that reads */

static size_t arrived(const struct world *w, uint32_t stream)
{
        size_t n = 0;

        for (size_t i = 0; i < w->frames_len; i++)
                n += w->frames[i].stream == stream ? w->frames[i].len : 0;
        return n;
}

/* All that came on @stream are the bytes of @writer from @from on, each with its number; returns
 * where it ends. */
static uint64_t check(
        const struct world *w, uint32_t stream, const struct writer *writer, uint64_t from)
{
        for (size_t i = 0; i < w->frames_len; i++) {
                const struct frame *f = &w->frames[i];

                if (f->stream != stream)
                        continue;
                assert_int_equal(f->byte, from);
                assert_true(f->len > 0);
                assert_true(from + f->len <= writer->written.len);
                assert_memory_equal(f->bytes, writer->written.data + from, f->len);
                from += f->len;
        }
        return from;
}

static void open_log(struct world *w, uint32_t stream, const char *task, const char *more)
{
        say(w, "{\"type\":\"log-open\",\"stream\":%u,\"task\":\"%s\",\"name\":\"stdout\"%s}",
                stream, task, more);
}

static void expect_end(struct world *w, uint32_t stream, const char *code)
{
        json_t *message = hear(w, "log-end"), *error = json_object_get(message, "error");

        assert_int_equal(number_in(message, "stream"), stream);
        if (code == NULL && !json_is_null(error)) /* in its own words */
                fail_msg("stream %u: %s", stream,
                        json_string_value(json_object_get(error, "message")));
        if (code != NULL)
                assert_string_equal(json_string_value(json_object_get(error, "code")), code);
        json_decref(message);
}

/* Lets the agent do all that it can, then @stream must have had @bytes. */
static void expect_arrived(struct world *w, uint32_t stream, size_t bytes)
{
        settle(w);
        for (int i = 0; i < 30; i++)
                turn(&w->loop);
        assert_int_equal(arrived(w, stream), bytes);
}

/* ---- */

static void a_log_comes_whole_and_ends(void **state)
{
        struct world *w = *state;
        struct writer a = begin(w, "web.0", 0, 0);

        put_lines(w, &a, 2000);
        open_log(w, 1, "web.0", "");
        expect_end(w, 1, NULL);
        assert_int_equal(check(w, 1, &a, 0), a.written.len);
        frames_forget(w);
        open_log(w, 2, "web.0", ",\"from\":6400");
        expect_end(w, 2, NULL);
        assert_int_equal(check(w, 2, &a, 6400), a.written.len);
        frames_forget(w);
        open_log(w, 1, "web.0", ",\"last_lines\":3");
        expect_end(w, 1, NULL);
        assert_int_equal(check(w, 1, &a, a.written.len - 3 * 64), a.written.len);
        end(&a);
}

static void a_log_that_never_was_is_empty(void **state)
{
        struct world *w = *state;

        open_log(w, 1, "web.7", "");
        expect_end(w, 1, NULL);
        open_log(w, 1, "web.7", ",\"last_lines\":10");
        expect_end(w, 1, NULL);
        assert_int_equal(w->frames_len, 0);
}

static void a_stream_sends_what_it_has_credit_for(void **state)
{
        struct world *w = *state;
        struct writer a = begin(w, "web.0", 0, 0);

        put_lines(w, &a, 10000);
        open_log(w, 1, "web.0", "");
        expect_arrived(w, 1, FIRST_CREDIT);
        say(w, "{\"type\":\"log-more\",\"stream\":1,\"bytes\":1000}");
        expect_arrived(w, 1, FIRST_CREDIT + 1000);
        say(w, "{\"type\":\"log-more\",\"stream\":1,\"bytes\":-500}"); /* nobody takes back */
        say(w, "{\"type\":\"log-more\",\"stream\":1,\"bytes\":1}");
        expect_arrived(w, 1, FIRST_CREDIT + 1001);
        say(w, "{\"type\":\"log-more\",\"stream\":2,\"bytes\":100000}"); /* there is no such */
        expect_arrived(w, 1, FIRST_CREDIT + 1001);
        for (int i = 0; i < 3; i++)
                say(w, "{\"type\":\"log-more\",\"stream\":1,\"bytes\":9223372036854775807}");
        expect_end(w, 1, NULL);
        assert_int_equal(check(w, 1, &a, 0), a.written.len);
        end(&a);
}

static void a_slow_reader_stops_only_itself(void **state)
{
        struct world *w = *state;
        struct writer a = begin(w, "web.0", 0, 0), b = begin(w, "web.1", 0, 0);

        put_lines(w, &a, 10000);
        put_lines(w, &b, 3000);
        open_log(w, 1, "web.0", "");
        open_log(w, 2, "web.1", "");
        expect_end(w, 2, NULL);
        assert_int_equal(check(w, 2, &b, 0), b.written.len);
        expect_arrived(w, 1, FIRST_CREDIT);
        assert_int_equal(check(w, 1, &a, 0), FIRST_CREDIT);
        end(&a);
        end(&b);
}

/* More than one link takes at once: what waits in the agent is bounded, and goes on when there is
 * room. */
static void a_long_log_comes_whole(void **state)
{
        struct world *w = *state;
        struct writer a = begin(w, "web.0", 0, 0);

        put_lines(w, &a, 60000);
        open_log(w, 1, "web.0", "");
        say(w, "{\"type\":\"log-more\",\"stream\":1,\"bytes\":10000000}");
        expect_end(w, 1, NULL);
        assert_int_equal(check(w, 1, &a, 0), a.written.len);
        end(&a);
}

static void a_gap_is_a_frame_without_bytes(void **state)
{
        struct world *w = *state;
        struct writer a = begin(w, "web.0", 4096, 1);
        uint64_t first;

        put_lines(w, &a, 1000); /* of which two files are left */
        open_log(w, 1, "web.0", ",\"from\":0");
        expect_end(w, 1, NULL);
        assert_true(w->frames_len > 1);
        assert_int_equal(w->frames[0].len, 0);
        first = w->frames[0].byte;
        assert_true(first >= a.written.len - 2 * 4096 - 64 && first < a.written.len);
        assert_int_equal(first % 64, 0); /* files end at the ends of lines */
        w->frames[0].stream = 99;
        assert_int_equal(check(w, 1, &a, first), a.written.len);
        end(&a);
}

static void a_follower_survives_rotation(void **state)
{
        struct world *w = *state;
        struct writer a = begin(w, "web.0", 4096, 50);

        put_lines(w, &a, 1);
        open_log(w, 1, "web.0", ",\"follow\":true");
        wait_for(&w->loop, arrived(w, 1) == a.written.len);
        for (unsigned i = 0; i < 60; i++) {
                put_lines(w, &a, i);
                wait_for(&w->loop, arrived(w, 1) == a.written.len);
        }
        assert_true(a.written.len > 20 * 4096);
        assert_int_equal(check(w, 1, &a, 0), a.written.len);
        expect_silence(w); /* it never ends by itself */
        say(w, "{\"type\":\"log-close\",\"stream\":1}");
        settle(w);
        frames_forget(w);
        put_lines(w, &a, 100);
        expect_silence(w);
        assert_int_equal(w->frames_len, 0);
        end(&a);
}

/* It wrote on while nobody took anything, and files that were not read yet were rotated. */
static void a_follower_that_is_slow_misses_nothing_that_is_kept(void **state)
{
        struct world *w = *state;
        struct writer a = begin(w, "web.0", 16384, 200);

        open_log(w, 1, "web.0", ",\"follow\":true");
        put_lines(w, &a, 10000);
        expect_arrived(w, 1, FIRST_CREDIT);
        put_lines(w, &a, 5000);
        say(w, "{\"type\":\"log-more\",\"stream\":1,\"bytes\":10000000}");
        wait_for(&w->loop, arrived(w, 1) == a.written.len);
        assert_int_equal(check(w, 1, &a, 0), a.written.len);
        end(&a);
}

static void a_follower_waits_for_the_first_byte(void **state)
{
        struct world *w = *state;
        struct writer a;

        open_log(w, 1, "web.0", ",\"follow\":true");
        open_log(w, 2, "web.0", ",\"follow\":true,\"last_lines\":2");
        expect_silence(w);
        a = begin(w, "web.0", 0, 0);
        put_lines(w, &a, 5);
        wait_for(&w->loop, arrived(w, 1) == 320 && arrived(w, 2) == 320);
        check(w, 1, &a, 0);
        check(w, 2, &a, 0);
        end(&a);
}

/* ---- records */

struct record {
        uint32_t type, run;
        uint64_t byte, wall, size;
};

/* What came on @stream as records: the bytes together, and how many records of each type. */
static char *unpack(const struct world *w, uint32_t stream, size_t counts[4], uint64_t *ret_place)
{
        struct buffer text = { 0 };

        memset(counts, 0, 4 * sizeof *counts);
        for (size_t i = 0; i < w->frames_len; i++) {
                const struct frame *f = &w->frames[i];
                size_t at = 0;

                while (f->stream == stream && at < f->len) {
                        struct record r;

                        assert_true(f->len - at >= sizeof r);
                        memcpy(&r, f->bytes + at, sizeof r);
                        at += sizeof r;
                        assert_in_range(be32toh(r.type), 0, 3);
                        counts[be32toh(r.type)]++;
                        *ret_place = be64toh(r.byte);
                        if (be32toh(r.type) != 0)
                                continue;
                        assert_true(f->len - at >= be64toh(r.size));
                        assert_int_equal(be32toh(r.run), 1);
                        assert_true(be64toh(r.wall) <= time_wall());
                        assert_true(be64toh(r.wall) + USEC_HOUR > time_wall());
                        buffer_put(&text, f->bytes + at, (size_t) be64toh(r.size));
                        at += be64toh(r.size);
                        *ret_place += be64toh(r.size);
                }
        }
        buffer_puts(&text, "");
        return buffer_take(&text);
}

/* Line @number as put_lines() writes it. */
static void put_line(struct buffer *out, unsigned number)
{
        buffer_printf(out, "%-63u\n", number);
}

static void records_say_what_bytes_are(void **state)
{
        struct world *w = *state;
        struct writer a = begin(w, "web.0", 4096, 1);
        AUTO(mem_freep) char *text = NULL;
        size_t counts[4];
        uint64_t place;

        put_lines(w, &a, 1000);
        open_log(w, 1, "web.0", ",\"records\":true,\"from\":0");
        expect_end(w, 1, NULL);
        text = unpack(w, 1, counts, &place);
        assert_int_equal(counts[1], 1); /* what was rotated */
        assert_int_equal(place, a.written.len);
        assert_string_equal(text, a.written.data + a.written.len - strlen(text));
        end(&a);
}

static void only_lines_that_match_travel(void **state)
{
        static const struct {
                const char *more;
                unsigned from, step, count;
        } rows[] = { { ",\"grep\":\"^[0-9]*000 \"", 1000, 1000, 39 },
                { ",\"grep\":\"000 \",\"last_lines\":3", 37000, 1000, 3 },
                { ",\"grep\":\"^3999[0-9] \",\"last_lines\":100", 39990, 1, 10 },
                { ",\"grep\":\"000 \",\"from\":1279999", 20000, 1000, 20 },
                { ",\"grep\":\"x\"", 0, 0, 0 }, { ",\"grep\":\"x\",\"last_lines\":3", 0, 0, 0 },
                { ",\"grep\":\"00 \",\"run\":2", 0, 0, 0 } };
        struct world *w = *state;
        struct writer a = begin(w, "web.0", 100000, 100);

        put_lines(w, &a, 40000);
        for (uint32_t i = 0; i < ARRAY_SIZE(rows); i++) {
                AUTO(mem_freep) char *more = mem_printf(",\"records\":true%s", rows[i].more);
                AUTO(buffer_done) struct buffer expected = { 0 };
                AUTO(mem_freep) char *text = NULL;
                size_t counts[4];
                uint64_t place;

                for (unsigned n = 0; n < rows[i].count; n++)
                        put_line(&expected, rows[i].from + n * rows[i].step);
                open_log(w, i, "web.0", more);
                expect_end(w, i, NULL);
                text = unpack(w, i, counts, &place);
                assert_string_equal(text, buffer_str(&expected));
                assert_int_equal(counts[0], rows[i].count);
                frames_forget(w);
        }
        end(&a);
}

/* What was searched in vain is not searched again after a break of the link. */
static void a_search_says_where_it_is(void **state)
{
        struct world *w = *state;
        struct writer a = begin(w, "web.0", 0, 0);
        AUTO(mem_freep) char *text = NULL;
        size_t counts[4];
        uint64_t place = 0;

        put_lines(w, &a, 100);
        open_log(w, 1, "web.0", ",\"records\":true,\"follow\":true,\"grep\":\"^150 \"");
        wait_for(&w->loop, w->frames_len > 0);
        free(unpack(w, 1, counts, &place));
        assert_int_equal(counts[3], 1);
        assert_int_equal(place, a.written.len);
        expect_silence(w);
        put_lines(w, &a, 100);
        wait_for(&w->loop, arrived(w, 1) > 2 * sizeof(struct record));
        text = unpack(w, 1, counts, &place);
        assert_int_equal(counts[0], 1);
        assert_int_equal(atoi(text), 150);
        end(&a);
}

/* Lines that are longer than a piece, and longer than what is searched at once. */
static void long_lines_are_found(void **state)
{
        struct world *w = *state;
        struct writer a = begin(w, "web.0", 0, 0);
        AUTO(buffer_done) struct buffer line = { 0 };
        AUTO(mem_freep) char *text = NULL;
        size_t counts[4], written = 0;
        uint64_t place, size = 0;

        put_lines(w, &a, 3);
        for (int i = 0; i < 50000; i++)
                buffer_putc(&line, 'x');
        buffer_puts(&line, "needle\n");
        while (written < line.len) {
                ssize_t n = write(a.fd, line.data + written, line.len - written);

                if (n > 0)
                        written += (size_t) n;
                turn(&w->loop);
        }
        wait_for(&w->loop, capture_stream_size(a.stream, &size, NULL) == 0 &&
                                   size == a.written.len + line.len);
        open_log(w, 1, "web.0", ",\"records\":true,\"grep\":\"needle\"");
        expect_end(w, 1, NULL);
        text = unpack(w, 1, counts, &place);
        assert_string_equal(text, buffer_str(&line));
        end(&a);
}

static void bad_searches_are_refused(void **state)
{
        struct world *w = *state;

        open_log(w, 1, "web.0", ",\"records\":true,\"grep\":\"a(\"");
        expect_end(w, 1, "invalid");
        open_log(w, 2, "web.0", ",\"grep\":\"a\"");
        expect_end(w, 2, "invalid");
        assert_int_equal(w->frames_len, 0);
}

static void what_cannot_be_read_is_said(void **state)
{
        static const char *const bad[] = { "\"task\":\"../x\",\"name\":\"stdout\"",
                "\"task\":\".\",\"name\":\"stdout\"", "\"task\":\"..\",\"name\":\"stdout\"",
                "\"task\":\"/etc\",\"name\":\"stdout\"",
                "\"task\":\"web.0/..\",\"name\":\"stdout\"",
                "\"task\":\"web.0\",\"name\":\"../table\"", "\"task\":\"web.0\",\"name\":\"\"",
                "\"task\":\"web.0\"", "\"name\":\"stdout\"", "\"task\":7,\"name\":7" };
        struct world *w = *state;

        for (uint32_t i = 0; i < ARRAY_SIZE(bad); i++) {
                say(w, "{\"type\":\"log-open\",\"stream\":%u,%s}", i, bad[i]);
                expect_end(w, i, "invalid");
        }
        expect_silence(w);
        assert_int_equal(w->frames_len, 0);
}

static void strange_places_to_begin(void **state)
{
        static const char *const from[] = { ",\"from\":-1", ",\"from\":9223372036854775807",
                ",\"from\":640001", ",\"last_lines\":0", ",\"last_lines\":-1",
                ",\"last_lines\":9223372036854775807", ",\"from\":\"x\"", ",\"from\":{}",
                ",\"last_lines\":null" };
        struct world *w = *state;
        struct writer a = begin(w, "web.0", 4096, 3);

        put_lines(w, &a, 10);
        for (uint32_t i = 0; i < ARRAY_SIZE(from); i++) {
                open_log(w, i, "web.0", from[i]);
                expect_end(w, i, NULL);
                assert_true(arrived(w, i) == 0 || arrived(w, i) == a.written.len);
        }
        end(&a);
}

static void a_number_that_is_used_again_is_another_stream(void **state)
{
        struct world *w = *state;
        struct writer a = begin(w, "web.0", 0, 0), b = begin(w, "web.1", 0, 0);

        put_lines(w, &a, 10);
        put_lines(w, &b, 3);
        open_log(w, 1, "web.0", ",\"follow\":true");
        wait_for(&w->loop, arrived(w, 1) == a.written.len);
        frames_forget(w);
        open_log(w, 1, "web.1", "");
        expect_end(w, 1, NULL);
        assert_int_equal(check(w, 1, &b, 0), b.written.len);
        put_lines(w, &a, 10);
        settle(w);
        assert_int_equal(arrived(w, 1), b.written.len);
        end(&a);
        end(&b);
}

static void streams_end_with_their_connection(void **state)
{
        struct world *w = *state;
        struct writer a = begin(w, "web.0", 0, 0);

        put_lines(w, &a, 1);
        open_log(w, 1, "web.0", ",\"follow\":true");
        wait_for(&w->loop, arrived(w, 1) == a.written.len);
        frames_forget(w);
        websocket_close(take_ptr(w->peer), 1001, NULL);
        json_decref(hear(w, "hello"));
        put_lines(w, &a, 10);
        expect_silence(w);
        assert_int_equal(w->frames_len, 0);
        end(&a);
}

static void the_number_of_streams_is_bounded(void **state)
{
        struct world *w = *state;

        for (uint32_t i = 0; i < STREAMS_MAX; i++)
                open_log(w, i, "web.0", ",\"follow\":true");
        for (uint32_t i = 0; i < 2; i++) {
                open_log(w, STREAMS_MAX + i, "web.0", ",\"follow\":true");
                expect_end(w, STREAMS_MAX + i, "too-large");
        }
        say(w, "{\"type\":\"log-close\",\"stream\":7}");
        open_log(w, STREAMS_MAX, "web.0", "");
        expect_end(w, STREAMS_MAX, NULL);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TEST(a_log_comes_whole_and_ends),
                TEST(a_log_that_never_was_is_empty),
                TEST(a_stream_sends_what_it_has_credit_for),
                TEST(a_slow_reader_stops_only_itself),
                TEST(a_long_log_comes_whole),
                TEST(a_gap_is_a_frame_without_bytes),
                TEST(a_follower_survives_rotation),
                TEST(a_follower_that_is_slow_misses_nothing_that_is_kept),
                TEST(a_follower_waits_for_the_first_byte),
                TEST(records_say_what_bytes_are),
                TEST(only_lines_that_match_travel),
                TEST(a_search_says_where_it_is),
                TEST(long_lines_are_found),
                TEST(bad_searches_are_refused),
                TEST(what_cannot_be_read_is_said),
                TEST(strange_places_to_begin),
                TEST(a_number_that_is_used_again_is_another_stream),
                TEST(streams_end_with_their_connection),
                TEST(the_number_of_streams_is_bounded),
        };

        setenv("REEVE_LOG", "error", 0);
        log_init("test");
        return cmocka_run_group_tests(tests, NULL, NULL);
}
