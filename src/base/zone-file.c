/* SPDX-License-Identifier: BSD-3-Clause */
/* Zone files: the zones of this machine by name.
 *
 * Only names that zone_name_is_valid() accepts become part of a path, since they come from specs.
 * Nothing is kept: who needs a zone often keeps what this returns. */
#include "base/zone-file.h"

#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/mem.h"

#define FILE_SIZE_MAX ((size_t) 1 << 18) /* the largest one of tzdata has 4 KB */

static int not_found(const char *folder, const char *name, struct error *err)
{
        if (access(folder, F_OK) < 0)
                return error_set(err, ERR_NOT_FOUND,
                        "time zone %s: no zones are installed here (%s is missing; package tzdata)",
                        name, folder);
        return error_set(err, ERR_NOT_FOUND, "no time zone \"%s\" in %s", name, folder);
}

int zone_file_load(const char *folder, const char *name, struct zone **ret, struct error *err)
{
        AUTO(buffer_done) struct buffer bytes = { 0 };
        AUTO(mem_freep) char *path = NULL;
        struct error why = ERROR_INIT;

        if (!zone_name_is_valid(name))
                return error_set(err, ERR_INVALID,
                        "\"%.80s\" is no name of a time zone; one is \"Europe/Paris\"", name);
        if (strcmp(name, "UTC") == 0) {
                *ret = zone_new_utc();
                return 0;
        }
        if (folder == NULL)
                folder = ZONE_FOLDER;
        path = mem_printf("%s/%s", folder, name);
        if (file_read(path, FILE_SIZE_MAX, &bytes, &why) < 0) {
                /* a folder of zones ("Europe") is no zone either */
                if (why.code == ERR_NOT_FOUND || why.code == ERR_INVALID)
                        return not_found(folder, name, err);
                if (err != NULL)
                        *err = why;
                return -1;
        }
        if (zone_parse(bytes.data, bytes.len, ret, err) < 0)
                return error_wrap(err, "time zone %s", path);
        return 0;
}
