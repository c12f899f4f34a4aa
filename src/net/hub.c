/* SPDX-License-Identifier: BSD-3-Clause */
/* Hub: the part of an event loop that its connections share.
 *
 * There is one per uv_loop_t, made with the first user and closed with the last. Users are found
 * nowhere but in the two lists below, by embedded nodes, so that a hub owns nothing but its handles
 * and the read buffer.
 *
 * Jobs are how the end of a turn happens. They run from the prepare handle (what timers and work
 * callbacks caused) and from the check handle (what sockets caused), that is always before the loop
 * sleeps and never below a frame of ours. Output is flushed there, input that had to wait is looked
 * at again there, and objects that were ended inside their own callback are freed there. A job
 * queued by a job runs in the next phase; the idle handle keeps the loop awake and alive until none
 * is left, and is stopped otherwise.
 *
 * Deadlines are for limits that nobody times by the millisecond. The timer runs only while one is
 * set, at most every 100 ms, and looks at all of them; moving one further away, the usual case,
 * costs no more than an assignment. A process whose connections have no limits is never woken.
 *
 * Memory: a hub without references is taken off the list at once (a later user makes a new one) and
 * freed when the loop has closed its four handles. Not for use by two threads; only the list of
 * hubs is shared. */
#include "net/hub.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include <utlist.h>

#include "base/macros.h"
#include "base/mem.h"

#define GRAIN (100 * USEC_MSEC)

struct hub {
        struct hub *next; /* in hubs */
        uv_loop_t *loop;
        unsigned refs;
        unsigned handles; /* still to be closed */

        uv_prepare_t prepare;
        uv_check_t check;
        uv_idle_t idle;
        uv_timer_t timer;
        usec_t timer_mono; /* when the timer fires; USEC_NEVER: stopped */

        struct hub_job *jobs;
        struct hub_deadline *deadlines;
        char *read_buffer;
};

static struct hub *hubs;
static pthread_mutex_t hubs_lock = PTHREAD_MUTEX_INITIALIZER;

/* Runs what is queued now; what that queues is left for the next phase. */
static void hub_run_jobs(struct hub *h)
{
        struct hub_job end = { 0 };

        if (h->jobs == NULL)
                return;
        DL_APPEND(h->jobs, &end);
        while (h->jobs != &end) {
                struct hub_job *job = h->jobs;

                DL_DELETE(h->jobs, job);
                job->queued = false;
                job->run(job);
        }
        DL_DELETE(h->jobs, &end);
        if (h->jobs == NULL)
                uv_idle_stop(&h->idle);
}

static void on_prepare(uv_prepare_t *handle)
{
        hub_run_jobs(container_of(handle, struct hub, prepare));
}

static void on_check(uv_check_t *handle)
{
        hub_run_jobs(container_of(handle, struct hub, check));
}

static void on_idle(uv_idle_t *handle)
{
        (void) handle; /* its being there is its purpose */
}

void hub_defer(struct hub *h, struct hub_job *job, void (*run)(struct hub_job *job))
{
        job->run = run;
        if (job->queued)
                return;
        job->queued = true;
        DL_APPEND(h->jobs, job);
        uv_idle_start(&h->idle, on_idle);
}

void hub_job_cancel(struct hub *h, struct hub_job *job)
{
        if (!job->queued)
                return;
        job->queued = false;
        DL_DELETE(h->jobs, job);
}

static void on_timer(uv_timer_t *handle);

/* Only ever brings the timer forward: deadlines nearer than the grain, set again and again, would
 * otherwise put off all the others. */
static void hub_arm_timer(struct hub *h, usec_t at_mono, usec_t now)
{
        usec_t delay = at_mono > now ? at_mono - now : 0;

        delay = MAX(delay, GRAIN);
        if (now + delay >= h->timer_mono)
                return;
        h->timer_mono = now + delay;
        uv_timer_start(&h->timer, on_timer, delay / USEC_MSEC + 1, 0);
}

/* The due ones are moved away first: their callbacks may set and unset any deadline. */
static void on_timer(uv_timer_t *handle)
{
        struct hub *h = container_of(handle, struct hub, timer);
        struct hub_deadline *waiting = h->deadlines, *d;
        usec_t now = time_mono(), next = USEC_NEVER;

        h->timer_mono = USEC_NEVER;
        h->deadlines = NULL;
        while ((d = waiting) != NULL) {
                DL_DELETE(waiting, d);
                if (d->at_mono <= now) {
                        DL_PREPEND(h->deadlines, d);
                } else {
                        DL_APPEND(h->deadlines, d);
                        next = MIN(next, d->at_mono);
                }
        }
        if (next != USEC_NEVER)
                hub_arm_timer(h, next, now);

        while ((d = h->deadlines) != NULL && d->at_mono <= now) {
                DL_DELETE(h->deadlines, d);
                d->set = false;
                d->run(d);
        }
}

/* With the last one the timer stops: it would keep the loop alive. */
static void hub_unset_deadline(struct hub *h, struct hub_deadline *d)
{
        if (!d->set)
                return;
        d->set = false;
        DL_DELETE(h->deadlines, d);
        if (h->deadlines == NULL && h->timer_mono != USEC_NEVER) {
                h->timer_mono = USEC_NEVER;
                uv_timer_stop(&h->timer);
        }
}

void hub_set_deadline(struct hub *h, struct hub_deadline *d, usec_t at_mono,
        void (*run)(struct hub_deadline *deadline))
{
        d->run = run;
        if (at_mono == USEC_NEVER) {
                hub_unset_deadline(h, d);
                return;
        }
        d->at_mono = at_mono;
        if (d->set)
                DL_DELETE(h->deadlines, d); /* to the end, out of on_timer()'s due ones */
        DL_APPEND(h->deadlines, d);
        d->set = true;
        if (at_mono < h->timer_mono)
                hub_arm_timer(h, at_mono, time_mono());
}

usec_t hub_deadline_after(usec_t timeout)
{
        usec_t now = time_mono();

        return timeout > USEC_NEVER - now ? USEC_NEVER : now + timeout;
}

static void on_handle_closed(uv_handle_t *handle)
{
        struct hub *h = handle->data;

        if (--h->handles > 0)
                return;
        free(h->read_buffer);
        free(h);
}

static void hub_close(struct hub *h)
{
        uv_handle_t *handles[] = { (uv_handle_t *) &h->prepare, (uv_handle_t *) &h->check,
                (uv_handle_t *) &h->idle, (uv_handle_t *) &h->timer };

        assert(h->deadlines == NULL);
        h->handles = ARRAY_SIZE(handles);
        for (size_t i = 0; i < ARRAY_SIZE(handles); i++) {
                handles[i]->data = h;
                uv_close(handles[i], on_handle_closed);
        }
}

static struct hub *hub_new(uv_loop_t *loop)
{
        struct hub *h = mem_alloc(sizeof *h);

        h->loop = loop;
        h->timer_mono = USEC_NEVER;
        h->read_buffer = mem_alloc(HUB_READ_SIZE);
        uv_prepare_init(loop, &h->prepare);
        uv_check_init(loop, &h->check);
        uv_idle_init(loop, &h->idle);
        uv_timer_init(loop, &h->timer);
        uv_prepare_start(&h->prepare, on_prepare);
        uv_check_start(&h->check, on_check);
        uv_unref((uv_handle_t *) &h->prepare);
        uv_unref((uv_handle_t *) &h->check);
        return h;
}

struct hub *hub_get(uv_loop_t *loop)
{
        struct hub *h;

        pthread_mutex_lock(&hubs_lock);
        LL_SEARCH_SCALAR(hubs, h, loop, loop);
        if (h == NULL) {
                h = hub_new(loop);
                LL_PREPEND(hubs, h);
        }
        h->refs++;
        pthread_mutex_unlock(&hubs_lock);
        return h;
}

struct hub *hub_ref(struct hub *h)
{
        h->refs++;
        return h;
}

void hub_unref(struct hub *h)
{
        pthread_mutex_lock(&hubs_lock);
        assert(h->refs > 0);
        if (--h->refs == 0) {
                LL_DELETE(hubs, h);
                hub_close(h);
        }
        pthread_mutex_unlock(&hubs_lock);
}

uv_loop_t *hub_loop(const struct hub *h)
{
        return h->loop;
}

char *hub_read_buffer(const struct hub *h)
{
        return h->read_buffer;
}
