/* SPDX-License-Identifier: BSD-3-Clause */
/* Tokens over a store that can be made to fail: what is good when, what is kept, what a failed
 * commit gives back; and which jobs a limited one covers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "server/test-loop.h"
#include "server/tokens.h"

struct fixture {
        uv_loop_t loop;
        struct store *store;
        struct state *state;
        struct tokens *tokens;
        unsigned ended;
        char last_ended[32];
};

struct answer {
        unsigned calls;
        enum error_code code;
        char id[32], text[TOKEN_TEXT_MAX];
};

static void on_assign(void *data, const struct cluster_assign *assign)
{
        (void) data;
        (void) assign;
}

static void on_event(void *data, const struct event *event)
{
        (void) data;
        (void) event;
}

static void on_nothing(void *data)
{
        (void) data;
}

static void on_ended(void *data, const struct token_status *token)
{
        struct fixture *f = data;

        f->ended++;
        snprintf(f->last_ended, sizeof f->last_ended, "%s", token->id);
}

static void open_tokens(struct fixture *f)
{
        struct error err;

        if (tokens_new(&f->loop, f->store, f->state, on_ended, f, &f->tokens, &err) < 0)
                fail_msg("%s", err.message);
}

static int set_up(void **state)
{
        struct fixture *f = mem_alloc(sizeof *f);
        const struct state_hooks hooks = { on_assign, on_event, on_nothing, on_nothing, on_nothing,
                on_nothing, f, 0 };
        struct error err;

        uv_loop_init(&f->loop);
        store_open_memory(&f->loop, &f->store);
        assert_int_equal(state_new(&f->loop, f->store, "memory", &hooks, &f->state, &err), 0);
        open_tokens(f);
        *state = f;
        return 0;
}

static int tear_down(void **state)
{
        struct fixture *f = *state;

        state_free(f->state);
        tokens_free(f->tokens);
        store_close(f->store, NULL, NULL);
        uv_run(&f->loop, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&f->loop), 0);
        free(f);
        return 0;
}

/* As after a restart of the server. */
static void reopen(struct fixture *f)
{
        RUN_UNTIL(f, state_is_idle(f->state));
        tokens_free(f->tokens);
        open_tokens(f);
}

static void on_done(void *data, const struct token_status *token, const struct error *err)
{
        struct answer *a = data;

        a->calls++;
        a->code = err == NULL ? ERR_NONE : err->code;
        if (token != NULL)
                snprintf(a->id, sizeof a->id, "%s", token->id);
}

static void make(struct fixture *f, const struct token_status *wish, struct answer *ret)
{
        struct error err;

        *ret = (struct answer){ 0 };
        assert_int_equal(tokens_make(f->tokens, wish, wish->kind == TOKEN_JOIN ? "0123abcd" : NULL,
                                 ret->text, on_done, ret, &err),
                0);
        RUN_UNTIL(f, ret->calls == 1);
        assert_int_equal(ret->code, ERR_NONE);
}

static const struct token_status api_wish = {
        .kind = TOKEN_API, .role = ROLE_OPERATE, .uses = RECORD_NULL
};

/* The reason why a token is not good, or "good". */
static const char *look(struct fixture *f, const char *text, enum token_kind kind)
{
        const char *reason;
        struct error err;

        if (tokens_find(f->tokens, text, kind, &reason, &err) != NULL)
                return "good";
        assert_int_equal(err.code, ERR_DENIED);
        return reason;
}

static void test_found_by_its_text(void **state)
{
        struct fixture *f = *state;
        char jobs[] = "web-,db";
        struct token_status wish = api_wish;
        const struct token_status *token;
        struct answer a, b;
        const char *reason;
        struct error err;
        char was;

        wish.jobs = jobs;
        make(f, &wish, &a);
        make(f, &api_wish, &b);
        assert_int_equal(strncmp(a.text, "reeve-", 6), 0);
        assert_string_not_equal(a.text, b.text);
        for (int again = 0; again < 2; again++) {
                token = tokens_find(f->tokens, a.text, TOKEN_API, &reason, &err);
                assert_non_null(token);
                assert_string_equal(token->id, a.id);
                assert_string_equal(token->jobs, "web-,db");
                assert_int_equal(token->role, ROLE_OPERATE);
                assert_null(tokens_find(f->tokens, b.text, TOKEN_API, &reason, &err)->jobs);
                assert_string_equal(look(f, a.text, TOKEN_JOIN), "wrong-token");
                assert_string_equal(look(f, a.text, TOKEN_NODE), "wrong-credential");
                assert_string_equal(look(f, "reeve-", TOKEN_API), "wrong-token");
                assert_string_equal(look(f, "", TOKEN_API), "wrong-token");
                was = a.text[8];
                a.text[8] = was == '0' ? '1' : '0';
                assert_string_equal(look(f, a.text, TOKEN_API), "wrong-token");
                a.text[8] = was;
                reopen(f);
        }
}

static int find_text(void *data, const char *key, const char *value, size_t len, struct error *err)
{
        (void) key;
        (void) err;
        assert_null(memmem(value, len, data, strlen(data)));
        return 0;
}

static void test_text_is_not_kept(void **state)
{
        struct fixture *f = *state;
        struct answer a;
        struct error err;

        make(f, &api_wish, &a);
        assert_int_equal(store_scan(f->store, "", find_text, a.text + strlen("reeve-"), &err), 0);
}

static void test_expires(void **state)
{
        struct fixture *f = *state;
        struct token_status wish = api_wish;
        struct answer a;

        wish.expires = time_wall() + 2 * USEC_SEC;
        make(f, &wish, &a);
        assert_string_equal(look(f, a.text, TOKEN_API), "good");
        RUN_UNTIL(f, f->ended == 1);
        assert_string_equal(f->last_ended, a.id);
        assert_string_equal(look(f, a.text, TOKEN_API), "expired-token");
        assert_null(tokens_get(f->tokens, a.id));
        reopen(f);
        assert_string_equal(look(f, a.text, TOKEN_API), "expired-token");
}

/* What expired long ago goes from the store. */
static void test_forgotten_later(void **state)
{
        struct fixture *f = *state;
        struct token_status wish = api_wish;
        struct answer a;

        wish.expires = time_wall() - 8 * USEC_DAY;
        make(f, &wish, &a);
        RUN_UNTIL(f, strcmp(look(f, a.text, TOKEN_API), "wrong-token") == 0);
        reopen(f);
        assert_string_equal(look(f, a.text, TOKEN_API), "wrong-token");
}

static void test_revoked(void **state)
{
        struct fixture *f = *state;
        struct answer a, done = { 0 };
        struct error err;

        make(f, &api_wish, &a);
        assert_int_equal(tokens_revoke(f->tokens, a.id, on_done, &done, &err), 0);
        assert_string_equal(look(f, a.text, TOKEN_API), "wrong-token"); /* at once */
        assert_int_equal(f->ended, 0);
        assert_int_equal(tokens_revoke(f->tokens, a.id, on_done, &done, &err), -1);
        assert_int_equal(err.code, ERR_NOT_FOUND);
        RUN_UNTIL(f, done.calls == 1);
        assert_int_equal(f->ended, 1);
        assert_string_equal(f->last_ended, a.id);
        reopen(f);
        assert_string_equal(look(f, a.text, TOKEN_API), "wrong-token");
}

static void test_not_revoked_without_store(void **state)
{
        struct fixture *f = *state;
        struct answer a, done = { 0 };
        struct error err;

        make(f, &api_wish, &a);
        store_memory_set_failure(f->store, ERR_NO_SPACE);
        assert_int_equal(tokens_revoke(f->tokens, a.id, on_done, &done, &err), 0);
        RUN_UNTIL(f, done.calls == 1);
        assert_int_equal(done.code, ERR_NO_SPACE);
        assert_int_equal(f->ended, 0);
        assert_string_equal(look(f, a.text, TOKEN_API), "good");
        assert_int_equal(tokens_revoke(f->tokens, a.id, on_done, &done, &err), -1);
        assert_int_equal(err.code, ERR_NO_SPACE);
        assert_string_equal(look(f, a.text, TOKEN_API), "good");
        store_memory_set_failure(f->store, ERR_NONE);
}

static int join(struct fixture *f, const char *text, const char *node, struct answer *ret,
        const char **reason)
{
        struct error err;

        *ret = (struct answer){ 0 };
        *reason = NULL;
        return tokens_join(f->tokens, text, node, ret->text, on_done, ret, reason, &err);
}

static void test_join_uses_it_up(void **state)
{
        struct fixture *f = *state;
        struct token_status wish = { .kind = TOKEN_JOIN, .uses = 2 };
        struct answer token, a, b, c;
        const char *reason;

        make(f, &wish, &token);
        assert_non_null(strstr(token.text, "-0123abcd"));
        assert_int_equal(join(f, token.text, "a", &a, &reason), 0);
        assert_int_equal(join(f, token.text, "a", &b, &reason), -1); /* twice at once */
        assert_string_equal(reason, "name-taken");
        assert_int_equal(join(f, token.text, "b", &b, &reason), 0);
        assert_int_equal(join(f, token.text, "c", &c, &reason), -1);
        assert_string_equal(reason, "used-token");
        RUN_UNTIL(f, a.calls == 1 && b.calls == 1);
        assert_string_equal(look(f, a.text, TOKEN_NODE), "good");
        assert_string_equal(look(f, a.text, TOKEN_API), "wrong-token");
        assert_string_equal(tokens_of_node(f->tokens, "b")->id, b.id);
        reopen(f);
        assert_string_equal(look(f, b.text, TOKEN_NODE), "good");
        assert_int_equal(join(f, token.text, "c", &c, &reason), -1);
        assert_string_equal(reason, "used-token");
}

static void test_join_again_replaces(void **state)
{
        struct fixture *f = *state;
        struct token_status wish = { .kind = TOKEN_JOIN, .uses = RECORD_NULL };
        struct answer token, old, new;
        const char *reason;

        make(f, &wish, &token);
        assert_int_equal(join(f, token.text, "a", &old, &reason), 0);
        RUN_UNTIL(f, old.calls == 1);
        assert_int_equal(join(f, token.text, "a", &new, &reason), 0);
        RUN_UNTIL(f, new.calls == 1);
        assert_string_equal(look(f, old.text, TOKEN_NODE), "wrong-credential");
        assert_string_equal(look(f, new.text, TOKEN_NODE), "good");
        assert_int_equal(f->ended, 1);
        assert_string_equal(f->last_ended, old.id);
        reopen(f);
        assert_string_equal(look(f, old.text, TOKEN_NODE), "wrong-credential");
        assert_string_equal(look(f, new.text, TOKEN_NODE), "good");
}

static void test_join_without_store(void **state)
{
        struct fixture *f = *state;
        struct token_status wish = { .kind = TOKEN_JOIN, .uses = 1 };
        struct answer token, a;
        const char *reason;

        make(f, &wish, &token);
        store_memory_set_failure(f->store, ERR_NO_SPACE);
        assert_int_equal(join(f, token.text, "a", &a, &reason), 0);
        RUN_UNTIL(f, a.calls == 1);
        assert_int_equal(a.code, ERR_NO_SPACE);
        assert_null(tokens_of_node(f->tokens, "a"));
        assert_int_equal(join(f, token.text, "a", &a, &reason), -1);
        assert_null(reason); /* the store's fault */
        store_memory_set_failure(f->store, ERR_NONE);
        RUN_UNTIL(f, state_is_idle(f->state));
        assert_int_equal(join(f, token.text, "a", &a, &reason), 0);
        RUN_UNTIL(f, a.calls == 1);
        assert_int_equal(a.code, ERR_NONE);
}

static void test_jobs_cover(void **state)
{
        struct error err;

        (void) state;
        assert_true(token_jobs_cover(NULL, "anything"));
        assert_true(token_jobs_cover("web", "web"));
        assert_true(token_jobs_cover("web", "web-2"));
        assert_true(token_jobs_cover("db,web-", "web-2"));
        assert_false(token_jobs_cover("db,web-", "web"));
        assert_false(token_jobs_cover("web", "we"));
        assert_false(token_jobs_cover("web", ""));
        assert_false(token_jobs_cover("", "web"));
        assert_false(token_jobs_cover(",", "web"));
        assert_true(token_jobs_cover_task("web", "web.12"));
        assert_true(token_jobs_cover_task("web", "web-x.0"));
        assert_false(token_jobs_cover_task("web.0", "web.0"));
        assert_int_equal(token_jobs_check("web-,db", &err), 0);
        assert_int_equal(token_jobs_check("", &err), -1);
        assert_int_equal(token_jobs_check("web,", &err), -1);
        assert_int_equal(token_jobs_check("-web", &err), -1);
        assert_int_equal(token_jobs_check("we b", &err), -1);
        assert_int_equal(role_parse("operate"), ROLE_OPERATE);
        assert_int_equal(role_parse("none"), -1);
        assert_int_equal(role_parse("root"), -1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_found_by_its_text),
                TEST(test_text_is_not_kept),
                TEST(test_expires),
                TEST(test_forgotten_later),
                TEST(test_revoked),
                TEST(test_not_revoked_without_store),
                TEST(test_join_uses_it_up),
                TEST(test_join_again_replaces),
                TEST(test_join_without_store),
                cmocka_unit_test(test_jobs_cover),
        };

        return cmocka_run_group_tests_name("tokens", tests, NULL, NULL);
}
