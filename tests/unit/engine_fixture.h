/* Slices from text, and events, for tests of what decides offline. */
#ifndef TESTS_ENGINE_FIXTURE_H
#define TESTS_ENGINE_FIXTURE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "core/alloc.h"
#include "dispatcher/engine.h"

static const char fixture_head[] =
    "bridge \"main\" { url = \"http://127.0.0.1:1/api\" api_key_id = \"x\" api_key_secret = \"y\" }\n"
    "provider \"p\" { type = log }\n"
    "prices { table = { \"+48: 0.09\" } }\n";

/* The dispatcher's part of a configuration of RULES and what is common. */
__attribute__((unused)) static struct slice *slice_of(const char *rules)
{
    struct faults faults = {0};
    char *text = xasprintf("%s%s", fixture_head, rules);
    struct conf *conf = conf_load_text("a.conf", text, strlen(text), &faults);
    for (size_t i = 0; i < faults.count; i++)
        print_message("%s:%u: %s\n", faults.list[i].file, faults.list[i].line, faults.list[i].text);
    assert_non_null(conf);
    struct slice *slice = conf_slice_dispatcher(conf);
    conf_free(&conf);
    free(text);
    return slice;
}

struct made_event {
    struct buf buf;
    struct msg_in in;
    struct event e;
};

__attribute__((unused)) static void make_event(struct made_event *m, const char *frame, int64_t received_ms)
{
    const char *why = NULL;
    buf_init(&m->buf, 0);
    msg_in_init(&m->in);
    if (event_normalise("main", frame, strlen(frame), received_ms, 0, &m->buf, &why))
        fail_msg("%s: %s", frame, why);
    assert_int_equal(event_unpack(&m->in, m->buf.data, m->buf.len, &m->e), 0);
}

__attribute__((unused)) static void free_event(struct made_event *m)
{
    msg_in_free(&m->in);
    buf_free(&m->buf);
}

#endif
