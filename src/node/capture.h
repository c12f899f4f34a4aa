/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"

/* Log capture: takes what tasks write into their FIFOs and puts it into log files. A SIGKILL of
 * this process at any instant loses no byte, doubles none and changes no order. */
struct capture;
struct capture_stream;

enum capture_when_full {
        CAPTURE_FULL_BLOCK, /* the task waits in its write until there is room */
        CAPTURE_FULL_DROP,  /* its bytes are thrown away, counted, and the gap is recorded */
};

enum capture_flow {
        CAPTURE_FLOWING,
        CAPTURE_BLOCKED,  /* nothing is taken: the reason is in the error */
        CAPTURE_DROPPING, /* bytes are being thrown away: the reason is in the error */
};

/* Called from the loop or from within capture_stream_*(). They may call anything here but
 * capture_free(); closing the stream in question is fine. */
struct capture_events {
        /* The stream has new bytes: capture_stream_size() has grown. NULL: of no interest. */
        void (*grown)(void *data, struct capture_stream *stream);
        /* The stream flows, is blocked or drops from now on; @why only if it does not flow. */
        void (*flow)(void *data, struct capture_stream *stream, enum capture_flow flow,
                const struct error *why);
        void *data;
};

/* Opens the staging file @path (…/node/staging, made if missing) and puts into their files what an
 * earlier process had taken but not stored. @events is copied. ERR_CONFLICT if another process
 * captures there. */
int capture_new(uv_loop_t *loop, const char *path, const struct capture_events *events,
        struct capture **ret, struct error *err);

/* Closes all streams and the rest; the loop must turn once more to let go of it. NULL is fine. */
void capture_free(struct capture *capture);

struct capture_stream_config {
        const char *
                directory; /* of the task, absolute; made with the first byte. The files go there */
        const char *name;  /* "stdout", "stderr" */
        int fifo;          /* to read from; the stream owns it on success */
        uint64_t size;     /* bytes after which a file is rotated; 0: never */
        uint32_t files;    /* old files kept */
        uint32_t run;      /* who writes now */
        enum capture_when_full when_full;
        void *owner; /* for capture_stream_get_owner() */
};

/* Begins to capture. Nothing but this process may read the FIFO. No file is made before a byte
 * comes. The stream is owned by the capture until capture_stream_close(). */
int capture_stream_open(struct capture *capture, const struct capture_stream_config *config,
        struct capture_stream **ret, struct error *err);

/* Ends capturing: what is still in the FIFO stays there. NULL is fine. */
void capture_stream_close(struct capture_stream *stream);

/* What comes from now on was written by @run; what is in the FIFO was not. */
void capture_stream_set_run(struct capture_stream *stream, uint32_t run);

/* Changes how the stream is kept; @size and @files apply from the next rotation. */
void capture_stream_set_config(struct capture_stream *stream, uint64_t size, uint32_t files,
        enum capture_when_full when_full);

/* Takes all that is in the FIFO now and returns when it is in the files. On failure (ERR_NO_SPACE,
 * ...) what could not be stored is kept and goes on to be tried. */
int capture_stream_drain(struct capture_stream *stream, struct error *err);

/* The number of the next byte: how many the stream has had in its whole life. */
int capture_stream_size(struct capture_stream *stream, uint64_t *ret, struct error *err);

/* How many bytes all streams have had since capture_new(). */
uint64_t capture_get_taken(const struct capture *capture);

enum capture_flow capture_stream_get_flow(const struct capture_stream *stream);
void *capture_stream_get_owner(const struct capture_stream *stream);

/* The FIFO, borrowed: somebody else may hold it open, too. */
int capture_stream_get_fifo(const struct capture_stream *stream);
