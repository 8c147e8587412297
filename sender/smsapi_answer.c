#include "sender/smsapi_answer.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/str.h"
#include "sender/smsapi_codes.h"

enum { POINTS_MAX = 1000000, PARTS_MAX = 255, LONG_RUN = 6, RUN_SHOWN = 3 };

/* ---- small readings ---- */

/* cJSON recurses once for each level, so the depth is judged before it sees the text. */
static bool depth_is_fine(const char *body, size_t len)
{
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = body[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > SMSAPI_ANSWER_DEPTH_MAX)
                return false;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return true;
}

cJSON *smsapi_parse(const char *body, size_t len)
{
    if (!body || len == 0 || len > SMSAPI_ANSWER_MAX || !depth_is_fine(body, len))
        return NULL;
    const char *end = NULL;
    cJSON *json = cJSON_ParseWithLengthOpts(body, len, &end, 0);
    for (; json && end < body + len; end++)
        if (!strchr(" \t\r\n", *end) || !*end) {
            cJSON_Delete(json);
            json = NULL;
        }
    return json;
}

static const cJSON *member(const cJSON *object, const char *name)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, name);
    return value && !cJSON_IsNull(value) ? value : NULL;
}

int64_t smsapi_points_micro(const cJSON *value)
{
    double points = -1;
    if (cJSON_IsNumber(value)) {
        points = value->valuedouble;
    } else if (cJSON_IsString(value) && isdigit((unsigned char)value->valuestring[0])) {
        char *end;
        points = strtod(value->valuestring, &end);
        if (*end)
            points = -1;
    }
    return points >= 0 && points <= POINTS_MAX ? (int64_t)llround(points * 1e6) : -1;
}

static int32_t small_int(const cJSON *value, int32_t max)
{
    if (!cJSON_IsNumber(value) || value->valuedouble < 0 || value->valuedouble > max)
        return -1;
    return (int32_t)value->valuedouble;
}

/* A code given as a number or as a text of digits; 0 if it is neither. */
static int32_t code_of(const cJSON *value)
{
    if (cJSON_IsNumber(value))
        return value->valuedouble >= 1 && value->valuedouble <= 999999 ? (int32_t)value->valuedouble : 0;
    if (!cJSON_IsString(value))
        return 0;
    const char *s = value->valuestring;
    size_t digits = strspn(s, "0123456789");
    return digits && digits < 7 && !s[digits] ? atoi(s) : 0;
}

/* The text of a string, or a whole number as text in SPACE; NULL for anything else or if it is too long. */
static const char *text_of(const cJSON *value, char *space, size_t size)
{
    if (cJSON_IsString(value))
        return value->valuestring[0] && strlen(value->valuestring) < size ? value->valuestring : NULL;
    if (!cJSON_IsNumber(value) || value->valuedouble < 0 || value->valuedouble > 9007199254740992.0)
        return NULL;
    snprintf(space, size, "%.0f", value->valuedouble);
    return space;
}

/* Digits only are compared: the provider shows numbers with or without plus and blanks. */
static bool same_number(const char *a, const char *b)
{
    size_t digits = 0;
    for (;;) {
        while (*a && !isdigit((unsigned char)*a))
            a++;
        while (*b && !isdigit((unsigned char)*b))
            b++;
        if (*a != *b)
            return false;
        if (!*a)
            return digits > 0;
        digits++;
        a++;
        b++;
    }
}

/* Hides all but the end of the digits in OUT[START … AT). */
static void hide_run(char *out, size_t start, size_t at)
{
    if (at - start >= LONG_RUN)
        memset(out + start, '*', at - start - RUN_SHOWN);
}

void smsapi_words(const char *text, char out[PROVIDER_WORDS_MAX])
{
    size_t at = 0, run = 0;
    for (; text && text[at] && at < PROVIDER_WORDS_MAX - 1; at++) {
        unsigned char c = (unsigned char)text[at];
        out[at] = c < ' ' || c == 0x7f ? ' ' : (char)c;
        if (!isdigit(c)) {
            hide_run(out, run, at);
            run = at + 1;
        }
    }
    hide_run(out, run, at);
    while (at && !str_utf8_valid(out, at))
        at--;
    out[at] = '\0';
}

/* ---- verdicts ---- */

static void say(struct verdict *v, enum wire_outcome outcome, enum wire_class class, int32_t code,
                const char *words)
{
    v->outcome = outcome;
    v->class = class;
    v->code = code;
    smsapi_words(words, v->words);
}

static void say_all(struct verdict *verdicts, size_t count, enum wire_outcome outcome, enum wire_class class,
                    int32_t code, const char *words)
{
    for (size_t i = 0; i < count; i++)
        say(&verdicts[i], outcome, class, code, words);
}

/* What an error of code CODE means for a recipient. NAMED: the error is about this recipient alone, because
 * there is no other or because the answer names it. */
static void say_code(struct verdict *v, int32_t code, bool named, const char *words)
{
    const struct smsapi_code *row = smsapi_code(code);
    bool proven = row->proof == PROVES_ALL || (row->proof == PROVES_ONE && named);
    if (row->class == WIRE_DUPLICATE_IDX && named)
        say(v, WIRE_DUPLICATE, WIRE_DUPLICATE_IDX, code, words);
    else if (proven)
        say(v, WIRE_REFUSED, row->class, code, words);
    else if (row->proof == PROVES_ONE && row->class != WIRE_PERMANENT_ACCOUNT)
        /* About one recipient or about there being several: asked again singly, each gets its own answer. */
        say(v, WIRE_UNKNOWN, WIRE_TRANSIENT, code, words);
    else
        say(v, WIRE_UNKNOWN, code == 0 || row->class == WIRE_DUPLICATE_IDX ? WIRE_TRANSIENT : row->class,
            code, words);
}

/* ---- recipients named in the answer ---- */

struct reading {
    const struct smsapi_answer *answer;
    const struct request_job *jobs;
    size_t count;
    struct verdict *verdicts;
    bool settled[WIRE_GRANT_JOBS_MAX];
};

static size_t find_number(const struct reading *r, const cJSON *entry)
{
    static const char *const members[] = {"submitted_number", "number"};
    for (size_t m = 0; m < sizeof members / sizeof members[0]; m++) {
        char space[64];
        const char *number = text_of(member(entry, members[m]), space, sizeof space);
        for (size_t i = 0; number && i < r->count; i++)
            if (same_number(number, r->jobs[i].number))
                return i;
    }
    return r->count;
}

/* The recipient an entry is about: by idx, else by number; COUNT if it is nobody's. */
static size_t find_recipient(const struct reading *r, const cJSON *entry, size_t likely)
{
    const cJSON *idx = member(entry, "idx");
    if (cJSON_IsString(idx)) {
        if (likely < r->count && strcmp(idx->valuestring, r->jobs[likely].idx) == 0)
            return likely;
        for (size_t i = 0; i < r->count; i++)
            if (strcmp(idx->valuestring, r->jobs[i].idx) == 0)
                return i;
    }
    return find_number(r, entry);
}

/* CONTRACT.md section 3: QUEUE by the schema; the others are tolerated. */
static bool status_is_fine(const cJSON *status)
{
    static const char *const fine[] = {"QUEUE", "ACCEPTED", "PENDING", "SENT", "DELIVERED"};
    if (!status)
        return true;
    for (size_t i = 0; cJSON_IsString(status) && i < sizeof fine / sizeof fine[0]; i++)
        if (strcmp(status->valuestring, fine[i]) == 0)
            return true;
    return false;
}

static void read_entry(struct reading *r, const cJSON *entry, size_t position)
{
    if (!cJSON_IsObject(entry))
        return;
    size_t i = find_recipient(r, entry, position);
    if (i == r->count || (r->settled[i] && r->verdicts[i].outcome == WIRE_ACCEPTED))
        return;
    struct verdict *v = &r->verdicts[i];
    const cJSON *error = member(entry, "error");
    if (error && !cJSON_IsFalse(error)) {
        say_code(v, code_of(error), true, "the provider marked this recipient with an error");
    } else if (!status_is_fine(member(entry, "status"))) {
        say(v, WIRE_UNKNOWN, WIRE_TRANSIENT, 0, "the provider gave a status that is not known");
    } else {
        char space[PROVIDER_ID_MAX];
        const char *id = text_of(member(entry, "id"), space, sizeof space);
        say(v, WIRE_ACCEPTED, WIRE_CLASS_NONE, 0, "");
        snprintf(v->id, sizeof v->id, "%s", id ? id : "");
        v->points_micro = smsapi_points_micro(member(entry, "points"));
        v->parts = small_int(member(entry, "parts"), PARTS_MAX);
    }
    r->settled[i] = true;
}

/* True if at least one recipient was found in `list`. */
static bool read_list(struct reading *r, const cJSON *json)
{
    const cJSON *list = member(json, "list"), *entry;
    bool found = false;
    size_t position = 0;
    if (!cJSON_IsArray(list))
        return false;
    cJSON_ArrayForEach(entry, list) read_entry(r, entry, position++);
    for (size_t i = 0; i < r->count; i++)
        found = found || r->settled[i];
    return found;
}

/* CODE is the error's own: it holds for an entry that brings none, if it is about numbers at all. */
static void read_invalid_numbers(struct reading *r, const cJSON *json, int32_t code)
{
    const cJSON *list = member(json, "invalid_numbers"), *entry;
    if (!cJSON_IsArray(list))
        return;
    cJSON_ArrayForEach(entry, list)
    {
        size_t i = cJSON_IsObject(entry) ? find_recipient(r, entry, 0) : r->count;
        if (i == r->count || r->settled[i])
            continue;
        int32_t own = code_of(member(entry, "error_code"));
        if (!own)
            own = smsapi_code(code)->class == WIRE_PER_NUMBER ? code : SMSAPI_BAD_NUMBER;
        const char *words = cJSON_GetStringValue(member(entry, "message"));
        say_code(&r->verdicts[i], own, true, words ? words : "the provider calls the number invalid");
        r->settled[i] = true;
    }
}

/* ---- the answer as a whole ---- */

/* Errors by word instead of by number, from the front that all of the provider's addresses share. */
static const struct {
    const char *word;
    enum wire_class class;
} error_words[] = {
    {"authorization_failed", WIRE_PERMANENT_ACCOUNT},
    {"unauthorized", WIRE_PERMANENT_ACCOUNT},
    {"forbidden", WIRE_PERMANENT_ACCOUNT},
    {"invalid_request_data", WIRE_CONFIG},
};

static void say_word(struct verdict *v, const char *word, int http_status, const char *words)
{
    for (size_t i = 0; word && i < sizeof error_words / sizeof error_words[0]; i++)
        if (strcmp(word, error_words[i].word) == 0) {
            say(v, WIRE_REFUSED, error_words[i].class, 0, words);
            return;
        }
    /* With a 4xx an unknown word is still the provider's own refusal of the request (CONTRACT.md section 4:
     * "Other 4xx"); with a 2xx it proves nothing. */
    if (word && http_status >= 400)
        say(v, WIRE_REFUSED, WIRE_CONFIG, 0, words);
    else
        say(v, WIRE_UNKNOWN, WIRE_TRANSIENT, 0, words);
}

static void read_error(struct reading *r, const cJSON *json, const cJSON *error)
{
    int32_t code = code_of(error);
    const char *message = cJSON_GetStringValue(member(json, "message"));
    const char *words = message ? message : "the provider answered an error without words";
    bool listed = read_list(r, json);
    read_invalid_numbers(r, json, code);
    for (size_t i = 0; i < r->count; i++) {
        if (r->settled[i])
            continue;
        if (listed)
            say(&r->verdicts[i], WIRE_UNKNOWN, WIRE_TRANSIENT, code, words);
        else if (code || !cJSON_IsString(error))
            say_code(&r->verdicts[i], code, r->count == 1, words);
        else
            say_word(&r->verdicts[i], error->valuestring, r->answer->http_status, words);
    }
}

static void read_success(struct reading *r, const cJSON *json)
{
    read_list(r, json);
    read_invalid_numbers(r, json, 0);
    for (size_t i = 0; i < r->count; i++)
        if (!r->settled[i])
            say(&r->verdicts[i], WIRE_UNKNOWN, WIRE_TRANSIENT, 0, "the answer does not name this recipient");
}

/* The error of a body, or NULL. */
static const cJSON *error_of(const cJSON *json)
{
    const cJSON *error = cJSON_IsObject(json) ? member(json, "error") : NULL;
    return cJSON_IsFalse(error) ? NULL : error;
}

static void read_2xx(struct reading *r, const cJSON *json)
{
    const cJSON *error = error_of(json);
    if (error)
        read_error(r, json, error);
    else if (cJSON_IsObject(json))
        read_success(r, json);
    else
        say_all(r->verdicts, r->count, WIRE_UNKNOWN, WIRE_TRANSIENT, 0, "the answer cannot be read");
}

/* 401 and 403: the account, unless the body has a number that says it better. */
static void read_denied(struct reading *r, const cJSON *json)
{
    const cJSON *error = error_of(json);
    const char *message = cJSON_GetStringValue(member(json, "message"));
    int32_t code = code_of(error);
    if (smsapi_code(code)->proof == PROVES_ALL)
        read_error(r, json, error);
    else
        say_all(r->verdicts, r->count, WIRE_REFUSED, WIRE_PERMANENT_ACCOUNT, code,
                message ? message : "the provider denies access (wrong token, address or host?)");
}

/* A status that says: nobody is here who could have taken a message; the address is wrong (CONTRACT.md
 * section 4, "Other 4xx"). It is not proof, because anything on the way may have said so. */
static bool is_wrong_address(int status)
{
    return status == 404 || status == 405 || status == 410;
}

static void read_4xx(struct reading *r, const cJSON *json)
{
    int status = r->answer->http_status;
    const cJSON *error = error_of(json);
    if (status == 401 || status == 403)
        read_denied(r, json);
    else if (status == 429)
        say_all(r->verdicts, r->count, WIRE_REFUSED, WIRE_THROTTLED, code_of(error), "too many requests");
    else if (error && status != 408)
        read_error(r, json, error);
    else
        say_all(r->verdicts, r->count, WIRE_UNKNOWN, is_wrong_address(status) ? WIRE_CONFIG : WIRE_TRANSIENT,
                0, "a refusal that is not in the provider's own words");
}

void smsapi_answer_read(const struct smsapi_answer *answer, const struct request_job *jobs, size_t count,
                        struct verdict *verdicts)
{
    struct reading r = {.answer = answer, .jobs = jobs, .count = count, .verdicts = verdicts};
    for (size_t i = 0; i < count; i++) {
        verdicts[i].id[0] = '\0';
        verdicts[i].parts = -1;
        verdicts[i].points_micro = -1;
        verdicts[i].retry_after_ms = answer->retry_after_ms;
    }
    int class = answer->http_status / 100;
    cJSON *json = answer->cut || class == 5 ? NULL : smsapi_parse(answer->body, answer->len);
    if (class == 2)
        read_2xx(&r, json);
    else if (class == 4)
        read_4xx(&r, json);
    else if (class == 5)
        say_all(verdicts, count, WIRE_UNKNOWN, WIRE_TRANSIENT, 0, "the provider has an internal error");
    else
        say_all(verdicts, count, WIRE_UNKNOWN, WIRE_TRANSIENT, 0, "no answer that can be read");
    cJSON_Delete(json);
}
