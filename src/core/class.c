/* SPDX-License-Identifier: BSD-3-Clause */
/* Class: nodes with the same attributes, their names apart, and what a spec asks of them.
 *
 * What a spec asks of attributes is decided once for all nodes of a class. There can be thousands
 * of classes all the same, since a rack or a kernel is enough of a difference; but each attribute
 * has few values. So attributes are kept once for all classes that have them, by name and value,
 * and remember what was answered about them in the pass under way (place.c): a condition on the
 * kernel is evaluated as often as there are kernels. VERDICTS questions about one attribute are
 * remembered; who asks more gets the same answers more slowly. */

#include "core/class.h"

#include <stdlib.h>
#include <string.h>

/* ---- Attributes */

static struct attribute_name *name_get(struct cluster *c, const char *text, size_t len)
{
        struct attribute_name *name;

        HASH_FIND(hh, c->attribute_names, text, len, name);
        if (name == NULL) {
                name = mem_alloc(sizeof *name);
                name->text = mem_strndup(text, len);
                HASH_ADD_KEYPTR(hh, c->attribute_names, name->text, len, name);
        }
        name->refs++;
        return name;
}

static void name_unref(struct cluster *c, struct attribute_name *name)
{
        if (--name->refs > 0)
                return;
        HASH_DEL(c->attribute_names, name);
        free(name->text);
        free(name);
}

static struct attribute *attribute_get(struct cluster *c, const char *pair)
{
        struct attribute *attribute;

        HASH_FIND_STR(c->attributes, pair, attribute);
        if (attribute == NULL) {
                attribute = mem_alloc(sizeof *attribute);
                attribute->pair = mem_strdup(pair);
                attribute->name = name_get(c, pair, strcspn(pair, "="));
                HASH_ADD_KEYPTR(hh, c->attributes, attribute->pair, strlen(pair), attribute);
        }
        attribute->refs++;
        return attribute;
}

static void attribute_unref(struct cluster *c, struct attribute *attribute)
{
        if (--attribute->refs > 0)
                return;
        HASH_DEL(c->attributes, attribute);
        name_unref(c, attribute->name);
        free(attribute->pair);
        free(attribute);
}

/* ---- Classes */

static char *class_key(const struct attributes *attributes)
{
        struct buffer key = { 0 };

        for (size_t i = 0; i < attributes->len; i++) {
                buffer_puts(&key, attributes->pairs[i]);
                buffer_putc(&key, '\n');
        }
        return buffer_take(&key);
}

/* All but the name. */
static void class_attributes(const struct node *node, struct attributes *ret)
{
        attributes_copy(&node->status.attributes, ret);
        attributes_set(ret, ATTRIBUTE_NAME, NULL, &ERROR_INIT);
        if (node->status.zone != NULL)
                attributes_set(ret, ATTRIBUTE_ZONE, node->status.zone, &ERROR_INIT);
}

static struct node_class *class_new(
        struct cluster *c, const struct attributes *attributes, char *key)
{
        struct node_class *class = mem_alloc(sizeof *class);

        class->attributes = *attributes;
        class->members = mem_resize(NULL, attributes->len, sizeof(struct attribute *));
        for (size_t i = 0; i < attributes->len; i++)
                class->members[i] = attribute_get(c, attributes->pairs[i]);
        class->key = key;
        HASH_ADD_KEYPTR(hh, c->classes, class->key, strlen(class->key), class);
        return class;
}

struct node_class *class_get(struct cluster *c, const struct node *node)
{
        struct attributes attributes = { 0 };
        AUTO(mem_freep) char *key = NULL;
        struct node_class *class;

        class_attributes(node, &attributes);
        key = class_key(&attributes);
        HASH_FIND_STR(c->classes, key, class);
        if (class == NULL)
                class = class_new(c, &attributes, take_ptr(key));
        else
                attributes_done(&attributes);
        class->refs++;
        return class;
}

void class_unref(struct cluster *c, struct node_class *class)
{
        if (class == NULL || --class->refs > 0)
                return;
        HASH_DEL(c->classes, class);
        for (size_t i = 0; i < class->attributes.len; i++)
                attribute_unref(c, class->members[i]);
        free(class->members);
        attributes_done(&class->attributes);
        free(class->key);
        free(class);
}

/* ---- Questions */

static bool is_one_of(char *const *zones, const char *zone)
{
        for (; *zones != NULL; zones++)
                if (strcmp(*zones, zone) == 0)
                        return true;
        return false;
}

/* @pair NULL: the class has no such attribute. */
static bool decide(const struct question *q, char *pair)
{
        struct attributes one = { .pairs = &pair, .len = pair == NULL ? 0 : 1 };

        if (q->constraint != NULL)
                return constraint_holds(q->constraint, &one);
        return pair != NULL && is_one_of(q->zones, attributes_get(&one, ATTRIBUTE_ZONE));
}

void question_init(struct question *q, const struct cluster *c, const struct constraint *constraint,
        char *const *zones)
{
        const char *text = constraint != NULL ? constraint->attribute : ATTRIBUTE_ZONE;
        struct attribute_name *name;

        HASH_FIND_STR(c->attribute_names, text, name);
        *q = (struct question){ .constraint = constraint, .zones = zones, .name = name };
        q->of_none = decide(q, NULL);
}

struct attribute *question_attribute(struct question *q, const struct node_class *class)
{
        size_t len = class->attributes.len;

        if (q->hint < len && class->members[q->hint]->name == q->name)
                return class->members[q->hint];
        for (size_t i = 0; i < len && q->name != NULL; i++)
                if (class->members[i]->name == q->name) {
                        q->hint = i;
                        return class->members[i];
                }
        return NULL;
}

bool question_holds(
        struct question *q, uint64_t pass, uint32_t number, const struct node_class *class)
{
        struct attribute *attribute = question_attribute(q, class);
        struct verdict *verdict;

        if (attribute == NULL)
                return q->of_none;
        verdict = &attribute->verdicts[number % VERDICTS];
        if (verdict->pass != pass || verdict->number != number)
                *verdict = (struct verdict){
                        .pass = pass, .number = number, .holds = decide(q, attribute->pair)
                };
        return verdict->holds;
}
