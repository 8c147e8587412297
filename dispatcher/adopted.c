#include "dispatcher/adopted.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/buf.h"
#include "core/clock.h"
#include "core/str.h"

/* As many as can be in flight and more; what goes beyond waits anew. */
enum { ENTRIES_MAX = 2000, ENTRY_BYTES = 80, FACT_MAX_BYTES = 64 + ENTRIES_MAX * ENTRY_BYTES };

const char adopted_fact_name[] = "adopted";

struct entry {
    char job[2 * HASH_ID_BYTES + 1];
    uint32_t attempt;
    uint64_t since_ms;
};

struct adopted {
    uint64_t now_ms;
    struct entry *before; /* of the last dispatcher */
    size_t before_count;
    struct entry *now;
    size_t now_count;
};

/* "BOOT JOB ATTEMPT SINCE JOB ATTEMPT SINCE …" */
static void read_fact(struct adopted *a, const char *fact)
{
    const char *boot = clock_boot_id();
    size_t len = strlen(boot);
    if (!len || strncmp(fact, boot, len) != 0)
        return;
    fact += len;
    int used = 0;
    struct entry e;
    while (a->before_count < ENTRIES_MAX && sscanf(fact, " %32[0-9a-f] %" SCNu32 " %" SCNu64 "%n", e.job,
                                                   &e.attempt, &e.since_ms, &used) == 3) {
        fact += used;
        if (e.since_ms <= a->now_ms)
            a->before[a->before_count++] = e;
    }
}

struct adopted *adopted_new(const char *fact, uint64_t boot_ms)
{
    struct adopted *a = xcalloc(1, sizeof *a);
    a->now_ms = boot_ms;
    a->before = xcalloc(ENTRIES_MAX, sizeof *a->before);
    a->now = xcalloc(ENTRIES_MAX, sizeof *a->now);
    if (fact)
        read_fact(a, fact);
    return a;
}

void adopted_free(struct adopted **p)
{
    struct adopted *a = *p;
    if (!a)
        return;
    *p = NULL;
    free(a->before);
    free(a->now);
    free(a);
}

uint64_t adopted_since(struct adopted *a, const struct hash_id *job, uint32_t attempt)
{
    struct entry e = {.attempt = attempt, .since_ms = a->now_ms};
    str_hex(job->bytes, HASH_ID_BYTES, e.job);
    for (size_t i = 0; i < a->before_count; i++)
        if (a->before[i].attempt == attempt && strcmp(a->before[i].job, e.job) == 0)
            e.since_ms = a->before[i].since_ms;
    if (a->now_count < ENTRIES_MAX)
        a->now[a->now_count++] = e;
    return e.since_ms;
}

struct note {
    struct store_fact fact;
    struct buf text;
};

static void on_written(struct store_unit *unit, enum store_status status)
{
    struct note *n = unit->arg;
    (void)status;
    buf_free(&n->text);
    free(n);
}

void adopted_write(const struct adopted *a, struct store *store)
{
    struct note *n = xcalloc(1, sizeof *n);
    buf_init(&n->text, FACT_MAX_BYTES);
    buf_add(&n->text, clock_boot_id(), strlen(clock_boot_id()));
    for (size_t i = 0; i < a->now_count; i++) {
        char line[ENTRY_BYTES];
        int len = snprintf(line, sizeof line, " %s %" PRIu32 " %" PRIu64, a->now[i].job, a->now[i].attempt,
                           a->now[i].since_ms);
        buf_add(&n->text, line, (size_t)len);
    }
    buf_add(&n->text, "", 1);
    n->fact.unit = (struct store_unit){.kind = STORE_FACT, .done = on_written, .arg = n};
    n->fact.name = adopted_fact_name;
    n->fact.value = (const char *)n->text.data;
    store_submit(store, &n->fact.unit);
}
