/* links: dispatcher_parts expr proto core m */
/* The directory: what a file may hold, what is wrong with it and where, reading again, both kinds of file. */
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
#include <sqlite3.h>

#include "core/alloc.h"
#include "core/log.h"
#include "dispatcher/directory.h"

struct fixture {
    char dir[64], path[96], kept[96];
    struct slice *slice;
    struct faults faults;
    struct directory *d;
};

static void add_list(struct slice_block *b, const char *name, const char *word)
{
    struct slice_setting *s = slice_add_setting(b, name, SLICE_LIST, 7);
    s->list = xcalloc(1, sizeof *s->list);
    s->list[s->count++] = xstrdup(word);
}

static void put(struct fixture *f, const char *text, size_t len)
{
    char *fresh = xasprintf("%s.new", f->path);
    FILE *out = fopen(fresh, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(text, 1, len, out), len);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(rename(fresh, f->path), 0);
    free(fresh);
}

static void begin(struct fixture *f, const char *country, const char *allowed)
{
    memset(f, 0, sizeof *f);
    strcpy(f->dir, "/tmp/bridgebell-directory-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/people", f->dir);
    f->slice = slice_new();
    struct slice_block *b = slice_add_block(f->slice, "directory", "", "a.conf", 1);
    slice_add_setting(b, "file", SLICE_TEXT, 2)->text = xstrdup(f->path);
    b = slice_add_block(f->slice, "numbers", "", "a.conf", 3);
    if (country)
        slice_add_setting(b, "default_country", SLICE_TEXT, 4)->text = xstrdup(country);
    if (allowed)
        add_list(b, "allowed", allowed);
}

static void end(struct fixture *f)
{
    directory_free(&f->d);
    faults_free(&f->faults);
    slice_free(&f->slice);
    static const char *const beside[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof beside / sizeof beside[0]; i++) {
        char *path = xasprintf("%s%s", f->path, beside[i]);
        unlink(path);
        free(path);
    }
    unlink(f->kept);
    assert_int_equal(rmdir(f->dir), 0);
}

/* As the status says. */
static size_t count_people(const struct directory *d)
{
    cJSON *status = cJSON_CreateObject();
    directory_status(d, status);
    const cJSON *people = cJSON_GetObjectItem(cJSON_GetObjectItem(status, "directory"), "people");
    size_t count = people ? (size_t)people->valuedouble : 0;
    cJSON_Delete(status);
    return count;
}

static const struct person *find(struct fixture *f, const char *user)
{
    return directory_find(f->d, user, strlen(user));
}

static void load(struct fixture *f, const char *text)
{
    put(f, text, strlen(text));
    f->d = directory_new(f->slice, &f->faults);
    for (size_t i = 0; i < f->faults.count; i++)
        print_message("%u: %s\n", f->faults.list[i].line, f->faults.list[i].text);
    assert_int_equal(f->faults.count, 0);
    assert_non_null(f->d);
}

static void collect(void *arg, const struct person *p)
{
    strcat(strcat(arg, p->user), " ");
}

static void a_file_may_be_written_in_many_ways(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, "+48", NULL);
    load(&f, "\xef\xbb\xbfTags,zone , number,user_id,language\r\n"
             "\"oncall; night oncall\",Europe/Warsaw,500 500 500,alice,pl\r\n"
             "\r\n"
             ",,\"+49 (151) 234-56.78\",\"O'Brien, \"\"Bob\"\"\",\r\n"
             "oncall,,,nobody,en\n"
             ",,0049151234567,zoë,de-AT");
    assert_int_equal(count_people(f.d), 4);
    const struct person *p = find(&f, "alice");
    assert_string_equal(p->number, "+48500500500");
    assert_string_equal(p->zone, "Europe/Warsaw");
    assert_string_equal(p->lang, "pl");
    assert_string_equal(p->tags[0], "oncall");
    assert_string_equal(p->tags[1], "night");
    assert_null(p->tags[2]);
    p = find(&f, "O'Brien, \"Bob\"");
    assert_string_equal(p->number, "+491512345678");
    assert_null(p->lang);
    assert_null(p->zone);
    assert_null(p->tags[0]);
    assert_null(find(&f, "nobody")->number);
    assert_string_equal(find(&f, "zoë")->number, "+49151234567");
    assert_null(find(&f, "Alice"));
    assert_null(find(&f, ""));
    assert_null(directory_find(f.d, "alice\0x", 7));
    assert_ptr_equal(directory_find_number(f.d, "+48500500500"), find(&f, "alice"));
    assert_null(directory_find_number(f.d, "+48500500501"));
    char all[64] = "";
    directory_tagged(f.d, "oncall", 6, collect, all);
    assert_string_equal(all, "alice nobody ");
    directory_tagged(f.d, "pl", 2, collect, all); /* a language is no tag */
    directory_tagged(f.d, "day", 3, collect, all);
    assert_string_equal(all, "alice nobody ");
    end(&f);
}

static void every_bad_row_is_named_with_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned line;
        const char *says;
    } cases[] = {
        {"", 1, "empty"},
        {"\n\n", 1, "empty"},
        {"user_id,nubmer\na,+48500500500\n", 1, "did you mean \"number\""},
        {"user_id\na\n", 1, "must name user_id and number"},
        {"user_id,number,number\na,+48500500500,1\n", 1, "twice"},
        {"user_id,number,language,zone,tags,tags\n", 1, "more columns"},
        {"user_id,number\na,+48500500500,pl\n", 2, "3 fields"},
        {"user_id,number\na\n", 2, "1 fields"},
        {"user_id,number\n,+48500500500\n", 2, "user id is missing"},
        {"user_id,number\na,+48500500500\n\n\"b\n\",+48500500501\nc,+48500500502\n", 4, "line break"},
        {"user_id,number\na,500500500\n", 2, "`default_country`"},
        {"user_id;number\na;+48500500500\n", 1, "expected commas"},
        {"user_id\tnumber\na\t+48500500500\n", 1, "expected commas"},
        {"user_id,number\na,call me\n", 2, "not a phone number"},
        {"user_id,number\na,+48\n", 2, "8 to 15 digits"},
        {"user_id,number\na,+48500500500\nb,\na,+48500500501\n", 4, "earlier row"},
        {"user_id,number,language\na,,p\n", 2, "expected a language"},
        {"user_id,number,zone\na,,Europe/Cracow\n", 2, "no such time zone"},
        {"user_id,number\n\xff\xfe,+48500500500\n", 2, "UTF-8"},
        {"user_id,number\na,+4850\"0500500\n", 2, "a quote where none can be"},
        {"user_id,number\n\"a\"b,+48500500500\n", 2, "a quote where none can be"},
        {"user_id,number\nb,\n\"a,+48500500500\nc,\n", 3, "not closed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture f;
        begin(&f, NULL, NULL);
        put(&f, cases[i].text, strlen(cases[i].text));
        f.d = directory_new(f.slice, &f.faults);
        if (f.faults.count != 1 || f.faults.list[0].line != cases[i].line ||
            !strstr(f.faults.list[0].text, cases[i].says))
            fail_msg("case %zu: %zu faults, line %u: %s", i, f.faults.count,
                     f.faults.count ? f.faults.list[0].line : 0, f.faults.count ? f.faults.list[0].text : "");
        assert_string_equal(f.faults.list[0].file, f.path);
        end(&f);
    }
}

static void numbers_are_masked_and_must_have_an_allowed_prefix(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, "+48", "+48");
    const char *text = "user_id,number\na,+49500500500\nb,500500501\nc,+48 495007777 or so\n";
    put(&f, text, strlen(text));
    f.d = directory_new(f.slice, &f.faults);
    assert_int_equal(f.faults.count, 2);
    assert_non_null(strstr(f.faults.list[0].text, "allowed"));
    for (size_t i = 0; i < f.faults.count; i++)
        assert_null(strstr(f.faults.list[i].text, "49500"));
    end(&f);
}

static void many_faults_are_counted(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, NULL, NULL);
    struct buf text;
    buf_init(&text, 0);
    buf_adds(&text, "user_id,number\n");
    for (int i = 0; i < 100; i++)
        buf_addf(&text, "u%d,nothing\n", i);
    put(&f, text.data, text.len);
    f.d = directory_new(f.slice, &f.faults);
    assert_int_equal(f.faults.count, DIRECTORY_FAULTS_MAX + 1);
    assert_int_equal(f.faults.list[0].line, 2);
    assert_string_equal(f.faults.list[DIRECTORY_FAULTS_MAX].text, "and 76 more");
    buf_free(&text);
    end(&f);
}

static void what_is_too_long_or_no_file_is_refused(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, NULL, NULL);
    struct buf text;
    buf_init(&text, 0);
    buf_adds(&text, "user_id,number\n\"");
    for (int i = 0; i < 100000; i++)
        buf_addc(&text, 'a');
    put(&f, text.data, text.len);
    f.d = directory_new(f.slice, &f.faults);
    assert_int_equal(f.faults.count, 1);
    assert_non_null(strstr(f.faults.list[0].text, "1 KiB"));
    directory_free(&f.d);
    faults_free(&f.faults);
    buf_free(&text);
    unlink(f.path);
    f.d = directory_new(f.slice, &f.faults);
    assert_int_equal(f.faults.count, 1);
    assert_non_null(strstr(f.faults.list[0].text, "No such file"));
    directory_free(&f.d);
    faults_free(&f.faults);
    assert_int_equal(mkfifo(f.path, 0600), 0);
    f.d = directory_new(f.slice, &f.faults);
    assert_int_equal(f.faults.count, 1);
    assert_string_equal(f.faults.list[0].text, "not a file");
    end(&f);
}

/* Rows of 64 bytes. */
static size_t put_rows(struct fixture *f, size_t bytes)
{
    static const char head[] = "user_id,number\n";
    size_t rows = bytes / 64;
    FILE *out = fopen(f->path, "wb");
    assert_non_null(out);
    fputs(head, out);
    for (size_t i = 0; i < rows; i++)
        fprintf(out, "%050zu,+48%09zu\n", i, 500000000 + i);
    assert_int_equal(fclose(out), 0);
    return rows;
}

static void large_files_are_read_whole_or_refused(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, NULL, NULL);
    size_t rows = put_rows(&f, 40 * 1024 * 1024);
    f.d = directory_new(f.slice, &f.faults);
    assert_int_equal(f.faults.count, 0);
    assert_int_equal(count_people(f.d), rows);
    directory_free(&f.d);
    put_rows(&f, DIRECTORY_BYTES_MAX + 64);
    f.d = directory_new(f.slice, &f.faults);
    assert_int_equal(f.faults.count, 1);
    assert_string_equal(f.faults.list[0].text, "larger than 64 MiB");
    assert_int_equal(count_people(f.d), 0);
    end(&f);
}

/* Twice: the file must have stood still in between. */
static bool refresh(struct fixture *f)
{
    bool first = directory_refresh(f->d);
    return directory_refresh(f->d) || first;
}

static const char *trouble(struct fixture *f, char *out, size_t size)
{
    cJSON *status = cJSON_CreateObject();
    directory_status(f->d, status);
    const cJSON *d = cJSON_GetObjectItem(status, "directory");
    const cJSON *t = cJSON_GetObjectItem(d, "trouble");
    snprintf(out, size, "%s", cJSON_IsString(t) ? t->valuestring : "");
    cJSON_Delete(status);
    return out;
}

static void a_changed_file_is_read_again_and_a_bad_one_changes_nothing(void **state)
{
    (void)state;
    struct fixture f;
    char said[200];
    begin(&f, NULL, NULL);
    load(&f, "user_id,number\na,+48500500500\n");
    assert_false(refresh(&f));
    put(&f, "user_id,number\na,+48500500501\n", strlen("user_id,number\na,+48500500501\n"));
    assert_false(directory_refresh(f.d)); /* it may still be written */
    assert_string_equal(find(&f, "a")->number, "+48500500500");
    assert_true(directory_refresh(f.d));
    assert_string_equal(find(&f, "a")->number, "+48500500501");
    assert_string_equal(trouble(&f, said, sizeof said), "");
    put(&f, "user_id,number\nb,+48500500502\nc,x\n", strlen("user_id,number\nb,+48500500502\nc,x\n"));
    assert_false(refresh(&f));
    assert_string_equal(find(&f, "a")->number, "+48500500501");
    assert_null(find(&f, "b"));
    assert_non_null(strstr(trouble(&f, said, sizeof said), "line 3: "));
    unlink(f.path);
    assert_false(refresh(&f));
    assert_non_null(strstr(trouble(&f, said, sizeof said), "No such file"));
    assert_non_null(find(&f, "a"));
    put(&f, "user_id,number\nb,+48500500502\n", strlen("user_id,number\nb,+48500500502\n"));
    assert_true(refresh(&f));
    assert_string_equal(trouble(&f, said, sizeof said), "");
    assert_null(find(&f, "a"));
    assert_string_equal(find(&f, "b")->number, "+48500500502");
    struct buf out;
    buf_init(&out, 0);
    directory_metrics(f.d, &out);
    assert_non_null(strstr(buf_cstr(&out), "bridgebell_directory_people 1\n"));
    assert_non_null(strstr(buf_cstr(&out), "bridgebell_directory_reads_total 3\n"));
    assert_non_null(strstr(buf_cstr(&out), "bridgebell_directory_trouble 0\n"));
    buf_free(&out);
    end(&f);
}

static void run_sql(struct fixture *f, const char *script)
{
    sqlite3 *sql;
    assert_int_equal(sqlite3_open(f->path, &sql), SQLITE_OK);
    assert_int_equal(sqlite3_exec(sql, script, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(sql);
}

/* ---- the copy of what was read well last ---- */

static const char good_people[] =
    "user_id,number,tags,language,zone\n\"a, \"\"b\"\"\",+48500500500,\"x,y z\",pl,Europe/Warsaw\n"
    "nobody,,,,\n";
static const char bad_people[] = "user_id,number\na,+485\nb,+486\n";

static void start(struct fixture *f, const char *text)
{
    directory_free(&f->d);
    faults_free(&f->faults);
    put(f, text, strlen(text));
    f->d = directory_new(f->slice, &f->faults);
}

static void begin_kept(struct fixture *f)
{
    begin(f, NULL, NULL);
    struct slice_block *b = slice_add_block(f->slice, "dispatcher", "", "test.conf", 9);
    slice_add_setting(b, "store", SLICE_TEXT, 9)->text = xasprintf("sqlite:%s/queue.db", f->dir);
    snprintf(f->kept, sizeof f->kept, "%s/queue.db-people", f->dir);
}

static void a_process_that_starts_has_the_people_of_before(void **state)
{
    (void)state;
    struct fixture f;
    struct stat st;
    char said[200];
    begin_kept(&f);
    start(&f, good_people);
    assert_int_equal(stat(f.kept, &st), -1);
    directory_keep(f.d);
    assert_int_equal(stat(f.kept, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    /* Whoever only asks what is wrong is told. */
    start(&f, bad_people);
    assert_int_equal(f.faults.count, 2);
    assert_int_equal(count_people(f.d), 0);
    slice_add_block(f.slice, SLICE_STARTING, "", "", 0);
    start(&f, bad_people);
    assert_int_equal(f.faults.count, 0);
    assert_int_equal(count_people(f.d), 2);
    const struct person *p = find(&f, "a, \"b\"");
    assert_string_equal(p->number, "+48500500500");
    assert_string_equal(p->lang, "pl");
    assert_string_equal(p->zone, "Europe/Warsaw");
    assert_string_equal(p->tags[0], "x,y");
    assert_string_equal(p->tags[1], "z");
    assert_null(find(&f, "nobody")->number);
    assert_non_null(strstr(trouble(&f, said, sizeof said), "line 2: "));
    /* What was not read well is not kept, and what was is as soon as it is. */
    directory_keep(f.d);
    assert_false(refresh(&f));
    put(&f, "user_id,number\nc,+48500500502\n", strlen("user_id,number\nc,+48500500502\n"));
    assert_true(refresh(&f));
    assert_string_equal(trouble(&f, said, sizeof said), "");
    start(&f, bad_people);
    assert_int_equal(f.faults.count, 0);
    assert_int_equal(count_people(f.d), 1);
    assert_non_null(find(&f, "c"));
    directory_forget(f.slice);
    assert_int_equal(stat(f.kept, &st), -1);
    directory_forget(f.slice);
    start(&f, good_people);
    directory_keep(f.d);
    /* A file that is gone is a fault like others. */
    unlink(f.path);
    directory_free(&f.d);
    f.d = directory_new(f.slice, &f.faults);
    assert_int_equal(f.faults.count, 0);
    assert_non_null(find(&f, "nobody"));
    end(&f);
}

static void a_copy_of_another_file_or_a_spoilt_one_is_no_help(void **state)
{
    (void)state;
    struct fixture f;
    begin_kept(&f);
    slice_add_block(f.slice, SLICE_STARTING, "", "", 0);
    start(&f, good_people);
    directory_keep(f.d);
    FILE *out = fopen(f.kept, "r+b");
    assert_non_null(out);
    fputs("# /elsewhere", out);
    assert_int_equal(fclose(out), 0);
    start(&f, bad_people);
    assert_int_equal(f.faults.count, 2);
    start(&f, good_people);
    directory_keep(f.d);
    assert_int_equal(truncate(f.kept, (off_t)strlen(f.path) + 60), 0);
    start(&f, bad_people);
    assert_int_equal(f.faults.count, 2);
    end(&f);
}

static void an_sqlite_file_is_as_good(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, "+48", NULL);
    run_sql(&f,
            "CREATE TABLE people(id INTEGER PRIMARY KEY, Tags TEXT, number, user_id TEXT);"
            "INSERT INTO people(number, user_id, Tags) VALUES(500500500, 'a', 'x y'), (NULL, 'b', NULL);");
    f.d = directory_new(f.slice, &f.faults);
    assert_int_equal(f.faults.count, 0);
    assert_int_equal(count_people(f.d), 2);
    assert_string_equal(find(&f, "a")->number, "+48500500500");
    assert_string_equal(find(&f, "a")->tags[1], "y");
    assert_null(find(&f, "b")->number);
    run_sql(&f, "INSERT INTO people(number, user_id) VALUES('oh', 'c')");
    char said[200];
    assert_false(refresh(&f));
    assert_non_null(strstr(trouble(&f, said, sizeof said), "row 3: number \"oh\""));
    assert_non_null(find(&f, "a"));
    run_sql(&f, "DELETE FROM people WHERE user_id = 'c'; PRAGMA journal_mode = WAL;");
    assert_true(refresh(&f));
    run_sql(&f, "UPDATE people SET number = '+48500500501' WHERE user_id = 'a';");
    assert_true(refresh(&f));
    assert_string_equal(find(&f, "a")->number, "+48500500501");
    end(&f);
}

static void an_sqlite_file_without_people_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *script, *says;
    } cases[] = {
        {"CREATE TABLE x(y)", "no such table: people"},
        {"CREATE TABLE people(user_id, phone)", "needs the columns user_id and number"},
        {"CREATE TABLE people(user_id, number); INSERT INTO people VALUES('a', zeroblob(100000))", "too big"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture f;
        begin(&f, NULL, NULL);
        run_sql(&f, cases[i].script);
        f.d = directory_new(f.slice, &f.faults);
        assert_int_equal(f.faults.count, 1);
        if (!strstr(f.faults.list[0].text, cases[i].says))
            fail_msg("%s", f.faults.list[0].text);
        end(&f);
    }
}

static void without_a_directory_nobody_is_known(void **state)
{
    (void)state;
    struct slice *s = slice_new();
    struct faults faults = {0};
    assert_null(directory_new(s, &faults));
    assert_int_equal(faults.count, 0);
    assert_null(directory_find(NULL, "a", 1));
    assert_false(directory_refresh(NULL));
    slice_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_may_be_written_in_many_ways),
        cmocka_unit_test(every_bad_row_is_named_with_its_line),
        cmocka_unit_test(numbers_are_masked_and_must_have_an_allowed_prefix),
        cmocka_unit_test(many_faults_are_counted),
        cmocka_unit_test(what_is_too_long_or_no_file_is_refused),
        cmocka_unit_test(large_files_are_read_whole_or_refused),
        cmocka_unit_test(a_changed_file_is_read_again_and_a_bad_one_changes_nothing),
        cmocka_unit_test(a_process_that_starts_has_the_people_of_before),
        cmocka_unit_test(a_copy_of_another_file_or_a_spoilt_one_is_no_help),
        cmocka_unit_test(an_sqlite_file_is_as_good),
        cmocka_unit_test(an_sqlite_file_without_people_is_refused),
        cmocka_unit_test(without_a_directory_nobody_is_known),
    };
    log_configure(LOG_LOGFMT, LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
