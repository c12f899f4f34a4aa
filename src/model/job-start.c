/* SPDX-License-Identifier: BSD-3-Clause */
/* The fields of a job spec about how a run is begun: the section `daemon`, and what it, `pid_file`
 * and `env_files` say together with others. */
#include <string.h>

#include "base/mem.h"
#include "model/job-check.h"
#include "model/job-fields.h"
#include "model/variables.h"

#define AT(member) offsetof(struct job_spec, member)

const struct job_field job_daemon_fields[] = {
        { .name = "pid_file",
                .path = "daemon.pid_file",
                .type = FIELD_PATH,
                .needs_restart = true,
                .offset = AT(daemon.pid_file),
                .without = "the command is the task's process itself",
                .help = "The command forks itself away, ends with 0, and what it leaves behind has "
                        "written the number of its main process to this file: that process is the "
                        "task's from then on. Removed when it has ended.",
                .example = "/run/mailer.pid" },
        { .name = "timeout",
                .path = "daemon.timeout",
                .type = FIELD_SPAN,
                .offset = AT(daemon.timeout),
                .has_default = true,
                .initial = 30 * USEC_SEC,
                .min = 10 * USEC_MSEC,
                .max = USEC_DAY,
                .help = "The command must have ended and the file name a process of its within "
                        "this time, or the run has failed.",
                .example = "10s" },
        { .name = "adopt",
                .path = "daemon.adopt",
                .type = FIELD_BOOL,
                .offset = AT(daemon.adopt),
                .has_default = true,
                .help = "If the file names a living process when a run is to begin, that process, "
                        "whoever began it, is taken over instead of starting another. It stays in "
                        "its own control group: limits do not hold for it. With `user`, only a "
                        "process of that user is taken, unless root wrote the file.",
                .example = "true" },
        { 0 },
};

/* Tasks of one job that may be on one node must not have one file. */
static int check_file(const struct reader *r, const struct value *at, const struct job_spec *spec,
        const char *path)
{
        struct error why = ERROR_INIT;

        if (variables_check(path, spec->resources.ports, &why) < 0)
                return value_fail(r, at, "%s", why.message);
        if (spec->count > 1 && !variables_any(path))
                return value_fail(r, at,
                        "each of the %u tasks needs a file of its own: put \"${task.index}\" into "
                        "the name",
                        (unsigned) spec->count);
        return 0;
}

static int check_env_files(
        const struct reader *r, const struct value *job, const struct job_spec *spec)
{
        struct error why = ERROR_INIT;
        struct value at;

        if (spec->env_files == NULL || !value_find(r, job, "env_files", &at))
                return 0;
        for (char **file = spec->env_files; *file != NULL; file++) {
                if ((*file)[(*file)[0] == '-'] != '/')
                        return value_fail_expected(
                                r, &at, "absolute paths, perhaps with a \"-\" before them");
                if (variables_check(*file, spec->resources.ports, &why) < 0)
                        return value_fail(r, &at, "%s", why.message);
        }
        return 0;
}

int job_check_start(const struct reader *r, const struct value *job, const struct job_spec *spec)
{
        struct value section, at;

        if (check_env_files(r, job, spec) < 0)
                return -1;
        if (!value_find(r, job, "daemon", &section))
                section = *job;
        if (spec->daemon.pid_file != NULL &&
                check_file(r, value_find(r, &section, "pid_file", &at) ? &at : job, spec,
                        spec->daemon.pid_file) < 0)
                return -1;
        if (spec->daemon.pid_file == NULL && spec->daemon.adopt)
                return value_fail(r, value_find(r, &section, "adopt", &at) ? &at : job,
                        "needs \"daemon.pid_file\": which file names the process");
        if (!value_find(r, job, "pid_file", &at))
                at = *job;
        if (spec->pid_file == NULL)
                return 0;
        if (spec->daemon.pid_file != NULL)
                return value_fail(r, &at,
                        "not possible with \"daemon.pid_file\": the program writes its own");
        return check_file(r, &at, spec, spec->pid_file);
}
