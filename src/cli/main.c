/* SPDX-License-Identifier: BSD-3-Clause */
/* The program `reeve`: finds the command, parses its options by its table, runs it, says what went
 * wrong and ends with the status of that kind of error (base/error.c). */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "base/time.h"
#include "cli/command.h"

#define OPTIONS_MAX 24

const struct command *const commands[] = {
        &command_up,
        &command_down,
        &command_apply,
        &command_plan,
        &command_jobs,
        &command_job,
        &command_ps,
        &command_logs,
        &command_stop,
        &command_restart,
        &command_scale,
        &command_remove,
        &command_events,
        &command_why,
        &command_schema,
        &command_upgrade,
        &command_version,
        &command_completion,
        &command_reference,
        &command_server,
        &command_agent,
        NULL,
};

static void print_usage(FILE *to)
{
        fputs("Usage: reeve COMMAND [OPTION...] [ARGUMENT...]\n"
              "\n"
              "Starts processes and keeps them the way you asked.\n"
              "\n"
              "Commands:\n",
                to);
        for (size_t i = 0; commands[i] != NULL; i++)
                if (!commands[i]->hidden)
                        fprintf(to, "  %-11s %s\n", commands[i]->name, commands[i]->summary);
        fputs("\n"
              "`reeve COMMAND --help` says more. The server is found by REEVE_ADDR (unix:PATH or\n"
              "http://HOST:PORT, with REEVE_TOKEN), or at the socket where `reeve up` puts it.\n"
              "Exit status: 0 done, 1 failed, 2 wrong usage or input, 3 not found, 4 conflict,\n"
              "5 denied, 6 nobody answers, 7 timeout, 8 too large, 9 disk full.\n",
                to);
}

static void print_option(const struct option_row *o, FILE *to)
{
        char left[40];

        snprintf(left, sizeof left, "%c%c%s --%s%s%s", o->letter ? '-' : ' ',
                o->letter ? o->letter : ' ', o->letter ? "," : " ", o->name,
                o->argument != NULL ? " " : "", o->argument != NULL ? o->argument : "");
        fprintf(to, "  %-24s %s\n", left, o->help);
}

static void print_help(const struct command *c, FILE *to)
{
        fprintf(to, "Usage: reeve %s [OPTION...]%s%s\n\n%s\n", c->name, c->operands[0] ? " " : "",
                c->operands, c->summary);
        if (c->details != NULL)
                fprintf(to, "\n%s\n", c->details);
        fputs("\nOptions:\n", to);
        for (const struct option_row *o = c->options; o != NULL && o->name != NULL; o++)
                print_option(o, to);
        print_option(&(struct option_row){ "help", 'h', OPTION_FLAG, NULL, NULL, "show this" }, to);
}

static int store_value(const struct option_row *o, const char *text, struct error *err)
{
        struct option_list *list;

        switch (o->type) {
        case OPTION_FLAG:
                *(bool *) o->value = true;
                return 0;
        case OPTION_TEXT:
                *(const char **) o->value = text;
                return 0;
        case OPTION_LIST:
                list = o->value;
                list->items = mem_resize(list->items, list->len + 1, sizeof *list->items);
                list->items[list->len++] = text;
                return 0;
        case OPTION_INT:
                if (!text_parse_int(text, 0, INT64_MAX, o->value))
                        return error_set(err, ERR_INVALID, "--%s: expected a number, got \"%s\"",
                                o->name, text);
                return 0;
        case OPTION_SPAN:
                if (!time_parse_span(text, o->value))
                        return error_set(err, ERR_INVALID,
                                "--%s: expected a duration such as 30s or 5m, got \"%s\"", o->name,
                                text);
                return 0;
        }
        return 0;
}

static int wrong_usage(const struct command *c, const char *what)
{
        fprintf(stderr, "reeve %s: %s\n", c->name, what);
        fprintf(stderr, "Usage: reeve %s [OPTION...]%s%s (`reeve %s --help` says more)\n", c->name,
                c->operands[0] ? " " : "", c->operands, c->name);
        return error_code_exit(ERR_INVALID);
}

static int unknown_option(const struct command *c, const char *argument)
{
        const char *names[OPTIONS_MAX + 2] = { "help" };
        const char *nearest;
        char what[256], word[64];
        size_t n = 1;

        for (const struct option_row *o = c->options; o != NULL && o->name != NULL; o++)
                names[n++] = o->name;
        names[n] = NULL;
        snprintf(word, sizeof word, "%.*s", (int) strcspn(argument + strspn(argument, "-"), "="),
                argument + strspn(argument, "-"));
        nearest = text_nearest(word, names);
        snprintf(what, sizeof what, "unknown option %.64s%s%s%s", argument,
                nearest != NULL ? "; did you mean --" : "", nearest != NULL ? nearest : "",
                nearest != NULL ? "?" : "");
        return wrong_usage(c, what);
}

/* Fills getopt's tables from ours. */
static void make_getopt(const struct command *c, struct option *longs, char *letters)
{
        size_t n = 0;

        *letters++ = ':';
        for (const struct option_row *o = c->options; o != NULL && o->name != NULL; o++, n++) {
                longs[n] = (struct option){ o->name,
                        o->type == OPTION_FLAG ? no_argument : required_argument, NULL,
                        (int) n + 256 };
                if (o->letter == 0)
                        continue;
                *letters++ = o->letter;
                if (o->type != OPTION_FLAG)
                        *letters++ = ':';
        }
        *letters++ = 'h';
        *letters = '\0';
        longs[n++] = (struct option){ "help", no_argument, NULL, 'h' };
        longs[n] = (struct option){ NULL, 0, NULL, 0 };
}

/* A full disk is found out now, not by the reader of half a file. */
static int flush_output(struct error *err)
{
        if (fflush(stdout) == 0 && !ferror(stdout))
                return 0;
        return error_sys(err, errno != 0 ? errno : EIO, "write to standard output");
}

static int run_command(const struct command *c, int argc, char **argv)
{
        struct option longs[OPTIONS_MAX + 2];
        char letters[2 * OPTIONS_MAX + 4];
        struct error err = ERROR_INIT;
        int opt, operands;

        signal(SIGPIPE, SIG_DFL); /* `reeve logs | head` ends quietly, whoever called us */
        make_getopt(c, longs, letters);
        opterr = 0;
        while ((opt = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
                const struct option_row *o = c->options;

                if (opt == 'h') {
                        print_help(c, stdout);
                        return 0;
                }
                if (opt == ':') {
                        char what[128];

                        snprintf(what, sizeof what, "%.100s needs a value", argv[optind - 1]);
                        return wrong_usage(c, what);
                }
                if (opt == '?')
                        return unknown_option(c, argv[optind - 1]);
                if (opt >= 256)
                        o += opt - 256;
                else
                        while (o->letter != opt)
                                o++;
                if (store_value(o, optarg, &err) < 0)
                        return wrong_usage(c, err.message);
        }
        operands = argc - optind;
        if (operands < c->operands_min)
                return wrong_usage(c, "something is missing");
        if (c->operands_max >= 0 && operands > c->operands_max)
                return wrong_usage(c, "too many arguments");
        if (c->run((const char *const *) argv + optind, &err) == 0 && flush_output(&err) == 0)
                return 0;
        fflush(stdout);
        fprintf(stderr, "reeve %s: %s\n", c->name, err.message);
        return error_code_exit(err.code);
}

static int unknown_command(const char *name)
{
        const char *names[ARRAY_SIZE(commands)] = { NULL };
        const char *nearest;
        size_t n = 0;

        for (size_t i = 0; commands[i] != NULL; i++)
                if (!commands[i]->hidden)
                        names[n++] = commands[i]->name;
        nearest = text_nearest(name, names);
        fprintf(stderr, "reeve: unknown command \"%s\"", name);
        if (nearest != NULL)
                fprintf(stderr, "; did you mean \"%s\"?", nearest);
        fputs("\n`reeve help` lists them\n", stderr);
        return error_code_exit(ERR_INVALID);
}

int main(int argc, char **argv)
{
        const char *name = argc > 1 ? argv[1] : "help";

        if (strcmp(name, "--version") == 0)
                name = "version";
        if (strcmp(name, "help") == 0 && argc > 2) { /* `reeve help ps` is `reeve ps --help` */
                static char help[] = "--help";

                name = argv[2];
                argv[2] = help;
                argc = 3;
        }
        if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
                print_usage(argc > 1 ? stdout : stderr);
                return argc > 1 ? 0 : error_code_exit(ERR_INVALID);
        }
        for (size_t i = 0; commands[i] != NULL; i++)
                if (strcmp(commands[i]->name, name) == 0)
                        return commands[i]->main != NULL
                                       ? commands[i]->main(argc - 1, argv + 1)
                                       : run_command(commands[i], argc - 1, argv + 1);
        return unknown_command(name);
}
