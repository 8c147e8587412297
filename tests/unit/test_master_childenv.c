/* links: master_parts */
#include "master/childenv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void only_what_is_the_childrens(void **state)
{
    (void)state;
    char *from[] = {"PATH=/bin",
                    "BRIDGE_SECRET=0123456789abcdef",
                    "ALIAS=0123456789abcdef",
                    "AUTH=Bearer 0123456789abcdef",
                    "HALF=01234567",
                    "SHORT=0123",
                    "TOKEN=abc",
                    "EMPTY=",
                    "NOVALUE",
                    "NOTIFY_SOCKET=/run/notify",
                    "NOTIFY_SOCKET_NOT=1",
                    "WATCHDOG_USEC=1000000",
                    "WATCHDOG_PID=1",
                    "CREDENTIALS_DIRECTORY=/run/c",
                    "https_proxy=http://10.0.0.1:3128",
                    NULL};
    const char *secrets[] = {"0123456789abcdef", "abc"};
    static const char *const expected[] = {
        "PATH=/bin", "SHORT=0123",          "EMPTY=",
        "NOVALUE",   "NOTIFY_SOCKET_NOT=1", "https_proxy=http://10.0.0.1:3128",
    };
    char **made = childenv_make(from, secrets, 2);
    size_t count = 0;
    for (; made[count]; count++) {
        assert_true(count < sizeof expected / sizeof expected[0]);
        assert_string_equal(made[count], expected[count]);
    }
    assert_int_equal(count, sizeof expected / sizeof expected[0]);
    childenv_free(&made);
    assert_null(made);
}

static void nothing_is_left_out_without_a_reason(void **state)
{
    (void)state;
    char *from[] = {"A=1", "B=2", NULL};
    char **made = childenv_make(from, NULL, 0);
    assert_string_equal(made[0], "A=1");
    assert_string_equal(made[1], "B=2");
    assert_null(made[2]);
    childenv_free(&made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_is_the_childrens),
        cmocka_unit_test(nothing_is_left_out_without_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
