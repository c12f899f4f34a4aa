/* SPDX-License-Identifier: BSD-3-Clause */
/* Log query: the part of a stream that was asked for, as it travels.
 *
 * Owned by a stream of node/logserve. Which bytes are of the run and the time asked for is
 * node/logread's business; here they are searched for lines, and packed.
 *
 * Without an expression, bytes go straight into the piece. With one, they come to a block first,
 * with a note for each part of it of when it arrived; whole lines are searched, the beginning of
 * one that has not ended moves to the front of the block and waits. A line of LONG_LINE bytes is
 * searched as if it ended there. One call reads and searches one block at most, so that whoever
 * calls can do something else in between.
 *
 * The last N lines that match: all are looked for once and the places of the last N kept; then the
 * reader begins anew at the first of these. */
#include "node/logquery.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"
#include "model/pattern-scan.h"

#define BLOCK_SIZE  ((size_t) 256 * 1024)
#define LONG_LINE   ((size_t) 64 * 1024)
#define PARTS_MAX   4096                         /* of a block */
#define PLACE_BYTES ((uint64_t) 4 * 1024 * 1024) /* searched in vain: say how far */

/* Bytes of the block that arrived together. */
struct part {
        uint64_t byte; /* the first */
        usec_t wall;
        uint32_t run;
};

struct search {
        struct pattern_scan *scan;
        char *block;
        uint64_t byte; /* number of the block's first byte */
        size_t len, searched;
        size_t wanted; /* behind `searched`: of a line that matches and was not given yet */
        struct part *parts;
        size_t parts_len, part;   /* the one that `searched` is in, or one before */
        struct logread_chunk gap; /* comes after the block; gap 0: none */
        bool dry;                 /* the reader had nothing more */

        /* while the last ones that match are looked for */
        bool counting;
        uint64_t *last; /* a ring */
        size_t last_max, last_size, last_len, last_at;
};

struct logquery {
        char *directory, *name;
        struct logread_from from;
        struct logread *reader;
        bool follow, records;
        struct logread_chunk held; /* a gap that comes next; gap 0: none */
        uint64_t told;             /* the place that the other side knows */
        struct search *search;     /* NULL: all bytes */
};

static void search_free(struct search *s)
{
        if (s == NULL)
                return;
        pattern_scan_free(s->scan);
        free(s->block);
        free(s->parts);
        free(s->last);
        free(s);
}

static int search_new(const struct logquery_config *config, struct search **ret, struct error *err)
{
        struct pattern_scan *scan;
        struct search *s;

        if (pattern_scan_new(config->grep, &scan, err) < 0)
                return error_wrap(err, "grep");
        s = mem_alloc(sizeof *s);
        s->scan = scan;
        s->block = mem_alloc(BLOCK_SIZE);
        s->parts = mem_alloc(PARTS_MAX * sizeof *s->parts);
        s->counting = config->from.start == LOGREAD_LINES && config->from.value > 0;
        s->last_max = s->counting ? (size_t) config->from.value : 0;
        *ret = s;
        return 0;
}

static int reader_open(struct logquery *q, struct logread_from from, struct error *err)
{
        logread_free(take_ptr(q->reader));
        return logread_open(q->directory, q->name, from, &q->reader, err);
}

int logquery_new(const struct logquery_config *config, struct logquery **ret, struct error *err)
{
        AUTO(mem_freep) char *directory = mem_strdup(config->directory);
        struct logread_from from = config->from;
        struct search *search = NULL;
        struct logquery *q;

        if (config->grep != NULL && !config->records)
                return error_set(err, ERR_INVALID, "grep: only with records");
        if (config->grep != NULL && search_new(config, &search, err) < 0)
                return -1;
        q = mem_alloc(sizeof *q);
        *q = (struct logquery){ .directory = take_ptr(directory),
                .name = mem_strdup(config->name),
                .from = config->from,
                .follow = config->follow,
                .records = config->records,
                .search = search };
        if (search != NULL && search->counting)
                from = (struct logread_from){ .start = LOGREAD_BYTE,
                        .run = from.run,
                        .since = from.since,
                        .until = from.until };
        if (reader_open(q, from, err) < 0) {
                logquery_free(q);
                return -1;
        }
        q->told = logread_position(q->reader);
        *ret = q;
        return 0;
}

void logquery_free(struct logquery *q)
{
        if (q == NULL)
                return;
        logread_free(q->reader);
        search_free(q->search);
        free(q->directory);
        free(q->name);
        free(q);
}

bool logquery_ended(const struct logquery *q)
{
        return logread_ended(q->reader);
}

/* ---- Packing */

/* A piece that is being filled. */
struct packer {
        char *buf;
        size_t size, len;
        uint64_t byte;  /* number of the first byte */
        size_t records; /* 0: nothing is in it */
        bool heads, gap;
};

static size_t head_size(const struct packer *p)
{
        return p->heads ? sizeof(struct logquery_head) : 0;
}

/* Room for bytes of one more record. */
static size_t packer_room(const struct packer *p)
{
        return p->size - p->len > head_size(p) ? p->size - p->len - head_size(p) : 0;
}

/* Adds the head of a record whose @size bytes are, or will be, right behind it. */
static void pack(struct packer *p, enum logquery_type type, uint32_t run, uint64_t byte,
        usec_t wall, uint64_t size)
{
        struct logquery_head head = { htobe32(type), htobe32(run), htobe64(byte), htobe64(wall),
                htobe64(size) };

        if (p->records++ == 0)
                p->byte = byte;
        if (p->heads)
                memcpy(p->buf + p->len, &head, sizeof head);
        p->len += head_size(p) + (type == LOGQUERY_BYTES ? (size_t) size : 0);
}

/* False if it has to come in another piece. */
static bool pack_gap(struct packer *p, const struct logread_chunk *gap)
{
        if (p->heads ? p->size - p->len < head_size(p) : p->records > 0)
                return false;
        pack(p, gap->why == LOGREAD_GAP_DROPPED ? LOGQUERY_DROPPED : LOGQUERY_ROTATED, gap->run,
                gap->byte, gap->wall, gap->gap);
        p->gap = true;
        return true;
}

/* ---- All bytes */

/* Fills the piece with what there is; 0 if that is nothing. */
static int next_bytes(struct logquery *q, struct packer *p, struct error *err)
{
        struct logread_chunk chunk;

        if (q->held.gap > 0) {
                if (!pack_gap(p, &q->held))
                        return 1;
                q->held.gap = 0;
        }
        while (packer_room(p) > 0 && !(p->gap && !p->heads)) {
                int r = logread_next(
                        q->reader, p->buf + p->len + head_size(p), packer_room(p), &chunk, err);

                if (r < 0)
                        return -1;
                if (r == 0)
                        break;
                if (chunk.gap == 0) {
                        pack(p, LOGQUERY_BYTES, chunk.run, chunk.byte, chunk.wall, chunk.len);
                } else if (!pack_gap(p, &chunk)) {
                        q->held = chunk;
                        break;
                }
        }
        return p->records > 0;
}

/* ---- Lines that match */

/* Moves what was not searched yet to the front. */
static void block_compact(struct search *s)
{
        size_t part = 0;

        memmove(s->block, s->block + s->searched, s->len - s->searched);
        s->byte += s->searched;
        s->len -= s->searched;
        s->searched = 0;
        while (part + 1 < s->parts_len && s->parts[part + 1].byte <= s->byte)
                part++;
        memmove(s->parts, s->parts + part, (s->parts_len - part) * sizeof *s->parts);
        s->parts_len -= part;
        s->part = 0;
        if (s->len == 0)
                s->parts_len = 0;
}

/* Reads until the block is full, or there is a gap or nothing more. */
static int block_fill(struct logquery *q, struct error *err)
{
        struct search *s = q->search;
        struct logread_chunk chunk;

        block_compact(s);
        s->dry = false;
        while (s->len < BLOCK_SIZE && s->parts_len < PARTS_MAX && s->gap.gap == 0) {
                int r = logread_next(
                        q->reader, s->block + s->len, BLOCK_SIZE - s->len, &chunk, err);

                if (r < 0)
                        return -1;
                if (r == 0) {
                        s->dry = true;
                        return 0;
                }
                if (chunk.gap > 0) {
                        s->gap = chunk;
                        continue;
                }
                if (s->len == 0)
                        s->byte = chunk.byte;
                s->parts[s->parts_len++] =
                        (struct part){ .byte = chunk.byte, .wall = chunk.wall, .run = chunk.run };
                s->len += chunk.len;
        }
        return 0;
}

/* How many bytes from `searched` on are whole lines, or have to be taken for such. */
static size_t block_lines(const struct logquery *q)
{
        const struct search *s = q->search;
        const char *begin = s->block + s->searched;
        size_t rest = s->len - s->searched;
        const char *end = rest == 0 ? NULL : memrchr(begin, '\n', rest);

        if (s->gap.gap > 0 || (s->dry && (!q->follow || logread_ended(q->reader))))
                return rest;
        if (end == NULL)
                return rest >= LONG_LINE || s->parts_len == PARTS_MAX ? rest : 0;
        return (size_t) (end - begin) + 1;
}

static const struct part *part_of(struct search *s, uint64_t byte)
{
        while (s->part + 1 < s->parts_len && s->parts[s->part + 1].byte <= byte)
                s->part++;
        return &s->parts[s->part];
}

/* Gives as much as fits of a line that matches. */
static void give_wanted(struct search *s, struct packer *p)
{
        uint64_t byte = s->byte + s->searched;
        size_t n = MIN(s->wanted, packer_room(p));
        const struct part *part = part_of(s, byte);

        if (n < s->wanted && p->records > 0)
                return; /* whole, in the next piece */
        if (n == 0)
                return;
        memcpy(p->buf + p->len + head_size(p), s->block + s->searched, n);
        pack(p, LOGQUERY_BYTES, part->run, byte, part->wall, n);
        s->searched += n;
        s->wanted -= n;
}

static void remember(struct search *s, uint64_t byte)
{
        if (s->last_len < s->last_max && s->last_len == s->last_size) {
                s->last_size = MIN(s->last_max, MAX((size_t) 64, 2 * s->last_size));
                s->last = mem_resize(s->last, s->last_size, sizeof *s->last);
        }
        if (s->last_len < s->last_max) {
                s->last[s->last_len++] = byte;
                return;
        }
        s->last[s->last_at] = byte;
        s->last_at = (s->last_at + 1) % s->last_max;
}

/* Searches the lines of the block until the piece is full. False if the piece has no room. */
static bool search_block(struct logquery *q, struct packer *p)
{
        struct search *s = q->search;
        size_t lines, line, len;

        for (;;) {
                if (s->wanted > 0 && s->counting) {
                        remember(s, s->byte + s->searched);
                        s->searched += s->wanted;
                        s->wanted = 0;
                } else if (s->wanted > 0) {
                        give_wanted(s, p);
                        if (s->wanted > 0)
                                return false;
                }
                lines = block_lines(q);
                if (lines == 0)
                        return true;
                if (!pattern_scan_next(s->scan, s->block + s->searched, lines, &line, &len)) {
                        s->searched += lines;
                        return true;
                }
                s->searched += line;
                s->wanted = len;
        }
}

/* All was looked through: the reader goes back to the first of the last ones that match. Without
 * any, it goes on where it is. */
static int counted(struct logquery *q, struct error *err)
{
        struct search *s = q->search;
        struct logread_from from = { .start = LOGREAD_BYTE,
                .run = q->from.run,
                .since = q->from.since,
                .until = q->from.until };

        s->counting = false;
        if (s->last_len == 0)
                return 0;
        from.value = s->last[s->last_len < s->last_max ? 0 : s->last_at];
        free(take_ptr(s->last));
        s->len = s->searched = s->parts_len = s->part = 0;
        s->dry = false;
        return reader_open(q, from, err);
}

/* Says how far the stream was searched, if that is news. */
static void tell_place(struct logquery *q, struct packer *p, uint64_t least)
{
        uint64_t place = q->search->byte + q->search->searched;

        if (q->search->counting || p->records > 0 || place < q->told + least)
                return;
        pack(p, LOGQUERY_PLACE, 0, place, 0, 0);
        q->told = place;
}

static int next_lines(struct logquery *q, struct packer *p, struct error *err)
{
        struct search *s = q->search;

        if (!search_block(q, p))
                return 1;
        if (s->gap.gap > 0) {
                if (!s->counting && !pack_gap(p, &s->gap))
                        return 1;
                s->gap.gap = 0;
        }
        if (block_fill(q, err) < 0)
                return -1;
        if (!search_block(q, p) || !s->dry || s->gap.gap > 0) {
                tell_place(q, p, PLACE_BYTES);
                return 1;
        }
        if (s->counting)
                return counted(q, err) < 0 ? -1 : 1;
        tell_place(q, p, 1);
        return p->records > 0;
}

int logquery_next(
        struct logquery *q, char *buf, size_t size, struct logquery_piece *ret, struct error *err)
{
        struct packer p = { .buf = buf, .size = size, .heads = q->records };
        int r = (q->search != NULL ? next_lines : next_bytes)(q, &p, err);

        if (r <= 0)
                return r;
        *ret = (struct logquery_piece){ .byte = p.byte, .len = p.len, .gap = p.gap && !p.heads };
        return 1;
}
