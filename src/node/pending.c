/* SPDX-License-Identifier: BSD-3-Clause */
/* Pending: a file of slots of one size, mapped. The kernel keeps what was written to the mapping
 * whatever becomes of the process; its blocks are allocated at the beginning, so that a full disk
 * cannot take them away. A slot counts from the moment at which its length is there, which is
 * written last. */
#include "node/pending.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

#define SLOTS 64

struct slot {
        _Atomic uint32_t len; /* 0: free */
        uint32_t unused;
        uint64_t number; /* grows with every text */
        char text[PENDING_TEXT_MAX];
};
_Static_assert(sizeof(struct slot) == 4096, "a page");

struct pending {
        struct slot *slots;
        size_t used;
        uint64_t last; /* number */
};

/* A length that no process wrote is of a broken disk. */
static void take_stock(struct pending *p)
{
        for (struct slot *s = p->slots; s < p->slots + SLOTS; s++) {
                if (s->len > sizeof s->text)
                        s->len = 0;
                if (s->len == 0)
                        continue;
                p->used++;
                p->last = MAX(p->last, s->number);
        }
}

int pending_open(const char *path, struct pending **ret, struct error *err)
{
        AUTO(fd_closep) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        struct pending *p;
        void *map;
        int r;

        if (fd < 0)
                return error_sys(err, errno, "open %s", path);
        r = posix_fallocate(fd, 0, SLOTS * sizeof *p->slots);
        if (r != 0)
                return error_sys(err, r, "make room for %s", path);
        map = mmap(NULL, SLOTS * sizeof *p->slots, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (map == MAP_FAILED)
                return error_sys(err, errno, "map %s", path);
        p = mem_alloc(sizeof *p);
        p->slots = map;
        take_stock(p);
        *ret = p;
        return 0;
}

void pending_close(struct pending *p)
{
        if (p == NULL)
                return;
        munmap(p->slots, SLOTS * sizeof *p->slots);
        free(p);
}

bool pending_put(struct pending *p, const char *text, size_t len)
{
        struct slot *s = p->slots;

        if (len == 0 || len > sizeof s->text || p->used == SLOTS)
                return false;
        while (s->len != 0)
                s++;
        memcpy(s->text, text, len);
        s->number = ++p->last;
        atomic_store_explicit(&s->len, (uint32_t) len, memory_order_release);
        p->used++;
        return true;
}

static struct slot *oldest(const struct pending *p)
{
        struct slot *found = NULL;

        if (p->used == 0)
                return NULL;
        for (struct slot *s = p->slots; s < p->slots + SLOTS; s++)
                if (s->len != 0 && (found == NULL || s->number < found->number))
                        found = s;
        return found;
}

const char *pending_oldest(const struct pending *p, size_t *ret_len)
{
        const struct slot *s = oldest(p);

        if (s == NULL)
                return NULL;
        *ret_len = s->len;
        return s->text;
}

void pending_drop_oldest(struct pending *p)
{
        struct slot *s = oldest(p);

        if (s == NULL)
                return;
        s->len = 0;
        p->used--;
}
