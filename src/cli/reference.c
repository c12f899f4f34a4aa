/* SPDX-License-Identifier: BSD-3-Clause */
/* The reference of the commands, made from their table: docs/cli.md and man/reeve.1. A test
 * compares both with what is printed here. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "cli/command.h"

static const char *const code_help[ERR_CODE_COUNT] = {
        [ERR_NONE] = "done",
        [ERR_SYSTEM] = "failed",
        [ERR_INVALID] = "wrong usage, or a mistake in what was given",
        [ERR_NOT_FOUND] = "no such job, task, node or file",
        [ERR_CONFLICT] = "not in this state: changed meanwhile, or running already",
        [ERR_DENIED] = "no permission",
        [ERR_UNAVAILABLE] = "nobody answers",
        [ERR_TIMEOUT] = "it took too long",
        [ERR_TOO_LARGE] = "a limit on size or number",
        [ERR_NO_SPACE] = "a full disk",
};

static const struct {
        const char *name, *help;
} variables[] = {
        { "REEVE_ADDR",
                "Where the server is: unix:PATH, https://HOST:PORT or, on this machine, "
                "http://HOST:PORT. Not given: where `reeve login` says, else /run/reeve/reeve.sock "
                "for root, else $XDG_RUNTIME_DIR/reeve/reeve.sock or reeve.sock in the state "
                "directory." },
        { "REEVE_TOKEN",
                "The token that a request over TCP needs, of `reeve token create`; the one in the "
                "file token of the server's state directory may do all. Not given: what `reeve "
                "login` has kept for that server." },
        { "REEVE_CA",
                "PEM file with the certificate that the server's is to be traced to. Not given: "
                "what `reeve login` has kept for that server, else the system's roots." },
        { "REEVE_LOG", "What server and agent log: error, warning, info (if not given) or debug." },
        { "NO_COLOR", "Not empty: no colour, also on a terminal." },
};

/* The code that ends with exit status @status; exit statuses are 0, 1, 2 ... without gaps. */
static enum error_code code_of(int status)
{
        int code = 0;

        while (code < ERR_CODE_COUNT - 1 && error_code_exit((enum error_code) code) != status)
                code++;
        return (enum error_code) code;
}

/* ---- Markdown */

static void print_cell(const char *text)
{
        for (; *text != '\0'; text++)
                printf("%s%c", *text == '|' ? "\\" : "", *text);
}

static void print_option_row(const struct option_row *o)
{
        printf("| `--%s%s", o->name, o->argument != NULL ? " " : "");
        print_cell(o->argument != NULL ? o->argument : "");
        printf("`");
        if (o->letter != 0)
                printf(", `-%c`", o->letter);
        printf(" | ");
        print_cell(o->help);
        puts(" |");
}

static void print_command_markdown(const struct command *c)
{
        printf("\n## reeve %s\n`reeve %s%s%s%s`: %s.\n", c->name, c->name,
                c->options != NULL ? " [OPTION...]" : "", *c->operands != '\0' ? " " : "",
                c->operands, c->summary);
        if (c->details != NULL)
                printf("\n%s\n", c->details);
        if (c->options == NULL)
                return;
        puts("\n| option | meaning |\n|---|---|");
        for (const struct option_row *o = c->options; o->name != NULL; o++)
                print_option_row(o);
}

/* Headings are linked to with - for each space. */
static void print_contents_row(const struct command *c)
{
        printf("| [`reeve %s`](#reeve-", c->name);
        for (const char *p = c->name; *p != '\0'; p++)
                putchar(*p == ' ' ? '-' : *p);
        printf(") | %s |\n", c->summary);
}

static void print_markdown(void)
{
        puts("# The commands\n"
             "\n"
             "<!-- Written by `reeve reference markdown`; edit src/cli instead. -->\n"
             "\n"
             "`reeve COMMAND --help` says the same. What prints a listing prints it as JSON with\n"
             "`--json`: the objects of docs/http.md as the server gave them. On a terminal tables "
             "are\n"
             "cut to its width and have colours; elsewhere neither. A listing ends with its last\n"
             "line; what went wrong is one sentence on standard error.\n"
             "\n"
             "| command | |\n|---|---|");
        for (size_t i = 0; commands[i] != NULL; i++)
                if (!commands[i]->hidden)
                        print_contents_row(commands[i]);
        puts("\n## Environment\n\n| variable | meaning |\n|---|---|");
        for (size_t i = 0; i < ARRAY_SIZE(variables); i++)
                printf("| `%s` | %s |\n", variables[i].name, variables[i].help);
        puts("\n## Exit status\n\n| status | meaning |\n|---|---|");
        for (int status = 0; status < ERR_CODE_COUNT; status++)
                printf("| %d | %s |\n", status, code_help[code_of(status)]);
        for (size_t i = 0; commands[i] != NULL; i++)
                if (!commands[i]->hidden)
                        print_command_markdown(commands[i]);
}

/* ---- Manual page */

static void print_roff(const char *text)
{
        for (bool begin = true; *text != '\0'; text++) {
                if (begin && (*text == '.' || *text == '\''))
                        fputs("\\&", stdout);
                begin = *text == '\n';
                if (*text == '\\')
                        fputs("\\e", stdout);
                else if (*text == '-' || *text == '`' || *text == '^' || *text == '~')
                        printf("%s", *text == '-'   ? "\\-"
                                     : *text == '`' ? "\\(ga"
                                     : *text == '^' ? "\\(ha"
                                                    : "\\(ti");
                else if (*text == '\n' && text[1] == '\n')
                        fputs("\n.PP", stdout);
                else
                        putchar(*text);
        }
        putchar('\n');
}

static void print_term(const char *term, const char *meaning)
{
        fputs(".TP\n.B ", stdout);
        print_roff(term);
        print_roff(meaning);
}

static void print_command_roff(const struct command *c)
{
        AUTO(mem_freep) char *summary = NULL;
        char term[96];

        printf(".SS reeve %s\n", c->name);
        printf(".B reeve %s\n", c->name);
        snprintf(term, sizeof term, "%s%s%s", c->options != NULL ? "[OPTION...]" : "",
                c->options != NULL && *c->operands != '\0' ? " " : "", c->operands);
        if (*term != '\0')
                print_roff(term);
        summary = mem_printf("%c%s.", toupper((unsigned char) *c->summary), c->summary + 1);
        puts(".PP");
        print_roff(summary);
        if (c->details != NULL) {
                puts(".PP");
                print_roff(c->details);
        }
        for (const struct option_row *o = c->options; o != NULL && o->name != NULL; o++) {
                char letter[8] = "";

                if (o->letter != 0)
                        snprintf(letter, sizeof letter, ", -%c", o->letter);
                snprintf(term, sizeof term, "--%s%s%s%s", o->name, o->argument != NULL ? " " : "",
                        o->argument != NULL ? o->argument : "", letter);
                print_term(term, o->help);
        }
}

static void print_man(void)
{
        puts(".\\\" SPDX-License-Identifier: BSD-3-Clause\n"
             ".\\\" Written by `reeve reference man`; edit src/cli instead.\n"
             ".TH REEVE 1 \"\" \"Reeve\" \"User Commands\"\n"
             ".SH NAME\n"
             "reeve \\- start processes and keep them the way you asked\n"
             ".SH SYNOPSIS\n"
             ".B reeve\n"
             ".I COMMAND\n"
             "[OPTION...] [ARGUMENT...]\n"
             ".SH DESCRIPTION\n"
             "Reeve runs jobs: services that are kept up, and batch jobs that run to their end. A "
             "job\n"
             "file, see\n"
             ".BR reeve\\-job (5),\n"
             "says what to run; each instance of a job is a task, called by the job, a dot and a\n"
             "number:\n"
             ".BR web.0 .\n"
             ".B reeve up\n"
             "starts Reeve on a machine; the other commands ask it. Listings are JSON with\n"
             ".BR \\-\\-json ,\n"
             "and fit the terminal without.\n"
             ".SH COMMANDS");
        for (size_t i = 0; commands[i] != NULL; i++)
                if (!commands[i]->hidden)
                        print_command_roff(commands[i]);
        puts(".SH ENVIRONMENT");
        for (size_t i = 0; i < ARRAY_SIZE(variables); i++)
                print_term(variables[i].name, variables[i].help);
        puts(".SH EXIT STATUS");
        for (int status = 0; status < ERR_CODE_COUNT; status++) {
                printf(".TP\n.B %d\n", status);
                print_roff(code_help[code_of(status)]);
        }
        puts(".SH EXAMPLES\n"
             ".EX\n"
             "reeve up \\-\\-jobs /etc/reeve/jobs\n"
             "reeve apply \\-\\-wait web.yaml\n"
             "reeve ps web\n"
             "reeve logs \\-f \\-n 20 web\n"
             "reeve why web.0\n"
             ".EE\n"
             ".SH SEE ALSO\n"
             ".BR reeve\\-job (5),\n"
             ".BR reeve\\-keeper (8)");
}

static int run(const char *const *operands, struct error *err)
{
        if (strcmp(*operands, "markdown") == 0)
                print_markdown();
        else if (strcmp(*operands, "man") == 0)
                print_man();
        else
                return error_set(err, ERR_INVALID, "markdown or man, not \"%s\"", *operands);
        return 0;
}

const struct command command_reference = {
        .name = "reference",
        .operands = "markdown|man",
        .summary = "print docs/cli.md or man/reeve.1",
        .operands_min = 1,
        .operands_max = 1,
        .run = run,
        .hidden = true,
};
