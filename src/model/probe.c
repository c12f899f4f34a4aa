/* SPDX-License-Identifier: BSD-3-Clause */
/* Probe targets: the texts of `ready` and `health` as host, port and path.
 *
 * A spec is checked when it is applied, with stand-ins for its variables, and the text is read
 * again on the node once they have their values. Nothing is looked up here. */
#include "model/probe.h"

#include <string.h>

#include "base/text.h"

static int parse_port(const char *text, size_t len, uint16_t *ret, struct error *err)
{
        char digits[8];
        int64_t port;

        if (len >= sizeof digits)
                return error_set(err, ERR_INVALID, "expected a port from 1 to 65535");
        memcpy(digits, text, len);
        digits[len] = '\0';
        if (!text_parse_int(digits, 1, UINT16_MAX, &port))
                return error_set(err, ERR_INVALID, "expected a port from 1 to 65535");
        *ret = (uint16_t) port;
        return 0;
}

static int take_host(const char *text, size_t len, struct probe_target *ret, struct error *err)
{
        if (len == 0)
                return error_set(err, ERR_INVALID, "there is no host in it");
        if (len >= sizeof ret->host)
                return error_set(err, ERR_INVALID, "its host is too long");
        memcpy(ret->host, text, len);
        ret->host[len] = '\0';
        if (strpbrk(ret->host, " \t\r\n@[]") != NULL)
                return error_set(err, ERR_INVALID, "\"%s\" is no host", ret->host);
        return 0;
}

/* "host:port", "[::1]:port"; @fallback: the port if there is none, 0: there must be one. */
static int parse_host_port(const char *text, size_t len, uint16_t fallback,
        struct probe_target *ret, struct error *err)
{
        bool bracket = len > 0 && text[0] == '[';
        const char *end = bracket ? memchr(text, ']', len) : memrchr(text, ':', len);
        const char *host = text + bracket, *rest;

        if (bracket && end == NULL)
                return error_set(err, ERR_INVALID, "a \"]\" is missing");
        if (end == NULL)
                end = text + len;
        if (!bracket && memchr(host, ':', (size_t) (end - host)) != NULL)
                return error_set(err, ERR_INVALID, "an IPv6 address stands in brackets: [::1]:80");
        if (take_host(host, (size_t) (end - host), ret, err) < 0)
                return -1;
        rest = end + bracket;
        ret->port = fallback;
        if (rest < text + len && *rest == ':')
                return parse_port(rest + 1, (size_t) (text + len - rest - 1), &ret->port, err);
        if (rest < text + len || fallback == 0)
                return error_set(err, ERR_INVALID, "its port is missing");
        return 0;
}

/* @url: behind its scheme. */
static int parse_url(const char *url, uint16_t port, struct probe_target *ret, struct error *err)
{
        size_t len;

        len = strcspn(url, "/?#");
        if (url[len] != '\0' && url[len] != '/')
                return error_set(err, ERR_INVALID, "a path that begins with \"/\" is missing");
        ret->path = url[len] == '/' ? url + len : "/";
        for (const char *p = ret->path; *p != '\0'; p++)
                if ((unsigned char) *p <= ' ' || (unsigned char) *p >= 0x7f || *p == '#')
                        return error_set(err, ERR_INVALID,
                                "its path has a character that must be written as %%XX");
        return parse_host_port(url, len, port, ret, err);
}

#define HTTP  "http://"
#define HTTPS "https://"

int probe_parse_http(const char *url, struct probe_target *ret, struct error *err)
{
        if (strncmp(url, HTTP, strlen(HTTP)) != 0)
                return error_set(err, ERR_INVALID,
                        "expected a URL such as \"http://127.0.0.1:8080/health\"");
        return parse_url(url + strlen(HTTP), 80, ret, err);
}

int probe_parse_url(const char *url, bool *ret_tls, struct probe_target *ret, struct error *err)
{
        *ret_tls = strncmp(url, HTTPS, strlen(HTTPS)) == 0;
        if (*ret_tls)
                return parse_url(url + strlen(HTTPS), 443, ret, err);
        if (strncmp(url, HTTP, strlen(HTTP)) != 0)
                return error_set(
                        err, ERR_INVALID, "expected a URL such as \"https://example.org/hook\"");
        return parse_url(url + strlen(HTTP), 80, ret, err);
}

int probe_parse_tcp(const char *text, struct probe_target *ret, struct error *err)
{
        ret->path = "";
        return parse_host_port(text, strlen(text), 0, ret, err);
}
