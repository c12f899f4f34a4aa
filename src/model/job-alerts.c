/* SPDX-License-Identifier: BSD-3-Clause */
/* The fields of a job spec about who is told of failures: the section `alerts`.
 *
 * There is no command among them, although the server can run one (server/alerts.c): whoever may
 * apply jobs would run programs as the server's user, on the server. Which program that is only the
 * operator says, when the server is started. */
#include <string.h>

#include "base/text.h"
#include "model/alert.h"
#include "model/job-check.h"
#include "model/job-fields.h"

#define AT(member) offsetof(struct job_spec, member)

const struct job_field job_alerts_fields[] = {
        { .name = "on",
                .path = "alerts.on",
                .type = FIELD_NAMES,
                .offset = AT(alerts.on),
                .max = ALERT_KINDS,
                .without = "failed and parked",
                .help = "`failed`: a run has failed; `oom`: it was out of memory (which `failed` "
                        "includes); `parked`: it failed too often and does not run again; "
                        "`unhealthy`: a health check that only marks says so.",
                .example = "[parked, oom]" },
        { .name = "webhook",
                .path = "alerts.webhook",
                .type = FIELD_TEXT,
                .offset = AT(alerts.webhook),
                .without = "none",
                .help = "A URL to which the server posts what happened, as JSON (alerts.md). "
                        "Whoever may read the job can read it.",
                .example = "https://example.org/hooks/reeve" },
        { .name = "mail",
                .path = "alerts.mail",
                .type = FIELD_TEXT,
                .offset = AT(alerts.mail),
                .without = "none",
                .help = "An address to which the server writes, by the `sendmail` of its machine.",
                .example = "ops@example.org" },
        { .name = "repeat",
                .path = "alerts.repeat",
                .type = FIELD_SPAN,
                .offset = AT(alerts.repeat),
                .has_default = true,
                .initial = ALERT_REPEAT,
                .max = 30 * USEC_DAY,
                .help = "Of one task and one kind of failure, nothing is told sooner than this "
                        "after the last time.",
                .example = "10m" },
        { 0 },
};

int job_check_alerts(const struct reader *r, const struct value *job, const struct job_spec *spec)
{
        struct value section, at;
        struct error why = ERROR_INIT;
        const char *name = "on";
        int rc;

        rc = alert_check_kinds(spec->alerts.on, &why);
        if (rc == 0 && spec->alerts.webhook != NULL) {
                name = "webhook";
                rc = alert_check_url(spec->alerts.webhook, &why);
        }
        if (rc == 0 && spec->alerts.mail != NULL) {
                name = "mail";
                rc = alert_check_mail(spec->alerts.mail, &why);
        }
        if (rc == 0)
                return 0;
        if (!value_find(r, job, "alerts", &section))
                return value_fail(r, job, "%s", why.message);
        return value_fail(
                r, value_find(r, &section, name, &at) ? &at : &section, "%s", why.message);
}
