#include "dispatcher/parents.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/hash.h"
#include "core/loop.h"
#include "core/metrics.h"

enum {
    SLOTS = 4096,
    PLACE_LOAD = 20, /* of a container, where a row is 1 */
    WORKS_MAX = 32,  /* parents on their way at once */
    PAGE = 100,      /* read at once */
    TICK_MS = 200,
    PAUSE_MIN_MS = 2000,
    PAUSE_MAX_MS = 60000,
    OPEN_MAX = 500, /* questions to one bridge that are not answered; a listener keeps 1000 */
};

/* The questions of one bridge. */
struct line {
    char *bridge;
    size_t open;
};

/* A container whose members are waited for. */
struct place {
    struct place *in_slot;
    struct place *next, *prev; /* of all */
    char *bridge, *channel, *container, *context;
    uint64_t hash;
    int64_t *rows; /* from `head` on, in order */
    size_t head, count, size;
    uint64_t since_ms, due_ms; /* of asking */
    int64_t pause_ms;
    bool asked; /* and not answered */
    bool known; /* its rows may be expanded */
};

/* One parent on its way: read, then expanded. */
struct work {
    struct parents *parents;
    struct work *next; /* of those to be tried again */
    int64_t row;
    struct store_parents read;
    struct store_expand expand;
    struct rules_jobs jobs;
    char *rule, *reason;
    bool expands; /* what was read is decided */
};

struct parents {
    struct store *store;
    struct rules *rules;
    struct members *members;
    const struct parents_ops *ops;
    void *arg;
    struct loop_timer *tick;
    struct msg_in in;
    struct place *slots[SLOTS];
    struct place *first;
    size_t places, rows, load_max;
    struct line *lines;
    size_t lines_count;
    struct work *again;
    size_t works, with_store; /* WORKS_MAX bounds the first; the second counts units */
    /* The store's parents up to this row are in memory (or done). Beyond it there are more that are not
     * (`behind`), and perhaps some that came after the reading that is under way began (`missed`). */
    int64_t known_row;
    bool behind, missed, reading;
    struct store_parents page;
    uint64_t number; /* of the last question */
    bool stopped;
    void (*done)(void *arg);
    void *done_arg;
    uint64_t asked, expanded, ended;
};

static void pump(struct parents *p);

static size_t load_of(const struct parents *p)
{
    return p->rows + PLACE_LOAD * p->places;
}

/* ---- places ---- */

static uint64_t hash_of(const char *bridge, struct msg_str container)
{
    uint64_t parts[] = {hash_table_key(bridge, strlen(bridge)),
                        hash_table_key(container.data, container.len)};
    return hash_table_key(parts, sizeof parts);
}

static struct place **find(struct parents *p, const char *bridge, struct msg_str container, uint64_t hash)
{
    struct place **at = &p->slots[hash % SLOTS];
    while (*at && !((*at)->hash == hash && strcmp((*at)->bridge, bridge) == 0 &&
                    msg_str_is(container, (*at)->container)))
        at = &(*at)->in_slot;
    return at;
}

static struct place *add_place(struct parents *p, struct place **at, const struct event *e, uint64_t hash)
{
    struct place *x = xcalloc(1, sizeof *x);
    x->bridge = msg_str_dup(e->bridge);
    x->channel = msg_str_dup(e->channel);
    x->container = msg_str_dup(e->container);
    x->hash = hash;
    x->since_ms = x->due_ms = clock_mono_ms();
    x->pause_ms = PAUSE_MIN_MS;
    *at = x;
    x->next = p->first;
    if (p->first)
        p->first->prev = x;
    p->first = x;
    p->places++;
    return x;
}

static struct line *line_of(struct parents *p, const char *bridge)
{
    for (size_t i = 0; i < p->lines_count; i++)
        if (strcmp(p->lines[i].bridge, bridge) == 0)
            return &p->lines[i];
    p->lines = xreallocarray(p->lines, p->lines_count + 1, sizeof *p->lines);
    p->lines[p->lines_count] = (struct line){xstrdup(bridge), 0};
    return &p->lines[p->lines_count++];
}

static void set_asked(struct parents *p, struct place *x, bool asked)
{
    struct line *line = line_of(p, x->bridge);
    line->open = line->open + asked - x->asked;
    x->asked = asked;
}

static void drop_place(struct parents *p, struct place *x)
{
    set_asked(p, x, false);
    struct place **at = find(p, x->bridge, msg_str_of(x->container), x->hash);
    *at = x->in_slot;
    *(x->prev ? &x->prev->next : &p->first) = x->next;
    if (x->next)
        x->next->prev = x->prev;
    p->places--;
    p->rows -= x->count - x->head;
    free(x->rows);
    free(x->bridge);
    free(x->channel);
    free(x->container);
    free(x->context);
    free(x);
}

static void add_row(struct parents *p, struct place *x, int64_t row)
{
    if (x->count == x->size) {
        x->size = x->size ? x->size * 2 : 2;
        x->rows = xreallocarray(x->rows, x->size, sizeof *x->rows);
    }
    x->rows[x->count++] = row;
    p->rows++;
}

/* ---- asking ---- */

static bool is_known(struct parents *p, const struct place *x)
{
    return members_knows(p->members, msg_str_of(x->bridge), msg_str_of(x->container));
}

static void ask(struct parents *p, struct place *x)
{
    struct wire_members_ask question = {.number = ++p->number,
                                        .channel = msg_str_of(x->channel),
                                        .container = msg_str_of(x->container),
                                        .context = msg_str_of(x->context)};
    bool sent = p->ops->ask(p->arg, x->bridge, &question);
    set_asked(p, x, sent);
    p->asked += sent;
    x->due_ms = clock_mono_ms() + (uint64_t)x->pause_ms;
    x->pause_ms = x->pause_ms * 2 < PAUSE_MAX_MS ? x->pause_ms * 2 : PAUSE_MAX_MS;
}

bool parents_wonder(struct parents *p, const struct event *e)
{
    struct wire_members_ask question = {
        .number = ++p->number, .channel = e->channel, .container = e->container, .context = e->context};
    char *bridge = msg_str_dup(e->bridge);
    bool sent = bridge && e->channel.data && e->container.len && line_of(p, bridge)->open < OPEN_MAX &&
                p->ops->ask(p->arg, bridge, &question);
    p->asked += sent;
    free(bridge);
    return sent;
}

/* Known by an answer, or by an event of the container that passed meanwhile. */
static void look_at(struct parents *p, struct place *x, uint64_t now_ms)
{
    if (x->known || x->due_ms > now_ms)
        return;
    if (is_known(p, x))
        x->known = true;
    else if (x->asked || line_of(p, x->bridge)->open < OPEN_MAX)
        ask(p, x);
}

static void take(struct parents *p, int64_t row, const struct event *e)
{
    char *bridge = msg_str_dup(e->bridge);
    uint64_t hash = hash_of(bridge, e->container);
    struct place **at = find(p, bridge, e->container, hash);
    struct place *x = *at ? *at : add_place(p, at, e, hash);
    free(bridge);
    if (!x->context)
        x->context = msg_str_dup(e->context);
    add_row(p, x, row);
    x->known = x->known && is_known(p, x);
    look_at(p, x, clock_mono_ms());
}

/* An event that cannot wait for anything is decided at once. */
static void begin_work(struct parents *p, int64_t row);

static void take_packed(struct parents *p, int64_t row, const void *packed, size_t len)
{
    struct event e;
    if (row > p->known_row)
        p->known_row = row;
    if (event_unpack(&p->in, packed, len, &e) == 0 && e.bridge.data && e.channel.data && e.container.len)
        take(p, row, &e);
    else
        begin_work(p, row);
}

void parents_add(struct parents *p, int64_t row, const void *packed, size_t len)
{
    /* Numbers of rows begin anew when all were purged: this is the highest that there is. */
    if (row <= p->known_row)
        p->known_row = row - 1;
    if (!p->behind && load_of(p) >= p->load_max)
        p->behind = true;
    if (p->behind) {
        p->missed = true;
        return;
    }
    take_packed(p, row, packed, len);
    if (!p->stopped)
        pump(p);
}

void parents_listener(struct parents *p, const char *bridge)
{
    for (struct place *x = p->first; x; x = x->next)
        if (strcmp(x->bridge, bridge) == 0 && !x->known) {
            set_asked(p, x, false);
            x->pause_ms = PAUSE_MIN_MS;
            x->due_ms = 0;
        }
    if (!p->stopped)
        loop_timer_start(p->tick, 0);
}

void parents_answer(struct parents *p, const char *bridge, const struct wire_members *found)
{
    members_learn(p->members, bridge, found);
    struct place *x = *find(p, bridge, found->container, hash_of(bridge, found->container));
    if (!x)
        return;
    set_asked(p, x, false);
    if (found->outcome == WIRE_MEMBERS_BUSY) {
        x->due_ms = clock_mono_ms() + (uint64_t)x->pause_ms;
        return;
    }
    x->known = is_known(p, x);
    if (!p->stopped)
        pump(p);
}

/* ---- reading what waits ---- */

static void unit_ended(struct parents *p)
{
    p->with_store--;
    if (p->stopped && p->with_store == 0 && p->done) {
        void (*done)(void *arg) = p->done;
        p->done = NULL;
        done(p->done_arg);
    }
}

static void on_page(struct store_unit *unit, enum store_status status)
{
    struct parents *p = unit->arg;
    p->reading = false;
    for (size_t i = 0; status == STORE_OK && !p->stopped && i < p->page.count; i++)
        take_packed(p, p->page.list[i].job.row, p->page.list[i].packed, p->page.list[i].packed_len);
    if (status == STORE_OK) {
        if (p->page.last_row > p->known_row)
            p->known_row = p->page.last_row;
        p->behind = p->page.more || p->missed;
    }
    store_parents_clear(&p->page);
    if (!p->stopped)
        loop_timer_start(p->tick, status == STORE_OK && p->behind ? 0 : TICK_MS);
    unit_ended(p);
}

static void read_page(struct parents *p)
{
    if (!p->behind || p->reading || load_of(p) > p->load_max / 2)
        return;
    p->reading = true;
    p->missed = false;
    p->page = (struct store_parents){
        .unit = {.kind = STORE_PARENTS, .done = on_page, .arg = p}, .after_row = p->known_row, .limit = PAGE};
    p->with_store++;
    store_submit(p->store, &p->page.unit);
}

/* ---- expanding ---- */

static void free_jobs(struct rules_jobs *jobs)
{
    for (size_t i = 0; i < jobs->count; i++)
        store_job_free(&jobs->list[i]);
    free(jobs->list);
    memset(jobs, 0, sizeof *jobs);
}

static void end_work(struct work *w)
{
    w->parents->works--;
    store_parents_clear(&w->read);
    free_jobs(&w->jobs);
    free(w->rule);
    free(w->reason);
    free(w);
}

static void later(struct work *w)
{
    w->next = w->parents->again;
    w->parents->again = w;
}

static void on_expanded(struct store_unit *unit, enum store_status status)
{
    struct work *w = unit->arg;
    struct parents *p = w->parents;
    if (status != STORE_OK) {
        later(w);
    } else {
        p->expanded += w->expand.applied;
        p->ended += w->expand.applied && w->expand.end;
        if (w->expand.applied)
            p->ops->inserted(p->arg, w->jobs.list, w->jobs.count);
        end_work(w);
        if (!p->stopped)
            pump(p);
    }
    unit_ended(p);
}

static void submit(struct work *w)
{
    w->parents->with_store++;
    store_submit(w->parents->store, w->expands ? &w->expand.unit : &w->read.unit);
}

/* The rule again, now that its people are known. False if they are not, after all. */
static bool decide(struct work *w, const struct store_parent *parent)
{
    struct parents *p = w->parents;
    struct rules_expanded out = {0};
    struct event e;
    bool good = event_unpack(&p->in, parent->packed, parent->packed_len, &e) == 0;
    if (good)
        rules_expand(p->rules, &parent->job, &e, store_identity(p->store), store_now_ms(p->store), &out);
    if (out.waits)
        return false;
    w->jobs = out.jobs;
    w->rule = xstrdup(parent->job.rule);
    w->reason = good ? out.reason : xstrdup("the event cannot be read any more");
    w->expand = (struct store_expand){
        .unit = {.kind = STORE_EXPAND, .done = on_expanded, .arg = w},
        .row = w->row,
        .parent = parent->job.id,
        .rule = w->rule,
        .jobs = w->jobs.list,
        .jobs_count = w->jobs.count,
        .end = !good || out.ends,
        .why = good ? out.why : WHY_UNKNOWN,
        .reason = w->reason,
    };
    w->expands = true;
    return true;
}

static void on_read(struct store_unit *unit, enum store_status status)
{
    struct work *w = unit->arg;
    struct parents *p = w->parents;
    const struct store_parent *parent = w->read.count ? &w->read.list[0] : NULL;
    if (status != STORE_OK || p->stopped) {
        store_parents_clear(&w->read);
        later(w);
    } else if (!parent || parent->job.row != w->row) {
        end_work(w); /* cancelled, or expired */
    } else if (decide(w, parent)) {
        submit(w);
    } else {
        take_packed(p, w->row, parent->packed, parent->packed_len);
        end_work(w);
    }
    if (!p->stopped)
        loop_timer_start(p->tick, p->again ? TICK_MS : 0);
    unit_ended(p);
}

static void begin_work(struct parents *p, int64_t row)
{
    struct work *w = xcalloc(1, sizeof *w);
    w->parents = p;
    w->row = row;
    w->read = (struct store_parents){
        .unit = {.kind = STORE_PARENTS, .done = on_read, .arg = w}, .after_row = row - 1, .limit = 1};
    p->works++;
    submit(w);
}

static void work_on(struct parents *p, struct place *x)
{
    while (x->head < x->count && p->works < WORKS_MAX) {
        p->rows--;
        begin_work(p, x->rows[x->head++]);
    }
    if (x->head == x->count)
        drop_place(p, x);
}

static void pump(struct parents *p)
{
    for (struct place *x = p->first, *next; x && p->works < WORKS_MAX; x = next) {
        next = x->next;
        if (x->known)
            work_on(p, x);
    }
}

/* ---- time ---- */

static void try_again(struct parents *p)
{
    struct work *list = p->again;
    p->again = NULL;
    while (list) {
        struct work *w = list;
        list = w->next;
        submit(w);
    }
}

static void on_tick(void *arg)
{
    struct parents *p = arg;
    uint64_t now_ms = clock_mono_ms();
    if (p->stopped)
        return;
    try_again(p);
    for (struct place *x = p->first; x; x = x->next)
        look_at(p, x, now_ms);
    pump(p);
    read_page(p);
    if (!loop_timer_pending(p->tick))
        loop_timer_start(p->tick, TICK_MS);
}

struct parents *parents_new(struct store *store, struct rules *rules, struct members *members,
                            size_t load_max, const struct parents_ops *ops, void *arg)
{
    struct parents *p = xcalloc(1, sizeof *p);
    p->store = store;
    p->rules = rules;
    p->members = members;
    p->load_max = load_max;
    p->ops = ops;
    p->arg = arg;
    p->behind = true;
    msg_in_init(&p->in);
    p->tick = loop_timer_new(on_tick, p);
    loop_timer_start(p->tick, 0);
    return p;
}

void parents_free(struct parents **pp)
{
    struct parents *p = *pp;
    if (!p)
        return;
    *pp = NULL;
    while (p->again) {
        struct work *w = p->again;
        p->again = w->next;
        end_work(w);
    }
    while (p->first)
        drop_place(p, p->first);
    for (size_t i = 0; i < p->lines_count; i++)
        free(p->lines[i].bridge);
    free(p->lines);
    loop_timer_free(&p->tick);
    msg_in_free(&p->in);
    free(p);
}

void parents_stop(struct parents *p, void (*done)(void *arg), void *arg)
{
    p->stopped = true;
    p->done = done;
    p->done_arg = arg;
    if (p->with_store == 0) {
        p->done = NULL;
        done(arg);
    }
}

/* ---- telling ---- */

static int64_t oldest_s(const struct parents *p)
{
    uint64_t oldest_ms = clock_mono_ms();
    uint64_t now_ms = oldest_ms;
    for (const struct place *x = p->first; x; x = x->next)
        if (x->since_ms < oldest_ms)
            oldest_ms = x->since_ms;
    return (int64_t)((now_ms - oldest_ms) / 1000);
}

void parents_status(const struct parents *p, cJSON *status)
{
    cJSON *o = cJSON_AddObjectToObject(status, "waiting");
    cJSON_AddNumberToObject(o, "events", (double)(p->rows + p->works));
    cJSON_AddNumberToObject(o, "containers", (double)p->places);
    cJSON_AddNumberToObject(o, "oldest_s", (double)oldest_s(p));
    cJSON_AddNumberToObject(o, "asked", (double)p->asked);
    cJSON_AddNumberToObject(o, "expanded", (double)p->expanded);
    cJSON_AddNumberToObject(o, "ended", (double)p->ended);
}

void parents_metrics(const struct parents *p, struct buf *out)
{
    static const struct metric_def defs[] = {
        {"parents_waiting", METRIC_GAUGE, "Events that wait for the members of their container.", NULL},
        {"parents_oldest_seconds", METRIC_GAUGE, "How long the longest of them waits.", NULL},
        {"parents_asked_total", METRIC_COUNTER, "Questions for members that listeners were sent.", NULL},
        {"parents_expanded_total", METRIC_COUNTER, "Events of them whose people became known.", NULL},
    };
    const int64_t values[] = {(int64_t)(p->rows + p->works), oldest_s(p), (int64_t)p->asked,
                              (int64_t)p->expanded};
    for (size_t i = 0; i < sizeof defs / sizeof defs[0]; i++) {
        metrics_print_head(out, &defs[i]);
        metrics_print_value(out, &defs[i], "", NULL, values[i]);
    }
}
