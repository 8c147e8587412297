/* links: master_parts */
#include "master/process.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/alloc.h"

static void a_slice_that_no_message_holds_starts_nothing(void **state)
{
    (void)state;
    static const struct process_events events = {0};
    enum { TEXT_BYTES = 9 * 1024 * 1024, TEXTS = 8 };
    struct slice *slice = slice_new();
    struct slice_block *b = slice_add_block(slice, "rule", "r", "some.conf", 1);
    for (int i = 0; i < TEXTS; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%d", i);
        struct slice_setting *s = slice_add_setting(b, name, SLICE_TEXT, 2);
        s->text = xmalloc(TEXT_BYTES + 1);
        memset(s->text, 'x', TEXT_BYTES);
        s->text[TEXT_BYTES] = '\0';
    }
    struct process_order order = {
        .kind = PROCESS_DISPATCHER, .instance = "", .slice = slice, .door_fd = -1, .validate_only = true};
    errno = 0;
    assert_null(process_start(&order, &events, NULL));
    assert_int_equal(errno, EMSGSIZE);
    assert_int_equal(process_count(), 0);
    slice_free(&slice);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slice_that_no_message_holds_starts_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
