/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Include this last. From here on the compiler refuses what needs a heap: the keeper must neither
 * run out of memory nor grow, because its end costs exit statuses. vsnprintf into a buffer is fine
 * (glibc allocates only for wide characters and huge precisions). */

/* with _FORTIFY_SOURCE some of them are macros */
#undef asprintf
#undef vasprintf
#undef printf
#undef fprintf
#undef vfprintf
#undef realpath
#undef fputs
#undef puts

#pragma GCC poison malloc calloc realloc reallocarray free strdup strndup asprintf vasprintf
#pragma GCC poison printf fprintf vfprintf fopen fdopen fputs puts getline perror
#pragma GCC poison opendir setenv putenv unsetenv realpath posix_spawn
