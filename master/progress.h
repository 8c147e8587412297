/* A progress bar on standard error, if that is a terminal. */
#ifndef MASTER_PROGRESS_H
#define MASTER_PROGRESS_H

#include <stdbool.h>

bool progress_is_wanted(void);
/* Draws it anew: DONE of OF (0: not known), and a count with its word. */
void progress_draw(double done, double of, double count, const char *word);
/* Takes it away, so that something else can be printed; cheap if it is not there. */
void progress_clear(void);

#endif
