#include "master/validate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "core/alloc.h"
#include "core/loop.h"
#include "master/childenv.h"
#include "master/crew.h"

enum { PARALLEL_MAX = 8, KILLS_MAX = 3 };

struct check {
    struct validation *owner;
    enum process_kind kind;
    const char *name;
    struct process *process;
    bool answered;
    unsigned kills; /* times that it ended by a signal */
};

struct validation {
    const struct conf *conf;
    validation_done_fn *done;
    void *arg;
    char **environment;
    struct faults faults;
    struct check *checks;
    size_t count, started, running;
    struct loop_timer *limit, *finish;
    bool starting;
    bool is_late;
};

static void start_more(struct validation *v);
static void start_one(struct check *check);

/* ---- sorting ---- */

static int compare(const void *a, const void *b)
{
    const struct fault *x = a, *y = b;
    int order = strcmp(x->file, y->file);
    if (order == 0)
        order = (x->line > y->line) - (x->line < y->line);
    return order ? order : strcmp(x->text, y->text);
}

/* By file and line, without repetitions. */
static void sort_faults(struct faults *faults)
{
    if (faults->count < 2)
        return;
    qsort(faults->list, faults->count, sizeof *faults->list, compare);
    size_t kept = 1;
    for (size_t i = 1; i < faults->count; i++) {
        if (compare(&faults->list[kept - 1], &faults->list[i]) == 0) {
            free(faults->list[i].file);
            free(faults->list[i].text);
        } else {
            faults->list[kept++] = faults->list[i];
        }
    }
    faults->count = kept;
}

/* ---- one role's answer ---- */

static void on_faults(void *arg, const struct faults *faults)
{
    struct check *check = arg;
    check->answered = true;
    for (size_t i = 0; i < faults->count; i++)
        faults_add(&check->owner->faults, faults->list[i].file, faults->list[i].line, "%s",
                   faults->list[i].text);
}

static void on_gone(void *arg, int status)
{
    struct check *check = arg;
    struct validation *v = check->owner;
    char how[128];
    check->process = NULL;
    v->running--;
    /* Somebody killed it, which says nothing of the configuration. */
    if (!check->answered && !v->is_late && WIFSIGNALED(status) && check->kills++ < KILLS_MAX) {
        start_one(check);
        if (check->process)
            return;
    } else if (!check->answered)
        faults_add(&v->faults, "", 0, "the %s%s%s could not check the configuration: %s%s",
                   process_kind_names[check->kind], check->name[0] ? " " : "", check->name,
                   v->is_late ? "no answer in time, " : "", process_describe_end(status, how, sizeof how));
    start_more(v);
}

static const struct process_events check_events = {.faults = on_faults, .gone = on_gone};

static void start_one(struct check *check)
{
    struct validation *v = check->owner;
    struct slice *slice = crew_slice(v->conf, check->kind, check->name, 'a');
    if (v->starting)
        crew_mark_starting(slice);
    struct process_order order = {.kind = check->kind,
                                  .instance = check->name,
                                  .slice = slice,
                                  .validate_only = true,
                                  .door_fd = -1,
                                  .environment = v->environment};
    check->process = process_start(&order, &check_events, check);
    slice_free(&slice);
    if (check->process)
        v->running++;
    else
        faults_add(&v->faults, "", 0, "the %s cannot be started: %s", process_kind_names[check->kind],
                   strerror(errno));
}

/* ---- all of them ---- */

static void validation_free(struct validation *v)
{
    for (size_t i = 0; i < v->count; i++)
        if (v->checks[i].process) {
            process_kill(v->checks[i].process);
            process_forget(v->checks[i].process);
        }
    childenv_free(&v->environment);
    faults_free(&v->faults);
    loop_timer_free(&v->limit);
    loop_timer_free(&v->finish);
    free(v->checks);
    free(v);
}

static void finish(void *arg)
{
    struct validation *v = arg;
    sort_faults(&v->faults);
    v->done(v->arg, &v->faults);
    validation_free(v);
}

static void start_more(struct validation *v)
{
    while (v->started < v->count && v->running < PARALLEL_MAX && !v->is_late)
        start_one(&v->checks[v->started++]);
    if (v->running == 0)
        loop_timer_start(v->finish, 0);
}

static void on_limit(void *arg)
{
    struct validation *v = arg;
    v->is_late = true;
    for (size_t i = 0; i < v->count; i++)
        if (v->checks[i].process)
            process_kill(v->checks[i].process);
}

static void add_check(struct validation *v, enum process_kind kind, const char *name)
{
    v->checks[v->count++] = (struct check){.owner = v, .kind = kind, .name = name};
}

static struct validation *validation_new(const struct conf *conf, validation_done_fn *done, void *arg)
{
    struct validation *v = xcalloc(1, sizeof *v);
    v->conf = conf;
    v->done = done;
    v->arg = arg;
    v->environment = crew_environment(conf);
    v->checks = xcalloc(conf_count(conf, "bridge") + 2, sizeof *v->checks);
    v->limit = loop_timer_new(on_limit, v);
    v->finish = loop_timer_new(finish, v);
    if (conf_has_dispatcher(conf))
        add_check(v, PROCESS_DISPATCHER, "");
    return v;
}

static struct validation *begin(struct validation *v)
{
    loop_timer_start(v->limit, VALIDATE_LIMIT_MS);
    start_more(v);
    return v;
}

static struct validation *start_all(const struct conf *conf, bool starting, validation_done_fn *done,
                                    void *arg)
{
    struct validation *v = validation_new(conf, done, arg);
    v->starting = starting;
    if (conf_count(conf, "provider") > 0)
        add_check(v, PROCESS_SENDER, "1");
    for (size_t i = 0; i < conf_count(conf, "bridge"); i++)
        add_check(v, PROCESS_LISTENER, conf_title(conf, "bridge", i));
    return begin(v);
}

struct validation *validation_start(const struct conf *conf, validation_done_fn *done, void *arg)
{
    return start_all(conf, false, done, arg);
}

struct validation *validation_start_to_run(const struct conf *conf, validation_done_fn *done, void *arg)
{
    return start_all(conf, true, done, arg);
}

struct validation *validation_start_rules(const struct conf *draft, validation_done_fn *done, void *arg)
{
    return begin(validation_new(draft, done, arg));
}

/* Of an expression, with its caret on a line of its own, or of a value, which begins with the setting's name.
 */
static bool is_of_what_is_there(const char *text)
{
    return text[0] == '`' || strchr(text, '\n');
}

void validation_merge_draft(struct faults *faults, const struct faults *more)
{
    for (size_t i = 0; i < more->count; i++)
        if (is_of_what_is_there(more->list[i].text))
            faults_add(faults, more->list[i].file, more->list[i].line, "%s", more->list[i].text);
    sort_faults(faults);
}

void validation_draft_secrets(struct conf *draft, struct faults *faults)
{
    struct faults more = {0};
    if (conf_read_secrets(draft, &more))
        validation_merge_draft(faults, &more);
    faults_free(&more);
}

void validation_cancel(struct validation **v)
{
    if (!*v)
        return;
    validation_free(*v);
    *v = NULL;
}
