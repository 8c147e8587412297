/* A status (report.h) as a page for a person. */
#ifndef MASTER_STATUS_VIEW_H
#define MASTER_STATUS_VIEW_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdio.h>

struct status_view {
    size_t width; /* of the terminal in columns; 0: lines are as long as they are */
    bool colour;
    double events_per_second; /* negative: not known */
};

void status_view_print(const cJSON *status, const struct status_view *view, FILE *out);

#endif
