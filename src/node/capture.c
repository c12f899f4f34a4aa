/* SPDX-License-Identifier: BSD-3-Clause */
/* Capture: from the FIFOs of the tasks to their log files.
 *
 * Owned by the agent, on its loop. A stream has no buffer and no watcher of its own: the FIFOs are
 * in an epoll set whose descriptor the loop polls, and the bytes pass through the two slots of
 * node/staging, or not through us at all.
 *
 * How bytes move. A few (less than STAGING_BLIND_MIN) are spliced from the FIFO to the file: the
 * kernel takes out exactly what it has put in, whatever signal arrives. That is slow for many, so
 * those are read into a slot and written from there. Few that need looking at, because a line end
 * must be found to rotate at, are peeked at with tee(2) first, which lets the slot mark them
 * safely. We are the only reader: a read of what FIONREAD counted returns that much and never
 * waits.
 *
 * When bytes move. A stream is in exactly one of these states:
 *
 *   COLD     in the epoll set, edge-triggered; its FIFO was empty when we last looked
 *   HOT      looked at every tick. Writes come faster than we want to be woken for them, and a FIFO
 *            that nobody polls is cheaper to write to. The tick (one timer for all, armed only
 * while some stream is hot) is as long as keeps the amount per tick in bounds STUCK    its bytes
 * cannot be stored; looked at when the retry timer says so, which backs off CLOSED   being freed
 *
 * Fairness: a hot stream gets STREAM_BUDGET bytes, then the next one's turn comes; after
 * TURN_BUDGET in all the loop gets its turn.
 *
 * A full disk. What is in a slot and cannot be written stays there, and nobody else may use that
 * slot: slot 0 serves the streams that block, slot 1 those that drop, so that the latter never wait
 * for the former. A stream with bytes in a slot takes no others before those are stored. A slot
 * whose stream is closed, or not open yet after a restart, is an orphan and flushed by itself. */
#include "node/capture.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "node/logfile.h"
#include "node/staging.h"

#define EVENTS_MAX     64
#define OPEN_MAX       256 /* streams with open log files */
#define HOT_WITHIN     (1 * USEC_MSEC)
#define COLD_AFTER     (5 * USEC_MSEC)
#define TICK_MIN       ((usec_t) 100)
#define TICK_MAX       ((usec_t) 1000)
#define TICK_MUCH      (192u * 1024) /* bytes per tick and stream that make the tick shorter */
#define TICK_LITTLE    (48u * 1024)  /* and longer */
#define STREAM_BUDGET  (1024u * 1024)
#define TURN_BUDGET    (8u * 1024 * 1024)
#define LEFT_FOR_LATER (32u * 1024) /* not worth another round in the same turn */
#define GROW_AT        (32u * 1024)
#define PIPE_SMALL     (64 * 1024)
#define PIPE_LARGE     (1024 * 1024)
#define RETRY_MIN_MSEC 250
#define RETRY_MAX_MSEC 2000

enum { SLOT_BLOCK, SLOT_DROP };
_Static_assert(SLOT_DROP < STAGING_SLOTS, "a slot per policy");

enum stream_state { STREAM_COLD, STREAM_HOT, STREAM_STUCK, STREAM_CLOSED };

struct capture_stream {
        struct logfile log;
        struct capture *capture;
        void *owner;
        TAILQ_ENTRY(capture_stream) all;
        TAILQ_ENTRY(capture_stream) hot;  /* linked while HOT, and while CLOSED */
        TAILQ_ENTRY(capture_stream) open; /* linked while is_open: log files open, latest first */
        usec_t active_mono;               /* when bytes came last */
        uint64_t lost;                    /* thrown away and not in the index yet */
        int fifo;
        uint32_t run;
        enum stream_state state : 8;
        enum capture_when_full when_full : 8;
        enum capture_flow flow : 8;
        bool is_open : 1;
        bool grown : 1; /* the FIFO was made larger */
};

TAILQ_HEAD(stream_list, capture_stream);

struct capture {
        struct capture_events events;
        struct staging staging;
        struct capture_stream *slot_stream[STAGING_SLOTS]; /* of a busy slot; NULL: orphan */
        struct stream_list all, hot, open;
        struct stream_list closed; /* while something is dispatched; linked by `hot` */
        unsigned open_count, hot_count, dispatching;
        int epoll;
        int tick;    /* timerfd, in the epoll set */
        int peek[2]; /* pipe for tee(2); -1 until needed */
        usec_t tick_usec;
        uint64_t taken; /* bytes, from all streams */
        bool ticking, retrying, retry_again, no_splice;
        uint64_t retry_msec;
        unsigned handles;
        uv_poll_t poll;
        uv_timer_t retry;
};

static void arm_retry(struct capture *c);

/* Open log files: the least recently used are closed */

static void stream_forget_open(struct capture_stream *s)
{
        if (!s->is_open)
                return;
        TAILQ_REMOVE(&s->capture->open, s, open);
        s->capture->open_count--;
        s->is_open = false;
        logfile_close(&s->log);
}

static void stream_note_open(struct capture_stream *s)
{
        struct capture *c = s->capture;

        if (s->is_open)
                TAILQ_REMOVE(&c->open, s, open);
        else if (s->log.fd < 0 && s->log.index_fd < 0)
                return;
        else
                c->open_count++;
        TAILQ_INSERT_HEAD(&c->open, s, open);
        s->is_open = true;
        if (c->open_count > OPEN_MAX)
                stream_forget_open(TAILQ_LAST(&c->open, stream_list));
}

/* Moving bytes */

/* Writes what is in a busy slot to its files and empties it. What cannot be written stays. */
static int slot_flush(struct staging_slot *slot, struct logfile *lf, struct error *err)
{
        struct staging_owner owner = staging_owner(slot);
        const unsigned char *rest;
        size_t len, part, written;

        while ((rest = staging_rest(slot, &len)), len > 0) {
                int r;

                if (logfile_open(lf, err) < 0 || logfile_mark(lf, owner.run, time_wall(), err) < 0)
                        return -1;
                part = logfile_plan(lf, rest, len);
                if (part == 0) {
                        if (logfile_rotate(lf, err) < 0)
                                return -1;
                        continue;
                }
                staging_segment_begin(slot, lf->inode, lf->length, part);
                r = logfile_write(lf, rest, part, &written, err);
                staging_segment_end(slot, written);
                if (r < 0)
                        return -1;
        }
        staging_release(slot);
        return 0;
}

static bool fifo_holds(const struct capture_stream *s, size_t *ret)
{
        int n = 0;

        if (ioctl(s->fifo, FIONREAD, &n) < 0 || n <= 0)
                return false;
        *ret = (size_t) n;
        return true;
}

/* Looks at the next bytes without taking them; @len becomes how many could be seen. */
static int peek_fifo(struct capture_stream *s, unsigned char *ret, size_t *len, struct error *err)
{
        struct capture *c = s->capture;
        ssize_t n;

        if (c->peek[0] < 0 && pipe2(c->peek, O_CLOEXEC | O_NONBLOCK) < 0)
                return error_sys(err, errno, "make a pipe");
        do
                n = tee(s->fifo, c->peek[1], *len, SPLICE_F_NONBLOCK);
        while (n < 0 && errno == EINTR);
        if (n <= 0)
                return error_sys(err, n < 0 ? errno : EIO, "look into the FIFO of %s", s->log.path);
        n = read(c->peek[0], ret, (size_t) n);
        if (n <= 0)
                return error_sys(err, n < 0 ? errno : EIO, "look into the FIFO of %s", s->log.path);
        *len = (size_t) n;
        return 0;
}

static struct staging_owner stream_as_owner(const struct capture_stream *s)
{
        return (struct staging_owner){
                .path = s->log.path,
                .max_size = s->log.max_size,
                .max_files = s->log.max_files,
                .run = s->run,
                .drop = s->when_full == CAPTURE_FULL_DROP,
        };
}

/* Reads @len bytes or less into @slot and on to the files. */
static int take_staged(struct capture_stream *s, size_t slot_index, size_t len, size_t *ret_taken,
        struct error *err)
{
        struct staging_slot *slot = &s->capture->staging.slots[slot_index];
        struct staging_owner owner = stream_as_owner(s);
        unsigned char peeked[STAGING_BLIND_MIN];
        bool few = len < STAGING_BLIND_MIN;
        ssize_t n;

        len = MIN(len, slot->capacity);
        if (few && peek_fifo(s, peeked, &len, err) < 0)
                return -1;
        staging_intend(slot, &owner, len, few ? peeked : NULL);
        n = read(s->fifo, slot->data, len);
        if (n <= 0) {
                int e = n < 0 ? errno : EIO;

                staging_release(slot);
                return error_sys(err, e, "read the FIFO of %s", s->log.path);
        }
        staging_have(slot, (size_t) n);
        *ret_taken = (size_t) n;
        s->capture->slot_stream[slot_index] = s;
        return slot_flush(slot, &s->log, err);
}

/* True if they were moved; false with no error if that is not possible here. */
static int take_spliced(
        struct capture_stream *s, size_t len, size_t *ret_taken, bool *ret_done, struct error *err)
{
        struct error why = ERROR_INIT;

        *ret_done = false;
        if (s->capture->no_splice || logfile_plan(&s->log, NULL, len) < len)
                return 0;
        if (logfile_mark(&s->log, s->run, time_wall(), err) < 0)
                return -1;
        if (logfile_splice(&s->log, s->fifo, len, ret_taken, &why) < 0) {
                if (why.code != ERR_INVALID)
                        return error_set(err, why.code, "%s", why.message);
                s->capture->no_splice = true;
                return 0;
        }
        *ret_done = true;
        return 0;
}

/* Takes @len bytes that are in the FIFO, or fewer. @ret_taken counts those that left it, on failure
 * too; 0 without failure does not happen. */
static int take_once(struct capture_stream *s, size_t len, size_t *ret_taken, struct error *err)
{
        size_t slot = s->when_full == CAPTURE_FULL_DROP ? SLOT_DROP : SLOT_BLOCK;
        bool done = false;
        int r;

        *ret_taken = 0;
        r = logfile_open(&s->log, err);
        stream_note_open(s);
        if (r < 0)
                return -1;
        if (len < STAGING_BLIND_MIN && take_spliced(s, len, ret_taken, &done, err) < 0)
                return -1;
        if (done)
                return 0;
        if (staging_busy(&s->capture->staging.slots[slot]))
                return error_set(err, ERR_NO_SPACE,
                        "%s: waits for another stream's bytes to be stored", s->log.path);
        return take_staged(s, slot, len, ret_taken, err);
}

/* Throwing away */

static void drop_slot(struct capture_stream *s, size_t slot_index)
{
        struct staging_slot *slot = &s->capture->staging.slots[slot_index];
        size_t len;

        staging_rest(slot, &len);
        s->lost += len;
        staging_release(slot);
}

static void record_lost(struct capture_stream *s)
{
        if (s->lost == 0 || logfile_gap(&s->log, s->lost, time_wall(), NULL) < 0)
                return;
        s->lost = 0;
        stream_note_open(s);
}

/* Reads and forgets up to @len bytes. */
static size_t drop_fifo(struct capture_stream *s, size_t len)
{
        unsigned char waste[16384];
        size_t done = 0;

        while (done < len) {
                ssize_t n = read(s->fifo, waste, MIN(len - done, sizeof waste));

                if (n <= 0)
                        break;
                done += (size_t) n;
        }
        s->lost += done;
        return done;
}

/* States */

static void arm_tick(struct capture *c, usec_t delay)
{
        struct itimerspec when = { .it_value.tv_nsec = (long) (delay * 1000) };

        timerfd_settime(c->tick, 0, &when, NULL); /* also forgets an expiry not read yet */
        c->ticking = delay != 0;
}

static void resize_fifo(struct capture_stream *s, bool grown)
{
        if (s->grown == grown)
                return;
        (void) fcntl(s->fifo, F_SETPIPE_SZ, grown ? PIPE_LARGE : PIPE_SMALL);
        s->grown = grown; /* refused is fine too, and asking again would not help */
}

static int epoll_set(struct capture_stream *s, int operation)
{
        struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.ptr = s };

        return epoll_ctl(s->capture->epoll, operation, s->fifo, &event);
}

static void hot_insert(struct capture_stream *s)
{
        TAILQ_INSERT_TAIL(&s->capture->hot, s, hot);
        s->capture->hot_count++;
}

static void hot_remove(struct capture_stream *s)
{
        TAILQ_REMOVE(&s->capture->hot, s, hot);
        s->capture->hot_count--;
}

static void stream_set_state(struct capture_stream *s, enum stream_state to)
{
        struct capture *c = s->capture;

        if (s->state == to)
                return;
        if (s->state == STREAM_COLD)
                epoll_set(s, EPOLL_CTL_DEL);
        if (s->state == STREAM_HOT)
                hot_remove(s);
        s->state = to;
        switch (to) {
        case STREAM_COLD:
                resize_fifo(s, false);
                if (epoll_set(s, EPOLL_CTL_ADD) == 0)
                        break;
                log_warning("watch the FIFO of %s: %s", s->log.path, strerror(errno));
                s->state = STREAM_STUCK;
                arm_retry(c);
                break;
        case STREAM_HOT:
                hot_insert(s);
                if (!c->ticking)
                        arm_tick(c, c->tick_usec);
                break;
        case STREAM_STUCK:
                arm_retry(c);
                break;
        case STREAM_CLOSED:
                break;
        }
}

/* A stream's turn */

/* Brings bytes of this stream that wait in a slot to their files, or throws them away. */
static int stream_settle(struct capture_stream *s, struct error *err)
{
        struct capture *c = s->capture;
        int r;

        for (size_t i = 0; i < STAGING_SLOTS; i++) {
                if (!staging_busy(&c->staging.slots[i]) || c->slot_stream[i] != s)
                        continue;
                r = slot_flush(&c->staging.slots[i], &s->log, err);
                stream_note_open(s);
                if (r < 0 && s->when_full != CAPTURE_FULL_DROP)
                        return -1;
                if (r < 0)
                        drop_slot(s, i);
        }
        return 0;
}

/* Storing failed: the bytes of a dropping stream are forgotten, so that its task goes on. */
static size_t stream_drop(struct capture_stream *s, size_t len, size_t taken)
{
        for (size_t i = 0; i < STAGING_SLOTS; i++)
                if (staging_busy(&s->capture->staging.slots[i]) && s->capture->slot_stream[i] == s)
                        drop_slot(s, i);
        if (taken < len)
                taken += drop_fifo(s, len - taken);
        record_lost(s);
        arm_retry(s->capture);
        return taken;
}

/* What a turn has brought. */
struct turn {
        size_t taken; /* bytes that left the FIFO */
        enum capture_flow flow;
        struct error why; /* unless it flows */
};

/* One round of stream_take(): @len bytes at most. False if the FIFO cannot be taken from now. */
static bool take_round(struct capture_stream *s, size_t len, struct turn *turn)
{
        size_t taken;
        int r = take_once(s, len, &taken, &turn->why);

        turn->flow = CAPTURE_FLOWING;
        if (r < 0 && s->when_full == CAPTURE_FULL_DROP) {
                taken = stream_drop(s, len, taken);
                turn->flow = CAPTURE_DROPPING;
        } else if (r < 0) {
                turn->flow = CAPTURE_BLOCKED;
        }
        turn->taken += taken;
        return turn->flow != CAPTURE_BLOCKED && taken > 0;
}

/* Takes up to @budget bytes; leaves a little that came meanwhile for later. Tells nobody. */
static void stream_take(struct capture_stream *s, size_t budget, struct turn *ret)
{
        struct turn turn = { .flow = s->flow };
        size_t held;

        if (stream_settle(s, &turn.why) < 0) {
                turn.flow = CAPTURE_BLOCKED;
                *ret = turn;
                return;
        }
        if (s->flow == CAPTURE_BLOCKED)
                turn.flow = CAPTURE_FLOWING;
        record_lost(s);
        while (turn.taken < budget && fifo_holds(s, &held)) {
                if (turn.taken > 0 && held < LEFT_FOR_LATER)
                        break;
                if (!take_round(s, MIN(held, budget - turn.taken), &turn))
                        break;
        }
        *ret = turn;
}

/* Tells the owner, who may close the stream: look at its state afterwards. */
static void stream_tell(struct capture_stream *s, const struct turn *turn)
{
        const struct capture_events *events = &s->capture->events;

        s->capture->taken += turn->taken;
        if (s->flow != turn->flow) {
                s->flow = turn->flow;
                if (events->flow != NULL)
                        events->flow(events->data, s, turn->flow,
                                turn->flow == CAPTURE_FLOWING ? NULL : &turn->why);
        }
        if (turn->taken > 0 && s->state != STREAM_CLOSED && events->grown != NULL)
                events->grown(events->data, s);
}

/* The state that follows from a turn at @now. Little, and long after the last: it is enough to be
 * woken for the next. */
static enum stream_state state_after(
        const struct capture_stream *s, const struct turn *turn, usec_t now)
{
        size_t held;

        if (turn->flow == CAPTURE_BLOCKED)
                return STREAM_STUCK;
        if (s->state == STREAM_HOT)
                return turn->taken == 0 && now - s->active_mono > COLD_AFTER ? STREAM_COLD
                                                                             : STREAM_HOT;
        if (s->state == STREAM_STUCK)
                return STREAM_HOT;
        return now - s->active_mono < HOT_WITHIN || fifo_holds(s, &held) ? STREAM_HOT : STREAM_COLD;
}

/* Gives the stream its turn; returns how much it took. The stream may be closed afterwards. */
static size_t stream_turn(struct capture_stream *s, size_t budget)
{
        usec_t now = time_mono();
        struct turn turn;

        stream_take(s, budget, &turn);
        if (turn.taken >= GROW_AT)
                resize_fifo(s, true);
        stream_set_state(s, state_after(s, &turn, now));
        if (turn.taken > 0)
                s->active_mono = now;
        stream_tell(s, &turn);
        return turn.taken;
}

/* While something is dispatched, closed streams stay in memory: somebody may be looking at them. */

static void dispatch_begin(struct capture *c)
{
        c->dispatching++;
}

static void dispatch_end(struct capture *c)
{
        struct capture_stream *s;

        if (--c->dispatching > 0)
                return;
        while ((s = TAILQ_FIRST(&c->closed)) != NULL) {
                TAILQ_REMOVE(&c->closed, s, hot);
                free(s);
        }
}

/* The loop's calls */

/* Much came per tick: tick sooner, so that no writer waits for room; little: later. */
static void adapt_tick(struct capture *c, size_t most)
{
        if (most > TICK_MUCH)
                c->tick_usec = MAX(c->tick_usec / 2, TICK_MIN);
        else if (most < TICK_LITTLE)
                c->tick_usec = MIN(c->tick_usec * 2, TICK_MAX);
}

static void on_tick(struct capture *c)
{
        size_t total = 0, most = 0;

        c->ticking = true; /* who goes hot in here need not arm it */
        for (unsigned n = c->hot_count; n > 0 && total < TURN_BUDGET; n--) {
                struct capture_stream *s = TAILQ_FIRST(&c->hot);
                size_t taken;

                if (s == NULL)
                        break;
                hot_remove(s);
                hot_insert(s);
                taken = stream_turn(s, STREAM_BUDGET);
                total += taken;
                most = MAX(most, taken);
        }
        adapt_tick(c, most);
        if (TAILQ_EMPTY(&c->hot))
                arm_tick(c, 0);
        else
                arm_tick(c, total >= TURN_BUDGET || most >= STREAM_BUDGET ? 1 : c->tick_usec);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
        struct capture *c = poll->data;
        struct epoll_event ready[EVENTS_MAX];
        int count = epoll_wait(c->epoll, ready, EVENTS_MAX, 0);

        (void) status;
        (void) events;
        dispatch_begin(c);
        for (int i = 0; i < count; i++) {
                struct capture_stream *s = ready[i].data.ptr;

                if (s == NULL)
                        on_tick(c);
                else if (s->state == STREAM_COLD)
                        stream_turn(s, STREAM_BUDGET);
        }
        dispatch_end(c);
}

/* Slots without a stream */

static bool directory_is_gone(const char *path)
{
        AUTO(mem_freep) char *directory = mem_strdup(path);
        char *slash = strrchr(directory, '/');

        if (slash == NULL)
                return false;
        *slash = '\0';
        return access(directory, F_OK) < 0 && errno == ENOENT;
}

static void orphan_drop(struct staging_slot *slot, struct logfile *lf, const struct error *why)
{
        struct error ignored = ERROR_INIT;
        size_t len;

        staging_rest(slot, &len);
        log_warning("%zu bytes for %s are dropped: %s", len, lf->path, why->message);
        (void) logfile_gap(lf, len, time_wall(), &ignored);
        staging_release(slot);
}

/* Stores what an orphan slot holds. False if it has to be tried again. */
static bool orphan_settle(struct staging_slot *slot)
{
        struct staging_owner owner = staging_owner(slot);
        struct error err = ERROR_INIT;
        struct logfile lf;

        logfile_init(&lf, owner.path, owner.max_size, owner.max_files);
        if (slot_flush(slot, &lf, &err) < 0 && (owner.drop || directory_is_gone(lf.path)))
                orphan_drop(slot, &lf, &err);
        logfile_done(&lf);
        return !staging_busy(slot);
}

/* What the process before this one has left: first how much of it is in the file already. */
static bool slot_recover(struct staging_slot *slot)
{
        struct staging_owner owner;
        uint64_t inode, offset;
        struct logfile lf;
        size_t len;

        if (!staging_recover(slot, &owner))
                return true;
        if (staging_segment(slot, &inode, &offset, &len)) {
                logfile_init(&lf, owner.path, owner.max_size, owner.max_files);
                staging_segment_end(slot, logfile_written(&lf, inode, offset, len));
                logfile_done(&lf);
        }
        return orphan_settle(slot);
}

/* Trying again */

/* A stream closed by a callback leaves the list, but its link still leads on: next is asked late.
 */
static bool retry_streams(struct capture *c)
{
        bool again = false;

        for (struct capture_stream *s = TAILQ_FIRST(&c->all); s != NULL; s = TAILQ_NEXT(s, all)) {
                if (s->state == STREAM_STUCK)
                        stream_turn(s, STREAM_BUDGET);
                else
                        record_lost(s);
                again = again || s->state == STREAM_STUCK || s->lost > 0;
        }
        return again;
}

/* First the slots, because streams may wait for them. */
static bool retry_slots(struct capture *c)
{
        bool again = false;

        for (size_t i = 0; i < STAGING_SLOTS; i++) {
                if (!staging_busy(&c->staging.slots[i]))
                        continue;
                if (c->slot_stream[i] == NULL)
                        again = !orphan_settle(&c->staging.slots[i]) || again;
                else
                        stream_turn(c->slot_stream[i], STREAM_BUDGET);
        }
        return again;
}

static void on_retry(uv_timer_t *timer)
{
        struct capture *c = timer->data;
        bool again;

        dispatch_begin(c);
        c->retry_again = false;
        c->retrying = true;
        again = retry_slots(c);
        again = retry_streams(c) || again || c->retry_again;
        c->retrying = false;
        c->retry_msec = again ? MIN(c->retry_msec * 2, (uint64_t) RETRY_MAX_MSEC) : RETRY_MIN_MSEC;
        if (again)
                arm_retry(c);
        dispatch_end(c);
}

static void arm_retry(struct capture *c)
{
        if (c->retrying)
                c->retry_again = true;
        else if (!uv_is_active((uv_handle_t *) &c->retry))
                uv_timer_start(&c->retry, on_retry, c->retry_msec, 0);
}

/* Streams */

static void slots_hand_over(
        struct capture *c, struct capture_stream *from, struct capture_stream *to, const char *path)
{
        for (size_t i = 0; i < STAGING_SLOTS; i++)
                if (staging_busy(&c->staging.slots[i]) && c->slot_stream[i] == from &&
                        strcmp(staging_owner(&c->staging.slots[i]).path, path) == 0) {
                        c->slot_stream[i] = to;
                        if (to != NULL)
                                stream_set_state(to, STREAM_STUCK);
                        arm_retry(c);
                }
}

static int check_config(const struct capture_stream_config *config, struct error *err)
{
        if (strlen(config->directory) + 1 + strlen(config->name) >= STAGING_PATH_MAX)
                return error_set(err, ERR_TOO_LARGE, "the path of a log is too long: %s/%s",
                        config->directory, config->name);
        if (fcntl(config->fifo, F_SETFL, fcntl(config->fifo, F_GETFL) | O_NONBLOCK) < 0)
                return error_sys(err, errno, "FIFO of %s/%s", config->directory, config->name);
        return 0;
}

int capture_stream_open(struct capture *capture, const struct capture_stream_config *config,
        struct capture_stream **ret, struct error *err)
{
        AUTO(mem_freep) char *path = mem_printf("%s/%s", config->directory, config->name);
        struct capture_stream *s;

        if (check_config(config, err) < 0)
                return -1;
        s = mem_alloc(sizeof *s);
        *s = (struct capture_stream){
                .capture = capture,
                .owner = config->owner,
                .fifo = config->fifo,
                .run = config->run,
                .when_full = config->when_full,
                .state = STREAM_CLOSED,
        };
        logfile_init(&s->log, path, config->size, config->files);
        TAILQ_INSERT_TAIL(&capture->all, s, all);
        slots_hand_over(capture, NULL, s, path);
        if (s->state == STREAM_CLOSED)
                stream_set_state(s, STREAM_COLD);
        *ret = s;
        return 0;
}

void capture_stream_close(struct capture_stream *stream)
{
        struct capture *c;

        if (stream == NULL || stream->state == STREAM_CLOSED)
                return;
        c = stream->capture;
        record_lost(stream);
        stream->lost = 0;
        slots_hand_over(c, stream, NULL, stream->log.path);
        stream_set_state(stream, STREAM_CLOSED);
        stream_forget_open(stream);
        logfile_done(&stream->log);
        close(stream->fifo);
        TAILQ_REMOVE(&c->all, stream, all);
        TAILQ_INSERT_TAIL(&c->closed, stream, hot);
        dispatch_begin(c);
        dispatch_end(c);
}

int capture_stream_drain(struct capture_stream *stream, struct error *err)
{
        struct capture *c = stream->capture;
        size_t held = 0, total = 0;
        struct turn turn = { 0 };

        dispatch_begin(c);
        (void) fifo_holds(stream, &held);
        do {
                stream_take(stream, held - total, &turn);
                total += turn.taken;
        } while (total < held && turn.taken > 0 && turn.flow != CAPTURE_BLOCKED);
        if (turn.flow == CAPTURE_BLOCKED) {
                stream_set_state(stream, STREAM_STUCK);
                error_set(err, turn.why.code, "%s", turn.why.message);
        } else if (stream->state == STREAM_STUCK) {
                stream_set_state(stream, STREAM_HOT);
        }
        turn.taken = total;
        stream_tell(stream, &turn);
        dispatch_end(c);
        return turn.flow == CAPTURE_BLOCKED ? -1 : 0;
}

void capture_stream_set_run(struct capture_stream *stream, uint32_t run)
{
        (void) capture_stream_drain(stream, NULL);
        stream->run = run;
}

void capture_stream_set_config(struct capture_stream *stream, uint64_t size, uint32_t files,
        enum capture_when_full when_full)
{
        stream->log.max_size = size;
        stream->log.max_files = files;
        stream->when_full = when_full;
}

int capture_stream_size(struct capture_stream *stream, uint64_t *ret, struct error *err)
{
        if (logfile_load(&stream->log, err) < 0)
                return -1;
        stream_note_open(stream);
        *ret = logfile_next(&stream->log);
        return 0;
}

uint64_t capture_get_taken(const struct capture *capture)
{
        return capture->taken;
}

enum capture_flow capture_stream_get_flow(const struct capture_stream *stream)
{
        return stream->flow;
}

void *capture_stream_get_owner(const struct capture_stream *stream)
{
        return stream->owner;
}

/* Beginning and end */

static void capture_destroy(struct capture *c)
{
        if (c->epoll >= 0)
                close(c->epoll);
        if (c->tick >= 0)
                close(c->tick);
        for (size_t i = 0; i < ARRAY_SIZE(c->peek); i++)
                if (c->peek[i] >= 0)
                        close(c->peek[i]);
        staging_close(&c->staging);
        free(c);
}

static void on_handle_closed(uv_handle_t *handle)
{
        struct capture *c = handle->data;

        if (--c->handles == 0)
                capture_destroy(c);
}

void capture_free(struct capture *capture)
{
        struct capture_stream *s;

        if (capture == NULL)
                return;
        while ((s = TAILQ_FIRST(&capture->all)) != NULL)
                capture_stream_close(s);
        capture->handles = 2;
        uv_close((uv_handle_t *) &capture->poll, on_handle_closed);
        uv_close((uv_handle_t *) &capture->retry, on_handle_closed);
}

static int make_descriptors(struct capture *c, struct error *err)
{
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };

        c->epoll = epoll_create1(EPOLL_CLOEXEC);
        c->tick = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        if (c->epoll < 0 || c->tick < 0 || epoll_ctl(c->epoll, EPOLL_CTL_ADD, c->tick, &event) < 0)
                return error_sys(err, errno, "prepare log capture");
        return 0;
}

static int watch(struct capture *c, uv_loop_t *loop, struct error *err)
{
        int e = uv_poll_init(loop, &c->poll, c->epoll);

        if (e < 0)
                return error_sys(err, -e, "watch the logs");
        uv_timer_init(loop, &c->retry);
        c->poll.data = c;
        c->retry.data = c;
        uv_poll_start(&c->poll, UV_READABLE, on_poll);
        return 0;
}

static struct capture *capture_alloc(const struct capture_events *events)
{
        struct capture *c = mem_alloc(sizeof *c);

        *c = (struct capture){
                .events = *events,
                .epoll = -1,
                .tick = -1,
                .peek = { -1, -1 },
                .tick_usec = TICK_MAX,
                .retry_msec = RETRY_MIN_MSEC,
        };
        TAILQ_INIT(&c->all);
        TAILQ_INIT(&c->hot);
        TAILQ_INIT(&c->open);
        TAILQ_INIT(&c->closed);
        return c;
}

int capture_new(uv_loop_t *loop, const char *path, const struct capture_events *events,
        struct capture **ret, struct error *err)
{
        struct capture *c = capture_alloc(events);

        if (staging_open(path, &c->staging, err) < 0 || make_descriptors(c, err) < 0 ||
                watch(c, loop, err) < 0) {
                capture_destroy(c);
                return error_wrap(err, "log capture");
        }
        for (size_t i = 0; i < STAGING_SLOTS; i++)
                if (!slot_recover(&c->staging.slots[i]))
                        arm_retry(c);
        *ret = c;
        return 0;
}

int capture_stream_get_fifo(const struct capture_stream *stream)
{
        return stream->fifo;
}
