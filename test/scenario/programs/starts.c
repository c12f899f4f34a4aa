/* SPDX-License-Identifier: BSD-3-Clause */
/* starts DIR: notes that it began, then runs until it is ended. */
#include <unistd.h>

#include "common.h"

int main(int argc, char **argv)
{
        if (argc != 2)
                return 2;
        begin(argv[1]);
        for (;;)
                pause();
}
