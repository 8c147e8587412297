/* links: listener_parts proto http core */
/* Look-ups: the id before an id, and what is answered without asking the Bridge. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "listener/lookup.h"

static void the_id_before(void **state)
{
    (void)state;
    static const struct {
        const char *id, *before;
    } cases[] = {
        {"6757b81daafe67cb6e19180e", "6757b81daafe67cb6e19180d"},
        {"6757b81daafe67cb6e191800", "6757b81daafe67cb6e1917ff"},
        {"6757b81d0000000000000000", "6757b81cffffffffffffffff"},
        {"00000000000000000000000a", "000000000000000000000009"},
        {"000000000000000000000001", "000000000000000000000000"},
        {"100000000000000000000000", "0fffffffffffffffffffffff"},
        {"000000000000000000000000", NULL},
        {"6757B81DAAFE67CB6E19180E", NULL},
        {"6757b81daafe67cb6e19180", NULL},
        {"6757b81daafe67cb6e19180ex", NULL},
        {"6757b81daafe67cb6e19180\xc3", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[25] = "";
        bool found = lookup_id_before(cases[i].id, strlen(cases[i].id), out);
        assert_int_equal(found, cases[i].before != NULL);
        if (found)
            assert_string_equal(out, cases[i].before);
        if (found)
            assert_true(strcmp(out, cases[i].id) < 0);
    }
    assert_false(lookup_id_before("6757b81daafe\0007cb6e19180e", 24, (char[25]){0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_id_before)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
