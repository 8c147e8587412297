/* links: dispatcher_parts expr proto core m */
/* The journal: what is written reads back, rotates within its limit, and survives a torn end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "core/alloc.h"
#include "core/loop.h"
#include "dispatcher/journal.h"
#include "dispatcher/journal_files.h"
#include "dispatcher/journal_line.h"
#include "dispatcher/journal_read.h"
#include "event_fixture.h"

enum { MIB = 1024 * 1024 };

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/journal-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    char command[256];
    snprintf(command, sizeof command, "chmod -R u+rwX %s; rm -rf %s", dir, dir);
    return system(command);
}

static struct slice *slice_of(const char *mode, int64_t size)
{
    struct slice *s = slice_new();
    struct slice_block *b = slice_add_block(s, "dispatcher", "", "a.conf", 1);
    slice_add_setting(b, "journal", SLICE_TEXT, 2)->text = xstrdup(mode);
    slice_add_setting(b, "journal_dir", SLICE_TEXT, 3)->text = xasprintf("%s/j", dir);
    slice_add_setting(b, "journal_size", SLICE_NUMBER, 4)->number = size;
    return s;
}

static struct journal *open_journal(const char *mode, int64_t size)
{
    struct faults faults = {0};
    struct slice *s = slice_of(mode, size);
    struct journal *j = journal_new(s, &faults);
    assert_int_equal(faults.count, 0);
    slice_free(&s);
    return j;
}

static void add(struct journal *j, int number, int64_t received_ms, size_t padding)
{
    struct made_event p;
    char *pad = xcalloc(padding + 1, 1);
    memset(pad, 'x', padding);
    char *frame = xasprintf("{\"channel\":\"thread\",\"type\":\"threadNewMessage\",\"data\":{\"id\":\"m%d\","
                            "\"threadId\":\"t\",\"author\":\"ala\",\"p\":\"%s\"},\"timestamp\":%d}",
                            number, pad, number);
    make_event(&p, frame, received_ms);
    journal_add(j, &p.e, received_ms);
    free_event(&p);
    free(frame);
    free(pad);
}

static struct journal_reader *read_all(int64_t since_ms, int64_t until_ms)
{
    char path[96], why[256] = "";
    struct journal_reader *r = journal_reader_new("main", since_ms, until_ms);
    snprintf(path, sizeof path, "%s/j", dir);
    if (journal_reader_add(r, path, why, sizeof why))
        fail_msg("%s", why);
    return r;
}

static size_t count_events(struct journal_reader *r)
{
    struct event e;
    int64_t at_ms;
    size_t n = 0;
    while (journal_reader_next(r, &e, &at_ms))
        n++;
    return n;
}

static char *newest(void)
{
    char path[96];
    struct journal_files files;
    snprintf(path, sizeof path, "%s/j", dir);
    assert_int_equal(journal_files_list(path, &files), 0);
    assert_true(files.count > 0);
    char *name = xstrdup(files.list[files.count - 1].path);
    journal_files_free(&files);
    return name;
}

/* ---- tests ---- */

static void line_keeps_everything(void **state)
{
    (void)state;
    static const char frame[] =
        "{\"channel\":\"thread\",\"type\":\"threadNewMessage\",\"data\":{\"id\":\"m\",\"threadId\":\"t\","
        "\"contextId\":\"c\",\"author\":\"ala\",\"text\":\"Za\xc5\xbc\\n\\t\\\"\\\\ "
        "\\u0007\xf0\x9f\x90\x88\","
        "\"n\":[0,-1,9007199254740992,1e300,0.1,true,null,{}],\"\":{\"a\":1}},\"timestamp\":17}";
    struct made_event a, b = {0};
    struct buf line;
    const char *why = NULL;
    make_event(&a, frame, 23);
    a.e.recovered = true;
    buf_init(&line, 0);
    assert_int_equal(journal_line_print(&a.e, 0, &line), 0);
    assert_int_equal(line.data[line.len - 1], '\n');
    assert_null(memchr(line.data, '\n', line.len - 1));
    assert_int_equal(journal_line_time(line.data, line.len), 23);
    buf_init(&b.buf, 0);
    msg_in_init(&b.in);
    assert_int_equal(journal_line_parse(line.data, line.len, "other", &b.buf, &why), 0);
    assert_int_equal(event_unpack(&b.in, b.buf.data, b.buf.len, &b.e), 0);
    assert_true(b.e.recovered);
    b.e.recovered = a.e.recovered = false;
    assert_memory_equal(&a.e.key, &b.e.key, sizeof a.e.key);
    assert_true(msg_str_is(b.e.bridge, "main") && msg_str_is(b.e.container, "t") &&
                msg_str_is(b.e.item, "m") && msg_str_is(b.e.author, "ala") && msg_str_is(b.e.context, "c"));
    assert_int_equal(b.e.timestamp_ms, 17);
    assert_int_equal(b.e.received_ms, 23);
    assert_true(msgpack_object_equal(*a.e.data, *b.e.data));
    free_event(&a);
    free_event(&b);
    buf_free(&line);
}

/* Limits count from when the dispatcher got an event, which may have waited for it. */
static void an_event_counts_from_when_it_was_decided(void **state)
{
    (void)state;
    struct made_event a;
    struct buf line;
    int64_t at_ms = 0;
    struct event e;
    make_event(
        &a, "{\"channel\":\"thread\",\"type\":\"threadNewMessage\",\"data\":{\"id\":\"m\"},\"timestamp\":1}",
        23);
    buf_init(&line, 0);
    assert_int_equal(journal_line_print(&a.e, 4000, &line), 0);
    assert_int_equal(journal_line_time(line.data, line.len), 4000);
    char *path = xasprintf("%s/decided.jsonl", dir);
    FILE *f = fopen(path, "we");
    fwrite(line.data, 1, line.len, f);
    fclose(f);
    char why[256];
    struct journal_reader *r = journal_reader_new("main", 4000, 4001);
    assert_int_equal(journal_reader_add(r, path, why, sizeof why), 0);
    assert_true(journal_reader_next(r, &e, &at_ms));
    assert_int_equal(at_ms, 4000);
    assert_int_equal(e.received_ms, 23);
    journal_reader_free(&r);
    unlink(path);
    free(path);
    free_event(&a);
    buf_free(&line);
}

static void what_is_written_reads_back(void **state)
{
    (void)state;
    struct stat st;
    struct event e;
    int64_t at_ms;
    struct journal *j = open_journal("all", 16 * MIB);
    assert_true(journal_wants_all(j));
    for (int i = 0; i < 100; i++)
        add(j, i, 1000 + i, 10);
    journal_free(&j);
    struct journal_reader *r = read_all(1010, 1020);
    for (int i = 10; i < 20; i++) {
        char id[8];
        snprintf(id, sizeof id, "m%d", i);
        assert_true(journal_reader_next(r, &e, &at_ms));
        assert_int_equal(at_ms, 1000 + i);
        assert_true(msg_str_is(e.item, id));
    }
    assert_false(journal_reader_next(r, &e, &at_ms));
    const struct journal_counts *c = journal_reader_counts(r);
    assert_true(c->all && !c->wanted && !c->captured);
    assert_int_equal(c->outside, 90);
    assert_int_equal(c->damaged + c->torn, 0);
    journal_reader_free(&r);
    char *file = newest();
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    *strrchr(file, '/') = '\0';
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    free(file);
}

static void restart_goes_on_in_the_same_file(void **state)
{
    (void)state;
    char path[96];
    struct journal_files files;
    for (int i = 0; i < 3; i++) {
        struct journal *j = open_journal("wanted", 16 * MIB);
        add(j, i, 5, 0);
        journal_free(&j);
    }
    struct journal *j = open_journal("all", 16 * MIB);
    add(j, 3, 5, 0);
    journal_free(&j);
    snprintf(path, sizeof path, "%s/j", dir);
    assert_int_equal(journal_files_list(path, &files), 0);
    assert_int_equal(files.count, 2);
    journal_files_free(&files);
    struct journal_reader *r = read_all(INT64_MIN, INT64_MAX);
    assert_int_equal(count_events(r), 4);
    assert_true(journal_reader_counts(r)->all && journal_reader_counts(r)->wanted);
    journal_reader_free(&r);
}

static void torn_end_is_skipped_and_closed(void **state)
{
    (void)state;
    struct journal *j = open_journal("wanted", 16 * MIB);
    add(j, 1, 5, 0);
    add(j, 2, 6, 0);
    journal_free(&j);
    char *file = newest();
    struct stat st;
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(truncate(file, st.st_size - 20), 0);
    free(file);
    struct journal_reader *r = read_all(INT64_MIN, INT64_MAX);
    assert_int_equal(count_events(r), 1);
    assert_int_equal(journal_reader_counts(r)->torn, 1);
    journal_reader_free(&r);
    j = open_journal("wanted", 16 * MIB);
    add(j, 3, 7, 0);
    journal_free(&j);
    r = read_all(INT64_MIN, INT64_MAX);
    assert_int_equal(count_events(r), 2);
    assert_int_equal(journal_reader_counts(r)->damaged, 1);
    assert_non_null(strstr(journal_reader_counts(r)->first_damage, "line 3"));
    journal_reader_free(&r);
}

static void size_is_bounded_and_the_newest_stays(void **state)
{
    (void)state;
    char path[96];
    struct journal_files files;
    struct event e;
    int64_t at_ms, last = -1, total = 0;
    struct journal *j = open_journal("wanted", MIB);
    for (int i = 0; i < 3000; i++) {
        add(j, i, i, 1000);
        if (i % 20 == 0)
            journal_flush(j);
    }
    journal_free(&j);
    snprintf(path, sizeof path, "%s/j", dir);
    assert_int_equal(journal_files_list(path, &files), 0);
    for (size_t i = 0; i < files.count; i++)
        total += files.list[i].bytes;
    assert_in_range(files.count, 2, 4);
    assert_in_range(total, MIB / 2, MIB + 64 * 1024);
    journal_files_free(&files);
    struct journal_reader *r = read_all(INT64_MIN, INT64_MAX);
    while (journal_reader_next(r, &e, &at_ms)) {
        assert_true(last < 0 || at_ms == last + 1);
        last = at_ms;
    }
    assert_int_equal(last, 2999);
    journal_reader_free(&r);
}

static void failure_is_counted_and_mends(void **state)
{
    (void)state;
    struct journal *j = open_journal("wanted", 16 * MIB);
    char path[96], away[96];
    snprintf(path, sizeof path, "%s/j", dir);
    snprintf(away, sizeof away, "%s/away", dir);
    /* Not even root can make a directory where a file is. */
    assert_int_equal(rename(path, away), 0);
    FILE *obstacle = fopen(path, "w");
    assert_non_null(obstacle);
    fclose(obstacle);
    add(j, 1, 1, 0);
    journal_flush(j);
    cJSON *status = cJSON_CreateObject();
    journal_status(j, status);
    const cJSON *o = cJSON_GetObjectItem(status, "journal");
    assert_int_equal(cJSON_GetObjectItem(o, "lost")->valueint, 1);
    assert_int_equal(cJSON_GetObjectItem(o, "events")->valueint, 0);
    assert_non_null(cJSON_GetObjectItem(o, "trouble"));
    cJSON_Delete(status);
    journal_free(&j);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rename(away, path), 0);
    j = open_journal("wanted", 16 * MIB);
    add(j, 2, 2, 0);
    journal_free(&j);
    struct journal_reader *r = read_all(INT64_MIN, INT64_MAX);
    assert_int_equal(count_events(r), 1);
    journal_reader_free(&r);
}

static void file_taken_away_is_begun_anew(void **state)
{
    (void)state;
    struct journal *j = open_journal("wanted", 16 * MIB);
    add(j, 1, 1, 0);
    journal_flush(j);
    char *file = newest();
    assert_int_equal(unlink(file), 0);
    free(file);
    add(j, 2, 2, 0);
    journal_free(&j);
    struct journal_reader *r = read_all(INT64_MIN, INT64_MAX);
    assert_int_equal(count_events(r), 1);
    journal_reader_free(&r);
}

static void off_writes_nothing(void **state)
{
    (void)state;
    char path[96];
    assert_null(open_journal("off", 16 * MIB));
    snprintf(path, sizeof path, "%s/j", dir);
    assert_int_not_equal(access(path, F_OK), 0);
    journal_add(NULL, NULL, 0);
    journal_flush(NULL);
    assert_false(journal_wants_all(NULL));
}

static void directory_is_made_anew(void **state)
{
    (void)state;
    char command[256];
    struct journal *j = open_journal("wanted", 16 * MIB);
    snprintf(command, sizeof command, "rmdir %s/j", dir);
    assert_int_equal(system(command), 0);
    add(j, 1, 1, 0);
    journal_free(&j);
    struct journal_reader *r = read_all(INT64_MIN, INT64_MAX);
    assert_int_equal(count_events(r), 1);
    journal_reader_free(&r);
    /* With the one it stands in. */
    struct faults faults = {0};
    struct slice *s = slice_of("wanted", 16 * MIB);
    struct slice_setting *d = &s->blocks[0].settings[1];
    free(d->text);
    d->text = xasprintf("%s/a/b", dir);
    j = journal_new(s, &faults);
    assert_non_null(j);
    journal_free(&j);
    slice_free(&s);
    snprintf(command, sizeof command, "%s/a/b", dir);
    assert_int_equal(access(command, W_OK), 0);
}

static void directory_that_cannot_be_is_a_fault(void **state)
{
    (void)state;
    struct faults faults = {0};
    struct slice *s = slice_of("wanted", 16 * MIB);
    char path[96];
    snprintf(path, sizeof path, "%s/j", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
    assert_null(journal_new(s, &faults));
    assert_int_equal(faults.count, 1);
    assert_int_equal(faults.list[0].line, 3);
    faults_free(&faults);
    slice_free(&s);
}

static void sources_are_merged_by_time(void **state)
{
    (void)state;
    static const int times[2][3] = {{10, 30, 50}, {20, 40, 45}};
    char path[96], why[256];
    struct event e;
    int64_t at_ms, last = 0;
    struct journal_reader *r = journal_reader_new("main", INT64_MIN, INT64_MAX);
    for (int f = 0; f < 2; f++) {
        snprintf(path, sizeof path, "%s/%d", dir, f);
        FILE *out = fopen(path, "w");
        assert_non_null(out);
        for (int i = 0; i < 3; i++)
            fprintf(out, "{\"channel\":\"c\",\"type\":\"t\",\"data\":{},\"timestamp\":%d}\n", times[f][i]);
        fclose(out);
        assert_int_equal(journal_reader_add(r, path, why, sizeof why), 0);
    }
    for (int i = 0; i < 6; i++) {
        assert_true(journal_reader_next(r, &e, &at_ms));
        assert_true(at_ms > last);
        last = at_ms;
    }
    assert_false(journal_reader_next(r, &e, &at_ms));
    assert_true(journal_reader_counts(r)->captured);
    assert_int_equal(journal_reader_counts(r)->out_of_order, 0);
    journal_reader_free(&r);
    r = journal_reader_new("main", INT64_MIN, INT64_MAX);
    assert_int_equal(journal_reader_add(r, "/nowhere/x", why, sizeof why), -1);
    assert_non_null(strstr(why, "/nowhere/x"));
    assert_int_equal(journal_reader_add(r, dir, why, sizeof why), -1);
    assert_non_null(strstr(why, "without a journal"));
    journal_reader_free(&r);
}

static void one_key_is_found(void **state)
{
    (void)state;
    struct event e;
    int64_t at_ms;
    char path[96], why[256], line[64] = "";
    struct journal *j = open_journal("wanted", 16 * MIB);
    for (int i = 0; i < 50; i++)
        add(j, i, i, 0);
    journal_free(&j);
    struct journal_reader *all = read_all(INT64_MIN, INT64_MAX);
    for (int i = 0; i < 33; i++)
        assert_true(journal_reader_next(all, &e, &at_ms));
    for (size_t i = 0; i < 4; i++)
        snprintf(line + 2 * i, sizeof line - 2 * i, "%02x", e.key.bytes[i]);
    struct journal_reader *r = journal_reader_new("main", INT64_MIN, INT64_MAX);
    journal_reader_look_for(r, line);
    snprintf(path, sizeof path, "%s/j", dir);
    assert_int_equal(journal_reader_add(r, path, why, sizeof why), 0);
    assert_true(journal_reader_next(r, &e, &at_ms));
    assert_int_equal(at_ms, 32);
    assert_false(journal_reader_next(r, &e, &at_ms));
    journal_reader_free(&r);
    journal_reader_free(&all);
}

static void long_line_is_skipped(void **state)
{
    (void)state;
    char path[96], why[256];
    struct event e;
    int64_t at_ms;
    snprintf(path, sizeof path, "%s/long", dir);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    for (int i = 0; i < 2; i++) {
        for (int k = 0; i == 0 && k < 3 * EVENT_FRAME_MAX / 2; k++)
            fputc('x', out);
        fprintf(out, "\n{\"channel\":\"c\",\"type\":\"t\",\"data\":{},\"timestamp\":%d}\n", i);
    }
    fclose(out);
    struct journal_reader *r = journal_reader_new("main", INT64_MIN, INT64_MAX);
    assert_int_equal(journal_reader_add(r, path, why, sizeof why), 0);
    assert_true(journal_reader_next(r, &e, &at_ms));
    assert_true(journal_reader_next(r, &e, &at_ms));
    assert_false(journal_reader_next(r, &e, &at_ms));
    assert_int_equal(journal_reader_counts(r)->damaged, 1);
    assert_non_null(strstr(journal_reader_counts(r)->first_damage, "line 1: the line is too long"));
    journal_reader_free(&r);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)
    static const struct CMUnitTest tests[] = {
        TEST(line_keeps_everything),
        TEST(an_event_counts_from_when_it_was_decided),
        TEST(what_is_written_reads_back),
        TEST(restart_goes_on_in_the_same_file),
        TEST(torn_end_is_skipped_and_closed),
        TEST(size_is_bounded_and_the_newest_stays),
        TEST(failure_is_counted_and_mends),
        TEST(file_taken_away_is_begun_anew),
        TEST(off_writes_nothing),
        TEST(directory_is_made_anew),
        TEST(directory_that_cannot_be_is_a_fault),
        TEST(sources_are_merged_by_time),
        TEST(one_key_is_found),
        TEST(long_line_is_skipped),
    };
    assert_true(sodium_init() >= 0);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    loop_free();
    return rc;
}
