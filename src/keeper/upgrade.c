/* SPDX-License-Identifier: BSD-3-Clause */

/* Upgrade: the keeper becomes a newer image of itself.
 *
 * execve(2) replaces the program but not the process: the pid stays, so children stay children,
 * zombies stay zombies, blocked signals stay pending, and locks stay with the descriptors that hold
 * them. What would be lost is our memory. It travels in a memfd, whose number the new image finds
 * in --state-fd; the descriptors named in it are kept open over the execve.
 *
 * The layout outlives versions: a header, then sections of a type and a length. A reader skips
 * types it does not know, takes what it knows of a longer section and keeps its defaults for what
 * a shorter one lacks. So sections only grow at the end, and VERSION changes only if that is not
 * enough; a reader refuses a version it does not know. The command line, too, only grows.
 *
 * Not kept: FAILED messages that were not sent yet. The agent is ended right after, and the next
 * one learns from the answer to its HELLO what is held.
 *
 * If execve fails we are still the old image and nothing has changed: the descriptors get their
 * close-on-exec back. */
#include "keeper/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keeper/deposits.h"
#include "keeper/heapless.h"

#define MAGIC   "RVKEEPER"
#define VERSION 1

enum section_type { SECTION_SELF = 1, SECTION_PROGRAM, SECTION_RECORD, SECTION_DEPOSIT };

struct state_header {
        char magic[8];
        uint32_t version;
        uint32_t unused;
};

struct section_header {
        uint32_t type;
        uint32_t length; /* of what follows */
};

struct saved_self {
        uint64_t next_record;
        uint64_t program_mask; /* the kernel's 64 signals */
        uint64_t nofile_soft, nofile_hard;
        int32_t lock_fd;
        int32_t handover_fd;
        uint32_t down_pending;
        uint32_t unused;
};

struct saved_program {
        char name[KEEPER_NAME_MAX];
        int32_t pid;
        int32_t pidfd;
        int32_t channel_fd;
        uint32_t failures;
        uint64_t started;
        uint32_t hello;
        uint32_t ready_due;
        uint32_t down_sent;
        uint32_t next_deposit;
        uint64_t next_record;
        uint64_t ready_before;
};

struct saved_deposit {
        char name[KEEPER_NAME_MAX];
        int32_t fds[KEEPER_FDS_MAX];
        uint32_t count;
        uint32_t unused;
};

/* ---- the older image ---- */

struct writer {
        int fd;
        int status; /* the first failure, -errno */
        size_t used;
        unsigned char bytes[16384];
};

static void writer_flush(struct writer *w)
{
        for (size_t done = 0; w->status == 0 && done < w->used;) {
                ssize_t n = write(w->fd, w->bytes + done, w->used - done);
                if (n < 0)
                        w->status = -errno;
                else
                        done += (size_t) n;
        }
        w->used = 0;
}

static void writer_add(struct writer *w, const void *data, size_t length)
{
        if (w->used + length > sizeof w->bytes)
                writer_flush(w);
        memcpy(w->bytes + w->used, data, length);
        w->used += length;
}

static void write_section(struct writer *w, enum section_type type, const void *data, size_t length)
{
        struct section_header h = { .type = type, .length = (uint32_t) length };
        writer_add(w, &h, sizeof h);
        writer_add(w, data, length);
}

static void write_self(struct writer *w, const struct keeper *k)
{
        struct saved_self s = {
                .next_record = k->next_record,
                .nofile_soft = k->program_nofile.rlim_cur,
                .nofile_hard = k->program_nofile.rlim_max,
                .lock_fd = k->lock_fd,
                .handover_fd = k->handover.fd,
                .down_pending = k->down_pending,
        };
        memcpy(&s.program_mask, &k->program_mask, sizeof s.program_mask);
        write_section(w, SECTION_SELF, &s, sizeof s);
}

/* Deposits are written without the free slots between them: a cursor into them counts as many. */
static uint32_t deposits_before(uint32_t slot)
{
        uint32_t count = 0;
        for (uint32_t i = 0; i < slot && i < deposits_end(); i++)
                if (deposits_at(i) != NULL)
                        count++;
        return count;
}

static void write_program(struct writer *w, const struct program *p)
{
        struct saved_program s = {
                .pid = p->pid,
                .pidfd = p->pidfd,
                .channel_fd = p->channel.fd,
                .failures = p->failures,
                .started = p->started,
                .hello = p->channel.hello,
                .ready_due = p->channel.ready_due,
                .down_sent = p->channel.down_sent,
                .next_deposit = deposits_before(p->channel.next_deposit),
                .next_record = p->channel.next_record,
                .ready_before = p->channel.ready_before,
        };
        memcpy(s.name, p->name, strlen(p->name));
        write_section(w, SECTION_PROGRAM, &s, sizeof s);
}

static void write_deposit(struct writer *w, const struct deposit *d)
{
        struct saved_deposit s = { .count = d->count };
        memcpy(s.name, d->name, sizeof s.name);
        memcpy(s.fds, d->fds, sizeof s.fds);
        write_section(w, SECTION_DEPOSIT, &s, sizeof s);
}

/* Returns a descriptor, or -errno. */
static int save_state(const struct keeper *k)
{
        static struct writer writer;
        struct writer *w = &writer;
        w->status = 0;
        w->used = 0;
        w->fd = memfd_create("reeve-keeper state", MFD_CLOEXEC);
        if (w->fd < 0)
                return -errno;

        writer_add(w, &(struct state_header){ .magic = MAGIC, .version = VERSION },
                sizeof(struct state_header));
        write_self(w, k);
        for (unsigned i = 0; i < k->programs; i++)
                write_program(w, &k->program[i]);
        for (uint64_t seq = k->first_record; seq < k->next_record; seq++)
                write_section(w, SECTION_RECORD, &k->record[seq % RECORDS_MAX],
                        sizeof(struct keeper_record));
        for (uint32_t slot = 0; slot < deposits_end(); slot++)
                if (deposits_at(slot) != NULL)
                        write_deposit(w, deposits_at(slot));
        writer_flush(w);
        if (w->status == 0)
                return w->fd;
        close(w->fd);
        return w->status;
}

/* Close-on-exec off or on for everything that the state names. */
static void keep_over_exec(const struct keeper *k, bool keep)
{
        int flags = keep ? 0 : FD_CLOEXEC;
        fcntl(k->lock_fd, F_SETFD, flags);
        if (k->handover.fd >= 0)
                fcntl(k->handover.fd, F_SETFD, flags);
        for (unsigned i = 0; i < k->programs; i++) {
                if (k->program[i].channel.fd >= 0)
                        fcntl(k->program[i].channel.fd, F_SETFD, flags);
                if (k->program[i].pidfd >= 0)
                        fcntl(k->program[i].pidfd, F_SETFD, flags);
        }
        for (uint32_t slot = 0; slot < deposits_end(); slot++) {
                const struct deposit *d = deposits_at(slot);
                for (uint32_t i = 0; d != NULL && i < d->count; i++)
                        fcntl(d->fds[i], F_SETFD, flags);
        }
}

/* The command line that main() understands, made anew from what it made of ours. There is room: it
 * is no longer than ours but for --state-fd. */
static void make_arguments(const struct keeper *k, char *path, char *state_fd, char **ret)
{
        static char dir_option[] = "--dir", state_option[] = "--state-fd", separator[] = "--";
        *ret++ = path;
        *ret++ = dir_option;
        *ret++ = k->dir;
        *ret++ = state_option;
        *ret++ = state_fd;
        for (unsigned i = 0; i < k->programs; i++) {
                *ret++ = separator;
                for (char **arg = k->program[i].argv; *arg != NULL; arg++)
                        *ret++ = *arg;
        }
        *ret = NULL;
}

int upgrade_run(struct keeper *k)
{
        static char *argv[ARGUMENTS_MAX + 8];
        char number[16];
        char *path = k->upgrade_path[0] != '\0' ? k->upgrade_path : k->path;
        int fd = save_state(k);
        if (fd < 0)
                return fd;
        snprintf(number, sizeof number, "%d", fd);
        make_arguments(k, path, number, argv);

        keep_over_exec(k, true);
        fcntl(fd, F_SETFD, 0);
        execve(path, argv, k->environment);
        int status = -errno;
        keep_over_exec(k, false);
        close(fd);
        return status;
}

/* ---- the newer image ---- */

static void load_self(struct keeper *k, const struct saved_self *s)
{
        k->first_record = k->next_record = s->next_record;
        memcpy(&k->program_mask, &s->program_mask, sizeof s->program_mask);
        k->program_nofile.rlim_cur = s->nofile_soft;
        k->program_nofile.rlim_max = s->nofile_hard;
        k->lock_fd = s->lock_fd;
        k->handover.fd = s->handover_fd;
        k->down_pending = s->down_pending != 0;
}

static int load_program(struct keeper *k, struct saved_program *s)
{
        s->name[sizeof s->name - 1] = '\0';
        struct program *p = program_by_name(k, s->name);
        if (p == NULL)
                return -ENOENT;
        p->channel.fd = s->channel_fd;
        p->channel.hello = s->hello != 0;
        p->channel.ready_due = s->ready_due != 0;
        p->channel.down_sent = s->down_sent != 0;
        p->channel.next_deposit = s->next_deposit;
        p->channel.next_record = s->next_record;
        p->channel.ready_before = s->ready_before;
        p->pid = s->pid;
        if (s->pidfd >= 0) {
                int status = program_adopt(k, p, s->pid, s->pidfd);
                if (status < 0)
                        return status;
        }
        p->failures = s->failures;
        p->started = s->started;
        return 0;
}

static int load_record(struct keeper *k, const struct keeper_record *r)
{
        uint64_t age = k->next_record - r->seq;
        if (age == 0 || age > RECORDS_MAX)
                return -EINVAL;
        k->record[r->seq % RECORDS_MAX] = *r;
        if (r->seq < k->first_record) /* the first one comes first: the lowest */
                k->first_record = r->seq;
        return 0;
}

static int load_deposit(struct saved_deposit *s)
{
        s->name[sizeof s->name - 1] = '\0';
        if (s->count == 0 || s->count > KEEPER_FDS_MAX)
                return -EINVAL;
        return deposits_put(s->name, s->fds, s->count);
}

static int load_section(struct keeper *k, uint32_t type, const unsigned char *data, size_t length)
{
        union {
                struct saved_self self;
                struct saved_program program;
                struct keeper_record record;
                struct saved_deposit deposit;
        } u;
        memset(&u, 0, sizeof u);
        if (type == SECTION_SELF)
                u.self.lock_fd = u.self.handover_fd = -1;
        if (type == SECTION_PROGRAM)
                u.program.pidfd = u.program.channel_fd = -1;
        memcpy(&u, data, length < sizeof u ? length : sizeof u);
        switch (type) {
        case SECTION_SELF:
                load_self(k, &u.self);
                return 0;
        case SECTION_PROGRAM:
                return load_program(k, &u.program);
        case SECTION_RECORD:
                return load_record(k, &u.record);
        case SECTION_DEPOSIT:
                return load_deposit(&u.deposit);
        default:
                return 0;
        }
}

static int load_sections(struct keeper *k, const unsigned char *data, size_t size)
{
        struct state_header header;
        if (size < sizeof header)
                return -EINVAL;
        memcpy(&header, data, sizeof header);
        if (memcmp(header.magic, MAGIC, sizeof header.magic) != 0 || header.version != VERSION)
                return -EPROTO;
        for (size_t at = sizeof header; at < size;) {
                struct section_header section;
                if (size - at < sizeof section)
                        return -EINVAL;
                memcpy(&section, data + at, sizeof section);
                at += sizeof section;
                if (size - at < section.length)
                        return -EINVAL;
                int status = load_section(k, section.type, data + at, section.length);
                if (status < 0) /* better all but this than nothing: our children are at stake */
                        keeper_log("cannot take over a part (%u) of the earlier image's state: %s",
                                section.type, strerror(-status));
                at += section.length;
        }
        return 0;
}

static int resume_channels(struct keeper *k)
{
        int status = 0;
        for (unsigned i = 0; status == 0 && i < k->programs; i++)
                if (k->program[i].channel.fd >= 0)
                        status = channel_resume(k, &k->program[i].channel);
        if (status == 0 && k->handover.fd >= 0)
                status = channel_resume(k, &k->handover);
        return status;
}

int upgrade_load(struct keeper *k, int fd)
{
        struct stat st;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (st.st_size <= 0)
                return -EINVAL;
        size_t size = (size_t) st.st_size;
        unsigned char *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
                return -errno;
        int status = load_sections(k, data, size);
        munmap(data, size);
        close(fd);
        if (status < 0)
                return status;
        keep_over_exec(k, false);
        return resume_channels(k);
}
