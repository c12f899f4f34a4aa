/* SPDX-License-Identifier: BSD-3-Clause */
/* The agent's end of the link, with a server that says what the test wants. */
#include "node/test-link.h"

#define IN_FLIGHT 500

#define SPECS                                                                                      \
        "{\"type\":\"specs\",\"specs\":[{\"job\":\"web\",\"version\":1,"                           \
        "\"spec\":{\"command\":[\"true\"]}}]}"
#define OFF "\"desire\":{\"run\":false,\"version\":1,\"restart_version\":1,\"generation\":0}"

static void append(struct world *w, uint64_t count)
{
        static char message[] = "what happened";
        struct event e = { .kind = EVENT_TASK_ENDED, .message = message, .version = RECORD_NULL };
        struct error err;
        uint64_t seq;

        for (uint64_t i = 0; i < count; i++)
                assert_int_equal(outbox_append(w->outbox, &e, &seq, &err), 0);
        link_wake(w->link);
}

/* The next notes must be those with the numbers @first to @last, in any number of messages. */
static void expect_notes(struct world *w, json_int_t first, json_int_t last)
{
        while (first <= last) {
                json_t *message = hear(w, "notes"), *note;
                size_t i;

                json_array_foreach (json_object_get(message, "notes"), i, note) {
                        assert_int_equal(json_array_size(note), 2);
                        assert_int_equal(json_integer_value(json_array_get(note, 0)), first);
                        assert_string_equal(json_string_value(json_object_get(
                                                    json_array_get(note, 1), "message")),
                                "what happened");
                        first++;
                }
                assert_true(i > 0);
                json_decref(message);
        }
        assert_int_equal(first, last + 1);
}

/* The server lets go of the connection, and the agent comes again. Returns its hello. */
static json_t *meet_again(struct world *w)
{
        unsigned connections = w->connections;

        websocket_close(take_ptr(w->peer), 1001, NULL);
        json_array_clear(w->heard);
        wait_for(&w->loop, w->connections == connections + 1);
        return hear(w, "hello");
}

/* Tasks web.@first to web.@last, which shall not run: each ends at once. */
static void assign(struct world *w, int first, int last, bool all)
{
        AUTO(buffer_done) struct buffer b = { 0 };

        buffer_printf(&b, "{\"type\":\"assign\",\"all\":%s,\"tasks\":[", all ? "true" : "false");
        for (int i = first; i <= last; i++)
                buffer_printf(&b, "%s{\"task\":\"web.%d\",\"job\":\"web\",\"index\":%d," OFF "}",
                        i > first ? "," : "", i, i);
        buffer_puts(&b, "]}");
        websocket_send(w->peer, true, b.data, b.len);
}

/* What the tasks themselves have to tell. */
static void skip_notes(struct world *w)
{
        json_decref(hear(w, "notes"));
}

/* What a placement grants is in the task's slot, where it survives whoever dies. */
static void ports_and_fence_are_kept_with_the_task(void **state)
{
        struct world *w = *state;
        const struct task_machine *m;

        meet(w);
        say(w, SPECS);
        say(w, "{\"type\":\"assign\",\"all\":true,\"tasks\":[{\"task\":\"web.0\",\"job\":\"web\","
               "\"index\":0," OFF
               ",\"ports\":[20001,65535,65536,-1,\"x\",6,7,8,9],\"fence\":12}]}");
        skip_notes(w);
        json_decref(hear(w, "report"));
        m = table_machine(tasks_find(w->tasks, "web.0")->slot);
        assert_int_equal(m->grant.fence, 12);
        assert_int_equal(m->grant.ports[0], 20001);
        assert_int_equal(m->grant.ports[1], 65535);
        for (int i = 2; i < 5; i++)
                assert_int_equal(m->grant.ports[i], 0);
        assert_int_equal(m->grant.ports[7], 8);
        say(w, "{\"type\":\"assign\",\"tasks\":[{\"task\":\"web.0\",\"job\":\"web\",\"index\":"
               "0," OFF ",\"fence\":13}]}");
        json_decref(hear(w, "report"));
        m = table_machine(tasks_find(w->tasks, "web.0")->slot);
        assert_int_equal(m->grant.fence, 13);
        assert_int_equal(m->grant.ports[0], 0);
        assert_int_equal(table_heard(w->table), USEC_NEVER); /* the server is on this machine */
}

/* ---- hello */

static void hello_says_what_is(void **state)
{
        struct world *w = *state;
        json_t *hello, *node;

        append(w, 3);
        server_start(w);
        link_start(w->link);
        hello = hear(w, "hello");
        node = json_object_get(hello, "node");
        assert_int_equal(number_in(hello, "protocol"), 2);
        assert_int_equal(number_in(hello, "note_seq"), 3);
        assert_string_equal(json_string_value(json_object_get(node, "name")), "n1");
        assert_int_equal(number_in(node, "cores"), 3);
        assert_true(json_is_array(json_object_get(hello, "tasks")));
        assert_int_equal(json_array_size(json_object_get(hello, "tasks")), 0);
        json_decref(hello);
}

static void hello_names_all_tasks_and_no_report_repeats_them(void **state)
{
        struct world *w = *state;
        json_t *hello, *task;

        meet(w);
        say(w, SPECS);
        assign(w, 1, 2, true);
        settle(w);
        hello = meet_again(w);
        assert_int_equal(json_array_size(json_object_get(hello, "tasks")), 2);
        task = json_array_get(json_object_get(hello, "tasks"), 1);
        assert_string_equal(json_string_value(json_object_get(task, "id")), "web.2");
        assert_string_equal(json_string_value(json_object_get(task, "job")), "web");
        assert_int_equal(number_in(task, "index"), 2);
        assert_string_equal(json_string_value(json_object_get(task, "state")), "ended");
        assert_int_equal(number_in(json_object_get(task, "desire"), "version"), 1);
        assert_true(json_is_false(json_object_get(json_object_get(task, "desire"), "run")));
        json_decref(hello);
        skip_notes(w);
        expect_silence(w);
}

/* ---- reports */

static void changes_of_one_turn_are_one_report(void **state)
{
        struct world *w = *state;
        json_t *report;

        meet(w);
        say(w, SPECS);
        assign(w, 0, 19, true);
        skip_notes(w);
        report = hear(w, "report");
        assert_int_equal(json_array_size(json_object_get(report, "tasks")), 20);
        json_decref(report);
        expect_silence(w);
        assign(w, 0, 19, false); /* nothing new */
        expect_silence(w);
        assign(w, 19, 20, false);
        skip_notes(w);
        report = hear(w, "report");
        assert_int_equal(json_array_size(json_object_get(report, "tasks")), 1);
        json_decref(report);
}

static void tasks_that_are_not_named_are_not_wanted(void **state)
{
        struct world *w = *state;

        meet(w);
        say(w, SPECS);
        assign(w, 0, 4, true);
        settle(w);
        assign(w, 1, 1, false);
        settle(w);
        assert_non_null(tasks_find(w->tasks, "web.4"));
        say(w, "{\"type\":\"assign\",\"tasks\":[{\"task\":\"web.1\",\"forget\":true}]}");
        settle(w);
        assert_null(tasks_find(w->tasks, "web.1"));
        assert_non_null(tasks_find(w->tasks, "web.4"));
        assign(w, 2, 3, true);
        settle(w);
        assert_null(tasks_find(w->tasks, "web.0"));
        assert_non_null(tasks_find(w->tasks, "web.2"));
        assert_non_null(tasks_find(w->tasks, "web.3"));
        assert_null(tasks_find(w->tasks, "web.4"));
        say(w, "{\"type\":\"assign\",\"all\":true,\"tasks\":[]}");
        settle(w);
        assert_null(tasks_find(w->tasks, "web.2"));
}

/* ---- notes */

static void notes_wait_for_their_acknowledgement(void **state)
{
        struct world *w = *state;

        meet(w);
        append(w, 700);
        expect_notes(w, 1, IN_FLIGHT);
        expect_silence(w);
        say(w, "{\"type\":\"note-ack\",\"seq\":100}");
        expect_notes(w, IN_FLIGHT + 1, IN_FLIGHT + 100);
        expect_silence(w);
        assert_int_equal(w->acked, 2); /* welcome says a number, too */
        say(w, "{\"type\":\"note-ack\",\"seq\":600}");
        expect_notes(w, 601, 700);
        say(w, "{\"type\":\"note-ack\",\"seq\":700}");
        expect_silence(w);
        assert_true(outbox_empty(w->outbox));
}

static void notes_are_sent_again_from_the_oldest_that_is_not_acknowledged(void **state)
{
        struct world *w = *state;
        json_t *hello;

        meet(w);
        append(w, 5);
        expect_notes(w, 1, 5);
        say(w, "{\"type\":\"note-ack\",\"seq\":2}");
        expect_silence(w);
        hello = meet_again(w);
        assert_int_equal(number_in(hello, "note_seq"), 5);
        json_decref(hello);
        expect_notes(w, 3, 5);
        say(w, "{\"type\":\"welcome\",\"server\":\"0\",\"note_seq\":4,\"witness\":[]}");
        expect_silence(w);
        json_decref(meet_again(w));
        expect_notes(w, 5, 5);
        say(w, "{\"type\":\"welcome\",\"server\":\"0\",\"note_seq\":5,\"witness\":[]}");
        append(w, 1);
        expect_notes(w, 6, 6);
        expect_silence(w);
}

static void what_happens_while_nobody_listens_is_told_later(void **state)
{
        struct world *w = *state;

        meet(w);
        server_stop(w);
        append(w, 2);
        for (int i = 0; i < 20; i++)
                turn(&w->loop);
        server_start(w);
        json_decref(hear(w, "hello"));
        expect_notes(w, 1, 2);
}

/* ---- the connection */

static void a_server_is_looked_for_until_it_is_there(void **state)
{
        struct world *w = *state;

        link_start(w->link); /* no socket yet */
        for (int i = 0; i < 20; i++)
                turn(&w->loop);
        w->refuses = true;
        server_start(w);
        for (int i = 0; i < 20; i++)
                turn(&w->loop);
        assert_int_equal(w->connections, 0);
        w->refuses = false;
        json_decref(hear(w, "hello"));
        assert_int_equal(w->connections, 1);
}

static void what_cannot_be_done_here_is_asked_for_again(void **state)
{
        struct world *w = *state;
        usec_t before = time_mono();

        meet(w);
        say(w, "{\"type\":\"assign\",\"tasks\":[{\"task\":\"db.0\",\"job\":\"db\",\"index\":0," OFF
               "}]}"); /* of which there is no spec */
        wait_for(&w->loop, w->connections == 2);
        assert_true(time_mono() - before >= 900 * USEC_MSEC);
        json_decref(hear(w, "hello"));
}

static void goodbye_is_the_last_word(void **state)
{
        struct world *w = *state;
        json_t *bye;

        meet(w);
        append(w, 1);
        link_bye(w->link, "restart");
        expect_notes(w, 1, 1); /* what is known is told before */
        bye = hear(w, "bye");
        assert_string_equal(json_string_value(json_object_get(bye, "reason")), "restart");
        json_decref(bye);
        wait_for(&w->loop, w->closed == 1);
        for (int i = 0; i < 50; i++)
                turn(&w->loop);
        assert_int_equal(w->connections, 1);
        append(w, 1); /* no harm */
}

static void goodbye_to_nobody(void **state)
{
        struct world *w = *state;

        link_start(w->link);
        link_bye(w->link, "halt");
        server_start(w);
        for (int i = 0; i < 50; i++)
                turn(&w->loop);
        assert_int_equal(w->connections, 0);
}

static void down_and_upgrade_are_passed_on(void **state)
{
        struct world *w = *state;

        meet(w);
        say(w, "{\"type\":\"down\"}");
        say(w, "{\"type\":\"upgrade\",\"keeper\":\"/new/keeper\"}");
        settle(w);
        assert_int_equal(w->downs, 1);
        assert_int_equal(w->upgrades, 1);
        assert_string_equal(w->upgrade_path, "/new/keeper");
        say(w, "{\"type\":\"upgrade\",\"keeper\":null}");
        settle(w);
        assert_int_equal(w->upgrades, 2);
        assert_string_equal(w->upgrade_path, "(none)");
}

/* ---- what a server would not say */

static void malformed_messages_are_ignored(void **state)
{
        static const char *const messages[] = { "", "x", "{", "null", "7", "[]", "{}", "\"down\"",
                "{\"type\":null}", "{\"type\":7}", "{\"type\":\"\"}", "{\"type\":\"hello\"}",
                "{\"type\":\"down\"} x", "[{\"type\":\"down\"}]", "{\"Type\":\"down\"}",
                "{\"type\":\"welcome\"}", "{\"type\":\"welcome\",\"note_seq\":-1,\"server\":7}",
                "{\"type\":\"welcome\",\"note_seq\":\"9\",\"witness\":{\"web.0\":1}}",
                "{\"type\":\"welcome\",\"witness\":[null,7,{},{\"task\":7},{\"task\":\"web.0\"},"
                "{\"task\":\"web.0\",\"run\":-1,\"status\":\"x\"},{\"task\":\"x/../"
                "y\",\"run\":1}]}",
                "{\"type\":\"note-ack\"}", "{\"type\":\"note-ack\",\"seq\":-1}",
                "{\"type\":\"note-ack\",\"seq\":\"5\"}", "{\"type\":\"note-ack\",\"seq\":0.5}",
                "{\"type\":\"specs\"}", "{\"type\":\"specs\",\"specs\":{\"a\":1}}",
                "{\"type\":\"specs\",\"specs\":[null,7,{},{\"job\":\"web\"},"
                "{\"job\":\"../web\",\"version\":1,\"spec\":{\"command\":[\"a\"]}},"
                "{\"job\":\"\",\"version\":1,\"spec\":{\"command\":[\"a\"]}},"
                "{\"job\":\"web\",\"version\":1,\"spec\":7},"
                "{\"job\":\"web\",\"version\":1,\"spec\":{\"command\":[]}}]}",
                "{\"type\":\"assign\"}", "{\"type\":\"assign\",\"all\":true}",
                "{\"type\":\"assign\",\"all\":true,\"tasks\":null}",
                "{\"type\":\"assign\",\"all\":true,\"tasks\":{\"web.0\":1}}",
                "{\"type\":\"assign\",\"tasks\":7}",
                "{\"type\":\"assign\",\"tasks\":[{\"task\":\"\",\"forget\":true}]}",
                "{\"type\":\"assign\",\"tasks\":[{\"task\":\"../..\",\"forget\":true}]}",
                "{\"type\":\"log-more\"}", "{\"type\":\"log-close\",\"stream\":\"x\"}",
                "{\"type\":\"log-more\",\"stream\":-1,\"bytes\":-1}" };
        struct world *w = *state;

        meet(w);
        say(w, SPECS);
        assign(w, 0, 0, true);
        skip_notes(w);
        json_decref(hear(w, "report"));
        append(w, 3);
        expect_notes(w, 2, 4);
        for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
                say(w, "%s", messages[i]);
                websocket_send(w->peer, false, messages[i], strlen(messages[i]));
                settle(w);
                if (w->connections != 1 || w->downs != 0 || outbox_empty(w->outbox) ||
                        tasks_find(w->tasks, "web.0") == NULL)
                        fail_msg("it did something: %s", messages[i]);
        }
        expect_silence(w);
        say(w, "{\"type\":\"down\"}"); /* it listens still */
        settle(w);
        assert_int_equal(w->downs, 1);
}

static void assignments_that_make_no_sense_create_nothing(void **state)
{
        static const char *const tasks[] = { "null", "7", "{}", "{\"task\":7}",
                "{\"task\":\"web.0\"}", "{\"task\":\"web.0\",\"job\":7," OFF "}",
                "{\"task\":\"web.0\",\"job\":\"../web\",\"index\":0," OFF "}",
                "{\"task\":\"web.0\",\"job\":\"web\",\"index\":0,\"desire\":7}",
                "{\"task\":\"web.0\",\"job\":\"web\",\"index\":0}" };
        struct world *w = *state;
        AUTO(buffer_done) struct buffer b = { 0 };

        meet(w);
        say(w, SPECS);
        settle(w);
        buffer_puts(&b, "{\"type\":\"assign\",\"all\":true,\"tasks\":[");
        for (size_t i = 0; i < ARRAY_SIZE(tasks); i++)
                buffer_printf(&b, "%s,", tasks[i]);
        buffer_puts(&b, "{\"task\":\"web.1\",\"job\":\"web\",\"index\":1," OFF "}]}");
        say(w, "%s", buffer_str(&b));
        wait_for(&w->loop, w->connections == 2); /* as if the disk were full */
        assert_null(tasks_find(w->tasks, "web.0"));
        assert_non_null(tasks_find(w->tasks, "web.1"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, world_new, world_free)
        const struct CMUnitTest tests[] = {
                TEST(hello_says_what_is),
                TEST(hello_names_all_tasks_and_no_report_repeats_them),
                TEST(changes_of_one_turn_are_one_report),
                TEST(tasks_that_are_not_named_are_not_wanted),
                TEST(ports_and_fence_are_kept_with_the_task),
                TEST(notes_wait_for_their_acknowledgement),
                TEST(notes_are_sent_again_from_the_oldest_that_is_not_acknowledged),
                TEST(what_happens_while_nobody_listens_is_told_later),
                TEST(a_server_is_looked_for_until_it_is_there),
                TEST(what_cannot_be_done_here_is_asked_for_again),
                TEST(goodbye_is_the_last_word),
                TEST(goodbye_to_nobody),
                TEST(down_and_upgrade_are_passed_on),
                TEST(malformed_messages_are_ignored),
                TEST(assignments_that_make_no_sense_create_nothing),
        };

        setenv("REEVE_LOG", "error", 0);
        log_init("test");
        return cmocka_run_group_tests(tests, NULL, NULL);
}
