/*
 * Tool mode of the dispatcher's executable: what needs its code but no running dispatcher.
 *
 *     bridgebell-dispatcher tool eval EXPRESSION [--event FILE|-]
 *
 * eval prints the value of an expression as JSON. FILE holds a notification as the Bridge sends it; without
 * one the names of an event have no value.
 *
 *     bridgebell-dispatcher tool replay | event | explain | job | test --slices FD …
 *
 * get configurations on a descriptor (proto/handover.h) and print JSON, one value a line; the files
 * tool_replay.c, tool_explain.c and tool_test.c say which.
 */
#ifndef DISPATCHER_TOOL_H
#define DISPATCHER_TOOL_H

/* ARGV[0] is the word behind "tool". Returns the exit code: 0 a value, 1 an error of the expression or its
 * evaluation, 2 wrong usage or an unreadable event, 3 there was nothing to do. */
int tool_main(int argc, char **argv);

#endif
