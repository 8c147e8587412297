#include "dispatcher/noise.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "dispatcher/calendar.h"
#include "dispatcher/expr/text.h"
#include "dispatcher/rules_fault.h"

enum {
    RATES_MAX = 8,
    BUDGETS = 4,
    STALE_WINDOW_MS = 60000, /* how long a summary of old events collects */
    STORM_WINDOW_MIN_MS = 60000,
    RULE_SHOWN = 40, /* bytes of its name within that of its budget */
};

struct rate {
    int64_t count, per_ms;
};
struct rates {
    struct rate list[RATES_MAX];
    size_t count;
};

/* Per period: 0 is no limit. */
struct budgets {
    int64_t limit[BUDGETS];
    bool any;
};
static const struct {
    const char *setting, *name;
    enum calendar_unit unit;
    bool money;
} budget_kinds[BUDGETS] = {
    {"sms_per_day", "messages a day", CALENDAR_DAY, false},
    {"sms_per_month", "messages a month", CALENDAR_MONTH, false},
    {"money_per_day", "money a day", CALENDAR_DAY, true},
    {"money_per_month", "money a month", CALENDAR_MONTH, true},
};

struct group {
    const char *title;
    struct quiet *quiet;
    struct rates throttle;
    struct budgets budgets;
};

enum throttle_per { PER_RECIPIENT, PER_RULE, PER_PERSON };

struct noise_rule {
    struct noise_rule *next;
    enum job_priority priority;
    bool shadow;
    int64_t max_age_ms, dedupe_ms, digest_ms;
    struct expr *dedupe_key, *throttle_key, *digest_key;
    struct rates throttle;
    enum throttle_per throttle_per;
    struct rate storm, caps, rule_caps; /* count 0: off */
    struct quiet *quiet;
    struct budgets budgets;
};

struct noise {
    struct noise_rule *rules;
    struct group *groups;
    size_t groups_count;
    struct rate person_caps;
    struct budgets budgets;
    int warn_at, digest_at;
    int64_t budget_digest_ms;
    const char *zone;
};

/* ---- loading ---- */

/* "1/60000ms 5/900000ms" or "off". */
static void read_rates(const struct slice_block *b, const char *name, struct rates *out)
{
    const char *text = slice_text(b, name, "off");
    int used = 0;
    out->count = 0;
    while (out->count < RATES_MAX) {
        struct rate *r = &out->list[out->count];
        if (sscanf(text, "%" SCNd64 "/%" SCNd64 "ms%n", &r->count, &r->per_ms, &used) != 2 || used == 0)
            return;
        out->count++;
        text += used;
        text += strspn(text, " ");
    }
}

static void read_rate(const struct slice_block *b, const char *name, struct rate otherwise, struct rate *out)
{
    const struct slice_setting *s = b ? slice_get(b, name) : NULL;
    *out = otherwise;
    if (s)
        *out = s->number > 0 ? (struct rate){s->number, s->per_ms} : (struct rate){0, 0};
}

static void read_budgets(const struct slice_block *b, struct budgets *out)
{
    for (size_t i = 0; i < BUDGETS; i++) {
        out->limit[i] = b ? slice_number(b, budget_kinds[i].setting, 0) : 0;
        out->any = out->any || out->limit[i] > 0;
    }
}

void noise_check_money(const struct slice_block *b, struct faults *faults)
{
    for (size_t i = 0; b && i < BUDGETS; i++) {
        const struct slice_setting *s = budget_kinds[i].money ? slice_get(b, budget_kinds[i].setting) : NULL;
        if (s && s->number > 0)
            faults_add(faults, b->file, s->line,
                       "\"%s\" holds nothing back without prices: expected a `table` in the block `prices`",
                       budget_kinds[i].setting);
    }
}

static struct expr *read_key(const struct slice_block *b, const char *name, struct faults *faults)
{
    const struct slice_setting *s = slice_get(b, name);
    struct expr_error error;
    if (!s || !s->text)
        return NULL;
    /* Whatever it gives is written as text; there is no wrong type. */
    struct expr *e = expr_compile_for(s->text, strlen(s->text), expr_event_env(), NULL, &error);
    if (!e)
        rules_fault(faults, b, name, s->text, s->line, &error);
    return e;
}

static enum throttle_per read_per(const struct slice_block *b)
{
    const char *word = slice_text(b, "throttle_per", "recipient");
    return strcmp(word, "rule") == 0 ? PER_RULE : strcmp(word, "person") == 0 ? PER_PERSON : PER_RECIPIENT;
}

static void load_groups(struct noise *n, const struct slice *slice, struct faults *faults)
{
    n->groups = xcalloc(slice_count(slice, "recipients") + 1, sizeof *n->groups);
    for (const struct slice_block *b = NULL; (b = slice_next(slice, "recipients", b));) {
        struct group *g = &n->groups[n->groups_count++];
        g->title = b->title;
        g->quiet = quiet_new(b, faults);
        read_rates(b, "throttle", &g->throttle);
        read_budgets(b, &g->budgets);
    }
}

struct noise *noise_new(const struct slice *slice, struct faults *faults)
{
    const struct slice_block *limits = slice_find(slice, "limits", NULL);
    const struct slice_block *top = slice_find(slice, "bridgebell", NULL);
    struct noise *n = xcalloc(1, sizeof *n);
    read_rate(limits, "person_caps", (struct rate){0, 0}, &n->person_caps);
    read_budgets(limits, &n->budgets);
    n->warn_at = (int)(limits ? slice_number(limits, "warn_at", 75) : 75);
    n->digest_at = (int)(limits ? slice_number(limits, "digest_at", 90) : 90);
    n->budget_digest_ms = limits ? slice_number(limits, "budget_digest", 3600000) : 3600000;
    n->zone = top ? slice_text(top, "zone", "UTC") : "UTC";
    load_groups(n, slice, faults);
    return n;
}

const struct noise_rule *noise_rule_new(struct noise *n, const struct slice_block *b,
                                        enum job_priority priority, struct faults *faults)
{
    struct noise_rule *r = xcalloc(1, sizeof *r);
    r->next = n->rules;
    n->rules = r;
    r->priority = priority;
    r->shadow = strcmp(slice_text(b, "mode", "live"), "shadow") == 0;
    r->max_age_ms = slice_number(b, "max_age", 0);
    r->dedupe_ms = slice_number(b, "dedupe", 0);
    r->digest_ms = slice_number(b, "digest", 0);
    r->dedupe_key = read_key(b, "dedupe_key", faults);
    r->throttle_key = read_key(b, "throttle_key", faults);
    r->digest_key = read_key(b, "digest_key", faults);
    read_rates(b, "throttle", &r->throttle);
    r->throttle_per = read_per(b);
    read_rate(b, "storm", (struct rate){0, 0}, &r->storm);
    read_rate(b, "caps", (struct rate){0, 0}, &r->caps);
    read_rate(b, "rule_caps", (struct rate){0, 0}, &r->rule_caps);
    if (r->caps.count == 0)
        r->rule_caps.count = 0;
    r->quiet = quiet_new(b, faults);
    read_budgets(b, &r->budgets);
    return r;
}

void noise_free(struct noise **p)
{
    struct noise *n = *p;
    if (!n)
        return;
    *p = NULL;
    for (struct noise_rule *r; (r = n->rules);) {
        n->rules = r->next;
        expr_free(&r->dedupe_key);
        expr_free(&r->throttle_key);
        expr_free(&r->digest_key);
        quiet_free(&r->quiet);
        free(r);
    }
    for (size_t i = 0; i < n->groups_count; i++)
        quiet_free(&n->groups[i].quiet);
    free(n->groups);
    free(n);
}

/* ---- words ---- */

/* "12/h", "5/15min". Returns OUT. */
static const char *rate_name(int64_t count, int64_t per_ms, char *out, size_t size)
{
    static const struct {
        int64_t ms;
        const char *name;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "min"}, {1000, "s"}, {1, "ms"}};
    size_t i = 0;
    while (per_ms % units[i].ms != 0)
        i++;
    int64_t n = per_ms / units[i].ms;
    if (n == 1)
        snprintf(out, size, "%" PRId64 "/%s", count, units[i].name);
    else
        snprintf(out, size, "%" PRId64 "/%" PRId64 "%s", count, n, units[i].name);
    return out;
}

/* ---- keys ---- */

struct words {
    struct hash_part list[10];
    size_t count;
};

static void add_bytes(struct words *w, const void *data, size_t len)
{
    w->list[w->count++] = (struct hash_part){data, len};
}

static void add_word(struct words *w, const char *word)
{
    add_bytes(w, word, strlen(word));
}

static void finish(const struct words *w, struct hash_id *out)
{
    hash_id(w->list, w->count, out);
}

/* The value of a key's expression, as text; if it fails OTHERWISE. */
static void add_value(struct words *w, const struct expr *key, const char *otherwise,
                      const struct noise_message *m, struct expr_value *failure)
{
    const char *text;
    size_t len;
    struct expr_value value = expr_eval(key, m->activation, m->arena);
    if (value.type != EXPR_ERROR && expr_value_to_text(value, m->arena, &text, &len) == 0) {
        add_bytes(w, text, len);
        return;
    }
    if (failure)
        *failure = value;
    add_word(w, otherwise);
}

/* ---- gates ---- */

struct gates {
    const struct noise *n;
    const struct noise_rule *r;
    const struct noise_message *m;
    struct expr_value *failure;
    struct store_noise *out;
    bool shadow;
    bool closing; /* of a digest: what depends on one event is not asked */
};

static struct words key_of(const struct gates *g, const char *kind)
{
    struct words w = {.count = 0};
    add_word(&w, kind);
    add_word(&w, g->shadow ? "shadow" : "live");
    return w;
}

static const struct group *group_of(const struct noise *n, const struct recipient *to)
{
    return to->group >= 0 && (size_t)to->group < n->groups_count ? &n->groups[to->group] : NULL;
}

static struct store_gate *add_gate(struct gates *g, enum store_gate_kind kind, enum store_why why)
{
    struct store_gate *gate = &g->out->gates[g->out->count++];
    *gate = (struct store_gate){.kind = kind, .why = why};
    return gate;
}

static void add_rate(struct gates *g, struct words *key, struct rate rate, enum store_why why,
                     const char *whose)
{
    char name[48];
    if (rate.count <= 0)
        return;
    struct store_gate *gate = add_gate(g, GATE_RATE, why);
    gate->limit = rate.count;
    gate->per_ms = rate.per_ms;
    snprintf(gate->name, sizeof gate->name, "%s %s", rate_name(rate.count, rate.per_ms, name, sizeof name),
             whose);
    struct words w = *key;
    add_bytes(&w, &rate.per_ms, sizeof rate.per_ms);
    finish(&w, &gate->key);
}

static void add_duplicate(struct gates *g)
{
    if (!g->r->dedupe_ms || g->closing)
        return;
    struct words w = key_of(g, "dedupe");
    add_word(&w, g->m->rule);
    add_word(&w, g->m->to->number);
    /* Events of which nobody can say that they are the same are told apart by what people would read. */
    if (g->r->dedupe_key)
        add_value(&w, g->r->dedupe_key, g->m->text, g->m, g->failure);
    else
        add_word(&w, g->m->text);
    struct store_gate *gate = add_gate(g, GATE_WINDOW, WHY_DUPLICATE);
    gate->per_ms = g->r->dedupe_ms;
    snprintf(gate->name, sizeof gate->name, "%s", g->r->dedupe_key ? "the same key" : "the same text");
    finish(&w, &gate->key);
}

static void add_throttle(struct gates *g)
{
    static const char *const whose[] = {
        [PER_RECIPIENT] = "to one recipient", [PER_RULE] = "for the rule", [PER_PERSON] = "to one person"};
    const struct noise_rule *r = g->r;
    /* Which value of the key a digest stands for nobody knows; an event's throttle is not a message's. */
    if (!r->throttle.count || (g->closing && (r->throttle_key || r->throttle_per == PER_RULE)))
        return;
    struct words w = key_of(g, "throttle");
    add_word(&w, r->throttle_per == PER_PERSON ? "" : g->m->rule);
    add_word(&w, r->throttle_per == PER_RULE ? "" : g->m->to->number);
    if (r->throttle_key)
        add_value(&w, r->throttle_key, "", g->m, g->failure);
    for (size_t i = 0; i < r->throttle.count; i++) {
        struct words own = w;
        if (r->throttle_per == PER_PERSON)
            add_bytes(&own, &r->throttle.list[i].count, sizeof r->throttle.list[i].count);
        add_rate(g, &own, r->throttle.list[i], WHY_THROTTLE, whose[r->throttle_per]);
        g->out->gates[g->out->count - 1].shared = r->throttle_per == PER_RULE;
    }
}

static void add_person_throttle(struct gates *g, const struct group *group)
{
    struct words w = key_of(g, "person throttle");
    add_word(&w, g->m->to->number);
    for (size_t i = 0; group && i < group->throttle.count; i++)
        add_rate(g, &w, group->throttle.list[i], WHY_THROTTLE, "to this person");
}

static void add_storm(struct gates *g)
{
    if (g->closing)
        return;
    struct words w = key_of(g, "storm");
    add_word(&w, g->m->rule);
    add_word(&w, g->m->to->number);
    size_t before = g->out->count;
    add_rate(g, &w, g->r->storm, WHY_STORM, "before the storm guard");
    for (size_t i = before; i < g->out->count; i++)
        g->out->gates[i].merges = true;
}

static void add_caps(struct gates *g)
{
    struct words person = key_of(g, "caps");
    add_word(&person, g->m->to->number);
    struct words pair = person, rule = key_of(g, "rule caps");
    add_word(&pair, g->m->rule);
    add_word(&rule, g->m->rule);
    if (!g->r || g->r->caps.count <= 0)
        return;
    add_rate(g, &pair, g->r->caps, WHY_CAPS, "to one person from the rule (caps)");
    add_rate(g, &rule, g->r->rule_caps, WHY_CAPS, "from the rule (rule_caps)");
    add_rate(g, &person, g->n->person_caps, WHY_CAPS, "to one person (person_caps)");
}

static void add_budget(struct gates *g, const struct budgets *b, size_t kind, const char *whose,
                       const char *owner)
{
    char period[CALENDAR_NAME_SIZE];
    int64_t start_ms;
    bool money = budget_kinds[kind].money;
    /* What has no price cannot be reckoned; docs/noise.md says so. */
    if (b->limit[kind] <= 0 || (money && g->m->price_micro < 0))
        return;
    struct store_gate *gate = add_gate(g, GATE_BUDGET, WHY_BUDGET);
    calendar_period(g->n->zone, g->m->now_ms, budget_kinds[kind].unit, &start_ms, &gate->ends_ms, period);
    gate->limit = b->limit[kind];
    gate->amount = money ? g->m->price_micro : 1;
    gate->warn_percent = g->n->warn_at;
    gate->digest_percent = g->n->digest_at;
    gate->critical = g->r && g->r->priority == PRIORITY_CRITICAL;
    gate->merges = !g->closing;
    /* Which rule is no secret; whose number is. */
    bool of_rule = g->r && b == &g->r->budgets;
    size_t shown = of_rule ? text_valid_prefix(owner, strnlen(owner, RULE_SHOWN)) : 0;
    snprintf(gate->name, sizeof gate->name, "%s, %s%.*s, %s", budget_kinds[kind].name, whose, (int)shown,
             owner, period);
    struct words w = key_of(g, "budget");
    add_word(&w, whose);
    add_word(&w, owner);
    add_word(&w, budget_kinds[kind].setting);
    add_word(&w, period);
    finish(&w, &gate->key);
}

static const char in_all[] = "in all";

static void add_budgets(struct gates *g, const struct group *group)
{
    static const struct budgets none;
    const struct budgets *rule = g->r ? &g->r->budgets : &none;
    const struct budgets *person = group ? &group->budgets : &none;
    for (size_t i = 0; i < BUDGETS; i++) {
        add_budget(g, rule, i, "rule ", g->m->rule);
        add_budget(g, person, i, "one person", g->m->to->number);
        add_budget(g, &g->n->budgets, i, in_all, "");
    }
}

/* Most gates that any message can have. */
enum { GATES_MAX = 1 + 2 * RATES_MAX + 1 + 3 + 3 * BUDGETS };

static void begin_gates(struct gates *g)
{
    static struct store_noise *scratch;
    if (!scratch)
        scratch = store_noise_new(GATES_MAX);
    scratch->count = 0;
    g->out = scratch;
}

static struct store_noise *end_gates(const struct gates *g)
{
    struct store_noise *out = store_noise_new(g->out->count);
    out->shadow = g->shadow;
    memcpy(out->gates, g->out->gates, g->out->count * sizeof out->gates[0]);
    return out;
}

static struct store_noise *all_gates(struct gates *g)
{
    const struct group *group = group_of(g->n, g->m->to);
    begin_gates(g);
    if (g->r) {
        add_duplicate(g);
        add_throttle(g);
    }
    add_person_throttle(g, group);
    if (g->r)
        add_storm(g);
    add_caps(g);
    add_budgets(g, group);
    return end_gates(g);
}

/* ---- quiet hours and digests ---- */

static const struct quiet *quiet_of(const struct noise *n, const struct noise_rule *r,
                                    const struct recipient *to)
{
    const struct group *group = group_of(n, to);
    return r && r->quiet ? r->quiet : group ? group->quiet : NULL;
}

static enum job_priority priority_of(const struct noise_rule *r)
{
    return r ? r->priority : PRIORITY_NORMAL;
}

int64_t noise_quiet_until_ms(const struct noise *n, const struct noise_rule *r, const struct recipient *to,
                             int64_t now_ms)
{
    const struct quiet *q = quiet_of(n, r, to);
    return !q || quiet_passes(q, priority_of(r)) ? 0 : quiet_until_ms(q, to->zone, now_ms);
}

/* A digest that would ring in quiet hours rings behind them. */
static void set_merge(const struct gates *g, struct store_merge *merge, enum store_why why, struct words *key,
                      int64_t due_ms)
{
    int64_t quiet_ms = noise_quiet_until_ms(g->n, g->r, g->m->to, due_ms);
    merge->why = why;
    merge->due_ms = quiet_ms ? quiet_ms : due_ms;
    finish(key, &merge->key);
}

static struct words digest_key(const struct gates *g, const char *kind, bool with_rule)
{
    struct words w = key_of(g, kind);
    add_word(&w, with_rule ? g->m->rule : "");
    add_word(&w, g->m->to->number);
    return w;
}

static void add_merges(struct gates *g, int64_t quiet_ms)
{
    const struct noise_rule *r = g->r;
    struct store_noise *out = g->out;
    if (quiet_ms) {
        /* Of a person's own quiet hours all rules share one summary. */
        struct words w = digest_key(g, "quiet", r->quiet != NULL);
        set_merge(g, &out->merge, WHY_QUIET, &w, quiet_ms);
    } else if (r->max_age_ms && g->m->now_ms - g->m->event_ms > r->max_age_ms) {
        struct words w = digest_key(g, "stale", true);
        set_merge(g, &out->merge, WHY_STALE, &w, g->m->now_ms + STALE_WINDOW_MS);
    } else if (r->digest_ms) {
        struct words w = digest_key(g, "digest", true);
        if (r->digest_key)
            add_value(&w, r->digest_key, "", g->m, g->failure);
        set_merge(g, &out->merge, WHY_DIGEST, &w, g->m->now_ms + r->digest_ms);
    }
    if (r->storm.count) {
        struct words w = digest_key(g, "storm digest", true);
        int64_t window = r->storm.per_ms > STORM_WINDOW_MIN_MS ? r->storm.per_ms : STORM_WINDOW_MIN_MS;
        set_merge(g, &out->storm, WHY_STORM, &w, g->m->now_ms + window);
    }
    struct words w = digest_key(g, "budget digest", true);
    set_merge(g, &out->budget, WHY_BUDGET, &w, g->m->now_ms + g->n->budget_digest_ms);
}

int noise_group(const struct noise *n, const char *title)
{
    for (size_t i = 0; title && i < n->groups_count; i++)
        if (strcmp(n->groups[i].title, title) == 0)
            return (int)i;
    return RECIPIENTS_NO_GROUP;
}

/* What the closing has to know of the person; by name, because another configuration may close it. */
static char *context_of(const struct noise *n, const struct recipient *to)
{
    const struct group *group = group_of(n, to);
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "lang", to->lang);
    cJSON_AddStringToObject(o, "zone", to->zone);
    if (group)
        cJSON_AddStringToObject(o, "group", group->title);
    char *text = cJSON_PrintUnformatted(o), *copy = xstrdup(text);
    cJSON_free(text);
    cJSON_Delete(o);
    return copy;
}

static bool has_budgets(const struct gates *g)
{
    const struct group *group = group_of(g->n, g->m->to);
    return g->r->budgets.any || g->n->budgets.any || (group && group->budgets.any);
}

/* ---- the whole ---- */

struct store_noise *noise_refused(enum store_why why)
{
    struct store_noise *n = store_noise_new(0);
    n->why = why;
    return n;
}

struct store_noise *noise_of(const struct noise *n, const struct noise_rule *r, const struct noise_message *m,
                             struct expr_value *failure)
{
    struct gates g = {.n = n, .r = r, .m = m, .failure = failure, .shadow = r->shadow};
    int64_t quiet_ms = noise_quiet_until_ms(n, r, m->to, m->now_ms);
    if (quiet_ms && quiet_action(quiet_of(n, r, m->to)) == QUIET_DROP)
        return noise_refused(WHY_QUIET);
    g.out = all_gates(&g);
    if (quiet_ms || r->max_age_ms || r->digest_ms || r->storm.count || has_budgets(&g)) {
        add_merges(&g, quiet_ms);
        g.out->context = context_of(n, m->to);
    }
    return g.out;
}

struct store_noise *noise_of_digest(const struct noise *n, const struct noise_rule *r, bool shadow,
                                    const struct noise_message *m)
{
    struct gates g = {.n = n, .r = r, .m = m, .shadow = shadow, .closing = true};
    return all_gates(&g);
}

struct store_noise *noise_by_hand(const struct noise *n, const struct noise_message *m)
{
    struct gates g = {.n = n, .m = m};
    begin_gates(&g);
    for (size_t i = 0; i < BUDGETS; i++)
        add_budget(&g, &n->budgets, i, in_all, "");
    for (size_t i = 0; i < g.out->count; i++) {
        g.out->gates[i].critical = true;
        g.out->gates[i].merges = false;
    }
    return end_gates(&g);
}
