/* links: proto core */
/* Lines of the log read as what they claim to be, whatever stands in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/log.h"
#include "core/str.h"

enum { LONG = 3000 };

static char path[64];

/* Writes one line by FORMAT with values that no line has room for; the caller frees it. */
static char *line_of(enum log_format format, const char *letter)
{
    char value[LONG + 1] = "";
    for (size_t len = 0; len + strlen(letter) <= LONG; len += strlen(letter))
        memcpy(value + len, letter, strlen(letter) + 1);
    assert_int_equal(truncate(path, 0), 0);
    log_configure(format, LOG_INFO);
    log_info("a message", log_str("a", value), log_str("b", value), log_int("n", -7), log_str("c", value),
             log_str("d", value), log_str("e", value), log_int("m", INT64_MIN));
    FILE *f = fopen(path, "r");
    char *line = NULL;
    size_t size = 0;
    assert_non_null(f);
    ssize_t len = getline(&line, &size, f);
    assert_true(len > 0 && line[len - 1] == '\n');
    assert_int_equal(fgetc(f), EOF);
    assert_int_equal(strlen(line), len);
    assert_true(str_utf8_valid(line, (size_t)len));
    fclose(f);
    return line;
}

static const char *const letters[] = {
    "x", " ", "\x01", "\"", "\\", "\n", "\xc5\xbc", "\xe2\x82\xac", "\xf0\x9f\x90\x88"};

static void json_is_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof letters / sizeof letters[0]; i++) {
        char *line = line_of(LOG_JSON, letters[i]);
        cJSON *json = cJSON_Parse(line);
        assert_non_null(json);
        assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(json, "msg")), "a message");
        const char *a = cJSON_GetStringValue(cJSON_GetObjectItem(json, "a"));
        assert_non_null(a);
        assert_int_equal(strlen(a) % strlen(letters[i]), 0);
        assert_in_range(strlen(a), 500, 1024);
        cJSON_Delete(json);
        free(line);
    }
}

/* Quotes that open are closed. */
static void logfmt_is_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof letters / sizeof letters[0]; i++) {
        char *line = line_of(LOG_LOGFMT, letters[i]);
        bool quoted = false;
        for (const char *c = line; *c; c++) {
            if (*c == '\\')
                c++;
            else if (*c == '"')
                quoted = !quoted;
        }
        assert_false(quoted);
        assert_non_null(strstr(line, "msg=\"a message\" a="));
        free(line);
    }
}

static int set_up(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/bridgebell-log-XXXXXX");
    int fd = mkstemp(path);
    return fd < 0 || close(fd) || log_open(path) ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    return log_open(NULL) || unlink(path);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_is_json),
        cmocka_unit_test(logfmt_is_whole),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
