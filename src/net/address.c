/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses as people write them: "unix:/run/reeve/reeve.sock", "https://host:7433", ":7433".
 *
 * Only the text is judged here; names are looked up when a connection is made (net/conn). A path or
 * a query behind the port is refused: an address says where a server is, not what is asked of it.
 */
#include "net/address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

static int parse_unix(const char *path, struct address *ret, struct error *err)
{
        if (path[0] != '/')
                return error_set(err, ERR_INVALID,
                        "address \"unix:%s\": expected an absolute path, as in "
                        "\"unix:/run/x.sock\"",
                        path);
        if (strlen(path) >= sizeof ret->path)
                return error_set(err, ERR_INVALID,
                        "address \"unix:%s\": a socket's path has at most %zu bytes", path,
                        sizeof ret->path - 1);

        *ret = (struct address){ .is_unix = true };
        memcpy(ret->path, path, strlen(path) + 1);
        return 0;
}

/* In brackets: an IPv6 address, and the interface it belongs to ("fe80::1%eth0"). */
static bool host_is_sane(const char *host, size_t len, bool bracketed)
{
        for (size_t i = 0; i < len; i++)
                if (!isalnum((unsigned char) host[i]) &&
                        (host[i] == '\0' || strchr(bracketed ? ":.%-_" : ".-_", host[i]) == NULL))
                        return false;
        return true;
}

/* @text is what stands in front of the first '/': host, [host], host:port, [host]:port, :port. */
static int parse_host_port(
        const char *whole, const char *text, struct address *ret, struct error *err)
{
        struct address a = { .port = ADDRESS_DEFAULT_PORT };
        bool bracketed = text[0] == '[';
        const char *host = bracketed ? text + 1 : text;
        size_t len = strcspn(host, bracketed ? "]" : ":");
        const char *rest = host + len;
        int64_t port;

        if (bracketed && *rest++ != ']')
                return error_set(err, ERR_INVALID, "address \"%s\": \"[\" without \"]\"", whole);
        if (len >= sizeof a.host || !host_is_sane(host, len, bracketed))
                return error_set(err, ERR_INVALID, "address \"%s\": not a host name", whole);
        if (*rest != '\0') {
                if (*rest != ':' || !text_parse_int(rest + 1, 0, UINT16_MAX, &port))
                        return error_set(err, ERR_INVALID,
                                "address \"%s\": expected a port from 0 to 65535 behind the host "
                                "(an IPv6 address stands in brackets)",
                                whole);
                a.port = (uint16_t) port;
        }
        if (len == 0 && *rest == '\0')
                return error_set(err, ERR_INVALID, "address \"%s\": no host and no port", whole);

        memcpy(a.host, host, len);
        *ret = a;
        return 0;
}

int address_parse(const char *text, struct address *ret, struct error *err)
{
        char authority[sizeof ret->host + 32];
        const char *start = text;
        size_t len;

        if (strncasecmp(text, "unix:", 5) == 0)
                return parse_unix(text + 5, ret, err);
        if (text[0] == '/')
                return error_set(err, ERR_INVALID,
                        "address \"%s\": the path of a socket is written \"unix:%s\"", text, text);
        if (strncasecmp(text, "https://", 8) == 0)
                start += 8;
        else if (strncasecmp(text, "http://", 7) == 0)
                start += 7;

        len = strcspn(start, "/");
        if (len >= sizeof authority)
                return error_set(err, ERR_INVALID, "address \"%s\": too long", text);
        if (start[len] == '/' && start[len + 1] != '\0')
                return error_set(err, ERR_INVALID,
                        "address \"%s\": expected nothing behind the host and port", text);
        memcpy(authority, start, len);
        authority[len] = '\0';
        if (parse_host_port(text, authority, ret, err) < 0)
                return -1;
        ret->tls = start == text + 8;
        return 0;
}

const char *address_format(char text[ADDRESS_TEXT_MAX], const struct address *address)
{
        const char *scheme = address->tls ? "https://" : "http://", *host = address->host;
        unsigned port = address->port;

        if (address->is_unix)
                snprintf(text, ADDRESS_TEXT_MAX, "unix:%s", address->path);
        else if (host[0] == '\0')
                snprintf(text, ADDRESS_TEXT_MAX, "%s:%u", address->tls ? scheme : "", port);
        else if (strchr(host, ':') != NULL)
                snprintf(text, ADDRESS_TEXT_MAX, "%s[%s]:%u", scheme, host, port);
        else
                snprintf(text, ADDRESS_TEXT_MAX, "%s%s:%u", scheme, host, port);
        return text;
}

bool address_is_loopback(const struct address *address)
{
        struct in_addr v4;
        struct in6_addr v6;

        if (address->is_unix || strcasecmp(address->host, "localhost") == 0)
                return true;
        if (inet_pton(AF_INET, address->host, &v4) == 1)
                return (ntohl(v4.s_addr) >> 24) == 127;
        return inet_pton(AF_INET6, address->host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}
