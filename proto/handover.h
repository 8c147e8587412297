/*
 * What `bridgebell` hands a role's executable that it runs as a tool: configurations, cut for that role, on
 * an inherited descriptor. No secret goes this way; a tool connects to nothing.
 */
#ifndef PROTO_HANDOVER_H
#define PROTO_HANDOVER_H

#include "proto/slice.h"

/* One configuration. */
struct handover {
    char *name; /* its file */
    struct slice *slice;
};
struct handovers {
    struct handover *list;
    size_t count;
};

/* Takes SLICE over. */
void handover_add(struct handovers *h, const char *name, struct slice *slice);
/* The slice of the file NAME; NULL if there is none. */
const struct slice *handover_find(const struct handovers *h, const char *name);
void handover_free(struct handovers *h);
/* The path of NAME, which FILE mentions: as it is, or beside FILE. The caller frees. */
char *handover_beside(const char *file, const char *name);

/* A descriptor of memory that holds all, at its beginning, and that a child inherits; -1 with errno. */
int handover_write(const struct handovers *h);
/* Reads it from FD. 0, or -1 if it cannot be read or is something else. */
int handover_read(int fd, struct handovers *h);

#endif
