/* SPDX-License-Identifier: BSD-3-Clause */
/* Patterns: a regular expression as a short program of steps, run on all positions at once.
 *
 * The reader descends through the expression and appends steps. Jumps are relative, so a piece can
 * be moved or copied as it is: alternatives and `*` put a step in front of what is there, `{3}`
 * copies it. The program has at most PATTERN_SIZE_MAX steps, and the matcher keeps one mark per
 * step and byte of text, so there is nothing to be gained by an evil expression. (K. Thompson,
 * Regular Expression Search Algorithm, 1968.)
 *
 * A character of several bytes is several steps; `.` and `[^...]` take the bytes that continue one
 * along. */
#include "model/pattern.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"
#include "model/pattern-internal.h"

#define REPEAT_MAX 255
#define ENDLESS    -1

struct reader {
        const char *at;
        struct pattern p;
        struct error *err;
};

static int fail(struct reader *r, const char *why)
{
        return error_set(r->err, ERR_INVALID, "not a regular expression: %s", why);
}

/* Makes room for @count steps at @where. */
static int insert(struct reader *r, size_t where, size_t count)
{
        struct pattern *p = &r->p;

        if (p->len + count > PATTERN_SIZE_MAX)
                return error_set(r->err, ERR_INVALID,
                        "the regular expression is too large: its repetitions written out, it has "
                        "more than %d parts",
                        PATTERN_SIZE_MAX);
        p->steps = mem_resize(p->steps, p->len + count, sizeof p->steps[0]);
        memmove(&p->steps[where + count], &p->steps[where], (p->len - where) * sizeof p->steps[0]);
        p->len += count;
        return 0;
}

static int insert_step(struct reader *r, size_t where, enum op op, size_t arg, size_t to)
{
        if (insert(r, where, 1) < 0)
                return -1;
        r->p.steps[where] = (struct pattern_step){
                .op = (uint8_t) op, .arg = (uint8_t) arg, .to = (int16_t) ((int) to - (int) where)
        };
        return 0;
}

static int append(struct reader *r, enum op op, size_t arg, size_t to)
{
        return insert_step(r, r->p.len, op, arg, to);
}

/* ---- Sets */

static void set_add(struct pattern_set *set, unsigned char c)
{
        set->bits[c / 32] |= UINT32_C(1) << (c % 32);
}

static size_t add_set(struct reader *r, const struct pattern_set *set)
{
        struct pattern *p = &r->p;

        p->sets = mem_resize(p->sets, p->sets_len + 1, sizeof p->sets[0]);
        p->sets[p->sets_len] = *set;
        return p->sets_len++;
}

/* The rest of a character of which one byte was taken. */
static int append_continuation(struct reader *r)
{
        struct pattern_set set = { { 0, 0, 0, 0, UINT32_MAX, UINT32_MAX, 0, 0 } }; /* 0x80..0xbf */
        size_t start = r->p.len;

        if (append(r, OP_SPLIT, 0, start + 3) < 0 ||
                append(r, OP_SET, add_set(r, &set), start + 1) < 0)
                return -1;
        return append(r, OP_JUMP, 0, start);
}

static const struct {
        const char *name;
        int (*has)(int c);
} classes[] = {
        { "[:alnum:]", isalnum },
        { "[:alpha:]", isalpha },
        { "[:blank:]", isblank },
        { "[:digit:]", isdigit },
        { "[:lower:]", islower },
        { "[:punct:]", ispunct },
        { "[:space:]", isspace },
        { "[:upper:]", isupper },
        { "[:xdigit:]", isxdigit },
};

static int read_class(struct reader *r, struct pattern_set *set)
{
        for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
                size_t len = strlen(classes[i].name);

                if (strncmp(r->at, classes[i].name, len) != 0)
                        continue;
                for (unsigned char c = 1; c < 0x80; c++)
                        if (classes[i].has(c))
                                set_add(set, c);
                r->at += len;
                return 0;
        }
        return fail(r, "no class such as [:alpha:] or [:digit:] behind \"[\"");
}

static bool is_ascii(char c)
{
        return (unsigned char) c < 0x80;
}

/* One character of a set, or a range of them. */
static int read_range(struct reader *r, struct pattern_set *set)
{
        unsigned char from = (unsigned char) *r->at++, to = from;

        if (r->at[0] == '-' && r->at[1] != ']' && r->at[1] != '\0') {
                to = (unsigned char) r->at[1];
                r->at += 2;
        }
        if (!is_ascii((char) from) || !is_ascii((char) to))
                return fail(r, "only ASCII may stand between \"[\" and \"]\"");
        if (to < from)
                return fail(r, "a range between \"[\" and \"]\" ends before it begins");
        for (unsigned c = from; c <= to; c++)
                set_add(set, (unsigned char) c);
        return 0;
}

static int read_set(struct reader *r)
{
        struct pattern_set set = { 0 };
        bool negated = *r->at == '^', first = true;

        for (r->at += negated ? 1 : 0; *r->at != ']' || first; first = false) {
                bool is_class = r->at[0] == '[' && r->at[1] != '\0' && strchr(":.=", r->at[1]);

                if (*r->at == '\0')
                        return fail(r, "\"]\" is missing");
                if ((is_class ? read_class : read_range)(r, &set) < 0)
                        return -1;
        }
        r->at++;
        for (size_t i = 0; negated && i < ARRAY_SIZE(set.bits); i++)
                set.bits[i] =
                        i == 4 || i == 5 ? 0 : ~set.bits[i]; /* bytes that begin a character */
        if (append(r, OP_SET, add_set(r, &set), r->p.len) < 0)
                return -1;
        return negated ? append_continuation(r) : 0;
}

/* ---- The parts of an expression */

static int read_alternatives(struct reader *r);

static int read_group(struct reader *r)
{
        if (read_alternatives(r) < 0)
                return -1;
        if (*r->at != ')')
                return fail(r, "\")\" is missing");
        r->at++;
        return 0;
}

/* A character, all its bytes. */
static int read_character(struct reader *r)
{
        do {
                if (append(r, OP_BYTE, (unsigned char) *r->at++, r->p.len) < 0)
                        return -1;
        } while (((unsigned char) *r->at & 0xc0) == 0x80);
        return 0;
}

static int read_escaped(struct reader *r)
{
        if (*r->at == '\0')
                return fail(r, "nothing follows \"\\\"");
        if (isalnum((unsigned char) *r->at))
                return fail(r, "\"\\\" before a letter or digit has no meaning; a digit is [0-9]");
        return read_character(r);
}

static int read_atom(struct reader *r)
{
        switch (*r->at) {
        case '(':
                r->at++;
                return read_group(r);
        case '[':
                r->at++;
                return read_set(r);
        case '.':
                r->at++;
                return append(r, OP_ANY, 0, r->p.len) < 0 ? -1 : append_continuation(r);
        case '^':
                r->at++;
                return append(r, OP_BEGIN, 0, r->p.len);
        case '$':
                r->at++;
                return append(r, OP_END, 0, r->p.len);
        case '\\':
                r->at++;
                return read_escaped(r);
        case '*':
        case '+':
        case '?':
        case '{':
                return fail(r, "there is nothing that could be repeated");
        default:
                return read_character(r);
        }
}

/* Appends a copy of steps. */
static int append_copy(struct reader *r, const struct pattern_step *steps, size_t len)
{
        size_t at = r->p.len;

        if (len == 0)
                return 0;
        if (insert(r, at, len) < 0)
                return -1;
        memcpy(&r->p.steps[at], steps, len * sizeof steps[0]);
        return 0;
}

static int repeat_endless(struct reader *r, size_t start, bool once)
{
        if (once) /* "+" */
                return append(r, OP_SPLIT, 0, start);
        if (insert_step(r, start, OP_SPLIT, 0, r->p.len + 2) < 0)
                return -1;
        return append(r, OP_JUMP, 0, start);
}

/* Writes the steps from @start on out @min to @max times. */
static int repeat(struct reader *r, size_t start, int min, int max)
{
        size_t len = r->p.len - start, last = start;
        AUTO(mem_freep)
        struct pattern_step *piece = mem_alloc((len + 1) * sizeof *piece);

        if (len > 0)
                memcpy(piece, &r->p.steps[start], len * sizeof *piece);
        r->p.len = start;
        for (int i = 0; i < MAX(min, max == ENDLESS ? 1 : 0); i++) {
                last = r->p.len;
                if (append_copy(r, piece, len) < 0)
                        return -1;
        }
        if (max == ENDLESS)
                return repeat_endless(r, last, min > 0);
        /* whoever stops after one of these need not look at the rest */
        for (int left = max - min; left > 0; left--)
                if (append(r, OP_SPLIT, 0, r->p.len + (size_t) left * (len + 1)) < 0 ||
                        append_copy(r, piece, len) < 0)
                        return -1;
        return 0;
}

/* A number, or @otherwise if there is none. */
static int read_number(struct reader *r, int otherwise)
{
        int number = 0;

        if (!isdigit((unsigned char) *r->at))
                return otherwise;
        for (; isdigit((unsigned char) *r->at); r->at++)
                number = MIN(number * 10 + (*r->at - '0'), REPEAT_MAX + 1);
        return number;
}

/* Behind the "{". */
static int read_counts(struct reader *r, size_t start)
{
        int min = read_number(r, -1), max = min;

        if (*r->at == ',') {
                r->at++;
                max = read_number(r, ENDLESS);
        }
        if (min < 0 || *r->at != '}' || (max != ENDLESS && max < min))
                return fail(r, "expected {N}, {N,} or {N,M}; as a character it is written \\{");
        if (min > REPEAT_MAX || max > REPEAT_MAX)
                return fail(r, "a repetition of more than 255");
        r->at++;
        return repeat(r, start, min, max);
}

static int read_repeated(struct reader *r)
{
        size_t start = r->p.len;

        if (read_atom(r) < 0)
                return -1;
        for (;;) {
                int result;

                switch (*r->at++) {
                case '*':
                        result = repeat_endless(r, start, false);
                        break;
                case '+':
                        result = repeat_endless(r, start, true);
                        break;
                case '?':
                        result = repeat(r, start, 0, 1);
                        break;
                case '{':
                        result = read_counts(r, start);
                        break;
                default:
                        r->at--;
                        return 0;
                }
                if (result < 0)
                        return -1;
        }
}

static int read_alternatives(struct reader *r)
{
        size_t start = r->p.len, jump;

        while (*r->at != '\0' && *r->at != '|' && *r->at != ')')
                if (read_repeated(r) < 0)
                        return -1;
        if (*r->at != '|')
                return 0;
        r->at++;
        if (insert_step(r, start, OP_SPLIT, 0, r->p.len + 2) < 0)
                return -1;
        jump = r->p.len;
        if (append(r, OP_JUMP, 0, jump) < 0 || read_alternatives(r) < 0)
                return -1;
        r->p.steps[jump].to = (int16_t) (r->p.len - jump);
        return 0;
}

int pattern_parse(const char *text, struct pattern *ret, struct error *err)
{
        struct reader r = { .at = text, .err = err };
        int result;

        if (strlen(text) > REPEAT_MAX) /* bounds how deep groups are nested, and the sets */
                result = error_set(err, ERR_INVALID,
                        "the regular expression is longer than %d bytes", REPEAT_MAX);
        else
                result = read_alternatives(&r);
        if (result == 0 && *r.at != '\0')
                result = fail(&r, "\"(\" is missing");
        if (result == 0)
                result = append(&r, OP_MATCH, 0, r.p.len);
        if (result < 0)
                pattern_done(&r.p);
        else
                *ret = r.p;
        return result;
}

void pattern_done(struct pattern *p)
{
        free(p->steps);
        free(p->sets);
        *p = (struct pattern){ 0 };
}

/* ---- Matching */

/* The steps that wait for the next byte. */
struct threads {
        uint16_t steps[PATTERN_SIZE_MAX];
        size_t len;
};

struct match {
        const struct pattern *p;
        struct threads now, next;
        uint32_t seen[PATTERN_SIZE_MAX]; /* the round in which a step was reached; 0: none */
        uint16_t stack[PATTERN_SIZE_MAX];
        size_t stack_len;
        uint32_t round;
        bool begins, ends; /* the text, here */
        bool matched;
};

static void reach(struct match *m, size_t step)
{
        if (m->seen[step] == m->round)
                return;
        m->seen[step] = m->round;
        m->stack[m->stack_len++] = (uint16_t) step;
}

/* Follows what needs no byte from @step on. */
static void follow(struct match *m, struct threads *list, size_t step)
{
        reach(m, step);
        while (m->stack_len > 0) {
                size_t at = m->stack[--m->stack_len];
                const struct pattern_step *s = &m->p->steps[at];
                size_t to = (size_t) ((int) at + s->to);

                switch ((enum op) s->op) {
                case OP_SPLIT:
                        reach(m, to);
                        reach(m, at + 1);
                        break;
                case OP_JUMP:
                        reach(m, to);
                        break;
                case OP_BEGIN:
                case OP_END:
                        if (s->op == OP_BEGIN ? m->begins : m->ends)
                                reach(m, at + 1);
                        break;
                case OP_MATCH:
                        m->matched = true;
                        break;
                case OP_BYTE:
                case OP_ANY:
                case OP_SET:
                        list->steps[list->len++] = (uint16_t) at;
                        break;
                }
        }
}

bool pattern_matches(const struct pattern *p, const char *text)
{
        struct match m;

        m.p = p;
        m.stack_len = 0;
        m.now.len = 0;
        m.round = 1;
        m.begins = true;
        m.ends = *text == '\0';
        m.matched = false;
        memset(m.seen, 0, p->len * sizeof m.seen[0]);
        follow(&m, &m.now, 0);
        for (; *text != '\0' && !m.matched; text++) {
                m.next.len = 0;
                m.round++;
                m.begins = false;
                m.ends = text[1] == '\0';
                for (size_t i = 0; i < m.now.len; i++) {
                        size_t step = m.now.steps[i];

                        if (pattern_takes(p, &p->steps[step], (unsigned char) *text))
                                follow(&m, &m.next, step + 1);
                }
                follow(&m, &m.next, 0); /* it may also begin here */
                memcpy(m.now.steps, m.next.steps, m.next.len * sizeof m.next.steps[0]);
                m.now.len = m.next.len;
        }
        return m.matched;
}
