/* SPDX-License-Identifier: BSD-3-Clause */
/* What a sandbox is made of: names that the libraries know, filters that the kernel takes. (What it
 * keeps programs from: test/scenario/test_sandbox.py.) */
#include <errno.h>
#include <seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/macros.h"
#include "base/mem.h"
#include "model/capability.h"
#include "model/syscalls.h"
#include "node/process.h"
#include "node/sandbox-filter.h"
#include "node/sandbox-internal.h"

static struct job_spec *parse(const char *sandbox)
{
        AUTO(job_file_done) struct job_file file = { 0 };
        struct error err = ERROR_INIT;
        char text[1000];

        snprintf(text, sizeof text, "jobs:\n  a:\n    command: [x]\n    sandbox: %s\n", sandbox);
        if (job_file_parse("f", text, strlen(text), JOB_FORMAT_YAML, &file, &err) < 0)
                fail_msg("%s", err.message);
        return job_spec_ref(file.jobs[0]);
}

/* A name that is written wrong would deny nothing. */
static void every_call_is_known(void **state)
{
        (void) state;
        for (const struct syscall_group *g = syscall_groups; g->name != NULL; g++)
                for (size_t i = 0; g->calls[i] != NULL; i++)
                        if (seccomp_syscall_resolve_name(g->calls[i]) == __NR_SCMP_ERROR)
                                fail_msg("libseccomp does not know %s", g->calls[i]);
}

static void capabilities_are_as_libcap_has_them(void **state)
{
        (void) state;
        for (int i = 0; i < CAPABILITIES_MAX; i++) {
                char *name = cap_to_name((cap_value_t) i);

                assert_non_null(name);
                assert_int_equal(strcasecmp(name + strlen("cap_"), capability_names[i]), 0);
                cap_free(name);
        }
}

/* In a child that takes the filter: what keyctl(2) and getppid(2) say. */
static int run_filtered(const struct job_spec *spec)
{
        AUTO(mem_freep) struct sock_filter *filter = NULL;
        struct error err = ERROR_INIT;
        struct sock_fprog program;
        size_t len = 0;
        int status;
        pid_t pid;

        if (sandbox_filter_make(spec, &filter, &len, &err) < 0)
                fail_msg("%s", err.message);
        program = (struct sock_fprog){ (unsigned short) len, filter };
        pid = fork();
        if (pid == 0) {
                long r = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);

                if (r < 0 || prctl(PR_SET_SECCOMP, 2, &program) < 0)
                        _exit(99);
                r = syscall(SYS_keyctl, 0, -1, 0);
                _exit(getppid() > 0 && r < 0 ? errno : 0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        return WEXITSTATUS(status);
}

static void filters_are_taken_by_the_kernel(void **state)
{
        AUTO(job_spec_unrefp) struct job_spec *by_default = parse("{seccomp: default}");
        AUTO(job_spec_unrefp) struct job_spec *other = parse("{seccomp_deny: [clock]}");
        AUTO(job_spec_unrefp)
        struct job_spec *all = parse("{seccomp: default, seccomp_deny: [io-uring, ipc, namespaces, "
                                     "network, owners, resources, users, mount]}");

        (void) state;
        assert_int_equal(run_filtered(by_default), EPERM);
        assert_int_not_equal(run_filtered(other), EPERM);
        assert_int_equal(run_filtered(all), EPERM);
}

/* Made once for a spec, shared by its runs. */
static void a_sandbox_is_counted(void **state)
{
        AUTO(job_spec_unrefp) struct job_spec *spec = parse("{seccomp: default}");
        struct sandbox *s = NULL;
        struct error err = ERROR_INIT;

        (void) state;
        assert_int_equal(sandbox_make(spec, &s, &err), 0);
        assert_ptr_equal(sandbox_ref(s), s);
        assert_true(s->no_new_privs && s->filter_len > 0);
        assert_int_equal(sandbox_clone_flags(s), 0);
        sandbox_unref(s);
        sandbox_unref(s);
        sandbox_unref(NULL);
}

static void failures_name_the_field(void **state)
{
        AUTO(job_spec_unrefp)
        struct job_spec *spec = parse(
                "{user_namespace: true, read_only: true, writable: [/a, /b], hide: [/c], chroot: "
                "/r, private_tmp: true, pid_namespace: true, network: none, capabilities: [kill], "
                "seccomp: default}");
        static const struct {
                unsigned step;
                const char *message;
        } rows[] = {
                { SANDBOX_STEP_CHROOT, "sandbox.chroot: enter /r: " },
                { SANDBOX_STEP_WRITABLE + 1, "sandbox.writable: /b: " },
                { SANDBOX_STEP_HIDE, "sandbox.hide: /c: " },
                { SANDBOX_STEP_CAPABILITIES, "sandbox.capabilities: " },
                { SANDBOX_STEP_SECCOMP, "sandbox.seccomp: " },
        };
        struct sandbox *s = NULL;
        struct error err = ERROR_INIT;

        (void) state;
        assert_int_equal(sandbox_make(spec, &s, &err), 0);
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                assert_int_equal(sandbox_failure(s, rows[i].step, EPERM, &err), -1);
                assert_memory_equal(err.message, rows[i].message, strlen(rows[i].message));
        }
        sandbox_unref(s);
}

static void ignore(int number)
{
        (void) number;
}

static void a_handler_is_seen(void **state)
{
        (void) state;
        assert_true(process_would_end(getpid(), SIGUSR1));
        assert_false(process_would_end(getpid(), SIGCHLD));
        assert_false(process_would_end(getpid(), SIGSTOP));
        signal(SIGUSR1, ignore);
        assert_false(process_would_end(getpid(), SIGUSR1));
        signal(SIGUSR1, SIG_IGN);
        assert_false(process_would_end(getpid(), SIGUSR1));
        signal(SIGUSR1, SIG_DFL);
        assert_true(process_would_end(getpid(), SIGUSR1));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_call_is_known),
                cmocka_unit_test(capabilities_are_as_libcap_has_them),
                cmocka_unit_test(filters_are_taken_by_the_kernel),
                cmocka_unit_test(a_sandbox_is_counted),
                cmocka_unit_test(failures_name_the_field),
                cmocka_unit_test(a_handler_is_seen),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
