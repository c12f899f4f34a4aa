/* SPDX-License-Identifier: BSD-3-Clause */
/* Listen: where a held socket listens.
 *
 * A spec is checked when it is applied, and the same text is read again on the node that opens the
 * socket. So nothing is looked up: what a name stands for may differ from node to node, and change.
 */
#include "model/listen.h"

#include <string.h>

#include "base/text.h"

static const char unix_prefix[] = "unix:";

/* "127.0.0.1" */
static bool is_v4(const char *host)
{
        char part[4];
        int64_t number;

        for (int i = 0; i < 4; i++) {
                size_t len = strcspn(host, ".");

                if (len >= sizeof part)
                        return false;
                memcpy(part, host, len);
                part[len] = '\0';
                if (!text_parse_int(part, 0, 255, &number) || (len > 1 && part[0] == '0'))
                        return false;
                host += len;
                if (*host == '.' && i < 3)
                        host++;
        }
        return *host == '\0';
}

/* As far as it takes to tell it from a name; whatever else is wrong is told when it is opened. */
static bool is_v6(const char *host)
{
        return strchr(host, ':') != NULL && host[strspn(host, "0123456789abcdefABCDEF:.")] == '\0';
}

static int check_path(const char *path, struct error *err)
{
        if (path[0] != '/')
                return error_set(err, ERR_INVALID, "the path of a UNIX socket begins with \"/\"");
        if (strlen(path) > LISTEN_PATH_MAX)
                return error_set(err, ERR_INVALID, "the path of a UNIX socket has at most %d bytes",
                        LISTEN_PATH_MAX);
        return 0;
}

int listen_parse(const char *text, struct listen_target *ret, struct error *err)
{
        size_t len = sizeof unix_prefix - 1;

        *ret = (struct listen_target){ 0 };
        if (strncmp(text, unix_prefix, len) == 0) {
                ret->path = text + len;
                return check_path(ret->path, err);
        }
        if (probe_parse_tcp(text, &ret->address, err) < 0)
                return -1;
        ret->v6 = is_v6(ret->address.host);
        if (!ret->v6 && !is_v4(ret->address.host))
                return error_set(err, ERR_INVALID,
                        "\"%s\" is no address in numbers, such as 127.0.0.1:80, 0.0.0.0:80, "
                        "[::]:80 or unix:/run/web.sock",
                        ret->address.host);
        return 0;
}
