/*
 * What only a role can judge, judged by the role: every executable is started with its slice and the order to
 * validate, and the faults are put together in order of file and line.
 */
#ifndef MASTER_VALIDATE_H
#define MASTER_VALIDATE_H

#include "conf/conf.h"

enum { VALIDATE_LIMIT_MS = 30000 };

struct validation;
/* FAULTS is empty if nothing is wrong; it belongs to the caller. Called once, in the loop; the validation is
 * freed when it returns. */
typedef void validation_done_fn(void *arg, const struct faults *faults);

/* CONF must live until DONE or validation_cancel. */
struct validation *validation_start(const struct conf *conf, validation_done_fn *done, void *arg);
/* The same for a program that starts: SLICE_STARTING. */
struct validation *validation_start_to_run(const struct conf *conf, validation_done_fn *done, void *arg);
/* The same, asking the dispatcher only: what a draft (conf_draft) can be asked. */
struct validation *validation_start_rules(const struct conf *draft, validation_done_fn *done, void *arg);
/* Adds the faults in MORE of values and expressions that a draft has, and sorts: for what it lacks, FAULTS
 * has the reason already. */
void validation_merge_draft(struct faults *faults, const struct faults *more);
/* The same for what is wrong with the secrets of DRAFT, which are read. */
void validation_draft_secrets(struct conf *draft, struct faults *faults);
/* Kills what still runs; DONE is not called. */
void validation_cancel(struct validation **validation);

#endif
