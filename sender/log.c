/*
 * The provider "log": a dry run. Every message is accepted at once and told to the log, with its number
 * masked and its length instead of its text.
 */
#include "sender/provider.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/alloc.h"
#include "core/log.h"

enum { LOG_SLOTS = 64 };

struct log_provider {
    struct provider provider; /* first: a provider is its log_provider */
    struct provider_stats stats;
};

static void log_validate(const struct slice_block *block, struct faults *faults)
{
    (void)block;
    (void)faults;
}

static struct provider *log_make(const struct slice_block *block, struct faults *faults)
{
    (void)faults;
    struct log_provider *p = xcalloc(1, sizeof *p);
    p->provider.ops = &log_ops;
    p->provider.name = block->title;
    return &p->provider;
}

static size_t log_slots(const struct provider *p)
{
    (void)p;
    return LOG_SLOTS;
}

static void log_send(struct provider *provider, struct request *r)
{
    static struct verdict verdicts[WIRE_GRANT_JOBS_MAX];
    struct log_provider *p = (struct log_provider *)provider;
    p->stats.requests++;
    for (size_t i = 0; i < r->count; i++) {
        verdicts[i] = (struct verdict){WIRE_ACCEPTED, WIRE_CLASS_NONE, 0, -1, -1, -1, "", ""};
        snprintf(verdicts[i].id, sizeof verdicts[i].id, "log-%s", r->jobs[i].idx);
        log_info("would send", log_str("provider", provider->name), log_number("to", r->jobs[i].number),
                 log_str("from", r->from), log_str("idx", r->jobs[i].idx),
                 log_int("bytes", (int64_t)r->text_len));
    }
    r->done(r, verdicts);
}

static void log_probe(struct provider *p, void (*answer)(void *arg, bool works, const char *detail),
                      void *arg)
{
    (void)p;
    answer(arg, true, "a log always works");
}

static void log_stats(const struct provider *p, struct provider_stats *out)
{
    *out = ((const struct log_provider *)p)->stats;
}

static void log_free(struct provider *p)
{
    free(p);
}

const struct provider_ops log_ops = {
    .type = "log",
    .validate = log_validate,
    .make = log_make,
    .slots = log_slots,
    .send = log_send,
    .probe = log_probe,
    .stats = log_stats,
    .free = log_free,
};
