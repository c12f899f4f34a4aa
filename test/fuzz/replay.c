/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs a fuzz target over its corpus without a fuzzer, so that every compiler and every `make test`
 * does: `replay-NAME DIRECTORY...`. Fails if there was nothing to run. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *directory, const char *name)
{
        AUTO(mem_freep) char *path = mem_printf("%s/%s", directory, name);
        AUTO(buffer_done) struct buffer data = { 0 };
        struct error err = ERROR_INIT;

        if (file_read(path, 16u << 20, &data, &err) < 0) {
                fprintf(stderr, "%s\n", err.message);
                return -1;
        }
        fprintf(stderr, "%s\n", path); /* the last one named is the one that failed */
        LLVMFuzzerTestOneInput((const uint8_t *) buffer_str(&data), data.len);
        return 0;
}

/* Returns the number of files, or -1. */
static int replay_directory(const char *directory)
{
        DIR *dir = opendir(directory);
        struct dirent *entry;
        int files = 0;

        if (dir == NULL) {
                perror(directory);
                return -1;
        }
        while (files >= 0 && (entry = readdir(dir)) != NULL)
                if (entry->d_name[0] != '.')
                        files = replay_file(directory, entry->d_name) < 0 ? -1 : files + 1;
        closedir(dir);
        return files;
}

int main(int argc, char **argv)
{
        int total = 0;

        for (int i = 1; i < argc; i++) {
                int files = replay_directory(argv[i]);

                if (files < 0)
                        return 1;
                total += files;
        }
        printf("%d inputs\n", total);
        return total > 0 ? 0 : 1;
}
