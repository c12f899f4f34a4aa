/* SPDX-License-Identifier: BSD-3-Clause */
/* The route that makes a job of a template. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/override.h"
#include "server/api.h"
#include "server/auth.h"

/* What is asked for; strings are borrowed from @object. */
struct wish {
        char *name;
        json_t *set;
};

static int read_wish(const json_t *object, struct wish *ret, struct error *err)
{
        static const char *const members[] = { "name", "set", NULL };
        const char *key;
        json_t *value;

        json_object_foreach ((json_t *) (uintptr_t) object, key, value) {
                const char *near = text_nearest(key, members);

                if (strcmp(key, members[0]) != 0 && strcmp(key, members[1]) != 0)
                        return error_set(err, ERR_INVALID, "%s: unknown; %s%s%s", key,
                                near != NULL ? "did you mean \"" : "there are name and set",
                                near != NULL ? near : "", near != NULL ? "\"?" : "");
        }
        ret->set = json_object_get(object, "set");
        if (ret->set != NULL && !json_is_object(ret->set) && !json_is_null(ret->set))
                return error_set(err, ERR_INVALID, "set: expected an object of fields and values");
        if (json_is_null(ret->set))
                ret->set = NULL;
        return api_body_text(object, "name", &ret->name, err);
}

struct dispatch {
        struct server *server;
        struct http_request *req;
        struct buffer body;
};

static void on_durable(void *data, const struct error *err)
{
        struct dispatch *d = data;

        if (err != NULL)
                api_reply_error(d->server, d->req, err);
        else
                api_reply_done(d->server, d->req, &d->body);
        buffer_done(&d->body);
        free(d);
}

static int submit(struct server *server, struct http_request *req,
        const struct cluster_event *event, struct error *err)
{
        struct dispatch *d = mem_alloc(sizeof *d);
        struct state_outcome outcome;

        d->server = server;
        d->req = req;
        if (state_submit(server->state, event, on_durable, d, &outcome, err) < 0) {
                free(d);
                return -1;
        }
        buffer_printf(&d->body, "{\"index\":%" PRIu64 ",\"job\":\"%s\"}", outcome.index,
                outcome.dispatched);
        return 0;
}

static int dispatch(struct server *server, struct http_request *req, const char *template,
        const struct wish *wish, struct error *err)
{
        const struct job_spec *of = cluster_get_spec(state_cluster(server->state), template, 0);
        const char *name = wish->name != NULL ? wish->name : template;
        AUTO(job_spec_unrefp) struct job_spec *spec = NULL;
        struct cluster_event event = {
                .type = CLUSTER_DISPATCH, .target = template, .name = wish->name
        };

        if (of == NULL)
                return api_no_job(server, req, template, err);
        if (!text_is_name(name))
                return error_set(err, ERR_INVALID,
                        "name: expected 1 to %d letters, digits, \"-\" and \"_\", a letter or "
                        "digit first, got \"%s\"",
                        TEXT_NAME_MAX, name);
        /* what is no template is refused by the cluster */
        if (of->template && job_override(of, name, wish->set, &spec, err) < 0)
                return -1;
        event.spec = spec;
        return submit(server, req, &event, err);
}

void api_job_dispatch(struct server *server, struct http_request *req, const char *name)
{
        struct error err;
        json_t *object = api_body_object(req, &err);
        struct wish wish = { 0 };
        int rc = object == NULL ? -1 : read_wish(object, &wish, &err);

        if (rc == 0 && wish.name != NULL && !auth_allows_job(server, req, wish.name)) {
                json_decref(object);
                return;
        }
        if (rc == 0)
                rc = dispatch(server, req, name, &wish, &err);
        if (rc < 0)
                api_reply_error(server, req, &err);
        json_decref(object);
}
