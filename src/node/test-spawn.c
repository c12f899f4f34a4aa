/* SPDX-License-Identifier: BSD-3-Clause */
/* Starting processes. The test is the keeper: it forks an "agent" that starts one process by
 * spawn_run(), which is then our child, as in life. The process started is mostly this program once
 * more (`test-spawn --report`), which writes down what it finds around itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/pidfd.h"
#include "keeper/protocol.h"
#include "node/process.h"
#include "node/spawn.h"

#define DEADLINE (20 * USEC_SEC)
#define RUN      42
#define NOBODY   65534

/* ---- the report */

static void report_descriptors(void)
{
        DIR *d = opendir("/proc/self/fd");

        for (const struct dirent *e; (e = readdir(d)) != NULL;) {
                char target[256] = "", path[300];

                if (e->d_name[0] == '.' || atoi(e->d_name) == dirfd(d))
                        continue;
                snprintf(path, sizeof path, "/proc/self/fd/%s", e->d_name);
                if (readlink(path, target, sizeof target - 1) < 0)
                        continue;
                printf("fd %s=%s %d\n", e->d_name, target,
                        fcntl(atoi(e->d_name), F_GETFL) & O_ACCMODE);
        }
        closedir(d);
}

/* The lines of /proc/self/status that tell of signals and users. */
static void report_status(void)
{
        FILE *f = fopen("/proc/self/status", "re");
        char line[1024];

        while (f != NULL && fgets(line, sizeof line, f) != NULL)
                if (strncmp(line, "Sig", 3) == 0 || strncmp(line, "Uid:", 4) == 0 ||
                        strncmp(line, "Gid:", 4) == 0 || strncmp(line, "Groups:", 7) == 0)
                        fputs(line, stdout);
        if (f != NULL)
                fclose(f);
}

static int report(int argc, char **argv)
{
        struct rlimit limit;

        for (int i = 0; i < argc; i++)
                printf("arg=%s\n", argv[i]);
        for (char **e = environ; *e != NULL; e++)
                printf("env=%s\n", *e);
        printf("cwd=%s\n", getcwd((char[4096]){ 0 }, 4096));
        printf("leader=%d\n", getsid(0) == getpid() && getpgid(0) == getpid());
        getrlimit(RLIMIT_NOFILE, &limit);
        printf("nofile=%llu %llu\n", (unsigned long long) limit.rlim_cur,
                (unsigned long long) limit.rlim_max);
        report_descriptors();
        report_status();
        printf("end\n");
        fflush(stdout);
        fprintf(stderr, "a word on stderr\n");
        _exit(23);
}

/* ---- keeper, agent */

struct outcome { /* shared with the agent */
        struct table_run record;
        int rc;
        pid_t pid;
        struct error err;
        char complaint[200]; /* what is wrong in the agent itself afterwards; "" */
};

static struct place {
        char dir[64], fifos[2][80], lock[80], self[4096];
        int fds[2]; /* our ends of the FIFOs */
        struct outcome *outcome;
        struct buffer out, errors; /* what came */
        int status;                /* of the process started */
} p;

static int set_up(void **state)
{
        ssize_t n = readlink("/proc/self/exe", p.self, sizeof p.self - 1);

        (void) state;
        snprintf(p.dir, sizeof p.dir, "/tmp/reeve-test-spawn-XXXXXX");
        if (n <= 0 || mkdtemp(p.dir) == NULL)
                return -1;
        for (int i = 0; i < 2; i++) {
                snprintf(p.fifos[i], sizeof p.fifos[i], "%s/%s", p.dir, i == 0 ? "out" : "err");
                assert_int_equal(mkfifo(p.fifos[i], 0600), 0);
                p.fds[i] = open(p.fifos[i], O_RDWR | O_NONBLOCK | O_CLOEXEC);
                assert_true(p.fds[i] >= 0);
        }
        snprintf(p.lock, sizeof p.lock, "%s/lock", p.dir);
        p.outcome = mmap(
                NULL, sizeof *p.outcome, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        return p.outcome == MAP_FAILED ? -1 : 0;
}

static int tear_down(void **state)
{
        (void) state;
        close(p.fds[0]);
        close(p.fds[1]);
        buffer_done(&p.out);
        buffer_done(&p.errors);
        munmap(p.outcome, sizeof *p.outcome);
        return file_remove_tree(p.dir, NULL);
}

/* How a test bends the spec, the plan and the agent. All may be NULL. */
struct bend {
        const char *spec;     /* JSON */
        void (*before)(void); /* in the agent, before spawn_init() */
        void (*late)(void);   /* and before spawn_run() */
        void (*after)(void);  /* and after it; complains() */
        const char *fifos[2];
        int witness; /* 0: none */
        bool no_env; /* of the run */
};

static void complain(const char *what)
{
        snprintf(p.outcome->complaint, sizeof p.outcome->complaint, "%s", what);
}

static int make_plan(const char *text, struct spawn_plan *plan, struct error *err)
{
        json_t *json = json_loads(text, 0, NULL);
        struct job_spec *spec = NULL;
        int r = job_spec_from_json("web", json, &spec, err);

        if (r == 0)
                r = spawn_plan_make(spec, plan, err);
        job_spec_unref(spec);
        json_decref(json);
        return r;
}

static DIR *descriptors; /* of the agent */

static size_t count_descriptors(void)
{
        size_t n = 0;

        rewinddir(descriptors);
        while (readdir(descriptors) != NULL)
                n++;
        return n;
}

static void agent_spawn(const struct bend *bend, const struct spawn_plan *plan)
{
        static char one[] = "REEVE_RUN=42", two[] = "EMPTY=";
        char *env[] = { bend->no_env ? NULL : one, two, NULL };
        const struct spawn_run run = {
                .plan = plan,
                .number = RUN,
                .task = "test.0",
                .env = env,
                .fifo_paths = { bend->fifos[0] != NULL ? bend->fifos[0] : p.fifos[0],
                        bend->fifos[1] != NULL ? bend->fifos[1] : p.fifos[1] },
                .fifos = { p.fds[0], p.fds[1] },
                .witness = bend->witness > 0 ? bend->witness : -1,
                .cgroup_fd = -1,
                .record = &p.outcome->record,
        };
        sigset_t before = { 0 }, after = { 0 };
        size_t opened = count_descriptors();
        int pidfd = -1;

        pthread_sigmask(SIG_SETMASK, NULL, &before);
        p.outcome->rc = spawn_run(&run, &p.outcome->pid, &pidfd, &p.outcome->err);
        pthread_sigmask(SIG_SETMASK, NULL, &after);
        if (memcmp(&before, &after, sizeof before) != 0)
                complain("the signal mask has changed");
        if ((pidfd >= 0) != (p.outcome->rc == 0))
                complain("a pidfd comes with a process only");
        if (pidfd >= 0 && (fcntl(pidfd, F_GETFD) & FD_CLOEXEC) == 0)
                complain("the pidfd would be inherited");
        if (pidfd >= 0)
                close(pidfd);
        if (count_descriptors() != opened)
                complain("a descriptor was left open or closed");
        if (bend->after != NULL)
                bend->after();
}

static _Noreturn void be_agent(const struct bend *bend)
{
        struct spawn_plan plan;
        int lock = open(p.lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

        if (lock < 0 || flock(lock, LOCK_EX) < 0)
                _exit(1);
        descriptors = opendir("/proc/self/fd");
        if (bend->before != NULL)
                bend->before();
        spawn_init(lock);
        if (make_plan(bend->spec, &plan, &p.outcome->err) < 0)
                _exit(2);
        if (bend->late != NULL)
                bend->late();
        agent_spawn(bend, &plan);
        _exit(0);
}

static void wait_child(pid_t pid, int *ret_status)
{
        usec_t end = time_mono() + DEADLINE;
        pid_t got;

        while ((got = waitpid(pid, ret_status, WNOHANG)) == 0) {
                assert_true(time_mono() < end);
                usleep(500);
        }
        assert_int_equal(got, pid);
}

static void read_fifo(int fd, struct buffer *ret)
{
        ssize_t n;

        buffer_reset(ret);
        while ((n = read(fd, buffer_reserve(ret, 65536), 65536)) > 0)
                buffer_commit(ret, (size_t) n);
        buffer_putc(ret, '\0');
}

static pid_t fork_agent(const struct bend *bend)
{
        pid_t pid;

        memset(p.outcome, 0, sizeof *p.outcome);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
                be_agent(bend);
        return pid;
}

/* Lets an agent start a process and waits until both have ended. */
static void run(const struct bend *bend)
{
        pid_t agent = fork_agent(bend);
        int status;

        wait_child(agent, &status);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                fail_msg("the agent ended with %#x: %s", (unsigned) status, p.outcome->err.message);
        assert_string_equal(p.outcome->complaint, "");
        wait_child(p.outcome->record.pid, &p.status);
        read_fifo(p.fds[0], &p.out);
        read_fifo(p.fds[1], &p.errors);
}

static char *spec_of_self(const char *more)
{
        return mem_printf("{\"command\":[\"%s\",\"--report\",\"\",\"two words\",\"$HOME \\n\"]%s}",
                p.self, more);
}

static void expect_line(const char *format, ...) PRINTF_LIKE(1, 2);
static void expect_line(const char *format, ...)
{
        char line[4300] = "\n";
        va_list args;

        va_start(args, format);
        vsnprintf(line + 1, sizeof line - 2, format, args);
        va_end(args);
        strcat(line, "\n"); /* NOLINT: there is room for it */
        if (strstr(p.out.data, line) == NULL)
                fail_msg("not in the report: %s\n%s", line, p.out.data);
}

static unsigned count_lines(const char *prefix)
{
        AUTO(mem_freep) char *start = mem_printf("\n%s", prefix);
        unsigned n = 0;

        for (const char *at = p.out.data; (at = strstr(at, start)) != NULL; at++)
                n++;
        return n;
}

static void run_report(const struct bend *bend)
{
        run(bend);
        if (p.outcome->rc < 0)
                fail_msg("%s", p.outcome->err.message);
        assert_true(WIFEXITED(p.status) && WEXITSTATUS(p.status) == 23);
}

/* ---- what a process finds */

static void a_process_finds_what_its_spec_says(void **state)
{
        AUTO(mem_freep)
        char *more =
                mem_printf(",\"directory\":\"%s\",\"env\":{\"A\":\"1\",\"B\":\"x=y z\"}", p.dir);
        AUTO(mem_freep) char *spec = spec_of_self(more);
        struct bend bend = { .spec = spec };

        (void) state;
        setenv("LEFT_OF_THE_AGENT", "1", 1);
        run_report(&bend);
        assert_memory_equal(p.out.data, "arg=/", 5);
        expect_line("arg=--report\narg=\narg=two words\narg=$HOME \n");
        expect_line(
                "env=PATH=%s\nenv=A=1\nenv=B=x=y z\nenv=REEVE_RUN=42\nenv=EMPTY=", getenv("PATH"));
        assert_int_equal(count_lines("env="), 5);
        expect_line("cwd=%s", p.dir);
        expect_line("leader=1");
        assert_int_equal(count_lines("fd "), 3);
        expect_line("fd 0=/dev/null %d", O_RDONLY);
        expect_line("fd 1=%s %d", p.fifos[0], O_RDWR);
        expect_line("fd 2=%s %d", p.fifos[1], O_RDWR);
        assert_string_equal(p.errors.data, "a word on stderr\n");
}

static void a_process_is_described_by_its_record(void **state)
{
        struct bend bend = { .spec = "{\"command\":[\"sleep\",\"1000\"]}" };
        const struct table_run *record = &p.outcome->record;
        struct process_stat st;
        pid_t agent = fork_agent(&bend);
        int status;

        (void) state;
        wait_child(agent, &status);
        assert_int_equal(status, 0);
        assert_int_equal(p.outcome->rc, 0);
        assert_int_equal(record->run, RUN);
        assert_int_equal(record->pid, p.outcome->pid);
        assert_int_equal(record->parent, getpid());
        assert_int_equal(record->failed_step, 0);
        assert_true(process_read_stat(record->pid, &st)); /* it survived the agent */
        assert_int_equal(st.parent, getpid());
        assert_true(process_matches(record, st.start_ticks));
        kill(record->pid, SIGKILL);
        wait_child(record->pid, &status);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void a_spec_without_anything_has_its_defaults(void **state)
{
        AUTO(mem_freep) char *spec = spec_of_self("");
        struct bend bend = { .spec = spec, .no_env = true };

        (void) state;
        run_report(&bend);
        expect_line("cwd=/");
        expect_line("env=PATH=%s", getenv("PATH"));
        assert_int_equal(count_lines("env="), 1);
}

static void on_signal(int number)
{
        (void) number;
}

static void be_odd_about_signals(void)
{
        sigset_t set;

        signal(SIGINT, SIG_IGN);
        signal(SIGPIPE, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
        signal(SIGRTMAX, SIG_IGN);
        signal(SIGUSR1, on_signal);
        signal(SIGCHLD, on_signal);
        signal(SIGRTMIN, on_signal);
        sigemptyset(&set);
        sigaddset(&set, SIGUSR2);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGRTMAX);
        pthread_sigmask(SIG_SETMASK, &set, NULL);
}

static void expect_odd_signals(void)
{
        struct sigaction action;

        if (sigaction(SIGINT, NULL, &action) < 0 || action.sa_handler != SIG_IGN ||
                sigaction(SIGRTMAX, NULL, &action) < 0 || action.sa_handler != SIG_IGN ||
                sigaction(SIGUSR1, NULL, &action) < 0 || action.sa_handler != on_signal)
                complain("a signal of the agent was reset");
}

static void signals_are_as_at_boot(void **state)
{
        AUTO(mem_freep) char *spec = spec_of_self("");
        struct bend bend = {
                .spec = spec, .before = be_odd_about_signals, .after = expect_odd_signals
        };

        (void) state;
        run_report(&bend);
        expect_line("SigBlk:\t0000000000000000");
        expect_line("SigIgn:\t0000000000000000");
}

/* Descriptors below, beside and far above that of the lock, none of them close-on-exec. */
static void open_many(void)
{
        int null = open("/dev/null", O_RDWR);

        for (int i = 0; i < 20; i++)
                if (dup(null) < 0)
                        _exit(3);
        if (dup2(null, 200) < 0 || fcntl(null, F_DUPFD, 60) < 0)
                _exit(3);
}

static void no_descriptor_of_the_agent_is_inherited(void **state)
{
        AUTO(mem_freep) char *spec = spec_of_self("");
        struct bend bend = { .spec = spec, .before = open_many, .late = open_many };

        (void) state;
        run_report(&bend);
        assert_int_equal(count_lines("fd "), 3);
        assert_int_equal(count_lines("fd 0="), 1);
        assert_int_equal(count_lines("fd 1="), 1);
        assert_int_equal(count_lines("fd 2="), 1);
}

static void close_standard(void)
{
        close(0);
        close(1);
        close(2);
}

static void an_agent_without_standard_descriptors_can_start_processes(void **state)
{
        AUTO(mem_freep) char *spec = spec_of_self("");
        struct bend bend = { .spec = spec, .late = close_standard };

        (void) state;
        run_report(&bend);
        assert_int_equal(count_lines("fd "), 3);
        expect_line("fd 0=/dev/null %d", O_RDONLY);
        expect_line("fd 1=%s %d", p.fifos[0], O_RDWR);
        expect_line("fd 2=%s %d", p.fifos[1], O_RDWR);
}

static void limit_descriptors(void)
{
        setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 321, 654 });
}

static void expect_more_descriptors(void)
{
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur < 654)
                complain("the agent has not raised its own limit");
}

static void the_limit_of_descriptors_is_the_one_before_us(void **state)
{
        AUTO(mem_freep) char *spec = spec_of_self("");
        struct bend bend = {
                .spec = spec, .before = limit_descriptors, .after = expect_more_descriptors
        };

        (void) state;
        run_report(&bend);
        expect_line("nofile=321 654");
}

static void a_shell_runs_a_command_of_one_string(void **state)
{
        struct bend bend = { .spec = "{\"command\":\"echo $((40 + 2)) \\\"$A\\\"; exit 5\","
                                     "\"env\":{\"A\":\"a  b\"}}" };

        (void) state;
        run(&bend);
        assert_int_equal(p.outcome->rc, 0);
        assert_string_equal(p.out.data, "42 a  b\n");
        assert_true(WIFEXITED(p.status) && WEXITSTATUS(p.status) == 5);
}

/* ---- where programs are found */

static void write_script(const char *name, const char *text, mode_t mode)
{
        AUTO(mem_freep) char *path = mem_printf("%s/%s", p.dir, name);

        assert_int_equal(file_replace(path, text, strlen(text), mode, false, NULL), 0);
        assert_int_equal(chmod(path, mode), 0);
}

static void programs_are_found_along_the_path_of_the_spec(void **state)
{
        AUTO(mem_freep)
        char *spec = mem_printf("{\"command\":[\"reeve-test-script\",\"x\"],"
                                "\"env\":{\"PATH\":\"/nowhere::%s:/bin\"}}",
                p.dir);
        struct bend bend = { .spec = spec };

        (void) state;
        write_script("reeve-test-script", "#!/bin/sh\necho \"found $1 $PATH\"\n", 0755);
        run(&bend);
        assert_int_equal(p.outcome->rc, 0);
        assert_non_null(strstr(p.out.data, "found x /nowhere::/tmp/"));
}

static void what_cannot_be_executed_is_passed_over(void **state)
{
        AUTO(mem_freep)
        char *spec = mem_printf(
                "{\"command\":[\"true\"],\"env\":{\"PATH\":\"%s:/usr/bin:/bin\"}}", p.dir);
        struct bend bend = { .spec = spec };

        (void) state;
        write_script("true", "#!/bin/sh\nexit 9\n", 0644);
        run(&bend);
        assert_int_equal(p.outcome->rc, 0);
        assert_true(WIFEXITED(p.status) && WEXITSTATUS(p.status) == 0);
}

/* ---- failures: each has its sentence */

static void expect_failure(
        const struct bend *bend, enum spawn_step step, enum error_code code, const char *sentence)
{
        struct error again = ERROR_INIT;
        struct spawn_plan plan = { 0 };

        run(bend);
        assert_int_equal(p.outcome->rc, -1);
        assert_string_equal(p.outcome->err.message, sentence);
        assert_int_equal(p.outcome->err.code, code);
        assert_int_equal(p.outcome->record.failed_step, step);
        assert_int_equal(p.outcome->record.run, RUN);
        assert_true(WIFEXITED(p.status) && WEXITSTATUS(p.status) == 127);

        /* the next agent finds the same words in the record */
        assert_int_equal(make_plan(bend->spec, &plan, &again), 0);
        assert_int_equal(spawn_failure(&plan, &p.outcome->record, &again), -1);
        assert_string_equal(again.message, sentence);
        spawn_plan_done(&plan);
}

static void programs_that_cannot_be_executed(void **state)
{
        static const struct {
                const char *name, *text;
                mode_t mode;
                enum error_code code;
                const char *why;
        } programs[] = {
                { "missing", NULL, 0, ERR_NOT_FOUND, "No such file or directory" },
                { "plain", "#!/bin/sh\n", 0644, ERR_DENIED, "Permission denied" },
                { "text", "echo\n", 0755, ERR_SYSTEM, "Exec format error" },
                { "strange", "#!/not/there\n", 0755, ERR_NOT_FOUND, "No such file or directory" },
                { ".", NULL, 0, ERR_DENIED, "Permission denied" },
                { "plain/x", NULL, 0, ERR_SYSTEM, "Not a directory" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
                AUTO(mem_freep)
                char *spec = mem_printf("{\"command\":[\"%s/%s\"]}", p.dir, programs[i].name);
                AUTO(mem_freep)
                char *sentence = mem_printf("command: cannot execute %s/%s: %s", p.dir,
                        programs[i].name, programs[i].why);
                struct bend bend = { .spec = spec };

                if (programs[i].text != NULL)
                        write_script(programs[i].name, programs[i].text, programs[i].mode);
                run(&bend);
                assert_int_equal(p.outcome->rc, -1);
                assert_string_equal(p.outcome->err.message, sentence);
                expect_failure(&bend, SPAWN_STEP_EXECUTE, p.outcome->err.code, sentence);
                if (programs[i].code != ERR_SYSTEM)
                        assert_int_equal(p.outcome->err.code, programs[i].code);
        }
}

static void a_program_that_is_nowhere(void **state)
{
        struct bend bend = { .spec = "{\"command\":[\"reeve-no-such-program\"]}" };

        (void) state;
        expect_failure(&bend, SPAWN_STEP_EXECUTE, ERR_NOT_FOUND,
                "command: cannot execute reeve-no-such-program: No such file or directory");
}

static void directories_that_cannot_be_entered(void **state)
{
        struct bend missing = { .spec = "{\"command\":[\"true\"],\"directory\":\"/not/there\"}" };
        struct bend file = { .spec = "{\"command\":[\"true\"],\"directory\":\"/dev/null\"}" };

        (void) state;
        expect_failure(&missing, SPAWN_STEP_DIRECTORY, ERR_NOT_FOUND,
                "directory: cannot enter /not/there: No such file or directory");
        run(&file);
        expect_failure(&file, SPAWN_STEP_DIRECTORY, p.outcome->err.code,
                "directory: cannot enter /dev/null: Not a directory");
}

static void fifos_that_are_not_there(void **state)
{
        struct bend bend = { .spec = "{\"command\":[\"true\"]}", .fifos = { "/not/there" } };

        (void) state;
        expect_failure(&bend, SPAWN_STEP_STDOUT, ERR_NOT_FOUND,
                "open the FIFO for stdout: No such file or directory");
        bend.fifos[0] = NULL;
        bend.fifos[1] = "/not/there";
        expect_failure(&bend, SPAWN_STEP_STDERR, ERR_NOT_FOUND,
                "open the FIFO for stderr: No such file or directory");
}

static void enter_an_empty_root(void)
{
        if (chroot(p.dir) < 0)
                _exit(3);
}

static void a_machine_without_dev_null(void **state)
{
        struct bend bend = { .spec = "{\"command\":[\"true\"]}", .late = enter_an_empty_root };

        (void) state;
        if (geteuid() != 0)
                skip();
        expect_failure(&bend, SPAWN_STEP_STDIN, ERR_NOT_FOUND,
                "open /dev/null: No such file or directory");
}

static void a_record_of_a_step_that_we_do_not_know(void **state)
{
        struct table_run record = { .failed_step = 77, .failed_errno = -5 };
        struct spawn_plan plan = { 0 };
        struct error err = ERROR_INIT;

        (void) state;
        assert_int_equal(spawn_failure(&plan, &record, &err), -1);
        assert_string_equal(err.message, "start failed at step 77");
        record.failed_step = SPAWN_STEP_TABLE;
        record.failed_errno = EMFILE;
        spawn_failure(&plan, &record, &err);
        assert_string_equal(err.message, "begin a descriptor table: Too many open files");
        record.failed_step = SPAWN_STEP_SESSION;
        record.failed_errno = EPERM;
        spawn_failure(&plan, &record, &err);
        assert_string_equal(err.message, "begin a session: Operation not permitted");
        record.failed_step = SPAWN_STEP_GROUP;
        record.failed_errno = EINVAL;
        plan.gid = 5;
        spawn_failure(&plan, &record, &err);
        assert_string_equal(err.message, "group: become group 5: Invalid argument");
}

/* ---- users */

static void expect_no_plan(const char *spec, const char *sentence)
{
        struct spawn_plan plan = { 0 };
        struct error err = ERROR_INIT;

        assert_int_equal(make_plan(spec, &plan, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        assert_string_equal(err.message, sentence);
        assert_null(plan.argv);
}

static void users_that_do_not_exist(void **state)
{
        (void) state;
        expect_no_plan("{\"command\":[\"true\"],\"user\":\"reeve-nobody\"}",
                "user: there is no user \"reeve-nobody\" on this machine");
        expect_no_plan("{\"command\":[\"true\"],\"group\":\"reeve-nobody\"}",
                "group: there is no group \"reeve-nobody\" on this machine");
}

static void a_process_of_another_user(void **state)
{
        struct bend bend = { .spec = "{\"command\":\"cat /proc/self/status\",\"user\":\"65534\","
                                     "\"group\":\"12345\"}" };

        (void) state;
        if (geteuid() != 0)
                skip();
        run(&bend);
        if (p.outcome->rc < 0)
                fail_msg("%s", p.outcome->err.message);
        expect_line("Uid:\t65534\t65534\t65534\t65534");
        expect_line("Gid:\t12345\t12345\t12345\t12345");
        assert_null(strstr(p.out.data, "Groups:\t0"));
        expect_line("CapEff:\t0000000000000000");
}

static void become_nobody(void)
{
        if (syscall(SYS_setresgid, NOBODY, NOBODY, NOBODY) < 0 ||
                syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY) < 0)
                _exit(3);
}

static void let_everybody_in(void)
{
        assert_int_equal(chmod(p.dir, 0755), 0);
        assert_int_equal(chmod(p.fifos[0], 0666), 0);
        assert_int_equal(chmod(p.fifos[1], 0666), 0);
}

static void who_is_not_root_cannot_become_somebody_else(void **state)
{
        struct bend bend = { .spec = "{\"command\":[\"true\"],\"user\":\"1\"}",
                .late = geteuid() == 0 ? become_nobody : NULL };

        (void) state;
        let_everybody_in();
        expect_failure(&bend, SPAWN_STEP_GROUPS, ERR_DENIED,
                "user: set the supplementary groups: Operation not permitted");
}

static void drop_setuid(void)
{
        struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
        struct __user_cap_data_struct data[2];

        if (syscall(SYS_capget, &header, data) < 0)
                _exit(3);
        data[0].effective &= ~BIT(CAP_SETUID);
        if (syscall(SYS_capset, &header, data) < 0)
                _exit(3);
}

static void an_agent_that_may_not_change_its_user(void **state)
{
        struct bend bend = { .spec = "{\"command\":[\"true\"],\"user\":\"1\"}",
                .late = drop_setuid };

        (void) state;
        if (geteuid() != 0)
                skip();
        expect_failure(
                &bend, SPAWN_STEP_USER, ERR_DENIED, "user: become user 1: Operation not permitted");
}

/* ---- an agent that is killed between clone and exec */

static bool lock_is_free(void)
{
        int fd = open(p.lock, O_RDWR | O_CLOEXEC);
        bool isfree = flock(fd, LOCK_EX | LOCK_NB) == 0;

        close(fd);
        return isfree;
}

/* Whoever opens a file that somebody else has a lease on waits in open(2) until it is given back:
 * so the child stands still between clone and exec for as long as we want. */
static int take_lease(const char *path)
{
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGIO); /* tells that somebody waits */
        assert_int_equal(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
        assert_true(fd >= 0);
        if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0) {
                close(fd);
                return -1;
        }
        return fd;
}

static void await_opener(void)
{
        struct timespec patience = { .tv_sec = DEADLINE / USEC_SEC };
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGIO);
        assert_int_equal(sigtimedwait(&set, NULL, &patience), SIGIO);
}

static void a_child_of_a_killed_agent_keeps_its_lock_until_it_executes(void **state)
{
        AUTO(mem_freep) char *leased = mem_printf("%s/leased", p.dir);
        struct bend bend = { .spec = "{\"command\":[\"sleep\",\"1000\"]}", .fifos = { leased } };
        const struct table_run *record = &p.outcome->record;
        usec_t end = time_mono() + DEADLINE;
        int fd = take_lease(leased), status;
        pid_t agent;

        (void) state;
        if (fd < 0)
                skip(); /* a file system without leases */
        agent = fork_agent(&bend);
        await_opener();
        kill(agent, SIGKILL);
        wait_child(agent, &status);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

        assert_int_equal(record->run, RUN); /* who it is was written down first */
        assert_int_equal(waitpid(record->pid, &status, WNOHANG), 0); /* our child, and alive */
        assert_false(lock_is_free());

        assert_int_equal(fcntl(fd, F_SETLEASE, F_UNLCK), 0);
        while (!lock_is_free()) {
                assert_true(time_mono() < end);
                usleep(500);
        }
        assert_int_equal(waitpid(record->pid, &status, WNOHANG), 0); /* it is the task by now */
        assert_int_equal(record->failed_step, 0);
        assert_int_equal(record->parent, getpid());
        kill(record->pid, SIGKILL);
        wait_child(record->pid, &status);
        close(fd);
}

/* A pidfd and both FIFOs of the process are with the witness before the program begins. */
static void the_witness_is_told(void **state)
{
        struct bend bend = { .spec = "{\"command\":[\"sh\",\"-c\",\"exit 7\"]}" };
        struct witness_message m = { 0 };
        struct iovec iov = { &m, sizeof m };
        union {
                struct cmsghdr header;
                char room[CMSG_SPACE(8 * sizeof(int))];
        } control = { 0 };
        struct msghdr packet = { .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof control };
        int ends[2], fds[WITNESS_FDS], status;

        (void) state;
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
        bend.witness = ends[0];
        run(&bend);
        assert_int_equal(p.outcome->rc, 0);

        assert_int_equal(recvmsg(ends[1], &packet, MSG_DONTWAIT | MSG_CMSG_CLOEXEC), sizeof m);
        assert_string_equal(m.task, "test.0");
        assert_int_equal(m.run, RUN);
        assert_int_equal(control.header.cmsg_len, CMSG_LEN(sizeof fds));
        memcpy(fds, CMSG_DATA(&control.header), sizeof fds);
        for (int i = 0; i < 2; i++) {
                struct stat ours, theirs;

                assert_int_equal(fstat(p.fds[i], &ours), 0);
                assert_int_equal(fstat(fds[i == 0 ? WITNESS_STDOUT : WITNESS_STDERR], &theirs), 0);
                assert_int_equal(ours.st_ino, theirs.st_ino);
        }
        if (pidfd_exit_status(fds[WITNESS_PIDFD], &status)) /* Linux 6.15 */
                assert_int_equal(WEXITSTATUS(status), 7);
        for (int i = 0; i < WITNESS_FDS; i++)
                close(fds[i]);
        close(ends[0]);
        close(ends[1]);
}

/* Nobody waits for a witness that does not listen, or is not there any more. */
static void a_deaf_witness_holds_nothing_up(void **state)
{
        struct bend bend = { .spec = "{\"command\":[\"true\"]}" };
        struct witness_message m = { 0 };
        int ends[2];

        (void) state;
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
        while (send(ends[0], &m, sizeof m, MSG_DONTWAIT) > 0)
                continue;
        bend.witness = ends[0];
        run(&bend);
        assert_int_equal(p.outcome->rc, 0);
        close(ends[1]);
        run(&bend);
        assert_int_equal(p.outcome->rc, 0);
        close(ends[0]);
}

int main(int argc, char **argv)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TEST(a_process_finds_what_its_spec_says),
                TEST(a_process_is_described_by_its_record),
                TEST(a_spec_without_anything_has_its_defaults),
                TEST(signals_are_as_at_boot),
                TEST(the_witness_is_told),
                TEST(a_deaf_witness_holds_nothing_up),
                TEST(no_descriptor_of_the_agent_is_inherited),
                TEST(an_agent_without_standard_descriptors_can_start_processes),
                TEST(the_limit_of_descriptors_is_the_one_before_us),
                TEST(a_shell_runs_a_command_of_one_string),
                TEST(programs_are_found_along_the_path_of_the_spec),
                TEST(what_cannot_be_executed_is_passed_over),
                TEST(programs_that_cannot_be_executed),
                TEST(a_program_that_is_nowhere),
                TEST(directories_that_cannot_be_entered),
                TEST(fifos_that_are_not_there),
                TEST(a_machine_without_dev_null),
                TEST(a_record_of_a_step_that_we_do_not_know),
                TEST(users_that_do_not_exist),
                TEST(a_process_of_another_user),
                TEST(who_is_not_root_cannot_become_somebody_else),
                TEST(an_agent_that_may_not_change_its_user),
                TEST(a_child_of_a_killed_agent_keeps_its_lock_until_it_executes),
        };

        if (argc > 1 && strcmp(argv[1], "--report") == 0)
                return report(argc, argv);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
