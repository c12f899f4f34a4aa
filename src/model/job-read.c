/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading a job spec: values from a file or a request, checked against the field table.
 *
 * The members of an object are taken in the order of the text, so the first mistake in the text is
 * the one reported; what is missing, and what two fields say together (job-check.c), is checked
 * when all were read. Null is the same as not given, so that what job_spec_to_json() writes is read
 * back. The spec is filled in value and freed as a whole on failure; nothing outside it is touched.
 */
#include <ctype.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/time.h"
#include "model/capability.h"
#include "model/job-check.h"
#include "model/job-fields.h"
#include "model/job-unknown.h"
#include "model/job.h"
#include "model/value.h"

static int read_enum(const struct reader *r, const struct value *value,
        const struct job_field *field, uint32_t *ret)
{
        AUTO(buffer_done) struct buffer words = { 0 };
        const char *word = json_string_value(value->json), *near;

        for (uint32_t i = 0; field->names[i] != NULL; i++) {
                if (word != NULL && strcmp(word, field->names[i]) == 0) {
                        *ret = i;
                        return 0;
                }
                if (i > 0)
                        buffer_puts(&words, field->names[i + 1] == NULL ? " or " : ", ");
                buffer_printf(&words, "\"%s\"", field->names[i]);
        }
        near = word == NULL ? NULL : text_nearest(word, field->names);
        value_fail_expected(r, value, "%s", buffer_str(&words));
        return near == NULL ? -1 : value_fail_more(r, "; did you mean \"%s\"?", near);
}

static int read_bool(const struct reader *r, const struct value *value, bool *ret)
{
        if (!json_is_boolean(value->json))
                return value_fail_expected(r, value, "true or false");
        *ret = json_is_true(value->json);
        return 0;
}

static int read_count(const struct reader *r, const struct value *value,
        const struct job_field *field, uint32_t *ret)
{
        json_int_t number = json_integer_value(value->json);
        const char *word = json_string_value(value->json);

        if (word != NULL && field->names != NULL && strcmp(word, field->names[0]) == 0) {
                *ret = UINT32_MAX;
                return 0;
        }
        if (json_is_real(value->json))
                return value_fail_expected(r, value, "a whole number");
        if (!json_is_integer(value->json) && field->names != NULL)
                return value_fail_expected(r, value, "a number or \"%s\"", field->names[0]);
        if (!json_is_integer(value->json))
                return value_fail_expected(r, value, "a number");
        if (number < (json_int_t) field->min || number > (json_int_t) field->max)
                return value_fail_expected(r, value, "a number from %u to %u",
                        (unsigned) field->min, (unsigned) field->max);
        *ret = (uint32_t) number;
        return 0;
}

static int read_weight(const struct reader *r, const struct value *value,
        const struct job_field *field, int32_t *ret)
{
        json_int_t number = json_integer_value(value->json), max = (json_int_t) field->max;

        if (!json_is_integer(value->json) || number == 0 || number < -max || number > max)
                return value_fail_expected(
                        r, value, "a whole number from -%d to %d, not 0", (int) max, (int) max);
        *ret = (int32_t) number;
        return 0;
}

static int read_integer(const struct reader *r, const struct value *value,
        const struct job_field *field, int32_t *ret)
{
        json_int_t number = json_integer_value(value->json);

        if (!json_is_integer(value->json) || number < (int64_t) field->min ||
                number > (int64_t) field->max)
                return value_fail_expected(r, value, "a whole number from %d to %d",
                        (int) (int64_t) field->min, (int) (int64_t) field->max);
        *ret = (int32_t) number;
        return 0;
}

/* "0.5" and "500m" are both 500. */
static bool parse_milli(const char *text, double *ret)
{
        size_t digits = strspn(text, "0123456789.");
        char *end;

        *ret = strtod(text, &end);
        if (digits == 0 || end != text + digits)
                return false;
        if (*end == '\0')
                *ret *= 1000;
        return *end == '\0' || strcmp(end, "m") == 0;
}

static int read_milli(const struct reader *r, const struct value *value,
        const struct job_field *field, uint32_t *ret)
{
        char min[JOB_MILLI_TEXT_MAX], max[JOB_MILLI_TEXT_MAX];
        const char *text = json_string_value(value->json);
        double milli = json_number_value(value->json) * 1000;

        if ((text == NULL && !json_is_number(value->json)) ||
                (text != NULL && !parse_milli(text, &milli)))
                return value_fail_expected(r, value, "a number such as 0.5 or 500m");
        if (milli < (double) field->min || milli > (double) field->max)
                return value_fail_expected(r, value, "a number from %s to %s",
                        job_format_milli(min, field->min), job_format_milli(max, field->max));
        if (fabs(milli - round(milli)) > 1e-6)
                return value_fail_expected(r, value, "a number of at most three decimals");
        *ret = (uint32_t) llround(milli);
        return 0;
}

/* Any scalar as text without NUL; @what names it in messages. The caller owns the text. */
static int read_string(const struct reader *r, const struct value *value, const char *what,
        bool may_be_empty, char **ret)
{
        AUTO(buffer_done) struct buffer text = { 0 };

        if (!value_get_text(r, value, &text))
                return value_fail_expected(r, value, "%s", what);
        if (strlen(buffer_str(&text)) != text.len)
                return value_fail(r, value, "a NUL character is not allowed");
        if (text.len == 0 && !may_be_empty)
                return value_fail_expected(r, value, "%s", what);
        *ret = buffer_take(&text);
        return 0;
}

/* @text is what a field of this type may be. */
static int check_text(
        const struct reader *r, const struct value *value, enum field_type type, const char *text)
{
        if (type == FIELD_CPUS && !job_read_cpus(text, NULL, NULL))
                return value_fail_expected(r, value, "a list of CPUs such as \"0-3,6\"");
        if ((type == FIELD_PATH || type == FIELD_PATHS) && text[0] != '/')
                return value_fail_expected(r, value, "an absolute path");
        if ((type == FIELD_NAME || type == FIELD_NAMES) && !text_is_name(text))
                return value_fail_expected(r, value,
                        "a name (1 to %d letters, digits, \"-\" and \"_\", a letter or digit "
                        "first)",
                        TEXT_NAME_MAX);
        if (type == FIELD_ATTRIBUTE && !attribute_is_name(text))
                return value_fail_expected(
                        r, value, "the name of an attribute (%s)", ATTRIBUTE_NAME_HELP);
        return 0;
}

static int read_text(const struct reader *r, const struct value *value,
        const struct job_field *field, char **ret)
{
        AUTO(mem_freep) char *text = NULL;

        if (read_string(r, value, "text", false, &text) < 0)
                return -1;
        if (check_text(r, value, field->type, text) < 0)
                return -1;
        *ret = take_ptr(text);
        return 0;
}

/* As the shell's umask has it: "022". Without quotes 022 is text as well, and 22 the number. */
static int read_octal(const struct reader *r, const struct value *value,
        const struct job_field *field, uint32_t *ret)
{
        AUTO(mem_freep) char *text = NULL;
        char *end;
        unsigned long number;

        if (read_string(r, value, "text", false, &text) < 0)
                return -1;
        number = strtoul(text, &end, 8);
        if (!isdigit((unsigned char) text[0]) || *end != '\0' || number > field->max)
                return value_fail_expected(
                        r, value, "an octal number from 0 to %lo", (unsigned long) field->max);
        *ret = (uint32_t) number;
        return 0;
}

static int read_list_text(const struct reader *r, const struct value *value,
        const struct job_field *field, char **texts, size_t len)
{
        if (read_string(r, value, "text", false, &texts[len]) < 0 ||
                check_text(r, value, field->type, texts[len]) < 0)
                return -1;
        for (size_t i = 0; i < len; i++)
                if (strcmp(texts[i], texts[len]) == 0)
                        return value_fail(r, value, "it is in the list twice");
        return 0;
}

/* One text, or a list of them. */
static int read_texts(const struct reader *r, const struct value *value,
        const struct job_field *field, char ***ret)
{
        bool list = json_is_array(value->json);
        size_t len = list ? json_array_size(value->json) : 1, i = 0;
        struct value_walk walk = { 0 };
        struct value item;

        if (len > field->max)
                return value_fail(
                        r, value, "%zu in the list; at most %u", len, (unsigned) field->max);
        if (len == 0)
                return 0;
        *ret = mem_alloc((len + 1) * sizeof **ret); /* from here on the spec owns it */
        if (!list)
                return read_list_text(r, value, field, *ret, 0);
        for (; value_next(r, value, &walk, &item); i++)
                if (read_list_text(r, &item, field, *ret, i) < 0)
                        return -1;
        return 0;
}

static int read_capabilities(const struct reader *r, const struct value *value, uint64_t *ret)
{
        struct value_walk walk = { 0 };
        struct value item;
        uint64_t kept = 0;

        if (!json_is_array(value->json))
                return value_fail_expected(r, value, "a list such as [net_bind_service], or []");
        while (value_next(r, value, &walk, &item)) {
                AUTO(mem_freep) char *text = NULL;
                int number;

                if (read_string(r, &item, "the name of a capability", false, &text) < 0)
                        return -1;
                number = capability_find(text);
                if (number < 0)
                        return value_fail_expected(
                                r, &item, "a capability such as net_bind_service");
                kept |= UINT64_C(1) << number;
        }
        *ret = kept;
        return 0;
}

static int read_constraint(
        const struct reader *r, const struct value *value, struct constraint *ret)
{
        AUTO(mem_freep) char *text = NULL;
        struct error why = ERROR_INIT;

        if (read_string(r, value, "a condition such as \"memory >= 4GiB\"", false, &text) < 0)
                return -1;
        if (constraint_parse(text, ret, &why) < 0)
                return value_fail(r, value, "%s", why.message);
        return 0;
}

/* One constraint, or a list of them. */
static int read_constraints(const struct reader *r, const struct value *value,
        const struct job_field *field, void *base)
{
        struct constraint **at = job_field_at(field, base);
        bool list = json_is_array(value->json);
        size_t len = list ? json_array_size(value->json) : 1, i = 0;
        struct value_walk walk = { 0 };
        struct value item;

        if (len > CONSTRAINT_MAX)
                return value_fail(r, value, "%zu conditions; at most %d", len, CONSTRAINT_MAX);
        if (len == 0)
                return 0;
        *at = mem_alloc(len * sizeof **at); /* from here on the spec owns it */
        memcpy((char *) base + field->offset2, &len, sizeof len);
        if (!list)
                return read_constraint(r, value, *at);
        for (; value_next(r, value, &walk, &item); i++)
                if (read_constraint(r, &item, &(*at)[i]) < 0)
                        return -1;
        return 0;
}

static int read_span(const struct reader *r, const struct value *value,
        const struct job_field *field, usec_t *ret)
{
        char min[TIME_TEXT_MAX], max[TIME_TEXT_MAX];
        const char *text = json_string_value(value->json);
        double seconds = json_number_value(value->json);
        usec_t span = 0;

        if (text == NULL && !json_is_number(value->json))
                return value_fail_expected(r, value, "a duration such as \"1m30s\"");
        if (text != NULL && (!time_parse_span(text, &span) || span == USEC_NEVER))
                return value_fail_expected(
                        r, value, "a duration such as \"1m30s\" (units: us, ms, s, m, h, d)");
        if (text == NULL && seconds >= 0 && seconds <= (double) (field->max / USEC_SEC))
                span = (usec_t) llround(seconds * (double) USEC_SEC);
        else if (text == NULL)
                span = USEC_NEVER;
        if (span < field->min || span > field->max)
                return value_fail_expected(r, value, "a duration from %s to %s",
                        time_format_exact(min, field->min), time_format_exact(max, field->max));
        *ret = span;
        return 0;
}

static int read_size(const struct reader *r, const struct value *value,
        const struct job_field *field, uint64_t *ret)
{
        char min[TEXT_SIZE_MAX], max[TEXT_SIZE_MAX];
        const char *text = json_string_value(value->json);
        json_int_t number = json_integer_value(value->json);
        uint64_t bytes;

        if (text == NULL && !json_is_integer(value->json))
                return value_fail_expected(r, value, "a size such as \"10MiB\"");
        if (text != NULL && !text_parse_size(text, &bytes))
                return value_fail_expected(r, value,
                        "a size such as \"10MiB\" (units: B, KiB, MiB, GiB, TiB, kB, MB, GB, TB)");
        if (text == NULL)
                bytes = number < 0 ? 0 : (uint64_t) number;
        if (number < 0 || bytes < field->min || bytes > field->max)
                return value_fail_expected(r, value, "a size from %s to %s",
                        text_format_size(min, field->min), text_format_size(max, field->max));
        *ret = bytes;
        return 0;
}

static bool says_unlimited(const struct value *value)
{
        const char *word = json_string_value(value->json);

        return word != NULL && strcmp(word, "unlimited") == 0;
}

static int read_limit_size(const struct reader *r, const struct value *value,
        const struct job_field *field, uint64_t *ret)
{
        if (says_unlimited(value))
                *ret = JOB_LIMIT_UNLIMITED;
        else
                return read_size(r, value, field, ret);
        return 0;
}

static int read_limit(const struct reader *r, const struct value *value,
        const struct job_field *field, uint64_t *ret)
{
        json_int_t number = json_integer_value(value->json);

        if (says_unlimited(value)) {
                *ret = JOB_LIMIT_UNLIMITED;
                return 0;
        }
        if (!json_is_integer(value->json) || number < (json_int_t) field->min ||
                number > (json_int_t) field->max)
                return value_fail_expected(r, value, "a number from %u to %u, or \"unlimited\"",
                        (unsigned) field->min, (unsigned) field->max);
        *ret = (uint64_t) number;
        return 0;
}

static int read_exit_code(const struct reader *r, const struct value *value, int *ret)
{
        json_int_t code = json_integer_value(value->json);

        if (!json_is_integer(value->json) || code < 0 || code > JOB_EXIT_CODE_MAX)
                return value_fail_expected(
                        r, value, "an exit code from 0 to %d", JOB_EXIT_CODE_MAX);
        *ret = (int) code;
        return 0;
}

static int read_signal(const struct reader *r, const struct value *value, int *ret)
{
        const char *name = json_string_value(value->json);
        json_int_t number = json_integer_value(value->json);
        int sig = 0;

        if (name != NULL)
                sig = text_parse_signal(name);
        else if (json_is_integer(value->json) && number >= 1 && number <= SIGRTMAX)
                sig = (int) number;
        if (sig == 0)
                return value_fail_expected(r, value, "a signal such as TERM or 15");
        *ret = sig;
        return 0;
}

static int read_int(
        const struct reader *r, const struct value *value, const struct job_field *field, int *ret)
{
        return field->type == FIELD_SIGNALS ? read_signal(r, value, ret)
                                            : read_exit_code(r, value, ret);
}

static int compare_ints(const void *a, const void *b)
{
        int x = *(const int *) a, y = *(const int *) b;

        return (x > y) - (x < y);
}

/* Sorts, and drops what is there twice: two lists that mean the same are the same. */
static size_t sort_unique(int *values, size_t len)
{
        size_t kept = 0;

        qsort(values, len, sizeof *values, compare_ints);
        for (size_t i = 0; i < len; i++)
                if (kept == 0 || values[i] != values[kept - 1])
                        values[kept++] = values[i];
        return kept;
}

/* One value, or a list of them. */
static int read_ints(const struct reader *r, const struct value *value,
        const struct job_field *field, void *base)
{
        AUTO(mem_freep) int *values = NULL;
        int **at = job_field_at(field, base);
        struct value_walk walk = { 0 };
        struct value item;
        size_t len = 0;

        values = mem_resize(NULL, MAX(json_array_size(value->json), (size_t) 1), sizeof *values);
        if (!json_is_array(value->json) && read_int(r, value, field, &values[len++]) < 0)
                return -1;
        while (json_is_array(value->json) && value_next(r, value, &walk, &item))
                if (read_int(r, &item, field, &values[len++]) < 0)
                        return -1;
        if (len == 0)
                return value_fail(r, value, "the list is empty");
        len = sort_unique(values, len);
        free(*at);
        *at = take_ptr(values);
        memcpy((char *) base + field->offset2, &len, sizeof len);
        return 0;
}

static int read_command(const struct reader *r, const struct value *value,
        const struct job_field *field, void *base)
{
        char ***at = job_field_at(field, base);
        bool shell = !json_is_array(value->json);
        size_t len = shell ? 1 : json_array_size(value->json), i = 0;
        struct value_walk walk = { 0 };
        struct value item;

        if (len == 0)
                return value_fail(r, value, "the list is empty");
        *at = mem_alloc((len + 1) * sizeof **at); /* from here on the spec owns it */
        memcpy((char *) base + field->offset2, &shell, sizeof shell);
        if (shell)
                return read_string(
                        r, value, "a list of texts, or one text for the shell", false, *at);
        for (; value_next(r, value, &walk, &item); i++)
                if (read_string(
                            r, &item, i == 0 ? "the program to run" : "text", i > 0, &(*at)[i]) < 0)
                        return -1;
        return 0;
}

static bool is_env_name(const char *s)
{
        if (!isalpha((unsigned char) *s) && *s != '_')
                return false;
        while (isalnum((unsigned char) *s) || *s == '_' || *s == '.' || *s == '-')
                s++;
        return *s == '\0';
}

static int compare_env(const void *a, const void *b)
{
        const char *x = *(const char *const *) a, *y = *(const char *const *) b;
        size_t x_len = strcspn(x, "="), y_len = strcspn(y, "=");
        int order = memcmp(x, y, MIN(x_len, y_len));

        return order != 0 ? order : (x_len > y_len) - (x_len < y_len);
}

static int read_variable(const struct reader *r, const struct value *value, char **ret)
{
        AUTO(mem_freep) char *text = NULL;

        if (!is_env_name(value->key))
                return value_fail(r, value,
                        "not the name of a variable: letters, digits, \"_\", \".\" and \"-\", "
                        "not a digit first");
        if (json_is_null(value->json))
                return value_fail_expected(r, value, "text (\"\" for an empty value)");
        if (read_string(r, value, "text", true, &text) < 0)
                return -1;
        *ret = mem_printf("%s=%s", value->key, text);
        return 0;
}

static int read_env(const struct reader *r, const struct value *value,
        const struct job_field *field, void *base)
{
        char ***at = job_field_at(field, base);
        size_t len = json_object_size(value->json), i = 0;
        struct value_walk walk = { 0 };
        struct value member;

        if (!json_is_object(value->json))
                return value_fail_expected(r, value, "an object of names and values");
        if (len == 0)
                return 0;
        *at = mem_alloc((len + 1) * sizeof **at); /* from here on the spec owns it */
        for (; value_next(r, value, &walk, &member); i++)
                if (read_variable(r, &member, &(*at)[i]) < 0)
                        return -1;
        qsort(*at, len, sizeof **at, compare_env);
        return 0;
}

static int read_fields(const struct reader *r, const struct value *value,
        const struct job_field *fields, const struct job_field *section, void *base);

static int read_rule(const struct reader *r, const struct value *value,
        const struct job_field *field, struct restart_rule *ret)
{
        if (!json_is_object(value->json))
                return value_fail_expected(r, value, "an object such as {exit: 78, then: end}");
        if (read_fields(r, value, field->fields, field, ret) < 0)
                return -1;
        if (ret->exit_codes_len == 0 && ret->signals_len == 0)
                return value_fail(r, value, "\"exit\" or \"signal\" is missing");
        return 0;
}

static int read_rules(const struct reader *r, const struct value *value,
        const struct job_field *field, void *base)
{
        struct restart_rule **at = job_field_at(field, base);
        size_t len = json_array_size(value->json), i = 0;
        struct value_walk walk = { 0 };
        struct value item;

        if (!json_is_array(value->json))
                return value_fail_expected(r, value, "a list of rules");
        if (len > JOB_RULES_MAX)
                return value_fail(r, value, "%zu rules; at most %d", len, JOB_RULES_MAX);
        if (len == 0)
                return 0;
        *at = mem_alloc(len * sizeof **at); /* from here on the spec owns it */
        memcpy((char *) base + field->offset2, &len, sizeof len);
        for (; value_next(r, value, &walk, &item); i++)
                if (read_rule(r, &item, field, &(*at)[i]) < 0)
                        return -1;
        return 0;
}

static int read_preferences(const struct reader *r, const struct value *value,
        const struct job_field *field, void *base)
{
        struct preference **at = job_field_at(field, base);
        size_t len = json_array_size(value->json), i = 0;
        struct value_walk walk = { 0 };
        struct value item;

        if (!json_is_array(value->json))
                return value_fail_expected(r, value, "a list of preferences");
        if (len > JOB_PREFERENCES_MAX)
                return value_fail(
                        r, value, "%zu preferences; at most %d", len, JOB_PREFERENCES_MAX);
        if (len == 0)
                return 0;
        *at = mem_alloc(len * sizeof **at); /* from here on the spec owns it */
        memcpy((char *) base + field->offset2, &len, sizeof len);
        for (; value_next(r, value, &walk, &item); i++) {
                if (!json_is_object(item.json))
                        return value_fail_expected(r, &item,
                                "an object such as {where: \"disk_kind = ssd\", weight: 50}");
                if (read_fields(r, &item, field->fields, field, &(*at)[i]) < 0)
                        return -1;
        }
        return 0;
}

static int read_checks(const struct reader *r, const struct value *value,
        const struct job_field *field, void *base)
{
        struct health_check **at = job_field_at(field, base);
        size_t len = json_array_size(value->json), i = 0;
        struct value_walk walk = { 0 };
        struct value item;

        if (!json_is_array(value->json))
                return value_fail_expected(r, value, "a list of checks");
        if (len > JOB_CHECKS_MAX)
                return value_fail(r, value, "%zu checks; at most %d", len, JOB_CHECKS_MAX);
        if (len == 0)
                return 0;
        *at = mem_alloc(len * sizeof **at); /* from here on the spec owns it */
        memcpy((char *) base + field->offset2, &len, sizeof len);
        for (; value_next(r, value, &walk, &item); i++) {
                job_fields_init(field->fields, &(*at)[i]);
                if (!json_is_object(item.json))
                        return value_fail_expected(
                                r, &item, "an object such as {tcp: \"127.0.0.1:80\"}");
                if (read_fields(r, &item, field->fields, field, &(*at)[i]) < 0)
                        return -1;
        }
        return 0;
}

static int compare_dependencies(const void *a, const void *b)
{
        return strcmp(((const struct dependency *) a)->name, ((const struct dependency *) b)->name);
}

static int read_after(const struct reader *r, const struct value *value,
        const struct job_field *field, void *base)
{
        struct dependency **at = job_field_at(field, base);
        size_t len = json_object_size(value->json), i = 0;
        struct value_walk walk = { 0 };
        struct value member;
        uint32_t condition;

        if (!json_is_object(value->json))
                return value_fail_expected(r, value, "an object such as {db: ready}");
        if (len > JOB_AFTER_MAX)
                return value_fail(r, value, "%zu names; at most %d", len, JOB_AFTER_MAX);
        if (len == 0)
                return 0;
        *at = mem_alloc(len * sizeof **at); /* from here on the spec owns it */
        memcpy((char *) base + field->offset2, &len, sizeof len);
        for (; value_next(r, value, &walk, &member); i++) {
                if (!job_after_is_name(member.key))
                        return value_fail(
                                r, &member, "not the name of a job (\"db\") or a task (\"db.0\")");
                if (read_enum(r, &member, field, &condition) < 0)
                        return -1;
                (*at)[i] = (struct dependency){ mem_strdup(member.key),
                        (enum after_condition) condition };
        }
        qsort(*at, len, sizeof **at, compare_dependencies);
        return 0;
}

static int compare_sockets(const void *a, const void *b)
{
        return strcmp(((const struct job_socket *) a)->name, ((const struct job_socket *) b)->name);
}

static int read_sockets(const struct reader *r, const struct value *value,
        const struct job_field *field, void *base)
{
        struct job_socket **at = job_field_at(field, base);
        size_t len = json_object_size(value->json), i = 0;
        struct value_walk walk = { 0 };
        struct value member;

        if (!json_is_object(value->json))
                return value_fail_expected(
                        r, value, "an object such as {http: {listen: \"127.0.0.1:8080\"}}");
        if (len > JOB_SOCKETS_MAX)
                return value_fail(r, value, "%zu sockets; at most %d", len, JOB_SOCKETS_MAX);
        if (len == 0)
                return 0;
        *at = mem_alloc(len * sizeof **at); /* from here on the spec owns it */
        memcpy((char *) base + field->offset2, &len, sizeof len);
        for (; value_next(r, value, &walk, &member); i++) {
                if (!text_is_name(member.key))
                        return value_fail(r, &member, "not a name: letters, digits, \"-\", \"_\"");
                (*at)[i].name = mem_strdup(member.key);
                job_fields_init(field->fields, &(*at)[i]);
                if (!json_is_object(member.json))
                        return value_fail_expected(
                                r, &member, "an object such as {listen: \"127.0.0.1:8080\"}");
                if (read_fields(r, &member, field->fields, field, &(*at)[i]) < 0)
                        return -1;
        }
        qsort(*at, len, sizeof **at, compare_sockets);
        return 0;
}

static int read_field(const struct reader *r, const struct value *value,
        const struct job_field *field, void *base)
{
        void *at = job_field_at(field, base);

        switch (field->type) {
        case FIELD_SECTION:
                if (!json_is_object(value->json))
                        return value_fail_expected(r, value, "an object");
                return read_fields(r, value, field->fields, field, base);
        case FIELD_RULES:
                return read_rules(r, value, field, base);
        case FIELD_PREFERENCES:
                return read_preferences(r, value, field, base);
        case FIELD_CHECKS:
                return read_checks(r, value, field, base);
        case FIELD_AFTER:
                return read_after(r, value, field, base);
        case FIELD_SOCKETS:
                return read_sockets(r, value, field, base);
        case FIELD_CONSTRAINT:
                *(struct constraint **) at = mem_alloc(sizeof(struct constraint));
                return read_constraint(r, value, *(struct constraint **) at);
        case FIELD_CONSTRAINTS:
                return read_constraints(r, value, field, base);
        case FIELD_BOOL:
                return read_bool(r, value, at);
        case FIELD_ENUM:
                return read_enum(r, value, field, at);
        case FIELD_COUNT:
        case FIELD_TASKS:
                return read_count(r, value, field, at);
        case FIELD_WEIGHT:
                return read_weight(r, value, field, at);
        case FIELD_MILLI:
                return read_milli(r, value, field, at);
        case FIELD_INTEGER:
                return read_integer(r, value, field, at);
        case FIELD_OCTAL:
                return read_octal(r, value, field, at);
        case FIELD_LIMIT:
                return read_limit(r, value, field, at);
        case FIELD_LIMIT_SIZE:
                return read_limit_size(r, value, field, at);
        case FIELD_TEXTS:
        case FIELD_NAMES:
        case FIELD_PATHS:
                return read_texts(r, value, field, at);
        case FIELD_CAPABILITIES:
                return read_capabilities(r, value, at);
        case FIELD_CPUS:
        case FIELD_TEXT:
        case FIELD_PATH:
        case FIELD_NAME:
        case FIELD_ATTRIBUTE:
                return read_text(r, value, field, at);
        case FIELD_SPAN:
                return read_span(r, value, field, at);
        case FIELD_SIZE:
                return read_size(r, value, field, at);
        case FIELD_SIGNAL:
                return read_signal(r, value, at);
        case FIELD_CODES:
        case FIELD_SIGNALS:
                return read_ints(r, value, field, base);
        case FIELD_COMMAND:
                return read_command(r, value, field, base);
        case FIELD_ENV:
                return read_env(r, value, field, base);
        }
        abort();
}

/* Reads the members of an object into the fields of a table. @section: whose fields they are, NULL
 * for the job itself. */
static int read_fields(const struct reader *r, const struct value *value,
        const struct job_field *fields, const struct job_field *section, void *base)
{
        struct value_walk walk = { 0 };
        struct value member;

        while (value_next(r, value, &walk, &member)) {
                const struct job_field *field = job_field_find(fields, member.key);

                if (field == NULL)
                        return job_fail_unknown(r, &member, fields, section);
                if (!json_is_null(member.json) && read_field(r, &member, field, base) < 0)
                        return -1;
        }
        for (; fields->name != NULL; fields++)
                if (fields->required && !value_is_given(value, fields->name))
                        return value_fail(r, value, "\"%s\" is missing", fields->name);
        return 0;
}

static int read_spec(const struct reader *r, const struct value *value, struct job_spec **ret)
{
        AUTO(job_spec_unrefp) struct job_spec *spec = mem_alloc(sizeof *spec);

        spec->refs = 1;
        spec->name = mem_strdup(value->key);
        job_fields_init(job_fields, spec);
        if (!text_is_name(value->key))
                return value_fail(r, value,
                        "not a name: 1 to %d letters, digits, \"-\" and \"_\", a letter or digit "
                        "first",
                        TEXT_NAME_MAX);
        if (!json_is_object(value->json))
                return value_fail_expected(r, value, "the spec of a job, an object");
        if (read_fields(r, value, job_fields, NULL, spec) < 0 || job_check(r, value, spec) < 0)
                return -1;
        *ret = take_ptr(spec);
        return 0;
}

int job_spec_from_json(
        const char *name, const json_t *object, struct job_spec **ret, struct error *err)
{
        struct reader r = { .err = err };
        struct value root = { 0 };
        struct value jobs = { .parent = &root, .key = "jobs" };
        struct value job = { .parent = &jobs, .key = name, .json = object };

        return read_spec(&r, &job, ret);
}

static int read_jobs(const struct reader *r, const struct value *jobs, struct job_file *ret)
{
        struct value_walk walk = { 0 };
        struct value job;
        uint64_t tasks = 0;

        if (!json_is_object(jobs->json) && !json_is_null(jobs->json))
                return value_fail_expected(r, jobs, "an object of names and specs");
        if (json_object_size(jobs->json) == 0)
                return value_fail(r, jobs, "there is no job in it");
        ret->jobs = mem_alloc(json_object_size(jobs->json) * sizeof *ret->jobs);
        while (value_next(r, jobs, &walk, &job)) {
                if (read_spec(r, &job, &ret->jobs[ret->jobs_len]) < 0)
                        return -1;
                tasks += ret->jobs[ret->jobs_len++]->count;
                if (tasks > JOB_FILE_TASKS_MAX)
                        return value_fail(r, &job,
                                "with this one the jobs of the file have more than %d tasks",
                                JOB_FILE_TASKS_MAX);
        }
        return 0;
}

static int read_file(const struct reader *r, struct job_file *ret)
{
        struct value root = { .json = r->doc->root };
        struct value_walk walk = { 0 };
        struct value member;

        if (json_is_null(root.json))
                return value_fail(r, &root, "the file is empty; a job file has \"jobs\"");
        if (!json_is_object(root.json))
                return value_fail_expected(r, &root, "an object with \"jobs\"");
        while (value_next(r, &root, &walk, &member))
                if (strcmp(member.key, "jobs") != 0)
                        return job_file_fail_unknown(r, &member);
        if (!value_find(r, &root, "jobs", &member))
                return value_fail(r, &root, "\"jobs\" is missing");
        return read_jobs(r, &member, ret);
}

int job_file_parse(const char *label, const char *text, size_t len, enum job_format format,
        struct job_file *ret, struct error *err)
{
        AUTO(document_done) struct document doc = { 0 };
        AUTO(job_file_done) struct job_file file = { 0 };
        struct reader r = { .label = label, .doc = &doc, .err = err };

        if ((format == JOB_FORMAT_JSON ? document_read_json : document_read_yaml)(
                    label, text, len, &doc, err) < 0)
                return -1;
        if (read_file(&r, &file) < 0)
                return -1;
        *ret = file;
        file = (struct job_file){ 0 };
        return 0;
}
