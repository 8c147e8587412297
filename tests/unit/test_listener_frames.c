/* links: listener_parts proto http core */
/* WebSocket framing without a socket: what is delivered for which bytes, in whatever pieces they come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "listener/frames.h"
#include "listener/upgrade.h"

enum { LIMIT = 600 * 1024 };

/* ---- making server frames ---- */

static void put_frame(struct buf *out, unsigned first, const void *data, size_t len)
{
    unsigned char head[10] = {(unsigned char)first};
    size_t n = 2;
    if (len < 126) {
        head[1] = (unsigned char)len;
    } else if (len <= 0xffff) {
        head[1] = 126;
        head[2] = (unsigned char)(len >> 8);
        head[3] = (unsigned char)len;
        n = 4;
    } else {
        head[1] = 127;
        for (int i = 0; i < 8; i++)
            head[2 + i] = (unsigned char)((uint64_t)len >> (56 - 8 * i));
        n = 10;
    }
    buf_add(out, head, n);
    buf_add(out, data, len);
}

static char *pattern(size_t len)
{
    char *data = xmalloc(len + 1);
    for (size_t i = 0; i < len; i++)
        data[i] = (char)('a' + i % 23);
    return data;
}

/* ---- what was delivered, as text: "T5:hello P0: S700000" ---- */

static void note(struct buf *log, char what, const char *data, size_t len)
{
    buf_addf(log, "%c%zu", what, len);
    if (len <= 20)
        buf_addf(log, ":%.*s", (int)len, data);
    else
        for (size_t i = 0; i < len; i++)
            if (data[i] != (char)('a' + i % 23)) {
                buf_addf(log, "!%zu", i);
                break;
            }
    buf_addc(log, ' ');
}

static void on_message(void *arg, const char *data, size_t len)
{
    note(arg, 'T', data, len);
}

static void on_control(void *arg, enum frames_opcode opcode, const char *data, size_t len)
{
    note(arg, opcode == FRAMES_CLOSE ? 'C' : opcode == FRAMES_PING ? 'P' : 'O', data, len);
}

static void on_skipped(void *arg, uint64_t bytes)
{
    buf_addf(arg, "S%llu ", (unsigned long long)bytes);
}

static const struct frames_ops ops = {on_message, on_control, on_skipped};

/* Feeds BYTES in pieces of at most STEP. */
static int feed(struct frames *f, const struct buf *bytes, size_t step)
{
    for (size_t at = 0; at < bytes->len;) {
        size_t room;
        char *to = frames_space(f, &room);
        assert_true(room >= 4096);
        size_t n = bytes->len - at < step ? bytes->len - at : step;
        n = n < room ? n : room;
        memcpy(to, bytes->data + at, n);
        at += n;
        if (frames_received(f, n))
            return -1;
    }
    return 0;
}

static void expect(const struct buf *bytes, const char *delivered)
{
    static const size_t steps[] = {1, 3, 17, 4096, 65536, 1 << 20};
    for (size_t i = bytes->len > 100000; i < sizeof steps / sizeof steps[0]; i++) {
        struct buf log;
        buf_init(&log, 0);
        struct frames *f = frames_new(LIMIT, &ops, &log);
        assert_int_equal(feed(f, bytes, steps[i]), 0);
        assert_string_equal(buf_cstr(&log), delivered);
        frames_free(&f);
        buf_free(&log);
    }
}

static void whole_messages(void **state)
{
    (void)state;
    static const size_t sizes[] = {125, 126, 127, 65535, 65536, 65537, 262000, 262143, 262144, 300000, LIMIT};
    struct buf bytes, want;
    buf_init(&bytes, 0);
    buf_init(&want, 0);
    put_frame(&bytes, 0x81, "hello", 5);
    put_frame(&bytes, 0x82, "bin", 3);
    put_frame(&bytes, 0x81, "", 0);
    buf_adds(&want, "T5:hello T3:bin T0: ");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *data = pattern(sizes[i]);
        put_frame(&bytes, 0x81, data, sizes[i]);
        buf_addf(&want, "T%zu ", sizes[i]);
        free(data);
    }
    put_frame(&bytes, 0x81, "end", 3);
    buf_adds(&want, "T3:end ");
    expect(&bytes, buf_cstr(&want));
    buf_free(&bytes);
    buf_free(&want);
}

static void fragments_with_control_frames_in_between(void **state)
{
    (void)state;
    struct buf bytes;
    buf_init(&bytes, 0);
    put_frame(&bytes, 0x01, "he", 2);
    put_frame(&bytes, 0x89, "p", 1);
    put_frame(&bytes, 0x00, "", 0);
    put_frame(&bytes, 0x8a, "", 0);
    put_frame(&bytes, 0x00, "ll", 2);
    put_frame(&bytes, 0x80, "o", 1);
    put_frame(&bytes, 0x89, "", 0);
    put_frame(&bytes, 0x81, "next", 4);
    put_frame(&bytes, 0x88, "\x03\xe8", 2);
    expect(&bytes, "P1:p O0: T5:hello P0: T4:next C2:\x03\xe8 ");
    buf_free(&bytes);
}

static void what_is_too_large_is_skipped(void **state)
{
    (void)state;
    struct buf bytes;
    buf_init(&bytes, 64 * 1024 * 1024);
    char *data = pattern(LIMIT + 1);
    put_frame(&bytes, 0x81, "a", 1);
    put_frame(&bytes, 0x81, data, LIMIT + 1);
    put_frame(&bytes, 0x89, "p", 1);
    put_frame(&bytes, 0x81, "b", 1);
    put_frame(&bytes, 0x01, data, LIMIT);
    put_frame(&bytes, 0x00, data, 10);
    put_frame(&bytes, 0x89, "q", 1);
    put_frame(&bytes, 0x80, data, 10);
    put_frame(&bytes, 0x81, "c", 1);
    char want[200];
    snprintf(want, sizeof want, "T1:a S%d P1:p T1:b P1:q S%d T1:c ", LIMIT + 1, LIMIT + 20);
    expect(&bytes, want);
    free(data);
    buf_free(&bytes);
}

static void faults(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {
        {"\x81\x81\x01\x02\x03\x04x", 7},                    /* masked */
        {"\xc1\x01x", 3},                                    /* reserved bit */
        {"\x83\x01x", 3},                                    /* unknown data opcode */
        {"\x8b\x01x", 3},                                    /* unknown control opcode */
        {"\x80\x01x", 3},                                    /* continuation of nothing */
        {"\x01\x01x\x81\x01y", 6},                           /* new message inside one */
        {"\x09\x01x", 3},                                    /* fragmented ping */
        {"\x89\x7e\x00\x80", 4},                             /* long ping */
        {"\x81\x7e\x00\x01x", 5},                            /* length not in its shortest form */
        {"\x81\x7f\x00\x00\x00\x00\x00\x00\x00\x01x", 11},   /* likewise */
        {"\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00xxxx", 14} /* a length that no frame has */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (size_t step = 1; step < 30; step += 14) {
            struct buf log, bytes;
            buf_init(&log, 0);
            buf_init(&bytes, 0);
            buf_add(&bytes, cases[i].bytes, cases[i].len);
            /* Enough behind it that nobody waits for the rest of a long ping. */
            for (int n = 0; n < 40; n++)
                put_frame(&bytes, 0x81, "after", 5);
            struct frames *f = frames_new(LIMIT, &ops, &log);
            if (feed(f, &bytes, step) == 0)
                fail_msg("case %zu is taken for good", i);
            assert_non_null(frames_fault(f));
            assert_null(strstr(buf_cstr(&log), "after"));
            frames_free(&f);
            buf_free(&log);
            buf_free(&bytes);
        }
}

struct stopper {
    struct frames *frames;
    int seen;
};

static void stop_at_two(void *arg, const char *data, size_t len)
{
    (void)data;
    (void)len;
    struct stopper *s = arg;
    if (++s->seen == 2)
        frames_stop(s->frames);
}

static void stopping_inside_a_callback(void **state)
{
    (void)state;
    static const struct frames_ops stop_ops = {stop_at_two, on_control, on_skipped};
    struct stopper s = {0};
    struct buf bytes;
    buf_init(&bytes, 0);
    for (int i = 0; i < 5; i++)
        put_frame(&bytes, 0x81, "x", 1);
    s.frames = frames_new(LIMIT, &stop_ops, &s);
    assert_int_equal(feed(s.frames, &bytes, 1000), 0);
    assert_int_equal(s.seen, 2);
    frames_free(&s.frames);
    buf_free(&bytes);
}

static void what_is_written_is_masked(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 5, 125, 126, 70000};
    struct buf out, log;
    buf_init(&out, 0);
    buf_init(&log, 0);
    struct frames *f = frames_new(LIMIT, &ops, &log);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t len = sizes[i], head = len < 126 ? 2 : len <= 0xffff ? 4 : 10;
        char *data = pattern(len);
        buf_reset(&out);
        assert_int_equal(frames_write(f, &out, FRAMES_TEXT, data, len), 0);
        const unsigned char *p = (const unsigned char *)out.data;
        assert_int_equal(out.len, head + 4 + len);
        assert_int_equal(p[0], 0x81);
        assert_int_equal(p[1] & 0x80, 0x80);
        for (size_t n = 0; n < len; n++)
            assert_int_equal((p[head + 4 + n] ^ p[head + n % 4]) & 0xff, data[n]);
        free(data);
    }
    out.limit = out.len + 3;
    assert_int_equal(frames_write(f, &out, FRAMES_TEXT, "more", 4), -1);
    frames_free(&f);
    buf_free(&out);
    buf_free(&log);
}

/* ---- the upgrade ---- */

static void upgrades(void **state)
{
    (void)state;
    static const char good[] =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    static const char accept[] = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    static const struct {
        const char *head, *more;
        enum upgrade_result result;
    } cases[] = {
        {good, "", UPGRADE_DONE},
        {"HTTP/1.1 101 X\r\nupgrade: WebSocket\r\nconnection: keep-alive, Upgrade\r\n", "", UPGRADE_DONE},
        {"HTTP/1.1 101 X\r\nConnection: Upgrade\r\n", "", UPGRADE_FAULT},
        {"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n", "", UPGRADE_FAULT},
        {good, "Sec-WebSocket-Extensions: permessage-deflate\r\n", UPGRADE_FAULT},
        {"HTTP/1.1 404 Not Found\r\n", "", UPGRADE_REFUSED},
        {"HTTP/1.1 302 Found\r\nLocation: https://elsewhere/\r\n", "", UPGRADE_REFUSED},
        {"HTTP/1.1 1x1 Odd\r\n", "", UPGRADE_FAULT},
        {"HTTP/1.1\r\n", "", UPGRADE_FAULT},
        {"SSH-2.0-OpenSSH\r\n", "", UPGRADE_FAULT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (size_t step = 1; step < 600; step += 299) {
            struct upgrade u;
            upgrade_init(&u, "wss://bridge.example.com:8443/x/api?q=1");
            assert_string_equal(u.http_url, "https://bridge.example.com:8443/x/api?q=1");
            assert_string_equal(u.host, "bridge.example.com:8443");
            assert_string_equal(u.target, "/x/api?q=1");
            /* The example of RFC 6455 section 1.3. */
            snprintf(u.key, sizeof u.key, "dGhlIHNhbXBsZSBub25jZQ==");
            char *text = xasprintf("%s%s%s\r\nrest", cases[i].head, accept, cases[i].more);
            enum upgrade_result r = UPGRADE_MORE;
            size_t used = 0, at = 0, len = strlen(text);
            while (r == UPGRADE_MORE && at < len) {
                size_t n = len - at < step ? len - at : step;
                r = upgrade_received(&u, text + at, n, &used);
                at += used;
            }
            assert_int_equal(r, cases[i].result);
            if (r == UPGRADE_DONE)
                assert_int_equal(at, len - 4);
            free(text);
            upgrade_free(&u);
        }
}

static void an_answer_to_another_request_is_refused(void **state)
{
    (void)state;
    static const char text[] = "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                               "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    struct upgrade u;
    struct buf out;
    size_t used;
    buf_init(&out, 0);
    upgrade_init(&u, "ws://h/api");
    upgrade_request(&u, &out);
    assert_non_null(strstr(buf_cstr(&out), "GET /api HTTP/1.1\r\nHost: h\r\n"));
    assert_int_equal(upgrade_received(&u, text, sizeof text - 1, &used), UPGRADE_FAULT);
    upgrade_free(&u);
    buf_free(&out);
}

static void an_endless_head_is_given_up(void **state)
{
    (void)state;
    struct upgrade u;
    size_t used, given = 0;
    enum upgrade_result r = UPGRADE_MORE;
    upgrade_init(&u, "ws://h/api");
    r = upgrade_received(&u, "HTTP/1.1 101 X\r\n", 16, &used);
    for (; r == UPGRADE_MORE && given < 1000000; given += 10)
        r = upgrade_received(&u, "X: yyyyyyy", 10, &used);
    assert_int_equal(r, UPGRADE_FAULT);
    upgrade_free(&u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_messages),
        cmocka_unit_test(fragments_with_control_frames_in_between),
        cmocka_unit_test(what_is_too_large_is_skipped),
        cmocka_unit_test(faults),
        cmocka_unit_test(stopping_inside_a_callback),
        cmocka_unit_test(what_is_written_is_masked),
        cmocka_unit_test(upgrades),
        cmocka_unit_test(an_answer_to_another_request_is_refused),
        cmocka_unit_test(an_endless_head_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
