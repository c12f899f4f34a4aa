/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "model/job.h"

/* A job made of a template: its spec with some fields set anew. */

/* The spec of @name, made of @template (whose `template` may be false: that is the caller's
 * affair), with the members of the object @set (NULL: none) put over it: {"count": 3,
 * "restart.delay": "2s", "env.LEVEL": "debug"}. A member's name is the path of one field as in
 * docs/job.md; below `env` it is a variable. null is the field's default, or no such variable. What
 * the template has not set follows the new values: its defaults are those of the new kind.
 * Messages begin with `set.PATH: ` or `jobs.NAME.`; an unknown field comes with a suggestion. */
int job_override(const struct job_spec *template, const char *name, const json_t *set,
        struct job_spec **ret, struct error *err);

/* The value that a person has written for the field @path: text as it stands for what is text, else
 * a scalar, list or object of YAML. An unknown path is no error here. New reference in *@ret. */
int job_override_value(const char *path, const char *text, json_t **ret, struct error *err);
