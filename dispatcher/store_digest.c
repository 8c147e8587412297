/*
 * Digests: held jobs that collect events until they are due, then become one message.
 *
 * A digest's id is the hash of its key and the store time of its first event. While it is open, events join
 * it; closing freezes it first, so that what its message tells is fixed, and later events open the next one.
 * A frozen digest is given out again until it is closed, so nothing is lost by a crash in between. One that
 * may not ring yet is open again; with one that was opened meanwhile it becomes one, so that of each key
 * there is never more than one that waits.
 */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/str.h"
#include "dispatcher/expr/text.h"
#include "dispatcher/store_parts.h"

enum { TEXT_BYTES_MAX = 4096, OLDER_BYTES_MAX = 480, AGAIN_MS_MIN = 100, FREEZE_AGAIN_MS = 30000 };

/* ---- texts: a JSON list, the latest first ---- */

static void add_text(cJSON *list, const char *text, size_t most)
{
    char *cut = xstrndup(text, text_valid_prefix(text, strnlen(text, most)));
    cJSON_AddItemToArray(list, cJSON_CreateString(cut));
    free(cut);
}

/* As far as there is room. */
static void add_older(cJSON *list, const char *texts)
{
    cJSON *old = texts ? cJSON_Parse(texts) : NULL;
    const cJSON *one;
    for (one = old ? old->child : NULL; one && cJSON_GetArraySize(list) < STORE_DIGEST_TEXTS; one = one->next)
        add_text(list, cJSON_IsString(one) ? one->valuestring : "",
                 cJSON_GetArraySize(list) ? OLDER_BYTES_MAX : TEXT_BYTES_MAX);
    cJSON_Delete(old);
}

/* Free with cJSON_free. */
static char *print_texts(cJSON *list)
{
    char *out = cJSON_PrintUnformatted(list);
    cJSON_Delete(list);
    return out;
}

static char *with_text(const char *texts, const char *text)
{
    cJSON *list = cJSON_CreateArray();
    add_text(list, text, TEXT_BYTES_MAX);
    add_older(list, texts);
    return print_texts(list);
}

static char *joined_texts(const char *newer, const char *older)
{
    cJSON *list = cJSON_CreateArray();
    add_older(list, newer);
    add_older(list, older);
    return print_texts(list);
}

static void read_texts(struct store_digest *d, const char *texts)
{
    cJSON *list = texts ? cJSON_Parse(texts) : NULL;
    const cJSON *one;
    for (one = list ? list->child : NULL; one && d->texts_count < STORE_DIGEST_TEXTS; one = one->next)
        if (cJSON_IsString(one))
            d->texts[d->texts_count++] = xstrdup(one->valuestring);
    cJSON_Delete(list);
}

/* ---- joining ---- */

static void digest_id(const struct store_merge *merge, int64_t now_ms, int64_t salt, struct hash_id *out)
{
    const struct hash_part parts[] = {{"digest", 6},
                                      {merge->key.bytes, sizeof merge->key.bytes},
                                      {&now_ms, sizeof now_ms},
                                      {&salt, sizeof salt}};
    hash_id(parts, sizeof parts / sizeof parts[0], out);
}

static bool add_to_open(struct store_db *db, struct store_job *j, const struct store_merge *merge)
{
    sqlite3_stmt *st = db_stmt(db, SQL_DIGEST_OPEN);
    db_bind_id(st, 1, &merge->key);
    if (!db_row(db, st))
        return false;
    int64_t row = sqlite3_column_int64(st, 0), count = sqlite3_column_int64(st, 1);
    int64_t since = sqlite3_column_int64(st, 2), until = sqlite3_column_int64(st, 3);
    char *texts = with_text((const char *)sqlite3_column_text(st, 4), j->text);
    db_id(st, 5, &j->noise->digest);
    j->noise->digest_due_ms = sqlite3_column_int64(st, 6);
    sqlite3_reset(st);
    st = db_stmt(db, SQL_DIGEST_SET);
    sqlite3_bind_int64(st, 1, row);
    sqlite3_bind_int64(st, 2, count + 1);
    sqlite3_bind_int64(st, 3, j->event_ms < since ? j->event_ms : since);
    sqlite3_bind_int64(st, 4, j->event_ms > until ? j->event_ms : until);
    db_bind_text(st, 5, texts);
    db_run(db, st);
    cJSON_free(texts);
    return true;
}

/* A row of the same message that waits instead of being sent; it belongs to no item and does not expire. */
static bool add_held(struct store_db *db, const struct store_job *j, const struct store_merge *merge,
                     struct store_job *held)
{
    char none[1] = "";
    *held = *j;
    held->noise = NULL;
    held->row = 0;
    held->text = none;
    held->item = held->container = held->reason = NULL;
    held->keep_on_delete = true;
    held->state = JOB_HELD;
    held->attempt = 0;
    held->first_attempt_ms = 0;
    held->pinned = false;
    held->due_ms = merge->due_ms;
    held->expires_ms = 0;
    held->parts = -1;
    held->price_micro = -1;
    held->reason = (char *)(uintptr_t)store_why_names[merge->why];
    for (int64_t salt = 0; salt < 16 && db->rc == SQLITE_OK; salt++) {
        digest_id(merge, db->now_ms, salt, &held->id);
        struct store_standing there;
        if (!store_row_find(db, &held->id, &there))
            return store_row_add(db, held);
    }
    return false;
}

static void open_digest(struct store_db *db, struct store_job *j, const struct store_merge *merge)
{
    struct store_job held;
    /* One whose job an operator has cancelled. */
    sqlite3_stmt *st = db_stmt(db, SQL_DIGEST_STALE);
    db_bind_id(st, 1, &merge->key);
    db_run(db, st);
    if (!add_held(db, j, merge, &held))
        return;
    char *texts = with_text(NULL, j->text);
    st = db_stmt(db, SQL_DIGEST_ADD);
    sqlite3_bind_int64(st, 1, held.row);
    db_bind_id(st, 2, &merge->key);
    sqlite3_bind_int(st, 3, (int)merge->why);
    sqlite3_bind_int(st, 4, j->noise->shadow);
    sqlite3_bind_int(st, 5, 0);
    sqlite3_bind_int64(st, 6, merge->due_ms);
    sqlite3_bind_int64(st, 7, 1);
    sqlite3_bind_int64(st, 8, j->event_ms);
    sqlite3_bind_int64(st, 9, j->event_ms);
    db_bind_text(st, 10, texts);
    db_bind_text(st, 11, j->noise->context);
    db_run(db, st);
    cJSON_free(texts);
    j->noise->digest = held.id;
    j->noise->digest_due_ms = merge->due_ms;
    j->noise->opened = true;
}

void store_digest_join(struct store_db *db, struct store_job *j, const struct store_merge *merge)
{
    j->noise->opened = false;
    if (!add_to_open(db, j, merge))
        open_digest(db, j, merge);
}

/* ---- freezing ---- */

struct due_rows {
    int64_t list[STORE_DIGESTS_MAX];
    size_t count;
};

static void find_due(struct store_db *db, struct due_rows *out)
{
    sqlite3_stmt *st = db_stmt(db, SQL_DIGEST_DUE);
    sqlite3_bind_int64(st, 1, db->now_ms);
    sqlite3_bind_int(st, 2, STORE_DIGESTS_MAX);
    while (db_row(db, st) && out->count < STORE_DIGESTS_MAX)
        out->list[out->count++] = sqlite3_column_int64(st, 0);
    sqlite3_reset(st);
}

static void drop(struct store_db *db, int64_t row)
{
    sqlite3_stmt *st = db_stmt(db, SQL_DIGEST_DROP);
    sqlite3_bind_int64(st, 1, row);
    db_run(db, st);
}

/* Given out once, it is given out again only when whoever has it should have closed it long ago. */
static void freeze(struct store_db *db, int64_t row)
{
    sqlite3_stmt *st = db_stmt(db, SQL_DIGEST_FREEZE);
    sqlite3_bind_int64(st, 1, row);
    sqlite3_bind_int64(st, 2, db->now_ms + FREEZE_AGAIN_MS);
    db_run(db, st);
}

void store_digests_reclaim(struct store_db *db)
{
    db_run(db, db_stmt(db, SQL_DIGEST_RECLAIM));
}

/* They end when the quiet hours of these settings do, which may be now. */
static void doubt_quiet(struct store_db *db)
{
    sqlite3_stmt *st = db_stmt(db, SQL_DIGEST_DOUBT);
    sqlite3_bind_int(st, 1, WHY_QUIET);
    sqlite3_bind_int64(st, 2, db->now_ms);
    db_run(db, st);
}

static void read_digest(struct store_db *db, int64_t row, struct store_digest *d)
{
    sqlite3_stmt *st = db_stmt(db, SQL_DIGEST_BY_ROW);
    sqlite3_bind_int64(st, 1, row);
    if (!db_row(db, st))
        return;
    int why = sqlite3_column_int(st, 1);
    d->why = why > 0 && why < WHY_COUNT ? (enum store_why)why : WHY_DIGEST;
    d->shadow = sqlite3_column_int(st, 2) != 0;
    d->count = sqlite3_column_int64(st, 3);
    d->since_ms = sqlite3_column_int64(st, 4);
    d->until_ms = sqlite3_column_int64(st, 5);
    read_texts(d, (const char *)sqlite3_column_text(st, 6));
    d->context = db_text(st, 7);
    sqlite3_reset(st);
}

void store_digests_clear(struct store_digests *u)
{
    for (size_t i = 0; i < u->count; i++) {
        struct store_digest *d = &u->list[i];
        store_job_free(&d->job);
        for (size_t t = 0; t < d->texts_count; t++)
            free(d->texts[t]);
        free(d->context);
    }
    free(u->list);
    u->list = NULL;
    u->count = 0;
}

void store_digests_reset(struct store_unit *unit)
{
    store_digests_clear((struct store_digests *)unit);
}

static int64_t next_due_in(struct store_db *db)
{
    sqlite3_stmt *st = db_stmt(db, SQL_DIGEST_NEXT);
    int64_t in_ms = -1;
    if (db_row(db, st) && sqlite3_column_type(st, 0) == SQLITE_INTEGER) {
        in_ms = sqlite3_column_int64(st, 0) - db->now_ms;
        in_ms = in_ms < 0 ? 0 : in_ms;
    }
    sqlite3_reset(st);
    return in_ms;
}

void store_digests_run(struct store_db *db, struct store_unit *unit)
{
    struct store_digests *u = (struct store_digests *)unit;
    struct due_rows due = {.count = 0};
    if (u->doubt_quiet)
        doubt_quiet(db);
    find_due(db, &due);
    u->count = 0;
    u->list = due.count ? xcalloc(due.count, sizeof *u->list) : NULL;
    for (size_t i = 0; i < due.count && db->rc == SQLITE_OK; i++) {
        struct store_digest *d = &u->list[u->count];
        if (!store_row_held(db, due.list[i], &d->job, "digest")) {
            drop(db, due.list[i]);
            continue;
        }
        read_digest(db, due.list[i], d);
        freeze(db, due.list[i]);
        u->count++;
    }
    u->next_due_in_ms = next_due_in(db);
}

/* ---- closing ---- */

static void fill(struct store_db *db, const struct store_job *j, uint64_t sum)
{
    sqlite3_stmt *st = db_stmt(db, SQL_JOB_FILL);
    sqlite3_bind_int64(st, 1, j->row);
    db_bind_text(st, 2, j->text);
    db_bind_text(st, 3, j->from);
    sqlite3_bind_int(st, 4, j->parts);
    sqlite3_bind_int64(st, 5, j->price_micro);
    sqlite3_bind_int64(st, 6, (int64_t)sum);
    db_bind_text(st, 7, j->provider);
    db_run(db, st);
}

static void end_digest(struct store_db *db, struct store_close *c, struct store_standing *s,
                       enum job_state state, const char *reason)
{
    struct store_job *j = c->job;
    s->state = state;
    s->due_ms = db->now_ms;
    s->finished_ms = state == JOB_QUEUED ? 0 : db->now_ms;
    s->expires_ms = j->expires_ms;
    s->sum = store_row_sum(&db->scratch, j);
    fill(db, j, s->sum);
    store_row_step(db, s, JOB_HELD, reason, 0);
    drop(db, j->row);
    j->noise->counted = true;
    tallies_add_job(&db->tallies, j);
    c->applied = true;
}

static const char *words_of(const struct store_noise *n, char *out, size_t size)
{
    bool named = n->refused_by < n->count;
    snprintf(out, size, "%s%s%s", store_why_names[n->why], named ? ": " : "",
             named ? n->gates[n->refused_by].name : "");
    return out;
}

/* ---- putting off ---- */

/* The row of a digest, as far as it is of interest to another one. */
struct standing_digest {
    struct hash_id key;
    int64_t count, since_ms, until_ms;
    char *texts;
    bool frozen;
};

static bool find_digest(struct store_db *db, int64_t row, struct standing_digest *out)
{
    sqlite3_stmt *st = db_stmt(db, SQL_DIGEST_BY_ROW);
    sqlite3_bind_int64(st, 1, row);
    *out = (struct standing_digest){.count = 0};
    if (!db_row(db, st))
        return false;
    db_id(st, 0, &out->key);
    out->count = sqlite3_column_int64(st, 3);
    out->since_ms = sqlite3_column_int64(st, 4);
    out->until_ms = sqlite3_column_int64(st, 5);
    out->texts = db_text(st, 6);
    out->frozen = sqlite3_column_int(st, 8) != 0;
    sqlite3_reset(st);
    return true;
}

/* The held job ROW is due by DUE_MS, as its digest is. */
static void hasten(struct store_db *db, int64_t row, int64_t due_ms, const char *why)
{
    struct store_standing s;
    sqlite3_stmt *st = db_stmt(db, SQL_STANDING_BY_ROW);
    sqlite3_bind_int64(st, 1, row);
    if (!db_row(db, st))
        return;
    store_row_standing(st, &s);
    sqlite3_reset(st);
    if (!s.intact || s.due_ms <= due_ms)
        return;
    s.due_ms = due_ms;
    store_row_step(db, &s, JOB_HELD, why, 0);
}

/* Adds what D has to the one that is open; false if there is none. That one is due then, if not before. */
static bool add_to_younger(struct store_db *db, const struct standing_digest *d, int64_t due_ms,
                           const char *why, struct hash_id *id)
{
    sqlite3_stmt *st = db_stmt(db, SQL_DIGEST_OPEN);
    db_bind_id(st, 1, &d->key);
    if (!db_row(db, st))
        return false;
    int64_t row = sqlite3_column_int64(st, 0);
    char *texts = joined_texts((const char *)sqlite3_column_text(st, 4), d->texts);
    db_id(st, 5, id);
    sqlite3_reset(st);
    st = db_stmt(db, SQL_DIGEST_FOLD);
    sqlite3_bind_int64(st, 1, row);
    sqlite3_bind_int64(st, 2, d->count);
    sqlite3_bind_int64(st, 3, d->since_ms);
    sqlite3_bind_int64(st, 4, d->until_ms);
    db_bind_text(st, 5, texts);
    sqlite3_bind_int64(st, 6, due_ms);
    db_run(db, st);
    cJSON_free(texts);
    hasten(db, row, due_ms, why);
    return true;
}

static void thaw(struct store_db *db, const struct standing_digest *d, int64_t row, int64_t due_ms)
{
    /* One whose job an operator has cancelled. */
    sqlite3_stmt *st = db_stmt(db, SQL_DIGEST_STALE);
    db_bind_id(st, 1, &d->key);
    db_run(db, st);
    st = db_stmt(db, SQL_DIGEST_THAW);
    sqlite3_bind_int64(st, 1, row);
    sqlite3_bind_int64(st, 2, due_ms);
    db_run(db, st);
}

static void put_off(struct store_db *db, struct store_close *c, struct store_standing *s,
                    const struct standing_digest *d, int64_t due_ms)
{
    char reason[200], hex[2 * HASH_ID_BYTES + 1];
    struct hash_id into;
    const char *why = store_why_names[c->why];
    c->postponed = true;
    if (!add_to_younger(db, d, due_ms, why, &into)) {
        thaw(db, d, c->job->row, due_ms);
        s->due_ms = due_ms;
        store_row_step(db, s, JOB_HELD, why, 0);
        return;
    }
    str_hex(into.bytes, HASH_ID_BYTES, hex);
    snprintf(reason, sizeof reason, "%s: into %s", why, hex);
    s->state = JOB_MERGED;
    s->finished_ms = db->now_ms;
    store_row_step(db, s, JOB_HELD, reason, 0);
    drop(db, c->job->row);
    c->folded = true;
}

/* What becomes of a digest whose text is known. */
static void decide(struct store_db *db, struct store_close *c, struct store_standing *s,
                   const struct standing_digest *d)
{
    struct store_job *j = c->job;
    struct store_noise *n = j->noise;
    char words[160];
    if (c->postpone_until_ms) {
        put_off(db, c, s, d, c->postpone_until_ms);
        return;
    }
    n->refused_by = SIZE_MAX;
    if (j->state == JOB_SUPPRESSED) {
        end_digest(db, c, s, JOB_SUPPRESSED, words_of(n, words, sizeof words));
        return;
    }
    n->why = WHY_NOTHING;
    int64_t wait_ms = store_gates_close(db, j);
    if (wait_ms > 0) {
        put_off(db, c, s, d, db->now_ms + (wait_ms > AGAIN_MS_MIN ? wait_ms : AGAIN_MS_MIN));
    } else if (wait_ms < 0 || c->shadow) {
        n->why = wait_ms < 0 ? n->gates[n->refused_by].why : WHY_SHADOW;
        end_digest(db, c, s, JOB_SUPPRESSED, words_of(n, words, sizeof words));
    } else {
        end_digest(db, c, s, JOB_QUEUED, NULL);
    }
}

void store_close_run(struct store_db *db, struct store_unit *unit)
{
    struct store_close *c = (struct store_close *)unit;
    struct store_standing s;
    struct standing_digest d;
    c->applied = c->postponed = c->folded = false;
    sqlite3_stmt *st = db_stmt(db, SQL_STANDING_BY_ROW);
    sqlite3_bind_int64(st, 1, c->job->row);
    if (!db_row(db, st))
        return;
    store_row_standing(st, &s);
    sqlite3_reset(st);
    if (memcmp(&s.id, &c->job->id, sizeof s.id) != 0 || s.state != JOB_HELD || !s.intact ||
        !find_digest(db, c->job->row, &d))
        return;
    /* It may have been given out twice, and have collected more since. */
    if (d.frozen && d.count == c->count)
        decide(db, c, &s, &d);
    free(d.texts);
}

/* ---- after damage ---- */

void store_digest_orphans(struct store_db *db)
{
    struct store_standing *found = NULL;
    size_t count = 0;
    sqlite3_stmt *st = db_stmt(db, SQL_DIGEST_ORPHANS);
    while (db_row(db, st)) {
        found = xreallocarray(found, count + 1, sizeof *found);
        store_row_standing(st, &found[count++]);
    }
    for (size_t i = 0; i < count; i++) {
        found[i].state = JOB_SUPPRESSED;
        found[i].finished_ms = db->now_ms;
        store_row_step(db, &found[i], JOB_HELD, "what it collected was lost with damage", 0);
    }
    if (count)
        log_error("held jobs ended: what they collected was lost with damage",
                  log_int("jobs", (int64_t)count));
    free(found);
}
