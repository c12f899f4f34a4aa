/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/test-cluster-kit.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define WEB  "{\"command\": [\"web\"], \"count\": 3}"
#define WEB2 "{\"command\": [\"web\", \"new\"], \"count\": 3}"

static struct kit *kit_with_node(void)
{
        struct kit *k = kit_new();

        kit_connect(k, 0);
        kit_settle(k);
        return k;
}

static void test_apply_runs(void **state)
{
        struct kit *k = kit_with_node();

        (void) state;
        assert_int_equal(kit_apply(k, "web", WEB), 0);
        assert_int_equal(k->fx.version, 1);
        kit_expect_event(k, EVENT_JOB_APPLIED, "version 1: 3 tasks on node a");
        assert_int_equal(k->fx.events_len, 1);
        assert_int_equal(k->fx.assigns_len, 3);
        assert_int_equal(kit_job(k, "web").state, JOB_STARTING);
        kit_settle(k);
        assert_int_equal(kit_job(k, "web").state, JOB_RUNNING);
        assert_int_equal(kit_job(k, "web").running, 3);
        assert_int_equal(kit_status(k, "web.2").state, TASK_RUNNING);
        assert_string_equal(kit_status(k, "web.2").node, "a");
        kit_free(k);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_apply_runs),
        };

        return cmocka_run_group_tests_name("cluster", tests, NULL, NULL);
}
