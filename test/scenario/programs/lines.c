/* SPDX-License-Identifier: BSD-3-Clause */
/* lines STREAM FILE...
 *
 * Reads the files one after the other as if they were one and checks every byte of what writer
 * made: runs ascend, and the lines of each are there once and in order. Prints "RUN COUNT" for
 * every run and ends with 0, or says where it is wrong and ends with 1. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "line.h"

static char expected[LINE_MAX_LEN];
static unsigned long current; /* run */
static uint64_t count;

static int complain(const char *path, long offset, const char *line)
{
        printf("%s: before byte %ld: after line %llu of run %lu comes: %.120s\n", path, offset,
                (unsigned long long) count, current, line);
        return 1;
}

static bool begins_run(char stream, const char *line, unsigned long *ret)
{
        char letter;
        unsigned long long n;

        return sscanf(line, "S %c %lu %llu ", &letter, ret, &n) == 3 && letter == stream && n == 1;
}

static bool accept(char stream, const char *line, size_t len)
{
        unsigned long next;

        if (line_make(expected, stream, current, count + 1) == len &&
                memcmp(expected, line, len) == 0) {
                count++;
                return true;
        }
        if (!begins_run(stream, line, &next) || next <= current ||
                line_make(expected, stream, next, 1) != len || memcmp(expected, line, len) != 0)
                return false;
        if (count > 0)
                printf("%lu %llu\n", current, (unsigned long long) count);
        current = next;
        count = 1;
        return true;
}

/* A line never spans two files: they are rotated at line ends. */
static int check(char stream, const char *path)
{
        FILE *f = fopen(path, "re");
        static char line[1 << 16];
        long offset = 0;

        if (f == NULL)
                fail(path);
        setvbuf(f, NULL, _IOFBF, 1 << 20);
        while (fgets(line, sizeof line, f) != NULL) {
                size_t len = strlen(line);

                offset += (long) len;
                if (!accept(stream, line, len))
                        return complain(path, offset, line);
        }
        fclose(f);
        return 0;
}

int main(int argc, char **argv)
{
        for (int i = 2; i < argc; i++)
                if (check(argv[1][0], argv[i]) != 0)
                        return 1;
        if (count > 0)
                printf("%lu %llu\n", current, (unsigned long long) count);
        return 0;
}
