/* Events from frames, for tests of what takes events. */
#ifndef TESTS_EVENT_FIXTURE_H
#define TESTS_EVENT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/event.h"

/* An event and what it points into. */
struct made_event {
    struct buf buf;
    struct msg_in in;
    struct event e;
};

static inline void make_event(struct made_event *m, const char *frame, int64_t received_ms)
{
    const char *why = NULL;
    buf_init(&m->buf, 0);
    msg_in_init(&m->in);
    if (event_normalise("main", frame, strlen(frame), received_ms, 0, &m->buf, &why))
        fail_msg("%s: %s", frame, why);
    assert_int_equal(event_unpack(&m->in, m->buf.data, m->buf.len, &m->e), 0);
}

static inline void free_event(struct made_event *m)
{
    msg_in_free(&m->in);
    buf_free(&m->buf);
}

#endif
