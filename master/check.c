/* `bridgebell check`: everything that is wrong with a configuration, found without running it. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf/conf.h"
#include "core/alloc.h"
#include "core/log.h"
#include "core/loop.h"
#include "master/commands.h"
#include "master/print.h"
#include "master/privileges.h"
#include "master/process.h"
#include "master/signals.h"
#include "master/validate.h"

const struct option_row check_options[] = {
    OPTIONS_COMMON,
    {"print", 'p', NULL, "print the effective configuration, secrets as <secret>"},
    {0},
};

static void say_count(const char *before, size_t count, const char *one, const char *many)
{
    printf("%s%zu %s", before, count, count == 1 ? one : many);
}

static void say_fine(const struct conf *conf)
{
    say_count("configuration is fine: ", conf_count(conf, "bridge"), "bridge", "bridges");
    say_count(", ", conf_count(conf, "rule"), "rule", "rules");
    say_count(", ", conf_count(conf, "provider"), "provider", "providers");
    say_count(", ", conf_sender_processes(conf), "sender process", "sender processes");
    putchar('\n');
}

static int say_faults(const struct faults *faults)
{
    fflush(stdout);
    print_faults(stderr, faults);
    return command_fail("%zu fault%s in the configuration", faults->count, faults->count == 1 ? "" : "s");
}

static int verdict;

static void on_checked(void *arg, const struct faults *faults)
{
    (void)arg;
    verdict = faults->count ? say_faults(faults) : COMMAND_FINE;
    loop_stop();
}

typedef struct validation *ask_fn(const struct conf *conf, validation_done_fn *done, void *arg);

/* The roles' own opinion. */
static int ask_roles(const struct conf *conf, ask_fn *ask, validation_done_fn *done, void *arg)
{
    char *why = NULL;
    if (process_find_executables(&why)) {
        command_fail("%s", why);
        free(why);
        return COMMAND_FAILED;
    }
    signals_setup_children();
    ask(conf, done, arg);
    loop_run();
    signals_free();
    loop_free();
    return verdict;
}

static void on_draft_checked(void *arg, const struct faults *faults)
{
    validation_merge_draft(arg, faults);
    loop_stop();
}

/* Secrets are read as the user who will read them: a file that only root may read is a fault. */
static int become_user(const struct conf *conf)
{
    const char *user = conf_text(conf, CONF_TOP, NULL, "user");
    uid_t uid;
    gid_t gid;
    char *why = NULL;
    if (geteuid() != 0)
        return COMMAND_FINE;
    if (privileges_find(user, &uid, &gid, &why) == 0 && privileges_drop(user, uid, gid, &why) == 0)
        return COMMAND_FINE;
    command_fail("%s", why);
    free(why);
    return COMMAND_FAILED;
}

/* What is whole of a faulty file is looked at all the same, its secrets and its expressions, so that what is
 * wrong there is told together with the others. */
static int check_faulty(const char *path, struct faults *faults)
{
    struct conf *draft = conf_draft(path);
    if (draft && become_user(draft) == COMMAND_FINE)
        validation_draft_secrets(draft, faults);
    if (draft)
        ask_roles(draft, validation_start_rules, on_draft_checked, faults);
    conf_free(&draft);
    return say_faults(faults);
}

static int check_loaded(struct conf *conf, const struct arguments *arguments)
{
    struct faults faults = {0};
    int code = become_user(conf);
    if (code == COMMAND_FINE && conf_read_secrets(conf, &faults))
        code = say_faults(&faults);
    faults_free(&faults);
    if (code == COMMAND_FINE)
        code = ask_roles(conf, validation_start, on_checked, NULL);
    if (code == COMMAND_FINE && !options_has(arguments, "print"))
        say_fine(conf);
    else if (code == COMMAND_FINE && conf_print(conf, stdout))
        code = command_fail("the configuration cannot be printed");
    return code;
}

int check_command(const struct arguments *arguments)
{
    struct faults faults = {0};
    log_process("check");
    log_configure(LOG_LOGFMT, LOG_ERROR);
    if (sodium_init() < 0)
        panic("libsodium does not start");
    struct conf *conf = conf_load(command_config(arguments), &faults);
    int code = conf ? check_loaded(conf, arguments) : check_faulty(command_config(arguments), &faults);
    conf_free(&conf);
    faults_free(&faults);
    return code;
}
