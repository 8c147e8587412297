#include "listener/intake.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "proto/event.h"

enum {
    PACKED_MAX_BYTES = 2 * EVENT_FRAME_MAX,
    PACKED_KEEP_BYTES = 256 * 1024,
    COMPLAINT_MS = 60000, /* frames that cannot be read are logged at most so often */
    DROPPED_TYPES_MAX = 128,
};

struct dropped {
    char *type;
    uint64_t count;
};

struct intake {
    const struct settings *settings;
    struct outbox *outbox;
    struct interest *interest;
    struct fold *fold;
    struct buf packed;
    char tail[MARK_TAIL_BYTES]; /* of the last frame of this pass */
    size_t tail_len;
    struct intake_counts counts;
    struct dropped dropped[DROPPED_TYPES_MAX]; /* by interests that are no longer in force */
    size_t dropped_types;
    uint64_t complained_ms;
};

struct intake *intake_new(const struct settings *settings, struct outbox *outbox)
{
    struct intake *i = xcalloc(1, sizeof *i);
    i->settings = settings;
    i->outbox = outbox;
    buf_init(&i->packed, PACKED_MAX_BYTES);
    i->interest = interest_everything(settings->channels + settings->named_count,
                                      settings->channels_count - settings->named_count, settings->folds);
    i->fold = fold_new();
    return i;
}

void intake_free(struct intake **p)
{
    struct intake *i = *p;
    if (!i)
        return;
    *p = NULL;
    interest_free(&i->interest);
    fold_free(&i->fold);
    buf_free(&i->packed);
    for (size_t n = 0; n < i->dropped_types; n++)
        free(i->dropped[n].type);
    free(i);
}

/* ---- events ---- */

static void complain(struct intake *i, const char *why, size_t len)
{
    i->counts.malformed++;
    uint64_t now_ms = clock_mono_ms();
    if (i->complained_ms && now_ms - i->complained_ms < COMPLAINT_MS)
        return;
    i->complained_ms = now_ms;
    log_warn("a message from the Bridge is no notification", log_str("why", why),
             log_int("bytes", (int64_t)len), log_int("so_far", (int64_t)i->counts.malformed));
}

static void pack(struct intake *i, const cJSON *frame, const char *raw, size_t len, bool recovered)
{
    const char *why = "";
    buf_reset(&i->packed);
    uint64_t mono_ns = recovered ? 0 : clock_mono_ns();
    if (event_from_json(i->settings->bridge, frame, raw, len, clock_wall_ms(), mono_ns, recovered, &i->packed,
                        &why)) {
        complain(i, why, len);
        return;
    }
    outbox_add(i->outbox, i->packed.data, i->packed.len, mark_frame_timestamp(frame));
    i->counts.wanted++;
    i->counts.recovered += recovered;
    if (i->packed.size > PACKED_KEEP_BYTES)
        buf_free(&i->packed);
}

static void fold_part(struct intake *i, const cJSON *frame, bool recovered)
{
    struct fold_ids ids;
    enum fold_part part = fold_classify(frame, &ids);
    if (part == FOLD_FILE) {
        fold_file(i->fold, frame, &ids, recovered, clock_mono_ms());
    } else if (part == FOLD_MESSAGE) {
        cJSON *entry = fold_message(i->fold, frame, &ids);
        if (interest_wants_json(i->interest, entry)) {
            i->counts.folded++;
            pack(i, entry, "", 0, recovered);
        }
        cJSON_Delete(entry);
    }
}

/* A parsed frame; SURE if the search has found it wanted already. */
static void take(struct intake *i, const cJSON *frame, const char *raw, size_t len, bool sure, bool recovered)
{
    if (interest_folds(i->interest))
        fold_part(i, frame, recovered);
    if (sure || interest_wants_json(i->interest, frame))
        pack(i, frame, raw, len, recovered);
    else
        i->counts.dropped++;
}

void intake_frame(struct intake *i, const char *data, size_t len)
{
    i->counts.frames++;
    size_t tail_len = len < MARK_TAIL_BYTES ? len : MARK_TAIL_BYTES;
    memcpy(i->tail, data + len - tail_len, tail_len);
    i->tail_len = tail_len;
    enum interest_verdict verdict = interest_judge(i->interest, data, len);
    if (verdict == INTEREST_DROP) {
        i->counts.dropped++;
        return;
    }
    cJSON *frame = event_parse_json(data, len);
    if (!frame || !cJSON_IsObject(frame) || !cJSON_HasObjectItem(frame, "type"))
        complain(i, frame ? "not an object with a type" : "not JSON in UTF-8", len);
    else
        take(i, frame, data, len, verdict == INTEREST_TAKE, false);
    cJSON_Delete(frame);
}

void intake_pass(struct intake *i, struct mark *mark)
{
    if (i->tail_len) {
        int64_t timestamp_ms = mark_tail_timestamp(i->tail, i->tail_len);
        if (timestamp_ms != MARK_NONE)
            mark_event(mark, timestamp_ms, clock_boot_ms());
        i->tail_len = 0;
    }
    if (fold_held(i->fold))
        fold_tick(i->fold, clock_mono_ms());
    i->counts.strayed = fold_strays(i->fold);
    mark->hold_ms = fold_oldest_ms(i->fold);
}

bool intake_row(struct intake *i, const struct event_type *type, const cJSON *row)
{
    const cJSON *created = cJSON_GetObjectItemCaseSensitive(row, "createDate");
    if (!created)
        created = cJSON_GetObjectItemCaseSensitive(row, "created");
    if (!cJSON_IsObject(row) || !cJSON_IsNumber(created))
        return false;
    /* The row in the shape of its notification, so that one way serves both. */
    cJSON *frame = cJSON_CreateObject();
    cJSON_AddStringToObject(frame, "channel", type->channel);
    cJSON_AddStringToObject(frame, "type", type->type);
    cJSON_AddItemReferenceToObject(frame, "data", (cJSON *)(uintptr_t)row);
    cJSON_AddNumberToObject(frame, "timestamp", created->valuedouble);
    take(i, frame, "", 0, false, true);
    cJSON_Delete(frame);
    return true;
}

bool intake_wants_creations(struct intake *i, const char *channel)
{
    for (size_t n = 0; n < event_types_count; n++)
        if (event_types[n].sort == EVENT_CREATED && strcmp(event_types[n].channel, channel) == 0 &&
            interest_may_want(i->interest, channel, event_types[n].type))
            return true;
    return false;
}

void intake_recovered(struct intake *i)
{
    fold_flush(i->fold);
}

/* ---- interest and counts ---- */

static void add_dropped(void *arg, const char *type, uint64_t count)
{
    struct intake *i = arg;
    for (size_t n = 0; n < i->dropped_types; n++)
        if (strcmp(i->dropped[n].type, type) == 0) {
            i->dropped[n].count += count;
            return;
        }
    if (i->dropped_types == DROPPED_TYPES_MAX)
        return;
    i->dropped[i->dropped_types++] = (struct dropped){xstrdup(type), count};
}

void intake_set_interest(struct intake *i, struct wire_interest *wire)
{
    interest_each_dropped(i->interest, add_dropped, i);
    interest_free(&i->interest);
    i->interest = interest_new(wire, i->settings->channels + i->settings->named_count,
                               i->settings->channels_count - i->settings->named_count, i->settings->folds);
}

uint64_t intake_interest_number(const struct intake *i)
{
    return interest_number(i->interest);
}

const struct intake_counts *intake_counts(const struct intake *i)
{
    return &i->counts;
}

struct sum {
    const struct intake *intake;
    void (*fn)(void *arg, const char *type, uint64_t dropped);
    void *arg;
};

static void tell_sum(void *arg, const char *type, uint64_t count)
{
    const struct sum *sum = arg;
    for (size_t n = 0; n < sum->intake->dropped_types; n++)
        if (strcmp(sum->intake->dropped[n].type, type) == 0)
            count += sum->intake->dropped[n].count;
    sum->fn(sum->arg, type, count);
}

void intake_each_dropped(struct intake *i, void (*fn)(void *arg, const char *type, uint64_t dropped),
                         void *arg)
{
    struct sum sum = {i, fn, arg};
    interest_each_dropped(i->interest, tell_sum, &sum);
}
