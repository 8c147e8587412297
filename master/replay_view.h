/* What `bridgebell replay` shows people of the tool's lines. */
#ifndef MASTER_REPLAY_VIEW_H
#define MASTER_REPLAY_VIEW_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdio.h>

struct replay_view;

/* SUMMARY: only the sums at the end. */
struct replay_view *replay_view_new(FILE *out, bool summary);
void replay_view_free(struct replay_view **v);
/* For tools_run: VIEW is a struct replay_view. */
void replay_view_line(void *view, const cJSON *line);

#endif
