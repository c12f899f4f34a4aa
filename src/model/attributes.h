/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* What is known of a node, as names and texts: `arch`, `zone`, `memory`, and the operator's own.
 * Embedded by its owner; `{ 0 }` is empty and valid. */
struct attributes {
        char **pairs; /* "name=value", sorted by name, no name twice */
        size_t len;
};

#define ATTRIBUTES_MAX         128 /* of one node */
#define ATTRIBUTE_NAME_MAX     63
#define ATTRIBUTE_VALUE_MAX    255
#define ATTRIBUTE_NAME_PATTERN "^[A-Za-z][A-Za-z0-9_.-]{0,62}$"
#define ATTRIBUTE_NAME_HELP    "1 to 63 letters, digits, \"_\", \".\" and \"-\", a letter first"

/* The names that an agent gives by itself. */
#define ATTRIBUTE_NAME    "name"
#define ATTRIBUTE_ZONE    "zone"
#define ATTRIBUTE_ARCH    "arch"
#define ATTRIBUTE_KERNEL  "kernel"
#define ATTRIBUTE_OS      "os"
#define ATTRIBUTE_CORES   "cores"
#define ATTRIBUTE_MEMORY  "memory" /* bytes */
#define ATTRIBUTE_DISK    "disk"   /* bytes */
#define ATTRIBUTE_CGROUP  "cgroup" /* 1, 2 or hybrid */
#define ATTRIBUTE_LIMITS  "limits"
#define ATTRIBUTE_VERSION "reeve"

/* All of them with what they mean, for the reference page; ended by a NULL name. */
struct attribute_known {
        const char *name, *help;
};
extern const struct attribute_known attributes_known[];

/* True if @name can be the name of an attribute. */
bool attribute_is_name(const char *name);

/* True if @value can be a value: 1 to 255 bytes, no control characters, no space at either end. */
bool attribute_is_value(const char *value);

/* The value of @name, or NULL. Borrowed until the attributes change. */
const char *attributes_get(const struct attributes *a, const char *name);

/* Gives @name a value, a new one if it had one; NULL takes it away. ERR_INVALID for what cannot be
 * a name or value, ERR_TOO_LARGE beyond ATTRIBUTES_MAX; nothing is changed then. */
int attributes_set(struct attributes *a, const char *name, const char *value, struct error *err);

/* Sets what is written as "name=value", as `--attr` takes it. */
int attributes_set_pair(struct attributes *a, const char *pair, struct error *err);

/* @ret was zeroed. */
void attributes_copy(const struct attributes *a, struct attributes *ret);
bool attributes_equal(const struct attributes *a, const struct attributes *b);
void attributes_done(struct attributes *a);

/* An object of names and texts. New reference. */
json_t *attributes_to_json(const struct attributes *a);

/* Fills the zeroed @ret from such an object; null values are left out. On failure the message names
 * the attribute, and nothing is left to free. */
int attributes_from_json(const json_t *object, struct attributes *ret, struct error *err);
