/*
 * `bridgebell run`: the master itself, in the foreground.
 *
 * The order matters: the lock first, so that a second master disturbs nothing; then what only root may bind;
 * then the drop to the user; then the secrets, so that what starts can also reload.
 */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/notify.h"
#include "core/title.h"
#include "master/commands.h"
#include "master/control.h"
#include "master/door.h"
#include "master/forward.h"
#include "master/logs.h"
#include "master/print.h"
#include "master/privileges.h"
#include "master/process.h"
#include "master/reload.h"
#include "master/report.h"
#include "master/requests.h"
#include "master/rundir.h"
#include "master/session.h"
#include "master/shutdown.h"
#include "master/signals.h"
#include "master/start.h"
#include "master/supervise.h"
#include "proto/role.h"

enum {
    DOOR_PATIENCE_MS = 2000,
    /* Children of a master that was killed hold the door until they have drained. */
    DOOR_PATIENCE_AFTER_CRASH_MS = ROLE_DRAIN_MS + 5000,
};

const struct option_row run_options[] = {OPTIONS_COMMON, {0}};

static struct {
    char *file; /* absolute, so that a reload finds it */
    struct conf *conf;
    int door_fd;
    bool after_crash;
    struct loop_timer *watchdog;
    int64_t watchdog_ms;
} master = {.door_fd = -1};

/* ---- before the loop ---- */

static int complain(char *why)
{
    log_error("cannot start", log_str("reason", why));
    free(why);
    return -1;
}

static int complain_faults(struct faults *faults)
{
    print_faults(stderr, faults);
    log_error("cannot start", log_str("reason", "the configuration has faults"),
              log_int("faults", (int64_t)faults->count));
    faults_free(faults);
    return -1;
}

static const char *top(const char *name)
{
    return conf_text(master.conf, CONF_TOP, NULL, name);
}

static int load(void)
{
    struct faults faults = {0};
    char *why = NULL;
    master.conf = conf_load(master.file, &faults);
    if (!master.conf)
        return complain_faults(&faults);
    faults_free(&faults);
    if (!conf_has_dispatcher(master.conf) && conf_sender_processes(master.conf) == 0)
        return complain(xasprintf(
            "there is nothing to run: %s has no bridge, no rule and no dispatcher block", master.file));
    return process_find_executables(&why) ? complain(why) : 0;
}

static int bind_all(uid_t uid, gid_t gid)
{
    const char *runtime_dir = top("runtime_dir");
    char *why = NULL;
    if (rundir_prepare(runtime_dir, uid, gid, &why) ||
        rundir_lock(runtime_dir, uid, gid, &master.after_crash, &why))
        return complain(why);
    int64_t patience_ms = master.after_crash ? DOOR_PATIENCE_AFTER_CRASH_MS : DOOR_PATIENCE_MS;
    if (door_open(conf_text(master.conf, "metrics", NULL, "listen"), patience_ms, &master.door_fd, &why) ||
        control_bind(runtime_dir, uid, gid, &why))
        return complain(why);
    return 0;
}

static int become_user(uid_t uid, gid_t gid)
{
    struct faults faults = {0};
    char *why = NULL;
    if (privileges_drop(top("user"), uid, gid, &why))
        return complain(why);
    if (conf_read_secrets(master.conf, &faults))
        return complain_faults(&faults);
    faults_free(&faults);
    if (rundir_write_pid())
        return complain(xasprintf("the pid file cannot be written: %s", strerror(errno)));
    return logs_configure(master.conf);
}

static int prepare(void)
{
    uid_t uid;
    gid_t gid;
    char *why = NULL;
    if (load())
        return -1;
    if (privileges_find(top("user"), &uid, &gid, &why))
        return complain(why);
    return bind_all(uid, gid) || become_user(uid, gid) ? -1 : 0;
}

/* ---- in the loop ---- */

static void on_watchdog(void *arg)
{
    (void)arg;
    notify_alive();
    loop_timer_start(master.watchdog, master.watchdog_ms);
}

static void on_ready(void)
{
    session_save(supervise_crew()->session_slot);
    log_info("bridgebell is up", log_str("version", BRIDGEBELL_VERSION),
             log_int("processes", (int64_t)process_count() + 1));
    notify_send("READY=1\nSTATUS=working");
    reload_resume();
}

static void start(void)
{
    char letter = session_choose(top("runtime_dir"), master.after_crash);
    report_setup(master.file, top("runtime_dir"));
    struct crew *crew = supervise_add(master.conf, master.door_fd, letter);
    master.conf = NULL;
    master.door_fd = -1;
    supervise_install(crew);
    forward_setup();
    control_serve(requests_handle);
    reload_setup(master.file);
    start_begin(crew, on_ready);
    master.watchdog_ms = notify_watchdog_ms() / 3;
    master.watchdog = loop_timer_new(on_watchdog, NULL);
    if (master.watchdog_ms > 0)
        on_watchdog(NULL);
}

static void cleanup(void)
{
    loop_timer_free(&master.watchdog);
    forward_free();
    control_close();
    reload_free();
    report_free();
    supervise_free();
    shutdown_free();
    signals_free();
    conf_free(&master.conf);
    door_close(&master.door_fd);
    session_free();
    rundir_unlock();
    loop_free();
    free(master.file);
}

static int run_master(const char *file)
{
    int code = COMMAND_FAILED;
    /* What children make in the runtime directory is the owner's alone. */
    umask(0077);
    log_process("master");
    if (sodium_init() < 0)
        panic("libsodium does not start");
    master.file = realpath(file, NULL);
    if (!master.file)
        master.file = xstrdup(file);
    title_set("bridgebell: master %s", master.file);
    signals_setup();
    log_info("starting", log_str("version", BRIDGEBELL_VERSION), log_str("file", master.file),
             log_int("pid", getpid()));
    if (prepare() == 0) {
        start();
        loop_run();
        code = shutdown_exit_code();
    }
    log_info("ended", log_int("code", code));
    cleanup();
    return code;
}

int run_command(const struct arguments *arguments)
{
    return run_master(command_config(arguments));
}
