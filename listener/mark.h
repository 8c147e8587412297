/*
 * The mark: the Bridge's time up to which nothing is missing.
 *
 * Kept in the Bridge's time only: a base pair (Bridge's time, our boot-time clock at that moment) comes from
 * event timestamps and from the Date header of HTTP answers, and the mark follows the last byte that came
 * from the Bridge: what was sent before that byte has come. While a gap is open (away, or events given up)
 * there is no mark, and the gap's start is remembered until it is filled or given up.
 */
#ifndef LISTENER_MARK_H
#define LISTENER_MARK_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MARK_NONE = -1, MARK_TAIL_BYTES = 32 };

struct mark {
    bool has_base;
    int64_t base_bridge_ms;
    uint64_t base_boot_ms;
    bool gap;             /* something may be missing from gap_start_ms on */
    int64_t gap_start_ms; /* MARK_NONE while not known */
    int64_t last_ms;      /* the last mark that was given out, MARK_NONE: none yet */
    int64_t hold_ms;      /* events from here on are held back (folding); MARK_NONE: none are */
};

void mark_init(struct mark *m);
/* A Date header: trusted. */
void mark_date(struct mark *m, int64_t bridge_ms, uint64_t boot_ms);
/* An event's timestamp, read at BOOT_MS; one that is far from what the base lets expect is ignored. */
void mark_event(struct mark *m, int64_t timestamp_ms, uint64_t boot_ms);
/* The timestamp at the end of a frame as the Bridge writes it, from its last bytes; MARK_NONE if it is not
 * there. */
int64_t mark_tail_timestamp(const char *tail, size_t len);
/* The timestamp of a parsed frame; 0 if it has none that is sane. */
int64_t mark_frame_timestamp(const cJSON *frame);
/* The Bridge's time at BOOT_MS as far as known; MARK_NONE if nothing is. */
int64_t mark_bridge_time(const struct mark *m, uint64_t boot_ms);
/* The mark that holds when the last byte came at HEARD_MS; MARK_NONE if none does. */
int64_t mark_now(struct mark *m, uint64_t heard_ms);
/* A gap opens at START_MS (MARK_NONE: at the last mark). An open gap is widened. */
void mark_open_gap(struct mark *m, int64_t start_ms);
void mark_close_gap(struct mark *m);

#endif
