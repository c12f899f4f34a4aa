/* SPDX-License-Identifier: BSD-3-Clause */
/* Streams: requests that a command waits for in a loop of its own.
 *
 * Each run has its own uv loop, so that a callback may run another one meanwhile. A body that is
 * not of a successful answer is kept, up to a limit, for the problem document in it. Ctrl-C is left
 * to the kernel: there is nothing to tidy up. */
#include "cli/stream.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/client.h"
#include "net/http-client.h"

#define PROBLEM_MAX   ((size_t) 64 * 1024)
#define ANSWER_MAX    HTTP_FETCH_MAX
#define RETRY_EVERY   (100 * USEC_MSEC)
#define SAY_AFTER     (1 * USEC_SEC)
#define RETRY_FOR     (30 * USEC_SEC)
#define ANSWER_MARGIN (10 * USEC_SEC)

struct stream {
        const struct stream_options *options;
        struct http_call *call;
        struct stream_end end;
        struct buffer problem;
        int status;
        bool failed, refused; /* the connection; by on_data */
        struct error err;
};

static void on_head(void *data, int status)
{
        struct stream *s = data;
        const char *index = http_call_header(s->call, "Reeve-Index");
        int64_t number;

        s->status = status;
        s->end.began = status >= 200 && status <= 299;
        if (index != NULL && text_parse_int(index, 0, INT64_MAX, &number))
                s->end.index = (uint64_t) number;
}

static void on_data(void *data, const void *bytes, size_t len)
{
        struct stream *s = data;

        if (!s->end.began) {
                if (s->problem.len + len <= PROBLEM_MAX)
                        buffer_put(&s->problem, bytes, len);
        } else if (!s->options->on_data(s->options->data, bytes, len, &s->err)) {
                s->refused = true;
                http_call_cancel(take_ptr(s->call));
        }
}

static void on_end(void *data, const struct error *err)
{
        struct stream *s = data;

        s->call = NULL;
        if (err != NULL) {
                s->failed = true;
                s->err = *err;
        }
}

static int run_call(struct stream *s, const struct address *address,
        const struct http_call_options *options, struct error *err)
{
        uv_loop_t loop;
        int r = uv_loop_init(&loop);

        if (r < 0)
                return error_sys(err, -r, "make an event loop");
        r = http_call_start(&loop, address, options, &s->call, err);
        uv_run(&loop, UV_RUN_DEFAULT);
        uv_loop_close(&loop);
        return r;
}

static int conclude(struct stream *s, const struct address *address, struct error *err)
{
        if (s->refused || s->failed)
                *err = s->err;
        if (s->refused)
                return -1;
        if (s->failed)
                return client_unreachable(address, err);
        if (!s->end.began)
                return client_problem(s->status, buffer_str(&s->problem), s->problem.len, err);
        return 0;
}

int stream_run(const struct stream_options *options, struct stream_end *ret_end, struct error *err)
{
        const char *headers[6], *const *common;
        struct stream s = { .options = options };
        struct http_call_options call = { .path = options->path,
                .headers = headers,
                .on_head = on_head,
                .on_data = on_data,
                .on_end = on_end,
                .data = &s,
                .timeout = options->timeout };
        struct address address;
        size_t n = 0;
        int r;

        if (client_address(&address, err) < 0)
                return -1;
        for (common = client_headers(); common[n] != NULL; n++)
                headers[n] = common[n];
        if (options->accept != NULL) {
                headers[n++] = "Accept";
                headers[n++] = options->accept;
        }
        headers[n] = NULL;
        r = run_call(&s, &address, &call, err);
        if (r == 0)
                r = conclude(&s, &address, err);
        buffer_done(&s.problem);
        if (ret_end != NULL)
                *ret_end = s.end;
        return r;
}

bool stream_each_line(struct buffer *partial, const char *bytes, size_t len,
        bool (*on_line)(void *data, const char *line, size_t len, struct error *err), void *data,
        struct error *err)
{
        const char *end;

        while ((end = memchr(bytes, '\n', len)) != NULL) {
                size_t n = (size_t) (end - bytes);
                bool more;

                if (partial->len == 0) {
                        more = on_line(data, bytes, n, err);
                } else {
                        buffer_put(partial, bytes, n);
                        more = on_line(data, partial->data, partial->len, err);
                        buffer_reset(partial);
                }
                if (!more)
                        return false;
                bytes += n + 1;
                len -= n + 1;
        }
        buffer_put(partial, bytes, len);
        return true;
}

static bool keep(void *data, const char *bytes, size_t len, struct error *err)
{
        struct buffer *body = data;

        if (body->len + len > ANSWER_MAX) {
                error_set(err, ERR_TOO_LARGE, "the answer is larger than %zu bytes", ANSWER_MAX);
                return false;
        }
        buffer_put(body, bytes, len);
        return true;
}

int stream_get_changed(
        const char *path, uint64_t *index, usec_t wait, json_t **ret, struct error *err)
{
        AUTO(buffer_done) struct buffer body = { 0 }, full = { 0 };
        struct stream_options options = { .on_data = keep, .data = &body };
        struct stream_end end;
        json_error_t why;

        buffer_puts(&full, path);
        if (*index > 0)
                buffer_printf(&full, "%cindex=%" PRIu64 "&wait=%" PRIu64 "ms",
                        strchr(path, '?') == NULL ? '?' : '&', *index, wait / USEC_MSEC);
        options.path = buffer_str(&full);
        options.timeout = wait + ANSWER_MARGIN;
        if (stream_run(&options, &end, err) < 0)
                return -1;
        *ret = json_loadb(buffer_str(&body), body.len, 0, &why);
        if (*ret == NULL)
                return error_set(err, ERR_SYSTEM, "the server's answer to %s is not JSON", path);
        *index = end.index;
        return 0;
}

bool stream_retry_wait(struct stream_retry *retry, bool began, const struct error *err)
{
        usec_t now = time_mono();

        if (err->code != ERR_UNAVAILABLE && err->code != ERR_TIMEOUT)
                return false;
        if (began || retry->gone_mono == 0)
                *retry = (struct stream_retry){ .gone_mono = now };
        if (now - retry->gone_mono > RETRY_FOR)
                return false;
        if (now - retry->gone_mono > SAY_AFTER && !retry->said && isatty(STDERR_FILENO)) {
                retry->said = true;
                fputs("reeve: the server does not answer; waiting for it\n", stderr);
        }
        usleep(RETRY_EVERY);
        return true;
}
