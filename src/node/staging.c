/* SPDX-License-Identifier: BSD-3-Clause */
/* Staging: the buffer that log bytes are read into, in a file mapped shared.
 *
 * read(2) takes bytes out of a FIFO and write(2) puts them into a log file; a SIGKILL between the
 * two would lose what is in memory. So that memory is the page cache of a file, which no death of a
 * process touches, and a header in the same file says what is going on. Nothing is synced: with the
 * machine, the FIFOs and the tasks are gone too. Therefore what an earlier boot has left is not
 * looked at: its pages reached the disk at different times, or not at all.
 *
 * A slot is in one of three states:
 *
 *   EMPTY   nothing of worth is here
 *   INTENT  length bytes are about to be read, or just were. The marks tell: bytes put where the
 *           first and the last of them will come to lie. For many bytes the marks are random (a
 *           match by chance: 2^-128); for few the caller has peeked, and every mark differs from
 *           the byte that will replace it
 *   HAVE    length bytes are here; the first `done` of them are in log files. A valid segment says
 *           where the next ones were being written: how far that got, the size of that file tells
 *
 * The order of stores is the whole protocol. A process that dies has executed its stores in program
 * order, so keeping the compiler from moving them (store_release) is enough.
 *
 * A read that stops midway would make INTENT undecidable: the kernel may have copied bytes that it
 * then does not take out of the FIFO. It copies without looking at signals, and stops only if a
 * page cannot be had; therefore the pages are touched before (the marks) and locked in memory.
 * Where locking is forbidden, a slot is one page long: slower, but such a copy has no middle to
 * stop at.
 *
 * Who may use the slots, and that the only reader of a FIFO is us, is for node/capture to see to.
 */
#include "node/staging.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"

#define MAGIC     0x31676174735f7652u /* "Rv_stag1" */
#define PAGE      4096u
#define SLOT_DATA (256u * 1024)
#define SLOT_SIZE (PAGE + SLOT_DATA)
#define FILE_SIZE (STAGING_SLOTS * SLOT_SIZE)
#define BOOT_MAX  40u /* a UUID as text */
#define MARK_MAX  16u
#define PAGE_MARK 8u /* at the beginning of each page but the first */

enum { STATE_EMPTY = 0, STATE_INTENT, STATE_HAVE };

struct staging_header {
        uint64_t magic;
        char boot[BOOT_MAX];
        _Atomic uint32_t state;
        uint32_t length;
        uint32_t done;
        uint32_t mark_length;
        unsigned char mark_front[MARK_MAX];
        unsigned char mark_back[MARK_MAX];

        _Atomic uint32_t segment_valid;
        uint32_t segment_length;
        uint32_t segment_start; /* `done` when it began */
        uint64_t segment_inode;
        uint64_t segment_offset;

        uint64_t max_size;
        uint32_t max_files;
        uint32_t run;
        uint32_t drop;
        char path[STAGING_PATH_MAX];
};

_Static_assert(sizeof(struct staging_header) <= PAGE, "a header is a page");

static void store_release(_Atomic uint32_t *where, uint32_t value)
{
        atomic_store_explicit(where, value, memory_order_release);
        atomic_signal_fence(memory_order_seq_cst);
}

static uint32_t load(const _Atomic uint32_t *where)
{
        return atomic_load_explicit(where, memory_order_acquire);
}

static int lock_file(int fd, const char *path, struct error *err)
{
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

        if (fcntl(fd, F_SETLK, &lock) == 0)
                return 0;
        if (errno == EAGAIN || errno == EACCES)
                return error_set(err, ERR_CONFLICT, "%s is in use by another process", path);
        return error_sys(err, errno, "lock %s", path);
}

/* On a file system that writes every change to a new place, a full disk would turn a store into the
 * mapping into SIGBUS. Where that can be switched off it must be while the file is empty. */
static void forbid_copy_on_write(int fd)
{
        int flags = 0;

        if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
                flags |= FS_NOCOW_FL;
                (void) ioctl(fd, FS_IOC_SETFLAGS, &flags);
        }
}

static int make_size(int fd, const char *path, struct error *err)
{
        struct stat st;
        int e;

        if (fstat(fd, &st) < 0)
                return error_sys(err, errno, "examine %s", path);
        if (st.st_size >= (off_t) FILE_SIZE)
                return 0;
        if (st.st_size == 0)
                forbid_copy_on_write(fd);
        e = posix_fallocate(fd, 0, (off_t) FILE_SIZE);
        return e == 0 ? 0 : error_sys(err, e, "make room for %s", path);
}

static void read_boot(char ret[BOOT_MAX])
{
        AUTO(buffer_done) struct buffer text = { 0 };

        memset(ret, 0, BOOT_MAX);
        if (file_read("/proc/sys/kernel/random/boot_id", 4096, &text, NULL) == 0)
                memcpy(ret, text.data, MIN(text.len, (size_t) BOOT_MAX - 1));
}

static void slot_init(
        struct staging_slot *slot, unsigned char *base, const char boot[BOOT_MAX], bool locked)
{
        slot->header = (void *) base;
        slot->data = base + PAGE;
        slot->capacity = locked ? SLOT_DATA : PAGE;
        if (slot->header->magic == MAGIC && memcmp(slot->header->boot, boot, BOOT_MAX) == 0)
                return;
        memset(slot->header, 0, sizeof *slot->header);
        memcpy(slot->header->boot, boot, BOOT_MAX);
        slot->header->magic = MAGIC;
}

int staging_open(const char *path, struct staging *ret, struct error *err)
{
        AUTO(fd_closep) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        char boot[BOOT_MAX];
        unsigned char *map;
        bool locked;

        if (fd < 0)
                return error_sys(err, errno, "open %s", path);
        if (lock_file(fd, path, err) < 0 || make_size(fd, path, err) < 0)
                return -1;
        map = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (map == MAP_FAILED)
                return error_sys(err, errno, "map %s", path);
        locked = mlock2(map, FILE_SIZE, MLOCK_ONFAULT) == 0;
        if (!locked)
                log_warning("log capture will be slower: locking %u KiB of memory: %s",
                        FILE_SIZE / 1024, strerror(errno));
        read_boot(boot);
        *ret = (struct staging){ .fd = take_fd(fd), .map = map };
        for (size_t i = 0; i < STAGING_SLOTS; i++)
                slot_init(&ret->slots[i], map + i * SLOT_SIZE, boot, locked);
        return 0;
}

void staging_close(struct staging *staging)
{
        if (staging->map == NULL)
                return;
        munmap(staging->map, FILE_SIZE);
        close(staging->fd);
        *staging = (struct staging){ .fd = -1 };
}

/* Secret from the tasks, new for every read, and cheap: a splitmix64 sequence from a random start.
 */
static uint64_t next_mark(void)
{
        static uint64_t state;
        uint64_t z;

        if (state == 0 && getrandom(&state, sizeof state, 0) != (ssize_t) sizeof state)
                state = (uintptr_t) &state ^ (uint64_t) getpid() << 32;
        z = state += 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        return z ^ z >> 31;
}

static void fill_random(unsigned char mark[MARK_MAX])
{
        uint64_t words[MARK_MAX / 8];

        for (size_t i = 0; i < MARK_MAX / 8; i++)
                words[i] = next_mark();
        memcpy(mark, words, MARK_MAX);
}

static void fill_different(unsigned char mark[MARK_MAX], const unsigned char *bytes, size_t len)
{
        for (size_t i = 0; i < len; i++)
                mark[i] = (unsigned char) ~bytes[i];
}

static void put_marks(struct staging_slot *slot, size_t len, const unsigned char *peek)
{
        struct staging_header *h = slot->header;
        size_t mark = MIN(len, (size_t) MARK_MAX);

        if (peek != NULL) {
                fill_different(h->mark_front, peek, mark);
                fill_different(h->mark_back, peek + len - mark, mark);
        } else {
                fill_random(h->mark_front);
                fill_random(h->mark_back);
        }
        h->mark_length = (uint32_t) mark;
        for (size_t at = PAGE; at < len; at += PAGE) /* makes the pages present and writable */
                memcpy(slot->data + at, h->mark_back, MIN((size_t) PAGE_MARK, len - at));
        memcpy(slot->data + len - mark, h->mark_back, mark);
        memcpy(slot->data, h->mark_front, mark);
}

static void put_owner(struct staging_header *h, const struct staging_owner *owner)
{
        size_t len = strlen(owner->path);

        h->max_size = owner->max_size;
        h->max_files = owner->max_files;
        h->run = owner->run;
        h->drop = owner->drop;
        memcpy(h->path, owner->path, MIN(len + 1, sizeof h->path));
        h->path[sizeof h->path - 1] = '\0';
}

void staging_intend(struct staging_slot *slot, const struct staging_owner *owner, size_t len,
        const unsigned char *peek)
{
        struct staging_header *h = slot->header;

        put_owner(h, owner);
        put_marks(slot, len, peek);
        h->length = (uint32_t) len;
        h->done = 0;
        store_release(&h->segment_valid, 0);
        store_release(&h->state, STATE_INTENT);
}

void staging_have(struct staging_slot *slot, size_t len)
{
        atomic_signal_fence(memory_order_seq_cst);
        slot->header->length = (uint32_t) len;
        store_release(&slot->header->state, STATE_HAVE);
}

bool staging_busy(const struct staging_slot *slot)
{
        return load(&slot->header->state) == STATE_HAVE;
}

const unsigned char *staging_rest(const struct staging_slot *slot, size_t *ret_len)
{
        *ret_len = slot->header->length - slot->header->done;
        return slot->data + slot->header->done;
}

void staging_segment_begin(struct staging_slot *slot, uint64_t inode, uint64_t offset, size_t len)
{
        struct staging_header *h = slot->header;

        h->segment_start = h->done;
        h->segment_inode = inode;
        h->segment_offset = offset;
        h->segment_length = (uint32_t) len;
        store_release(&h->segment_valid, 1);
}

/* Dying between the two stores does no harm: the segment then yields the same `done` again. */
void staging_segment_end(struct staging_slot *slot, size_t written)
{
        struct staging_header *h = slot->header;

        h->done = h->segment_start + (uint32_t) written;
        store_release(&h->segment_valid, 0);
}

bool staging_segment(
        const struct staging_slot *slot, uint64_t *ret_inode, uint64_t *ret_offset, size_t *ret_len)
{
        const struct staging_header *h = slot->header;

        if (!load(&h->segment_valid))
                return false;
        *ret_inode = h->segment_inode;
        *ret_offset = h->segment_offset;
        *ret_len = h->segment_length;
        return true;
}

void staging_release(struct staging_slot *slot)
{
        store_release(&slot->header->state, STATE_EMPTY);
}

struct staging_owner staging_owner(const struct staging_slot *slot)
{
        const struct staging_header *h = slot->header;

        return (struct staging_owner){
                .path = h->path,
                .max_size = h->max_size,
                .max_files = h->max_files,
                .run = h->run,
                .drop = h->drop != 0,
        };
}

/* How much an interrupted read has brought: nothing if the front mark is whole, all if the back
 * mark is not. Anything else cannot be (see above); then what was copied reaches to the first page
 * that is still marked, and saying so is all that is left. */
static uint32_t length_read(const struct staging_slot *slot)
{
        const struct staging_header *h = slot->header;
        size_t mark = h->mark_length;

        if (memcmp(slot->data, h->mark_front, mark) == 0)
                return 0;
        if (memcmp(slot->data + h->length - mark, h->mark_back, mark) != 0)
                return h->length;
        for (uint32_t at = PAGE; at + PAGE_MARK <= h->length; at += PAGE) {
                if (memcmp(slot->data + at, h->mark_back, PAGE_MARK) != 0)
                        continue;
                log_error(
                        "%s: a read stopped midway; up to a page of it may appear twice", h->path);
                return at;
        }
        return h->length;
}

static bool header_is_sane(const struct staging_slot *slot)
{
        const struct staging_header *h = slot->header;

        return h->length > 0 && h->length <= SLOT_DATA && h->done <= h->length &&
               h->mark_length <= MIN(MARK_MAX, h->length) &&
               memchr(h->path, '\0', sizeof h->path) != NULL &&
               (!load(&h->segment_valid) ||
                       (h->segment_start <= h->length &&
                               h->segment_length <= h->length - h->segment_start));
}

bool staging_recover(struct staging_slot *slot, struct staging_owner *ret)
{
        struct staging_header *h = slot->header;
        uint32_t state = load(&h->state);

        if (state != STATE_EMPTY && !header_is_sane(slot)) {
                log_error("log staging: what an earlier process left makes no sense, ignored");
                state = STATE_EMPTY;
        }
        if (state == STATE_INTENT) {
                h->length = length_read(slot);
                state = h->length == 0 ? STATE_EMPTY : STATE_HAVE;
        }
        store_release(&h->state, state);
        if (state != STATE_HAVE)
                return false;
        *ret = staging_owner(slot);
        return true;
}
