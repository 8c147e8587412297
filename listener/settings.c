#include "listener/settings.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/hash.h"
#include "core/str.h"
#include "proto/event.h"

enum {
    MS = 1,
    SECOND_MS = 1000 * MS,
    MIB = 1024 * 1024,
    HOST_MAX = 256,
};

static const char *const known_channels[] = {"thread", "store", "stream", "inbox", "kvdb", NULL};
static const char *const default_channels[] = {"thread", "store", "stream", "inbox"};
/* What an inbox entry is folded from (PROTOCOL.md section 7). */
static const char *const inbox_parts[] = {"thread", "store"};

/* ---- checking ---- */

static unsigned line_of(const struct slice_block *b, const char *name)
{
    const struct slice_setting *v = slice_get(b, name);
    return v && v->line ? v->line : b->line;
}

static bool is_url(const char *text, const char *const *schemes)
{
    CURLU *url = curl_url();
    char *scheme = NULL, *host = NULL;
    bool good = url && curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
                curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK && host[0];
    bool known = false;
    for (; good && *schemes; schemes++)
        known = known || strcasecmp(scheme, *schemes) == 0;
    curl_free(scheme);
    curl_free(host);
    curl_url_cleanup(url);
    return known;
}

static void check_url(const struct slice_block *b, const char *name, const char *const *schemes,
                      struct faults *faults)
{
    const char *text = slice_text(b, name, NULL);
    if (text && !is_url(text, schemes))
        faults_add(faults, b->file, line_of(b, name),
                   "%s: \"%s\" is no address that begins with %s:// or %s://", name, text, schemes[0],
                   schemes[1]);
}

static void check_channels(const struct slice_block *b, struct faults *faults)
{
    const struct slice_setting *v = slice_get(b, "channels");
    for (size_t i = 0; v && i < v->count; i++) {
        bool known = false;
        for (size_t k = 0; known_channels[k]; k++)
            known = known || strcmp(v->list[i], known_channels[k]) == 0;
        if (!known)
            faults_add(faults, b->file, line_of(b, "channels"), "channels: \"%s\" is no channel of a Bridge",
                       v->list[i]);
    }
    if (v && v->count == 0)
        faults_add(faults, b->file, line_of(b, "channels"), "channels: at least one is needed");
}

static void check_files(const struct slice_block *b, struct faults *faults)
{
    const char *ca_file = slice_text(b, "ca_file", NULL);
    if (ca_file && access(ca_file, R_OK))
        faults_add(faults, b->file, line_of(b, "ca_file"), "ca_file: \"%s\" cannot be read", ca_file);
}

static void check_times(const struct slice_block *b, struct faults *faults)
{
    if (slice_number(b, "reconnect_min", 0) > slice_number(b, "reconnect_max", INT64_MAX))
        faults_add(faults, b->file, line_of(b, "reconnect_min"),
                   "reconnect_min is longer than reconnect_max");
}

void settings_validate(const struct slice *slice, const char *instance, struct faults *faults)
{
    static const char *const http[] = {"https", "http", NULL};
    static const char *const ws[] = {"wss", "ws", NULL};
    const struct slice_block *b = slice_find(slice, "bridge", instance);
    if (!b) {
        faults_add(faults, "", 0, "no bridge block named \"%s\"", instance);
        return;
    }
    static const char *const needed[] = {"url", "api_key_id", "api_key_secret"};
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
        if (!slice_text(b, needed[i], NULL))
            faults_add(faults, b->file, b->line, "bridge \"%s\" needs %s", b->title, needed[i]);
    check_url(b, "url", http, faults);
    check_url(b, "ws_url", ws, faults);
    check_channels(b, faults);
    check_files(b, faults);
    check_times(b, faults);
}

/* ---- taking over ---- */

static char *copy(const char *text)
{
    return text ? xstrdup(text) : NULL;
}

static void add_channel(struct settings *s, const char *name)
{
    for (size_t i = 0; i < s->channels_count; i++)
        if (strcmp(s->channels[i], name) == 0)
            return;
    for (size_t k = 0; known_channels[k]; k++)
        if (strcmp(known_channels[k], name) == 0)
            s->channels[s->channels_count++] = known_channels[k];
}

static void take_channels(struct settings *s, const struct slice_block *b)
{
    const struct slice_setting *v = slice_get(b, "channels");
    for (size_t i = 0; v && i < v->count; i++)
        add_channel(s, v->list[i]);
    for (size_t i = 0; !v && i < sizeof default_channels / sizeof default_channels[0]; i++)
        add_channel(s, default_channels[i]);
    s->named_count = s->channels_count;
    for (size_t i = 0; i < s->named_count; i++)
        s->folds = s->folds || strcmp(s->channels[i], "inbox") == 0;
    for (size_t i = 0; s->folds && i < sizeof inbox_parts / sizeof inbox_parts[0]; i++)
        add_channel(s, inbox_parts[i]);
}

static void take_solutions(struct settings *s, const struct slice_block *b)
{
    const struct slice_setting *v = slice_get(b, "solutions");
    for (size_t i = 0; v && i < v->count && s->solutions_count < SETTINGS_SOLUTIONS_MAX; i++)
        s->solutions[s->solutions_count++] = xstrdup(v->list[i]);
    if (s->solutions_count == 0)
        s->solutions[s->solutions_count++] = xstrdup("*");
}

/* The same after every start, so that one host never holds more than its two places at the Bridge; different
 * for every two processes that may live at the same time. */
static char *session_name(const struct slice *slice, const struct slice_block *b)
{
    const struct slice_block *top = slice_find(slice, "bridgebell", NULL);
    char host[HOST_MAX] = "";
    if (gethostname(host, sizeof host - 1))
        host[0] = '\0';
    const char *parts[] = {slice_text(top, "installation", ""), slice_text(top, "runtime_dir", ""), host,
                           b->title};
    struct hash_part list[sizeof parts / sizeof parts[0]];
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        list[i] = (struct hash_part){parts[i], strlen(parts[i])};
    struct hash_id id;
    hash_id(list, sizeof parts / sizeof parts[0], &id);
    char hex[2 * HASH_ID_BYTES + 1];
    str_hex(id.bytes, sizeof id.bytes, hex);
    return xasprintf("bridgebell-%.16s-%s", hex, slice_text(b, "slot", "a"));
}

static char *ws_address(const struct slice_block *b)
{
    const char *ws_url = slice_text(b, "ws_url", NULL), *url = slice_text(b, "url", "");
    return ws_url ? xstrdup(ws_url) : xasprintf("ws%s", url + strlen("http"));
}

static void take_numbers(struct settings *s, const struct slice_block *b)
{
    s->connect_timeout_ms = slice_number(b, "connect_timeout", 10 * SECOND_MS);
    s->request_timeout_ms = slice_number(b, "request_timeout", 15 * SECOND_MS);
    s->reconnect_min_ms = slice_number(b, "reconnect_min", 500);
    s->reconnect_max_ms = slice_number(b, "reconnect_max", 60 * SECOND_MS);
    s->silence_limit_ms = slice_number(b, "silence_limit", 25 * SECOND_MS);
    int64_t frame_limit = slice_number(b, "frame_limit", EVENT_FRAME_MAX);
    s->frame_limit = (size_t)(frame_limit < EVENT_FRAME_MAX ? frame_limit : EVENT_FRAME_MAX);
    s->outbox_bytes = (size_t)slice_number(b, "outbox", 16 * MIB);
    s->spill_bytes = slice_number(b, "spill", 256 * MIB);
    s->catch_up = slice_flag(b, "catch_up", true);
    s->catch_up_max_age_ms = slice_number(b, "catch_up_max_age", 24 * 3600 * SECOND_MS);
    s->catch_up_max_events = slice_number(b, "catch_up_max_events", 100000);
    s->catch_up_overlap_ms = slice_number(b, "catch_up_overlap", 10 * SECOND_MS);
}

struct settings *settings_new(const struct slice *slice, const char *instance)
{
    const struct slice_block *top = slice_find(slice, "bridgebell", NULL);
    const struct slice_block *b = slice_find(slice, "bridge", instance);
    struct settings *s = xcalloc(1, sizeof *s);
    s->bridge = xstrdup(b->title);
    s->url = copy(slice_text(b, "url", ""));
    s->ws_url = ws_address(b);
    s->key_id = copy(slice_text(b, "api_key_id", ""));
    s->secret = copy(slice_text(b, "api_key_secret", ""));
    s->ca_file = copy(slice_text(b, "ca_file", NULL));
    s->spill_dir = copy(slice_text(b, "spill_dir", "/var/lib/bridgebell"));
    s->endpoint = xasprintf("ipc://%s/events.ipc", slice_text(top, "runtime_dir", "/run/bridgebell"));
    s->session = session_name(slice, b);
    take_channels(s, b);
    take_solutions(s, b);
    take_numbers(s, b);
    return s;
}

void settings_free(struct settings **p)
{
    struct settings *s = *p;
    if (!s)
        return;
    *p = NULL;
    xfree_secret(s->secret, strlen(s->secret));
    char *texts[] = {s->bridge,  s->url,       s->ws_url,   s->key_id,
                     s->ca_file, s->spill_dir, s->endpoint, s->session};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        free(texts[i]);
    for (size_t i = 0; i < s->solutions_count; i++)
        free(s->solutions[i]);
    free(s);
}
