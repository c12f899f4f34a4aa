/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <linux/sched.h>
#include <sys/syscall.h>

/* System calls without the C library, for a child that borrows the memory of its parent: they leave
 * errno alone and return a negative errno. */

#if defined(__x86_64__)
static inline long raw_call(long number, long a, long b, long c, long d, long e)
{
        long r;
        register long r10 __asm__("r10") = d;
        register long r8 __asm__("r8") = e;

        __asm__ volatile("syscall"
                         : "=a"(r)
                         : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                         : "rcx", "r11", "memory");
        return r;
}

/* clone3(2) with a stack of its own for the child, which calls @main(@argument) there. @main does
 * not return. */
static inline long raw_clone3(
        const struct clone_args *args, unsigned long size, int (*main)(void *), void *argument)
{
        long r;
        register int (*r8)(void *) __asm__("r8") = main;
        register void *r9 __asm__("r9") = argument;

        __asm__ volatile("syscall\n\t"
                         "test %%rax, %%rax\n\t"
                         "jnz 1f\n\t"
                         "xor %%ebp, %%ebp\n\t"
                         "mov %%r9, %%rdi\n\t"
                         "call *%%r8\n\t"
                         "hlt\n"
                         "1:"
                         : "=a"(r)
                         : "a"((long) SYS_clone3), "D"(args), "S"(size), "r"(r8), "r"(r9)
                         : "rcx", "r11", "memory");
        return r;
}
#elif defined(__aarch64__)
static inline long raw_call(long number, long a, long b, long c, long d, long e)
{
        register long x8 __asm__("x8") = number;
        register long x0 __asm__("x0") = a;
        register long x1 __asm__("x1") = b;
        register long x2 __asm__("x2") = c;
        register long x3 __asm__("x3") = d;
        register long x4 __asm__("x4") = e;

        __asm__ volatile("svc 0"
                         : "+r"(x0)
                         : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4)
                         : "memory");
        return x0;
}

static inline long raw_clone3(
        const struct clone_args *args, unsigned long size, int (*main)(void *), void *argument)
{
        register long x8 __asm__("x8") = SYS_clone3;
        register const void *x0 __asm__("x0") = args;
        register unsigned long x1 __asm__("x1") = size;
        register int (*x10)(void *) __asm__("x10") = main;
        register void *x11 __asm__("x11") = argument;

        __asm__ volatile("svc 0\n\t"
                         "cbnz x0, 1f\n\t"
                         "mov x29, xzr\n\t"
                         "mov x0, x11\n\t"
                         "blr x10\n\t"
                         "brk #0\n"
                         "1:"
                         : "+r"(x0)
                         : "r"(x8), "r"(x1), "r"(x10), "r"(x11)
                         : "memory");
        return (long) x0;
}
#else
#error "raw.h needs the system call convention of this architecture"
#endif
