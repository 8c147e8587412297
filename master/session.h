/*
 * Which of the two token sessions on the Bridges the listeners use: "a" or "b". It alternates at reload; a
 * master that follows one that was killed takes the other, because the killed one's listeners may still be
 * leaving and no two living processes share a session. The letter is kept in the runtime directory.
 */
#ifndef MASTER_SESSION_H
#define MASTER_SESSION_H

#include <stdbool.h>

/* Reads RUNTIME_DIR/session; the letter for a start. AFTER_CRASH: the former master did not leave in order.
 */
char session_choose(const char *runtime_dir, bool after_crash);
/* Keeps LETTER for the next start; session_choose must have been called. */
void session_save(char letter);
void session_free(void);

#endif
