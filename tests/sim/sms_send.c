#include "tests/sim/sms.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A request on its way through the checks. */
struct sending {
    struct sms *sms;
    struct sms_params params;
    const struct sms_plan *plan;
    char *text;
    const char *from;
    const char *notify_url;
    int64_t due_ms;
    struct sms_recipient *to;
    size_t to_count;
    const char **to_list;
    char *to_storage;
    const char **idx_list;
    size_t idx_count;
    char *idx_storage;
    const char **values[4];
    char *values_storage[4];
    bool check_idx;
    bool test;
    double factor; /* of the price */
};

/* ---- refusals ---- */

static bool wants_json(const struct sms_params *p)
{
    const char *format = sms_param(p, "format");
    return format != NULL && strcmp(format, "json") == 0;
}

static void invalid_numbers(const struct sending *x, struct sim_buf *out)
{
    const char *comma = "";
    for (size_t i = 0; i < x->to_count; i++) {
        const struct sms_recipient *to = &x->to[i];
        if (to->bad == NULL) {
            continue;
        }
        sim_buf_printf(out, "%s{\"number\":\"%s\",\"submitted_number\":", comma, to->number);
        sim_buf_json_string(out, to->submitted);
        sim_buf_puts(out, ",\"message\":");
        sim_buf_json_string(out, to->bad);
        if (to->bad_code != 13) {
            sim_buf_printf(out, ",\"error_code\":%d", to->bad_code);
        }
        sim_buf_puts(out, "}");
        comma = ",";
    }
}

static bool any_bad(const struct sending *x)
{
    for (size_t i = 0; i < x->to_count; i++) {
        if (x->to[i].bad != NULL) {
            return true;
        }
    }
    return false;
}

static void refuse(struct sms *s, const struct sms_params *p, int code, const struct sending *x,
                   struct sms_reply *reply)
{
    char name[16];
    snprintf(name, sizeof(name), "%d", code);
    sim_count(&s->refused, name);
    reply->status = 200;
    if (!wants_json(p)) {
        reply->content_type = "text/plain";
        sim_buf_printf(&reply->body, "ERROR:%d", code);
        return;
    }
    reply->content_type = "application/json";
    sim_buf_puts(&reply->body, "{");
    if (x != NULL && any_bad(x)) {
        sim_buf_puts(&reply->body, "\"invalid_numbers\":[");
        invalid_numbers(x, &reply->body);
        sim_buf_puts(&reply->body, "],");
    }
    sim_buf_printf(&reply->body, "\"error\":%d,\"message\":", code);
    sim_buf_json_string(&reply->body, sms_error_text(code));
    sim_buf_puts(&reply->body, "}");
}

void sms_refuse(struct sms *s, const struct sms_params *p, int code, struct sms_reply *reply)
{
    refuse(s, p, code, NULL, reply);
}

/* ---- the text ---- */

static int read_text(struct sending *x)
{
    const char *raw = sms_param(&x->params, "message");
    const char *charset = sms_param(&x->params, "encoding");
    if (raw == NULL || *raw == '\0') {
        return sms_param(&x->params, "template") != NULL ? 0 : 11;
    }
    /* What a form without `encoding` means is open; this choice shows when a client forgets it. */
    charset = charset != NULL ? charset : x->params.json ? "UTF-8" : "WINDOWS-1250";
    x->text = sms_text_decode(raw, strlen(raw), charset);
    if (x->text == NULL) {
        return 76;
    }
    if (sms_flag(&x->params, "normalize")) {
        char *plain = sms_text_plain(x->text);
        free(x->text);
        x->text = plain;
    }
    bool link = strstr(x->text, "http://") != NULL || strstr(x->text, "https://") != NULL;
    return x->sms->opt.links_forbidden != 0 && link ? 94 : 0;
}

static int check_measure(const struct sending *x, const struct sms_measure *m)
{
    const char *max_parts = sms_param(&x->params, "max_parts");
    int64_t most = max_parts != NULL ? strtoll(max_parts, NULL, 10) : x->sms->opt.parts_max;
    if (m->unicode && sms_flag(&x->params, "nounicode")) {
        return 11;
    }
    if (m->unicode && sms_flag(&x->params, "flash")) {
        return 17;
    }
    if (m->parts > 10) {
        return 11;
    }
    return m->parts > most || (m->parts > 1 && sms_flag(&x->params, "single")) ? 12 : 0;
}

/* ---- recipients ---- */

/* [%1%] to [%4%] are replaced by the recipient's own values. */
static char *personal_text(const struct sending *x, size_t i)
{
    struct sim_buf b = {0};
    sim_buf_add(&b, "", 0);
    for (const char *p = x->text; *p != '\0';) {
        int n = p[0] == '[' && p[1] == '%' && p[2] >= '1' && p[2] <= '4' && p[3] == '%' && p[4] == ']'
                    ? p[2] - '1'
                    : -1;
        if (n >= 0 && x->values[n] != NULL) {
            sim_buf_puts(&b, x->values[n][i]);
            p += 5;
        } else {
            sim_buf_add(&b, p++, 1);
        }
    }
    return b.data;
}

static int read_values(struct sending *x)
{
    for (int n = 0; n < 4; n++) {
        char name[8];
        size_t count;
        snprintf(name, sizeof(name), "param%d", n + 1);
        x->values[n] = sms_param_list(&x->params, name, '|', &count, &x->values_storage[n]);
        if (x->values[n] != NULL && sms_param(&x->params, "group") != NULL) {
            return 93;
        }
        if (x->values[n] != NULL && count != x->to_count) {
            return 18;
        }
    }
    return 0;
}

static int read_idx(struct sending *x)
{
    x->idx_list = sms_param_list(&x->params, "idx", '|', &x->idx_count, &x->idx_storage);
    if (x->idx_list == NULL) {
        return 0;
    }
    if (x->idx_count != x->to_count) {
        return 20;
    }
    for (size_t i = 0; i < x->idx_count; i++) {
        if (strlen(x->idx_list[i]) > 255) {
            return 27;
        }
        x->to[i].idx = x->idx_list[i][0] != '\0' ? x->idx_list[i] : NULL;
    }
    return 0;
}

static int read_recipients(struct sending *x)
{
    if (sms_param(&x->params, "group") != NULL) {
        int code = read_values(x);
        return code != 0 ? code : 40;
    }
    x->to_list = sms_param_list(&x->params, "to", ',', &x->to_count, &x->to_storage);
    if (x->to_list == NULL || (x->to_count == 1 && x->to_list[0][0] == '\0')) {
        x->to_count = 0;
        return 13;
    }
    if (x->to_count > (size_t)x->sms->opt.recipients_max) {
        x->to_count = 0;
        return 19;
    }
    x->to = sim_alloc(x->to_count * sizeof(*x->to));
    for (size_t i = 0; i < x->to_count; i++) {
        x->to[i].submitted = x->to_list[i];
    }
    if (x->to_count > 1 && x->notify_url != NULL && x->sms->opt.notify_single != 0) {
        return 72;
    }
    int code = read_values(x);
    return code != 0 ? code : read_idx(x);
}

static void mark_bad(struct sms_recipient *to, int code, const char *why)
{
    to->bad = why;
    to->bad_code = code;
}

static void check_number(struct sending *x, struct sms_recipient *to)
{
    if (!sms_check_number(to->submitted, to->number)) {
        mark_bad(to, 13, "Invalid phone number");
        return;
    }
    intptr_t listed = (intptr_t)sim_map_get(&x->sms->blacklist, to->number);
    if (listed != 0) {
        mark_bad(to, (int)listed - 1, "Number is on the blacklist");
    } else if (!sms_attempt(x->sms, to->number)) {
        mark_bad(to, 52, sms_error_text(52));
    }
}

static void drop_repeats(struct sending *x)
{
    struct sim_map seen = {0};
    for (size_t i = 0; i < x->to_count; i++) {
        if (x->to[i].bad == NULL && sim_map_get(&seen, x->to[i].number) != NULL) {
            x->to[i].repeated = true;
        }
        sim_map_put(&seen, x->to[i].number, x);
    }
    sim_map_clear(&seen, NULL);
}

static int measure_all(struct sending *x)
{
    for (size_t i = 0; i < x->to_count; i++) {
        struct sms_measure m;
        x->to[i].text = personal_text(x, i);
        if (!sms_text_measure(x->to[i].text, &m)) {
            return 76;
        }
        int code = check_measure(x, &m);
        if (code != 0) {
            return code;
        }
        x->to[i].parts = m.parts;
        x->to[i].length = m.length;
    }
    return 0;
}

static size_t good_count(const struct sending *x)
{
    size_t n = 0;
    for (size_t i = 0; i < x->to_count; i++) {
        n += x->to[i].bad == NULL && !x->to[i].repeated ? 1 : 0;
    }
    return n;
}

static int check_numbers(struct sending *x)
{
    for (size_t i = 0; i < x->to_count; i++) {
        check_number(x, &x->to[i]);
    }
    if (!sms_flag(&x->params, "allow_duplicates")) {
        drop_repeats(x);
    }
    if (good_count(x) == 0) {
        return x->to_count == 1 ? x->to[0].bad_code : 13;
    }
    return x->sms->opt.partial == 2 && any_bad(x) ? 13 : 0;
}

static int check_register(struct sending *x)
{
    bool used = false;
    if (!x->check_idx) {
        return 0;
    }
    for (size_t i = 0; i < x->to_count; i++) {
        struct sms_recipient *to = &x->to[i];
        if (to->bad == NULL && to->idx != NULL && sms_idx_used(x->sms, to->idx)) {
            used = true;
            if (x->sms->opt.batch_53 != 0) {
                mark_bad(to, 53, sms_error_text(53));
            }
        }
    }
    if (!used) {
        return 0;
    }
    return x->sms->opt.batch_53 == 0 || good_count(x) == 0 ? 53 : 0;
}

/* ---- the price ---- */

static int64_t price_of(const struct sending *x, const struct sms_recipient *to)
{
    return (int64_t)((double)(x->sms->opt.price * to->parts) * x->factor);
}

static int check_balance(const struct sending *x)
{
    int64_t total = 0;
    for (size_t i = 0; i < x->to_count; i++) {
        total += x->to[i].bad == NULL && !x->to[i].repeated ? price_of(x, &x->to[i]) : 0;
    }
    return x->sms->opt.balance >= 0 && !x->test && total > x->sms->opt.balance - x->sms->spent ? 103 : 0;
}

static void write_points(const struct sms *s, int64_t price, struct sim_buf *out)
{
    char text[40];
    snprintf(text, sizeof(text), "%lld.%04lld", (long long)(price / 10000), (long long)(price % 10000));
    if (s->opt.points_string != 0) {
        sim_buf_printf(out, "\"%s\"", text);
        return;
    }
    size_t length = strlen(text);
    while (text[length - 1] == '0') {
        text[--length] = '\0';
    }
    if (text[length - 1] == '.') {
        text[length - 1] = '\0';
    }
    sim_buf_puts(out, text);
}

/* ---- the checks in their order ---- */

static int check(struct sending *x, bool tls)
{
    int code = sms_check_options(x->sms, &x->params, tls);
    code = code != 0 ? code : read_text(x);
    code = code != 0 ? code : sms_check_dates(x->sms, &x->params, &x->due_ms);
    code = code != 0 ? code : sms_check_sender(x->sms, x->from);
    code = code != 0 ? code : read_recipients(x);
    code = code != 0 ? code : measure_all(x);
    code = code != 0 ? code : check_numbers(x);
    code = code != 0 ? code : check_register(x);
    return code != 0 ? code : check_balance(x);
}

/* ---- acceptance and the reply ---- */

static void list_entry(const struct sending *x, const struct sms_recipient *to, const char *id,
                       struct sim_buf *out)
{
    sim_buf_printf(out, "{\"id\":\"%s\",\"points\":", id);
    write_points(x->sms, price_of(x, to), out);
    sim_buf_printf(out, ",\"number\":\"%s\",\"date_sent\":%lld,\"submitted_number\":", to->number,
                   (long long)(x->due_ms / 1000));
    sim_buf_json_string(out, to->submitted);
    sim_buf_puts(out, ",\"status\":\"QUEUE\",\"error\":null,\"idx\":");
    if (to->idx != NULL) {
        sim_buf_json_string(out, to->idx);
    } else {
        sim_buf_puts(out, "null");
    }
    sim_buf_printf(out, ",\"parts\":%d}", to->parts);
}

static void text_entry(const struct sending *x, const struct sms_recipient *to, const char *id,
                       struct sim_buf *out)
{
    int64_t price = price_of(x, to);
    sim_buf_printf(out, "%sOK:%s:%lld.%04lld", out->len != 0 ? ";" : "", id, (long long)(price / 10000),
                   (long long)(price % 10000));
    if (x->to_count > 1) {
        sim_buf_printf(out, ":%s", to->number);
    }
}

/* Takes one message in; NULL for a test, which is not sent. */
static struct sms_message *take_in(struct sending *x, const struct sms_recipient *to)
{
    struct sms *s = x->sms;
    if (to->idx != NULL && (!x->test || s->opt.test_occupy != 0)) {
        sms_idx_take(s, to->idx);
    }
    if (x->test) {
        s->tests++;
        return NULL;
    }
    struct sms_message *m = sms_accept(s, to, x->from, x->due_ms);
    s->spent += price_of(x, to);
    sim_set(&m->notify_url, x->notify_url);
    if (s->print) {
        sms_print(s, m);
    }
    sms_report_later(s, m);
    return m;
}

static void accept_all(struct sending *x, struct sms_reply *reply)
{
    struct sim_buf list = {0};
    bool json = wants_json(&x->params);
    int64_t taken = 0;
    int64_t shown = 0;
    const struct sms_recipient *first = NULL;
    for (size_t i = 0; i < x->to_count; i++) {
        const struct sms_recipient *to = &x->to[i];
        if (to->bad != NULL || to->repeated || (x->plan->accept_keep >= 0 && taken >= x->plan->accept_keep)) {
            continue;
        }
        const struct sms_message *m = take_in(x, to);
        taken++;
        first = first != NULL ? first : to;
        if (x->plan->list_keep >= 0 && shown >= x->plan->list_keep) {
            continue;
        }
        if (json) {
            sim_buf_puts(&list, shown != 0 ? "," : "");
            list_entry(x, to, m != NULL ? m->id : "", &list);
        } else {
            text_entry(x, to, m != NULL ? m->id : "", &list);
        }
        shown++;
    }
    reply->status = 200;
    reply->content_type = json ? "application/json" : "text/plain";
    if (!json) {
        sim_buf_add(&reply->body, list.data, list.len);
    } else {
        sim_buf_printf(&reply->body, "{\"count\":%lld,\"list\":[%s]", (long long)shown,
                       list.data != NULL ? list.data : "");
        if (sms_flag(&x->params, "details") && first != NULL) {
            sim_buf_puts(&reply->body, ",\"message\":");
            sim_buf_json_string(&reply->body, first->text);
            sim_buf_printf(&reply->body, ",\"length\":%d,\"parts\":%d", first->length, first->parts);
        }
        if (x->sms->opt.partial == 1 && any_bad(x)) {
            sim_buf_puts(&reply->body, ",\"invalid_numbers\":[");
            invalid_numbers(x, &reply->body);
            sim_buf_puts(&reply->body, "]");
        }
        sim_buf_puts(&reply->body, "}");
    }
    sim_buf_free(&list);
}

/* ---- cancelling scheduled messages ---- */

static void cancel(struct sms *s, const struct sms_params *p, struct sms_reply *reply)
{
    size_t count;
    char *storage;
    const char **ids = sms_param_list(p, "sch_del", ',', &count, &storage);
    struct sim_buf list = {0};
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < s->message_count; k++) {
            struct sms_message *m = &s->messages[k];
            if (strcmp(m->id, ids[i]) == 0 && !m->cancelled && m->due_ms > sms_now_ms(s) + 60000) {
                m->cancelled = true;
                sim_buf_printf(&list, "%s{\"id\":\"%s\"}", found++ != 0 ? "," : "", m->id);
            }
        }
    }
    if (found != count || count == 0) {
        sms_refuse(s, p, 301, reply);
    } else {
        reply->status = 200;
        reply->content_type = "application/json";
        sim_buf_printf(&reply->body, "{\"count\":%zu,\"list\":[%s]}", found, list.data);
    }
    sim_buf_free(&list);
    free(ids);
    free(storage);
}

/* ---- the whole ---- */

static void refuse_token(struct sms *s, const struct sms_params *p, struct sms_reply *reply)
{
    if (s->opt.auth_status == 200) {
        sms_refuse(s, p, 101, reply);
        return;
    }
    sim_count(&s->refused, "101");
    reply->status = (int)s->opt.auth_status;
    reply->content_type = "application/json";
    sim_buf_puts(&reply->body, "{\"message\":\"Authorization failed\",\"error\":\"authorization_failed\","
                               "\"developer_description\":null,\"errors\":null}");
}

static void occupy_refused(struct sending *x)
{
    for (size_t i = 0; i < x->to_count; i++) {
        if (x->to[i].idx != NULL) {
            sms_idx_take(x->sms, x->to[i].idx);
        }
    }
}

static void sending_free(struct sending *x)
{
    for (size_t i = 0; i < x->to_count; i++) {
        free(x->to[i].text);
    }
    for (int n = 0; n < 4; n++) {
        free(x->values[n]);
        free(x->values_storage[n]);
    }
    free(x->to);
    free(x->to_list);
    free(x->to_storage);
    free(x->idx_list);
    free(x->idx_storage);
    free(x->text);
    sms_params_free(&x->params);
}

void sms_send(struct sms *s, const struct sim_request *r, const char *peer, bool tls,
              const struct sms_plan *plan, struct sms_reply *reply)
{
    (void)peer;
    struct sending x = {.sms = s, .plan = plan, .factor = 1};
    if (!sms_params_read(&x.params, r)) {
        sms_refuse(s, &x.params, 8, reply);
    } else if (!sms_token_good(s, r)) {
        refuse_token(s, &x.params, reply);
    } else if (plan->error_code != 0 && !plan->accept) {
        sms_refuse(s, &x.params, plan->error_code, reply);
    } else if (sms_param(&x.params, "sch_del") != NULL) {
        cancel(s, &x.params, reply);
    } else {
        x.from = sms_param(&x.params, "from");
        x.notify_url = sms_param(&x.params, "notify_url");
        x.check_idx = sms_flag(&x.params, "check_idx");
        x.test = sms_flag(&x.params, "test");
        x.factor = sms_flag(&x.params, "fast") ? 1.5 : 1;
        int code = check(&x, tls);
        if (code != 0) {
            refuse(s, &x.params, code, &x, reply);
            if (s->opt.refused_occupy != 0 && x.to != NULL) {
                occupy_refused(&x);
            }
        } else {
            accept_all(&x, reply);
            if (plan->error_code != 0) {
                reply->body.len = 0;
                sms_refuse(s, &x.params, plan->error_code, reply);
            }
        }
    }
    sending_free(&x);
}
