/* SPDX-License-Identifier: BSD-3-Clause */
/* Import-systemd: .service units, as systemd.service(5), systemd.exec(5), systemd.kill(5) and
 * systemd.resource-control(5) describe them.
 *
 * A command that names variables of its environment ("$PORT") is put before a shell; others are
 * lists, as systemd splits them. */
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/text.h"
#include "base/time.h"
#include "cli/import.h"

#define IMPORT_FILES_MAX 64

struct reader {
        struct import *im;
        const char *path;
        struct import_job *job;
        char *start; /* ExecStart; several of a oneshot are joined */
        char *type;
        char *pid_file;
        char *files[IMPORT_FILES_MAX + 1]; /* EnvironmentFile */
        size_t files_len;
        bool remains;   /* RemainAfterExit */
        bool unlimited; /* StartLimitIntervalSec is 0 */
};

/* ---- Values */

static const struct {
        const char *from, *to;
} specifiers[] = {
        { "%%", "%" },
        { "%n", "${job.name}" },
        { "%N", "${job.name}" },
        { "%p", "${job.name}" },
        { "%H", "${node.name}" },
        { "%l", "${node.name}" },
};

static char *expand(struct reader *r, const char *key, const char *value)
{
        AUTO(mem_freep) char *escaped = import_escape(value);
        AUTO(buffer_done) struct buffer b = { 0 };
        const char *at = escaped;

        while (*at != '\0') {
                size_t i = 0;

                while (i < ARRAY_SIZE(specifiers) &&
                        strncmp(at, specifiers[i].from, strlen(specifiers[i].from)) != 0)
                        i++;
                if (i < ARRAY_SIZE(specifiers)) {
                        buffer_puts(&b, specifiers[i].to);
                        at += 2;
                        continue;
                }
                if (*at == '%' && at[1] != '\0')
                        import_note(r->job, "%s: %.2s stays as it is: write its value", key, at);
                buffer_putc(&b, *at++);
        }
        return buffer_take(&b);
}

/* "1min 30s"; a bare number is seconds. */
static bool parse_span(const char *text, usec_t *ret)
{
        static const struct {
                const char *unit;
                usec_t usec;
        } units[] = { { "us", 1 }, { "ms", USEC_MSEC }, { "seconds", USEC_SEC },
                { "second", USEC_SEC }, { "sec", USEC_SEC }, { "s", USEC_SEC }, { "", USEC_SEC },
                { "minutes", USEC_MINUTE }, { "minute", USEC_MINUTE }, { "min", USEC_MINUTE },
                { "m", USEC_MINUTE }, { "hours", USEC_HOUR }, { "hour", USEC_HOUR },
                { "hr", USEC_HOUR }, { "h", USEC_HOUR }, { "days", USEC_DAY }, { "day", USEC_DAY },
                { "d", USEC_DAY } };
        usec_t sum = 0;

        if (*text == '\0')
                return false;
        while (*text != '\0') {
                char *end;
                double number = strtod(text, &end);
                size_t len, i = 0;

                if (end == text || !(number >= 0 && number < 1e9))
                        return false;
                end += strspn(end, " ");
                len = strspn(end, "abcdefghijklmnopqrstuvwxyz");
                while (i < ARRAY_SIZE(units) &&
                        (strlen(units[i].unit) != len || strncmp(end, units[i].unit, len) != 0))
                        i++;
                if (i == ARRAY_SIZE(units))
                        return false;
                sum += (usec_t) (number * (double) units[i].usec);
                text = end + len + strspn(end + len, " ");
        }
        *ret = sum;
        return true;
}

static void set_span(struct reader *r, const char *path, const char *key, const char *value)
{
        char text[TIME_TEXT_MAX];
        usec_t span;

        if (parse_span(value, &span))
                import_set(r->job, path, "%s", time_format_exact(text, span));
        else
                import_note(r->job, "%s=%s: no such duration here (%s)", key, value, path);
}

/* "512M", of 1,024. */
static void set_size(struct reader *r, const char *path, const char *key, const char *value)
{
        AUTO(buffer_done) struct buffer number = { 0 };
        char text[TEXT_SIZE_MAX];
        uint64_t bytes;

        if (strcmp(value, "infinity") == 0)
                return;
        buffer_puts(&number, value);
        buffer_puts(&number, value[strcspn(value, "KMGT")] != '\0' ? "iB" : "");
        if (text_parse_size(buffer_str(&number), &bytes))
                import_set(r->job, path, "%s", text_format_size(text, bytes));
        else
                import_note(r->job, "%s=%s: no such size here (%s)", key, value, path);
}

/* ---- Keys: with one field of the same meaning */

enum value_type { VALUE_TEXT, VALUE_SPAN, VALUE_SIZE, VALUE_NUMBER, VALUE_QUOTED, VALUE_WORDS };

static const struct {
        const char *key, *path;
        enum value_type type;
} plain_keys[] = {
        { "User", "user", VALUE_TEXT },
        { "Group", "group", VALUE_TEXT },
        { "SupplementaryGroups", "groups", VALUE_WORDS },
        { "UMask", "umask", VALUE_QUOTED },
        { "Nice", "nice", VALUE_NUMBER },
        { "OOMScoreAdjust", "oom_score", VALUE_NUMBER },
        { "RestartSec", "restart.delay", VALUE_SPAN },
        { "StartLimitBurst", "restart.burst", VALUE_NUMBER },
        { "TimeoutStopSec", "stop.grace", VALUE_SPAN },
        { "KillSignal", "stop.signal", VALUE_TEXT },
        { "MemoryMax", "limits.memory", VALUE_SIZE },
        { "MemoryLimit", "limits.memory", VALUE_SIZE },
        { "MemorySwapMax", "limits.swap", VALUE_SIZE },
        { "TasksMax", "limits.pids", VALUE_NUMBER },
        { "CPUWeight", "limits.cpu_weight", VALUE_NUMBER },
        { "IOWeight", "limits.io_weight", VALUE_NUMBER },
        { "LimitNOFILE", "limits.files", VALUE_NUMBER },
        { "LimitNPROC", "limits.processes", VALUE_NUMBER },
        { "LimitCORE", "limits.core", VALUE_SIZE },
        { "LimitSTACK", "limits.stack", VALUE_SIZE },
        { "LimitFSIZE", "limits.file_size", VALUE_SIZE },
        { "LimitMEMLOCK", "limits.locked_memory", VALUE_SIZE },
        { "LimitAS", "limits.address_space", VALUE_SIZE },
};

static bool is_number(const char *value)
{
        return value[*value == '-'] != '\0' &&
               value[(*value == '-') + strspn(value + (*value == '-'), "0123456789")] == '\0';
}

static void take_plain(struct reader *r, size_t i, const char *value)
{
        const char *key = plain_keys[i].key, *path = plain_keys[i].path;
        AUTO(import_words_freep) char **words = NULL;

        switch (plain_keys[i].type) {
        case VALUE_TEXT:
                import_set_text(r->job, path, value);
                break;
        case VALUE_QUOTED:
                import_set(r->job, path, "\"%s\"", value);
                break;
        case VALUE_SPAN:
                set_span(r, path, key, value);
                break;
        case VALUE_SIZE:
                set_size(r, path, key, value);
                break;
        case VALUE_NUMBER:
                if (is_number(value))
                        import_set(r->job, path, "%s", value);
                else if (strcmp(value, "infinity") != 0)
                        import_note(r->job, "%s=%s: no such number here (%s)", key, value, path);
                break;
        case VALUE_WORDS:
                words = import_split_words(value);
                if (words != NULL)
                        import_set_words(r->job, path, words);
                break;
        }
}

/* ---- Keys: the others */

static void take_description(struct reader *r, const char *key, const char *value)
{
        (void) key;
        import_note(r->job, "%s", value);
}

/* The prefixes @ - : + ! say how it is started; a failure that is ignored is none. */
static void take_start(struct reader *r, const char *key, const char *value)
{
        size_t prefixes = strspn(value, "@-:+!");
        char *joined;

        if (prefixes > 0)
                import_note(r->job, "%s: the prefix \"%.*s\" has no equivalent", key,
                        (int) prefixes, value);
        joined = r->start == NULL ? mem_strdup(value + prefixes)
                                  : mem_printf("%s && %s", r->start, value + prefixes);
        free(r->start);
        r->start = joined;
}

static void take_type(struct reader *r, const char *key, const char *value)
{
        (void) key;
        free(r->type);
        r->type = mem_strdup(value);
}

static void take_pid_file(struct reader *r, const char *key, const char *value)
{
        (void) key;
        free(r->pid_file);
        r->pid_file = mem_printf("%s%s", *value == '/' ? "" : "/run/", value);
}

static void forget_files(struct reader *r)
{
        while (r->files_len > 0) {
                r->files_len--;
                free(r->files[r->files_len]);
                r->files[r->files_len] = NULL;
        }
}

static void take_files(struct reader *r, const char *key, const char *value)
{
        if (*value == '\0')
                forget_files(r);
        else if (value[*value == '-'] != '/' || strpbrk(value, "*?[") != NULL ||
                 r->files_len == IMPORT_FILES_MAX)
                import_note(r->job, "%s=%s: name each file by its path (env_files)", key, value);
        else
                r->files[r->files_len++] = mem_strdup(value);
}

static void take_remains(struct reader *r, const char *key, const char *value)
{
        (void) key;
        r->remains = strcasecmp(value, "yes") == 0 || strcasecmp(value, "true") == 0;
}

static void take_restart(struct reader *r, const char *key, const char *value)
{
        static const struct {
                const char *value, *policy;
                bool exact;
        } policies[] = { { "no", "never", true }, { "always", "always", true },
                { "on-failure", "on-failure", true }, { "on-abnormal", "on-failure", false },
                { "on-abort", "on-failure", false }, { "on-watchdog", "on-failure", false },
                { "on-success", "always", false } };

        for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
                if (strcmp(policies[i].value, value) != 0)
                        continue;
                import_set(r->job, "restart.policy", "%s", policies[i].policy);
                if (!policies[i].exact)
                        import_note(r->job, "%s=%s: the nearest is %s; restart.rules can say more",
                                key, value, policies[i].policy);
                return;
        }
        import_note(r->job, "%s=%s: no equivalent", key, value);
}

static void take_interval(struct reader *r, const char *key, const char *value)
{
        usec_t span;

        r->unlimited = parse_span(value, &span) && span == 0;
        if (!r->unlimited)
                set_span(r, "restart.window", key, value);
}

static void take_directory(struct reader *r, const char *key, const char *value)
{
        const char *path = value + (*value == '-');

        if (*path == '/')
                import_set_text(r->job, "directory", path);
        else
                import_note(r->job, "%s=%s: the directory has to be an absolute path", key, value);
}

static void take_environment(struct reader *r, const char *key, const char *value)
{
        AUTO(import_words_freep) char **words = import_split_words(value);

        if (words != NULL)
                import_set_environment(r->job, key, words);
}

/* "0 1 SIGHUP": only numbers can be codes of success here. */
static void take_success(struct reader *r, const char *key, const char *value)
{
        AUTO(import_words_freep) char **words = import_split_words(value);
        AUTO(buffer_done) struct buffer b = { 0 };

        buffer_puts(&b, "[0");
        for (size_t i = 0; words != NULL && words[i] != NULL; i++)
                if (is_number(words[i]) && strcmp(words[i], "0") != 0)
                        buffer_printf(&b, ", %s", words[i]);
                else if (!is_number(words[i]))
                        import_note(r->job, "%s: %s is no exit code", key, words[i]);
        import_set(r->job, "success_codes", "%s]", buffer_str(&b));
}

static void take_prevent(struct reader *r, const char *key, const char *value)
{
        AUTO(import_words_freep) char **words = import_split_words(value);
        AUTO(buffer_done) struct buffer codes = { 0 };

        for (size_t i = 0; words != NULL && words[i] != NULL; i++)
                if (is_number(words[i]))
                        buffer_printf(&codes, "%s%s", codes.len == 0 ? "" : ", ", words[i]);
                else
                        import_note(r->job, "%s: %s is no exit code", key, words[i]);
        if (codes.len > 0)
                import_set(
                        r->job, "restart.rules", "[{exit: [%s], then: end}]", buffer_str(&codes));
}

/* "150%": of one core. */
static void take_quota(struct reader *r, const char *key, const char *value)
{
        char *end;
        double percent = strtod(value, &end);

        if (end != value && strcmp(end, "%") == 0 && percent > 0 && percent < 1e6)
                import_set(r->job, "limits.cpu", "%.3g", percent / 100);
        else
                import_note(r->job, "%s=%s: no such limit here (limits.cpu)", key, value);
}

static const struct {
        const char *key;
        void (*take)(struct reader *r, const char *key, const char *value);
} other_keys[] = {
        { "Description", take_description },
        { "ExecStart", take_start },
        { "Type", take_type },
        { "RemainAfterExit", take_remains },
        { "Restart", take_restart },
        { "StartLimitIntervalSec", take_interval },
        { "StartLimitInterval", take_interval },
        { "WorkingDirectory", take_directory },
        { "Environment", take_environment },
        { "EnvironmentFile", take_files },
        { "PIDFile", take_pid_file },
        { "SuccessExitStatus", take_success },
        { "RestartPreventExitStatus", take_prevent },
        { "CPUQuota", take_quota },
};

/* Of whom nothing is lost: Reeve always does so, or it is about systemd itself. */
static const char *const silent_keys[] = { "Documentation", "StandardOutput", "StandardError",
        "SyslogIdentifier", "KillMode", "SendSIGKILL", "WantedBy", "Alias", "DefaultDependencies",
        "TimeoutStartSec", "MemoryAccounting", "CPUAccounting", "TasksAccounting", "IOAccounting" };

static void take_key(struct reader *r, const char *key, const char *value)
{
        AUTO(mem_freep) char *expanded = expand(r, key, value);

        for (size_t i = 0; i < ARRAY_SIZE(plain_keys); i++)
                if (strcmp(plain_keys[i].key, key) == 0) {
                        take_plain(r, i, expanded);
                        return;
                }
        for (size_t i = 0; i < ARRAY_SIZE(other_keys); i++)
                if (strcmp(other_keys[i].key, key) == 0) {
                        other_keys[i].take(r, key, expanded);
                        return;
                }
        for (size_t i = 0; i < ARRAY_SIZE(silent_keys); i++)
                if (strcmp(silent_keys[i], key) == 0)
                        return;
        if (*value != '\0')
                import_note(r->job, "%s=%s: no equivalent", key, value);
}

/* ---- A unit */

static int on_line(void *data, const struct import_line *line, struct error *err)
{
        (void) err;
        if (line->key != NULL)
                take_key(data, line->key, line->value);
        return 0;
}

static void set_command(struct reader *r)
{
        AUTO(import_words_freep) char **words = NULL;
        bool shell = strchr(r->start, '$') != NULL || strstr(r->start, " && ") != NULL;

        if (!shell)
                words = import_split_words(r->start);
        if (words != NULL && words[0] != NULL)
                import_set_words(r->job, "command", words);
        else
                import_set_text(r->job, "command", r->start);
}

static void set_type(struct reader *r)
{
        const char *type = r->type == NULL ? "simple" : r->type;

        if (strcmp(type, "oneshot") == 0) {
                import_set(r->job, "kind", "batch");
                if (r->remains)
                        import_note(r->job,
                                "RemainAfterExit: a batch that has ended well stays as succeeded");
        } else if (strcmp(type, "notify") == 0) {
                import_set(r->job, "ready.notify", "true");
        } else if (strcmp(type, "forking") == 0 && r->pid_file != NULL) {
                import_set_text(r->job, "daemon.pid_file", r->pid_file);
        } else if (strcmp(type, "simple") != 0 && strcmp(type, "exec") != 0 &&
                   strcmp(type, "idle") != 0) {
                import_note(r->job,
                        "Type=%s: have the program stay in the foreground, as a child of Reeve",
                        type);
        }
}

static char *unit_name(const char *path)
{
        AUTO(mem_freep) char *copy = mem_strdup(path);
        char *name = basename(copy), *suffix = strstr(name, ".service");

        if (suffix != NULL)
                *suffix = '\0';
        return mem_strdup(name);
}

/* With the defaults of systemd. */
static struct import_job *begin_unit(struct import *im, const char *path)
{
        AUTO(mem_freep) char *name = unit_name(path);
        struct import_job *job = import_job(im, name);

        import_set(job, "command", "[]"); /* first of all */
        import_set(job, "restart.policy", "never");
        import_set(job, "restart.delay", "100ms");
        import_set(job, "restart.window", "10s");
        return job;
}

static void reader_done(struct reader *r)
{
        free(r->start);
        free(r->type);
        free(r->pid_file);
        forget_files(r);
}

int import_systemd(struct import *im, const char *path, char *text, struct error *err)
{
        AUTO(reader_done)
        struct reader r = { .im = im, .path = path, .job = begin_unit(im, path) };

        if (import_read_sections(path, text, IMPORT_SYSTEMD, on_line, &r, err) < 0)
                return -1;
        if (r.start == NULL)
                return error_set(
                        err, ERR_INVALID, "%s: no ExecStart: nothing that could be run", path);
        set_command(&r);
        set_type(&r);
        if (r.files_len > 0)
                import_set_words(r.job, "env_files", r.files);
        if (r.unlimited)
                import_set(r.job, "restart.burst", "0");
        return 0;
}
