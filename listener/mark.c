#include "listener/mark.h"

#include <string.h>

enum {
    /* Workers of one Bridge send side by side, and their timestamps run backwards by a little. */
    SAFETY_MS = 1000,
    AHEAD_MAX_MS = 5000,
    BEHIND_MAX_MS = 600000,
    DIGITS_MAX = 15,
};

void mark_init(struct mark *m)
{
    memset(m, 0, sizeof *m);
    m->gap_start_ms = m->last_ms = m->hold_ms = MARK_NONE;
}

static void set_base(struct mark *m, int64_t bridge_ms, uint64_t boot_ms)
{
    m->has_base = true;
    m->base_bridge_ms = bridge_ms;
    m->base_boot_ms = boot_ms;
}

void mark_date(struct mark *m, int64_t bridge_ms, uint64_t boot_ms)
{
    set_base(m, bridge_ms, boot_ms);
}

void mark_event(struct mark *m, int64_t timestamp_ms, uint64_t boot_ms)
{
    if (timestamp_ms < 0)
        return;
    int64_t expected_ms = mark_bridge_time(m, boot_ms);
    if (m->has_base &&
        (timestamp_ms > expected_ms + AHEAD_MAX_MS || timestamp_ms < expected_ms - BEHIND_MAX_MS))
        return;
    set_base(m, timestamp_ms, boot_ms);
}

int64_t mark_tail_timestamp(const char *tail, size_t len)
{
    static const char name[] = "\"timestamp\":";
    size_t at = len;
    if (at == 0 || tail[--at] != '}')
        return MARK_NONE;
    size_t end = at;
    while (at && tail[at - 1] >= '0' && tail[at - 1] <= '9')
        at--;
    size_t digits = end - at;
    if (digits == 0 || digits > DIGITS_MAX || at < sizeof name - 1 ||
        memcmp(tail + at - (sizeof name - 1), name, sizeof name - 1) != 0)
        return MARK_NONE;
    int64_t value = 0;
    for (; at < end; at++)
        value = value * 10 + (tail[at] - '0');
    return value;
}

int64_t mark_frame_timestamp(const cJSON *frame)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(frame, "timestamp");
    return cJSON_IsNumber(v) && v->valuedouble > 0 && v->valuedouble < 9e15 ? (int64_t)v->valuedouble : 0;
}

int64_t mark_bridge_time(const struct mark *m, uint64_t boot_ms)
{
    if (!m->has_base)
        return MARK_NONE;
    return m->base_bridge_ms + (int64_t)(boot_ms - m->base_boot_ms);
}

int64_t mark_now(struct mark *m, uint64_t heard_ms)
{
    if (m->gap || !m->has_base)
        return MARK_NONE;
    int64_t mark_ms = mark_bridge_time(m, heard_ms) - SAFETY_MS;
    if (m->hold_ms != MARK_NONE && mark_ms >= m->hold_ms)
        mark_ms = m->hold_ms - 1;
    if (mark_ms < 0)
        return MARK_NONE;
    m->last_ms = mark_ms;
    return mark_ms;
}

void mark_open_gap(struct mark *m, int64_t start_ms)
{
    if (start_ms == MARK_NONE)
        start_ms = m->last_ms;
    if (!m->gap || m->gap_start_ms == MARK_NONE || (start_ms != MARK_NONE && start_ms < m->gap_start_ms))
        m->gap_start_ms = start_ms;
    m->gap = true;
}

void mark_close_gap(struct mark *m)
{
    m->gap = false;
    m->gap_start_ms = MARK_NONE;
}
