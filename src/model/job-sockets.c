/* SPDX-License-Identifier: BSD-3-Clause */
/* The fields of a job spec about sockets that the node holds for it, and what they say together. */
#include <string.h>

#include "model/job-check.h"
#include "model/job-fields.h"
#include "model/listen.h"

#define SOCKET(member) offsetof(struct job_socket, member)

static const char *const socket_type_names[] = { "stream", "datagram", NULL };

const char *const job_start_names[] = { "now", "on-demand", NULL };

const struct job_field job_socket_fields[] = {
        { .name = "listen",
                .path = "sockets.listen",
                .type = FIELD_TEXT,
                .required = true,
                .offset = SOCKET(listen),
                .help = "The address and port, in numbers, or `unix:` and the path of a UNIX "
                        "socket.",
                .example = "\"127.0.0.1:8080\"" },
        { .name = "type",
                .path = "sockets.type",
                .type = FIELD_ENUM,
                .names = socket_type_names,
                .offset = SOCKET(type),
                .has_default = true,
                .initial = SOCKET_STREAM,
                .help = "`stream`: connections are accepted from it (TCP). `datagram`: packets "
                        "are read from it (UDP).",
                .example = "datagram" },
        { .name = "mode",
                .path = "sockets.mode",
                .type = FIELD_OCTAL,
                .offset = SOCKET(mode),
                .max = 0777,
                .without = "0666",
                .help = "The permissions of the file of a UNIX socket. It belongs to the task's "
                        "user.",
                .example = "\"0660\"" },
        { .name = "backlog",
                .path = "sockets.backlog",
                .type = FIELD_COUNT,
                .offset = SOCKET(backlog),
                .has_default = true,
                .initial = 4096,
                .min = 1,
                .max = 65535,
                .help = "How many connections may wait to be accepted (listen(2)). The kernel has "
                        "a limit of its own, `net.core.somaxconn`.",
                .example = "1024" },
        { 0 },
};

/* Where @name of the object @parent stands; @parent if it was not given. */
static const struct value *find(
        const struct reader *r, const struct value *parent, const char *name, struct value *ret)
{
        return value_find(r, parent, name, ret) ? ret : parent;
}

static int check_socket(const struct reader *r, const struct value *sockets,
        const struct job_spec *spec, const struct job_socket *s)
{
        struct listen_target target;
        struct error why = ERROR_INIT;
        struct value entry, at;

        if (!value_find(r, sockets, s->name, &entry))
                entry = *sockets;
        if (listen_parse(s->listen, &target, &why) < 0)
                return value_fail(r, find(r, &entry, "listen", &at), "%s", why.message);
        if (s->mode != JOB_UMASK_NONE && target.path == NULL)
                return value_fail(r, find(r, &entry, "mode", &at),
                        "only a UNIX socket has permissions, and %s is none", s->listen);
        for (const struct job_socket *other = spec->sockets; other < s; other++)
                if (strcmp(other->listen, s->listen) == 0 && other->type == s->type)
                        return value_fail(r, find(r, &entry, "listen", &at),
                                "\"%s\" listens there, too", other->name);
        return 0;
}

/* The program finds them from descriptor 3 on, and those that it stored behind them. */
static int check_ready_fd(
        const struct reader *r, const struct value *job, const struct job_spec *spec)
{
        size_t passed = spec->sockets_len + spec->fd_store;
        struct value ready, at;

        if (passed == 0 || spec->ready.fd == JOB_READY_FD_NONE || spec->ready.fd >= 3 + passed)
                return 0;
        if (!value_find(r, job, "ready", &ready))
                ready = *job;
        return value_fail(r, find(r, &ready, "fd", &at),
                "expected %zu or more: descriptors 3 to %zu are for sockets and fd_store",
                3 + passed, 2 + passed);
}

int job_check_sockets(const struct reader *r, const struct value *job, const struct job_spec *spec)
{
        struct value sockets, at;

        if (spec->sockets_len > 0 && !value_find(r, job, "sockets", &sockets))
                sockets = *job;
        for (size_t i = 0; i < spec->sockets_len; i++)
                if (check_socket(r, &sockets, spec, &spec->sockets[i]) < 0)
                        return -1;
        if (spec->start == JOB_START_ON_DEMAND && job_spec_is_batch(spec))
                return value_fail(r, find(r, job, "start", &at),
                        "\"on-demand\" is for what is kept up: \"service\" or \"system\"");
        if (spec->start == JOB_START_ON_DEMAND && spec->sockets_len == 0)
                return value_fail(r, find(r, job, "start", &at),
                        "\"on-demand\" needs \"sockets\": a connection to one of them is what it "
                        "waits for");
        return check_ready_fd(r, job, spec);
}
