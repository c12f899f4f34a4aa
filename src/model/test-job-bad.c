/* SPDX-License-Identifier: BSD-3-Clause */
/* Job files that must be refused, each with the sentence its author reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/macros.h"
#include "model/job.h"

struct row {
        const char *text;
        const char *message;
};

/* The first lines of a file with one good job, so that what follows begins on line 4. */
#define WEB "jobs:\n  web:\n    command: [run]\n"

#define FIELDS                                                                                     \
        "there are kind, template, count, command, user, group, groups, dynamic_user, umask, "     \
        "nice, oom_score, "                                                                        \
        "cpus, max_run_time, "                                                                     \
        "directory, env, env_files, pid_file, daemon, success_codes, priority, owner, singleton, " \
        "lease, resources, limits, io, sandbox, "                                                  \
        "place, queue, lost, restart, alerts, stop, ready, health, watchdog, sockets, start, "     \
        "fd_store, after, "                                                                        \
        "after_failure, logs, "                                                                    \
        "update, batch and schedule"

static const struct row yaml_rows[] = {
        /* the file */
        { "", "f:1: the file is empty; a job file has \"jobs\"" },
        { "# nothing\n", "f:1: the file is empty; a job file has \"jobs\"" },
        { "--- \n...\n", "f:2: the file is empty; a job file has \"jobs\"" },
        { "hello", "f:1: expected an object with \"jobs\", got \"hello\"" },
        { "[1]", "f:1: expected an object with \"jobs\", got a list" },
        { "12", "f:1: expected an object with \"jobs\", got 12" },
        { "{}", "f:1: \"jobs\" is missing" },
        { "jobs:\n", "f:1: jobs: there is no job in it" },
        { "jobs: {}\n", "f:1: jobs: there is no job in it" },
        { "jobs: []\n", "f:1: jobs: expected an object of names and specs, got a list" },
        { "jobs: web\n", "f:1: jobs: expected an object of names and specs, got \"web\"" },
        { "\njob:\n  web: {command: x}\n", "f:2: job: unknown field; did you mean \"jobs\"?" },
        { WEB "version: 1\n", "f:4: version: unknown field; a job file has only \"jobs\"" },
        { "kind: batch\ncommand: make\n",
                "f:1: kind: unknown field; the spec of a job stands under its name: "
                "jobs: {NAME: {kind: ...}}" },
        { "command: make\n",
                "f:1: command: unknown field; the spec of a job stands under its name: "
                "jobs: {NAME: {command: ...}}" },
        { "web:\n  command: make\n", "f:1: web: unknown field; a job stands under \"jobs\"" },
        /* names of jobs */
        { "jobs:\n  a b: {command: x}\n",
                "f:2: jobs.\"a b\": not a name: 1 to 63 letters, digits, \"-\" and \"_\", a letter "
                "or digit first" },
        { "jobs:\n  -a: {command: x}\n",
                "f:2: jobs.-a: not a name: 1 to 63 letters, digits, \"-\" and \"_\", a letter or "
                "digit first" },
        { "jobs:\n  \"\": {command: x}\n",
                "f:2: jobs.\"\": not a name: 1 to 63 letters, digits, \"-\" and \"_\", a letter or "
                "digit first" },
        { "jobs:\n  web.0: {command: x}\n",
                "f:2: jobs.\"web.0\": not a name: 1 to 63 letters, digits, \"-\" and \"_\", a "
                "letter or digit first" },
        { "jobs:\n  web: run\n", "f:2: jobs.web: expected the spec of a job, an object, got "
                                 "\"run\"" },
        { "jobs:\n  web:\n", "f:2: jobs.web: expected the spec of a job, an object, got null" },
        { "jobs:\n  web: [run]\n",
                "f:2: jobs.web: expected the spec of a job, an object, got a list" },
        /* unknown fields */
        { WEB "    restrat: {}\n", "f:4: jobs.web.restrat: unknown field; did you mean "
                                   "\"restart\"?" },
        { WEB "    kidn: batch\n", "f:4: jobs.web.kidn: unknown field; did you mean \"kind\"?" },
        { WEB "    delay: 1s\n", "f:4: jobs.web.delay: unknown field; \"delay\" belongs under "
                                 "\"restart\"" },
        { WEB "    signal: TERM\n",
                "f:4: jobs.web.signal: unknown field; \"signal\" belongs under \"restart.rules\" "
                "or \"stop\"" },
        { WEB "    stop:\n      files: 3\n", "f:5: jobs.web.stop.files: unknown field; \"files\" "
                                             "belongs under \"limits\" or \"logs\"" },
        { WEB "    stop:\n      grace: 1s\n      count: 3\n",
                "f:6: jobs.web.stop.count: unknown field; \"count\" belongs beside \"stop\", not "
                "under it" },
        { WEB "    restart:\n      rules:\n      - exit: 1\n        then: end\n        user: x\n",
                "f:8: jobs.web.restart.rules[0].user: unknown field; \"user\" belongs beside "
                "\"restart\", not under it" },
        { WEB "    restart: {brust: 3}\n",
                "f:4: jobs.web.restart.brust: unknown field; did you mean \"burst\"?" },
        { WEB "    stop:\n      timeout: 3\n",
                "f:5: jobs.web.stop.timeout: unknown field; \"timeout\" belongs under \"daemon\" "
                "or \"ready\" or "
                "\"health\"" },
        { WEB "    update: {zzz: 1}\n", "f:4: jobs.web.update.zzz: unknown field; there are "
                                        "parallel, order, healthy, pause, "
                                        "deadline, revert and canary" },
        { WEB "    artifacts: {}\n", "f:4: jobs.web.artifacts: unknown field; " FIELDS },
        { WEB "    ? \"x\\ny\\e[31m\"\n    : 1\n",
                "f:4: jobs.web.\"x\\ny\\u001b[31m\": unknown field; " FIELDS },
        { WEB "    <<: {}\n", "f:4: jobs.web.\"<<\": unknown field; " FIELDS },
        /* kind, count */
        { WEB "    kind: servise\n",
                "f:4: jobs.web.kind: expected \"service\", \"batch\", \"cron\" or \"system\", got "
                "\"servise\"; did you mean \"service\"?" },
        { WEB "    kind: daemon\n",
                "f:4: jobs.web.kind: expected \"service\", \"batch\", \"cron\" or \"system\", got "
                "\"daemon\"" },
        { WEB "    kind: Service\n",
                "f:4: jobs.web.kind: expected \"service\", \"batch\", \"cron\" or \"system\", got "
                "\"Service\"; did you mean \"service\"?" },
        { WEB "    kind: 1\n", "f:4: jobs.web.kind: expected \"service\", \"batch\", \"cron\" or "
                               "\"system\", got 1" },
        { WEB "    count: x\n", "f:4: jobs.web.count: expected a number, got \"x\"" },
        { WEB "    count: \"3\"\n", "f:4: jobs.web.count: expected a number, got \"3\"" },
        { WEB "    count: 03\n", "f:4: jobs.web.count: expected a number, got \"03\"" },
        { WEB "    count: 1.50\n", "f:4: jobs.web.count: expected a whole number, got 1.50" },
        { WEB "    count: true\n", "f:4: jobs.web.count: expected a number, got true" },
        { WEB "    count: [1]\n", "f:4: jobs.web.count: expected a number, got a list" },
        { WEB "    count: -1\n", "f:4: jobs.web.count: expected a number from 0 to 100000, got "
                                 "-1" },
        { WEB "    count: 100001\n", "f:4: jobs.web.count: expected a number from 0 to 100000, "
                                     "got 100001" },
        { WEB "    count: 9223372036854775807\n",
                "f:4: jobs.web.count: expected a number from 0 to 100000, got "
                "9223372036854775807" },
        { WEB "    count: 9223372036854775808\n", "f:4: the number is too large" },
        { WEB "    count: 1e999\n", "f:4: the number is too large" },
        /* command */
        { "jobs:\n\n  web:\n    count: 1\n", "f:3: jobs.web: \"command\" is missing" },
        { "jobs:\n  web: {}\n", "f:2: jobs.web: \"command\" is missing" },
        { "jobs:\n  web:\n    command:\n", "f:2: jobs.web: \"command\" is missing" },
        { "jobs:\n  web:\n    command: []\n", "f:3: jobs.web.command: the list is empty" },
        { "jobs:\n  web:\n    command: \"\"\n", "f:3: jobs.web.command: expected a list of texts, "
                                                "or one text for the shell, got \"\"" },
        { "jobs:\n  web:\n    command: {a: b}\n",
                "f:3: jobs.web.command: expected a list of texts, or one text for the shell, got "
                "an object" },
        { "jobs:\n  web:\n    command:\n    - \"\"\n",
                "f:4: jobs.web.command[0]: expected the program to run, got \"\"" },
        { "jobs:\n  web:\n    command:\n    - a\n    - [b]\n",
                "f:5: jobs.web.command[1]: expected text, got a list" },
        { "jobs:\n  web:\n    command: [a, null]\n",
                "f:3: jobs.web.command[1]: expected text, got null" },
        { "jobs:\n  web:\n    command: [a, \"b\\0c\"]\n", "f:3: a NUL character is not allowed" },
        /* user, group, directory */
        { WEB "    user: \"\"\n", "f:4: jobs.web.user: expected text, got \"\"" },
        { WEB "    user: [a]\n", "f:4: jobs.web.user: expected text, got a list" },
        { WEB "    group: {}\n", "f:4: jobs.web.group: expected text, got an object" },
        { WEB "    directory: srv\n", "f:4: jobs.web.directory: expected an absolute path, got "
                                      "\"srv\"" },
        { WEB "    directory: 5\n", "f:4: jobs.web.directory: expected an absolute path, got 5" },
        /* env */
        { WEB "    env: [A]\n", "f:4: jobs.web.env: expected an object of names and values, got a "
                                "list" },
        { WEB "    env:\n      A: 1\n      B: [1]\n",
                "f:6: jobs.web.env.B: expected text, got a list" },
        { WEB "    env: {A: }\n",
                "f:4: jobs.web.env.A: expected text (\"\" for an empty value), got null" },
        { WEB "    env: {1A: x}\n", "f:4: jobs.web.env.1A: not the name of a variable: letters, "
                                    "digits, \"_\", \".\" and \"-\", not a digit first" },
        { WEB "    env: {\"A=B\": x}\n",
                "f:4: jobs.web.env.\"A=B\": not the name of a variable: letters, digits, \"_\", "
                "\".\" and \"-\", not a digit first" },
        { WEB "    env: {\"\": x}\n",
                "f:4: jobs.web.env.\"\": not the name of a variable: letters, digits, \"_\", "
                "\".\" and \"-\", not a digit first" },
        /* success_codes */
        { WEB "    success_codes: []\n", "f:4: jobs.web.success_codes: the list is empty" },
        { WEB "    success_codes: 256\n", "f:4: jobs.web.success_codes: expected an exit code "
                                          "from 0 to 255, got 256" },
        { WEB "    success_codes:\n    - 0\n    - -1\n",
                "f:6: jobs.web.success_codes[1]: expected an exit code from 0 to 255, got -1" },
        { WEB "    success_codes: ok\n", "f:4: jobs.web.success_codes: expected an exit code from "
                                         "0 to 255, got \"ok\"" },
        /* restart */
        { WEB "    restart: always\n", "f:4: jobs.web.restart: expected an object, got "
                                       "\"always\"" },
        { WEB "    restart:\n      policy: on-faliure\n",
                "f:5: jobs.web.restart.policy: expected \"always\", \"on-failure\" or \"never\", "
                "got \"on-faliure\"; did you mean \"on-failure\"?" },
        { WEB "    restart:\n      policy: no\n",
                "f:5: jobs.web.restart.policy: expected \"always\", \"on-failure\" or \"never\", "
                "got \"no\"" },
        { WEB "    restart:\n      delay: 5 parsecs\n",
                "f:5: jobs.web.restart.delay: expected a duration such as \"1m30s\" (units: us, "
                "ms, s, m, h, d), got \"5 parsecs\"" },
        { WEB "    restart:\n      delay: never\n",
                "f:5: jobs.web.restart.delay: expected a duration such as \"1m30s\" (units: us, "
                "ms, s, m, h, d), got \"never\"" },
        { WEB "    restart:\n      delay: true\n",
                "f:5: jobs.web.restart.delay: expected a duration such as \"1m30s\", got true" },
        { WEB "    restart:\n      delay: -1\n",
                "f:5: jobs.web.restart.delay: expected a duration from 0s to 365d, got -1" },
        { WEB "    restart:\n      delay: 1e300\n",
                "f:5: jobs.web.restart.delay: expected a duration from 0s to 365d, got 1e300" },
        { WEB "    restart:\n      delay: 366d\n",
                "f:5: jobs.web.restart.delay: expected a duration from 0s to 365d, got "
                "\"366d\"" },
        { WEB "    restart:\n      window: 0\n",
                "f:5: jobs.web.restart.window: expected a duration from 1ms to 365d, got 0" },
        { WEB "    restart:\n      delay: 10s\n      max_delay: 5s\n",
                "f:6: jobs.web.restart.max_delay: expected no less than the delay of 10s, got "
                "\"5s\"" },
        { WEB "    restart:\n      max_delay: 0.5\n",
                "f:5: jobs.web.restart.max_delay: expected no less than the delay of 1s, got "
                "0.5" },
        { WEB "    restart:\n      burst: x\n",
                "f:5: jobs.web.restart.burst: expected a number, got \"x\"" },
        { WEB "    restart:\n      rules: {exit: 1}\n",
                "f:5: jobs.web.restart.rules: expected a list of rules, got an object" },
        { WEB "    restart:\n      rules:\n      - 5\n",
                "f:6: jobs.web.restart.rules[0]: expected an object such as "
                "{exit: 78, then: end}, got 5" },
        { WEB "    restart:\n      rules:\n      - {exit: 1, then: end}\n      - exit: 1\n",
                "f:7: jobs.web.restart.rules[1]: \"then\" is missing" },
        { WEB "    restart:\n      rules:\n      - then: end\n",
                "f:6: jobs.web.restart.rules[0]: \"exit\" or \"signal\" is missing" },
        { WEB "    restart:\n      rules:\n      - exit: 1\n        then: stop\n",
                "f:7: jobs.web.restart.rules[0].then: expected \"restart\" or \"end\", got "
                "\"stop\"" },
        { WEB "    restart:\n      rules:\n      - signal: [TERM, FOO]\n        then: end\n",
                "f:6: jobs.web.restart.rules[0].signal[1]: expected a signal such as TERM or 15, "
                "got \"FOO\"" },
        { WEB "    restart:\n      rules:\n      - exit:\n        - 1\n        - x\n",
                "f:8: jobs.web.restart.rules[0].exit[1]: expected an exit code from 0 to 255, got "
                "\"x\"" },
        /* the cluster */
        { WEB "    priority: 101\n",
                "f:4: jobs.web.priority: expected a number from 0 to 100, got 101" },
        { WEB "    priority: high\n", "f:4: jobs.web.priority: expected a number, got \"high\"" },
        { WEB "    prioriti: 5\n",
                "f:4: jobs.web.prioriti: unknown field; did you mean \"priority\"?" },
        { WEB "    template: yes\n",
                "f:4: jobs.web.template: expected true or false, got \"yes\"" },
        { WEB "    template: 1\n", "f:4: jobs.web.template: expected true or false, got 1" },
        { WEB "    owner: \"\"\n", "f:4: jobs.web.owner: expected text, got \"\"" },
        { WEB "    cpu: 1\n", "f:4: jobs.web.cpu: unknown field; \"cpu\" belongs under "
                              "\"resources\" or \"limits\"" },
        { WEB "    resources: {mem: 1}\n", "f:4: jobs.web.resources.mem: unknown field; there are "
                                           "cpu, memory, disk and ports" },
        { WEB "    resources: {memroy: 1}\n",
                "f:4: jobs.web.resources.memroy: unknown field; did you mean \"memory\"?" },
        { WEB "    resources: {cpu: -0.5}\n",
                "f:4: jobs.web.resources.cpu: expected a number from 0 to 10000, got -0.5" },
        { WEB "    resources: {cpu: 10000.001}\n",
                "f:4: jobs.web.resources.cpu: expected a number from 0 to 10000, got 10000.001" },
        { WEB "    resources: {cpu: 1e300}\n",
                "f:4: jobs.web.resources.cpu: expected a number from 0 to 10000, got 1e300" },
        { WEB "    resources: {cpu: 0.0005}\n", "f:4: jobs.web.resources.cpu: expected a number of "
                                                "at most three decimals, got 0.0005" },
        { WEB "    resources: {cpu: 0.5m}\n", "f:4: jobs.web.resources.cpu: expected a number of "
                                              "at most three decimals, got \"0.5m\"" },
        { WEB "    resources: {cpu: 5 m}\n",
                "f:4: jobs.web.resources.cpu: expected a number such as 0.5 or 500m, got \"5 m\"" },
        { WEB "    resources: {cpu: two}\n",
                "f:4: jobs.web.resources.cpu: expected a number such as 0.5 or 500m, got \"two\"" },
        { WEB "    resources: {cpu: 1.2.3}\n", "f:4: jobs.web.resources.cpu: expected a number "
                                               "such as 0.5 or 500m, got \"1.2.3\"" },
        { WEB "    resources: {cpu: \"\"}\n",
                "f:4: jobs.web.resources.cpu: expected a number such as 0.5 or 500m, got \"\"" },
        { WEB "    resources: {cpu: [1]}\n",
                "f:4: jobs.web.resources.cpu: expected a number such as 0.5 or 500m, got a list" },
        { WEB "    resources: {ports: [http, http]}\n",
                "f:4: jobs.web.resources.ports[1]: it is in the list twice" },
        { WEB "    resources: {ports: [a b]}\n",
                "f:4: jobs.web.resources.ports[0]: expected a name (1 to 63 letters, digits, \"-\" "
                "and \"_\", a letter or digit first), got \"a b\"" },
        { WEB "    resources: {ports: -x}\n",
                "f:4: jobs.web.resources.ports: expected a name (1 to 63 letters, digits, \"-\" "
                "and \"_\", a letter or digit first), got \"-x\"" },
        { WEB "    resources: {ports: [a, b, c, d, e, f, g, h, i]}\n",
                "f:4: jobs.web.resources.ports: 9 in the list; at most 8" },
        { WEB "    resources: {ports: {a: 1}}\n",
                "f:4: jobs.web.resources.ports: expected text, got an object" },
        { WEB "    place: {zone: [west, null]}\n",
                "f:4: jobs.web.place.zone[1]: expected text, got null" },
        { WEB "    place: {zone: [west, west]}\n",
                "f:4: jobs.web.place.zone[1]: it is in the list twice" },
        { WEB "    place: {node: a/b}\n",
                "f:4: jobs.web.place.node: expected a name (1 to 63 letters, digits, \"-\" and "
                "\"_\", a letter or digit first), got \"a/b\"" },
        { WEB "    place: {spread: \"a b\"}\n",
                "f:4: jobs.web.place.spread: expected the name of an attribute (1 to 63 letters, "
                "digits, \"_\", \".\" and \"-\", a letter first), got \"a b\"" },
        { WEB "    place: {by: packed}\n", "f:4: jobs.web.place.by: expected \"spread\" or "
                                           "\"pack\", got \"packed\"; did you mean \"pack\"?" },
        { WEB "    place: {where: memory > big}\n",
                "f:4: jobs.web.place.where: expected a number (such as 4, 4GiB or 500m) or "
                "\"version\" and one after \">\", got \"big\"" },
        { WEB "    place: {where: [a = b, a b]}\n", "f:4: jobs.web.place.where[1]: expected =, !=, "
                                                    "<, <=, >, >=, ~, in or exists after \"a\"" },
        { WEB "    place: {where: [a = b, [c]]}\n",
                "f:4: jobs.web.place.where[1]: expected a condition such as \"memory >= 4GiB\", "
                "got a list" },
        { WEB "    place: {where: {a: b}}\n", "f:4: jobs.web.place.where: expected a condition "
                                              "such as \"memory >= 4GiB\", got an object" },
        { WEB "    place: {prefer: a = b}\n",
                "f:4: jobs.web.place.prefer: expected a list of preferences, got \"a = b\"" },
        { WEB "    place: {prefer: [a = b]}\n",
                "f:4: jobs.web.place.prefer[0]: expected an object such as {where: \"disk_kind = "
                "ssd\", weight: 50}, got \"a = b\"" },
        { WEB "    place: {prefer: [{where: a = b}]}\n",
                "f:4: jobs.web.place.prefer[0]: \"weight\" is missing" },
        { WEB "    place: {prefer: [{weight: 5}]}\n",
                "f:4: jobs.web.place.prefer[0]: \"where\" is missing" },
        { WEB "    place: {prefer: [{where: a, weight: 5}]}\n",
                "f:4: jobs.web.place.prefer[0].where: expected =, !=, <, <=, >, >=, ~, in or "
                "exists after \"a\"" },
        { WEB "    place: {prefer: [{where: [a = b], weight: 5}]}\n",
                "f:4: jobs.web.place.prefer[0].where: expected a condition such as \"memory >= "
                "4GiB\", got a list" },
        { WEB "    place: {prefer: [{where: a = b, weight: 0}]}\n",
                "f:4: jobs.web.place.prefer[0].weight: expected a whole number from -100 to 100, "
                "not 0, got 0" },
        { WEB "    place: {prefer: [{where: a = b, weight: -101}]}\n",
                "f:4: jobs.web.place.prefer[0].weight: expected a whole number from -100 to 100, "
                "not 0, got -101" },
        { WEB "    place: {prefer: [{where: a = b, wieght: 1}]}\n",
                "f:4: jobs.web.place.prefer[0].wieght: unknown field; did you mean \"weight\"?" },
        { WEB "    place: {constraint: 1}\n",
                "f:4: jobs.web.place.constraint: unknown field; there are zone, node, where, "
                "prefer, spread, by, exclusive, with and gang" },
        { WEB "    place: {lease: 1}\n", "f:4: jobs.web.place.lease: unknown field; \"lease\" "
                                         "belongs beside \"place\", not under it" },
        { WEB "    spread: rack\n",
                "f:4: jobs.web.spread: unknown field; \"spread\" belongs under \"place\"" },
        { WEB "    deadline: 1h\n", "f:4: jobs.web.deadline: unknown field; \"deadline\" belongs "
                                    "under \"ready\" or \"update\" or \"batch\"" },
        { WEB "    queue: {mode: sometimes}\n",
                "f:4: jobs.web.queue.mode: expected \"always\", \"never\", \"start-only\" or "
                "\"restart-only\", got \"sometimes\"" },
        { WEB "    queue: {mode: restart_only}\n",
                "f:4: jobs.web.queue.mode: expected \"always\", \"never\", \"start-only\" or "
                "\"restart-only\", got \"restart_only\"; did you mean \"restart-only\"?" },
        { WEB "    lost: {then: stay}\n",
                "f:4: jobs.web.lost.then: expected \"move\", \"wait\" or \"end\", got \"stay\"" },
        { WEB "    lease: 0\n", "f:4: jobs.web.lease: expected a duration from 1s to 1d, got 0" },
        { WEB "    batch: {retries: all}\n",
                "f:4: jobs.web.batch.retries: expected a number or \"none\", got \"all\"" },
        { WEB "    batch: {retries: 1.5}\n",
                "f:4: jobs.web.batch.retries: expected a whole number, got 1.5" },
        { WEB "    batch: {retries: 100001}\n",
                "f:4: jobs.web.batch.retries: expected a number from 0 to 100000, got 100001" },
        { WEB "    batch: {retries: 4294967295}\n",
                "f:4: jobs.web.batch.retries: expected a number from 0 to 100000, got 4294967295" },
        { WEB "    update: {order: start_first}\n",
                "f:4: jobs.web.update.order: expected \"stop-first\" or \"start-first\", got "
                "\"start_first\"; did you mean \"start-first\"?" },
        { WEB "    update: {deadline: 0}\n",
                "f:4: jobs.web.update.deadline: expected a duration from 1ms to 365d, got 0" },
        { WEB "    schedule: {overlap: kill}\n",
                "f:4: jobs.web.schedule.overlap: expected \"skip\", \"wait\" or \"replace\", got "
                "\"kill\"" },
        { WEB "    schedule: {zone: ../etc/passwd}\n",
                "f:4: jobs.web.schedule.zone: expected the name of a time zone such as "
                "\"Europe/Paris\", got \"../etc/passwd\"" },
        /* what fields say together */
        { WEB "    kind: system\n    count: 3\n",
                "f:5: jobs.web.count: leave it out: a system job has one task on every node" },
        { WEB "    count: 1\n    place: {with: db}\n",
                "f:4: jobs.web.count: leave it out: with \"place.with\" there is one task on every "
                "node of the other job" },
        { WEB "    place: {gang: true}\n    kind: system\n",
                "f:4: jobs.web.place.gang: not possible for a job with one task on every node" },
        { WEB "    place: {with: db, gang: true}\n",
                "f:4: jobs.web.place.gang: not possible for a job with one task on every node" },
        { WEB "    kind: system\n    update: {order: start-first}\n",
                "f:5: jobs.web.update.order: expected \"stop-first\": with one task on every node "
                "none begins beside another" },
        { WEB "    kind: system\n    place:\n      with: db\n",
                "f:6: jobs.web.place.with: not possible for a system job: both say on which nodes "
                "there is a task" },
        { WEB "    place: {with: web}\n",
                "f:4: jobs.web.place.with: expected another job, not this one" },
        { WEB "    singleton: true\n    count: 2\n",
                "f:5: jobs.web.count: a singleton has a count of 1, not 2" },
        { WEB "    singleton: true\n    count: 0\n",
                "f:5: jobs.web.count: a singleton has a count of 1, not 0" },
        { WEB "    singleton: true\n    kind: batch\n",
                "f:5: jobs.web.kind: a singleton is a service, not \"batch\"" },
        { WEB "    singleton: true\n    place: {with: db}\n",
                "f:5: jobs.web.place.with: not possible for a singleton: there would be a task on "
                "every node" },
        { WEB "    update: {order: start-first}\n    singleton: true\n",
                "f:4: jobs.web.update.order: a singleton needs \"stop-first\": with "
                "\"start-first\" two would run" },
        { WEB "    singleton: true\n    update: {canary: 1}\n",
                "f:5: jobs.web.update.canary: a singleton cannot have one: two would run" },
        { WEB "    count: 3\n    update: {canary: 4}\n",
                "f:5: jobs.web.update.canary: expected no more than the count of 3, got 4" },
        { WEB "    update: {canary: 2}\n",
                "f:4: jobs.web.update.canary: expected no more than the count of 1, got 2" },
        { WEB "    kind: cron\n",
                "f:4: jobs.web.kind: a cron job needs \"schedule.cron\", such as \"0 3 * * *\"" },
        { WEB "    kind: cron\n    schedule: {zone: UTC}\n",
                "f:4: jobs.web.kind: a cron job needs \"schedule.cron\", such as \"0 3 * * *\"" },
        { WEB "    schedule: {cron: 0 3 * * *}\n",
                "f:4: jobs.web.schedule.cron: only for a job of kind \"cron\"; this one is of kind "
                "\"service\"" },
        { WEB "    kind: cron\n    schedule:\n      jitter: 5s\n      cron: 61 3 * * *\n",
                "f:7: jobs.web.schedule.cron: minute: 61 is more than 59 (character 1)" },
        /* stop, logs, update */
        { WEB "    stop: {signal: SIGFOO}\n",
                "f:4: jobs.web.stop.signal: expected a signal such as TERM or 15, got "
                "\"SIGFOO\"" },
        { WEB "    stop: {signal: 0}\n",
                "f:4: jobs.web.stop.signal: expected a signal such as TERM or 15, got 0" },
        { WEB "    stop: {signal: 65}\n",
                "f:4: jobs.web.stop.signal: expected a signal such as TERM or 15, got 65" },
        { WEB "    stop: {grace: 10 s 5}\n    logs: {size: 1}\n",
                "f:5: jobs.web.logs.size: expected a size from 4KiB to 1TiB, got 1" },
        { WEB "    logs: {size: 10 MiBs}\n",
                "f:4: jobs.web.logs.size: expected a size such as \"10MiB\" (units: B, KiB, MiB, "
                "GiB, TiB, kB, MB, GB, TB), got \"10 MiBs\"" },
        { WEB "    logs: {size: 1.5}\n",
                "f:4: jobs.web.logs.size: expected a size such as \"10MiB\", got 1.5" },
        { WEB "    logs: {size: -5}\n",
                "f:4: jobs.web.logs.size: expected a size from 4KiB to 1TiB, got -5" },
        { WEB "    logs: {size: 9000000TiB}\n",
                "f:4: jobs.web.logs.size: expected a size such as \"10MiB\" (units: B, KiB, MiB, "
                "GiB, TiB, kB, MB, GB, TB), got \"9000000TiB\"" },
        { WEB "    logs: {files: 1001}\n",
                "f:4: jobs.web.logs.files: expected a number from 0 to 1000, got 1001" },
        { WEB "    logs: {when_full: spill}\n",
                "f:4: jobs.web.logs.when_full: expected \"block\" or \"drop\", got \"spill\"" },
        { WEB "    update: {parallel: 0}\n",
                "f:4: jobs.web.update.parallel: expected a number from 1 to 100000, got 0" },
        { WEB "    update: 1\n", "f:4: jobs.web.update: expected an object, got 1" },
        /* what YAML could, and job files cannot */
        { "jobs: &a\n  web: {command: x}\n",
                "f:1: anchors (&name) are not supported; write the value again" },
        { WEB "    user: &u x\n", "f:4: anchors (&name) are not supported; write the value again" },
        { WEB "    env: *u\n", "f:4: aliases (*name) are not supported; write the value again" },
        { WEB "    *u : x\n", "f:4: aliases (*name) are not supported; write the value again" },
        { WEB "    user: !!str 5\n", "f:4: tags (!name) are not supported" },
        { WEB "    !x user: 5\n", "f:4: tags (!name) are not supported" },
        { WEB "    env: !!map {}\n", "f:4: tags (!name) are not supported" },
        { WEB "    success_codes: !!seq []\n", "f:4: tags (!name) are not supported" },
        { WEB "    ? [a]\n    : 1\n", "f:4: a key must be a word, not a list or an object" },
        { WEB "    count: 1\n    count: 2\n", "f:5: duplicate key \"count\"" },
        { "jobs:\n  web: {command: x}\n  web: {command: x}\n", "f:3: duplicate key \"web\"" },
        { WEB "---\njobs: {}\n", "f:4: a second document begins here; a file has one" },
        { "jobs:\n\tweb:\n", "f:2: not valid YAML: indented with a tab; use spaces" },
        { "jobs: [a\nb: c\n",
                "f:2: not valid YAML: did not find expected ',' or ']' (while parsing a flow "
                "sequence that begins on line 1)" },
        { "jobs: 'a\n", "f:2: not valid YAML: found unexpected end of stream (while scanning a "
                        "quoted scalar that begins on line 1)" },
        { "jobs:\n  x: \"\xff\"\n", "f:2: not valid YAML: invalid leading UTF-8 octet" },
        { "jobs:\n  x: \x01\n", "f:2: not valid YAML: control characters are not allowed" },
};

static const struct row json_rows[] = {
        { "", "f:1: the file is empty; a job file has \"jobs\"" },
        { " // nothing\n", "f:2: the file is empty; a job file has \"jobs\"" },
        { "null", "f:1: the file is empty; a job file has \"jobs\"" },
        { "[]", "f:1: expected an object with \"jobs\", got a list" },
        { "{\"jobs\": {\n\"web\": {\n\"command\": [\"x\"],\n\"count\":\n\"x\"}}}",
                "f:4: jobs.web.count: expected a number, got \"x\"" },
        { "{\"jobs\": {\"web\": {\n\"command\": [\n\"x\",\n// two\n/* three\n */ 1, [],\n],}}}",
                "f:6: jobs.web.command[2]: expected text, got a list" },
        { "{\"jobs\": {\"a\": {\"command\": \"x\", \"env\": {\"A\": \"}]\\\"\\\\\"}},\n"
          "\"b\": {\"command\": \"x\"},\n\"c\": {\"command\": \"x\",\n\"kidn\": 1}}}",
                "f:4: jobs.c.kidn: unknown field; did you mean \"kind\"?" },
        { "{\"jobs\": {\"a\": {\"command\": \"x\", \"count\": 1.50}}}",
                "f:1: jobs.a.count: expected a whole number, got 1.50" },
        { "{\"a\": 1,\n\"b\": 2,\n\"a\": 3}", "f:3: duplicate key \"a\"" },
        { "{\"a\": 1,\n", "f:2: not valid JSON: string or '}' expected near end of file" },
        { "{\"a\": 1,,}", "f:1: not valid JSON: string or '}' expected near ','" },
        { "[,]", "f:1: not valid JSON: unexpected token near ','" },
        { "{,}", "f:1: not valid JSON: string or '}' expected near ','" },
        { "{\"a\":,}", "f:1: not valid JSON: unexpected token near ','" },
        { "[1,,]", "f:1: not valid JSON: unexpected token near ','" },
        { "[1] 2", "f:1: not valid JSON: end of file expected near '2'" },
        { "[1]\n// fine\n]", "f:3: not valid JSON: end of file expected near ']'" },
        { "[1, /* \n]", "f:1: the comment has no end" },
        { "\n/*/", "f:2: the comment has no end" },
        { "/", "f:1: not valid JSON: invalid token near '/'" },
        { "[1 # no\n]", "f:1: not valid JSON: ']' expected near '#'" },
        { "['a']", "f:1: not valid JSON: invalid token near '''" },
        { "[\"a\n\"]", "f:1: not valid JSON: unexpected newline near '\"a'" },
        { "[\"a\\u0000\"]", "f:1: a NUL character is not allowed" },
        { "[\"\xff\"]", "f:1: not valid JSON: unable to decode byte 0xff near '\"'" },
        { "[99999999999999999999]", "f:1: the number is too large" },
        { "[1e999]", "f:1: the number is too large" },
        { "[012]", "f:1: not valid JSON: invalid token near '0'" },
        { "{\"jobs\": {\"a\": {\"command\": \"x\", \"stop\": {\"grace\": NaN}}}}",
                "f:1: not valid JSON: invalid token near 'NaN'" },
};

static void check(const char *text, size_t len, enum job_format format, const char *message)
{
        struct job_file file = { 0 };
        struct error err = ERROR_INIT;

        assert_int_equal(job_file_parse("f", text, len, format, &file, &err), -1);
        assert_string_equal(err.message, message);
        assert_int_equal(err.code, ERR_INVALID);
        assert_null(file.jobs);
}

static void bad_yaml_is_refused(void **state)
{
        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(yaml_rows); i++)
                check(yaml_rows[i].text, strlen(yaml_rows[i].text), JOB_FORMAT_YAML,
                        yaml_rows[i].message);
}

static void bad_json_is_refused(void **state)
{
        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(json_rows); i++)
                check(json_rows[i].text, strlen(json_rows[i].text), JOB_FORMAT_JSON,
                        json_rows[i].message);
}

/* @before, @count times @unit, @after */
static void fill(
        struct buffer *b, const char *before, const char *unit, size_t count, const char *after)
{
        buffer_reset(b);
        buffer_puts(b, before);
        for (size_t i = 0; i < count; i++)
                buffer_puts(b, unit);
        buffer_puts(b, after);
}

static void deep_nesting_is_refused(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };

        (void) state;
        fill(&b, "", "[", 500000, "");
        check(b.data, b.len, JOB_FORMAT_JSON, "f:1: nested too deeply");
        check(b.data, b.len, JOB_FORMAT_YAML, "f:1: nested too deeply");
        fill(&b, "", "{\"a\":\n", 100000, "");
        check(b.data, b.len, JOB_FORMAT_JSON, "f:65: nested too deeply");
        check(b.data, b.len, JOB_FORMAT_YAML, "f:65: nested too deeply");
        fill(&b, "", "- ", 1000, "");
        check(b.data, b.len, JOB_FORMAT_YAML, "f:1: nested too deeply");
}

static void the_deepest_that_is_allowed_is_read(void **state)
{
        AUTO(buffer_done) struct buffer open = { 0 }, both = { 0 };

        (void) state;
        fill(&open, "", "[", 64, "");
        fill(&both, buffer_str(&open), "]", 64, "");
        check(both.data, both.len, JOB_FORMAT_JSON,
                "f:1: expected an object with \"jobs\", got a list");
        check(both.data, both.len, JOB_FORMAT_YAML,
                "f:1: expected an object with \"jobs\", got a list");
}

static void a_billion_laughs_are_refused(void **state)
{
        static const char text[] = "a: &a [lol, lol, lol]\n"
                                   "b: &b [*a, *a, *a]\n"
                                   "c: &c [*b, *b, *b]\n";

        (void) state;
        check(text, strlen(text), JOB_FORMAT_YAML,
                "f:1: anchors (&name) are not supported; write the value again");
}

static void a_file_has_a_size_limit(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        struct job_file file = { 0 };
        struct error err = ERROR_INIT;

        (void) state;
        fill(&b, "jobs: {a: {command: x}}\n#", ".", (1 << 20) - 25, "");
        assert_int_equal(b.len, 1 << 20);
        assert_int_equal(job_file_parse("f", b.data, b.len, JOB_FORMAT_YAML, &file, &err), 0);
        job_file_done(&file);
        buffer_putc(&b, '.');
        for (int format = JOB_FORMAT_YAML; format <= JOB_FORMAT_JSON; format++) {
                assert_int_equal(
                        job_file_parse("f", b.data, b.len, (enum job_format) format, &file, &err),
                        -1);
                assert_int_equal(err.code, ERR_TOO_LARGE);
                assert_string_equal(err.message, "f: 1048577 bytes; at most 1 MiB is read");
        }
}

static void nul_bytes_are_refused(void **state)
{
        (void) state;
        check("jobs:\n a\0b: 1\n", 14, JOB_FORMAT_YAML,
                "f:2: not valid YAML: control characters are not allowed");
        check("{\"a\0\": 1}", 9, JOB_FORMAT_JSON,
                "f:1: not valid JSON: control character 0x0 near '\"a'");
        check("[1]\n\0", 5, JOB_FORMAT_JSON, "f:2: a NUL character is not allowed");
        check("\0", 1, JOB_FORMAT_JSON, "f:1: a NUL character is not allowed");
}

static void long_values_are_cut_in_messages(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };

        (void) state;
        fill(&b, "jobs: {a: {command: x, kind: \"", "\xc3\xa9", 100000, "\"}}");
        check(b.data, b.len, JOB_FORMAT_YAML,
                "f:1: jobs.a.kind: expected \"service\", \"batch\", \"cron\" or \"system\", got "
                "\"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
                "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
                "\xc3\xa9\xc3\xa9...\"");
        fill(&b, "jobs: {a: {command: x, ", "k", 500, ": 1}}");
        check(b.data, b.len, JOB_FORMAT_YAML,
                "f:1: jobs.a.\"kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk...\": unknown "
                "field; " FIELDS);
}

static void too_many_rules_are_refused(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };

        (void) state;
        fill(&b, "jobs: {a: {command: x, restart: {rules: [", "{exit: 1, then: end},", 65, "]}}}");
        check(b.data, b.len, JOB_FORMAT_YAML, "f:1: jobs.a.restart.rules: 65 rules; at most 64");
}

static void too_many_tasks_in_a_file_are_refused(void **state)
{
        static const char fits[] = "jobs: {a: {command: x, count: 100000}, b: {command: x, count: "
                                   "100000}}";
        static const char text[] = "jobs: {a: {command: x, count: 100000}, b: {command: x, count: "
                                   "100000},\nc: {command: x}}";
        struct job_file file = { 0 };
        struct error err = ERROR_INIT;

        (void) state;
        assert_int_equal(job_file_parse("f", fits, strlen(fits), JOB_FORMAT_YAML, &file, &err), 0);
        job_file_done(&file);
        check(text, strlen(text), JOB_FORMAT_YAML,
                "f:2: jobs.c: with this one the jobs of the file have more than 200000 tasks");
}

static void a_spec_from_a_request_has_no_line(void **state)
{
        json_t *object = json_pack("{s:s,s:{s:s}}", "command", "x", "restart", "burst", "x");
        json_t *nul = json_pack("{s:[s%]}", "command", "a\0b", (size_t) 3);
        struct job_spec *spec = NULL;
        struct error err = ERROR_INIT;

        (void) state;
        assert_int_equal(job_spec_from_json("web", object, &spec, &err), -1);
        assert_string_equal(err.message, "jobs.web.restart.burst: expected a number, got \"x\"");
        assert_int_equal(job_spec_from_json("web", nul, &spec, &err), -1);
        assert_string_equal(err.message, "jobs.web.command[0]: a NUL character is not allowed");
        assert_int_equal(job_spec_from_json("web", json_null(), &spec, &err), -1);
        assert_string_equal(err.message, "jobs.web: expected the spec of a job, an object, got "
                                         "null");
        assert_int_equal(job_spec_from_json("we b", object, &spec, NULL), -1);
        assert_null(spec);
        json_decref(object);
        json_decref(nul);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(bad_yaml_is_refused),
                cmocka_unit_test(bad_json_is_refused),
                cmocka_unit_test(deep_nesting_is_refused),
                cmocka_unit_test(the_deepest_that_is_allowed_is_read),
                cmocka_unit_test(a_billion_laughs_are_refused),
                cmocka_unit_test(a_file_has_a_size_limit),
                cmocka_unit_test(nul_bytes_are_refused),
                cmocka_unit_test(long_values_are_cut_in_messages),
                cmocka_unit_test(too_many_rules_are_refused),
                cmocka_unit_test(too_many_tasks_in_a_file_are_refused),
                cmocka_unit_test(a_spec_from_a_request_has_no_line),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
