/* SPDX-License-Identifier: BSD-3-Clause */

/* Restart: what happens after a run has ended by itself.
 *
 * Three questions, in this order:
 *
 * 1. Was it a success? Yes if its exit code is one of success_codes. An end by a signal, an unknown
 *    exit status and a run that could not begin are failures.
 * 2. Shall it run again? The first rule that names the exit code or signal says so; if none does,
 *    the policy: `always` yes, `on-failure` after a failure, `never` no. An unknown end matches no
 *    rule: we do not guess.
 * 3. When? After a success: `delay`. After the n-th failure in a row: delay * 2^(n-1), at most
 *    max_delay (or delay, if somebody asked for one that is longer). Both are spread over 75 to
 *    125 % of that, so that a thousand tasks that failed together do not come back together, and
 *    still not beyond the maximum. A delay of 0 is 0 for ever.
 *
 * Limits. `burst` failures within `window` end the matter: the task is parked. The window is that
 * of systemd's ratelimit: it begins with a failure and is over `window` later; two numbers instead
 * of a list of times. A success counts for nothing here, and ends the row of failures.
 *
 * Retries. A batch with `batch.retries` has that limit instead of the burst: when so many runs have
 * followed a failed one it has failed, however long they took and on whichever nodes they were.
 *
 * Unmet. A run that could not begin because something that it needs is not there (the port of a
 * held socket is taken) uses up no limit and does not ask the policy: it is tried again, with the
 * same delays, until it is there.
 *
 * Healthy. A run that lasted for `healthy` or longer wipes the history before its own end is
 * counted: the failure that ends it is the first again. No timer is needed for that, the duration
 * is known when the run ends.
 *
 * Nothing here knows of states, stops asked for by people, or machines that go down: core/task asks
 * only about runs that ended by themselves. */

#include "core/restart.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/macros.h"
#include "base/text.h"

/* Far beyond any sense, and small enough that no sum of times overflows. */
#define DELAY_MAX (36500 * USEC_DAY)

static uint64_t splitmix64(uint64_t x)
{
        x += 0x9e3779b97f4a7c15u;
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
        x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
        return x ^ (x >> 31);
}

static bool is_one_of(const int *list, size_t len, int value)
{
        for (size_t i = 0; i < len; i++)
                if (list[i] == value)
                        return true;
        return false;
}

static bool has_exit_code(const struct restart_end *end)
{
        return end->message == NULL && end->failed == NULL && end->known && end->exit_code >= 0;
}

static bool has_signal(const struct restart_end *end)
{
        return end->message == NULL && end->failed == NULL && end->known && end->exit_code < 0;
}

static bool is_success(const struct job_spec *spec, const struct restart_end *end)
{
        return has_exit_code(end) &&
               is_one_of(spec->success_codes, spec->success_codes_len, end->exit_code);
}

static const struct restart_rule *find_rule(
        const struct job_spec *spec, const struct restart_end *end)
{
        for (size_t i = 0; i < spec->restart.rules_len; i++) {
                const struct restart_rule *rule = &spec->restart.rules[i];

                if (has_exit_code(end) &&
                        is_one_of(rule->exit_codes, rule->exit_codes_len, end->exit_code))
                        return rule;
                if (has_signal(end) && is_one_of(rule->signals, rule->signals_len, end->signal))
                        return rule;
        }
        return NULL;
}

static void PRINTF_LIKE(2, 3) set_reason(struct restart_decision *d, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(d->reason, sizeof d->reason, format, args);
        va_end(args);
}

static void PRINTF_LIKE(2, 3) put_text(char text[RESTART_REASON_MAX], const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(text, RESTART_REASON_MAX, format, args);
        va_end(args);
}

const char *restart_format_end(char text[RESTART_REASON_MAX], const struct restart_end *end)
{
        if (end->message != NULL)
                put_text(text, "%s", end->message);
        else if (end->failed != NULL)
                put_text(text, "%s", end->failed);
        else if (has_exit_code(end))
                put_text(text, "exit code %d%s%s", end->exit_code, end->detail != NULL ? ", " : "",
                        end->detail != NULL ? end->detail : "");
        else if (has_signal(end))
                put_text(text, "signal %s%s%s", text_signal_name(end->signal),
                        end->detail != NULL ? ", " : "", end->detail != NULL ? end->detail : "");
        else
                put_text(text, "exit status unknown because agent and keeper were both gone");
        return text;
}

/* Question 2; the reason is filled in when the answer is no. */
static bool shall_run_again(
        const struct job_spec *spec, const struct restart_end *end, struct restart_decision *d)
{
        const struct restart_rule *rule = find_rule(spec, end);
        char how[RESTART_REASON_MAX];

        restart_format_end(how, end);
        if (rule != NULL) {
                if (rule->then == RESTART_ACTION_END)
                        set_reason(d, "%s, and a restart rule says to end then", how);
                return rule->then == RESTART_ACTION_RESTART;
        }
        switch (spec->restart.policy) {
        case RESTART_ALWAYS:
                return true;
        case RESTART_ON_FAILURE:
                if (d->success)
                        set_reason(d,
                                "%s is a success, and policy on-failure restarts only failures",
                                how);
                return !d->success;
        case RESTART_NEVER:
                set_reason(d, "%s, and policy never does not restart", how);
                return false;
        }
        return false;
}

static void count_end(const struct job_spec *spec, struct restart_history *history,
        const struct restart_decision *d, const struct restart_end *end, usec_t now_mono)
{
        if (end->lasted >= spec->restart.healthy)
                *history = (struct restart_history){ .retries = history->retries };
        if (d->success) {
                history->failures = 0;
                return;
        }
        if (end->unmet) {
                history->failures += history->failures < UINT32_MAX;
                return;
        }
        if (history->burst_count == 0 || now_mono < history->burst_began_mono ||
                now_mono - history->burst_began_mono >= spec->restart.window) {
                history->burst_began_mono = now_mono;
                history->burst_count = 0;
        }
        if (history->failures < UINT32_MAX)
                history->failures++;
        if (history->burst_count < UINT32_MAX)
                history->burst_count++;
}

static usec_t nominal_delay(const struct job_spec *spec, uint32_t failures, usec_t max)
{
        usec_t delay = MIN(spec->restart.delay, max);

        for (uint32_t i = 1; i < failures && delay > 0 && delay < max; i++)
                delay = delay > max / 2 ? max : delay * 2;
        return delay;
}

/* Question 3. */
static usec_t make_delay(const struct job_spec *spec, uint32_t failures,
        const struct restart_end *end, uint64_t seed)
{
        usec_t max = MIN(MAX(spec->restart.max_delay, spec->restart.delay), DELAY_MAX);
        usec_t nominal = nominal_delay(spec, failures, max);
        usec_t delay = nominal - nominal / 4 + splitmix64(seed) % (nominal / 2 + 1);

        delay = MIN(delay, max);
        if (end->unmet)
                return MAX(delay, RESTART_DELAY_UNMET);
        return end->message != NULL ? MAX(delay, RESTART_DELAY_UNSTARTED) : delay;
}

static void explain_again(
        struct restart_decision *d, const struct restart_end *end, uint32_t failures)
{
        char how[RESTART_REASON_MAX], count[40];

        restart_format_end(how, end);
        if (failures == 1)
                snprintf(count, sizeof count, "first failure");
        else
                snprintf(count, sizeof count, "failure %u in a row", failures);

        if (d->success)
                set_reason(d, "after %s", how);
        else if (has_exit_code(end) || has_signal(end))
                set_reason(d, "after %s (%s)", how, count);
        else
                set_reason(d, "after %s%s: %s", failures == 1 ? "the " : "", count, how);
}

/* Who says how often says so instead of the burst limit. */
static bool counts_retries(const struct job_spec *spec)
{
        return job_spec_is_batch(spec) && spec->batch.retries != JOB_RETRIES_ANY;
}

static void explain_used_up(
        const struct job_spec *spec, struct restart_decision *d, const struct restart_end *end)
{
        char how[RESTART_REASON_MAX];

        restart_format_end(how, end);
        if (spec->batch.retries == 0)
                set_reason(d, "%s, and batch.retries is 0", how);
        else
                set_reason(d, "%s, and %u %s used up", how, spec->batch.retries,
                        spec->batch.retries == 1 ? "retry is" : "retries are");
}

static void explain_park(const struct job_spec *spec, struct restart_decision *d,
        const struct restart_end *end, uint32_t count)
{
        char how[RESTART_REASON_MAX], window[TIME_TEXT_MAX];

        restart_format_end(how, end);
        time_format_exact(window, spec->restart.window);
        if (count == 1)
                set_reason(d, "1 failure is the limit: %s", how);
        else
                set_reason(d, "%u failures within %s, the last one: %s", count, window, how);
}

void restart_decide(const struct job_spec *spec, struct restart_history *history,
        const struct restart_end *end, usec_t now_mono, uint64_t seed, struct restart_decision *ret)
{
        struct restart_decision d = { .success = is_success(spec, end) };

        count_end(spec, history, &d, end, now_mono);
        if (!end->unmet && !shall_run_again(spec, end, &d)) {
                d.verdict = RESTART_VERDICT_END;
        } else if (!end->unmet && !d.success && counts_retries(spec) &&
                   history->retries >= spec->batch.retries) {
                d.verdict = RESTART_VERDICT_END;
                explain_used_up(spec, &d, end);
        } else if (!end->unmet && !d.success && !counts_retries(spec) && spec->restart.burst > 0 &&
                   history->burst_count >= spec->restart.burst) {
                d.verdict = RESTART_VERDICT_PARK;
                explain_park(spec, &d, end, history->burst_count);
        } else {
                d.verdict = RESTART_VERDICT_AGAIN;
                if (!d.success && !end->unmet && history->retries < UINT32_MAX)
                        history->retries++;
                d.delay = make_delay(spec, history->failures, end, seed);
                explain_again(&d, end, history->failures);
        }
        *ret = d;
}
