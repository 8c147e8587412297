/*
 * Reload: another configuration takes over while the work goes on, or nothing changes at all.
 *
 * The file is read, its secrets too, and every role checks its slice. Only then the new crew takes over: the
 * old dispatcher leaves and the new one starts, because one process at a time may own the store; new senders
 * and listeners start beside the old ones, which leave when the new ones are ready. If a new process does not
 * become ready in its time, all roles go back to the old slices.
 */
#ifndef MASTER_RELOAD_H
#define MASTER_RELOAD_H

#include <cjson/cJSON.h>
#include <stdint.h>

/* FILE is the configuration file; kept. */
void reload_setup(const char *file);
/* Begins, or has the reload under way followed by another. CLIENT (0: nobody) is answered by control_answer
 * when it is over. */
void reload_request(uint64_t client);
/* To be called when another activity is over: begins what was asked for meanwhile. */
void reload_resume(void);
/* {"at", "ok", "took_ms", "error"?, "faults"?: [{"file", "line", "text"}]} of the last one, or NULL. */
cJSON *reload_last(void);
void reload_free(void);

#endif
