/* SPDX-License-Identifier: BSD-3-Clause */
/* The task of the measurements: says that it is up, then waits for a signal.
 *
 * It is as small as a process can be, so that what is measured is the supervisor: no C library, a
 * few pages, five system calls. To be up is to write one record, its process number and the
 * monotonic time, to the FIFO named by REEVE_BENCH_UP or, without it, by argv[1]: not every
 * supervisor passes arguments, s6 passes one of its own, and not every one passes its environment.
 * The time is taken here, so a reader that looks only now and then measures as well as one that is
 * woken by each record, and disturbs less. TERM ends it by default action. */
#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/time.h>
#include <linux/time_types.h>

#if defined(__x86_64__)
__asm__(".globl _start\n"
        "_start: xor %ebp, %ebp\n"
        "mov %rsp, %rdi\n"
        "and $-16, %rsp\n"
        "call child_main\n");

static long call(long number, long a, long b, long c, long d)
{
        register long r10 __asm__("r10") = d;
        long result;

        __asm__ volatile("syscall"
                         : "=a"(result)
                         : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
                         : "rcx", "r11", "memory");
        return result;
}
#elif defined(__aarch64__)
__asm__(".globl _start\n"
        "_start: mov x29, #0\n"
        "mov x30, #0\n"
        "mov x0, sp\n"
        "bl child_main\n");

static long call(long number, long a, long b, long c, long d)
{
        register long x8 __asm__("x8") = number;
        register long x0 __asm__("x0") = a;
        register long x1 __asm__("x1") = b;
        register long x2 __asm__("x2") = c;
        register long x3 __asm__("x3") = d;

        __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
        return x0;
}
#else
#error "bench/child.c knows x86_64 and aarch64; add the two instructions of yours"
#endif

/* What the driver reads; see bench/measure.py. */
struct record {
        long long pid;
        long long nanoseconds;
};

static const char variable[] = "REEVE_BENCH_UP=";

static const char *value_if_ours(const char *entry)
{
        const char *name = variable;

        while (*name != '\0' && *entry == *name) {
                entry++;
                name++;
        }
        return *name == '\0' ? entry : 0;
}

static const char *find_path(long argc, char **argv)
{
        char **envp = argv + argc + 1;
        const char *path = 0;

        while (path == 0 && *envp != 0)
                path = value_if_ours(*envp++);
        return path == 0 && argc > 1 ? argv[1] : path;
}

static void report(const char *path)
{
        struct __kernel_timespec now;
        struct record r;
        long fd = call(__NR_openat, AT_FDCWD, (long) path, O_WRONLY, 0);

        call(__NR_clock_gettime, CLOCK_MONOTONIC, (long) &now, 0, 0);
        r.pid = call(__NR_getpid, 0, 0, 0, 0);
        r.nanoseconds = now.tv_sec * 1000000000LL + now.tv_nsec;
        call(__NR_write, fd, (long) &r, sizeof r, 0);
        call(__NR_close, fd, 0, 0, 0);
}

__attribute__((noreturn, used)) void child_main(long *stack);

void child_main(long *stack)
{
        const char *path = find_path(stack[0], (char **) (stack + 1));

        if (path != 0)
                report(path);
        for (;;)
                call(__NR_ppoll, 0, 0, 0, 0);
}
