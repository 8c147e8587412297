/* links: dispatcher_parts proto expr core */
/* The outcome table, complete: every outcome, class and pin, against the rules that must hold for all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dispatcher/outcome.h"

static struct outcome_facts facts_of(enum wire_outcome outcome, enum wire_class class, bool pinned)
{
    return (struct outcome_facts){
        .outcome = outcome,
        .class = class,
        .retry_after_ms = -1,
        .words = "words",
        .pinned = pinned,
        .generation = 3,
        .failures = 2,
        .max_attempts = 12,
        .retry_min_ms = 5000,
        .retry_max_ms = 900000,
        .dice = 0.5,
    };
}

typedef void check_fn(const struct outcome_facts *f, const struct outcome_decision *d);

/* Calls CHECK for every outcome, class, pin and a few codes, with failures near the limit or not. */
static void for_all(check_fn *check)
{
    static const int32_t codes[] = {0, 8, 19, 52, 53, 101, 103, 777777};
    for (int o = 0; o < WIRE_OUTCOMES; o++)
        for (int c = 0; c < WIRE_CLASSES; c++)
            for (size_t k = 0; k < 2 * 2 * 2 * sizeof codes / sizeof codes[0]; k++) {
                struct outcome_facts f = facts_of((enum wire_outcome)o, (enum wire_class)c, k & 1);
                struct outcome_decision d;
                f.expired = k >> 1 & 1;
                f.failures = k >> 2 & 1 ? 11 : 0;
                f.code = codes[k >> 3];
                outcome_decide(&f, &d);
                check(&f, &d);
            }
}

static void check_generation(const struct outcome_facts *f, const struct outcome_decision *d)
{
    bool definite = f->outcome == WIRE_REFUSED;
    assert_true(d->generation == f->generation || d->generation == f->generation + 1);
    if (d->generation != f->generation) {
        assert_true(definite);
        assert_false(f->pinned);
    }
    /* a definite refusal that is tried again never goes out under the same idx, unless that is pinned */
    if (definite && d->step == STEP_RETRY && !f->pinned)
        assert_int_equal(d->generation, f->generation + 1);
}

static void a_new_generation_only_after_definite_refusals(void **state)
{
    (void)state;
    for_all(check_generation);
}

static void check_pin(const struct outcome_facts *f, const struct outcome_decision *d)
{
    if (d->step == STEP_ACCEPTED)
        return;
    if (f->pinned || f->outcome == WIRE_UNKNOWN)
        assert_true(d->pinned);
    else
        assert_false(d->pinned);
    /* who may have been accepted is never called refused or merely late */
    if (d->step == STEP_END && d->pinned)
        assert_int_equal(d->state, JOB_UNCERTAIN);
}

static void an_unknown_outcome_pins_for_good(void **state)
{
    (void)state;
    for_all(check_pin);
}

static void check_states(const struct outcome_facts *f, const struct outcome_decision *d)
{
    static const enum job_state ends[] = {JOB_DEAD, JOB_UNCERTAIN, JOB_EXPIRED};
    bool known = d->step != STEP_END;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        known = known || d->state == ends[i];
    assert_true(known);
    assert_true(d->line < OUTCOME_LINES);
    assert_true(d->due_in_ms >= 0);
    assert_true(d->failures == f->failures || d->failures == f->failures + 1);
    if (d->step == STEP_ACCEPTED)
        assert_int_equal(d->state, JOB_SENT);
    else if (d->step != STEP_END)
        assert_int_equal(d->state, JOB_QUEUED);
    if (f->expired)
        assert_true(d->step == STEP_ACCEPTED || d->step == STEP_END);
    if (f->outcome == WIRE_UNSENT)
        assert_true(d->step == STEP_RETURN || f->expired);
    if (f->outcome == WIRE_ACCEPTED)
        assert_true(d->step == STEP_ACCEPTED && !d->inferred);
    assert_true(d->collision == (d->step == STEP_END && d->state == JOB_UNCERTAIN && !d->pinned));
}

static void every_cell_is_sound(void **state)
{
    (void)state;
    for_all(check_states);
}

/* The rows as an operator knows them: failures 2, not expired. */
static const struct {
    enum wire_outcome outcome;
    enum wire_class class;
    int32_t code;
    bool pinned;
    enum store_step step;
    enum job_state state;
    uint32_t failures;
    enum outcome_line line;
} rows[] = {
    {WIRE_ACCEPTED, WIRE_CLASS_NONE, 0, false, STEP_ACCEPTED, JOB_SENT, 2, OUTCOME_WORKS},
    {WIRE_DUPLICATE, WIRE_DUPLICATE_IDX, 53, true, STEP_ACCEPTED, JOB_SENT, 2, OUTCOME_WORKS},
    {WIRE_DUPLICATE, WIRE_DUPLICATE_IDX, 53, false, STEP_END, JOB_UNCERTAIN, 2, OUTCOME_WORKS},
    {WIRE_REFUSED, WIRE_PERMANENT_MESSAGE, 11, false, STEP_END, JOB_DEAD, 2, OUTCOME_WORKS},
    {WIRE_REFUSED, WIRE_PERMANENT_MESSAGE, 11, true, STEP_END, JOB_UNCERTAIN, 2, OUTCOME_WORKS},
    {WIRE_REFUSED, WIRE_PER_NUMBER, 13, false, STEP_END, JOB_DEAD, 2, OUTCOME_WORKS},
    {WIRE_REFUSED, WIRE_PER_NUMBER, 52, false, STEP_RETRY, JOB_QUEUED, 2, OUTCOME_WORKS},
    {WIRE_REFUSED, WIRE_PER_NUMBER, 52, true, STEP_RETRY, JOB_QUEUED, 2, OUTCOME_WORKS},
    {WIRE_REFUSED, WIRE_PERMANENT_ACCOUNT, 103, false, STEP_RETRY, JOB_QUEUED, 2, OUTCOME_STOP},
    {WIRE_REFUSED, WIRE_CONFIG, 14, false, STEP_RETRY, JOB_QUEUED, 2, OUTCOME_STOP},
    {WIRE_REFUSED, WIRE_THROTTLED, 202, false, STEP_RETRY, JOB_QUEUED, 2, OUTCOME_THROTTLE},
    {WIRE_REFUSED, WIRE_TRANSIENT, 0, false, STEP_RETRY, JOB_QUEUED, 3, OUTCOME_KEEP},
    {WIRE_REFUSED, WIRE_CLASS_NONE, 4711, false, STEP_END, JOB_DEAD, 3, OUTCOME_KEEP},
    {WIRE_UNKNOWN, WIRE_TRANSIENT, 201, false, STEP_RETRY, JOB_QUEUED, 3, OUTCOME_KEEP},
    {WIRE_UNKNOWN, WIRE_CLASS_NONE, 0, false, STEP_RETRY, JOB_QUEUED, 3, OUTCOME_KEEP},
    {WIRE_UNKNOWN, WIRE_CLASS_NONE, 4711, false, STEP_END, JOB_UNCERTAIN, 3, OUTCOME_KEEP},
    {WIRE_UNKNOWN, WIRE_PERMANENT_ACCOUNT, 103, false, STEP_RETRY, JOB_QUEUED, 2, OUTCOME_STOP},
    {WIRE_UNKNOWN, WIRE_THROTTLED, 0, false, STEP_RETRY, JOB_QUEUED, 2, OUTCOME_THROTTLE},
    {WIRE_UNKNOWN, WIRE_CONFIG, 19, false, STEP_RETRY, JOB_QUEUED, 2, OUTCOME_SMALLER},
    {WIRE_UNSENT, WIRE_CLASS_NONE, 0, false, STEP_RETURN, JOB_QUEUED, 2, OUTCOME_KEEP},
    {WIRE_UNSENT, WIRE_TRANSIENT, 0, true, STEP_RETURN, JOB_QUEUED, 2, OUTCOME_UNREACHABLE},
};

static void the_rows_say_what_the_contract_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct outcome_facts f = facts_of(rows[i].outcome, rows[i].class, rows[i].pinned);
        struct outcome_decision d;
        f.code = rows[i].code;
        outcome_decide(&f, &d);
        if (d.step != rows[i].step || d.state != rows[i].state || d.failures != rows[i].failures ||
            d.line != rows[i].line)
            fail_msg("row %zu: %s %s %d", i, wire_outcome_names[rows[i].outcome],
                     wire_class_names[rows[i].class], (int)rows[i].code);
    }
}

static void a_number_that_had_too_much_waits_a_minute(void **state)
{
    (void)state;
    struct outcome_facts f = facts_of(WIRE_REFUSED, WIRE_PER_NUMBER, false);
    struct outcome_decision d;
    f.code = 52;
    f.dice = 0;
    outcome_decide(&f, &d);
    assert_true(d.due_in_ms >= 60000);
}

static void giving_up_names_attempts_and_words(void **state)
{
    (void)state;
    struct outcome_facts f = facts_of(WIRE_REFUSED, WIRE_TRANSIENT, false);
    struct outcome_decision d;
    f.code = 200;
    f.failures = 11;
    outcome_decide(&f, &d);
    assert_int_equal(d.state, JOB_DEAD);
    assert_string_equal(d.reason, "gave up after 12 attempts: words (code 200)");
    f.outcome = WIRE_UNKNOWN;
    outcome_decide(&f, &d);
    assert_int_equal(d.state, JOB_UNCERTAIN);
}

static void long_words_are_cut(void **state)
{
    (void)state;
    char words[2000];
    memset(words, 'x', sizeof words - 1);
    words[sizeof words - 1] = '\0';
    struct outcome_facts f = facts_of(WIRE_UNKNOWN, WIRE_TRANSIENT, true);
    struct outcome_decision d;
    f.words = words;
    outcome_decide(&f, &d);
    assert_int_equal(strlen(d.reason), 200);
}

static void the_backoff_doubles_to_its_bound(void **state)
{
    (void)state;
    assert_int_equal(outcome_backoff_ms(1, 5000, 900000, 0.5), 5000);
    assert_int_equal(outcome_backoff_ms(2, 5000, 900000, 0.5), 10000);
    assert_int_equal(outcome_backoff_ms(4, 5000, 900000, 0.5), 40000);
    assert_int_equal(outcome_backoff_ms(4000000000u, 5000, 900000, 0.5), 900000);
    assert_true(outcome_backoff_ms(1, 5000, 900000, 0) >= 4000);
    assert_true(outcome_backoff_ms(1, 5000, 900000, 1) <= 6000);
    struct outcome_facts f = facts_of(WIRE_UNKNOWN, WIRE_TRANSIENT, true);
    struct outcome_decision d;
    f.retry_after_ms = 60000;
    outcome_decide(&f, &d);
    assert_int_equal(d.due_in_ms, 60000);
    f.retry_after_ms = INT64_MAX;
    outcome_decide(&f, &d);
    assert_int_equal(d.due_in_ms, 900000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_generation_only_after_definite_refusals),
        cmocka_unit_test(an_unknown_outcome_pins_for_good),
        cmocka_unit_test(every_cell_is_sound),
        cmocka_unit_test(the_rows_say_what_the_contract_says),
        cmocka_unit_test(a_number_that_had_too_much_waits_a_minute),
        cmocka_unit_test(giving_up_names_attempts_and_words),
        cmocka_unit_test(long_words_are_cut),
        cmocka_unit_test(the_backoff_doubles_to_its_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
