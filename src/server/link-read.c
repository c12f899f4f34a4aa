/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading the link: messages of agents into structs, without a tree.
 *
 * A run of a task costs the server a report and a note, and a million tasks that begin are a
 * million of each; this is where they are taken apart. Members that are not known are passed over,
 * as docs/link.md promises. A note that is JSON but no event is no reason to break the link: the
 * agent would send it again, for ever. */
#include "server/link-read.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/record-scan.h"

#define LINK_PROTOCOL_MIN 1
#define AMOUNT_MAX        ((int64_t) 1 << 53) /* many of them can be added up */

void link_reports_done(struct link_reports *r)
{
        for (size_t i = 0; i < r->len; i++) {
                record_done(&task_table, &r->reports[i].status);
                free(r->reports[i].holds.exclusive);
        }
        free(r->reports);
}

static struct cluster_report *reports_add(struct link_reports *r)
{
        if (r->len == r->allocated) {
                r->allocated = MAX((size_t) 4, r->allocated * 2);
                r->reports = mem_resize(r->reports, r->allocated, sizeof *r->reports);
        }
        r->reports[r->len] = (struct cluster_report){ 0 };
        return &r->reports[r->len++];
}

static void read_desire(struct scan *s, struct task_desire *ret)
{
        int64_t version = 0, restart_version = 0, generation = 0;
        struct scan_text key;

        scan_object(s);
        while (scan_member(s, &key)) {
                if (scan_text_is(&key, "run"))
                        scan_bool(s, &ret->run);
                else if (scan_text_is(&key, "version"))
                        scan_int(s, &version);
                else if (scan_text_is(&key, "restart_version"))
                        scan_int(s, &restart_version);
                else if (scan_text_is(&key, "generation"))
                        scan_int(s, &generation);
                else
                        scan_skip(s, NULL);
        }
        ret->version = (uint32_t) version;
        ret->restart_version = (uint32_t) restart_version;
        ret->generation = (uint64_t) generation;
}

static uint64_t read_amount(struct scan *s)
{
        int64_t amount = 0;

        scan_int(s, &amount);
        return (uint64_t) MIN(MAX(amount, 0), AMOUNT_MAX);
}

static void read_holds(struct scan *s, struct cluster_holds *ret)
{
        struct scan_text key;

        scan_object(s);
        while (scan_member(s, &key)) {
                if (scan_text_is(&key, "cpu"))
                        ret->cpu = read_amount(s);
                else if (scan_text_is(&key, "memory"))
                        ret->memory = read_amount(s);
                else if (scan_text_is(&key, "disk"))
                        ret->disk = read_amount(s);
                else if (scan_text_is(&key, "exclusive") && ret->exclusive == NULL)
                        scan_string(s, &ret->exclusive);
                else
                        scan_skip(s, NULL);
        }
}

static int read_report(struct scan *s, struct cluster_report *ret, struct error *err)
{
        struct record_scan record;
        struct scan_text key;

        record_scan_begin(&record, &task_table, &ret->status);
        ret->status.healthy = true; /* an older agent does not say */
        scan_object(s);
        while (scan_member(s, &key)) {
                if (scan_text_is(&key, "desire"))
                        read_desire(s, &ret->desire);
                else if (scan_text_is(&key, "parked"))
                        scan_bool(s, &ret->parked);
                else if (scan_text_is(&key, "holds"))
                        read_holds(s, &ret->holds);
                else
                        record_scan_member(&record, s, &key);
        }
        if (s->problem != NULL)
                return record_scan_fail(&record, s, err);
        if (ret->status.id == NULL)
                return error_set(err, ERR_INVALID, "id: missing");
        return 0;
}

static int read_reports(struct scan *s, struct link_reports *ret, struct error *err)
{
        if (!scan_array(s))
                return error_set(err, ERR_INVALID, "tasks: expected an array");
        while (scan_item(s))
                if (read_report(s, reports_add(ret), err) < 0)
                        return error_wrap(err, "tasks[%zu]", ret->len - 1);
        return 0;
}

/* The end of a message. What is wrong in its text otherwise is told here. */
static int read_end(struct scan *s, struct error *err)
{
        if (scan_end(s))
                return 0;
        return error_set(err, ERR_INVALID, "not a JSON object: expected %s at byte %zu", s->problem,
                scan_position(s));
}

int link_read_type(const char *bytes, size_t len, struct scan_text *ret, struct error *err)
{
        struct scan_text key;
        struct scan s;

        scan_init(&s, bytes, len);
        scan_object(&s);
        while (scan_member(&s, &key)) {
                if (!scan_text_is(&key, "type"))
                        scan_skip(&s, NULL);
                else if (scan_word(&s, ret))
                        return 0;
                else
                        return error_set(err, ERR_INVALID, "a message without type");
        }
        return read_end(&s, err) < 0 ? -1 : error_set(err, ERR_INVALID, "a message without type");
}

int link_check_protocol(
        int64_t min, int64_t max, const char *version, const char **ret_reason, struct error *err)
{
        if (max < LINK_PROTOCOL_MIN) {
                *ret_reason = "too-old";
                return error_set(err, ERR_CONFLICT,
                        "the agent (Reeve %s) speaks protocol %" PRId64 " of the link, this server "
                        "(Reeve " REEVE_VERSION ") %d to %d: upgrade the agent",
                        version == NULL ? "?" : version, max, LINK_PROTOCOL_MIN, LINK_PROTOCOL);
        }
        if (min > LINK_PROTOCOL) {
                *ret_reason = "too-new";
                return error_set(err, ERR_CONFLICT,
                        "the agent (Reeve %s) speaks protocol %" PRId64 " of the link, this server "
                        "(Reeve " REEVE_VERSION ") %d to %d: upgrade the server first",
                        version == NULL ? "?" : version, min, LINK_PROTOCOL_MIN, LINK_PROTOCOL);
        }
        return 0;
}

/* ---- Hello */

void link_hello_done(struct link_hello *h)
{
        record_done(&node_table, &h->node);
        link_reports_done(&h->reports);
}

static int read_node(struct scan *s, struct node_status *ret, struct error *err)
{
        struct record_scan record;
        struct scan_text key;

        record_done(&node_table, ret);
        record_scan_begin(&record, &node_table, ret);
        scan_object(s);
        while (scan_member(s, &key))
                record_scan_member(&record, s, &key);
        return s->problem == NULL ? 0 : record_scan_fail(&record, s, err);
}

int link_read_hello(struct scan *s, struct link_hello *ret, struct error *err)
{
        struct scan_text key;

        ret->protocol_min = ret->note_seq = -1;
        scan_object(s);
        while (scan_member(s, &key)) {
                int rc = 0;

                if (scan_text_is(&key, "protocol"))
                        scan_int(s, &ret->protocol);
                else if (scan_text_is(&key, "protocol_min"))
                        scan_int(s, &ret->protocol_min);
                else if (scan_text_is(&key, "note_seq"))
                        scan_int(s, &ret->note_seq);
                else if (scan_text_is(&key, "log_query"))
                        scan_bool(s, &ret->log_query);
                else if (scan_text_is(&key, "vitals"))
                        scan_bool(s, &ret->vitals);
                else if (scan_text_is(&key, "dossiers"))
                        scan_bool(s, &ret->dossiers);
                else if (scan_text_is(&key, "node"))
                        rc = read_node(s, &ret->node, err);
                else if (scan_text_is(&key, "tasks"))
                        rc = read_reports(s, &ret->reports, err);
                else
                        scan_skip(s, NULL);
                if (rc < 0)
                        return -1;
        }
        if (ret->protocol_min < 0)
                ret->protocol_min = ret->protocol;
        return read_end(s, err);
}

/* ---- Report */

int link_read_report(struct scan *s, struct link_reports *ret, struct error *err)
{
        struct scan_text key;

        scan_object(s);
        while (scan_member(s, &key)) {
                if (!scan_text_is(&key, "tasks"))
                        scan_skip(s, NULL);
                else if (read_reports(s, ret, err) < 0)
                        return -1;
        }
        return read_end(s, err);
}

/* ---- Notes */

void link_notes_done(struct link_notes *n)
{
        for (size_t i = 0; i < n->len; i++)
                record_done(&event_table, &n->notes[i].event);
        free(n->notes);
}

static struct link_note *notes_add(struct link_notes *n)
{
        if (n->len == n->allocated) {
                n->allocated = MAX((size_t) 4, n->allocated * 2);
                n->notes = mem_resize(n->notes, n->allocated, sizeof *n->notes);
        }
        n->notes[n->len] = (struct link_note){ .event.kind = -1 };
        return &n->notes[n->len++];
}

static void read_event(const struct scan_text *text, struct event *ret)
{
        struct record_scan record;
        struct scan_text key;
        struct scan s;

        scan_init(&s, text->at, text->len);
        record_scan_begin(&record, &event_table, ret);
        scan_object(&s);
        while (scan_member(&s, &key))
                record_scan_member(&record, &s, &key);
        if (scan_end(&s))
                return;
        record_done(&event_table, ret);
        ret->kind = -1;
}

/* [seq, event] */
static bool read_pair(struct scan *s, struct link_note *ret)
{
        struct scan_text text;

        if (!scan_array(s) || !scan_item(s) || !scan_int(s, &ret->seq) || ret->seq <= 0 ||
                !scan_item(s) || !scan_skip(s, &text))
                return false;
        read_event(&text, &ret->event);
        while (scan_item(s)) /* of a later version */
                scan_skip(s, NULL);
        return s->problem == NULL;
}

int link_read_notes(struct scan *s, struct link_notes *ret, struct error *err)
{
        struct scan_text key;

        scan_object(s);
        while (scan_member(s, &key)) {
                if (!scan_text_is(&key, "notes")) {
                        scan_skip(s, NULL);
                        continue;
                }
                scan_array(s);
                while (scan_item(s))
                        if (!read_pair(s, notes_add(ret)))
                                return error_set(err, ERR_INVALID,
                                        "notes[%zu]: expected [seq, event]", ret->len - 1);
        }
        return read_end(s, err);
}
