#include "listener/interest.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "listener/literals.h"
#include "listener/needle.h"

enum {
    SLOTS_MAX = 512,    /* channels and types come from the Bridge */
    SLOT_BUCKETS = 256, /* a power of two */
    WORD_MAX = 64,      /* a longer channel or type goes to the parser */
    MEMBERS_MAX = 64,   /* different members named by conditions on one type */
    PATH_FIELDS_MAX = 128,
};

static const char head_text[] = "{\"channel\":\"";
static const char middle_text[] = "\",\"type\":\"";
static const char tail_text[] = "\",\"data\":";
enum {
    HEAD_LEN = sizeof head_text - 1,
    MIDDLE_LEN = sizeof middle_text - 1,
    TAIL_LEN = sizeof tail_text - 1,
};

/* One member of `data` that conditions name. */
struct member {
    char *path;             /* "threadId", "publicMeta.kind": below data */
    struct needle needle;   /* its last name in quotes */
    struct literals pivots; /* values that lead to an entry; owner: index of the entry */
    struct literals all;    /* every value, while the slot is made */
    size_t distinct;
};

struct condition {
    uint32_t member;
    struct literals values;
};

/* A wire entry as it applies to one channel and type; its pivot condition is in the member's table. */
struct entry {
    struct condition *conditions;
    uint32_t count;
};

/* What is known about one channel and type. */
struct slot {
    struct slot *next; /* same bucket */
    char *prefix;      /* the frame's beginning up to the value of data */
    size_t prefix_len;
    char *channel, *type;
    bool all;   /* wanted without looking further */
    bool folds; /* may hold a part of an inbox entry */
    struct member *members;
    size_t members_count;
    struct entry *entries;
    size_t entries_count;
    uint64_t dropped;
};

struct interest {
    struct wire_interest wire;
    char **implied;
    size_t implied_count;
    bool folds;
    struct needle inbox; /* beginning of the key ids of inbox messages and files */
    struct slot *buckets[SLOT_BUCKETS];
    struct slot *last;
    size_t slots_count;
};

/* ---- words ---- */

static bool has_word(char *const *words, size_t count, const char *word)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(words[i], word) == 0)
            return true;
    return false;
}

static bool entry_fits(const struct wire_interest_entry *e, const char *channel, const char *type)
{
    return (e->channels_count == 0 || has_word(e->channels, e->channels_count, channel)) &&
           (e->types_count == 0 || has_word(e->types, e->types_count, type));
}

/* ---- making a slot ---- */

enum resolved { PATH_MEMBER, PATH_UNKNOWN, PATH_ABSENT };

/* The path below data that PATH of a condition means for TYPE. Unknown paths constrain nothing here; a path
 * that this type certainly lacks makes the entry impossible. */
static enum resolved resolve(const char *path, const struct event_type *type, const char **member)
{
    if (strncmp(path, "data.", 5) == 0 && path[5]) {
        *member = path + 5;
        return PATH_MEMBER;
    }
    const struct {
        const char *name;
        const char *member;
    } heads[] = {
        {"container", type ? type->container : NULL},
        {"item", type ? type->item : NULL},
        {"context", type ? type->context : NULL},
        {"author", type ? type->author : NULL},
    };
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
        if (strcmp(path, heads[i].name) == 0) {
            *member = heads[i].member;
            return heads[i].member ? PATH_MEMBER : PATH_ABSENT;
        }
    return PATH_UNKNOWN;
}

/* Index of the member, made if it is new; -1 if it cannot be searched for. */
static int member_index(struct slot *s, const char *path)
{
    for (size_t i = 0; i < s->members_count; i++)
        if (strcmp(s->members[i].path, path) == 0)
            return (int)i;
    const char *dot = strrchr(path, '.');
    const char *name = dot ? dot + 1 : path;
    if (s->members_count == MEMBERS_MAX || strlen(path) + 2 > NEEDLE_MAX)
        return -1;
    s->members = xreallocarray(s->members, s->members_count + 1, sizeof *s->members);
    struct member *m = &s->members[s->members_count];
    memset(m, 0, sizeof *m);
    m->path = xstrdup(path);
    char *quoted = xasprintf("\"%s\"", name);
    needle_init(&m->needle, quoted, strlen(quoted));
    free(quoted);
    return (int)s->members_count++;
}

static void entry_free(struct entry *e)
{
    for (uint32_t i = 0; i < e->count; i++)
        literals_free(&e->conditions[i].values);
    free(e->conditions);
}

/* The conditions of W for this slot; false if W can never be met by such a frame. */
static bool make_entry(struct slot *s, const struct event_type *type, const struct wire_interest_entry *w,
                       struct entry *e)
{
    memset(e, 0, sizeof *e);
    e->conditions = xcalloc(w->conditions_count, sizeof *e->conditions);
    for (size_t i = 0; i < w->conditions_count; i++) {
        const struct wire_condition *c = &w->conditions[i];
        const char *path = NULL;
        enum resolved r = resolve(c->path, type, &path);
        int member = r == PATH_MEMBER ? member_index(s, path) : -1;
        if (r == PATH_ABSENT || (r == PATH_MEMBER && c->count == 0))
            return false;
        if (member < 0)
            continue;
        struct condition *to = &e->conditions[e->count++];
        to->member = (uint32_t)member;
        for (size_t v = 0; v < c->count; v++)
            literals_add(&to->values, c->values[v], 0);
    }
    return true;
}

static void add_entries(struct interest *i, struct slot *s)
{
    const struct event_type *type = event_type_find(s->type, strlen(s->type));
    size_t size = 0;
    for (size_t n = 0; n < i->wire.count && !s->all; n++) {
        const struct wire_interest_entry *w = &i->wire.entries[n];
        struct entry e;
        if (!entry_fits(w, s->channel, s->type))
            continue;
        if (!make_entry(s, type, w, &e)) {
            entry_free(&e);
            continue;
        }
        if (e.count == 0)
            s->all = true;
        if (s->entries_count == size) {
            size = size ? size * 2 : 8;
            s->entries = xreallocarray(s->entries, size, sizeof *s->entries);
        }
        s->entries[s->entries_count++] = e;
    }
}

/* How telling a member is: by how many different values it is asked for, then by its nature. */
static bool tells_more(const struct slot *s, uint32_t a, uint32_t b)
{
    const struct member *ma = &s->members[a], *mb = &s->members[b];
    if (ma->distinct != mb->distinct)
        return ma->distinct > mb->distinct;
    return strcmp(mb->path, "contextId") == 0 && strcmp(ma->path, "contextId") != 0;
}

/* Moves the most telling condition of each entry into its member's table. */
static void choose_pivots(struct slot *s)
{
    for (size_t n = 0; n < s->entries_count; n++)
        for (uint32_t c = 0; c < s->entries[n].count; c++) {
            const struct condition *from = &s->entries[n].conditions[c];
            for (uint32_t v = 0; v < from->values.count; v++)
                literals_add(&s->members[from->member].all, from->values.list[v].text, 0);
        }
    for (size_t m = 0; m < s->members_count; m++) {
        literals_seal(&s->members[m].all);
        s->members[m].distinct = literals_distinct(&s->members[m].all);
        literals_free(&s->members[m].all);
    }
    for (size_t n = 0; n < s->entries_count; n++) {
        struct entry *e = &s->entries[n];
        uint32_t pivot = 0;
        for (uint32_t c = 1; c < e->count; c++)
            if (tells_more(s, e->conditions[c].member, e->conditions[pivot].member))
                pivot = c;
        struct condition chosen = e->conditions[pivot];
        for (uint32_t v = 0; v < chosen.values.count; v++)
            literals_add(&s->members[chosen.member].pivots, chosen.values.list[v].text, (uint32_t)n);
        literals_free(&chosen.values);
        e->conditions[pivot] = e->conditions[--e->count];
        for (uint32_t c = 0; c < e->count; c++)
            literals_seal(&e->conditions[c].values);
    }
    for (size_t m = 0; m < s->members_count; m++)
        if (s->members[m].pivots.count)
            literals_seal(&s->members[m].pivots);
}

static bool wants_inbox_entries(const struct interest *i)
{
    if (i->wire.everything)
        return true;
    for (size_t n = 0; n < i->wire.count; n++)
        if (entry_fits(&i->wire.entries[n], "inbox", "inboxEntry"))
            return true;
    return false;
}

static struct slot *make_slot(struct interest *i, const char *channel, size_t channel_len, const char *type,
                              size_t type_len)
{
    struct slot *s = xcalloc(1, sizeof *s);
    s->channel = xstrndup(channel, channel_len);
    s->type = xstrndup(type, type_len);
    s->prefix = xasprintf("%s%s%s%s%s", head_text, s->channel, middle_text, s->type, tail_text);
    s->prefix_len = strlen(s->prefix);
    s->folds =
        i->folds && (strcmp(s->type, "threadNewMessage") == 0 || strcmp(s->type, "storeFileCreated") == 0);
    if (has_word(i->implied, i->implied_count, s->channel))
        return s;
    s->all = i->wire.everything;
    if (!s->all)
        add_entries(i, s);
    if (!s->all)
        choose_pivots(s);
    return s;
}

static uint32_t word_hash(const char *channel, size_t channel_len, const char *type, size_t type_len)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < channel_len; i++)
        h = (h ^ (unsigned char)channel[i]) * 16777619u;
    for (size_t i = 0; i < type_len; i++)
        h = (h ^ (unsigned char)type[i]) * 16777619u;
    return (h ^ h >> 16) & (SLOT_BUCKETS - 1);
}

/* NULL if there are too many. */
static struct slot *slot_of(struct interest *i, const char *channel, size_t channel_len, const char *type,
                            size_t type_len)
{
    struct slot **bucket = &i->buckets[word_hash(channel, channel_len, type, type_len)];
    for (struct slot *s = *bucket; s; s = s->next)
        if (strlen(s->channel) == channel_len && memcmp(s->channel, channel, channel_len) == 0 &&
            strlen(s->type) == type_len && memcmp(s->type, type, type_len) == 0)
            return s;
    if (i->slots_count == SLOTS_MAX)
        return NULL;
    struct slot *s = make_slot(i, channel, channel_len, type, type_len);
    s->next = *bucket;
    *bucket = s;
    i->slots_count++;
    return s;
}

static void slot_free(struct slot *s)
{
    for (size_t n = 0; n < s->entries_count; n++)
        entry_free(&s->entries[n]);
    free(s->entries);
    for (size_t m = 0; m < s->members_count; m++) {
        literals_free(&s->members[m].pivots);
        needle_free(&s->members[m].needle);
        free(s->members[m].path);
    }
    free(s->members);
    free(s->prefix);
    free(s->channel);
    free(s->type);
    free(s);
}

/* ---- the interest ---- */

struct interest *interest_new(struct wire_interest *wire, const char *const *implied, size_t implied_count,
                              bool folds)
{
    struct interest *i = xcalloc(1, sizeof *i);
    i->wire = *wire;
    memset(wire, 0, sizeof *wire);
    i->implied = xcalloc(implied_count, sizeof *i->implied);
    for (size_t n = 0; n < implied_count; n++)
        i->implied[i->implied_count++] = xstrdup(implied[n]);
    i->folds = folds && wants_inbox_entries(i);
    needle_init(&i->inbox, "\"<inbox", 7);
    return i;
}

struct interest *interest_everything(const char *const *implied, size_t implied_count, bool folds)
{
    struct wire_interest wire = {.everything = true};
    return interest_new(&wire, implied, implied_count, folds);
}

void interest_free(struct interest **p)
{
    struct interest *i = *p;
    if (!i)
        return;
    *p = NULL;
    for (size_t b = 0; b < SLOT_BUCKETS; b++)
        for (struct slot *s = i->buckets[b], *next; s; s = next) {
            next = s->next;
            slot_free(s);
        }
    for (size_t n = 0; n < i->implied_count; n++)
        free(i->implied[n]);
    free(i->implied);
    needle_free(&i->inbox);
    wire_interest_free(&i->wire);
    free(i);
}

uint64_t interest_number(const struct interest *i)
{
    return i->wire.number;
}

bool interest_folds(const struct interest *i)
{
    return i->folds;
}

void interest_each_dropped(const struct interest *i,
                           void (*fn)(void *arg, const char *type, uint64_t dropped), void *arg)
{
    for (size_t b = 0; b < SLOT_BUCKETS; b++)
        for (const struct slot *s = i->buckets[b]; s; s = s->next)
            if (s->dropped)
                fn(arg, s->type, s->dropped);
}

bool interest_may_want(struct interest *i, const char *channel, const char *type)
{
    const struct slot *s = slot_of(i, channel, strlen(channel), type, strlen(type));
    return !s || s->all || s->folds || s->entries_count;
}

/* ---- judging text ---- */

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
        at++;
    return at;
}

/* The next place at or behind FROM where the member has a text as its value; NULL if none. Sets VALUE and
 * LEN; the search goes on at the returned place. */
static const char *next_value(const struct needle *n, const char *from, const char *end, const char **value,
                              size_t *len)
{
    for (;;) {
        const char *at = needle_find(n, from, end);
        if (!at)
            return NULL;
        from = at + n->len;
        at = skip_blanks(from, end);
        if (at == end || *at != ':')
            continue;
        at = skip_blanks(at + 1, end);
        if (at == end || *at != '"')
            continue;
        const char *quote = memchr(at + 1, '"', (size_t)(end - at - 1));
        if (!quote)
            return NULL;
        *value = at + 1;
        *len = (size_t)(quote - at - 1);
        return from;
    }
}

static bool any_value_in(const struct needle *n, const struct literals *values, const char *data,
                         const char *end)
{
    const char *value;
    size_t len;
    while ((data = next_value(n, data, end, &value, &len)))
        if (literals_find(values, value, len))
            return true;
    return false;
}

static bool rest_holds(const struct slot *s, const struct entry *e, const char *data, const char *end)
{
    for (uint32_t c = 0; c < e->count; c++)
        if (!any_value_in(&s->members[e->conditions[c].member].needle, &e->conditions[c].values, data, end))
            return false;
    return true;
}

static bool member_leads(const struct slot *s, const struct member *m, const char *data, const char *end)
{
    const char *value;
    size_t len;
    for (const char *at = data; (at = next_value(&m->needle, at, end, &value, &len));)
        for (const struct literal *l = literals_find(&m->pivots, value, len); l;
             l = literals_next(&m->pivots, l))
            if (rest_holds(s, &s->entries[l->owner], data, end))
                return true;
    return false;
}

static enum interest_verdict judge_slot(const struct interest *i, const struct slot *s, const char *frame,
                                        size_t len)
{
    if (s->all)
        return INTEREST_TAKE;
    if (s->entries_count == 0 && !s->folds)
        return INTEREST_DROP;
    const char *data = frame + s->prefix_len, *end = frame + len;
    if (memchr(data, '\\', (size_t)(end - data)))
        return INTEREST_PARSE;
    if (s->folds && needle_find(&i->inbox, data, end))
        return INTEREST_PARSE;
    for (size_t m = 0; m < s->members_count; m++)
        if (s->members[m].pivots.count && member_leads(s, &s->members[m], data, end))
            return INTEREST_TAKE;
    return INTEREST_DROP;
}

/* A word between quotes at AT: its length, or -1 if it is not a plain short one. */
static int plain_word(const char *at, const char *end)
{
    size_t most = (size_t)(end - at) < WORD_MAX ? (size_t)(end - at) : WORD_MAX;
    for (size_t n = 0; n < most; n++) {
        if (at[n] == '"')
            return (int)n;
        if (at[n] == '\\' || (unsigned char)at[n] < ' ')
            return -1;
    }
    return -1;
}

static struct slot *find_slot(struct interest *i, const char *frame, size_t len)
{
    const char *end = frame + len, *at = frame + HEAD_LEN;
    if (len < HEAD_LEN || memcmp(frame, head_text, HEAD_LEN) != 0)
        return NULL;
    const char *channel = at;
    int channel_len = plain_word(at, end);
    at += channel_len;
    if (channel_len < 0 || end - at < MIDDLE_LEN || memcmp(at, middle_text, MIDDLE_LEN) != 0)
        return NULL;
    const char *type = at + MIDDLE_LEN;
    int type_len = plain_word(type, end);
    at = type + type_len;
    if (type_len < 0 || end - at < TAIL_LEN || memcmp(at, tail_text, TAIL_LEN) != 0)
        return NULL;
    return slot_of(i, channel, (size_t)channel_len, type, (size_t)type_len);
}

enum interest_verdict interest_judge(struct interest *i, const char *frame, size_t len)
{
    struct slot *s = i->last;
    if (!s || len < s->prefix_len || memcmp(frame, s->prefix, s->prefix_len) != 0) {
        s = find_slot(i, frame, len);
        if (!s)
            return INTEREST_PARSE;
        i->last = s;
    }
    enum interest_verdict v = judge_slot(i, s, frame, len);
    s->dropped += v == INTEREST_DROP;
    return v;
}

/* ---- judging a tree ---- */

static const char *text_at(const cJSON *data, const char *path)
{
    const cJSON *at = data;
    char name[NEEDLE_MAX + 1];
    for (unsigned n = 0; at && n < PATH_FIELDS_MAX; n++) {
        size_t len = strcspn(path, ".");
        if (len >= sizeof name)
            return NULL;
        memcpy(name, path, len);
        name[len] = '\0';
        at = cJSON_GetObjectItemCaseSensitive(at, name);
        if (path[len] == '\0')
            return cJSON_IsString(at) ? at->valuestring : NULL;
        path += len + 1;
    }
    return NULL;
}

static bool rest_holds_json(const struct slot *s, const struct entry *e, const cJSON *data)
{
    for (uint32_t c = 0; c < e->count; c++) {
        const char *text = text_at(data, s->members[e->conditions[c].member].path);
        if (!text || !literals_find(&e->conditions[c].values, text, strlen(text)))
            return false;
    }
    return true;
}

bool interest_wants_json(struct interest *i, const cJSON *frame)
{
    const cJSON *channel = cJSON_GetObjectItemCaseSensitive(frame, "channel");
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(frame, "type");
    const cJSON *data = cJSON_GetObjectItemCaseSensitive(frame, "data");
    if (!cJSON_IsString(channel) || !cJSON_IsString(type))
        return false;
    const struct slot *s = slot_of(i, channel->valuestring, strlen(channel->valuestring), type->valuestring,
                                   strlen(type->valuestring));
    if (!s || s->all)
        return true;
    for (size_t m = 0; m < s->members_count; m++) {
        const struct literals *pivots = &s->members[m].pivots;
        const char *text = pivots->count ? text_at(data, s->members[m].path) : NULL;
        if (!text)
            continue;
        for (const struct literal *l = literals_find(pivots, text, strlen(text)); l;
             l = literals_next(pivots, l))
            if (rest_holds_json(s, &s->entries[l->owner], data))
                return true;
    }
    return false;
}
