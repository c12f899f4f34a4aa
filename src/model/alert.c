/* SPDX-License-Identifier: BSD-3-Clause */
/* Alerts: what is told of a failure, and to whom it can be told. Pure; the sending is in
 * server/alerts.c.
 *
 * What comes from tasks stands in bodies only, never in the head of a mail: its subject is made of
 * the characters that a subject may have, and an address has none that could begin another line or
 * an option. */
#include "model/alert.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "base/macros.h"
#include "base/text.h"
#include "model/probe.h"

static const char *const kinds[] = { "failed", "oom", "parked", "unhealthy", NULL };

#define SUBJECT_MAX 120
#define MAIL_MAX    254

bool alert_wants(char *const *on, const char *failure)
{
        static char failed[] = "failed", parked[] = "parked";
        static char *const usual[] = { failed, parked, NULL };

        for (on = on != NULL ? on : usual; *on != NULL; on++)
                if (strcmp(*on, failure) == 0 ||
                        (strcmp(*on, "failed") == 0 && strcmp(failure, "oom") == 0))
                        return true;
        return false;
}

int alert_check_kinds(char *const *on, struct error *err)
{
        for (; on != NULL && *on != NULL; on++) {
                const char *nearest = text_nearest(*on, kinds);
                size_t i = 0;

                while (kinds[i] != NULL && strcmp(kinds[i], *on) != 0)
                        i++;
                if (kinds[i] == NULL && nearest != NULL)
                        return error_set(err, ERR_INVALID,
                                "there is no failure \"%s\"; did you mean \"%s\"?", *on, nearest);
                if (kinds[i] == NULL)
                        return error_set(err, ERR_INVALID,
                                "expected failed, oom, parked or unhealthy, got \"%s\"", *on);
        }
        return 0;
}

int alert_check_url(const char *url, struct error *err)
{
        struct probe_target target;
        bool tls;

        return probe_parse_url(url, &tls, &target, err);
}

int alert_check_mail(const char *address, struct error *err)
{
        size_t len = strlen(address);

        for (size_t i = 0; i < len; i++)
                if (!isalnum((unsigned char) address[i]) && strchr("@._%+-=", address[i]) == NULL)
                        return error_set(err, ERR_INVALID,
                                "expected one address such as \"ops@example.org\"");
        if (len == 0 || len > MAIL_MAX || address[0] == '-' || address[0] == '@')
                return error_set(
                        err, ERR_INVALID, "expected one address such as \"ops@example.org\"");
        return 0;
}

/* ---- Texts */

static const char *or_none(const char *text)
{
        return text != NULL ? text : "-";
}

static void put_text(const struct event *event, const struct dossier *dossier, struct buffer *out)
{
        char time[TIME_TEXT_MAX];

        buffer_printf(out, "%s (%s): %s\n", or_none(event->task), or_none(event->failure),
                or_none(event->message));
        buffer_printf(out, "Node %s, %s, event %" PRId64 ".\n", or_none(event->node),
                time_format_wall(time, event->time), event->index);
        if (dossier == NULL)
                return;
        buffer_putc(out, '\n');
        dossier_tell(dossier, out);
}

void alert_write_json(const struct event *event, const struct dossier *dossier, struct buffer *out)
{
        AUTO(buffer_done) struct buffer text = { 0 };

        put_text(event, dossier, &text);
        buffer_puts(out, "{\"text\":");
        text_put_json_string(out, buffer_str(&text));
        buffer_puts(out, ",\"event\":");
        record_write(&event_table, event, out);
        buffer_puts(out, ",\"dossier\":");
        if (dossier != NULL)
                record_write(&dossier_table, dossier, out);
        else
                buffer_puts(out, "null");
        buffer_putc(out, '}');
}

static void put_subject(const struct event *event, struct buffer *out)
{
        AUTO(buffer_done) struct buffer text = { 0 };

        buffer_printf(&text, "[reeve] %s %s: %s", or_none(event->task), or_none(event->failure),
                or_none(event->message));
        for (size_t i = 0; i < MIN(text.len, (size_t) SUBJECT_MAX); i++)
                buffer_putc(out, text.data[i] >= ' ' && text.data[i] < 0x7f ? text.data[i] : '?');
}

void alert_write_mail(const struct event *event, const struct dossier *dossier, const char *to,
        struct buffer *out)
{
        buffer_printf(out, "To: %s\nSubject: ", to);
        put_subject(event, out);
        buffer_puts(out,
                "\nAuto-Submitted: auto-generated\nMIME-Version: 1.0\n"
                "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n");
        put_text(event, dossier, out);
}
