/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stddef.h>

/* Runs @f on the address of the variable when it goes out of scope. @f accepts a pointer to NULL.
 */
#define AUTO(f) __attribute__((cleanup(f)))

/* Hands a pointer over: yields its value and leaves NULL behind, so that AUTO() frees nothing. */
#define take_ptr(p)                                                                                \
        __extension__({                                                                            \
                __auto_type take_ptr_ = (p);                                                       \
                (p) = NULL;                                                                        \
                take_ptr_;                                                                         \
        })

/* Hands a descriptor over: yields its number and leaves -1 behind. */
#define take_fd(fd)                                                                                \
        __extension__({                                                                            \
                int take_fd_ = (fd);                                                               \
                (fd) = -1;                                                                         \
                take_fd_;                                                                          \
        })

#define BIT(n)        (1u << (n))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
/* <uv.h> brings those of <sys/param.h> along */
#undef MIN
#undef MAX
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#define container_of(ptr, type, member) ((type *) (void *) ((char *) (ptr) -offsetof(type, member)))

#define PRINTF_LIKE(format_arg, first_arg) __attribute__((format(printf, format_arg, first_arg)))
