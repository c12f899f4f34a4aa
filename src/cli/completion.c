/* SPDX-License-Identifier: BSD-3-Clause */
/* Completion for bash, made from the table of commands. What an option or operand is called says
 * what is offered for it: FILE, DIR and PATH are files, JOB, TASK and NODE are asked of the server.
 */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"

static const char *kind_of(const char *word)
{
        static char kind[64];
        bool job = strstr(word, "JOB") != NULL, task = strstr(word, "TASK") != NULL;
        bool node = strstr(word, "NODE") != NULL;

        if (strcmp(word, "DIR") == 0)
                return "dir";
        if (strstr(word, "FILE") != NULL || strcmp(word, "PATH") == 0)
                return "file";
        if (job && task)
                return node ? "all" : "both";
        if (node)
                return "node";
        if (job || task)
                return job ? "job" : "task";
        if (*word == '\0' || (*word >= 'A' && *word <= 'Z') || *word == '[')
                return "none";
        snprintf(kind, sizeof kind, "words %s", word);
        return kind;
}

/* `--data=dir -d=dir --json`: an option that takes a value is followed by what it is. */
static void print_options(const struct command *c)
{
        printf("        '%s') operand='%s' options='", c->name, kind_of(c->operands));
        for (const struct option_row *o = c->options; o != NULL && o->name != NULL; o++) {
                const char *kind = o->argument != NULL ? kind_of(o->argument) : "";

                printf("--%s%s%s ", o->name, *kind != '\0' ? "=" : "", kind);
                if (o->letter != 0)
                        printf("-%c%s%s ", o->letter, *kind != '\0' ? "=" : "", kind);
        }
        puts("--help -h' ;;");
}

/* The first words of the commands, each once. */
static void print_words(void)
{
        const struct command *before = NULL;

        for (size_t i = 0; commands[i] != NULL; i++) {
                size_t len = command_word_len(commands[i]);

                if (commands[i]->hidden)
                        continue;
                if (before == NULL || command_word_len(before) != len ||
                        strncmp(before->name, commands[i]->name, len) != 0)
                        printf("%.*s ", (int) len, commands[i]->name);
                before = commands[i];
        }
}

/* `token) verbs+='create ' ;;&`: what follows the first word of a name of two. */
static void print_verbs(void)
{
        for (size_t i = 0; commands[i] != NULL; i++) {
                const struct command *c = commands[i];
                size_t len = command_word_len(c);

                if (!c->hidden && c->name[len] == ' ')
                        printf("        %.*s) verbs+='%s ' ;;&\n", (int) len, c->name,
                                c->name + len + 1);
        }
}

static void print_script(void)
{
        puts("# Completion of `reeve` for bash: eval \"$(reeve completion bash)\"\n"
             "_reeve_names() {\n"
             "    case \"$1\" in\n"
             "        job) reeve jobs 2>/dev/null | sed 1d | cut -d' ' -f1 ;;\n"
             "        task) reeve ps 2>/dev/null | sed 1d | cut -d' ' -f1 ;;\n"
             "        node) reeve nodes 2>/dev/null | sed 1d | cut -d' ' -f1 ;;\n"
             "        both) _reeve_names job; _reeve_names task ;;\n"
             "        all) _reeve_names both; _reeve_names node ;;\n"
             "        words) printf '%s\\n' \"${@:2}\" ;;\n"
             "    esac\n"
             "}\n"
             "\n"
             "_reeve_offer() {\n"
             "    case \"$1\" in\n"
             "        file) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$2\") "
             ";;\n"
             "        dir) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- \"$2\") "
             ";;\n"
             "        *) COMPREPLY=($(compgen -W \"$(_reeve_names $1)\" -- \"$2\")) ;;\n"
             "    esac\n"
             "}\n"
             "\n"
             "_reeve() {\n"
             "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
             "    local operand='none' options='' option names='' equals=''\n"
             "    local command=${COMP_WORDS[1]} verbs=''\n"
             "    COMPREPLY=()\n"
             "    if [[ $word == = ]]; then # --data=DIR is three words for bash\n"
             "        equals=yes word=''\n"
             "    elif [[ $before == = ]]; then\n"
             "        equals=yes before=${COMP_WORDS[COMP_CWORD-2]}\n"
             "    fi\n"
             "    if ((COMP_CWORD == 1)); then");
        fputs("        COMPREPLY=($(compgen -W '", stdout);
        print_words();
        puts("help' -- \"$word\"))\n"
             "        return\n"
             "    fi\n"
             "    case \"$command\" in");
        print_verbs();
        puts("    esac\n"
             "    if [[ -n $verbs ]]; then\n"
             "        if ((COMP_CWORD == 2)); then\n"
             "            COMPREPLY=($(compgen -W \"$verbs\" -- \"$word\"))\n"
             "            return\n"
             "        fi\n"
             "        command+=\" ${COMP_WORDS[2]}\"\n"
             "    fi\n"
             "    case \"$command\" in");
        for (size_t i = 0; commands[i] != NULL; i++)
                if (!commands[i]->hidden)
                        print_options(commands[i]);
        fputs("        help) operand='words ", stdout);
        print_words();
        puts("' ;;\n"
             "    esac\n"
             "    for option in $options; do\n"
             "        if [[ $option == \"$before=\"* ]]; then\n"
             "            _reeve_offer \"${option#*=}\" \"$word\"\n"
             "            return\n"
             "        fi\n"
             "        [[ $option == --* ]] && names+=\"${option%%=*} \"\n"
             "    done\n"
             "    if [[ -n $equals ]]; then\n"
             "        return\n"
             "    elif [[ $word == -* ]]; then\n"
             "        COMPREPLY=($(compgen -W \"$names\" -- \"$word\"))\n"
             "    else\n"
             "        _reeve_offer \"$operand\" \"$word\"\n"
             "    fi\n"
             "}\n"
             "complete -F _reeve reeve");
}

static int run(const char *const *operands, struct error *err)
{
        if (strcmp(*operands, "bash") != 0)
                return error_set(err, ERR_NOT_FOUND, "no completion for \"%s\"; there is one: bash",
                        *operands);
        print_script();
        return 0;
}

const struct command command_completion = {
        .name = "completion",
        .operands = "bash",
        .summary = "print what makes a shell complete commands, options and names",
        .details = "In ~/.bashrc: eval \"$(reeve completion bash)\"",
        .operands_min = 1,
        .operands_max = 1,
        .run = run,
};
