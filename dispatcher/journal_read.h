/*
 * Reading events back: journals, and notifications as captured from a Bridge, in order of time.
 *
 * A source is a file of lines or the directory of a journal; several are merged by time, within a file lines
 * stay as they stand. What cannot be read is skipped and counted, never fatal: a torn last line, damaged
 * lines, lines longer than an event may be.
 */
#ifndef DISPATCHER_JOURNAL_READ_H
#define DISPATCHER_JOURNAL_READ_H

#include <stdbool.h>

#include "proto/event.h"

struct journal_reader;

struct journal_counts {
    uint64_t events;             /* given */
    uint64_t outside;            /* of another time than asked for */
    uint64_t damaged;            /* lines that are no events */
    uint64_t torn;               /* last lines of files that end in the middle */
    uint64_t out_of_order;       /* older than what stood before them */
    uint64_t files;              /* begun */
    uint64_t bytes, bytes_total; /* read, and of all files as far as known */
    int64_t begins_ms;           /* when the oldest file of a journal began; -1: there was none */
    bool wanted, all, captured;  /* what the files held: journals of that mode, lines of a Bridge */
    char first_damage[160];      /* "FILE, line 7: not JSON"; "" if there is none */
};

/* Events from SINCE_MS up to but without UNTIL_MS (wall clock of their arrival; INT64_MIN and INT64_MAX: any)
 * are given. BRIDGE is that of captured notifications, which do not name it. */
struct journal_reader *journal_reader_new(const char *bridge, int64_t since_ms, int64_t until_ms);
void journal_reader_free(struct journal_reader **r);
/* Adds a file, a journal's directory, or "-" for standard input. -1 with a sentence in WHY if it cannot be
 * opened. */
int journal_reader_add(struct journal_reader *r, const char *path, char *why, size_t size);
/* Only events whose key begins with HEX (lower case), of journals; captured notifications are not told apart
 * and given all the same. Before the first file is added. */
void journal_reader_look_for(struct journal_reader *r, const char *hex);
/* The next event and the time of its arrival; false at the end. The event is valid until the next call. */
bool journal_reader_next(struct journal_reader *r, struct event *out, int64_t *at_ms);
const struct journal_counts *journal_reader_counts(const struct journal_reader *r);

#endif
