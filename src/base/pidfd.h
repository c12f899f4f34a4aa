/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>

/* How the process behind @pidfd ended, as wait(2) tells it: known from the moment at which it was
 * reaped, by whomever, for as long as the descriptor is open. Needs Linux 6.15 (PIDFD_INFO_EXIT);
 * false on older ones and while the process is there. */
bool pidfd_exit_status(int pidfd, int *ret_status);
