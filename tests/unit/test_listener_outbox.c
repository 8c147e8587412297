/* links: listener_parts proto http core */
/* Outbox and spill file: nothing leaves before it is acknowledged, everything is bounded, damage is noticed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/log.h"
#include "listener/outbox.h"
#include "proto/wire.h"

/* ---- the other side ---- */

struct other {
    bool open;
    uint64_t last_seq;
    int64_t last_mark;
    unsigned messages, events;
    uint64_t given_up;
    int64_t oldest_ms;
    char words[65536]; /* the events in order, each a short word */
};

static int on_send(void *arg, const struct msg_out *m)
{
    struct other *o = arg;
    if (!o->open)
        return -1;
    struct msg_in in;
    struct msg_fields f;
    msg_in_init(&in);
    assert_int_equal(msg_parse(&in, m->buf.data, m->buf.len, &f), WIRE_EVENTS);
    uint64_t seq = msg_get_uint(&f);
    if (o->last_seq)
        assert_int_equal(seq, o->last_seq + 1);
    o->last_seq = seq;
    o->last_mark = msg_get_int(&f);
    struct msg_fields list = msg_get_array(&f);
    assert_true(msg_end(&f));
    o->messages++;
    while (list.left) {
        struct msg_str word = msg_get_bin(&list);
        assert_non_null(word.data);
        o->events++;
        size_t len = strlen(o->words);
        if (len + 20 < sizeof o->words)
            snprintf(o->words + len, sizeof o->words - len, "%.*s ", word.len < 18 ? (int)word.len : 18,
                     word.data);
    }
    msg_in_free(&in);
    return 0;
}

static void on_given_up(void *arg, uint64_t count, int64_t oldest_ms)
{
    struct other *o = arg;
    if (o->given_up == 0 || oldest_ms < o->oldest_ms)
        o->oldest_ms = oldest_ms;
    o->given_up += count;
}

static const struct outbox_ops ops = {on_send, on_given_up};

static void connect_other(struct other *o, struct outbox *b)
{
    o->open = true;
    o->last_seq = 0;
    o->words[0] = '\0';
    o->messages = o->events = 0;
    outbox_up(b);
}

static void disconnect_other(struct other *o, struct outbox *b)
{
    o->open = false;
    outbox_down(b);
}

static void add(struct outbox *b, const char *word, int64_t timestamp_ms)
{
    outbox_add(b, word, strlen(word), timestamp_ms);
}

/* ---- the outbox alone ---- */

static void kept_until_acknowledged(void **state)
{
    (void)state;
    struct other o = {0};
    struct outbox *b = outbox_new(1 << 20, NULL, &ops, &o);
    add(b, "a", 1);
    outbox_flush(b, 100, false);
    connect_other(&o, b);
    assert_string_equal(o.words, "a ");
    assert_int_equal(o.last_mark, 100);
    add(b, "b", 2);
    add(b, "c", 2);
    outbox_flush(b, 200, false);
    assert_string_equal(o.words, "a b c ");
    assert_int_equal(o.messages, 2);
    outbox_acked(b, 1);
    disconnect_other(&o, b);
    add(b, "d", 3);
    outbox_flush(b, 300, false);
    connect_other(&o, b);
    assert_string_equal(o.words, "b c d ");
    assert_int_equal(o.last_seq, 3);
    outbox_acked(b, 3);
    assert_true(outbox_empty(b));
    assert_int_equal(outbox_events(b), 0);
    assert_int_equal(outbox_bytes(b), 0);
    outbox_free(&b);
}

static void a_mark_alone_and_marks_forgotten(void **state)
{
    (void)state;
    struct other o = {0};
    struct outbox *b = outbox_new(1 << 20, NULL, &ops, &o);
    connect_other(&o, b);
    outbox_flush(b, 100, false);
    assert_int_equal(o.messages, 0);
    outbox_flush(b, -1, true);
    assert_int_equal(o.messages, 0);
    outbox_flush(b, 100, true);
    assert_int_equal(o.messages, 1);
    assert_int_equal(o.last_mark, 100);
    disconnect_other(&o, b);
    add(b, "a", 1);
    outbox_flush(b, 200, false);
    outbox_forget_marks(b);
    connect_other(&o, b);
    assert_int_equal(o.last_mark, -1);
    outbox_free(&b);
}

static void the_window_bounds_what_is_under_way(void **state)
{
    (void)state;
    struct other o = {0};
    struct outbox *b = outbox_new(1 << 20, NULL, &ops, &o);
    connect_other(&o, b);
    for (int i = 0; i < 1000; i++) {
        add(b, "x", 1);
        outbox_flush(b, i, false);
    }
    unsigned first = o.messages;
    assert_true(first > 10 && first < 1000);
    outbox_acked(b, 10);
    assert_int_equal(o.messages, first + 10);
    while (!outbox_empty(b))
        outbox_acked(b, o.last_seq);
    assert_int_equal(o.events, 1000);
    outbox_free(&b);
}

static void beyond_the_bound_the_oldest_go(void **state)
{
    (void)state;
    struct other o = {0};
    char word[1000];
    memset(word, 'w', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    struct outbox *b = outbox_new(100 * 1000, NULL, &ops, &o);
    for (int i = 0; i < 1000; i++) {
        snprintf(word, 10, "%05d", i);
        word[5] = '-';
        outbox_add(b, word, sizeof word - 1, 5000 + i);
        outbox_flush(b, 1, false);
        assert_true(outbox_bytes(b) <= 100 * 1000);
    }
    assert_int_equal(o.oldest_ms, 5000);
    assert_true(o.given_up > 800 && o.given_up < 1000);
    connect_other(&o, b);
    assert_int_equal(o.given_up + o.events, 1000);
    outbox_free(&b);
}

/* While the link is up the numbers must stay an unbroken row, also when events are given up. */
static void giving_up_leaves_no_hole_in_the_numbers(void **state)
{
    (void)state;
    struct other o = {0};
    static char word[20000];
    memset(word, 'w', sizeof word);
    struct outbox *b = outbox_new(100 * 1000, NULL, &ops, &o);
    connect_other(&o, b);
    unsigned acked = 0;
    for (int i = 0; i < 2000; i++) {
        outbox_add(b, word, sizeof word, i);
        outbox_flush(b, 1, false);
        if (i % 7 == 0)
            outbox_acked(b, acked += 3);
    }
    while (!outbox_empty(b))
        outbox_acked(b, o.last_seq);
    assert_true(o.given_up > 0);
    assert_int_equal(o.given_up + o.events, 2000);
    outbox_free(&b);
}

/* ---- with a spill file ---- */

static char directory[64];

static void empty_directory(void)
{
    DIR *d = opendir(directory);
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.') {
            char *path = xasprintf("%s/%s", directory, e->d_name);
            unlink(path);
            free(path);
        }
    if (d)
        closedir(d);
}

static unsigned files(char *last, size_t size)
{
    unsigned count = 0;
    DIR *d = opendir(directory);
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.') {
            count++;
            if (last)
                snprintf(last, size, "%s/%s", directory, e->d_name);
        }
    if (d)
        closedir(d);
    return count;
}

static int setup(void **state)
{
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/bridgebell-spill-XXXXXX");
    return mkdtemp(directory) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    empty_directory();
    return rmdir(directory);
}

static void fill(struct outbox *b, int from, int to)
{
    char word[100];
    for (int i = from; i < to; i++) {
        snprintf(word, sizeof word, "%05d", i);
        add(b, word, 1000 + i);
        if (i % 5 == 4)
            outbox_flush(b, 10 * i, false);
    }
    outbox_flush(b, 10 * to, false);
}

static void expect_row(const char *words, int from, int to)
{
    char *want = xmalloc((size_t)(to - from) * 7 + 1), *at = want;
    *want = '\0';
    for (int i = from; i < to; i++)
        at += sprintf(at, "%05d ", i);
    assert_string_equal(words, want);
    free(want);
}

static void more_than_memory_comes_back_in_order(void **state)
{
    (void)state;
    struct other o = {0};
    struct spill *s = spill_open(directory, "main", 1 << 20);
    struct outbox *b = outbox_new(4000, s, &ops, &o);
    fill(b, 0, 3000);
    assert_true(outbox_bytes(b) <= 4000);
    assert_int_equal(o.given_up, 0);
    assert_int_equal(outbox_events(b), 3000);
    assert_true(files(NULL, 0) > 0);
    connect_other(&o, b);
    while (!outbox_empty(b)) {
        /* While events wait on disk no batch may carry a mark. */
        if (!spill_empty(s))
            assert_true(o.last_mark < 10 * 200);
        outbox_acked(b, o.last_seq);
    }
    assert_int_equal(o.events, 3000);
    expect_row(o.words, 0, 3000);
    assert_int_equal(files(NULL, 0), 0);
    outbox_free(&b);
    spill_close(&s);
}

static void what_was_not_acknowledged_is_there_after_an_end(void **state)
{
    (void)state;
    struct other o = {0};
    struct spill *s = spill_open(directory, "main", 1 << 20);
    struct outbox *b = outbox_new(4000, s, &ops, &o);
    fill(b, 0, 500);
    connect_other(&o, b);
    unsigned sent = o.events;
    assert_true(sent > 0);
    outbox_acked(b, 1);
    /* A sudden end: memory is gone, what was on disk and taken into memory is not. */
    outbox_free(&b);
    spill_close(&s);
    s = spill_open(directory, "main", 1 << 20);
    b = outbox_new(1 << 20, s, &ops, &o);
    connect_other(&o, b);
    assert_true(o.events >= 350);
    assert_non_null(strstr(o.words, "00499 "));
    outbox_free(&b);
    spill_close(&s);
}

static void parked_events_go_out_at_the_next_start(void **state)
{
    (void)state;
    struct other o = {0};
    struct spill *s = spill_open(directory, "main", 1 << 20);
    struct outbox *b = outbox_new(1 << 20, s, &ops, &o);
    fill(b, 0, 12);
    add(b, "open", 1);
    outbox_park(b);
    outbox_free(&b);
    spill_close(&s);
    assert_int_equal(files(NULL, 0), 1);
    s = spill_open(directory, "main", 1 << 20);
    b = outbox_new(1 << 20, s, &ops, &o);
    connect_other(&o, b);
    assert_int_equal(o.events, 13);
    outbox_acked(b, o.last_seq);
    assert_int_equal(files(NULL, 0), 0);
    outbox_free(&b);
    spill_close(&s);
}

static void a_full_chain_gives_up_its_oldest_file(void **state)
{
    (void)state;
    struct other o = {0};
    struct spill *s = spill_open(directory, "main", 600 * 1024);
    struct outbox *b = outbox_new(4000, s, &ops, &o);
    char word[5000];
    memset(word, 'w', sizeof word);
    for (int i = 0; i < 400; i++) {
        outbox_add(b, word, sizeof word, 1000 + i);
        outbox_flush(b, 1, false);
        assert_true(spill_bytes(s) <= 600 * 1024);
    }
    assert_true(o.given_up > 200 && o.given_up < 390);
    assert_true(o.oldest_ms >= 1000 && o.oldest_ms < 1010);
    connect_other(&o, b);
    while (!outbox_empty(b))
        outbox_acked(b, o.last_seq);
    assert_int_equal(o.events + o.given_up, 400);
    outbox_free(&b);
    spill_close(&s);
}

static struct spill_batch batch_of(const char *text, uint32_t count)
{
    struct spill_batch batch = {.count = count, .oldest_ms = 5};
    buf_init(&batch.events, 0);
    buf_adds(&batch.events, text);
    return batch;
}

/* Three records; the file is cut, or one byte of it changed, at every place: what is read is always a prefix
 * of what was written. */
static void damage_costs_what_is_behind_it_only(void **state)
{
    (void)state;
    static const char *const texts[] = {"first record", "second record", "third"};
    for (int mode = 0; mode < 2; mode++)
        for (int at = 0;; at++) {
            struct spill *s = spill_open(directory, "main", 1 << 20);
            uint64_t given_up, lost = 0;
            int64_t oldest_ms;
            for (int i = 0; i < 3; i++) {
                struct spill_batch batch = batch_of(texts[i], 1);
                assert_int_equal(spill_add(s, &batch, &given_up, &oldest_ms), 0);
                buf_free(&batch.events);
            }
            spill_close(&s);
            char path[400];
            assert_int_equal(files(path, sizeof path), 1);
            struct stat st;
            assert_int_equal(stat(path, &st), 0);
            assert_int_equal(st.st_mode & 0777, 0600);
            if (at >= st.st_size) {
                empty_directory();
                break;
            }
            if (mode == 0) {
                assert_int_equal(truncate(path, at), 0);
            } else {
                int fd = open(path, O_RDWR);
                char c;
                assert_int_equal(pread(fd, &c, 1, at), 1);
                c ^= 0x10;
                assert_int_equal(pwrite(fd, &c, 1, at), 1);
                close(fd);
            }
            s = spill_open(directory, "main", 1 << 20);
            int n = 0;
            for (;; n++) {
                struct spill_batch batch = {0};
                buf_init(&batch.events, 0);
                int got = spill_take(s, &batch, &lost);
                if (got)
                    assert_string_equal(buf_cstr(&batch.events), texts[n]);
                buf_free(&batch.events);
                if (!got)
                    break;
            }
            assert_true(n < 3);
            spill_release(s);
            spill_close(&s);
            assert_int_equal(files(NULL, 0), 0);
        }
}

static void files_in_use_or_of_others_are_let_alone(void **state)
{
    (void)state;
    uint64_t given_up;
    int64_t oldest_ms;
    struct spill_batch batch = batch_of("mine", 1);
    struct spill *s = spill_open(directory, "main", 1 << 20);
    assert_int_equal(spill_add(s, &batch, &given_up, &oldest_ms), 0);
    struct spill *same = spill_open(directory, "main", 1 << 20);
    struct spill *other = spill_open(directory, "mai", 1 << 20);
    assert_true(spill_empty(same));
    assert_true(spill_empty(other));
    spill_close(&s);
    spill_adopt(same);
    spill_adopt(other);
    assert_false(spill_empty(same));
    assert_true(spill_empty(other));
    spill_close(&same);
    spill_close(&other);
    buf_free(&batch.events);
}

static void a_directory_that_is_not_there(void **state)
{
    (void)state;
    uint64_t given_up;
    int64_t oldest_ms;
    struct spill_batch batch = batch_of("x", 1);
    struct spill *s = spill_open("/nonexistent/place", "main", 1 << 20);
    assert_int_equal(spill_add(s, &batch, &given_up, &oldest_ms), -1);
    assert_true(spill_empty(s));
    spill_close(&s);
    buf_free(&batch.events);
}

int main(void)
{
    log_configure(LOG_LOGFMT, LOG_LEVELS);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_until_acknowledged),
        cmocka_unit_test(a_mark_alone_and_marks_forgotten),
        cmocka_unit_test(the_window_bounds_what_is_under_way),
        cmocka_unit_test(beyond_the_bound_the_oldest_go),
        cmocka_unit_test(giving_up_leaves_no_hole_in_the_numbers),
        cmocka_unit_test_setup_teardown(more_than_memory_comes_back_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_not_acknowledged_is_there_after_an_end, setup, teardown),
        cmocka_unit_test_setup_teardown(parked_events_go_out_at_the_next_start, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_chain_gives_up_its_oldest_file, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_costs_what_is_behind_it_only, setup, teardown),
        cmocka_unit_test_setup_teardown(files_in_use_or_of_others_are_let_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_directory_that_is_not_there, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
