/* links: sender_parts proto http core */
/* What a send puts on the wire. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sender/smsapi_form.h"

#define SUFFIX "&check_idx=1&format=json&encoding=utf-8"

static struct request request_of(struct request_job *jobs, size_t count, const char *text, const char *from)
{
    struct request r = {.jobs = jobs,
                        .count = count,
                        .text = text,
                        .text_len = strlen(text),
                        .from = from,
                        .from_len = from ? strlen(from) : 0,
                        .expires_in_s = -1};
    return r;
}

static void one_recipient(void **state)
{
    (void)state;
    struct request_job job = {.number = "+48500500501", .idx = "0a-1"};
    struct request r = request_of(&job, 1, "Za\xc5\xbc\xc3\xb3\xc5\x82\xc4\x87 & 100%\n=+", NULL);
    struct buf out;
    buf_init(&out, 0);
    assert_int_equal(smsapi_form_build(&out, &r, 0, 0), 0);
    assert_string_equal(buf_cstr(&out),
                        "to=48500500501&idx=0a-1&message=Za%C5%BC%C3%B3%C5%82%C4%87%20%26%20100%25"
                        "%0A%3D%2B" SUFFIX);
    buf_free(&out);
}

static void several_recipients_with_options(void **state)
{
    (void)state;
    struct request_job jobs[] = {{.number = "+48500500501", .idx = "0a-1"},
                                 {.number = "+491", .idx = "0b-2"}};
    struct request r = request_of(jobs, 2, "x", "My Co.");
    struct buf out;
    buf_init(&out, 0);
    r.expires_in_s = 7200;
    assert_int_equal(smsapi_form_build(&out, &r, 1700000000123, 3), 0);
    assert_string_equal(buf_cstr(&out), "to=48500500501%2C491&idx=0a-1%7C0b-2&message=x&from=My%20Co." SUFFIX
                                        "&expiration_date=1700007200&max_parts=3");
    buf_free(&out);
}

/* CONTRACT.md section 2: 1 to 12 hours is safe; a refused expiry would lose the message. */
static void expiry_is_only_said_where_it_is_safe(void **state)
{
    (void)state;
    static const struct {
        int64_t in_s;
        int said;
    } cases[] = {{-1, 0}, {0, 0}, {3600, 0}, {3700, 1}, {43000, 1}, {43200, 0}, {86400, 0}};
    struct request_job job = {.number = "+48500500501", .idx = "0a-1"};
    struct request r = request_of(&job, 1, "x", NULL);
    struct buf out;
    buf_init(&out, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        r.expires_in_s = cases[i].in_s;
        assert_int_equal(smsapi_form_build(&out, &r, 0, 0), 0);
        assert_int_equal(strstr(buf_cstr(&out), "expiration_date") != NULL, cases[i].said);
    }
    buf_free(&out);
}

static void every_byte_is_encoded_so_that_it_decodes(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 0);
    for (int c = 0; c < 256; c++) {
        char in = (char)c;
        buf_reset(&out);
        smsapi_form_encode(&out, &in, 1);
        const char *s = buf_cstr(&out);
        int back = s[0] == '%' ? (int)strtol(s + 1, NULL, 16) : (unsigned char)s[0];
        assert_int_equal(back, c);
        assert_true(s[0] == '%' ? out.len == 3 : out.len == 1);
        assert_null(strpbrk(s, "&=+ "));
    }
    buf_free(&out);
}

static void beyond_the_limit_it_fails(void **state)
{
    (void)state;
    struct request_job job = {.number = "+48500500501", .idx = "0a-1"};
    struct request r = request_of(&job, 1, "a long text", NULL);
    struct buf out;
    buf_init(&out, 60);
    assert_int_equal(smsapi_form_build(&out, &r, 0, 0), -1);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_recipient),
        cmocka_unit_test(several_recipients_with_options),
        cmocka_unit_test(expiry_is_only_said_where_it_is_safe),
        cmocka_unit_test(every_byte_is_encoded_so_that_it_decodes),
        cmocka_unit_test(beyond_the_limit_it_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
