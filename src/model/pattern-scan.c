/* SPDX-License-Identifier: BSD-3-Clause */
/* Pattern scan: one pattern, run over many lines.
 *
 * Two things make it fast. Bytes that every match must contain (the longest run of plain characters
 * that no alternative leaves out) are looked for first, with memmem(3): most lines are never looked
 * at. And the sets of steps that pattern.c would follow byte by byte become states, made when they
 * are first needed, with a table of where each byte leads (the lazy automaton of RE2 and grep).
 *
 * States are bounded by STATES_MAX and STEPS_MAX; when one more does not fit all are forgotten and
 * the one at hand is the first of the new ones. So an expression with ever new states costs a
 * little more per byte than pattern_matches(), and no more memory.
 *
 * State 0 is the beginning of a line. A step `$` waits in its state; what is behind it is followed
 * only when the line has ended there. Pure but for its own memory. */
#include "model/pattern-scan.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"
#include "model/pattern-internal.h"

#define STATES_MAX 256
#define STEPS_MAX  (64u * 1024) /* of all states */
#define UNKNOWN    0            /* in next[]; else the number of a state, and 1 */

struct state {
        uint16_t next[256];
        const uint16_t *steps; /* those that wait, in pattern_scan.steps */
        uint32_t len;
        bool matched;        /* whatever follows */
        bool end_known, end; /* whether it matches if the line ends here */
};

struct pattern_scan {
        struct pattern p;
        char *literal;
        size_t literal_len;
        bool is_literal; /* and nothing else */
        struct state *states;
        size_t states_len;
        uint16_t *steps;
        size_t steps_len;

        /* of the state that is being made */
        uint16_t list[PATTERN_SIZE_MAX], stack[PATTERN_SIZE_MAX];
        uint32_t seen[PATTERN_SIZE_MAX]; /* the round in which a step was reached */
        uint32_t round;
        size_t list_len, stack_len;
        bool matched;
};

/* ---- What every match contains */

/* Marks the steps that some way through the pattern goes around. */
static void mark_optional(const struct pattern *p, bool *optional)
{
        for (size_t i = 0; i < p->len; i++)
                if (p->steps[i].op == OP_SPLIT || p->steps[i].op == OP_JUMP)
                        for (int k = 1; k < p->steps[i].to; k++)
                                optional[i + (size_t) k] = true;
}

static void find_literal(struct pattern_scan *scan)
{
        const struct pattern *p = &scan->p;
        AUTO(mem_freep) bool *optional = mem_alloc((p->len + 1) * sizeof *optional);
        size_t best = 0, best_len = 0, len = 0;

        mark_optional(p, optional);
        for (size_t i = 0; i < p->len; i++) {
                len = p->steps[i].op == OP_BYTE && !optional[i] ? len + 1 : 0;
                if (len > best_len) {
                        best_len = len;
                        best = i + 1 - len;
                }
        }
        scan->literal = mem_alloc(best_len + 1);
        for (size_t i = 0; i < best_len; i++)
                scan->literal[i] = (char) p->steps[best + i].arg;
        scan->literal_len = best_len;
        scan->is_literal = best_len + 1 == p->len; /* the last one is OP_MATCH */
}

/* ---- States */

static void reach(struct pattern_scan *scan, size_t step)
{
        if (scan->seen[step] == scan->round)
                return;
        scan->seen[step] = scan->round;
        scan->stack[scan->stack_len++] = (uint16_t) step;
}

/* Follows what needs no byte from @step on; what waits comes to the list. */
static void follow(struct pattern_scan *scan, size_t step, bool begins, bool ends)
{
        reach(scan, step);
        while (scan->stack_len > 0) {
                size_t at = scan->stack[--scan->stack_len];
                const struct pattern_step *s = &scan->p.steps[at];
                size_t to = (size_t) ((int) at + s->to);

                switch ((enum op) s->op) {
                case OP_SPLIT:
                        reach(scan, to);
                        reach(scan, at + 1);
                        break;
                case OP_JUMP:
                        reach(scan, to);
                        break;
                case OP_BEGIN:
                        if (begins)
                                reach(scan, at + 1);
                        break;
                case OP_END:
                        if (ends)
                                reach(scan, at + 1);
                        else
                                scan->list[scan->list_len++] = (uint16_t) at;
                        break;
                case OP_MATCH:
                        scan->matched = true;
                        break;
                case OP_BYTE:
                case OP_ANY:
                case OP_SET:
                        scan->list[scan->list_len++] = (uint16_t) at;
                        break;
                }
        }
}

static void list_begin(struct pattern_scan *scan)
{
        if (++scan->round == 0) { /* the marks of 4 billion rounds ago */
                memset(scan->seen, 0, sizeof scan->seen);
                scan->round = 1;
        }
        scan->list_len = 0;
        scan->matched = false;
}

static uint16_t state_find(const struct pattern_scan *scan)
{
        for (size_t i = 1; i < scan->states_len; i++) {
                const struct state *s = &scan->states[i];

                if (s->matched == scan->matched && s->len == scan->list_len &&
                        memcmp(s->steps, scan->list, s->len * sizeof *s->steps) == 0)
                        return (uint16_t) (i + 1);
        }
        return UNKNOWN;
}

/* The list becomes a state, for which there is room. */
static uint16_t state_add(struct pattern_scan *scan)
{
        struct state *s = &scan->states[scan->states_len++];

        *s = (struct state){ .steps = scan->steps + scan->steps_len,
                .len = (uint32_t) scan->list_len,
                .matched = scan->matched };
        memcpy(scan->steps + scan->steps_len, scan->list, scan->list_len * sizeof *scan->list);
        scan->steps_len += scan->list_len;
        return (uint16_t) scan->states_len;
}

static void states_begin(struct pattern_scan *scan)
{
        scan->states_len = scan->steps_len = 0;
        list_begin(scan);
        follow(scan, 0, true, false);
        (void) state_add(scan);
}

/* All are forgotten, and the list is the first of the new ones. */
static uint16_t states_renew(struct pattern_scan *scan)
{
        AUTO(mem_freep)
        uint16_t *kept = mem_alloc((scan->list_len + 1) * sizeof *kept);
        size_t len = scan->list_len;
        bool matched = scan->matched;

        memcpy(kept, scan->list, len * sizeof *kept);
        states_begin(scan);
        memcpy(scan->list, kept, len * sizeof *kept);
        scan->list_len = len;
        scan->matched = matched;
        return state_add(scan);
}

/* Where @byte leads from state @from; all numbers but the answer's are void if states were renewed.
 */
static uint16_t state_after(struct pattern_scan *scan, size_t from, unsigned char byte)
{
        const struct state *s = &scan->states[from];
        uint16_t to;

        list_begin(scan);
        for (size_t i = 0; i < s->len; i++)
                if (pattern_takes(&scan->p, &scan->p.steps[s->steps[i]], byte))
                        follow(scan, s->steps[i] + 1u, false, false);
        follow(scan, 0, false, false); /* it may also begin here */
        to = state_find(scan);
        if (to == UNKNOWN && scan->states_len < STATES_MAX &&
                scan->steps_len + scan->list_len <= STEPS_MAX)
                to = state_add(scan);
        if (to == UNKNOWN)
                return states_renew(scan);
        scan->states[from].next[byte] = to;
        return to;
}

static bool state_end(struct pattern_scan *scan, size_t number)
{
        struct state *s = &scan->states[number];

        if (s->matched || s->end_known)
                return s->matched || s->end;
        list_begin(scan);
        for (size_t i = 0; i < s->len; i++)
                if (scan->p.steps[s->steps[i]].op == OP_END)
                        follow(scan, s->steps[i], number == 0, true);
        s->end = scan->matched;
        s->end_known = true;
        return s->end;
}

/* ---- Lines */

static bool line_found(
        const char *bytes, size_t len, size_t line, size_t *ret_line, size_t *ret_len)
{
        const char *end = memchr(bytes + line, '\n', len - line);

        *ret_line = line;
        *ret_len = end == NULL ? len - line : (size_t) (end - bytes) + 1 - line;
        return true;
}

static bool next_by_states(
        struct pattern_scan *scan, const char *bytes, size_t len, size_t *ret_line, size_t *ret_len)
{
        size_t line = 0, state = 0;

        for (size_t i = 0; i < len; i++) {
                unsigned char c = (unsigned char) bytes[i];
                uint16_t to;

                if (scan->states[state].matched)
                        return line_found(bytes, len, line, ret_line, ret_len);
                if (c == '\n') {
                        if (state_end(scan, state))
                                return line_found(bytes, len, line, ret_line, ret_len);
                        line = i + 1;
                        state = 0;
                        continue;
                }
                to = scan->states[state].next[c];
                state = (to != UNKNOWN ? to : state_after(scan, state, c)) - 1u;
        }
        if (line < len && state_end(scan, state))
                return line_found(bytes, len, line, ret_line, ret_len);
        return false;
}

static bool next_by_literal(
        struct pattern_scan *scan, const char *bytes, size_t len, size_t *ret_line, size_t *ret_len)
{
        size_t at = 0;
        const char *hit;

        while ((hit = memmem(bytes + at, len - at, scan->literal, scan->literal_len)) != NULL) {
                size_t where = (size_t) (hit - bytes), ignored, line_len;
                const char *before = memrchr(bytes + at, '\n', where - at);
                size_t line = before == NULL ? at : (size_t) (before - bytes) + 1;

                line_found(bytes, len, line, ret_line, ret_len);
                line_len = *ret_len;
                if (scan->is_literal ||
                        next_by_states(scan, bytes + line, line_len, &ignored, &line_len))
                        return true;
                at = line + *ret_len;
        }
        return false;
}

bool pattern_scan_next(
        struct pattern_scan *scan, const char *bytes, size_t len, size_t *ret_line, size_t *ret_len)
{
        return (scan->literal_len > 0 ? next_by_literal : next_by_states)(
                scan, bytes, len, ret_line, ret_len);
}

const char *pattern_scan_literal(const struct pattern_scan *scan, size_t *ret_len)
{
        *ret_len = scan->literal_len;
        return scan->literal;
}

int pattern_scan_new(const char *text, struct pattern_scan **ret, struct error *err)
{
        struct pattern p = { 0 };
        struct pattern_scan *scan;

        if (strchr(text, '\n') != NULL)
                return error_set(err, ERR_INVALID,
                        "not a regular expression for lines: there is a line break in it");
        if (pattern_parse(text, &p, err) < 0)
                return -1;
        scan = mem_alloc(sizeof *scan);
        scan->p = p;
        scan->states = mem_alloc(STATES_MAX * sizeof *scan->states);
        scan->steps = mem_alloc((STEPS_MAX + 2 * PATTERN_SIZE_MAX) * sizeof *scan->steps);
        find_literal(scan);
        states_begin(scan);
        *ret = scan;
        return 0;
}

void pattern_scan_free(struct pattern_scan *scan)
{
        if (scan == NULL)
                return;
        pattern_done(&scan->p);
        free(scan->literal);
        free(scan->states);
        free(scan->steps);
        free(scan);
}
