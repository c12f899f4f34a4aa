/* SPDX-License-Identifier: BSD-3-Clause */
/* Tokens: made, looked up, used up, revoked.
 *
 * A token is 128 random bits behind a word that says what it is for. What is kept is the SHA-256 of
 * its whole text: who reads the store cannot use it, and since a token is found by its hash, how
 * long the search takes tells nothing about the text.
 *
 * What is in memory is what is durable, but for two things that must not wait: a token that is
 * being revoked is refused at once, and a use of a join token is taken from it at once, so that its
 * last one is not given twice. Should the store refuse, both are undone; neither has been seen by
 * then but as a refusal.
 *
 * A change is one batch of rows and belongs to the list of those that wait for the store. A token
 * whose time is over is refused from that moment, and the timer tells of it, so that what it has
 * opened ends. It stays known for a week, so that its holder reads "expired" and not "unknown";
 * then its row goes. */
#include "server/tokens.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

#define SECRET_BYTES 16
#define ID_BYTES     5
#define HASH_BYTES   32
#define HASH_LEN     ((size_t) 2 * HASH_BYTES)
#define EXPIRED_KEPT (7 * USEC_DAY)
#define TIMER_MAX    USEC_HOUR /* the wall clock can be set */

struct token {
        struct token_status status;
        char hash[2 * HASH_BYTES + 1];
        bool revoked; /* the store is about to forget it */
        bool ended;   /* its expiry was told */
        UT_hash_handle by_hash, by_id;
};

struct change {
        struct tokens *tokens;
        struct token *add; /* NULL: none; owned until it is durable */
        char *remove;      /* id, or NULL */
        char *used;        /* id of the join token that one use was taken from, or NULL */
        tokens_done_cb *done;
        void *data;
        struct change *next, *prev;
};

struct tokens {
        struct store *store;
        struct state *state;
        tokens_ended_cb *ended;
        void *data;
        struct token *by_hash, *by_id;
        struct change *changes;
        uv_timer_t timer; /* for the next expiry */
};

static const char *const prefixes[] = {
        [TOKEN_API] = "reeve-",
        [TOKEN_JOIN] = "reeve-join-",
        [TOKEN_NODE] = "reeve-node-",
};

/* ---- Text */

static void put_hex(char *out, const unsigned char *bytes, size_t len)
{
        for (size_t i = 0; i < len; i++)
                snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static int random_hex(char *out, size_t bytes, struct error *err)
{
        unsigned char random[SECRET_BYTES];

        if (RAND_bytes(random, (int) bytes) != 1)
                return error_set(err, ERR_SYSTEM, "no random numbers to be had");
        put_hex(out, random, bytes);
        return 0;
}

static void hash_text(const char *text, char ret[2 * HASH_BYTES + 1])
{
        unsigned char digest[EVP_MAX_MD_SIZE];
        unsigned int len = 0;

        EVP_Digest(text, strlen(text), digest, &len, EVP_sha256(), NULL);
        put_hex(ret, digest, HASH_BYTES);
}

static int make_text(
        enum token_kind kind, const char *fingerprint, char ret[TOKEN_TEXT_MAX], struct error *err)
{
        char secret[2 * SECRET_BYTES + 1];

        if (random_hex(secret, SECRET_BYTES, err) < 0)
                return -1;
        snprintf(ret, TOKEN_TEXT_MAX, "%s%s%s%s", prefixes[kind], secret,
                fingerprint != NULL ? "-" : "", fingerprint != NULL ? fingerprint : "");
        return 0;
}

/* ---- The set */

static struct token *find_id(const struct tokens *t, const char *id)
{
        struct token *k;

        HASH_FIND(by_id, t->by_id, id, strlen(id), k);
        return k;
}

static struct token *find_node(const struct tokens *t, const char *node)
{
        for (struct token *k = t->by_id; k != NULL; k = k->by_id.next)
                if (k->status.kind == TOKEN_NODE && strcmp(k->status.node, node) == 0)
                        return k;
        return NULL;
}

static void token_free(struct token *k)
{
        if (k == NULL)
                return;
        record_done(&token_table, &k->status);
        free(k);
}

static void token_freep(struct token **k)
{
        token_free(*k);
}

static void set_add(struct tokens *t, struct token *k)
{
        HASH_ADD_KEYPTR(by_hash, t->by_hash, k->hash, HASH_LEN, k);
        HASH_ADD_KEYPTR(by_id, t->by_id, k->status.id, strlen(k->status.id), k);
}

static void set_remove(struct tokens *t, struct token *k)
{
        HASH_DELETE(by_hash, t->by_hash, k);
        HASH_DELETE(by_id, t->by_id, k);
        token_free(k);
}

static bool is_over(const struct token *k, usec_t now_wall)
{
        return k->status.expires != 0 && k->status.expires <= now_wall;
}

/* ---- Rows */

static char *row_key(const char *id)
{
        return mem_printf("token/%s", id);
}

static char *row_value(const struct token *k)
{
        struct buffer text = { 0 };

        record_write(&token_table, &k->status, &text);
        text.len--; /* the closing brace */
        buffer_printf(&text, ",\"hash\":\"%s\"}", k->hash);
        return buffer_take(&text);
}

static bool is_whole(const struct token_status *s, const char *hash)
{
        return s->id != NULL && s->kind >= 0 && (s->kind != TOKEN_NODE || s->node != NULL) &&
               hash != NULL && strlen(hash) == HASH_LEN;
}

static int load_row(void *data, const char *key, const char *value, size_t len, struct error *err)
{
        AUTO(token_freep) struct token *k = mem_alloc(sizeof *k);
        json_t *json = json_loadb(value, len, JSON_REJECT_DUPLICATES, NULL);
        const char *hash = json_string_value(json_object_get(json, "hash"));
        int rc = record_read(&token_table, json, &k->status, err);

        if (rc == 0 && !is_whole(&k->status, hash))
                rc = error_set(err, ERR_INVALID, "it is not whole");
        if (rc == 0) {
                memcpy(k->hash, hash, HASH_LEN);
                set_add(data, take_ptr(k));
        }
        json_decref(json);
        return rc < 0 ? error_wrap(err, "row %s of the store", key) : 0;
}

/* ---- Changes */

static void arm(struct tokens *t);

static void change_free(struct change *c)
{
        DL_DELETE(c->tokens->changes, c);
        token_free(c->add);
        free(c->remove);
        free(c->used);
        free(c);
}

/* Those who have connections by it hear of it after the one who asked. */
static void end_removed(struct tokens *t, struct token *k)
{
        bool told = k->ended;

        HASH_DELETE(by_hash, t->by_hash, k);
        HASH_DELETE(by_id, t->by_id, k);
        if (!told)
                t->ended(t->data, &k->status);
        token_free(k);
}

static void change_carry_out(struct change *c)
{
        struct tokens *t = c->tokens;
        struct token *removed = c->remove == NULL ? NULL : find_id(t, c->remove);
        struct token *added = take_ptr(c->add);

        if (added != NULL) {
                set_add(t, added);
                if (added->status.expires != 0)
                        arm(t);
        }
        if (c->done != NULL)
                c->done(c->data,
                        added != NULL     ? &added->status
                        : removed != NULL ? &removed->status
                                          : NULL,
                        NULL);
        if (removed != NULL)
                end_removed(t, removed);
}

static void change_undo(struct change *c, const struct error *err)
{
        struct token *used = c->used == NULL ? NULL : find_id(c->tokens, c->used);
        struct token *kept = c->remove == NULL ? NULL : find_id(c->tokens, c->remove);

        if (used != NULL)
                used->status.uses++;
        if (kept != NULL)
                kept->revoked = false;
        if (c->done != NULL)
                c->done(c->data, NULL, err);
}

static void on_change_durable(void *data, const struct error *err)
{
        struct change *c = data;

        if (err == NULL)
                change_carry_out(c);
        else
                change_undo(c, err);
        change_free(c);
}

static struct change *change_new(struct tokens *t, tokens_done_cb *done, void *data)
{
        struct change *c = mem_alloc(sizeof *c);

        c->tokens = t;
        c->done = done;
        c->data = data;
        DL_APPEND(t->changes, c);
        return c;
}

/* Hands the change to the store. On failure it is gone and nothing was changed. */
static int change_begin(struct change *c, struct error *err)
{
        struct token *used = c->used == NULL ? NULL : find_id(c->tokens, c->used);
        AUTO(mem_freep) char *add_key = c->add == NULL ? NULL : row_key(c->add->status.id);
        AUTO(mem_freep) char *add_value = c->add == NULL ? NULL : row_value(c->add);
        AUTO(mem_freep) char *remove_key = c->remove == NULL ? NULL : row_key(c->remove);
        AUTO(mem_freep) char *used_key = used == NULL ? NULL : row_key(c->used);
        AUTO(mem_freep) char *used_value = used == NULL ? NULL : row_value(used);
        struct state_row rows[3];
        size_t n = 0;

        if (add_key != NULL)
                rows[n++] = (struct state_row){ add_key, add_value };
        if (remove_key != NULL)
                rows[n++] = (struct state_row){ remove_key, NULL };
        if (used_key != NULL)
                rows[n++] = (struct state_row){ used_key, used_value };
        if (state_write(c->tokens->state, rows, n, on_change_durable, c, err) == 0)
                return 0;
        c->done = NULL;
        change_undo(c, err);
        change_free(c);
        return -1;
}

/* ---- Making */

static struct token *token_new(const struct token_status *wish, const char *text, struct error *err)
{
        AUTO(token_freep) struct token *k = mem_alloc(sizeof *k);
        char id[2 * ID_BYTES + 1];

        if (random_hex(id, ID_BYTES, err) < 0)
                return NULL;
        k->status = (struct token_status){ .id = mem_strdup(id),
                .kind = wish->kind,
                .role = wish->kind == TOKEN_API ? wish->role : -1,
                .jobs = mem_strdup(wish->jobs),
                .node = mem_strdup(wish->node),
                .uses = wish->uses,
                .made = time_wall(),
                .expires = wish->expires,
                .note = mem_strdup(wish->note) };
        hash_text(text, k->hash);
        return take_ptr(k);
}

int tokens_make(struct tokens *t, const struct token_status *wish, const char *fingerprint,
        char ret_text[TOKEN_TEXT_MAX], tokens_done_cb *done, void *data, struct error *err)
{
        struct change *c;
        struct token *k;

        if (make_text((enum token_kind) wish->kind, fingerprint, ret_text, err) < 0)
                return -1;
        k = token_new(wish, ret_text, err);
        if (k == NULL)
                return -1;
        c = change_new(t, done, data);
        c->add = k;
        return change_begin(c, err);
}

int tokens_revoke(
        struct tokens *t, const char *id, tokens_done_cb *done, void *data, struct error *err)
{
        struct token *k = find_id(t, id);
        struct change *c;

        if (k == NULL || k->revoked)
                return error_set(err, ERR_NOT_FOUND, "no token \"%s\"", id);
        k->revoked = true;
        c = change_new(t, done, data);
        c->remove = mem_strdup(id);
        return change_begin(c, err);
}

/* ---- Joining */

static bool is_joining(const struct tokens *t, const char *node)
{
        const struct change *c;

        DL_FOREACH (t->changes, c)
                if (c->add != NULL && c->add->status.kind == TOKEN_NODE &&
                        strcmp(c->add->status.node, node) == 0)
                        return true;
        return false;
}

static struct token *find_join(
        const struct tokens *t, const char *text, const char **ret_reason, struct error *err)
{
        const struct token_status *s = tokens_find(t, text, TOKEN_JOIN, ret_reason, err);

        if (s == NULL)
                return NULL;
        if (s->uses == 0) {
                *ret_reason = "used-token";
                error_set(err, ERR_DENIED,
                        "the join token is used up: it was good for a certain "
                        "number of nodes, and they have joined");
                return NULL;
        }
        return find_id(t, s->id);
}

int tokens_join(struct tokens *t, const char *text, const char *node, char ret_text[TOKEN_TEXT_MAX],
        tokens_done_cb *done, void *data, const char **ret_reason, struct error *err)
{
        struct token *join = find_join(t, text, ret_reason, err), *old, *k;
        AUTO(mem_freep) char *name = mem_strdup(node);
        struct token_status wish = { .kind = TOKEN_NODE, .node = name, .uses = RECORD_NULL };
        struct change *c;

        if (join == NULL)
                return -1;
        if (is_joining(t, node)) {
                *ret_reason = "name-taken";
                return error_set(err, ERR_CONFLICT, "a node of the name %s is joining now", node);
        }
        if (make_text(TOKEN_NODE, NULL, ret_text, err) < 0 ||
                (k = token_new(&wish, ret_text, err)) == NULL)
                return -1;
        old = find_node(t, node);
        c = change_new(t, done, data);
        c->add = k;
        if (old != NULL) {
                old->revoked = true;
                c->remove = mem_strdup(old->status.id);
        }
        if (join->status.uses != RECORD_NULL) {
                join->status.uses--;
                c->used = mem_strdup(join->status.id);
        }
        return change_begin(c, err);
}

/* ---- Looking */

void tokens_each(const struct tokens *t, void (*each)(void *data, const struct token_status *token),
        void *data)
{
        for (const struct token *k = t->by_id; k != NULL; k = k->by_id.next)
                if (!k->revoked)
                        each(data, &k->status);
}

const struct token_status *tokens_get(const struct tokens *t, const char *id)
{
        const struct token *k = find_id(t, id);

        return k == NULL || k->revoked || is_over(k, time_wall()) ? NULL : &k->status;
}

const struct token_status *tokens_of_node(const struct tokens *t, const char *node)
{
        const struct token *k = find_node(t, node);

        return k == NULL || k->revoked ? NULL : &k->status;
}

static int wrong_token(enum token_kind kind, const char **ret_reason, struct error *err)
{
        static const struct {
                const char *reason, *sentence;
        } kinds[] = {
                [TOKEN_API] = { "wrong-token", "the token is not known here: it was revoked, or it "
                                               "is another server's" },
                [TOKEN_JOIN] = { "wrong-token",
                        "the join token is not known here: it was revoked, or it is another "
                        "server's; `reeve token create --join` makes one" },
                [TOKEN_NODE] = { "wrong-credential",
                        "the node's credential is not known here: the node was forgotten, or has "
                        "joined again elsewhere; a join token makes it a node anew" },
        };

        *ret_reason = kinds[kind].reason;
        return error_set(err, ERR_DENIED, "%s", kinds[kind].sentence);
}

const struct token_status *tokens_find(const struct tokens *t, const char *text,
        enum token_kind kind, const char **ret_reason, struct error *err)
{
        char hash[2 * HASH_BYTES + 1], expired[TIME_TEXT_MAX];
        struct token *k;

        hash_text(text, hash);
        HASH_FIND(by_hash, t->by_hash, hash, HASH_LEN, k);
        if (k == NULL || k->revoked || k->status.kind != (int) kind) {
                wrong_token(kind, ret_reason, err);
                return NULL;
        }
        if (is_over(k, time_wall())) {
                *ret_reason = "expired-token";
                error_set(err, ERR_DENIED, "the token's time was over at %s",
                        time_format_wall(expired, k->status.expires));
                return NULL;
        }
        return &k->status;
}

/* ---- Time */

static void forget(struct tokens *t, struct token *k)
{
        struct error err;

        if (tokens_revoke(t, k->status.id, NULL, NULL, &err) < 0)
                log_warning("forget token %s: %s", k->status.id, err.message);
}

static void look(struct tokens *t, struct token *k, usec_t now_wall)
{
        if (k->revoked || !is_over(k, now_wall))
                return;
        if (!k->ended)
                t->ended(t->data, &k->status);
        k->ended = true;
        if (now_wall - k->status.expires >= EXPIRED_KEPT)
                forget(t, k);
}

static void on_timer(uv_timer_t *timer)
{
        struct tokens *t = timer->data;
        usec_t now = time_wall();
        struct token *k, *next;

        HASH_ITER (by_id, t->by_id, k, next)
                look(t, k, now);
        arm(t);
}

/* For when the next token has something to be done. */
static void arm(struct tokens *t)
{
        usec_t now = time_wall(), next = USEC_NEVER;

        for (const struct token *k = t->by_id; k != NULL; k = k->by_id.next) {
                const struct token_status *s = &k->status;

                if (s->expires != 0) /* the store may refuse to forget one: a minute later again */
                        next = MIN(next, k->ended
                                                 ? MAX(s->expires + EXPIRED_KEPT, now + USEC_MINUTE)
                                                 : s->expires);
        }
        if (next == USEC_NEVER)
                return;
        next = next <= now ? 0 : MIN(next - now, TIMER_MAX);
        uv_timer_start(&t->timer, on_timer, next / USEC_MSEC + 1, 0);
}

/* ---- Life */

static int by_making(const struct token *a, const struct token *b)
{
        return a->status.made < b->status.made ? -1 : a->status.made > b->status.made;
}

int tokens_new(uv_loop_t *loop, struct store *store, struct state *state, tokens_ended_cb *ended,
        void *data, struct tokens **ret, struct error *err)
{
        struct tokens *t = mem_alloc(sizeof *t);

        t->store = store;
        t->state = state;
        t->ended = ended;
        t->data = data;
        t->timer.data = t;
        uv_timer_init(loop, &t->timer);
        uv_unref((uv_handle_t *) &t->timer);
        if (store_scan(store, "token/", load_row, t, err) < 0) {
                tokens_free(t);
                return error_wrap(err, "read the tokens");
        }
        HASH_SRT(by_id, t->by_id, by_making);
        arm(t);
        *ret = t;
        return 0;
}

static void on_closed(uv_handle_t *handle)
{
        free(handle->data);
}

void tokens_free(struct tokens *t)
{
        struct token *k, *next;

        if (t == NULL)
                return;
        while (t->changes != NULL)
                change_free(t->changes);
        HASH_ITER (by_id, t->by_id, k, next)
                set_remove(t, k);
        uv_close((uv_handle_t *) &t->timer, on_closed);
}
