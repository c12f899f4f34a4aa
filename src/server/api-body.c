/* SPDX-License-Identifier: BSD-3-Clause */
/* Bodies: the small JSON objects that requests carry, a member at a time. */
#include "server/api.h"

#include <stdlib.h>

json_t *api_body_object(struct http_request *req, struct error *err)
{
        size_t len;
        const char *body = http_request_body(req, &len);
        json_error_t why;
        json_t *json =
                len == 0 ? json_object() : json_loadb(body, len, JSON_REJECT_DUPLICATES, &why);

        if (json_is_object(json))
                return json;
        if (json == NULL)
                error_set(err, ERR_INVALID, "request:%d: %s", why.line, why.text);
        else
                error_set(err, ERR_INVALID, "request: expected an object");
        json_decref(json);
        return NULL;
}

int api_body_text(const json_t *object, const char *name, char **ret, struct error *err)
{
        json_t *member = json_object_get(object, name);

        if (member != NULL && !json_is_null(member) && !json_is_string(member))
                return error_set(err, ERR_INVALID, "%s: expected text", name);
        /* json_string_value() is const only to say that the bytes are jansson's */
        *ret = member == NULL ? NULL : (char *) (uintptr_t) json_string_value(member);
        return 0;
}

int api_body_number(const json_t *object, const char *name, int64_t *ret, struct error *err)
{
        json_t *member = json_object_get(object, name);

        if (member == NULL || json_is_null(member))
                return 0;
        if (!json_is_integer(member) || json_integer_value(member) < 1)
                return error_set(err, ERR_INVALID, "%s: expected a number from 1", name);
        *ret = json_integer_value(member);
        return 0;
}

int api_body_flag(const json_t *object, const char *name, bool *ret, struct error *err)
{
        json_t *member = json_object_get(object, name);

        if (member == NULL || json_is_null(member))
                return 0;
        if (!json_is_boolean(member))
                return error_set(err, ERR_INVALID, "%s: expected true or false", name);
        *ret = json_is_true(member);
        return 0;
}

int api_body_span(const json_t *object, const char *name, usec_t *ret, struct error *err)
{
        json_t *member = json_object_get(object, name);
        const char *text = json_string_value(member);
        char number[24];

        if (member == NULL || json_is_null(member))
                return 0;
        if (json_is_integer(member)) {
                snprintf(
                        number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(member));
                text = number;
        }
        if (text == NULL || !time_parse_span(text, ret))
                return error_set(err, ERR_INVALID, "%s: expected a duration such as 10m%s%s%s",
                        name, text != NULL ? ", got \"" : "", text != NULL ? text : "",
                        text != NULL ? "\"" : "");
        return 0;
}
