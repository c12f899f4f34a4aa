/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stddef.h>
#include <uv.h>

#include "model/token.h"
#include "server/state.h"

/* The tokens that the server has given out: in the store as rows token/ID, with the SHA-256 of the
 * text and never the text itself. Loop thread only. */
struct tokens;

/* Called when a token has ceased to be good: it was revoked, or its time is over. What it has
 * opened is to be ended. @token is borrowed for the call. */
typedef void tokens_ended_cb(void *data, const struct token_status *token);

/* Reads the rows. @store and @state must outlive it. */
int tokens_new(uv_loop_t *loop, struct store *store, struct state *state, tokens_ended_cb *ended,
        void *data, struct tokens **ret, struct error *err);
/* What waits for the store is not reported any more: after state_free(). NULL is ignored. */
void tokens_free(struct tokens *t);

/* For each token, in the order of their making. */
void tokens_each(const struct tokens *t, void (*each)(void *data, const struct token_status *token),
        void *data);
const struct token_status *tokens_get(const struct tokens *t, const char *id); /* or NULL */

/* The good token of this text and kind, or NULL with ERR_DENIED, a sentence and in @ret_reason the
 * word of docs/link.md for it. */
const struct token_status *tokens_find(const struct tokens *t, const char *text,
        enum token_kind kind, const char **ret_reason, struct error *err);

/* Called once what was asked for is durable, or did not happen. @token is borrowed for the call. */
typedef void tokens_done_cb(void *data, const struct token_status *token, const struct error *err);

#define TOKEN_TEXT_MAX 128

/* Makes a token of what is set in @wish (not: id, made). @ret_text is the token; to a join token's
 * @fingerprint is appended, unless it is NULL. -1: it did not begin, @done is not called. */
int tokens_make(struct tokens *t, const struct token_status *wish, const char *fingerprint,
        char ret_text[TOKEN_TEXT_MAX], tokens_done_cb *done, void *data, struct error *err);

/* ERR_NOT_FOUND if there is none. It ceases to be good at once. */
int tokens_revoke(
        struct tokens *t, const char *id, tokens_done_cb *done, void *data, struct error *err);

/* Uses the join token @text once and makes a credential for @node in @ret_text, the node's only
 * one from then on. */
int tokens_join(struct tokens *t, const char *text, const char *node, char ret_text[TOKEN_TEXT_MAX],
        tokens_done_cb *done, void *data, const char **ret_reason, struct error *err);

/* The credential of a node, or NULL. */
const struct token_status *tokens_of_node(const struct tokens *t, const char *node);
