/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/time.h"
#include "model/alert.h"
#include "server/server.h"

/* Beginning Reeve on this machine, by becoming its keeper: what the commands share that do. */

struct begin {
        char *data;           /* state directory, absolute, there and writable */
        char *reeve, *keeper; /* programs */
        char **arguments;     /* of the keeper, ended by NULL */
        size_t arguments_len;
};

/* Checks what can be checked while a person looks. @data NULL: the default. */
int begin_init(struct begin *b, const char *data, struct error *err);
void begin_done(struct begin *b);

/* A program for the keeper to start ("server", "agent"), with --data. Its options follow by
 * begin_add(), which leaves out one whose value is NULL. */
void begin_add_program(struct begin *b, const char *name);
void begin_add(struct begin *b, const char *option, const char *value);

/* How many events the server keeps, and for how long; and how many tasks /metrics shows. */
struct begin_keep {
        int64_t events;
        usec_t events_for;
        int64_t metrics_tasks;
};
#define BEGIN_KEEP                                                                                 \
        {                                                                                          \
                SERVER_KEEP_EVENTS, SERVER_KEEP_EVENTS_FOR, SERVER_METRICS_TASKS                   \
        }
#define BEGIN_KEEP_ROWS(keep)                                                                      \
        { "keep-events", 0, OPTION_INT, &(keep).events, "N",                                       \
                "how many events are kept, the newest (100000): how far back --at reaches" },      \
                { "keep-events-for", 0, OPTION_SPAN, &(keep).events_for, "TIME",                   \
                        "how long events are kept (30d)" },                                        \
        {                                                                                          \
                "metrics-tasks", 0, OPTION_INT, &(keep).metrics_tasks, "N",                        \
                        "with more tasks than that, /metrics shows none by itself (10000)"         \
        }
int begin_check_keep(const struct begin_keep *keep, struct error *err);
void begin_add_keep(struct begin *b, const struct begin_keep *keep);

/* What is the agent's to understand, whoever begins it. */
struct begin_agent {
        const char *logs_max, *vitals_every, *syslog_socket, *journal_socket;
};
#define BEGIN_AGENT_ROWS(agent)                                                                    \
        {                                                                                          \
                "logs-max", 0, OPTION_TEXT, &(agent).logs_max, "SIZE",                             \
                "what all logs together may take; above, the oldest rotated files go (no limit)"   \
        },                                                                                         \
                { "vitals-every", 0, OPTION_TEXT, &(agent).vitals_every, "TIME",                   \
                        "how often CPU and memory of tasks and machine are sampled, for an hour "  \
                        "(10s); never" },                                                          \
                { "syslog-socket", 0, OPTION_TEXT, &(agent).syslog_socket, "PATH",                 \
                        "of the daemon for `logs.forward: syslog` (/dev/log)" },                   \
        {                                                                                          \
                "journal-socket", 0, OPTION_TEXT, &(agent).journal_socket, "PATH",                 \
                        "of the daemon for `logs.forward: journal` "                               \
                        "(/run/systemd/journal/socket)"                                            \
        }
int begin_check_agent(const struct begin_agent *agent, struct error *err);
void begin_add_agent(struct begin *b, const struct begin_agent *agent);

/* Who is told of failures, by the server. */
#define BEGIN_ALERTS                                                                               \
        {                                                                                          \
                .repeat = ALERT_REPEAT                                                             \
        }
#define BEGIN_ALERT_ROWS(alerts)                                                                   \
        { "alert-webhook", 0, OPTION_TEXT, &(alerts).webhook, "URL",                               \
                "tell of failures of any job by a POST to this URL" },                             \
                { "alert-mail", 0, OPTION_TEXT, &(alerts).mail, "ADDRESS",                         \
                        "tell of them by mail to this address" },                                  \
                { "alert-command", 0, OPTION_TEXT, &(alerts).command, "FILE",                      \
                        "tell of them by running this program, as the server's user" },            \
                { "alert-on", 0, OPTION_TEXT, &(alerts).on, "KINDS",                               \
                        "of which: failed, oom, parked, unhealthy (failed,parked)" },              \
                { "alert-repeat", 0, OPTION_SPAN, &(alerts).repeat, "TIME",                        \
                        "of one task and kind no sooner than this after the last time (1h)" },     \
        {                                                                                          \
                "sendmail", 0, OPTION_TEXT, &(alerts).sendmail, "FILE",                            \
                        "the program that sends all mails (" SERVER_SENDMAIL ")"                   \
        }
void begin_add_alerts(struct begin *b, const struct server_alerts *alerts);

/* The path of a UNIX socket, absolute, its directory made. @path NULL: the default. Heap string. */
int begin_socket(const char *path, char **ret, struct error *err);

char *begin_absolute(const char *path); /* heap string */

/* A name for this machine's node: the host's, as far as it can be one. Heap string. */
char *begin_default_node(void);

/* When it is up, and what a person is then told. */
struct begin_watch {
        bool (*is_up)(void *data);
        void (*tell)(void *data);
        void *data;
};

/* Becomes the keeper: returns only on failure; with @detach also when it is up. */
int begin_run(struct begin *b, bool detach, const struct begin_watch *watch, struct error *err);
