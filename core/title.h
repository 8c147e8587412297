/* The process title that `ps` shows: "bridgebell: listener main (subscribed)". */
#ifndef CORE_TITLE_H
#define CORE_TITLE_H

/* First thing in main: remembers the space of argv and moves environ out of it. Returns argv, copied. */
char **title_setup(int argc, char **argv);
void title_set(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
