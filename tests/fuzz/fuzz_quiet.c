/* links: dispatcher_parts proto expr core */
/* Quiet hours: the first line names the zone, each other one is an entry. What ends is over at its end and
 * not before, and an answer that is kept is the one that a fresh look gives. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "dispatcher/quiet.h"

enum { ENTRIES_MAX = 20, LOOKS = 40 };
#define START_MS INT64_C(1767225600000) /* 2026-01-01 */
#define STEP_MS INT64_C(24480000)       /* not a part of a day */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct slice *read_block(char *text, struct slice_block **block, char **zone)
{
    struct slice *s = slice_new();
    char *rest = text;
    *zone = strsep(&rest, "\n");
    *block = slice_add_block(s, "rule", "r", "fuzz.conf", 1);
    struct slice_setting *v = slice_add_setting(*block, "quiet_hours", SLICE_LIST, 2);
    v->list = xcalloc(ENTRIES_MAX, sizeof *v->list);
    while (rest && v->count < ENTRIES_MAX)
        v->list[v->count++] = xstrdup(strsep(&rest, "\n"));
    return s;
}

static void look(const struct quiet *kept, const struct slice_block *block, const char *zone, int64_t now_ms)
{
    struct faults faults = {0};
    struct quiet *fresh = quiet_new(block, &faults);
    int64_t until_ms = quiet_until_ms(fresh, zone, now_ms);
    if (!fresh || faults.count || quiet_until_ms(kept, zone, now_ms) != until_ms)
        abort();
    if (until_ms && (until_ms <= now_ms || until_ms > now_ms + QUIET_LONGEST_MS))
        abort();
    if (until_ms && until_ms < now_ms + QUIET_LONGEST_MS &&
        (quiet_until_ms(fresh, zone, until_ms) || quiet_until_ms(fresh, zone, until_ms - 1) != until_ms))
        abort();
    quiet_free(&fresh);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct faults faults = {0};
    struct slice_block *block;
    char *zone, *text = xstrndup((const char *)data, size);
    struct slice *s = read_block(text, &block, &zone);
    struct quiet *q = quiet_new(block, &faults);
    if (q && faults.count)
        abort();
    for (int i = 0; q && i < LOOKS; i++)
        look(q, block, zone, START_MS + i * STEP_MS * (1 + i % 7));
    quiet_free(&q);
    faults_free(&faults);
    slice_free(&s);
    free(text);
    return 0;
}
