#include "sender/smsapi_form.h"

/* CONTRACT.md section 2 calls 1 to 12 hours the safe range of expiration_date, with a tolerance of minutes;
 * outside of it the provider may refuse the message (code 56), so the parameter is left out. */
enum { EXPIRES_MIN_S = 3600 + 60, EXPIRES_MAX_S = 12 * 3600 - 60 };

static bool is_plain(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

void smsapi_form_encode(struct buf *out, const char *s, size_t len)
{
    static const char hex[] = "0123456789ABCDEF";
    char *to = buf_reserve(out, 3 * len);
    if (!to)
        return;
    char *start = to;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (is_plain(c)) {
            *to++ = (char)c;
        } else {
            *to++ = '%';
            *to++ = hex[c >> 4];
            *to++ = hex[c & 15];
        }
    }
    out->len += (size_t)(to - start);
}

static void add_field(struct buf *out, const char *name, const char *value, size_t len)
{
    buf_adds(out, name);
    smsapi_form_encode(out, value, len);
}

/* The provider joins several recipients with commas and their idx with bars, in the same order. */
static void add_recipients(struct buf *out, const struct request *r)
{
    buf_adds(out, "to=");
    for (size_t i = 0; i < r->count; i++) {
        const char *number = r->jobs[i].number;
        if (i)
            buf_adds(out, "%2C");
        buf_adds(out, number[0] == '+' ? number + 1 : number);
    }
    buf_adds(out, "&idx=");
    for (size_t i = 0; i < r->count; i++) {
        if (i)
            buf_adds(out, "%7C");
        buf_adds(out, r->jobs[i].idx);
    }
}

int smsapi_form_build(struct buf *out, const struct request *r, int64_t now_ms, int max_parts)
{
    buf_reset(out);
    add_recipients(out, r);
    add_field(out, "&message=", r->text, r->text_len);
    if (r->from)
        add_field(out, "&from=", r->from, r->from_len);
    buf_adds(out, "&check_idx=1&format=json&encoding=utf-8");
    if (r->expires_in_s >= EXPIRES_MIN_S && r->expires_in_s <= EXPIRES_MAX_S)
        buf_addf(out, "&expiration_date=%lld", (long long)now_ms / 1000 + r->expires_in_s);
    if (max_parts)
        buf_addf(out, "&max_parts=%d", max_parts);
    return out->failed ? -1 : 0;
}
