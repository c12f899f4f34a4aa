/* SPDX-License-Identifier: BSD-3-Clause */
/* Attributes: what is known of a node, kept as one sorted list of "name=value".
 *
 * A node has a dozen of them and they hardly ever change, but every constraint of every job asks
 * for them: so looking one up is a binary search without allocation, and setting one moves the
 * rest. What comes from outside is checked here and nowhere else: a name and a value that were
 * taken are safe in JSON, in a constraint, in a listing. Nothing here knows what an attribute
 * means. */
#include "model/attributes.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"

const struct attribute_known attributes_known[] = {
        { ATTRIBUTE_NAME, "the name of the node" },
        { ATTRIBUTE_ZONE, "its zone, if it was given one" },
        { ATTRIBUTE_ARCH, "the architecture: `x86_64`, `aarch64`" },
        { ATTRIBUTE_KERNEL, "the release of the kernel: `6.1.0-18-amd64`" },
        { ATTRIBUTE_OS, "the operating system" },
        { ATTRIBUTE_CORES, "processors" },
        { ATTRIBUTE_MEMORY, "bytes of memory" },
        { ATTRIBUTE_DISK, "bytes of disk space" },
        { ATTRIBUTE_CGROUP, "which cgroups there are: `1`, `2` or `hybrid`" },
        { ATTRIBUTE_LIMITS,
                "what of `limits` can be limited for all processes of a task together: of "
                "`memory`, `swap`, `cpu`, `pids` and `io` (`limits ~ memory`), or `none`" },
        { ATTRIBUTE_VERSION, "the version of Reeve" },
        { NULL, NULL },
};

bool attribute_is_name(const char *name)
{
        size_t len = 0;

        if (!isalpha((unsigned char) name[0]))
                return false;
        while (isalnum((unsigned char) name[len]) ||
                (name[len] != '\0' && strchr("_.-", name[len]) != NULL))
                len++;
        return name[len] == '\0' && len <= ATTRIBUTE_NAME_MAX;
}

/* jansson takes exactly the texts that are valid UTF-8. */
static bool is_utf8(const char *text)
{
        json_t *string = json_string(text);

        json_decref(string);
        return string != NULL;
}

bool attribute_is_value(const char *value)
{
        size_t len = strlen(value);

        if (len == 0 || len > ATTRIBUTE_VALUE_MAX || value[0] == ' ' || value[len - 1] == ' ')
                return false;
        for (size_t i = 0; i < len; i++)
                if (iscntrl((unsigned char) value[i]))
                        return false;
        return is_utf8(value);
}

/* Orders a pair's name and @name. */
static int compare_name(const char *pair, const char *name, size_t name_len)
{
        size_t len = strcspn(pair, "=");
        int order = memcmp(pair, name, MIN(len, name_len));

        return order != 0 ? order : (len > name_len) - (len < name_len);
}

/* Where @name is, or where it would go. */
static size_t find(const struct attributes *a, const char *name, size_t name_len, bool *ret_found)
{
        size_t low = 0, high = a->len;

        *ret_found = false;
        while (low < high && !*ret_found) {
                size_t middle = low + (high - low) / 2;
                int order = compare_name(a->pairs[middle], name, name_len);

                *ret_found = order == 0;
                if (order < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return high;
}

const char *attributes_get(const struct attributes *a, const char *name)
{
        size_t len = strlen(name);
        bool found;
        size_t at = find(a, name, len, &found);

        return found ? a->pairs[at] + len + 1 : NULL;
}

static void remove_at(struct attributes *a, size_t at)
{
        free(a->pairs[at]);
        a->len--;
        memmove(&a->pairs[at], &a->pairs[at + 1], (a->len - at) * sizeof a->pairs[0]);
}

static void insert_at(struct attributes *a, size_t at, char *pair)
{
        a->pairs = mem_resize(a->pairs, a->len + 1, sizeof a->pairs[0]);
        memmove(&a->pairs[at + 1], &a->pairs[at], (a->len - at) * sizeof a->pairs[0]);
        a->pairs[at] = pair;
        a->len++;
}

int attributes_set(struct attributes *a, const char *name, const char *value, struct error *err)
{
        bool found;
        size_t at;

        if (!attribute_is_name(name))
                return error_set(err, ERR_INVALID, "\"%.80s\" is not the name of an attribute: %s",
                        name, ATTRIBUTE_NAME_HELP);
        if (value != NULL && !attribute_is_value(value))
                return error_set(err, ERR_INVALID,
                        "attribute %s: expected 1 to %d bytes of text, no control characters, no "
                        "space at either end",
                        name, ATTRIBUTE_VALUE_MAX);
        at = find(a, name, strlen(name), &found);
        if (value != NULL && !found && a->len >= ATTRIBUTES_MAX)
                return error_set(err, ERR_TOO_LARGE, "attribute %s: a node has at most %d", name,
                        ATTRIBUTES_MAX);
        if (found)
                remove_at(a, at);
        if (value != NULL)
                insert_at(a, at, mem_printf("%s=%s", name, value));
        return 0;
}

int attributes_set_pair(struct attributes *a, const char *pair, struct error *err)
{
        const char *equals = strchr(pair, '=');
        AUTO(mem_freep) char *name = NULL;

        if (equals == NULL)
                return error_set(err, ERR_INVALID,
                        "expected an attribute as NAME=VALUE, got \"%.80s\"", pair);
        name = mem_strndup(pair, (size_t) (equals - pair));
        return attributes_set(a, name, equals + 1, err);
}

void attributes_copy(const struct attributes *a, struct attributes *ret)
{
        ret->len = a->len;
        ret->pairs = a->len > 0 ? mem_alloc(a->len * sizeof ret->pairs[0]) : NULL;
        for (size_t i = 0; i < a->len; i++)
                ret->pairs[i] = mem_strdup(a->pairs[i]);
}

bool attributes_equal(const struct attributes *a, const struct attributes *b)
{
        if (a->len != b->len)
                return false;
        for (size_t i = 0; i < a->len; i++)
                if (strcmp(a->pairs[i], b->pairs[i]) != 0)
                        return false;
        return true;
}

void attributes_done(struct attributes *a)
{
        for (size_t i = 0; i < a->len; i++)
                free(a->pairs[i]);
        free(a->pairs);
        *a = (struct attributes){ 0 };
}

json_t *attributes_to_json(const struct attributes *a)
{
        json_t *object = json_object();

        for (size_t i = 0; i < a->len; i++) {
                const char *pair = a->pairs[i];
                size_t len = strcspn(pair, "=");

                json_object_setn_new(object, pair, len, json_string(pair + len + 1));
        }
        return object;
}

static int set_from_json(
        struct attributes *a, const char *name, const json_t *value, struct error *err)
{
        const char *text = json_string_value(value);

        if (text == NULL || strlen(text) != json_string_length(value))
                return error_set(err, ERR_INVALID, "attribute %.80s: expected text", name);
        return attributes_set(a, name, text, err);
}

int attributes_from_json(const json_t *object, struct attributes *ret, struct error *err)
{
        AUTO(attributes_done) struct attributes a = { 0 };
        const char *name;
        json_t *value;

        if (!json_is_object(object))
                return error_set(err, ERR_INVALID, "expected an object of names and texts");
        json_object_foreach ((json_t *) (uintptr_t) object, name, value)
                if (!json_is_null(value) && set_from_json(&a, name, value, err) < 0)
                        return -1;
        *ret = a;
        a = (struct attributes){ 0 };
        return 0;
}
