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

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

static char *link_path(const char *node_directory)
{
        return mem_printf("%s/fifos", node_directory);
}

#define PREFIX      "reeve-fifos-"
#define OWNER_FILE  "owner"
#define SETTLED_SEC 60 /* a younger folder may still be in the making */

/* True if @folder belongs to a state directory that is still there and means it. */
static bool is_wanted(const char *folder)
{
        AUTO(mem_freep) char *owner_path = mem_printf("%s/" OWNER_FILE, folder);
        AUTO(buffer_done) struct buffer link = { 0 };
        AUTO(mem_freep) char *target = NULL;

        if (file_read(owner_path, PATH_MAX, &link, NULL) < 0)
                return true; /* it is being made, or is not what it looks like */
        target = realpath(buffer_str(&link), NULL);
        return target != NULL && strcmp(target, folder) == 0;
}

static void sweep(const char *parent)
{
        DIR *directory = opendir(parent);
        struct stat st;

        if (directory == NULL)
                return;
        for (const struct dirent *e; (e = readdir(directory)) != NULL;) {
                AUTO(mem_freep) char *folder = mem_printf("%s/%s", parent, e->d_name);

                if (strncmp(e->d_name, PREFIX, strlen(PREFIX)) == 0 && lstat(folder, &st) == 0 &&
                        S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
                        st.st_mtime + SETTLED_SEC < time(NULL) && !is_wanted(folder))
                        file_remove_tree(folder, NULL);
        }
        closedir(directory);
}

/* A new private folder below @parent, if that is on a tmpfs and we may write there; else NULL. */
static char *make_below(const char *parent)
{
        struct statfs fs;
        char *path;

        if (parent == NULL || parent[0] != '/' || statfs(parent, &fs) < 0 ||
                fs.f_type != TMPFS_MAGIC)
                return NULL;
        path = mem_printf("%s/" PREFIX "XXXXXX", parent);
        sweep(parent);
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

static bool write_owner(const char *folder, const char *link)
{
        AUTO(mem_freep) char *path = mem_printf("%s/" OWNER_FILE, folder);

        return file_replace(path, link, strlen(link), 0600, false, NULL) == 0;
}

/* The folder that @link is, or leads to; NULL if there is none, or if it is not one that we made: a
 * name on a tmpfs is free for anybody after a boot, and what is found there is opened, chowned and
 * removed. */
static char *folder_of(const char *link)
{
        char target[PATH_MAX];
        ssize_t n = readlink(link, target, sizeof target - 1);
        const char *folder = n < 0 ? link : target, *name;
        struct stat st;

        target[n < 0 ? 0 : n] = '\0';
        name = strrchr(folder, '/');
        if (name == NULL || lstat(folder, &st) < 0 || !S_ISDIR(st.st_mode) ||
                st.st_uid != geteuid() || (st.st_mode & 077) != 0)
                return NULL;
        if (n >= 0 && (folder[0] != '/' || strncmp(name + 1, PREFIX, strlen(PREFIX)) != 0))
                return NULL;
        return mem_strdup(folder);
}

int fifos_prepare(const char *node_directory, struct error *err)
{
        AUTO(mem_freep) char *link = link_path(node_directory);
        AUTO(mem_freep) char *target = NULL;
        AUTO(mem_freep) char *folder = folder_of(link);

        if (folder != NULL)
                return 0;
        unlink(link); /* the machine was booted: it leads nowhere, or to a stranger's by now */
        target = make_on_tmpfs();
        if (target != NULL && symlink(target, link) == 0 && write_owner(target, link))
                return 0;
        if (target != NULL) {
                unlink(link);
                file_remove_tree(target, NULL);
        }
        return file_mkdirs(link, 0700, err);
}

void fifos_remove(const char *node_directory)
{
        AUTO(mem_freep) char *link = link_path(node_directory);
        AUTO(mem_freep) char *target = folder_of(link);
        struct error err = ERROR_INIT;

        if (target == NULL)
                return;
        if (file_remove_tree(target, &err) < 0)
                log_warning("%s", err.message);
        unlink(link);
}
