/*
 * The configuration: read from a file, judged as a whole, cut into slices.
 *
 * A `struct conf` exists only when the file and all that it includes are without fault. Values not in the
 * file have their defaults; the untitled blocks (dispatcher, sender, metrics, log) always exist. Files are
 * read and checked by conf_load; the files that hold secrets are read apart, by conf_read_secrets, because
 * the master reads those only after it has become another user.
 */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "conf/directives.h"
#include "proto/slice.h"

struct conf;

/* Reads PATH. NULL when anything is wrong; every fault found is then in FAULTS, in order of file and line.
 * The caller frees. */
struct conf *conf_load(const char *path, struct faults *faults);
/* The same for LEN bytes that are called NAME in faults; `include` is refused. */
struct conf *conf_load_text(const char *name, const char *text, size_t len, struct faults *faults);
/* Reads every secret that a file or $CREDENTIALS_DIRECTORY holds. 0, or -1 with the reasons in FAULTS. Slices
 * made before it lack those secrets. */
int conf_read_secrets(struct conf *c, struct faults *faults);
/* What is whole of a faulty file, so that a role can be asked about it and all faults are told at once:
 * blocks that lack something required are left out. NULL if the file cannot be read or parsed. Never to be
 * run. */
struct conf *conf_draft(const char *path);
/* Wipes the secrets. */
void conf_free(struct conf **c);

/* ---- reading ----
 * BLOCK is a block's word, CONF_TOP for what stands outside of any; TITLE may be NULL for the first of its
 * kind. Pointers live as long as the configuration. */
size_t conf_count(const struct conf *c, const char *block);
/* Title of block number INDEX, in order of the file; NULL if there is none. */
const char *conf_title(const struct conf *c, const char *block, size_t index);
/* NULL if unset or no such block. A list gives NULL. */
const char *conf_text(const struct conf *c, const char *block, const char *title, const char *name);
/* True if the file runs a dispatcher: it has a dispatcher block, a bridge or a rule. */
bool conf_has_dispatcher(const struct conf *c);
/* Sender processes to start: 0 without a dispatcher and without a sender block. */
unsigned conf_sender_processes(const struct conf *c);
/* What differs from RUNNING in C although it cannot change while running: a fault for each. 0 if nothing
 * does, else -1. */
int conf_check_reload(const struct conf *running, const struct conf *c, struct faults *faults);

/* ---- slices ----
 * What one role may know: settings by the table's roles, in the order of the file, with defaults filled in
 * and unset ones left out. Secrets are marked. Every slice has the blocks CONF_TOP and log. The caller frees.
 *   Rates are SLICE_RATE (a plain number is per 1000 ms), `off` is number -1; metrics/listen is the text
 * "off" when off. */
/* The bridge block TITLE; NULL if there is no such bridge. */
struct slice *conf_slice_listener(const struct conf *c, const char *title);
/* Bridges (channels only), recipients, rules, providers without tokens, dispatcher, sender, metrics. */
struct slice *conf_slice_dispatcher(const struct conf *c);
/* Providers with their tokens, and sender. */
struct slice *conf_slice_sender(const struct conf *c);

/* ---- showing ----
 * Each returns 0, or -1 if OUT could not be written. */
/* The effective configuration in valid syntax: defaults marked by comments, secrets as "<secret>". */
int conf_print(const struct conf *c, FILE *out);
/* docs/configuration.md, made from the table. */
int conf_reference(FILE *out);
/* conf/samples/full.conf: every setting, those with a default as comments. */
int conf_sample(FILE *out);
/* docs/man/bridgebell.conf.5, made from the table. */
int conf_manual(FILE *out);

#endif
