/* links: proto core */
/* Messages: what is written is read, and nothing malformed gets through or allocates much. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "proto/slice.h"
#include "proto/wire.h"

static void fields_come_back_in_order(void **state)
{
    (void)state;
    struct msg_out out;
    struct msg_in in;
    struct msg_fields f;
    msg_out_init(&out, 0);
    msg_in_init(&in);
    struct hash_id id = {{1, 2, 3}};
    msg_begin(&out, 77, 6);
    msg_put_uint(&out, UINT64_MAX);
    msg_put_int(&out, INT64_MIN);
    msg_put_cstr(&out, NULL);
    msg_put_cstr(&out, "");
    msg_put_id(&out, &id);
    msg_put_bool(&out, true);
    assert_int_equal(msg_parse(&in, out.buf.data, out.buf.len, &f), 77);
    assert_true(msg_get_uint(&f) == UINT64_MAX);
    assert_true(msg_get_int(&f) == INT64_MIN);
    assert_null(msg_get_str(&f).data);
    struct msg_str empty = msg_get_str(&f);
    assert_non_null(empty.data);
    assert_int_equal(empty.len, 0);
    struct hash_id back;
    msg_get_id(&f, &back);
    assert_memory_equal(&id, &back, sizeof id);
    assert_false(msg_end(&f));
    assert_true(msg_get_bool(&f));
    assert_true(msg_end(&f));
    msg_get_bool(&f);
    assert_false(msg_end(&f));
    msg_in_free(&in);
    msg_out_free(&out);
}

static void malformed_bytes_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } rows[] = {
        {"", 0},
        {"\xc1", 1},
        {"\x91", 1},
        {"\xdd\xff\xff\xff\xff", 5},     /* an array that claims 4 thousand million elements */
        {"\xdf\x7f\xff\xff\xff\x01", 6}, /* a map of 2 thousand million pairs */
        {"\xc6\xff\xff\xff\xff", 5},
        {"\x01\x01", 2},
        {"\xd9", 1},
        {"\xcf\x00\x00", 3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_false(msg_well_formed(rows[i].bytes, rows[i].len));
    char deep[64];
    memset(deep, '\x91', sizeof deep);
    deep[63] = '\x01';
    assert_false(msg_well_formed(deep, sizeof deep));
    assert_true(msg_well_formed(deep + 64 - 32, 32));
}

/* Whatever the walk lets through, the unpacker must take, and the other way round for what it refuses first.
 */
static void random_bytes_never_disagree(void **state)
{
    (void)state;
    struct msg_in in;
    msg_in_init(&in);
    enum { ROUNDS = 200000, SIZE = 24 };
    static const unsigned char seed[randombytes_SEEDBYTES] = "the same bytes in every run";
    static unsigned char all[ROUNDS][SIZE + 1];
    randombytes_buf_deterministic(all, sizeof all, seed);
    for (int i = 0; i < ROUNDS; i++) {
        unsigned char *bytes = all[i];
        size_t len = 1 + bytes[SIZE] % SIZE;
        if (i % 2)
            bytes[0] = (unsigned char)(0x90 | (bytes[0] & 7));
        int rc = msg_parse_object(&in, bytes, len);
        assert_int_equal(rc == 0, msg_well_formed(bytes, len));
    }
    msg_in_free(&in);
}

static void grants_and_results_survive_the_wire(void **state)
{
    (void)state;
    struct msg_out out;
    struct msg_in in;
    struct msg_fields f;
    msg_out_init(&out, 0);
    msg_in_init(&in);
    struct wire_grant_job jobs[2] = {{{{1}}, 1, 1, msg_str_of("+48500500500")},
                                     {{{2}}, 3, 2, msg_str_of("+48500500501")}};
    struct wire_grant g = {.provider = msg_str_of("p"),
                           .stamp = 5,
                           .start_by_ms = 9,
                           .expires_in_s = -1,
                           .text = msg_str_of("hello"),
                           .jobs = jobs,
                           .count = 2};
    struct wire_result r = {.job = {{7}},
                            .attempt = 2,
                            .outcome = WIRE_REFUSED,
                            .class = WIRE_PER_NUMBER,
                            .code = 13,
                            .http_status = 200,
                            .retry_after_ms = -1,
                            .points_micro = -1,
                            .parts = -1,
                            .words = msg_str_of("no")};
    msg_begin(&out, WIRE_GRANTS, 2);
    wire_put_grant(&out, &g);
    wire_put_result(&out, &r);
    assert_int_equal(msg_parse(&in, out.buf.data, out.buf.len, &f), WIRE_GRANTS);
    struct wire_grant g2;
    struct wire_grant_job jobs2[WIRE_GRANT_JOBS_MAX];
    assert_int_equal(wire_get_grant(&f, &g2, jobs2), 0);
    struct wire_result r2;
    wire_get_result(&f, &r2);
    assert_true(msg_end(&f));
    assert_int_equal(g2.count, 2);
    assert_null(g2.from.data);
    assert_true(msg_str_is(g2.text, "hello"));
    assert_int_equal(jobs2[1].attempt, 3);
    assert_int_equal(r2.outcome, WIRE_REFUSED);
    assert_int_equal(r2.code, 13);
    assert_int_equal(r2.points_micro, -1);
    msg_in_free(&in);
    msg_out_free(&out);
}

static void slices_survive_the_wire(void **state)
{
    (void)state;
    struct slice *s = slice_new();
    for (int i = 0; i < 100; i++) {
        struct slice_block *b = slice_add_block(s, "rule", i % 2 ? "odd" : "even", "a.conf", (unsigned)i);
        slice_add_setting(b, "when", SLICE_TEXT, 3)->text = strdup("true");
        slice_add_setting(b, "expires", SLICE_NUMBER, 0)->number = 1000 + i;
        struct slice_setting *to = slice_add_setting(b, "to", SLICE_LIST, 4);
        to->list = calloc(1, sizeof *to->list);
        to->list[0] = strdup("oncall");
        to->count = 1;
    }
    struct msg_out out;
    struct msg_in in;
    struct msg_fields f;
    msg_out_init(&out, 0);
    msg_in_init(&in);
    msg_begin(&out, 1, 1);
    slice_pack(&out, s);
    assert_int_equal(msg_parse(&in, out.buf.data, out.buf.len, &f), 1);
    struct slice *t = slice_unpack(&f);
    assert_non_null(t);
    assert_true(msg_end(&f));
    assert_int_equal(slice_count(t, "rule"), 100);
    const struct slice_block *odd = slice_find(t, "rule", "odd");
    assert_int_equal(slice_number(odd, "expires", 0), 1001);
    assert_string_equal(slice_get(odd, "to")->list[0], "oncall");
    assert_null(slice_get(odd, "nothing"));
    slice_free(&s);
    slice_free(&t);
    msg_in_free(&in);
    msg_out_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_come_back_in_order),   cmocka_unit_test(malformed_bytes_are_refused),
        cmocka_unit_test(random_bytes_never_disagree), cmocka_unit_test(grants_and_results_survive_the_wire),
        cmocka_unit_test(slices_survive_the_wire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
