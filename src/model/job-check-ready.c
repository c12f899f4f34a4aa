/* SPDX-License-Identifier: BSD-3-Clause */
/* What the fields about readiness, health and order say together.
 *
 * What a probe asks is read with stand-ins for its variables: a URL that can be none, whatever its
 * port will be, is refused here and not at the first run. The same text is read again on the node.
 */
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "model/job-check.h"
#include "model/job-fields.h"
#include "model/pattern.h"
#include "model/probe.h"
#include "model/variables.h"

/* What is asked, of `ready` or of one of `health`. */
struct asked {
        const char *http, *tcp;
        char *const *command;
};

/* Where @name of the object @parent stands; @parent if it was not given. */
static const struct value *find(
        const struct reader *r, const struct value *parent, const char *name, struct value *ret)
{
        return value_find(r, parent, name, ret) ? ret : parent;
}

bool job_after_is_name(const char *text)
{
        const char *dot = strrchr(text, '.');
        AUTO(mem_freep) char *job = mem_strndup(text, strcspn(text, "."));
        int64_t index;

        return text_is_name(job) &&
               (dot == NULL || (dot == text + strlen(job) &&
                                       text_parse_int(dot + 1, 0, JOB_COUNT_MAX, &index)));
}

/* With a number for every port, as a run has it. */
static char *expand(const char *text, const struct job_spec *spec)
{
        uint16_t ports[JOB_PORTS_MAX];

        for (int i = 0; i < JOB_PORTS_MAX; i++)
                ports[i] = 1;
        return variables_expand(text, &(struct variables){ .job = spec->name,
                                              .task = spec->name,
                                              .node = "node",
                                              .port_names = spec->resources.ports,
                                              .ports = ports });
}

static int check_target(const struct reader *r, const struct value *at, const struct job_spec *spec,
        const char *text, int (*parse)(const char *, struct probe_target *, struct error *))
{
        AUTO(mem_freep) char *expanded = NULL;
        struct error why = ERROR_INIT;
        struct probe_target target;

        if (variables_check(text, spec->resources.ports, &why) < 0)
                return value_fail(r, at, "%s", why.message);
        expanded = expand(text, spec);
        if (parse(expanded, &target, &why) < 0)
                return value_fail(r, at, "%s", why.message);
        return 0;
}

static int check_asked(const struct reader *r, const struct value *section,
        const struct job_spec *spec, const struct asked *asked)
{
        struct error why = ERROR_INIT;
        struct value at;

        if (asked->http != NULL && check_target(r, find(r, section, "http", &at), spec, asked->http,
                                           probe_parse_http) < 0)
                return -1;
        if (asked->tcp != NULL && check_target(r, find(r, section, "tcp", &at), spec, asked->tcp,
                                          probe_parse_tcp) < 0)
                return -1;
        for (char *const *text = asked->command; text != NULL && *text != NULL; text++)
                if (variables_check(*text, spec->resources.ports, &why) < 0)
                        return value_fail(r, find(r, section, "command", &at), "%s", why.message);
        return 0;
}

static int check_ready(const struct reader *r, const struct value *job, const struct job_spec *spec)
{
        const struct {
                const char *name;
                bool given;
        } ways[] = { { "notify", spec->ready.notify },
                { "fd", spec->ready.fd != JOB_READY_FD_NONE }, { "log", spec->ready.log != NULL },
                { "http", spec->ready.http != NULL }, { "tcp", spec->ready.tcp != NULL },
                { "command", spec->ready.command != NULL } };
        struct asked asked = { spec->ready.http, spec->ready.tcp, spec->ready.command };
        struct pattern pattern = { 0 };
        struct value section, at;
        const char *first = NULL;
        struct error why = ERROR_INIT;

        if (!value_find(r, job, "ready", &section))
                return 0;
        for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
                if (ways[i].given && first != NULL)
                        return value_fail(r, find(r, &section, ways[i].name, &at),
                                "\"%s\" is given, too: only one thing can say that it is ready",
                                first);
                if (ways[i].given)
                        first = ways[i].name;
        }
        if (first == NULL && spec->ready.deadline > 0)
                return value_fail(r, find(r, &section, "deadline", &at),
                        "without \"notify\", \"fd\", \"log\", \"http\", \"tcp\" or \"command\" it "
                        "is "
                        "ready once started");
        if (spec->ready.log != NULL && pattern_parse(spec->ready.log, &pattern, &why) < 0)
                return value_fail(r, find(r, &section, "log", &at), "%s", why.message);
        pattern_done(&pattern);
        return check_asked(r, &section, spec, &asked);
}

static int check_health(
        const struct reader *r, const struct value *job, const struct job_spec *spec)
{
        struct value_walk walk = { 0 };
        struct value list, item;

        if (!value_find(r, job, "health", &list))
                return 0;
        for (size_t i = 0; i < spec->health_len && value_next(r, &list, &walk, &item); i++) {
                const struct health_check *check = &spec->health[i];
                struct asked asked = { check->http, check->tcp, check->command };
                int given = (check->http != NULL) + (check->tcp != NULL) + (check->command != NULL);

                if (given != 1)
                        return value_fail(r, &item,
                                given == 0 ? "one of \"http\", \"tcp\" and \"command\" is missing"
                                           : "only one of \"http\", \"tcp\" and \"command\" can be "
                                             "asked by a check");
                if (check_asked(r, &item, spec, &asked) < 0)
                        return -1;
        }
        return 0;
}

static int check_after(const struct reader *r, const struct value *job, const struct job_spec *spec)
{
        size_t len = strlen(spec->name);
        struct value after, at;

        for (size_t i = 0; i < spec->after_len; i++) {
                const char *name = spec->after[i].name;

                if (strncmp(name, spec->name, len) != 0 || (name[len] != '\0' && name[len] != '.'))
                        continue;
                if (!value_find(r, job, "after", &after))
                        after = *job;
                return value_fail(r, find(r, &after, name, &at), "a job cannot wait for itself");
        }
        return 0;
}

int job_check_ready(const struct reader *r, const struct value *job, const struct job_spec *spec)
{
        struct value at;

        if (check_ready(r, job, spec) < 0 || check_health(r, job, spec) < 0 ||
                check_after(r, job, spec) < 0)
                return -1;
        if (spec->watchdog > 0 && spec->watchdog < USEC_MSEC)
                return value_fail_expected(
                        r, find(r, job, "watchdog", &at), "a duration of at least 1ms, or 0");
        return 0;
}
