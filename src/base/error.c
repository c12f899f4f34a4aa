/* SPDX-License-Identifier: BSD-3-Clause */
/* Errors: a code for programs and one sentence for people, grown from the inside out. The deepest
 * level names the thing that failed, each level above puts in front what it was trying to do.
 * Nothing here allocates. */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
        const char *name;
        int http;
        int exit;
} codes[ERR_CODE_COUNT] = {
        [ERR_NONE] = { "none", 200, 0 },
        [ERR_INVALID] = { "invalid", 400, 2 },
        [ERR_NOT_FOUND] = { "not-found", 404, 3 },
        [ERR_CONFLICT] = { "conflict", 409, 4 },
        [ERR_DENIED] = { "denied", 401, 5 },
        [ERR_UNAVAILABLE] = { "unavailable", 503, 6 },
        [ERR_TIMEOUT] = { "timeout", 504, 7 },
        [ERR_TOO_LARGE] = { "too-large", 413, 8 },
        [ERR_NO_SPACE] = { "no-space", 507, 9 },
        [ERR_SYSTEM] = { "system", 500, 1 },
};

static enum error_code code_from_errno(int sys_errno)
{
        switch (sys_errno) {
        case ENOENT:
        case ESRCH:
                return ERR_NOT_FOUND;
        case EACCES:
        case EPERM:
                return ERR_DENIED;
        case EEXIST:
        case EBUSY:
        case EADDRINUSE:
                return ERR_CONFLICT;
        case ENOSPC:
        case EDQUOT:
                return ERR_NO_SPACE;
        case ECONNREFUSED:
        case ECONNRESET:
        case EPIPE:
                return ERR_UNAVAILABLE;
        case ETIMEDOUT:
                return ERR_TIMEOUT;
        case EINVAL:
        case ENAMETOOLONG:
        case ENOTDIR:
        case EISDIR:
                return ERR_INVALID;
        default:
                return ERR_SYSTEM;
        }
}

int error_set(struct error *err, enum error_code code, const char *format, ...)
{
        va_list ap;

        if (err == NULL)
                return -1;
        err->code = code;
        err->sys_errno = 0;
        va_start(ap, format);
        vsnprintf(err->message, sizeof err->message, format, ap);
        va_end(ap);
        return -1;
}

int error_sys(struct error *err, int sys_errno, const char *format, ...)
{
        va_list ap;
        size_t used;

        if (err == NULL)
                return -1;
        err->code = code_from_errno(sys_errno);
        err->sys_errno = sys_errno;
        va_start(ap, format);
        vsnprintf(err->message, sizeof err->message, format, ap);
        va_end(ap);
        used = strlen(err->message);
        snprintf(err->message + used, sizeof err->message - used, ": %s", strerror(sys_errno));
        return -1;
}

int error_wrap(struct error *err, const char *format, ...)
{
        char inner[sizeof err->message];
        va_list ap;
        size_t used;

        if (err == NULL)
                return -1;
        memcpy(inner, err->message, sizeof inner);
        va_start(ap, format);
        vsnprintf(err->message, sizeof err->message, format, ap);
        va_end(ap);
        used = strlen(err->message);
        snprintf(err->message + used, sizeof err->message - used, ": %s", inner);
        return -1;
}

const char *error_code_name(enum error_code code)
{
        return codes[code].name;
}

int error_code_http(enum error_code code)
{
        return codes[code].http;
}

int error_code_exit(enum error_code code)
{
        return codes[code].exit;
}

enum error_code error_code_from_http(int status)
{
        for (int i = 1; i < ERR_CODE_COUNT; i++)
                if (codes[i].http == status)
                        return (enum error_code) i;
        return status == 403 ? ERR_DENIED : ERR_SYSTEM;
}

enum error_code error_code_from_name(const char *name)
{
        for (int i = 0; i < ERR_CODE_COUNT; i++)
                if (strcmp(codes[i].name, name) == 0)
                        return (enum error_code) i;
        return ERR_SYSTEM;
}
