/* Slices from text for tests of what decides offline. */
#ifndef TESTS_ENGINE_FIXTURE_H
#define TESTS_ENGINE_FIXTURE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "core/alloc.h"
#include "dispatcher/engine.h"
#include "event_fixture.h"

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

#endif
