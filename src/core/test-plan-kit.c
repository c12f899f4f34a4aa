/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/test-plan-kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "core/plan.h"

static int plan_to(struct kit *k, struct job_spec *const *specs, size_t len, FILE *answer)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        struct error err = ERROR_INIT;
        int r = plan_make(k->c, specs, len, "api", k->now, &b, &err);

        if (r < 0)
                buffer_puts(&b, err.message);
        fwrite(buffer_str(&b), 1, b.len, answer);
        fflush(answer);
        return r < 0 ? (int) err.code : 0;
}

int kit_plan(struct kit *k, struct job_spec *const *specs, size_t len, struct buffer *ret)
{
        AUTO(mem_freep) char *before = kit_picture(k->c), *after = NULL;
        uint64_t changes = cluster_changes(k->c);
        FILE *answer = tmpfile();
        int c, status;
        pid_t pid;

        assert_non_null(answer);
        fflush(NULL);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
                _exit(plan_to(k, specs, len, answer));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        rewind(answer);
        while ((c = getc(answer)) != EOF)
                buffer_putc(ret, (char) c);
        fclose(answer);
        after = kit_picture(k->c);
        assert_string_equal(before, after);
        assert_int_equal(changes, cluster_changes(k->c));
        return WEXITSTATUS(status);
}

json_t *kit_plan_one(struct kit *k, const char *name, const char *json)
{
        AUTO(job_spec_unrefp) struct job_spec *spec = kit_spec(name, json);
        AUTO(buffer_done) struct buffer b = { 0 };
        json_t *plan;

        if (kit_plan(k, &spec, 1, &b) != 0)
                fail_msg("%s", buffer_str(&b));
        plan = json_loads(buffer_str(&b), JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(plan);
        return plan;
}
