/* SPDX-License-Identifier: BSD-3-Clause */
/* Dossiers: their fields, what exit statuses mean by convention, and the sentences that people
 * read.
 *
 * A dossier is made on the node at the end of a run (node/task-dossier.c), where all that it tells
 * is at hand for the last time; what has changed in the job's spec since the last good run is added
 * by the server, which keeps the versions. Nothing is looked up here. */
#include "model/dossier.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "base/macros.h"
#include "base/text.h"

#define FIELD(member, type, help)                                                                  \
        {                                                                                          \
#member, type, offsetof(struct dossier, member), NULL, help                        \
        }
#define NAMED(name, member, type, help)                                                            \
        {                                                                                          \
                name, type, offsetof(struct dossier, member), NULL, help                           \
        }

static const struct record_field fields[] = {
        FIELD(task, RECORD_STRING, "id of the task"),
        FIELD(job, RECORD_STRING, "its job"),
        FIELD(node, RECORD_STRING, "where it ran"),
        FIELD(run, RECORD_INT, "number of the run"),
        FIELD(version, RECORD_INT, "version of the job that it was begun with"),
        FIELD(started, RECORD_TIME, "when it began"),
        FIELD(ended, RECORD_TIME, "when it ended"),
        FIELD(lasted, RECORD_INT, "microseconds; null if it could not begin"),
        FIELD(how, RECORD_STRING, "how it ended: `exit code 127`, `signal SEGV`"),
        FIELD(exit_code, RECORD_INT, "null if it did not end by itself"),
        FIELD(signal, RECORD_SIGNAL, "by which it ended, if so"),
        FIELD(meaning, RECORD_STRING, "what that means by convention, if there is one"),
        FIELD(detail, RECORD_STRING, "more of why, such as who was killed for lack of memory"),
        FIELD(next, RECORD_STRING, "what was decided then"),
        FIELD(memory_peak, RECORD_INT, "bytes that it had at most; null if not known"),
        FIELD(cpu, RECORD_INT, "microseconds of CPU that it used; null if not known"),
        FIELD(core_dumped, RECORD_BOOL, "the kernel says that it has dumped core"),
        FIELD(core, RECORD_STRING, "the core file, if one was found"),
        FIELD(core_handler, RECORD_STRING,
                "where the core went instead: the program that the kernel gave it to, or where "
                "there is no such file"),
        FIELD(good_run, RECORD_INT, "the last good run before, if there was one"),
        FIELD(good_version, RECORD_INT, "with which version of the job it was begun"),
        FIELD(good_ended, RECORD_TIME, "when it ended"),
        FIELD(changed, RECORD_STRING,
                "the fields of the job that have changed since that version, with commas between "
                "them; null if none have or that version is not kept any more"),
        FIELD(booted, RECORD_TIME, "when the machine was started"),
        NAMED("stdout", out, RECORD_STRING, "its last lines, at most 20 and 4 KiB; null if none"),
        NAMED("stdout_from", out_from, RECORD_INT, "number of their first byte in the stream"),
        NAMED("stderr", errors, RECORD_STRING, "the same of stderr"),
        NAMED("stderr_from", errors_from, RECORD_INT, "number of their first byte in the stream"),
};

const struct record_table dossier_table = { "dossier", fields, ARRAY_SIZE(fields) };

/* ---- What a status means */

static const struct {
        int code;
        const char *meaning;
} exit_codes[] = {
        { EX_USAGE, "sysexits.h: it was called in a wrong way (EX_USAGE)" },
        { EX_DATAERR, "sysexits.h: its input was wrong (EX_DATAERR)" },
        { EX_NOINPUT, "sysexits.h: an input file could not be read (EX_NOINPUT)" },
        { EX_NOUSER, "sysexits.h: there is no such user (EX_NOUSER)" },
        { EX_NOHOST, "sysexits.h: there is no such host (EX_NOHOST)" },
        { EX_UNAVAILABLE, "sysexits.h: something that it needs is not there (EX_UNAVAILABLE)" },
        { EX_SOFTWARE, "sysexits.h: it found a mistake in itself (EX_SOFTWARE)" },
        { EX_OSERR, "sysexits.h: the system refused something (EX_OSERR)" },
        { EX_OSFILE, "sysexits.h: a file of the system is missing or wrong (EX_OSFILE)" },
        { EX_CANTCREAT, "sysexits.h: an output file could not be made (EX_CANTCREAT)" },
        { EX_IOERR, "sysexits.h: reading or writing failed (EX_IOERR)" },
        { EX_TEMPFAIL, "sysexits.h: it may work later (EX_TEMPFAIL)" },
        { EX_PROTOCOL, "sysexits.h: another program answered something wrong (EX_PROTOCOL)" },
        { EX_NOPERM, "sysexits.h: it may not do what it has to (EX_NOPERM)" },
        { EX_CONFIG, "sysexits.h: its configuration is wrong (EX_CONFIG)" },
        { 126, "a shell says so of a program that it may not or cannot execute" },
        { 127, "a shell says so of a command that it does not find" },
}, signals[] = {
        { SIGSEGV, "it used memory that it does not have" },
        { SIGBUS, "it used memory that has nothing behind it, such as a file that was cut" },
        { SIGABRT, "it ended itself, as after a failed assertion" },
        { SIGILL, "it came to an instruction that this machine does not know" },
        { SIGFPE, "it divided by zero or the like" },
        { SIGTRAP, "it came to a breakpoint, or its runtime gave up" },
        { SIGSYS, "it made a system call that it may not make" },
        { SIGKILL, "somebody killed it: a person, the kernel for lack of memory, or Reeve" },
        { SIGXCPU, "it used more CPU than it may" },
        { SIGXFSZ, "it wrote a file that is larger than it may be (limits.file_size)" },
        { SIGPIPE, "it wrote to a pipe or connection whose other end was closed" },
        { SIGALRM, "its own alarm went off" },
};

const char *dossier_meaning(char text[DOSSIER_MEANING_MAX], int exit_code, int signal)
{
        for (size_t i = 0; exit_code >= 0 && i < ARRAY_SIZE(exit_codes); i++)
                if (exit_codes[i].code == exit_code)
                        return exit_codes[i].meaning;
        for (size_t i = 0; exit_code < 0 && i < ARRAY_SIZE(signals); i++)
                if (signals[i].code == signal)
                        return signals[i].meaning;
        if (exit_code <= 128 || exit_code > 128 + SIGRTMAX)
                return NULL;
        snprintf(text, DOSSIER_MEANING_MAX,
                "a shell says so of a program that was ended by signal %s",
                text_signal_name(exit_code - 128));
        return text;
}

/* ---- Sentences */

static const char *format_size(char text[TEXT_SIZE_MAX], int64_t bytes)
{
        snprintf(text, TEXT_SIZE_MAX, "%.1fMiB", (double) bytes / (1024 * 1024));
        return text;
}

static void tell_end(const struct dossier *d, struct buffer *out)
{
        char span[TIME_TEXT_MAX], time[TIME_TEXT_MAX];

        buffer_printf(out, "Run %" PRId64 " of %s (version %" PRId64 ") ", d->run,
                d->task != NULL ? d->task : "?", d->version);
        if (d->lasted == RECORD_NULL)
                buffer_puts(out, "could not begin");
        else
                buffer_printf(out, "failed after %s", time_format_span(span, (usec_t) d->lasted));
        buffer_printf(out, " on node %s at %s: %s.\n", d->node != NULL ? d->node : "?",
                time_format_wall(time, d->ended), d->how != NULL ? d->how : "nobody knows how");
        if (d->meaning != NULL)
                buffer_printf(out, "That means: %s.\n", d->meaning);
        if (d->detail != NULL)
                buffer_printf(out, "It ran %s.\n", d->detail);
}

static void tell_usage(const struct dossier *d, struct buffer *out)
{
        char size[TEXT_SIZE_MAX], span[TIME_TEXT_MAX];
        bool both = d->memory_peak != RECORD_NULL && d->cpu != RECORD_NULL;

        if (d->memory_peak == RECORD_NULL && d->cpu == RECORD_NULL)
                return;
        buffer_puts(out, "It had ");
        if (d->memory_peak != RECORD_NULL)
                buffer_printf(out, "at most %s of memory", format_size(size, d->memory_peak));
        if (d->cpu != RECORD_NULL)
                buffer_printf(out, "%s%s of CPU time", both ? " and " : "",
                        time_format_span(span, (usec_t) d->cpu));
        buffer_puts(out, ".\n");
}

static void tell_core(const struct dossier *d, struct buffer *out)
{
        if (!d->core_dumped)
                return;
        if (d->core != NULL)
                buffer_printf(out, "Its core is in %s.\n", d->core);
        else if (d->core_handler != NULL)
                buffer_printf(out, "It dumped core: %s.\n", d->core_handler);
        else
                buffer_puts(out, "It dumped core; where to is not known.\n");
}

static void tell_changes(const struct dossier *d, struct buffer *out)
{
        char span[TIME_TEXT_MAX];
        usec_t before = d->ended > d->good_ended ? d->ended - d->good_ended : 0;
        bool booted = d->booted > d->good_ended, told = false;

        if (d->good_run == RECORD_NULL) {
                buffer_puts(out, "No run of it was good before.\n");
                return;
        }
        buffer_printf(out, "The last good run was %" PRId64 ", which ended %s before.", d->good_run,
                time_format_span(span, before));
        buffer_puts(out, " Since then");
        if (d->good_version != d->version) {
                told = true;
                buffer_printf(out, " version %" PRId64 " of the job replaced version %" PRId64,
                        d->version, d->good_version);
                if (d->changed != NULL)
                        buffer_printf(out, " (changed: %s)", d->changed);
        }
        if (booted)
                buffer_printf(out, "%s the machine was started anew", told ? ", and" : "");
        buffer_puts(
                out, told || booted ? ".\n" : " neither the job nor the machine has changed.\n");
}

static void tell_lines(const char *stream, const char *text, struct buffer *out)
{
        if (text == NULL)
                return;
        buffer_printf(out, "Its last lines on %s:\n", stream);
        while (*text != '\0') {
                size_t len = strcspn(text, "\n");

                buffer_puts(out, "  ");
                buffer_put(out, text, len);
                buffer_putc(out, '\n');
                text += len + (text[len] == '\n');
        }
}

void dossier_tell(const struct dossier *d, struct buffer *out)
{
        tell_end(d, out);
        tell_usage(d, out);
        tell_core(d, out);
        tell_changes(d, out);
        if (d->next != NULL)
                buffer_printf(out, "What followed: %s.\n", d->next);
        tell_lines("stderr", d->errors, out);
        tell_lines("stdout", d->out, out);
        if (d->errors == NULL && d->out == NULL && d->lasted != RECORD_NULL)
                buffer_puts(out, "It wrote nothing.\n");
}

size_t dossier_cut(const char *text, size_t len, bool cut, unsigned lines)
{
        size_t from = len, first = 0;
        unsigned found = 0;

        if (cut) {
                const char *end = memchr(text, '\n', len);

                if (end != NULL && end + 1 < text + len)
                        first = (size_t) (end + 1 - text);
        }
        while (from > first) {
                if (text[from - 1] == '\n' && from != len && ++found == lines)
                        break;
                from--;
        }
        return from;
}

/* ---- Where a core is */

/* Behind the last slash. */
static const char *name_of(const char *program)
{
        const char *slash = program != NULL ? strrchr(program, '/') : NULL;

        return slash != NULL ? slash + 1 : program != NULL ? program : "*";
}

/* What glob(7) would not take as it stands. */
static void put_literal(struct buffer *out, const char *text, size_t len)
{
        for (size_t i = 0; i < len && text[i] != '\0'; i++) {
                if (strchr("*?[\\", text[i]) != NULL)
                        buffer_putc(out, '\\');
                buffer_putc(out, text[i]);
        }
}

#define COMM_MAX 15 /* of a process's name, without its NUL */

/* The kernel writes slashes as exclamation marks. */
static void put_path(struct buffer *out, const char *path)
{
        for (; path != NULL && *path != '\0'; path++)
                put_literal(out, *path == '/' ? "!" : path, 1);
}

static void put_specifier(struct buffer *out, char what, const struct dossier_core *core)
{
        switch (what) {
        case '%':
                buffer_putc(out, '%');
                break;
        case 'p':
        case 'P':
                buffer_printf(out, "%d", (int) core->pid);
                break;
        case 's':
                buffer_printf(out, "%d", core->signal);
                break;
        case 'u':
                buffer_printf(out, "%u", (unsigned) core->uid);
                break;
        case 'g':
                buffer_printf(out, "%u", (unsigned) core->gid);
                break;
        case 'h':
                if (core->hostname != NULL)
                        put_literal(out, core->hostname, strlen(core->hostname));
                else
                        buffer_putc(out, '*');
                break;
        case 'e': /* it may have given itself another */
        case 'f':
                if (core->program != NULL)
                        put_literal(out, name_of(core->program), what == 'e' ? COMM_MAX : SIZE_MAX);
                else
                        buffer_putc(out, '*');
                break;
        case 'E':
                put_path(out, core->program);
                break;
        default:
                buffer_putc(out, '*');
        }
}

bool dossier_core_pattern(const char *pattern, const struct dossier_core *core, struct buffer *ret)
{
        size_t len = strcspn(pattern, "\n");
        bool names_pid = false;

        if (pattern[0] == '|') {
                buffer_put(ret, pattern + 1, len - 1);
                return false;
        }
        if (pattern[0] != '/') {
                const char *directory = core->directory != NULL ? core->directory : "/";

                put_literal(ret, directory, SIZE_MAX);
                if (ret->len == 0 || ret->data[ret->len - 1] != '/')
                        buffer_putc(ret, '/');
        }
        for (size_t i = 0; i < len; i++) {
                if (pattern[i] != '%') {
                        put_literal(ret, pattern + i, 1);
                } else if (i + 1 < len) {
                        i++;
                        names_pid |= pattern[i] == 'p';
                        put_specifier(ret, pattern[i], core);
                }
        }
        if (core->uses_pid && !names_pid)
                buffer_printf(ret, ".%d", (int) core->pid);
        return true;
}
