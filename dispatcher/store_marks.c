/*
 * The marks of the bridges: facts "mark:<bridge>", moved by every intake and written with whatever is written
 * next, or alone after a second.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "dispatcher/store_parts.h"

static const char prefix[] = "mark:";
enum { PREFIX_LEN = sizeof prefix - 1 };

static struct store_mark *find(struct store_db *db, const char *bridge)
{
    for (size_t i = 0; i < db->marks_count; i++)
        if (strcmp(db->marks[i].bridge, bridge) == 0)
            return &db->marks[i];
    db->marks = xreallocarray(db->marks, db->marks_count + 1, sizeof *db->marks);
    db->marks[db->marks_count] = (struct store_mark){xstrdup(bridge), -1, -1};
    return &db->marks[db->marks_count++];
}

void store_marks_load(struct store_db *db, const char *name, const char *value)
{
    if (!name || !value || strncmp(name, prefix, PREFIX_LEN) != 0)
        return;
    struct store_mark *m = find(db, name + PREFIX_LEN);
    m->ms = m->saved_ms = strtoll(value, NULL, 10);
}

void store_marks_move(struct store_db *db, const char *bridge, int64_t mark_ms)
{
    struct store_mark *m = find(db, bridge);
    if (mark_ms > m->ms)
        m->ms = mark_ms;
}

bool store_marks_dirty(const struct store_db *db)
{
    for (size_t i = 0; i < db->marks_count; i++)
        if (db->marks[i].ms != db->marks[i].saved_ms)
            return true;
    return false;
}

void store_marks_save(struct store_db *db)
{
    for (size_t i = 0; i < db->marks_count; i++) {
        struct store_mark *m = &db->marks[i];
        if (m->ms == m->saved_ms)
            continue;
        char value[32], *name = xasprintf("%s%s", prefix, m->bridge);
        snprintf(value, sizeof value, "%" PRId64, m->ms);
        sqlite3_stmt *st = db_stmt(db, SQL_FACT_SET);
        db_bind_text(st, 1, name);
        db_bind_text(st, 2, value);
        db_run(db, st);
        free(name);
    }
}

void store_marks_saved(struct store_db *db)
{
    for (size_t i = 0; i < db->marks_count; i++)
        db->marks[i].saved_ms = db->marks[i].ms;
}

void store_marks_revert(struct store_db *db)
{
    for (size_t i = 0; i < db->marks_count; i++)
        db->marks[i].ms = db->marks[i].saved_ms;
}

void store_marks_free(struct store_db *db)
{
    for (size_t i = 0; i < db->marks_count; i++)
        free(db->marks[i].bridge);
    free(db->marks);
    db->marks = NULL;
    db->marks_count = 0;
}
