#include "listener/fold.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "listener/mark.h"

enum { FILES_MAX = 100 }; /* of one entry */

static const char anonymous[] = "<anonymous>";
static const char message_key[] = "<inbox-";
static const char file_key[] = "<inboxmsg-";

struct held {
    struct held *next;
    struct fold_ids ids;
    cJSON *data;
    int64_t timestamp_ms;
    uint64_t since_ms;
    bool recovered;
};

struct fold {
    struct held *first, *last; /* in the order of arrival */
    size_t count;
    uint64_t strays;
};

/* ---- what a frame is ---- */

static const char *text_of(const cJSON *object, const char *name)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsString(v) ? v->valuestring : "";
}

/* The part of a key id at *AT up to STOP; false if it is empty or too long. Moves *AT behind STOP. */
static bool take_id(const char **at, char stop, char out[FOLD_ID_MAX])
{
    const char *end = strchr(*at, stop);
    size_t len = end ? (size_t)(end - *at) : 0;
    if (len == 0 || len >= FOLD_ID_MAX)
        return false;
    memcpy(out, *at, len);
    out[len] = '\0';
    *at = end + 1;
    return true;
}

static bool is_message(const cJSON *data, struct fold_ids *ids)
{
    const char *key = text_of(data, "keyId"), *id = text_of(data, "id");
    if (strcmp(text_of(data, "author"), anonymous) != 0 ||
        strncmp(key, message_key, sizeof message_key - 1) != 0 || !id[0] || strlen(id) >= FOLD_ID_MAX)
        return false;
    memcpy(ids->message, id, strlen(id) + 1);
    key += sizeof message_key - 1;
    return take_id(&key, '>', ids->inbox) && !*key;
}

static bool is_file(const cJSON *data, struct fold_ids *ids)
{
    const char *key = text_of(data, "keyId");
    char thread[FOLD_ID_MAX];
    if (strcmp(text_of(data, "creator"), anonymous) != 0 || strncmp(key, file_key, sizeof file_key - 1) != 0)
        return false;
    key += sizeof file_key - 1;
    return take_id(&key, '-', ids->inbox) && take_id(&key, '-', thread) && take_id(&key, '>', ids->message) &&
           !*key;
}

enum fold_part fold_classify(const cJSON *frame, struct fold_ids *ids)
{
    const char *type = text_of(frame, "type");
    const cJSON *data = cJSON_GetObjectItemCaseSensitive(frame, "data");
    if (strcmp(type, "threadNewMessage") == 0 && is_message(data, ids))
        return FOLD_MESSAGE;
    if (strcmp(type, "storeFileCreated") == 0 && is_file(data, ids))
        return FOLD_FILE;
    return FOLD_NONE;
}

/* ---- holding ---- */

struct fold *fold_new(void)
{
    return xcalloc(1, sizeof(struct fold));
}

static void held_free(struct held *h)
{
    cJSON_Delete(h->data);
    free(h);
}

/* Takes out the element behind BEFORE (NULL: the first). */
static struct held *take_out(struct fold *f, struct held *before)
{
    struct held *h = before ? before->next : f->first;
    if (before)
        before->next = h->next;
    else
        f->first = h->next;
    if (f->last == h)
        f->last = before;
    f->count--;
    return h;
}

void fold_free(struct fold **p)
{
    struct fold *f = *p;
    if (!f)
        return;
    *p = NULL;
    while (f->first)
        held_free(take_out(f, NULL));
    free(f);
}

void fold_file(struct fold *f, const cJSON *frame, const struct fold_ids *ids, bool recovered,
               uint64_t now_ms)
{
    if (f->count == FOLD_HELD_MAX) {
        held_free(take_out(f, NULL));
        f->strays++;
    }
    struct held *h = xcalloc(1, sizeof *h);
    h->ids = *ids;
    h->data = cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(frame, "data"), true);
    h->timestamp_ms = mark_frame_timestamp(frame);
    h->since_ms = now_ms;
    h->recovered = recovered;
    if (f->last)
        f->last->next = h;
    else
        f->first = h;
    f->last = h;
    f->count++;
}

static bool has_file(const cJSON *files, const cJSON *data)
{
    const cJSON *file;
    cJSON_ArrayForEach(file, files)
    {
        if (strcmp(text_of(file, "id"), text_of(data, "id")) == 0)
            return true;
    }
    return false;
}

cJSON *fold_message(struct fold *f, const cJSON *frame, const struct fold_ids *ids)
{
    cJSON *entry = cJSON_CreateObject();
    cJSON_AddStringToObject(entry, "channel", "inbox");
    cJSON_AddStringToObject(entry, "type", "inboxEntry");
    cJSON *data = cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(frame, "data"), true);
    cJSON_DeleteItemFromObjectCaseSensitive(data, "inboxId");
    cJSON_DeleteItemFromObjectCaseSensitive(data, "files");
    cJSON_AddStringToObject(data, "inboxId", ids->inbox);
    cJSON *files = cJSON_AddArrayToObject(data, "files");
    for (struct held *before = NULL, *h = f->first; h;) {
        struct held *next = h->next;
        if (strcmp(h->ids.message, ids->message) == 0 && strcmp(h->ids.inbox, ids->inbox) == 0) {
            take_out(f, before);
            if (cJSON_GetArraySize(files) < FILES_MAX && !has_file(files, h->data)) {
                cJSON_AddItemToArray(files, h->data);
                h->data = NULL;
            }
            held_free(h);
        } else {
            before = h;
        }
        h = next;
    }
    cJSON_AddItemToObject(entry, "data", data);
    cJSON *timestamp = cJSON_GetObjectItemCaseSensitive(frame, "timestamp");
    cJSON_AddItemToObject(entry, "timestamp", cJSON_Duplicate(timestamp, false));
    return entry;
}

static void let_go(struct fold *f, bool recovered, uint64_t now_ms)
{
    for (struct held *before = NULL, *h = f->first; h;) {
        struct held *next = h->next;
        if (h->recovered == recovered && (recovered || now_ms - h->since_ms >= FOLD_HOLD_MS)) {
            held_free(take_out(f, before));
            f->strays++;
        } else {
            before = h;
        }
        h = next;
    }
}

void fold_tick(struct fold *f, uint64_t now_ms)
{
    let_go(f, false, now_ms);
}

void fold_flush(struct fold *f)
{
    let_go(f, true, 0);
}

int64_t fold_oldest_ms(const struct fold *f)
{
    int64_t oldest_ms = -1;
    for (const struct held *h = f->first; h; h = h->next)
        if (!h->recovered && (oldest_ms < 0 || h->timestamp_ms < oldest_ms))
            oldest_ms = h->timestamp_ms;
    return oldest_ms;
}

size_t fold_held(const struct fold *f)
{
    return f->count;
}

uint64_t fold_strays(const struct fold *f)
{
    return f->strays;
}
