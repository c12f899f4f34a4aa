/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/error.h"
#include "base/time.h"

/* The program `reeve server`: accepts jobs, decides which task runs where, answers the API. Started
 * by the keeper in `reeve up`.
 *
 * Flags: --data DIR --socket PATH [--listen ADDR:PORT] [--jobs PATH]... [--node NAME]
 * [--advertise HOST[:PORT]] [--tls-cert FILE --tls-key FILE] [--lost-after DURATION]
 * [--alert-webhook URL] [--alert-mail ADDRESS] [--alert-command PATH] [--alert-on KINDS]
 * [--alert-repeat DURATION] [--sendmail PATH]
 * [--keep-events N] [--keep-events-for DURATION] [--metrics-tasks N].
 * Returns the exit status: 0 after SIGTERM, 2 for a wrong flag, else that of the error. */
#define SERVER_LOST_AFTER        (2 * USEC_SEC)
#define SERVER_KEEP_EVENTS       100000
#define SERVER_KEEP_EVENTS_MAX   100000000
#define SERVER_KEEP_EVENTS_FOR   (30 * USEC_DAY)
#define SERVER_METRICS_TASKS     10000
#define SERVER_METRICS_TASKS_MAX 1000000

/* Who is told of the failures of all jobs (alerts.h); NULL: nobody. Strings are borrowed. */
struct server_alerts {
        const char *webhook, *mail, *command;
        const char *on;       /* "failed,parked"; NULL: these */
        usec_t repeat;        /* as of a job */
        const char *sendmail; /* the program for all mails */
};
int server_check_alerts(const struct server_alerts *alerts, struct error *err); /* ERR_INVALID */
#define SERVER_SENDMAIL "/usr/sbin/sendmail"

int server_main(int argc, char **argv);
