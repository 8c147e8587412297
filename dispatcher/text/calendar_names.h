/*
 * Names of days and months by language.
 */
#ifndef BRIDGEBELL_DISPATCHER_TEXT_CALENDAR_NAMES_H
#define BRIDGEBELL_DISPATCHER_TEXT_CALENDAR_NAMES_H

struct calendar_names {
    char language[4];
    const char *days[7]; /* from Sunday */
    const char *short_days[7];
    const char *months[12];
    const char *short_months[12];
};

/* English first; ends with a language "". */
extern const struct calendar_names calendar_names[];

#endif
