/* SPDX-License-Identifier: BSD-3-Clause */
/* Cgroups: the trees in which this Reeve has its groups, and what is done with those of a task.
 *
 * Every run is born in a group of its own, named after its task, and the group is removed when the
 * run has ended. So nothing of a run escapes its end, however it forked, and each run is counted
 * from zero. That must not cost what most tasks do not need: what makes a group expensive is its
 * controllers, so a run without limits gets a group without any (version 2; making and removing it
 * is some 30 microseconds, and clone3(2) has the child be born in it), and one with limits gets
 * them only for what is limited:
 *
 *     BASE/reeve-HASH/self            keeper, agent and server; only where BASE is not the root
 *     BASE/reeve-HASH/tasks/web.0     runs without limits
 *     BASE/reeve-HASH/limits/web.0    runs with some; controllers are enabled when first asked for
 *
 * BASE is the group that we were started in: version 2 gives controllers to the children of a group
 * only if no process is in the group itself (the root is exempt), so we move to a leaf. If others
 * are in it and we are root, BASE is the root of the tree instead. HASH is made of the state
 * directory: two Reeves are never in each other's way. Where the groups are is written down
 * (DIR/node/cgroups), so that an agent that was started elsewhere finds them; the groups themselves
 * are found by their names.
 *
 * What version 2 does not have here is limited by version 1, one tree per controller
 * (BASE/reeve-HASH/web.0 in each); on a machine with both, the run is in a group of version 2 all
 * the same, since that can be killed in one step. Where there is only version 1 the freezer's tree
 * holds them together.
 *
 * A group of an earlier run in which somebody still is makes the next run wait: two runs of a task
 * never overlap. Where the next run begins at once, an empty group without controllers is passed on
 * to it: that is a third of what a restart costs. What cannot be limited here is passed over; who
 * asks is told by cgroups_lack(), and memory is watched instead (task-watch.c).
 *
 * Loop thread only. Nothing is remembered of single tasks: the files are the truth. */
#include "node/cgroup.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/process.h"
#include "node/cgroup-internal.h"
#include "node/machine.h"

#define TREES_MAX 8

struct tree {
        const struct cgroup_version *version;
        char *path;        /* in which the groups of the tasks are */
        unsigned enforces; /* CGROUP_... */
        bool plain;        /* every run is in it, unless it is in the limited one of version 2 */
};

struct cgroups {
        const char *proc; /* "" or a test's */
        char *record;     /* DIR/node/cgroups */
        char *name;       /* "reeve-HASH" */
        pid_t keeper;
        struct tree trees[TREES_MAX];
        size_t trees_len;
        char *v2;            /* BASE/reeve-HASH of version 2; NULL: there is none */
        unsigned v2_enabled; /* CGROUP_..., whose controllers are enabled in limits/ */
        struct error why;    /* what was in the way, last */
        char lack[ARRAY_SIZE(((struct error *) 0)->message) + 100];
};

/* ---- words */

static const struct {
        unsigned bit;
        const char *word, *controller; /* of version 2 */
} controllers[] = {
        { CGROUP_MEMORY, "memory", "memory" },
        { CGROUP_SWAP, "swap", "memory" },
        { CGROUP_CPU, "cpu", "cpu" },
        { CGROUP_PIDS, "pids", "pids" },
        { CGROUP_IO, "io", "io" },
};

const char *cgroup_words(char text[CGROUP_WORDS_MAX], unsigned mask)
{
        size_t len = 0;

        snprintf(text, CGROUP_WORDS_MAX, "none");
        for (size_t i = 0; i < ARRAY_SIZE(controllers); i++)
                if (mask & controllers[i].bit)
                        len += (size_t) snprintf(text + len, CGROUP_WORDS_MAX - len, "%s%s",
                                len > 0 ? " " : "", controllers[i].word);
        return text;
}

unsigned cgroup_needs(const struct job_spec *spec)
{
        unsigned needs = 0;

        if (cgroup_is_limit(spec->limits.memory))
                needs |= CGROUP_MEMORY;
        if (cgroup_is_limit(spec->limits.swap))
                needs |= CGROUP_SWAP;
        if (spec->limits.cpu != 0 || spec->limits.cpu_weight != 100)
                needs |= CGROUP_CPU;
        if (cgroup_is_limit(spec->limits.pids))
                needs |= CGROUP_PIDS;
        if (spec->limits.io_weight != 100)
                needs |= CGROUP_IO;
        return needs;
}

unsigned cgroups_enforced(const struct cgroups *cs)
{
        unsigned all = 0;

        for (size_t i = 0; i < cs->trees_len; i++)
                all |= cs->trees[i].enforces;
        return all;
}

bool cgroups_tracked(const struct cgroups *cs)
{
        for (size_t i = 0; i < cs->trees_len; i++)
                if (cs->trees[i].plain)
                        return true;
        return false;
}

const char *cgroups_lack(const struct cgroups *cs)
{
        return cs->lack[0] != '\0' ? cs->lack : NULL;
}

/* ---- where: mounts and our own place in them */

struct mount {
        char *point;
        char *own; /* the directory of the group that we are in */
};

static void mount_done(struct mount *m)
{
        free(m->point);
        free(m->own);
}

static bool has_word(const char *list, const char *word)
{
        size_t len = strlen(word);

        for (const char *p = list; *p != '\0'; p += strcspn(p, ","), p += *p == ',')
                if (strncmp(p, word, len) == 0 && (p[len] == ',' || p[len] == '\0'))
                        return true;
        return false;
}

/* Whether a line of /proc/self/mountinfo (proc(5)) is the tree of @controller, NULL: of version 2.
 */
static bool is_mount(char *line, const char *controller, char **ret_root, char **ret_point)
{
        char *tail = strstr(line, " - "), type[32], source[256], options[512];

        if (tail == NULL || sscanf(tail, " - %31s %255s %511s", type, source, options) != 3 ||
                strcmp(type, controller == NULL ? "cgroup2" : "cgroup") != 0 ||
                (controller != NULL && !has_word(options, controller)))
                return false;
        for (int field = 0; field < 3; field++) {
                line += strcspn(line, " ");
                line += *line == ' ';
        }
        *ret_root = line;
        line += strcspn(line, " ");
        if (*line != ' ')
                return false;
        *line++ = '\0';
        *ret_point = line;
        line[strcspn(line, " ")] = '\0';
        return true;
}

/* Below the mount, of which @root is what it shows: a path outside it is the mount itself. */
static char *own_directory(const char *point, const char *root, const char *path)
{
        size_t len = strcmp(root, "/") == 0 ? 0 : strlen(root);

        if (path == NULL || strncmp(path, "/..", 3) == 0 || strncmp(path, root, len) != 0 ||
                path[len] != '/')
                return mem_strdup(point);
        return path[len + 1] == '\0' ? mem_strdup(point) : mem_printf("%s%s", point, path + len);
}

static bool find_mount(const struct cgroups *cs, const char *controller, struct mount *ret)
{
        AUTO(mem_freep) char *mounts_path = mem_printf("%s/proc/self/mountinfo", cs->proc);
        AUTO(mem_freep) char *groups_path = mem_printf("%s/proc/self/cgroup", cs->proc);
        AUTO(buffer_done) struct buffer mounts = { 0 };
        AUTO(buffer_done) struct buffer groups = { 0 };
        AUTO(mem_freep) char *own = NULL;
        char *line, *rest = NULL, *root, *point;

        if (file_read(mounts_path, 1 << 20, &mounts, NULL) < 0 || mounts.len == 0 ||
                file_read(groups_path, 1 << 20, &groups, NULL) < 0 || groups.len == 0)
                return false;
        own = machine_cgroup_path(buffer_str(&groups), controller);
        buffer_str(&mounts);
        for (line = strtok_r(mounts.data, "\n", &rest); line != NULL;
                line = strtok_r(NULL, "\n", &rest))
                if (is_mount(line, controller, &root, &point)) {
                        ret->point = mem_strdup(point);
                        ret->own = own_directory(point, root, own);
                        return true;
                }
        return false;
}

/* The directory in which an agent before us had its groups, below @point; NULL: none. */
static char *recorded_base(const struct cgroups *cs, const char *point)
{
        AUTO(buffer_done) struct buffer text = { 0 };
        size_t len = strlen(point);
        char *rest = NULL;

        if (file_read(cs->record, 1 << 16, &text, NULL) < 0 || text.len == 0)
                return NULL;
        buffer_str(&text);
        for (char *line = strtok_r(text.data, "\n", &rest); line != NULL;
                line = strtok_r(NULL, "\n", &rest)) {
                char *slash = strrchr(line, '/');

                if (strncmp(line, point, len) != 0 || line[len] != '/' ||
                        strcmp(slash + 1, cs->name) != 0 || access(line, W_OK) < 0)
                        continue;
                *slash = '\0';
                return mem_strdup(line);
        }
        return NULL;
}

static void note_root(struct buffer *record, const char *path)
{
        buffer_printf(record, "%s\n", path);
}

static bool make_group(struct cgroups *cs, const char *path)
{
        if (mkdir(path, 0755) == 0 || (errno == EEXIST && access(path, W_OK) == 0))
                return true;
        error_sys(&cs->why, errno, "make %s", path);
        return false;
}

static struct tree *add_tree(
        struct cgroups *cs, const struct cgroup_version *version, char *path, unsigned enforces)
{
        assert(cs->trees_len < TREES_MAX);
        cs->trees[cs->trees_len] =
                (struct tree){ .version = version, .path = path, .enforces = enforces };
        return &cs->trees[cs->trees_len++];
}

/* ---- version 2 */

static bool is_root_group(const char *path)
{
        return !cgroup_has(path, "cgroup.type");
}

/* Controllers are given only to the children of a group that has no process of its own. */
static void move_ourselves(struct cgroups *cs, const char *from, const char *to)
{
        AUTO(buffer_done) struct buffer text = { 0 };
        const char *line = cgroup_read(from, "cgroup.procs", &text);

        if (*line == '\0' || !make_group(cs, to))
                return;
        for (char *end; *line != '\0'; line = end + (*end == '\n')) {
                pid_t pid = (pid_t) strtol(line, &end, 10);
                struct process_stat st;
                char number[16];

                if (end == line)
                        break;
                if (pid != cs->keeper && pid != getpid() &&
                        (cs->keeper <= 0 || !process_read_stat(pid, &st) ||
                                st.parent != cs->keeper))
                        continue;
                snprintf(number, sizeof number, "%d", (int) pid);
                cgroup_write(to, "cgroup.procs", number, NULL);
        }
}

/* What of ours stands in a file of controllers. */
static unsigned read_controllers(const char *path, const char *file)
{
        AUTO(buffer_done) struct buffer text = { 0 };
        const char *list = cgroup_read(path, file, &text);
        unsigned mask = 0;

        for (char *p = text.data; p != NULL && *list != '\0' && *p != '\0'; p++)
                if (*p == ' ' || *p == '\n')
                        *p = ',';
        for (size_t i = 0; i < ARRAY_SIZE(controllers); i++)
                if (has_word(list, controllers[i].controller))
                        mask |= controllers[i].bit;
        return mask;
}

/* What the group @base could give to its children. */
static unsigned offered(const char *base)
{
        return read_controllers(base, "cgroup.controllers");
}

static int enable(const char *path, const char *controller, struct error *err)
{
        AUTO(mem_freep) char *word = mem_printf("+%s", controller);

        return cgroup_write(path, "cgroup.subtree_control", word, err);
}

/* What can be limited in the children of @base/reeve-HASH, whose controllers are enabled here. */
static unsigned prepare_v2(struct cgroups *cs, const char *base, const char *root)
{
        AUTO(mem_freep) char *self = mem_printf("%s/self", root);
        unsigned mask = offered(base);

        if (mask != 0 && !is_root_group(base))
                move_ourselves(cs, base, self);
        for (size_t i = 0; i < ARRAY_SIZE(controllers); i++)
                if (mask & controllers[i].bit && controllers[i].bit != CGROUP_SWAP)
                        enable(base, controllers[i].controller, &cs->why);
        mask = offered(root);
        if (!cgroup_has(root, "memory.swap.max"))
                mask &= ~(unsigned) CGROUP_SWAP;
        if (!cgroup_has(root, "io.weight") && !cgroup_has(root, "io.bfq.weight"))
                mask &= ~(unsigned) CGROUP_IO;
        return mask;
}

/* Returns false if no groups can be made there. */
static bool try_v2(struct cgroups *cs, const char *base, unsigned *ret_mask)
{
        AUTO(mem_freep) char *root = mem_printf("%s/%s", base, cs->name);

        if (!make_group(cs, root))
                return false;
        *ret_mask = prepare_v2(cs, base, root);
        free(cs->v2);
        cs->v2 = take_ptr(root);
        return true;
}

static void find_v2(struct cgroups *cs, struct buffer *record)
{
        AUTO(mount_done) struct mount m = { 0 };
        AUTO(mem_freep) char *base = NULL;
        AUTO(mem_freep) char *limits = NULL;
        unsigned mask = 0;

        if (!find_mount(cs, NULL, &m))
                return;
        base = recorded_base(cs, m.point);
        if (base == NULL)
                base = mem_strdup(m.own);
        if ((!try_v2(cs, base, &mask) || (mask == 0 && offered(m.point) != 0)) &&
                strcmp(base, m.point) != 0) {
                AUTO(mem_freep) char *first = mem_strdup(cs->v2);

                if (try_v2(cs, m.point, &mask) && first != NULL)
                        rmdir(first); /* unless we are in it */
        }
        if (cs->v2 == NULL)
                return;
        note_root(record, cs->v2);
        add_tree(cs, &cgroup_v2, mem_printf("%s/tasks", cs->v2), 0)->plain = true;
        limits = mem_printf("%s/limits", cs->v2);
        if (mask == 0)
                return;
        cs->v2_enabled =
                read_controllers(limits, "cgroup.subtree_control"); /* by an agent before */
        add_tree(cs, &cgroup_v2, take_ptr(limits), mask);
}

/* The folder of a tree is made when the first run needs it. */
static int prepare_tree(
        struct cgroups *cs, const struct tree *tree, unsigned need, struct error *err)
{
        if (tree->version == &cgroup_v2 && mkdir(tree->path, 0755) < 0 && errno != EEXIST)
                return error_sys(err, errno, "make %s", tree->path);
        if (tree->version != &cgroup_v2 || tree->plain)
                return 0;
        for (size_t i = 0; i < ARRAY_SIZE(controllers); i++) {
                if ((need & ~cs->v2_enabled & controllers[i].bit) == 0)
                        continue;
                if (enable(cs->v2, controllers[i].controller, err) < 0 ||
                        enable(tree->path, controllers[i].controller, err) < 0)
                        return -1;
                cs->v2_enabled |= controllers[i].bit;
        }
        return 0;
}

/* ---- version 1 */

static const struct {
        const char *controller;
        unsigned enforces, also; /* if the file `also_file` is there */
        const char *file, *also_file;
} v1_trees[] = {
        { "memory", CGROUP_MEMORY, CGROUP_SWAP, "memory.limit_in_bytes",
                "memory.memsw.limit_in_bytes" },
        { "cpu", CGROUP_CPU, 0, "cpu.cfs_quota_us", NULL },
        { "pids", CGROUP_PIDS, 0, "pids.max", NULL },
        { "blkio", CGROUP_IO, 0, "blkio.bfq.weight", NULL },
        { "blkio", CGROUP_IO, 0, "blkio.weight", NULL },
        { "freezer", 0, 0, "freezer.state", NULL },
};

/* The group of this Reeve in the tree of @controller; NULL: none can be made. */
static char *make_v1(struct cgroups *cs, const char *controller)
{
        AUTO(mount_done) struct mount m = { 0 };
        AUTO(mem_freep) char *base = NULL;
        AUTO(mem_freep) char *path = NULL;

        if (!find_mount(cs, controller, &m))
                return NULL;
        base = recorded_base(cs, m.point);
        path = mem_printf("%s/%s", base != NULL ? base : m.own, cs->name);
        return make_group(cs, path) ? take_ptr(path) : NULL;
}

static void find_v1(struct cgroups *cs, struct buffer *record)
{
        for (size_t i = 0; i < ARRAY_SIZE(v1_trees); i++) {
                unsigned enforces = v1_trees[i].enforces & ~cgroups_enforced(cs);
                AUTO(mem_freep) char *path = NULL;
                struct tree *tree;

                if (enforces == 0 && (v1_trees[i].enforces != 0 || cgroups_tracked(cs)))
                        continue;
                path = make_v1(cs, v1_trees[i].controller);
                if (path == NULL)
                        continue;
                if (!cgroup_has(path, v1_trees[i].file)) {
                        rmdir(path);
                        continue;
                }
                if (v1_trees[i].also_file != NULL && cgroup_has(path, v1_trees[i].also_file))
                        enforces |= v1_trees[i].also;
                note_root(record, path);
                tree = add_tree(cs, &cgroup_v1, take_ptr(path), enforces);
                tree->plain = v1_trees[i].enforces == 0;
        }
}

/* ---- the whole */

/* FNV-1a; of the path, and of the file system that it is on: machines may share theirs. */
static char *make_name(const char *directory)
{
        uint64_t hash = 14695981039346656037u;
        struct stat st = { 0 };

        stat(directory, &st);
        for (const char *p = directory; *p != '\0'; p++)
                hash = (hash ^ (unsigned char) *p) * 1099511628211u;
        hash = (hash ^ (uint64_t) st.st_ino) * 1099511628211u;
        return mem_printf("reeve-%08" PRIx32, (uint32_t) (hash ^ hash >> 32));
}

static void say_lack(struct cgroups *cs)
{
        unsigned missing = CGROUP_ALL & ~cgroups_enforced(cs);
        char words[CGROUP_WORDS_MAX];

        if (missing == 0)
                return;
        snprintf(cs->lack, sizeof cs->lack, "limits that are not enforced on this node: %s%s: %s",
                cgroup_words(words, missing),
                missing & CGROUP_MEMORY ? " (memory is watched instead)" : "",
                cs->why.message[0] != '\0' ? cs->why.message
                                           : "the kernel, or who mounted its cgroups, has no more");
}

struct cgroups *cgroups_new(const char *root, const char *directory, pid_t keeper)
{
        struct cgroups *cs = mem_alloc(sizeof *cs);
        AUTO(buffer_done) struct buffer record = { 0 };
        struct error err = ERROR_INIT;

        cs->proc = root;
        cs->keeper = keeper;
        cs->record = mem_printf("%s/cgroups", directory);
        cs->name = make_name(directory);
        find_v2(cs, &record);
        find_v1(cs, &record);
        say_lack(cs);
        if (record.len > 0 &&
                file_replace(cs->record, record.data, record.len, 0644, false, &err) < 0)
                log_warning("where the cgroups are is not written down: %s", err.message);
        return cs;
}

void cgroups_free(struct cgroups *cs)
{
        if (cs == NULL)
                return;
        for (size_t i = 0; i < cs->trees_len; i++)
                free(cs->trees[i].path);
        free(cs->v2);
        free(cs->record);
        free(cs->name);
        free(cs);
}

void cgroups_remove(struct cgroups *cs)
{
        for (size_t i = 0; i < cs->trees_len; i++)
                rmdir(cs->trees[i].path);
        if (cs->v2 != NULL)
                rmdir(cs->v2);
}

/* ---- the groups of a task */

static char *group_of(const struct tree *tree, const char *id)
{
        return mem_printf("%s/%s", tree->path, id);
}

static bool is_v2_limited(const struct tree *tree)
{
        return tree->version == &cgroup_v2 && !tree->plain;
}

static bool any_v2_limited(const struct cgroups *cs, unsigned need)
{
        for (size_t i = 0; i < cs->trees_len; i++)
                if (is_v2_limited(&cs->trees[i]) && need & cs->trees[i].enforces)
                        return true;
        return false;
}

/* Whether a run that needs @need is in a group of @tree. */
static bool is_used(const struct cgroups *cs, const struct tree *tree, unsigned need)
{
        if (tree->plain)
                return !any_v2_limited(cs, need);
        return (need & tree->enforces) != 0;
}

static bool is_populated(const char *path)
{
        AUTO(buffer_done) struct buffer text = { 0 };

        return *cgroup_read(path, "cgroup.procs", &text) != '\0';
}

/* True if it is gone, or was never there. Who is in it is killed. */
static bool remove_group(const struct tree *tree, const char *id)
{
        AUTO(mem_freep) char *path = group_of(tree, id);

        if (rmdir(path) == 0 || errno == ENOENT)
                return true;
        if (errno != EBUSY)
                return true;     /* somebody took our rights, or a person made groups in it */
        if (!is_populated(path)) /* groups below it are no doing of ours */
                return false;
        tree->version->kill(path);
        return rmdir(path) == 0;
}

bool cgroups_end(struct cgroups *cs, const char *id)
{
        bool all = true;

        for (size_t i = 0; i < cs->trees_len; i++)
                all &= remove_group(&cs->trees[i], id);
        return all;
}

/* A group that has counted nothing, and that the next run may be born in. */
static bool is_reusable(const struct tree *tree, const char *path)
{
        return tree->version == &cgroup_v2 && tree->plain && !is_populated(path);
}

bool cgroups_pass_on(struct cgroups *cs, const char *id, const struct job_spec *spec, bool clean)
{
        for (size_t i = 0; clean && cgroup_needs(spec) == 0 && i < cs->trees_len; i++) {
                AUTO(mem_freep) char *path = group_of(&cs->trees[i], id);

                if (is_reusable(&cs->trees[i], path))
                        return true;
        }
        return cgroups_end(cs, id);
}

void cgroups_kill(struct cgroups *cs, const char *id)
{
        for (size_t i = 0; i < cs->trees_len; i++) {
                AUTO(mem_freep) char *path = group_of(&cs->trees[i], id);

                if (access(path, F_OK) == 0)
                        cs->trees[i].version->kill(path);
        }
}

void cgroup_birth_done(struct cgroup_birth *birth)
{
        for (char **p = birth->procs; p != NULL && *p != NULL; p++)
                free(*p);
        free(birth->procs);
        birth->procs = NULL;
        if (birth->fd >= 0)
                close(take_fd(birth->fd));
}

/* Makes one group. Returns 1 if processes of an earlier run are in it. */
static int begin_in(struct cgroups *cs, const struct tree *tree, const char *id, unsigned need,
        const struct job_spec *spec, bool clean, struct error *err)
{
        AUTO(mem_freep) char *path = group_of(tree, id);
        int r = mkdir(path, 0755);

        if (r < 0 && errno == ENOENT) {
                if (prepare_tree(cs, tree, need, err) < 0)
                        return -1;
                r = mkdir(path, 0755);
        } else if (r < 0 && errno == EEXIST && clean && is_reusable(tree, path)) {
                return 0;
        } else if (r < 0 && errno == EEXIST) { /* what it counted is of another run */
                if (!remove_group(tree, id))
                        return 1;
                r = mkdir(path, 0755);
        }
        if (r < 0)
                return error_sys(err, errno, "limits: make the cgroup %s", path);
        if (is_v2_limited(tree) && prepare_tree(cs, tree, need, err) < 0)
                return -1;
        return tree->version->limit(path, need & tree->enforces, spec, err);
}

static void add_birth(struct cgroup_birth *birth, size_t n, const struct tree *tree, const char *id)
{
        AUTO(mem_freep) char *path = group_of(tree, id);

        if (tree->version == &cgroup_v2)
                birth->fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        birth->procs[n] = mem_printf("%s/cgroup.procs", path);
}

/* Those of version 2 come first in the list of trees. */
int cgroups_begin(struct cgroups *cs, const char *id, const struct job_spec *spec, bool clean,
        struct cgroup_birth *ret, struct error *err)
{
        unsigned need = cgroup_needs(spec);
        size_t n = 0;

        *ret = (struct cgroup_birth){ .fd = -1 };
        if (cs->trees_len == 0)
                return 0;
        ret->procs = mem_alloc((TREES_MAX + 1) * sizeof *ret->procs);
        for (size_t i = 0; i < cs->trees_len; i++) {
                int r;

                if (!is_used(cs, &cs->trees[i], need))
                        continue;
                r = begin_in(cs, &cs->trees[i], id, need, spec, clean, err);
                if (r != 0) {
                        cgroup_birth_done(ret);
                        return r;
                }
                add_birth(ret, n++, &cs->trees[i], id);
        }
        return 0;
}

/* ---- while it runs */

struct mover {
        const char *to;
        bool moved;
        struct error *err;
};

static void move_one(void *data, pid_t pid)
{
        struct mover *m = data;
        char number[16];

        snprintf(number, sizeof number, "%d", (int) pid);
        m->moved |= cgroup_write(m->to, "cgroup.procs", number, m->err) == 0;
}

static bool each_in(const char *path, void (*each)(void *data, pid_t pid), void *data)
{
        AUTO(buffer_done) struct buffer text = { 0 };
        const char *line = cgroup_read(path, "cgroup.procs", &text);
        bool any = *line != '\0';

        for (char *end; *line != '\0'; line = end + (*end == '\n')) {
                pid_t pid = (pid_t) strtol(line, &end, 10);

                if (end == line)
                        break;
                each(data, pid);
        }
        return any;
}

/* The tree of which every process of task @id is in a group. */
static char *tracking_group(const struct cgroups *cs, const char *id)
{
        for (size_t i = 0; i < cs->trees_len; i++) {
                AUTO(mem_freep) char *path = group_of(&cs->trees[i], id);

                if ((cs->trees[i].plain || is_v2_limited(&cs->trees[i])) && is_populated(path))
                        return take_ptr(path);
        }
        return NULL;
}

bool cgroups_each_process(
        struct cgroups *cs, const char *id, void (*each)(void *data, pid_t pid), void *data)
{
        for (size_t i = 0; i < cs->trees_len; i++) {
                AUTO(mem_freep) char *path = NULL;

                if (!cs->trees[i].plain && !is_v2_limited(&cs->trees[i]))
                        continue;
                path = group_of(&cs->trees[i], id);
                if (each_in(path, each, data))
                        return true;
        }
        return false;
}

/* All processes of the task come into its group in @tree, too; they may fork meanwhile. */
static int move_into(struct cgroups *cs, const struct tree *tree, const char *id, struct error *err)
{
        AUTO(mem_freep) char *from = tracking_group(cs, id);
        AUTO(mem_freep) char *to = group_of(tree, id);
        struct mover m = { .to = to, .moved = true, .err = err };
        bool leaves = tree->version == &cgroup_v2;

        if (from == NULL || strcmp(from, to) == 0)
                return 0;
        for (int round = 0; round < (leaves ? 100 : 2) && m.moved; round++) {
                m.moved = false;
                if (!each_in(from, move_one, &m))
                        break;
        }
        if (leaves && rmdir(from) < 0)
                return error_sys(err, errno, "limits: move the task to %s", to);
        return 0;
}

static int change_in(struct cgroups *cs, const struct tree *tree, const char *id, unsigned need,
        const struct job_spec *spec, struct error *err)
{
        AUTO(mem_freep) char *path = group_of(tree, id);
        bool there = access(path, F_OK) == 0;

        if (there) /* all of it: a limit may have been taken off */
                return tree->version->limit(path,
                        is_v2_limited(tree) ? tree->enforces & (cs->v2_enabled | need)
                                            : tree->enforces,
                        spec, err);
        if ((need & tree->enforces) == 0)
                return 0;
        if (begin_in(cs, tree, id, need, spec, true, err) != 0)
                return -1;
        return move_into(cs, tree, id, err);
}

int cgroups_change(
        struct cgroups *cs, const char *id, const struct job_spec *spec, struct error *err)
{
        unsigned need = cgroup_needs(spec);
        int r = 0;

        for (size_t i = 0; i < cs->trees_len; i++) {
                const struct tree *tree = &cs->trees[i];

                if (tree->plain)
                        continue;
                if (is_v2_limited(tree) && need & tree->enforces &&
                        prepare_tree(cs, tree, need & tree->enforces, err) < 0)
                        r = -1;
                else if (change_in(cs, tree, id, need, spec, r == 0 ? err : NULL) < 0)
                        r = -1;
        }
        return r;
}

void cgroups_usage(struct cgroups *cs, const char *id, struct cgroup_usage *ret)
{
        *ret = (struct cgroup_usage){
                .memory = CGROUP_UNKNOWN, .memory_peak = CGROUP_UNKNOWN, .cpu_usec = CGROUP_UNKNOWN
        };
        for (size_t i = 0; i < cs->trees_len; i++) {
                AUTO(mem_freep) char *path = group_of(&cs->trees[i], id);

                if (cs->trees[i].enforces & CGROUP_MEMORY && access(path, F_OK) == 0)
                        cs->trees[i].version->usage(path, ret);
        }
}

void cgroups_vitals(struct cgroups *cs, const char *id, unsigned needs, uint64_t *ret_cpu_usec,
        uint64_t *ret_memory)
{
        *ret_cpu_usec = *ret_memory = CGROUP_UNKNOWN;
        for (size_t i = 0; i < cs->trees_len; i++) {
                const struct tree *tree = &cs->trees[i];
                AUTO(mem_freep) char *path = NULL;

                if (!tree->plain && (needs & tree->enforces) == 0)
                        continue;
                path = group_of(tree, id);
                tree->version->vitals(path, tree->enforces, ret_cpu_usec, ret_memory);
        }
}

/* ---- what the kernel's log has */

/* "oom-kill:constraint=CONSTRAINT_MEMCG,...,oom_memcg=/x/reeve-1/limits/web.0,task_memcg=...,
 * task=python3,pid=123,uid=0"; the name may contain anything. */
static bool parse_victim(const char *line, const char *group, struct cgroup_victim *ret)
{
        const char *memcg = strstr(line, ",oom_memcg="), *task, *pid = NULL;
        size_t len;

        if (strstr(line, "oom-kill:") == NULL || memcg == NULL)
                return false;
        memcg += strlen(",oom_memcg=");
        len = strcspn(memcg, ",");
        task = strstr(memcg + len, ",task=");
        if (len < strlen(group) ||
                strncmp(memcg + len - strlen(group), group, strlen(group)) != 0 || task == NULL)
                return false;
        task += strlen(",task=");
        for (const char *p = task; (p = strstr(p, ",pid=")) != NULL; p++)
                pid = p;
        if (pid == NULL)
                return false;
        snprintf(ret->name, sizeof ret->name, "%.*s", (int) (pid - task), task);
        ret->pid = (pid_t) strtol(pid + strlen(",pid="), NULL, 10);
        return true;
}

bool cgroups_victim(struct cgroups *cs, const char *id, struct cgroup_victim *ret)
{
        AUTO(mem_freep) char *path = mem_printf("%s/dev/kmsg", cs->proc);
        AUTO(fd_closep) int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        AUTO(mem_freep) char *v1 = mem_printf("/%s/%s", cs->name, id);
        AUTO(mem_freep) char *v2 = mem_printf("/%s/limits/%s", cs->name, id);
        bool found = false;
        char line[8192]; /* the longest that it gives, one a time */
        ssize_t n;

        while (fd >= 0 &&
                ((n = read(fd, line, sizeof line - 1)) > 0 || (n < 0 && errno == EPIPE))) {
                if (n < 0)
                        continue; /* some were overwritten before we saw them */
                line[n] = '\0';
                found |= parse_victim(line, v1, ret) || parse_victim(line, v2, ret);
        }
        return found;
}

void cgroups_each(struct cgroups *cs, void (*each)(void *data, const char *id), void *data)
{
        for (size_t i = 0; i < cs->trees_len; i++) {
                DIR *directory = opendir(cs->trees[i].path);

                if (directory == NULL)
                        continue;
                for (const struct dirent *e; (e = readdir(directory)) != NULL;)
                        if (e->d_type == DT_DIR && e->d_name[0] != '.' &&
                                strcmp(e->d_name, "self") != 0)
                                each(data, e->d_name);
                closedir(directory);
        }
}
