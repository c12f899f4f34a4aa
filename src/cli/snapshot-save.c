/* SPDX-License-Identifier: BSD-3-Clause */
/* Save: the server's state as a file, while the server runs. What comes is checked as it is
 * written; nothing gets the name of a snapshot that is not whole. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/stream.h"
#include "store/snapshot.h"

struct save {
        int fd;
        struct snapshot_reader *reader; /* checks what is written */
        uint64_t bytes;
};

static int write_all(int fd, const char *bytes, size_t len, struct error *err)
{
        while (len > 0) {
                ssize_t n = write(fd, bytes, len);

                if (n < 0 && errno != EINTR)
                        return error_sys(err, errno, "write");
                if (n > 0) {
                        bytes += n;
                        len -= (size_t) n;
                }
        }
        return 0;
}

static bool on_data(void *data, const char *bytes, size_t len, struct error *err)
{
        struct save *s = data;

        s->bytes += len;
        return snapshot_reader_feed(s->reader, bytes, len, err) == 0 &&
               write_all(s->fd, bytes, len, err) == 0;
}

static int fetch(struct save *s, struct error *err)
{
        const struct snapshot_handlers none = { 0 };
        struct stream_options stream = { .path = "/v1/snapshot", .on_data = on_data, .data = s };
        int rc;

        s->reader = snapshot_reader_new(&none);
        rc = stream_run(&stream, NULL, err);
        if (rc == 0)
                rc = snapshot_reader_end(s->reader, err);
        return rc;
}

static int fetch_into(struct save *s, const char *part, const char *file, struct error *err)
{
        if (fetch(s, err) < 0)
                return -1;
        if (fsync(s->fd) < 0)
                return error_sys(err, errno, "write %s", part);
        if (rename(part, file) < 0)
                return error_sys(err, errno, "rename %s to %s", part, file);
        return 0;
}

/* What is cut off, for whatever reason, never has the name of a snapshot. */
static int save_as(struct save *s, const char *file, struct error *err)
{
        AUTO(mem_freep) char *part = mem_printf("%s.XXXXXX", file);
        int rc;

        s->fd = mkostemp(part, O_CLOEXEC);
        if (s->fd < 0)
                return error_sys(err, errno, "make %s", part);
        rc = fetch_into(s, part, file, err);
        close(s->fd);
        if (rc < 0)
                unlink(part);
        return rc;
}

static int run(const char *const *operands, struct error *err)
{
        const char *file = operands[0];
        bool is_stdout = strcmp(file, "-") == 0;
        struct save s = { .fd = STDOUT_FILENO };
        char size[TEXT_SIZE_MAX];
        int rc = is_stdout ? fetch(&s, err) : save_as(&s, file, err);

        if (rc == 0 && !is_stdout)
                printf("saved %" PRIu64 " rows (%s) to %s\n", snapshot_reader_rows(s.reader),
                        text_format_size(size, s.bytes), file);
        snapshot_reader_free(s.reader);
        return rc;
}

const struct command command_snapshot_save = {
        .name = "snapshot save",
        .operands = "FILE",
        .summary = "save the server's state, as it is now, to a file",
        .details =
                "The server runs on; all that FILE holds is of one instant. FILE is replaced if it "
                "is there; \"-\" is standard output.\n\n"
                "It holds jobs with all versions of their specs, environment included, tasks, "
                "nodes "
                "and events; of tokens and credentials only hashes, so it is no key to the server. "
                "It does not hold logs, and not the server's certificates (DIR/tls). Only its "
                "owner "
                "can read it.",
        .operands_min = 1,
        .operands_max = 1,
        .run = run,
};
