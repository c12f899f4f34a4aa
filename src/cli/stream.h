/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/time.h"

/* Answers that come bit by bit, or when something has changed. */

struct stream_options {
        const char *path;
        const char *accept; /* "Accept" header; NULL for none */

        /* A piece of a successful answer's body. False ends the stream: @err, which it has filled,
         * is then what stream_run() returns. */
        bool (*on_data)(void *data, const char *bytes, size_t len, struct error *err);
        void *data;

        usec_t timeout; /* for everything; 0: none */
};

/* What came of it, whatever stream_run() returns. */
struct stream_end {
        bool began;     /* a successful answer has begun */
        uint64_t index; /* Reeve-Index; 0 if there was none */
};

/* Waits until the answer is complete. Errors as client_request(). @ret_end may be NULL. */
int stream_run(const struct stream_options *options, struct stream_end *ret_end, struct error *err);

/* For on_data of answers in lines: calls @on_line for every complete line of @bytes, the first one
 * begun by what an earlier call left in @partial, without its line break. False: @on_line was. */
bool stream_each_line(struct buffer *partial, const char *bytes, size_t len,
        bool (*on_line)(void *data, const char *line, size_t len, struct error *err), void *data,
        struct error *err);

/* GET of jobs, tasks or nodes. With *@index > 0 it waits, at most @wait, until the state is another
 * than that; afterwards *@index is the number of the state that @ret shows. */
int stream_get_changed(
        const char *path, uint64_t *index, usec_t wait, json_t **ret, struct error *err);

/* A stream that goes on when the server comes back. */
struct stream_retry {
        usec_t gone_mono; /* since when nobody answers; 0: somebody does */
        bool said;        /* a person was told that we wait */
};

/* After a stream has broken with @err: true, a moment later, if one should try again; false when
 * trying again is of no use or has been for too long: @err is the reason. */
bool stream_retry_wait(struct stream_retry *retry, bool began, const struct error *err);
