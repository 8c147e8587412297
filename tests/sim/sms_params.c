#include "tests/sim/sms.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void add(struct sms_params *p, const char *name, size_t name_length, const char *value, size_t length)
{
    p->at = sim_grow(p->at, p->count + 1, sizeof(*p->at));
    p->at[p->count++] = (struct sms_param){
        .name = sim_strndup(name, name_length), .value = sim_strndup(value, length), .length = length};
}

/* ---- forms ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void decode(struct sim_buf *out, const char *text, size_t length)
{
    out->len = 0;
    sim_buf_reserve(out, length);
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (c == '+') {
            c = ' ';
        } else if (c == '%' && i + 2 < length && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0) {
            c = (char)(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
            i += 2;
        }
        sim_buf_add(out, &c, 1);
    }
    sim_buf_add(out, "", 0);
}

static void read_form(struct sms_params *p, const char *text, size_t length)
{
    struct sim_buf name = {0};
    struct sim_buf value = {0};
    const char *end = text + length;
    while (text < end) {
        const char *stop = memchr(text, '&', (size_t)(end - text));
        stop = stop != NULL ? stop : end;
        const char *equals = memchr(text, '=', (size_t)(stop - text));
        const char *name_end = equals != NULL ? equals : stop;
        decode(&name, text, (size_t)(name_end - text));
        decode(&value, equals != NULL ? equals + 1 : stop, equals != NULL ? (size_t)(stop - equals - 1) : 0);
        if (name.len != 0) {
            add(p, name.data, name.len, value.data, value.len);
        }
        text = stop + 1;
    }
    sim_buf_free(&name);
    sim_buf_free(&value);
}

/* ---- JSON ---- */

static void add_json(struct sms_params *p, const char *name, const cJSON *value)
{
    if (cJSON_IsString(value)) {
        add(p, name, strlen(name), value->valuestring, strlen(value->valuestring));
    } else if (cJSON_IsBool(value)) {
        add(p, name, strlen(name), cJSON_IsTrue(value) ? "1" : "0", 1);
    } else if (cJSON_IsNumber(value)) {
        struct sim_buf b = {0};
        sim_buf_printf(&b, "%.17g", value->valuedouble);
        add(p, name, strlen(name), b.data, b.len);
        sim_buf_free(&b);
    }
}

static void add_json_list(struct sms_params *p, const char *name, const cJSON *list)
{
    struct sim_buf b = {0};
    int i = 0;
    const cJSON *one;
    cJSON_ArrayForEach(one, list)
    {
        b.len = 0;
        sim_buf_printf(&b, "%s[%d]", name, i++);
        add_json(p, b.data, one);
    }
    sim_buf_free(&b);
}

static bool read_json(struct sms_params *p, const char *text, size_t length)
{
    cJSON *o = cJSON_ParseWithLength(text, length);
    bool good = cJSON_IsObject(o);
    const cJSON *m;
    p->json = true;
    if (good) {
        cJSON_ArrayForEach(m, o)
        {
            if (cJSON_IsArray(m)) {
                add_json_list(p, m->string, m);
            } else {
                add_json(p, m->string, m);
            }
        }
    }
    cJSON_Delete(o);
    return good;
}

/* ---- both ---- */

bool sms_params_read(struct sms_params *p, const struct sim_request *r)
{
    *p = (struct sms_params){0};
    const char *query = strchr(r->target, '?');
    const char *type = sim_request_header(r, "Content-Type");
    if (query != NULL) {
        read_form(p, query + 1, strlen(query + 1));
    }
    if (type != NULL && strncasecmp(type, "application/json", 16) == 0) {
        return read_json(p, r->body, r->body_length);
    }
    read_form(p, r->body, r->body_length);
    return true;
}

void sms_params_free(struct sms_params *p)
{
    for (size_t i = 0; i < p->count; i++) {
        free(p->at[i].name);
        free(p->at[i].value);
    }
    free(p->at);
    *p = (struct sms_params){0};
}

const char *sms_param(const struct sms_params *p, const char *name)
{
    for (size_t i = 0; i < p->count; i++) {
        if (strcmp(p->at[i].name, name) == 0) {
            return p->at[i].value;
        }
    }
    return NULL;
}

bool sms_flag(const struct sms_params *p, const char *name)
{
    const char *value = sms_param(p, name);
    return value != NULL && (strcmp(value, "1") == 0 || strcmp(value, "true") == 0);
}

/* name[...] */
static bool bracketed(const char *candidate, const char *name)
{
    size_t length = strlen(name);
    return strncmp(candidate, name, length) == 0 && candidate[length] == '[';
}

static void list_add(const char ***list, size_t *count, const char *value)
{
    *list = sim_grow(*list, *count + 1, sizeof(const char *));
    (*list)[(*count)++] = value;
}

const char **sms_param_list(const struct sms_params *p, const char *name, char separator, size_t *count,
                            char **storage)
{
    const char **list = NULL;
    const char *joined = sms_param(p, name);
    *count = 0;
    *storage = NULL;
    if (joined != NULL) {
        *storage = sim_strdup(joined);
        for (char *at = *storage; at != NULL;) {
            char *stop = strchr(at, separator);
            if (stop != NULL) {
                *stop++ = '\0';
            }
            list_add(&list, count, at);
            at = stop;
        }
        return list;
    }
    for (size_t i = 0; i < p->count; i++) {
        if (bracketed(p->at[i].name, name)) {
            list_add(&list, count, p->at[i].value);
        }
    }
    return list;
}
