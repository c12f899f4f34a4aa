/* SPDX-License-Identifier: BSD-3-Clause */
/* Table: what the agent knows of its tasks, in a file that it maps shared.
 *
 * The kernel keeps the pages of a shared mapping when the process dies, so a plain store is all it
 * takes to make something survive SIGKILL, at no system call per change. It does not survive power
 * loss, and need not: after a boot nothing runs any more, and the server says anew what shall.
 *
 * A slot holds two copies of the task's state and the index of the one that holds. A change writes
 * the other copy and then stores the index, one aligned word: there is no instant at which the
 * state is half changed. x86 and arm64 alike need the release store only against the compiler and
 * against a second CPU that runs the next agent.
 *
 * The file grows by posix_fallocate(3), never sparsely: touching a page of a mapping that the full
 * disk cannot back would be SIGBUS. The whole address range is reserved at once so that slots never
 * move.
 *
 * The machine and the run record grow with newer versions, at their ends only; the header says how
 * large they were for whoever wrote the file. An agent that knows larger ones copies the table,
 * slot by slot, with zeros for what is new, and puts the copy in place by a rename; so an upgrade
 * takes the running tasks along. What is larger than it knows it cannot keep, and refuses. */
#include "node/table.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/lease.h"

#define TABLE_MAGIC       0x31656c6261746572u /* "retable1" */
#define TABLE_HEADER_SIZE 4096
#define TABLE_GROW_SLOTS  64
#define BOOT_ID_LEN       36
#define RUN_SIZE_FIRST    40              /* of tables whose header does not tell it */
#define NOTE_SEQ_MAX      (INT64_MAX / 2) /* no outbox comes that far; JSON has no larger numbers */

struct table_header {
        uint64_t magic;
        uint32_t slot_size;
        uint32_t machine_size;
        char boot_id[BOOT_ID_LEN + 4];
        uint32_t going_down;
        uint32_t run_size;
        uint64_t note_seq;   /* at least; slots may know a higher one */
        uint64_t heard_mono; /* 0: no lease runs */
};

struct table_copy {
        uint64_t note_seq;
        struct task_machine machine;
};

struct table_slot {
        _Atomic uint32_t used;
        _Atomic uint32_t current; /* which copy holds */
        uint32_t index;
        char job[TEXT_NAME_MAX + 1];
        struct table_run run;
        struct table_copy copies[2];
};

struct table {
        int fd;
        struct table_header *header;
        struct table_slot *slots;
        size_t slots_len;              /* backed by the file */
        size_t first_free;             /* no free slot lies before it */
        char boot_id[BOOT_ID_LEN + 4]; /* of now */
        bool booted_anew;
};

/* Nothing hides behind the last field, where a later one would take it for its own. */
_Static_assert(sizeof(struct task_machine) ==
                       offsetof(struct task_machine, daemon_ticks) + sizeof(uint64_t),
        "the machine ends with its last field");
_Static_assert(
        sizeof(struct table_run) == offsetof(struct table_run, first_of_pids) + sizeof(uint32_t),
        "the run record ends with its last field");
_Static_assert(sizeof(struct task_machine) % 8 == 0 && sizeof(struct table_run) % 8 == 0,
        "both are whole words, as layout_of() has it");

static const size_t map_size = TABLE_HEADER_SIZE + TABLE_SLOTS_MAX * sizeof(struct table_slot);

static const struct table_copy *current_copy(const struct table_slot *slot)
{
        return &slot->copies[atomic_load_explicit(&slot->current, memory_order_acquire) & 1];
}

static int read_boot_id(char ret[BOOT_ID_LEN + 4], struct error *err)
{
        AUTO(buffer_done) struct buffer b = { 0 };

        if (file_read("/proc/sys/kernel/random/boot_id", 128, &b, err) < 0)
                return -1;
        memset(ret, 0, BOOT_ID_LEN + 4);
        memcpy(ret, buffer_str(&b), MIN(b.len, (size_t) BOOT_ID_LEN));
        return 0;
}

static int grow(struct table *t, size_t slots, struct error *err)
{
        off_t size = (off_t) (TABLE_HEADER_SIZE + slots * sizeof(struct table_slot));
        int r = posix_fallocate(t->fd, 0, size);

        if (r != 0)
                return error_sys(err, r, "make room for %zu tasks in the task table", slots);
        t->slots_len = slots;
        return 0;
}

static int create(struct table *t, struct error *err)
{
        struct table_header *h = t->header;

        if (grow(t, TABLE_GROW_SLOTS, err) < 0)
                return -1;
        h->slot_size = sizeof(struct table_slot);
        h->machine_size = sizeof(struct task_machine);
        h->run_size = sizeof(struct table_run);
        /* beyond any number that a lost table of this node gave; if not, since the clock is another
         * one, the server sees it in `hello` */
        h->note_seq = time_wall();
        __atomic_store_n(&h->magic, TABLE_MAGIC, __ATOMIC_RELEASE); /* now it is a table */
        return 0;
}

/* Whether whoever made the file was killed before it was a table: it has its size, or a part of it,
 * and nothing has been written but, perhaps, some of the header. */
static bool unfinished(const struct table *t, size_t size)
{
        const char *slots = (const char *) t->slots;
        size_t n = size > TABLE_HEADER_SIZE ? size - TABLE_HEADER_SIZE : 0;

        if (n > TABLE_GROW_SLOTS * sizeof(struct table_slot))
                return false;
        if (size > 0 && (size < sizeof t->header->magic || t->header->magic != 0))
                return false;
        return n == 0 || (slots[0] == 0 && memcmp(slots, slots + 1, n - 1) == 0);
}

/* What a broken disk left of a slot must not become a path, nor a number that no outbox can follow.
 */
static bool slot_is_valid(const struct table_slot *slot)
{
        return memchr(slot->job, '\0', sizeof slot->job) != NULL && text_is_name(slot->job) &&
               current_copy(slot)->note_seq <= NOTE_SEQ_MAX;
}

static void drop_damaged_slots(struct table *t, const char *path)
{
        for (size_t i = 0; i < t->slots_len; i++)
                if (t->slots[i].used && !slot_is_valid(&t->slots[i])) {
                        log_error("%s: the entry of a task is damaged; it is forgotten", path);
                        t->slots[i].used = 0;
                }
}

/* ---- a table of another version */

static size_t run_size_of(const struct table_header *h)
{
        return h->run_size != 0 ? h->run_size : RUN_SIZE_FIRST;
}

static size_t copies_at(const struct table_header *h)
{
        return offsetof(struct table_slot, run) + run_size_of(h);
}

static size_t copy_size(const struct table_header *h)
{
        return offsetof(struct table_copy, machine) + h->machine_size;
}

static bool is_of_our_version(const struct table_header *h)
{
        return h->machine_size == sizeof(struct task_machine) &&
               run_size_of(h) == sizeof(struct table_run);
}

static int check_sizes(const struct table_header *h, const char *path, struct error *err)
{
        if (h->machine_size % 8 != 0 || run_size_of(h) % 8 != 0 || h->machine_size == 0 ||
                h->slot_size != copies_at(h) + 2 * copy_size(h))
                return error_set(err, ERR_INVALID, "%s: the task table is damaged", path);
        if (h->machine_size > sizeof(struct task_machine) ||
                run_size_of(h) > sizeof(struct table_run))
                return error_set(err, ERR_INVALID,
                        "%s: written by a newer version of Reeve, which knows more of its tasks "
                        "than this one can "
                        "keep; they run on: go back to that version, or end them with its `reeve "
                        "down` and remove the file",
                        path);
        return 0;
}

static void convert_slot(
        const struct table_header *h, const struct table_slot *old, struct table_slot *ret)
{
        const char *copies = (const char *) old + copies_at(h);

        memset(ret, 0, sizeof *ret);
        memcpy(ret, old, offsetof(struct table_slot, run));
        memcpy(&ret->run, &old->run, run_size_of(h));
        for (size_t i = 0; i < 2; i++)
                memcpy(&ret->copies[i], copies + i * copy_size(h), copy_size(h));
}

/* Leaves a table of our version at @path; @t still is the old one. */
static int convert(const struct table *t, const char *path, struct error *err)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        struct table_header *h = (void *) buffer_reserve(&b, TABLE_HEADER_SIZE);
        const char *old = (const char *) t->slots;
        struct table_slot slot;

        memset(h, 0, TABLE_HEADER_SIZE);
        *h = *t->header;
        h->machine_size = sizeof(struct task_machine);
        h->run_size = sizeof(struct table_run);
        h->slot_size = sizeof(struct table_slot);
        buffer_commit(&b, TABLE_HEADER_SIZE);
        for (size_t i = 0; i < t->slots_len; i++, old += t->header->slot_size) {
                convert_slot(t->header, (const struct table_slot *) (const void *) old, &slot);
                buffer_put(&b, &slot, sizeof slot);
        }
        if (file_replace(path, b.data, b.len, 0600, true, err) < 0)
                return error_wrap(err, "convert %s", path);
        log_info("%s: carried over from another version of Reeve", path);
        return 0;
}

static int check_header(struct table *t, const char *path, off_t size, struct error *err)
{
        struct table_header *h = t->header;

        if (unfinished(t, (size_t) size))
                return create(t, err);
        if (size < TABLE_HEADER_SIZE || h->magic != TABLE_MAGIC)
                return error_set(err, ERR_INVALID, "%s: not a task table", path);
        if (check_sizes(h, path, err) < 0)
                return -1;
        if (h->note_seq > NOTE_SEQ_MAX)
                return error_set(err, ERR_INVALID, "%s: the task table is damaged", path);
        t->slots_len =
                MIN(((size_t) size - TABLE_HEADER_SIZE) / h->slot_size, (size_t) TABLE_SLOTS_MAX);
        if (!is_of_our_version(h))
                return convert(t, path, err);
        drop_damaged_slots(t, path);
        return 0;
}

static void table_closep(struct table **t)
{
        table_close(*t);
}

static int map_file(struct table *t, const char *path, struct error *err)
{
        struct stat st;
        void *map;

        t->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (t->fd < 0 || fstat(t->fd, &st) < 0)
                return error_sys(err, errno, "open %s", path);
        map = mmap(NULL, map_size, PROT_READ | PROT_WRITE, MAP_SHARED, t->fd, 0);
        if (map == MAP_FAILED)
                return error_sys(err, errno, "map %s", path);
        t->header = map;
        t->slots = (struct table_slot *) (void *) ((char *) map + TABLE_HEADER_SIZE);
        return check_header(t, path, st.st_size, err);
}

static void unmap_file(struct table *t)
{
        if (t->header != NULL)
                munmap(t->header, map_size);
        t->header = NULL;
        fd_closep(&t->fd);
        t->fd = -1;
}

int table_open(const char *path, struct table **ret, struct error *err)
{
        AUTO(table_closep) struct table *t = mem_alloc(sizeof *t);

        if (map_file(t, path, err) < 0)
                return -1;
        if (!is_of_our_version(t->header)) { /* it was converted */
                unmap_file(t);
                if (map_file(t, path, err) < 0)
                        return -1;
        }
        if (read_boot_id(t->boot_id, err) < 0)
                return -1;
        t->booted_anew = t->header->boot_id[0] != '\0' &&
                         memcmp(t->header->boot_id, t->boot_id, sizeof t->boot_id) != 0;
        if (t->booted_anew)
                t->header->going_down = 0;
        if (t->booted_anew && t->header->heard_mono != 0) /* by a clock that began anew */
                t->header->heard_mono = LEASE_LONG_AGO;
        *ret = take_ptr(t);
        return 0;
}

void table_close(struct table *t)
{
        if (t == NULL)
                return;
        unmap_file(t);
        free(t);
}

bool table_booted_anew(const struct table *t)
{
        return t->booted_anew;
}

void table_note_boot(struct table *t)
{
        memcpy(t->header->boot_id, t->boot_id, sizeof t->boot_id);
        t->booted_anew = false;
}

bool table_is_going_down(const struct table *t)
{
        return t->header->going_down != 0;
}

void table_set_going_down(struct table *t)
{
        t->header->going_down = 1;
}

usec_t table_heard(const struct table *t)
{
        return t->header->heard_mono != 0 ? t->header->heard_mono : USEC_NEVER;
}

void table_set_heard(struct table *t, usec_t heard_mono)
{
        t->header->heard_mono = heard_mono != USEC_NEVER ? heard_mono : 0;
}

int table_call_off_down(const char *path, struct error *err)
{
        AUTO(fd_closep) int fd = open(path, O_RDWR | O_CLOEXEC);
        struct table_header h = { 0 };

        if (fd < 0 && errno == ENOENT)
                return 0;
        if (fd < 0 || pread(fd, &h, sizeof h, 0) < 0)
                return error_sys(err, errno, "open %s", path);
        if (h.magic != TABLE_MAGIC || h.going_down == 0)
                return 0;
        h.going_down = 0;
        if (pwrite(fd, &h, sizeof h, 0) < 0)
                return error_sys(err, errno, "write %s", path);
        return 0;
}

int table_take(struct table *t, const char *job, uint32_t index, struct table_slot **ret,
        struct error *err)
{
        struct table_slot *slot;
        size_t i = t->first_free;

        while (i < t->slots_len && atomic_load_explicit(&t->slots[i].used, memory_order_relaxed))
                i++;
        if (i == TABLE_SLOTS_MAX)
                return error_set(
                        err, ERR_TOO_LARGE, "a node runs at most %d tasks", TABLE_SLOTS_MAX);
        if (i == t->slots_len &&
                grow(t,
                        MIN(t->slots_len + MAX(t->slots_len / 2, (size_t) TABLE_GROW_SLOTS),
                                (size_t) TABLE_SLOTS_MAX),
                        err) < 0)
                return -1;
        t->first_free = i + 1;
        slot = &t->slots[i];
        memset(slot, 0, sizeof *slot);
        assert(strlen(job) < sizeof slot->job);
        strcpy(slot->job, job); /* NOLINT: asserted above */
        slot->index = index;
        *ret = slot;
        return 0;
}

void table_drop(struct table *t, struct table_slot *slot)
{
        t->header->note_seq = MAX(t->header->note_seq, current_copy(slot)->note_seq);
        atomic_store_explicit(&slot->used, 0, memory_order_release);
        t->first_free = MIN(t->first_free, (size_t) (slot - t->slots));
}

void table_each(struct table *t, void (*each)(void *data, struct table_slot *slot), void *data)
{
        for (size_t i = 0; i < t->slots_len; i++)
                if (atomic_load_explicit(&t->slots[i].used, memory_order_acquire))
                        each(data, &t->slots[i]);
}

size_t table_slot_number(const struct table *t, const struct table_slot *slot)
{
        return (size_t) (slot - t->slots);
}

struct table_slot *table_at(struct table *t, size_t number)
{
        if (!atomic_load_explicit(&t->slots[number].used, memory_order_acquire))
                return NULL;
        return &t->slots[number];
}

const char *table_slot_job(const struct table_slot *slot)
{
        return slot->job;
}

uint32_t table_slot_index(const struct table_slot *slot)
{
        return slot->index;
}

const struct task_machine *table_machine(const struct table_slot *slot)
{
        return &current_copy(slot)->machine;
}

void table_commit(
        struct table *t, struct table_slot *slot, const struct task_machine *m, uint64_t note_seq)
{
        const struct table_copy *old = current_copy(slot);
        uint32_t next = 1 - (atomic_load_explicit(&slot->current, memory_order_relaxed) & 1);

        (void) t;
        slot->copies[next].machine = *m;
        slot->copies[next].note_seq = MAX(old->note_seq, note_seq);
        atomic_store_explicit(&slot->current, next, memory_order_release);
        atomic_store_explicit(
                &slot->used, 1, memory_order_release); /* the first commit makes the task exist */
}

uint64_t table_note_seq(const struct table *t)
{
        uint64_t seq = t->header->note_seq;

        for (size_t i = 0; i < t->slots_len; i++)
                if (atomic_load_explicit(&t->slots[i].used, memory_order_relaxed))
                        seq = MAX(seq, current_copy(&t->slots[i])->note_seq);
        return seq;
}

struct table_run *table_run_record(struct table_slot *slot)
{
        return &slot->run;
}
