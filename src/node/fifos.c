/* SPDX-License-Identifier: BSD-3-Clause */
/* Fifos: the folder for the names of pipes.
 *
 * A FIFO needs no disk, only a name that every process finds; but making an inode on a disk's file
 * system costs ten to a hundred times as much as making one in memory, and each task needs two. So
 * DIR/node/fifos is a symbolic link to a folder of its own on a tmpfs, where there is one; else it
 * is a folder. The link is what counts: it is chosen once, because the FIFOs of running tasks must
 * be found by every later agent, and anew after a boot, when the tmpfs is empty and nothing runs.
 */
#include "node/fifos.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

static char *link_path(const char *node_directory)
{
        return mem_printf("%s/fifos", node_directory);
}

/* A new private folder below @parent, if that is on a tmpfs and we may write there; else NULL. */
static char *make_below(const char *parent)
{
        struct statfs fs;
        char *path;

        if (parent == NULL || parent[0] != '/' || statfs(parent, &fs) < 0 ||
                fs.f_type != TMPFS_MAGIC)
                return NULL;
        path = mem_printf("%s/reeve-fifos-XXXXXX", parent);
        if (mkdtemp(path) == NULL) {
                free(path);
                return NULL;
        }
        return path;
}

static char *make_on_tmpfs(void)
{
        char *path = geteuid() == 0 ? make_below("/run") : make_below(getenv("XDG_RUNTIME_DIR"));

        return path != NULL ? path : make_below("/dev/shm");
}

int fifos_prepare(const char *node_directory, struct error *err)
{
        AUTO(mem_freep) char *link = link_path(node_directory);
        AUTO(mem_freep) char *target = NULL;
        struct stat st;

        if (stat(link, &st) == 0)
                return 0;
        unlink(link); /* it leads nowhere: the machine was booted */
        target = make_on_tmpfs();
        if (target != NULL && symlink(target, link) == 0)
                return 0;
        if (target != NULL)
                rmdir(target);
        return file_mkdirs(link, 0700, err);
}

void fifos_remove(const char *node_directory)
{
        AUTO(mem_freep) char *link = link_path(node_directory);
        AUTO(mem_freep) char *target = realpath(link, NULL);
        struct error err = ERROR_INIT;

        if (target == NULL)
                return;
        if (file_remove_tree(target, &err) < 0)
                log_warning("%s", err.message);
        unlink(link);
}
