/* SPDX-License-Identifier: BSD-3-Clause */
/* The program `reeve`: finds the command, parses its options by its table, runs it, says what went
 * wrong and ends with the status of that kind of error (base/error.c). */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/time.h"
#include "cli/columns.h"
#include "cli/command.h"
#include "cli/terminal.h"
#include "keeper/protocol.h"

#define OPTIONS_MAX 24
#define LONG_FIRST  256 /* what getopt calls our first long option: no letter */
#define HELP_WIDTH  80
#define HELP_INDENT 27 /* where the meaning of an option begins */

const struct command *const commands[] = {
        &command_up,
        &command_server,
        &command_agent,
        &command_down,
        &command_apply,
        &command_plan,
        &command_jobs,
        &command_job,
        &command_ps,
        &command_top,
        &command_logs,
        &command_exec,
        &command_signal,
        &command_stop,
        &command_restart,
        &command_scale,
        &command_promote,
        &command_revert,
        &command_dispatch,
        &command_remove,
        &command_cron,
        &command_events,
        &command_why,
        &command_rebalance,
        &command_nodes,
        &command_node,
        &command_node_forget,
        &command_cordon,
        &command_drain,
        &command_login,
        &command_logout,
        &command_token_create,
        &command_token_list,
        &command_token_revoke,
        &command_schema,
        &command_import,
        &command_snapshot_save,
        &command_snapshot_restore,
        &command_snapshot_inspect,
        &command_sim,
        &command_upgrade,
        &command_version,
        &command_completion,
        &command_reference,
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
                        fprintf(to, "  %-17s%s\n", commands[i]->name, commands[i]->summary);
        fputs("\n"
              "`reeve COMMAND --help` says more. The server is found by REEVE_ADDR (unix:PATH\n"
              "or https://HOST:PORT, with REEVE_TOKEN), by `reeve login`, or at the socket\n"
              "where `reeve up` puts it.\n"
              "Exit status: 0 done, 1 failed, 2 wrong usage or input, 3 not found, 4 conflict,\n"
              "5 denied, 6 nobody answers, 7 timeout, 8 too large, 9 disk full.\n",
                to);
}

static void put_option(struct buffer *out, const struct option_row *o, size_t width)
{
        char left[40];

        snprintf(left, sizeof left, "%c%c%s --%s%s%s", o->letter ? '-' : ' ',
                o->letter ? o->letter : ' ', o->letter ? "," : " ", o->name,
                o->argument != NULL ? " " : "", o->argument != NULL ? o->argument : "");
        buffer_printf(out, "  %-*s ", HELP_INDENT - 3, left);
        columns_wrap(out, o->help, HELP_INDENT, width);
}

/* Paragraphs, each after an empty line. */
static void put_details(struct buffer *out, const char *text, size_t width)
{
        while (text != NULL) {
                const char *end = strstr(text, "\n\n");
                AUTO(mem_freep)
                char *paragraph =
                        mem_strndup(text, end != NULL ? (size_t) (end - text) : strlen(text));

                buffer_putc(out, '\n');
                columns_wrap(out, paragraph, 0, width);
                text = end != NULL ? end + 2 : NULL;
        }
}

static void print_help(const struct command *c)
{
        AUTO(buffer_done) struct buffer out = { 0 };
        size_t terminal = terminal_width();
        size_t width = terminal > 0 ? MIN(terminal, (size_t) HELP_WIDTH) : HELP_WIDTH;

        buffer_printf(&out, "Usage: reeve %s [OPTION...]%s%s\n\n%s\n", c->name,
                c->operands[0] ? " " : "", c->operands, c->summary);
        put_details(&out, c->details, width);
        buffer_puts(&out, "\nOptions:\n");
        for (const struct option_row *o = c->options; o != NULL && o->name != NULL; o++)
                put_option(&out, o, width);
        put_option(&out, &(struct option_row){ .name = "help", .letter = 'h', .help = "show this" },
                width);
        terminal_print(&out);
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

static int unknown_long_option(const struct command *c, const char *argument)
{
        const char *names[OPTIONS_MAX + 2] = { "help" };
        const char *name = argument + strspn(argument, "-");
        AUTO(mem_freep) char *word = mem_strndup(name, strcspn(name, "="));
        AUTO(mem_freep) char *what = NULL;
        const char *nearest;
        size_t n = 1;

        for (const struct option_row *o = c->options; o != NULL && o->name != NULL; o++)
                names[n++] = o->name;
        nearest = text_nearest(word, names);
        what = mem_printf("unknown option --%s%s%s%s", word,
                nearest != NULL ? "; did you mean --" : "", nearest != NULL ? nearest : "",
                nearest != NULL ? "?" : "");
        return wrong_usage(c, what);
}

/* What getopt has refused: its answer is @opt, ':' or '?'. It says in optopt which option it was,
 * if there is such a one or it was a letter; @last is the argument that it has read last, which
 * with several letters in one argument is the one before. */
static int wrong_option(const struct command *c, int opt, const char *last)
{
        AUTO(mem_freep) char *what = NULL;

        if (optopt == 0)
                return unknown_long_option(c, last);
        if (optopt >= LONG_FIRST)
                what = mem_printf("--%s %s", c->options[optopt - LONG_FIRST].name,
                        opt == ':' ? "needs a value" : "takes no value");
        else if (optopt == 'h') /* as a letter it is never wrong */
                what = mem_strdup("--help takes no value");
        else
                what = mem_printf(opt == ':' ? "-%c needs a value" : "unknown option -%c",
                        optopt > ' ' && optopt < 0x7F ? optopt : '?');
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
                        (int) n + LONG_FIRST };
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
                        print_help(c);
                        return 0;
                }
                if (opt == ':' || opt == '?')
                        return wrong_option(c, opt, argv[optind - 1]);
                if (opt >= LONG_FIRST)
                        o += opt - LONG_FIRST;
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
        for (int i = optind; i < argc; i++)
                if (argv[i][0] == '\0' && !c->empty_operands)
                        return wrong_usage(c, "an argument is empty");
        if (c->run((const char *const *) argv + optind, &err) == 0 && flush_output(&err) == 0)
                return 0;
        fflush(stdout);
        fprintf(stderr, "reeve %s: %s\n", c->name, err.message);
        return error_code_exit(err.code);
}

static int start(const struct command *c, int argc, char **argv)
{
        bool program = c->main != NULL && (c->run == NULL || getenv(KEEPER_FD_VARIABLE) != NULL);

        return program ? c->main(argc, argv) : run_command(c, argc, argv);
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

/* `reeve token`, and what may follow. */
static int command_of_several(const char *word, FILE *to, int status)
{
        fprintf(to, "Usage: reeve %s COMMAND [OPTION...] [ARGUMENT...]\n\nCommands:\n", word);
        for (size_t i = 0; commands[i] != NULL; i++)
                if (command_begins(commands[i], word))
                        fprintf(to, "  %-17s%s\n", commands[i]->name, commands[i]->summary);
        return status;
}

static int unknown_second_word(const char *word, const char *second)
{
        const char *names[ARRAY_SIZE(commands)] = { NULL };
        const char *nearest;
        size_t n = 0;

        for (size_t i = 0; commands[i] != NULL; i++)
                if (command_begins(commands[i], word))
                        names[n++] = commands[i]->name + strlen(word) + 1;
        nearest = text_nearest(second, names);
        fprintf(stderr, "reeve %s: unknown command \"%s\"", word, second);
        if (nearest != NULL)
                fprintf(stderr, "; did you mean \"%s\"?", nearest);
        fprintf(stderr, "\n`reeve help %s` lists them\n", word);
        return error_code_exit(ERR_INVALID);
}

static bool is_help(const char *word)
{
        return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* @argv begins with the command's name, of one word or two. `node forget` comes before a `node`
 * that is called forget: for that there is `node -- forget`. */
static int find_and_start(int argc, char **argv)
{
        const struct command *one_word = NULL;
        bool several = false;

        for (size_t i = 0; commands[i] != NULL; i++) {
                const struct command *c = commands[i];

                if (!command_begins(c, argv[0]))
                        continue;
                if (c->name[command_word_len(c)] == '\0')
                        one_word = c;
                else if (argc > 1 && strcmp(c->name + command_word_len(c) + 1, argv[1]) == 0)
                        return start(c, argc - 1, argv + 1);
                several = true;
        }
        if (one_word != NULL)
                return start(one_word, argc, argv);
        if (!several)
                return unknown_command(argv[0]);
        if (argc < 2)
                return command_of_several(argv[0], stderr, error_code_exit(ERR_INVALID));
        return is_help(argv[1]) ? command_of_several(argv[0], stdout, 0)
                                : unknown_second_word(argv[0], argv[1]);
}

int main(int argc, char **argv)
{
        static char version[] = "version", help[] = "--help";

        if (argc < 2) {
                print_usage(stderr);
                return error_code_exit(ERR_INVALID);
        }
        if (strcmp(argv[1], "--version") == 0)
                argv[1] = version;
        if (strcmp(argv[1], "help") == 0 && argc > 2) { /* `reeve help ps` is `reeve ps --help` */
                memmove(argv + 1, argv + 2, (size_t) (argc - 2) * sizeof *argv);
                argv[argc - 1] = help;
        } else if (strcmp(argv[1], "help") == 0 || is_help(argv[1])) {
                print_usage(stdout);
                return 0;
        }
        return find_and_start(argc - 1, argv + 1);
}
