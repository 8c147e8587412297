/*
 * Lines of the journal: one event as one line of JSON, and back.
 *
 *     {"received":…,"decided":…,"timestamp":…,"recovered":false,"key":"…","bridge":"main","channel":"thread",
 *      "type":"threadNewMessage","context":…,"container":…,"item":…,"author":…,"data":{…}}
 *
 * Members that an event lacks are left out. `received` is when the listener got it, `decided` when the
 * dispatcher did, on the store's clock: limits count from then, and an event may have waited in between. They
 * stand first, so that what is outside a span of time is told without parsing.
 */
#ifndef DISPATCHER_JOURNAL_LINE_H
#define DISPATCHER_JOURNAL_LINE_H

#include "core/buf.h"
#include "proto/event.h"

/* Appends the line with its line feed. DECIDED_MS 0: not known, and left out. 0, or -1 if OUT takes no more;
 * OUT is then as it was. */
int journal_line_print(const struct event *e, int64_t decided_ms, struct buf *out);
/* Parses a line of the journal, or a notification as a Bridge sends it, and appends its packed form to OUT. A
 * notification is given BRIDGE, and its own time as that of its arrival. 0, or -1 with *WHY, a fixed phrase.
 */
int journal_line_parse(const char *text, size_t len, const char *bridge, struct buf *out, const char **why);
/* The value of `decided` of a line that this module printed or, if it has none, of `received`; -1 if the line
 * does not begin so. */
int64_t journal_line_time(const char *text, size_t len);

#endif
