/* SPDX-License-Identifier: BSD-3-Clause */
/* writer DIR BURST PAUSE LIMIT
 *
 * Writes numbered lines to stdout and stderr: BURST bytes to each in one write, as fast as they are
 * taken, then PAUSE microseconds of rest; ends with 0 after LIMIT lines per stream (0: never) or,
 * between two bursts, on TERM. How many lines it has written stands in the mapped note
 * DIR/TASK.RUN.written (two numbers of 64 bits), which outlives it however it ends. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common.h"
#include "line.h"

static volatile sig_atomic_t told_to_end;

static void on_term(int number)
{
        (void) number;
        told_to_end = 1;
}

static uint64_t *map_counts(void)
{
        int fd = open(note_path("written"), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        void *map;

        if (fd < 0 || ftruncate(fd, 2 * sizeof(uint64_t)) < 0)
                fail("counts");
        map = mmap(NULL, 2 * sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (map == MAP_FAILED)
                fail("counts");
        return map;
}

static void write_all(int fd, const char *data, size_t len)
{
        while (len > 0) {
                ssize_t n = write(fd, data, len);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0) {
                        note(fd == 1 ? "stdout-broke" : "stderr-broke", "errno %d\n", errno);
                        _exit(98);
                }
                data += n;
                len -= (size_t) n;
        }
}

static void burst(int fd, char stream, size_t bytes, uint64_t limit, uint64_t *count)
{
        static char data[1 << 20];
        uint64_t n = *count;
        size_t len = 0;

        do
                len += line_make(data + len, stream, run(), ++n);
        while (len < bytes && len < sizeof data - LINE_MAX_LEN && (limit == 0 || n < limit));
        write_all(fd, data, len);
        *count = n;
}

int main(int argc, char **argv)
{
        uint64_t *counts, limit;
        size_t bytes;

        if (argc != 5)
                return 2;
        signal(SIGPIPE, SIG_IGN);
        sigaction(SIGTERM, &(struct sigaction){ .sa_handler = on_term }, NULL);
        begin(argv[1]);
        bytes = strtoul(argv[2], NULL, 10);
        limit = strtoul(argv[4], NULL, 10);
        counts = map_counts();
        while (!told_to_end && (limit == 0 || counts[1] < limit)) {
                burst(1, 'o', bytes, limit, &counts[0]);
                burst(2, 'e', bytes, limit, &counts[1]);
                sleep_usec(strtoul(argv[3], NULL, 10));
        }
        note("end", "exit code 0\n");
        return 0;
}
