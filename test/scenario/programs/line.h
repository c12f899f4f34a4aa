/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdint.h>
#include <stdio.h>

#define LINE_MAX_LEN 256

/* Line @n of run @run on stream 'o' or 'e'; every byte follows from these three. Writer and checker
 * both make it here. Returns its length. */
static inline size_t line_make(char *ret, char stream, unsigned long run, uint64_t n)
{
        size_t filler = (size_t) (n * 31 + run * 7) % 120;
        int len =
                snprintf(ret, LINE_MAX_LEN, "S %c %lu %llu ", stream, run, (unsigned long long) n);
        char *p = ret + len;

        for (size_t i = 0; i < filler; i++)
                *p++ = (char) ('a' + (n + i) % 26);
        *p++ = '\n';
        return (size_t) (p - ret);
}
