#include "dispatcher/share.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/str.h"

const char *const share_names[SHARES + 1] = {"critical", "normal", "bulk", NULL};
static const uint32_t default_weights[SHARES] = {16, 4, 1};
/* A multiple of most weights, so that strides are exact or nearly so. */
static const uint64_t whole = UINT64_C(720720) * 1024;
/* Positions begin anew long before they run over. */
static const uint64_t far = UINT64_C(1) << 62;

void share_init(struct share *s, const uint32_t weights[SHARES])
{
    memset(s, 0, sizeof *s);
    for (int i = 0; i < SHARES; i++)
        s->stride[i] = whole / weights[i];
}

int share_first(const struct share *s, const bool wants[SHARES])
{
    int first = -1;
    for (int i = 0; i < SHARES; i++)
        if (wants[i] && (first < 0 || s->position[i] < s->position[first]))
            first = i;
    return first;
}

int share_turn(struct share *s, const bool wants[SHARES])
{
    for (int i = 0; i < SHARES; i++) {
        if (wants[i] && !s->active[i] && s->position[i] < s->now)
            s->position[i] = s->now;
        s->active[i] = wants[i];
    }
    return share_first(s, wants);
}

static void begin_anew(struct share *s)
{
    for (int i = 0; i < SHARES; i++)
        s->position[i] = s->position[i] > s->now ? s->position[i] - s->now : 0;
    s->now = 0;
}

void share_take(struct share *s, int who)
{
    s->now = s->position[who];
    s->position[who] += s->stride[who];
    if (s->now >= far)
        begin_anew(s);
}

void share_plan(const struct share *s, const size_t wants[SHARES], size_t room, size_t turns[SHARES])
{
    struct share copy = *s;
    bool waits[SHARES];
    for (int i = 0; i < SHARES; i++)
        turns[i] = 0;
    while (room--) {
        for (int i = 0; i < SHARES; i++)
            waits[i] = turns[i] < wants[i];
        int who = share_turn(&copy, waits);
        if (who < 0)
            return;
        share_take(&copy, who);
        turns[who]++;
    }
}

/* ---- the directive ---- */

/* Cuts the blanks off both ends. */
static char *trim(char *text)
{
    text += strspn(text, " \t");
    size_t len = strlen(text);
    while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
        len--;
    text[len] = '\0';
    return text;
}

/* Splits "bulk: 2"; false if there is no colon. */
static bool split(char *text, char **name, char **number)
{
    char *colon = strchr(text, ':');
    if (!colon)
        return false;
    *colon = '\0';
    *name = trim(text);
    *number = trim(colon + 1);
    return true;
}

static int find_name(const char *name)
{
    for (int i = 0; i < SHARES; i++)
        if (strcmp(share_names[i], name) == 0)
            return i;
    return -1;
}

/* 0 if it is no weight. */
static uint32_t read_weight(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 4 || text[digits])
        return 0;
    unsigned long weight = strtoul(text, NULL, 10);
    return weight <= SHARE_WEIGHT_MAX ? (uint32_t)weight : 0;
}

struct reading {
    const struct slice_block *block;
    const struct slice_setting *setting;
    size_t at; /* which of its words */
    struct faults *faults;
    bool seen[SHARES];
    uint32_t *weights;
};

#define FAULT(r, ...)                                                                                        \
    do {                                                                                                     \
        if ((r)->faults)                                                                                     \
            faults_add((r)->faults, (r)->block->file, slice_line((r)->setting, (r)->at),                     \
                       "`priority_weights`: " __VA_ARGS__);                                                  \
    } while (0)

static void unknown_name(const struct reading *r, const char *name)
{
    const char *near = str_nearest(name, share_names);
    if (near)
        FAULT(r, "no priority \"%s\"; did you mean \"%s\"?", name, near);
    else
        FAULT(r, "no priority \"%s\"; expected critical, normal or bulk", name);
}

static void read_one(struct reading *r, const char *word)
{
    char *text = xstrdup(word), *name, *number;
    int which = -1;
    if (!split(text, &name, &number)) {
        FAULT(r, "\"%s\" is not \"priority: weight\", such as \"critical: 16\"", word);
    } else if ((which = find_name(name)) < 0) {
        unknown_name(r, name);
    } else if (r->seen[which]) {
        FAULT(r, "\"%s\" is there twice", name);
    } else {
        uint32_t weight = read_weight(number);
        r->seen[which] = true;
        if (weight)
            r->weights[which] = weight;
        else
            FAULT(r, "\"%s\": expected a whole number from 1 to %d, not \"%s\"", word, SHARE_WEIGHT_MAX,
                  number);
    }
    free(text);
}

void share_weights(const struct slice *slice, uint32_t weights[SHARES], struct faults *faults)
{
    memcpy(weights, default_weights, sizeof default_weights);
    struct reading r = {.block = slice_find(slice, "dispatcher", NULL), .faults = faults, .weights = weights};
    r.setting = r.block ? slice_get(r.block, "priority_weights") : NULL;
    for (; r.setting && r.setting->kind == SLICE_LIST && r.at < r.setting->count; r.at++)
        read_one(&r, r.setting->list[r.at]);
}
