/* SPDX-License-Identifier: BSD-3-Clause */
/* Log: lines for people or for programs, on stderr.
 *
 * A line is put together in memory and written by one write(2), so that those of several programs
 * on one terminal do not mix. A line that cannot be written is dropped: there is nobody to tell. */
#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/text.h"
#include "base/time.h"

#define WAITING_MAX (64 * 1024)

static const struct {
        const char *name;
        const char *color; /* of the whole line on a terminal */
} levels[] = {
        [LOG_ERROR] = { "error", "\x1b[31m" },
        [LOG_WARNING] = { "warning", "\x1b[33m" },
        [LOG_INFO] = { "info", "" },
        [LOG_DEBUG] = { "debug", "\x1b[2m" },
};

static struct {
        const char *program;
        enum log_level level;
        bool json;
        bool color;
        bool defer;
        struct buffer waiting;
} config = { .program = "reeve", .level = LOG_INFO };

void log_init(const char *program)
{
        const char *level = getenv("REEVE_LOG");
        const char *format = getenv("REEVE_LOG_FORMAT");
        bool terminal = isatty(STDERR_FILENO);

        config.program = program;
        config.color = terminal && getenv("NO_COLOR") == NULL;
        config.json = format != NULL ? strcmp(format, "json") == 0 : !terminal;
        for (size_t i = 0; level != NULL && i < ARRAY_SIZE(levels); i++)
                if (strcmp(level, levels[i].name) == 0)
                        config.level = (enum log_level) i;
}

void log_defer(void)
{
        config.defer = true;
}

void log_flush(void)
{
        ssize_t written;

        if (config.waiting.len == 0)
                return;
        written = write(STDERR_FILENO, config.waiting.data, config.waiting.len);
        (void) written;
        buffer_reset(&config.waiting);
}

void log_write(enum log_level level, const char *format, ...)
{
        char message[2048], stamp[TIME_TEXT_MAX];
        AUTO(buffer_done) struct buffer line = { 0 };
        usec_t now = time_wall();
        va_list ap;

        if (level > config.level)
                return;
        va_start(ap, format);
        vsnprintf(message, sizeof message, format, ap);
        va_end(ap);

        if (config.json) {
                buffer_printf(&line,
                        "{\"time\":\"%s\",\"level\":\"%s\",\"program\":\"%s\",\"message\":",
                        time_format_wall(stamp, now), levels[level].name, config.program);
                text_put_json_string(&line, message);
                buffer_puts(&line, "}\n");
        } else {
                buffer_printf(&line, "%s%s %s: %s%s\n", config.color ? levels[level].color : "",
                        time_format_local(stamp, now, now), config.program, message,
                        config.color && levels[level].color[0] != '\0' ? "\x1b[0m" : "");
        }
        buffer_put(&config.waiting, line.data, line.len);
        if (!config.defer || level <= LOG_WARNING || config.waiting.len > WAITING_MAX)
                log_flush();
}
