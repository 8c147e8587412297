/* links: listener_parts proto http core */
/* What a Bridge (or whoever answers in its place) sends after the upgrade: WebSocket bytes in pieces, then
 * the same way as in the listener: interest, parsing, folding, normalising, the outbox. The first byte
 * chooses the interest, the second how the bytes are cut. */
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/log.h"
#include "listener/frames.h"
#include "listener/intake.h"
#include "listener/rpc.h"
#include "proto/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LIMIT = 8192 };

static int on_send(void *arg, const struct msg_out *m)
{
    (void)arg;
    /* Whatever came must leave as a message that the dispatcher can read. */
    struct msg_in in;
    struct msg_fields f;
    msg_in_init(&in);
    if (msg_parse(&in, m->buf.data, m->buf.len, &f) != WIRE_EVENTS)
        abort();
    msg_get_uint(&f);
    msg_get_int(&f);
    struct msg_fields list = msg_get_array(&f);
    if (!msg_end(&f))
        abort();
    while (list.left) {
        struct msg_in event_in;
        struct event e;
        struct msg_str packed = msg_get_bin(&list);
        msg_in_init(&event_in);
        if (!packed.data || event_unpack(&event_in, packed.data, packed.len, &e))
            abort();
        msg_in_free(&event_in);
    }
    msg_in_free(&in);
    return 0;
}

static void on_given_up(void *arg, uint64_t count, int64_t oldest_ms)
{
    (void)arg;
    (void)count;
    (void)oldest_ms;
}

static void on_message(void *arg, const char *data, size_t len)
{
    if (len > LIMIT)
        abort();
    cJSON *json = event_parse_json(data, len);
    struct rpc_answer answer;
    rpc_judge(json, &answer);
    cJSON_Delete(json);
    intake_frame(arg, data, len);
}

static void on_control(void *arg, enum frames_opcode opcode, const char *data, size_t len)
{
    (void)arg;
    (void)data;
    if (len > FRAMES_CONTROL_MAX || opcode < FRAMES_CLOSE || opcode > FRAMES_PONG)
        abort();
}

static void on_skipped(void *arg, uint64_t bytes)
{
    (void)arg;
    if (bytes <= LIMIT)
        abort();
}

static void set_words(char ***words, size_t *count, const char *word)
{
    *words = xcalloc(1, sizeof **words);
    (*words)[(*count)++] = xstrdup(word);
}

static void choose_interest(struct intake *intake, uint8_t which)
{
    struct wire_interest w = {.everything = which == 1};
    if (which % 4 == 0)
        return;
    w.entries = xcalloc(2, sizeof *w.entries);
    w.count = 2;
    set_words(&w.entries[0].types, &w.entries[0].types_count, "threadNewMessage");
    w.entries[0].conditions = xcalloc(1, sizeof *w.entries[0].conditions);
    w.entries[0].conditions_count = 1;
    w.entries[0].conditions->path = xstrdup(which % 2 ? "container" : "data.publicMeta.kind");
    set_words(&w.entries[0].conditions->values, &w.entries[0].conditions->count, "6b03d981550cc4beb9bd7e74");
    set_words(&w.entries[1].channels, &w.entries[1].channels_count, which % 3 ? "inbox" : "kvdb");
    intake_set_interest(intake, &w);
}

static void feed(struct frames *f, const uint8_t *data, size_t size, size_t step)
{
    while (size) {
        size_t room;
        char *to = frames_space(f, &room);
        size_t n = size < step ? size : step;
        n = n < room ? n : room;
        memcpy(to, data, n);
        data += n;
        size -= n;
        if (frames_received(f, n))
            return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct outbox_ops outbox_ops = {on_send, on_given_up};
    static const struct frames_ops frames_ops = {on_message, on_control, on_skipped};
    if (size < 2)
        return 0;
    log_configure(LOG_LOGFMT, LOG_LEVELS);
    struct settings settings = {.bridge = (char *)(uintptr_t) "main", .folds = true};
    settings.channels[settings.channels_count++] = "inbox";
    settings.named_count = 1;
    settings.channels[settings.channels_count++] = data[0] & 0x80 ? "thread" : "store";
    struct outbox *outbox = outbox_new(64 * 1024, NULL, &outbox_ops, NULL);
    struct intake *intake = intake_new(&settings, outbox);
    struct frames *frames = frames_new(LIMIT, &frames_ops, intake);
    struct mark mark;
    mark_init(&mark);
    outbox_up(outbox);
    choose_interest(intake, data[0] & 0x7f);
    feed(frames, data + 2, size - 2, data[1] ? data[1] : 100000);
    intake_pass(intake, &mark);
    outbox_flush(outbox, mark_now(&mark, 1000), true);
    frames_free(&frames);
    intake_free(&intake);
    outbox_free(&outbox);
    return 0;
}
