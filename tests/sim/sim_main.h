/*
 * What the main functions of both simulators share: the command line, the port files, the loop until TERM or
 * INT.
 */
#ifndef BRIDGEBELL_TESTS_SIM_MAIN_H
#define BRIDGEBELL_TESTS_SIM_MAIN_H

#include "tests/sim/sim_http.h"

struct sim_arguments {
    const char *listen;
    const char *port_file;
    const char *control;
    const char *control_port_file;
    const char *config;
    const char *certificate;
    const char *key;
    const char *token_file;
    bool print;
    bool fast;
};

/* Reads the command line; false after a usage line on stderr. more: flags of this simulator, for the usage.
 */
bool sim_main_arguments(int argc, char **argv, const char *name, const char *more, struct sim_arguments *a);
struct event_base *sim_main_base(void);
/* Makes the public server and, if asked for, the control server, and tells their ports. */
bool sim_main_listen(struct event_base *base, const char *name, const struct sim_arguments *a,
                     struct sim_server_options *o, struct sim_server **server, struct sim_server **control);
/* Runs until TERM or INT. */
void sim_main_run(struct event_base *base);

#endif
