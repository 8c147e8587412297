#include "dispatcher/store_tally.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "dispatcher/store_parts.h"

static size_t place_of(const struct tallies *t, const char *rule, enum store_why why)
{
    uint64_t h = hash_table_key(rule, strlen(rule)) + (uint64_t)why * 0x9e3779b97f4a7c15u;
    size_t i = (size_t)h & (t->places_size - 1);
    while (t->places[i]) {
        const struct store_tally *there = &t->list[t->places[i] - 1];
        if (there->why == why && strcmp(there->rule, rule) == 0)
            break;
        i = (i + 1) & (t->places_size - 1);
    }
    return i;
}

static void grow(struct tallies *t)
{
    t->size = t->size ? 2 * t->size : 64;
    t->list = xreallocarray(t->list, t->size, sizeof *t->list);
    t->saved = xreallocarray(t->saved, t->size, sizeof *t->saved);
    t->places_size = 2 * t->size;
    free(t->places);
    t->places = xcalloc(t->places_size, sizeof *t->places);
    for (size_t i = 0; i < t->count; i++)
        t->places[place_of(t, t->list[i].rule, t->list[i].why)] = i + 1;
}

static struct store_tally *find(struct tallies *t, const char *rule, enum store_why why)
{
    if (t->count == t->size)
        grow(t);
    size_t place = place_of(t, rule, why);
    if (!t->places[place]) {
        t->list[t->count] = (struct store_tally){.rule = xstrdup(rule), .why = why};
        t->saved[t->count] = t->list[t->count];
        t->places[place] = ++t->count;
    }
    return &t->list[t->places[place] - 1];
}

static bool same(const struct store_tally *a, const struct store_tally *b)
{
    return a->jobs == b->jobs && a->parts == b->parts && a->price_micro == b->price_micro;
}

/* The first change since the last commit. */
static void touch(struct tallies *t, size_t index)
{
    if (!same(&t->list[index], &t->saved[index]))
        return;
    if (t->touched_count == t->touched_size) {
        t->touched_size = t->touched_size ? 2 * t->touched_size : 16;
        t->touched = xreallocarray(t->touched, t->touched_size, sizeof *t->touched);
    }
    t->touched[t->touched_count++] = index;
}

void tallies_add(struct tallies *t, const char *rule, enum store_why why, int64_t jobs, int64_t parts,
                 int64_t price_micro)
{
    struct store_tally *one = find(t, rule, why);
    touch(t, (size_t)(one - t->list));
    one->jobs += jobs;
    one->parts += parts;
    one->price_micro += price_micro;
}

static void count_job(struct tallies *t, const struct store_job *job, int by)
{
    if (!job->noise || !job->noise->counted)
        return;
    tallies_add(t, job->rule, job->noise->why, by, by * (job->parts > 0 ? job->parts : 0),
                by * (job->price_micro > 0 ? job->price_micro : 0));
}

void tallies_add_job(struct tallies *t, const struct store_job *job)
{
    count_job(t, job, 1);
}

void tallies_take_job(struct tallies *t, const struct store_job *job)
{
    count_job(t, job, -1);
}

void tallies_free(struct tallies *t)
{
    for (size_t i = 0; i < t->count; i++)
        free(t->list[i].rule);
    free(t->list);
    free(t->saved);
    free(t->places);
    free(t->touched);
    memset(t, 0, sizeof *t);
}

void tallies_save(struct store_db *db)
{
    struct tallies *t = &db->tallies;
    for (size_t i = 0; i < t->touched_count; i++) {
        const struct store_tally *one = &t->list[t->touched[i]];
        sqlite3_stmt *st = db_stmt(db, SQL_TALLY_SET);
        db_bind_text(st, 1, one->rule);
        sqlite3_bind_int(st, 2, (int)one->why);
        sqlite3_bind_int64(st, 3, one->jobs);
        sqlite3_bind_int64(st, 4, one->parts);
        sqlite3_bind_int64(st, 5, one->price_micro);
        db_run(db, st);
    }
}

void tallies_saved(struct tallies *t)
{
    for (size_t i = 0; i < t->touched_count; i++)
        t->saved[t->touched[i]] = t->list[t->touched[i]];
    t->touched_count = 0;
}

void tallies_revert(struct tallies *t)
{
    for (size_t i = 0; i < t->touched_count; i++)
        t->list[t->touched[i]] = t->saved[t->touched[i]];
    t->touched_count = 0;
}

void tallies_load(struct store_db *db)
{
    sqlite3_stmt *st = db_stmt(db, SQL_TALLY_ALL);
    while (db_row(db, st)) {
        const char *rule = (const char *)sqlite3_column_text(st, 0);
        int why = sqlite3_column_int(st, 1);
        if (rule && why >= 0 && why < WHY_COUNT)
            tallies_add(&db->tallies, rule, (enum store_why)why, sqlite3_column_int64(st, 2),
                        sqlite3_column_int64(st, 3), sqlite3_column_int64(st, 4));
    }
    tallies_saved(&db->tallies);
}
