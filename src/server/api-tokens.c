/* SPDX-License-Identifier: BSD-3-Clause */
/* The routes of tokens, and of machines that become nodes and cease to be.
 *
 * The text of a token is in the answer to who made it, and nowhere else: not in the store, not in
 * the log. POST /v1/join is the one request that needs no token of the API; what it needs is in its
 * body (docs/link.md, "Joining"). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "server/api.h"
#include "server/auth.h"
#include "server/link-read.h"
#include "server/links.h"
#include "server/tokens.h"

#define JOIN_TTL_DEFAULT USEC_HOUR
#define NOTE_MAX         200
#define SKEW_MAX         USEC_MINUTE

/* ---- Tokens */

static void list_token(void *data, const struct token_status *token)
{
        api_list_add(data, &token_table, token);
}

void api_tokens_list(struct server *server, struct http_request *req, const char *name)
{
        struct buffer body = { 0 };

        (void) name;
        tokens_each(server->tokens, list_token, &body);
        api_reply_list(server, req, &body);
}

static int read_kind(const json_t *object, struct token_status *wish, struct error *err)
{
        char *kind, *role;

        if (api_body_text(object, "kind", &kind, err) < 0 ||
                api_body_text(object, "role", &role, err) < 0)
                return -1;
        if (kind == NULL || strcmp(kind, "api") == 0)
                wish->kind = TOKEN_API;
        else if (strcmp(kind, "join") == 0)
                wish->kind = TOKEN_JOIN;
        else
                return error_set(err, ERR_INVALID, "kind: expected api or join, got \"%s\"", kind);
        wish->role = role == NULL ? ROLE_READ : role_parse(role);
        if (wish->role < 0)
                return error_set(err, ERR_INVALID,
                        "role: expected read, operate or admin, got \"%s\"", role);
        if (wish->kind == TOKEN_JOIN && role != NULL)
                return error_set(err, ERR_INVALID, "role: a join token has none");
        return 0;
}

static int read_expiry(const json_t *object, struct token_status *wish, struct error *err)
{
        usec_t ttl = wish->kind == TOKEN_JOIN ? JOIN_TTL_DEFAULT : USEC_NEVER;
        char *text;

        if (api_body_text(object, "ttl", &text, err) < 0)
                return -1;
        if (text != NULL && (!time_parse_span(text, &ttl) || ttl == 0))
                return error_set(
                        err, ERR_INVALID, "ttl: expected a duration such as 30d, got \"%s\"", text);
        wish->expires = ttl >= USEC_NEVER - time_wall() ? 0 : time_wall() + ttl;
        return 0;
}

/* Strings of @wish are borrowed from @object. */
static int read_wish(const json_t *object, struct token_status *wish, struct error *err)
{
        if (read_kind(object, wish, err) < 0 || read_expiry(object, wish, err) < 0 ||
                api_body_text(object, "jobs", &wish->jobs, err) < 0 ||
                api_body_text(object, "note", &wish->note, err) < 0 ||
                api_body_number(object, "uses", &wish->uses, err) < 0)
                return -1;
        if (wish->kind == TOKEN_JOIN && wish->jobs != NULL)
                return error_set(err, ERR_INVALID, "jobs: a join token is not limited to jobs");
        if (wish->kind == TOKEN_API && wish->uses != RECORD_NULL)
                return error_set(err, ERR_INVALID, "uses: only a join token is counted");
        if (wish->note != NULL && strlen(wish->note) > NOTE_MAX)
                return error_set(err, ERR_INVALID, "note: longer than %d bytes", NOTE_MAX);
        return wish->jobs == NULL ? 0 : token_jobs_check(wish->jobs, err);
}

struct making {
        struct server *server;
        struct http_request *req;
        char text[TOKEN_TEXT_MAX];
        char *warning; /* of a join */
        int protocol;
};

static struct making *making_new(struct server *server, struct http_request *req)
{
        struct making *m = mem_alloc(sizeof *m);

        m->server = server;
        m->req = req;
        return m;
}

static void making_free(struct making *m)
{
        free(m->warning);
        free(m);
}

/* Who did what with a token is remembered; the token's text is not. @message is taken over. */
static void note(struct making *m, char *node, char *message)
{
        struct event event = { .kind = EVENT_TOKEN,
                .node = node,
                .version = RECORD_NULL,
                .run = RECORD_NULL,
                .message = message };

        log_info("%s", message);
        api_note(m->server, &event);
        free(message);
}

static void note_made(struct making *m, const struct token_status *token)
{
        char who[API_WHO_MAX];
        bool is_api = token->kind == TOKEN_API;

        note(m, NULL,
                mem_printf("%s made the %s token %s%s%s%s%s", api_who(m->server, m->req, who),
                        token_kind_names[token->kind], token->id, is_api ? ", role " : "",
                        is_api ? role_names[token->role] : "",
                        token->jobs == NULL ? "" : ", for jobs ",
                        token->jobs == NULL ? "" : token->jobs));
}

static void note_revoked(struct making *m, const struct token_status *token)
{
        char who[API_WHO_MAX];

        note(m, token->node,
                mem_printf("%s revoked the %s %s", api_who(m->server, m->req, who),
                        token->kind == TOKEN_NODE ? "credential" : "token", token->id));
}

static void put_member(struct buffer *body, const char *name, const char *text)
{
        buffer_printf(body, "%c\"%s\":", body->len == 0 ? '{' : ',', name);
        if (text == NULL)
                buffer_puts(body, "null");
        else
                text_put_json_string(body, text);
}

static void on_made(void *data, const struct token_status *token, const struct error *err)
{
        struct making *m = data;
        struct buffer body = { 0 };

        if (err != NULL) {
                api_reply_error(m->server, m->req, err);
        } else {
                note_made(m, token);
                record_write(&token_table, token, &body);
                body.len--; /* the closing brace */
                put_member(&body, "token", m->text);
                buffer_putc(&body, '}');
                api_reply_done(m->server, m->req, &body);
        }
        making_free(m);
}

void api_token_make(struct server *server, struct http_request *req, const char *name)
{
        struct token_status wish = { .uses = RECORD_NULL };
        struct error err;
        json_t *object = api_body_object(req, &err);
        struct making *m = making_new(server, req);
        int rc = object == NULL ? -1 : read_wish(object, &wish, &err);

        (void) name;
        if (rc == 0)
                rc = tokens_make(server->tokens, &wish,
                        wish.kind == TOKEN_JOIN && *server->fingerprint != '\0'
                                ? server->fingerprint
                                : NULL,
                        m->text, on_made, m, &err);
        if (rc < 0) {
                making_free(m);
                api_reply_error(server, req, &err);
        }
        json_decref(object);
}

static void on_revoked(void *data, const struct token_status *token, const struct error *err)
{
        struct making *m = data;
        struct buffer body = { 0 };

        if (err != NULL) {
                api_reply_error(m->server, m->req, err);
        } else {
                note_revoked(m, token);
                buffer_puts(&body, "{}");
                api_reply_done(m->server, m->req, &body);
        }
        making_free(m);
}

static void revoke_token(struct server *server, struct http_request *req, const char *id)
{
        struct making *m = making_new(server, req);
        struct error err;

        if (tokens_revoke(server->tokens, id, on_revoked, m, &err) == 0)
                return;
        making_free(m);
        api_reply_error(server, req, &err);
}

void api_token_revoke(struct server *server, struct http_request *req, const char *name)
{
        revoke_token(server, req, name);
}

/* ---- Nodes */

static void reply_index(struct server *server, struct http_request *req)
{
        struct buffer body = { 0 };

        buffer_printf(
                &body, "{\"index\":%" PRIu64 "}", cluster_index(state_cluster(server->state)));
        api_reply_json(server, req, &body);
}

static void forget_node(struct server *server, struct http_request *req, const char *name)
{
        api_command(server, req, &(struct cluster_event){ .type = CLUSTER_FORGET, .target = name });
}

/* The credential is void; with its link ended the cluster can forget the node. */
static void on_node_revoked(void *data, const struct token_status *token, const struct error *err)
{
        struct making *m = data;
        struct node_status node;

        if (err != NULL) {
                api_reply_error(m->server, m->req, err);
        } else {
                note_revoked(m, token);
                links_revoke(m->server->links, token->id);
                /* one that has joined and never connected is not known there */
                if (cluster_get_node(state_cluster(m->server->state), token->node, &node))
                        forget_node(m->server, m->req, token->node);
                else
                        reply_index(m->server, m->req);
        }
        making_free(m);
}

void api_node_forget(struct server *server, struct http_request *req, const char *name)
{
        const struct token_status *credential = tokens_of_node(server->tokens, name);
        struct making *m;
        struct error err;

        if (credential == NULL && links_is_up(server->links, name)) {
                api_reply_problem(server, req, 409, error_code_name(ERR_CONFLICT),
                        "this node is the server's own machine, and is connected");
                return;
        }
        if (credential == NULL) { /* what is left of one whose credential is void already */
                forget_node(server, req, name);
                return;
        }
        m = making_new(server, req);
        if (tokens_revoke(server->tokens, credential->id, on_node_revoked, m, &err) == 0)
                return;
        making_free(m);
        api_reply_error(server, req, &err);
}

static void on_joined(void *data, const struct token_status *token, const struct error *err)
{
        struct making *m = data;
        struct buffer body = { 0 };

        if (err != NULL) {
                api_reply_error(m->server, m->req, err);
        } else {
                note(m, token->node,
                        mem_printf("node %s has joined, its credential is %s", token->node,
                                token->id));
                put_member(&body, "node", token->node);
                put_member(&body, "credential", m->text);
                put_member(&body, "ca", m->server->ca);
                put_member(&body, "server", REEVE_VERSION);
                buffer_printf(&body, ",\"protocol\":%d", m->protocol);
                put_member(&body, "warning", m->warning);
                buffer_putc(&body, '}');
                api_reply_done(m->server, m->req, &body);
        }
        making_free(m);
}

/* What a machine says of itself that wants to become a node. Borrowed from the request's object. */
struct joiner {
        char *token, *name, *version, *time;
        int64_t protocol, protocol_min;
};

static int read_joiner(const json_t *object, struct joiner *j, struct error *err)
{
        if (api_body_text(object, "token", &j->token, err) < 0 ||
                api_body_text(object, "name", &j->name, err) < 0 ||
                api_body_text(object, "version", &j->version, err) < 0 ||
                api_body_text(object, "time", &j->time, err) < 0 ||
                api_body_number(object, "protocol", &j->protocol, err) < 0)
                return -1;
        j->protocol_min = j->protocol;
        if (api_body_number(object, "protocol_min", &j->protocol_min, err) < 0)
                return -1;
        if (j->token == NULL || j->name == NULL)
                return error_set(
                        err, ERR_INVALID, "%s: missing", j->token == NULL ? "token" : "name");
        return 0;
}

/* Returns -1 with the word for what is wrong in @reason. */
static int check_joiner(
        struct server *server, const struct joiner *j, const char **reason, struct error *err)
{
        if (link_check_protocol(j->protocol_min, j->protocol, j->version, reason, err) < 0)
                return -1;
        if (!text_is_name(j->name)) {
                *reason = "name-invalid";
                return error_set(err, ERR_INVALID,
                        "\"%s\" is not a node's name: 1 to %d letters, digits, - and _, the first "
                        "of them a letter or digit",
                        j->name, TEXT_NAME_MAX);
        }
        if (links_is_up(server->links, j->name)) {
                *reason = "name-taken";
                return error_set(err, ERR_CONFLICT,
                        "a node of the name %s is connected: give this one another name, or end "
                        "the other",
                        j->name);
        }
        return 0;
}

/* A heap string, or NULL if there is nothing to warn of. */
static char *compare_clocks(const struct joiner *j)
{
        char span[TIME_TEXT_MAX];
        usec_t theirs, ours = time_wall();
        bool ahead;

        if (j->time == NULL || !time_parse_wall(j->time, &theirs))
                return NULL;
        ahead = theirs > ours;
        if ((ahead ? theirs - ours : ours - theirs) <= SKEW_MAX)
                return NULL;
        return mem_printf("the clock of node %s is %s %s the server's: certificates, schedules and "
                          "times in logs go by it; set it",
                j->name, time_format_span(span, ahead ? theirs - ours : ours - theirs),
                ahead ? "ahead of" : "behind");
}

static int begin_join(
        struct making *m, const struct joiner *j, const char **reason, struct error *err)
{
        if (check_joiner(m->server, j, reason, err) < 0)
                return -1;
        m->protocol = (int) MIN(j->protocol, LINK_PROTOCOL);
        m->warning = compare_clocks(j);
        if (m->warning != NULL)
                log_warning("%s", m->warning);
        return tokens_join(
                m->server->tokens, j->token, j->name, m->text, on_joined, m, reason, err);
}

void api_join(struct server *server, struct http_request *req, const char *name)
{
        struct joiner j = { .protocol = 1 };
        const char *reason = NULL;
        struct error err;
        json_t *object = api_body_object(req, &err);
        struct making *m = making_new(server, req);
        int rc = object == NULL ? -1 : read_joiner(object, &j, &err);

        (void) name;
        if (rc == 0)
                rc = begin_join(m, &j, &reason, &err);
        if (rc < 0) {
                making_free(m);
                if (reason != NULL)
                        log_info("node %s may not join: %s", j.name == NULL ? "?" : j.name,
                                err.message);
                api_reply_reason(server, req, error_code_http(err.code), error_code_name(err.code),
                        reason, err.message);
        }
        json_decref(object);
}
