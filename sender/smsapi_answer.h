/*
 * Reading what SMSAPI answered to a send: HTTP status and body in, one verdict for each recipient out.
 *
 * Pure: no clock, no memory kept, no log. Success is judged by the body (CONTRACT.md section 3): an `error`
 * that is there and not null is an error whatever the status; otherwise the recipients found in `list` are
 * accepted. A recipient of whom the answer says nothing certain is WIRE_UNKNOWN. An entry in `list` always
 * wins over an error beside it: an acceptance must never be lost.
 */
#ifndef SENDER_SMSAPI_ANSWER_H
#define SENDER_SMSAPI_ANSWER_H

#include "sender/provider.h"

enum {
    SMSAPI_ANSWER_MAX = 256 * 1024, /* bytes of an answer; a longer one is not read: unknown */
    SMSAPI_ANSWER_DEPTH_MAX = 16,
};

struct smsapi_answer {
    int http_status;        /* 0: the answer did not come to its end */
    int64_t retry_after_ms; /* of the header; -1: none */
    const char *body;       /* need not end with a NUL; may be NULL when LEN is 0 */
    size_t len;
    bool cut; /* the body was longer than SMSAPI_ANSWER_MAX, or did not come to its end */
};

/* Fills VERDICTS[0 … COUNT-1] for the recipients of one request; numbers are compared without their plus. */
void smsapi_answer_read(const struct smsapi_answer *answer, const struct request_job *jobs, size_t count,
                        struct verdict *verdicts);

/* A price: a number or a numeric text (CONTRACT.md section 3, `points`), in millionths. -1 if it is none. */
struct cJSON;
int64_t smsapi_points_micro(const struct cJSON *value);

/* JSON text within the bounds above, or NULL. Free with cJSON_Delete. */
struct cJSON *smsapi_parse(const char *body, size_t len);

/* Copies words for people: at most 200 bytes of valid UTF-8, control characters as blanks, all digits but the
 * last three of runs of six or more as stars. */
void smsapi_words(const char *text, char out[PROVIDER_WORDS_MAX]);

#endif
