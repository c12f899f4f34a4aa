/* SPDX-License-Identifier: BSD-3-Clause */
/* The lines of the log measurements: writes them, and checks what became of them.
 *
 *   bench-lines write FIFO BYTES CHUNK     writes BYTES to stdout in writes of CHUNK, each a whole
 *                                          number of lines, and waits for a signal
 *   bench-lines check FILE...              reads the files as one; exits 0 if they are the lines
 *                                          from the first on, in order, each once and unharmed
 *
 * A line is its number in twelve digits and dots up to 100 bytes. The writer tells FIFO, as
 * bench/child.c does, when it begins. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE = 100, DIGITS = 12, READ_BYTES = LINE << 14 };

static void die(const char *what)
{
        perror(what);
        exit(1);
}

static void line_init(char *line)
{
        memset(line, '.', LINE - 1);
        memset(line, '0', DIGITS);
        line[DIGITS] = ' ';
        line[LINE - 1] = '\n';
}

static void line_number(char *line, uint64_t number)
{
        for (int i = DIGITS; i-- > 0; number /= 10)
                line[i] = (char) ('0' + number % 10);
}

static void report_begin(const char *fifo)
{
        struct {
                int64_t pid, nanoseconds;
        } record = { .pid = getpid() };
        struct timespec now;
        int fd = open(fifo, O_WRONLY | O_CLOEXEC);

        clock_gettime(CLOCK_MONOTONIC, &now);
        record.nanoseconds = now.tv_sec * 1000000000LL + now.tv_nsec;
        if (fd < 0 || write(fd, &record, sizeof record) != sizeof record)
                die(fifo);
        close(fd);
}

static void write_all(const char *data, size_t len)
{
        while (len > 0) {
                ssize_t n = write(STDOUT_FILENO, data, len);

                if (n < 0 && errno != EINTR)
                        die("write");
                if (n > 0) {
                        data += n;
                        len -= (size_t) n;
                }
        }
}

static int write_lines(const char *fifo, uint64_t bytes, size_t chunk)
{
        char *block = malloc(chunk);
        uint64_t number = 0;

        if (block == NULL || chunk % LINE != 0 || bytes % chunk != 0) {
                fputs("CHUNK is a multiple of 100 and BYTES one of CHUNK\n", stderr);
                return 2;
        }
        for (size_t i = 0; i < chunk; i += LINE)
                line_init(block + i);
        report_begin(fifo);
        for (uint64_t done = 0; done < bytes; done += chunk) {
                for (size_t i = 0; i < chunk; i += LINE)
                        line_number(block + i, number++);
                write_all(block, chunk);
        }
        free(block);
        for (;;)
                pause();
}

/* Fills @block over the ends of files; returns how many bytes it got. */
static size_t read_files(char ***files, int *fd, char *block)
{
        size_t have = 0;

        while (have < READ_BYTES) {
                ssize_t n;

                if (*fd < 0 && **files == NULL)
                        break;
                if (*fd < 0 && (*fd = open(*(*files)++, O_RDONLY | O_CLOEXEC)) < 0)
                        die((*files)[-1]);
                n = read(*fd, block + have, READ_BYTES - have);
                if (n < 0)
                        die("read");
                have += (size_t) n;
                if (n == 0) {
                        close(*fd);
                        *fd = -1;
                }
        }
        return have;
}

static int check_lines(char **files)
{
        static char block[READ_BYTES], expected[LINE];
        uint64_t number = 0;
        size_t have;
        int fd = -1;

        line_init(expected);
        while ((have = read_files(&files, &fd, block)) > 0)
                for (size_t i = 0; i < have; i += LINE) {
                        line_number(expected, number);
                        if (have - i < LINE || memcmp(block + i, expected, LINE) != 0) {
                                printf("line %" PRIu64 " is not what was written\n", number);
                                return 1;
                        }
                        number++;
                }
        printf("%" PRIu64 "\n", number);
        return 0;
}

int main(int argc, char **argv)
{
        if (argc == 5 && strcmp(argv[1], "write") == 0)
                return write_lines(
                        argv[2], strtoull(argv[3], NULL, 10), strtoul(argv[4], NULL, 10));
        if (argc > 2 && strcmp(argv[1], "check") == 0)
                return check_lines(argv + 2);
        fputs("usage: bench-lines write FIFO BYTES CHUNK | check FILE...\n", stderr);
        return 2;
}
