/* The signals the master listens to, as events of the loop: one table of what each does. */
#ifndef MASTER_SIGNALS_H
#define MASTER_SIGNALS_H

/* Blocks them and begins to listen. */
void signals_setup(void);
/* Only the news of children, for commands that start some; TERM, INT and the others keep their usual effect.
 */
void signals_setup_children(void);
void signals_free(void);

#endif
