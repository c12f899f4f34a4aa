/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/client.h"
#include "cli/command.h"
#include "keeper/launch.h"
#include "net/http-client.h"

#define POLL_USEC 20000

static usec_t timeout = 120 * USEC_SEC;

static const struct option_row options[] = {
        { "timeout", 't', OPTION_SPAN, &timeout, "DURATION",
                "give up waiting after this long (2m)" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

static bool server_answers(const struct address *address)
{
        struct error gone = ERROR_INIT;
        int status;

        return http_fetch(address, "GET", "/v1/version", client_headers(), NULL, 0, USEC_SEC,
                       &status, NULL, &gone) == 0 ||
               gone.code == ERR_TIMEOUT;
}

/* The server ends before the keeper does. @data: the state directory, NULL if it is not known. Only
 * when nobody keeps it any more can the next `reeve up` begin. */
static int await_end(const char *data, struct error *err)
{
        usec_t deadline = timeout == USEC_NEVER ? USEC_NEVER : time_mono() + timeout;
        char span[TIME_TEXT_MAX];
        struct address address;

        if (client_address(&address, err) < 0)
                return -1;
        while (time_mono() < deadline) {
                if (!server_answers(&address) &&
                        (data == NULL || keeper_lock_owner(data, "keeper.lock") == 0))
                        return 0;
                usleep(POLL_USEC);
        }
        return error_set(err, ERR_TIMEOUT, "tasks are still being stopped after %s",
                time_format_span(span, timeout));
}

/* Who has logged in to a cluster elsewhere means this machine all the same. */
static int check_is_here(struct error *err)
{
        struct address address;
        char text[ADDRESS_TEXT_MAX];

        if (client_address(&address, err) < 0)
                return -1;
        if (address_is_loopback(&address))
                return 0;
        return error_set(err, ERR_INVALID,
                "%s is another machine, and this ends Reeve on the one where it is called; with "
                "REEVE_ADDR=unix:PATH it is found there",
                address_format(text, &address));
}

static int run(const char *const *operands, struct error *err)
{
        AUTO(client_json_decref) json_t *version = NULL;

        (void) operands;
        if (check_is_here(err) < 0)
                return -1;
        if (client_get("/v1/version", &version, err) < 0 ||
                client_request("POST", "/v1/down", NULL, "{}", 2, NULL, err) < 0)
                return -1;
        return await_end(json_string_value(json_object_get(version, "data")), err);
}

const struct command command_down = {
        .name = "down",
        .operands = "",
        .summary = "stop all tasks in order, then end Reeve on this machine",
        .details = "Jobs stay known: the next `reeve up` on the same state directory starts them "
                   "again.",
        .options = options,
        .run = run,
};
