/* The subcommands' functions, for the table in command.c. Each returns an exit code. */
#ifndef MASTER_COMMANDS_H
#define MASTER_COMMANDS_H

#include "master/command.h"

int run_command(const struct arguments *arguments);
int check_command(const struct arguments *arguments);
int status_command(const struct arguments *arguments);
int send_command(const struct arguments *arguments);
int queue_command(const struct arguments *arguments);
int silence_command(const struct arguments *arguments);
int optout_command(const struct arguments *arguments);
int pause_command(const struct arguments *arguments);
int resume_command(const struct arguments *arguments);
int reload_command(const struct arguments *arguments);
int stop_command(const struct arguments *arguments);
int scale_command(const struct arguments *arguments);
int reopen_command(const struct arguments *arguments);
int resync_command(const struct arguments *arguments);
int reference_command(const struct arguments *arguments);
int eval_command(int argc, char **argv);
int explain_command(const struct arguments *arguments);
int test_command(const struct arguments *arguments);
int replay_command(const struct arguments *arguments);

extern const struct option_row run_options[], check_options[], status_options[], send_options[],
    queue_options[], line_options[], plain_options[], stop_options[], resync_options[], reference_options[],
    silence_options[], optout_options[], replay_options[], explain_options[], test_options[];

#endif
