/*
 * Every error code of SMSAPI: its class, and whether it proves that nothing was accepted.
 *
 * Classes and codes: CONTRACT.md section 4 and errors.csv. Proof is ours: a code proves a refusal if its
 * meaning excludes that a message was taken; where in doubt it does not (internal errors, "failed, repeat",
 * codes that cannot come from a send). Codes about a recipient or about the number of recipients prove it for
 * a request with one recipient only: whether the others of a batch were taken is nowhere said (CONTRACT.md
 * section 3, "Several recipients, some bad").
 */
#ifndef SENDER_SMSAPI_CODES_H
#define SENDER_SMSAPI_CODES_H

#include <stdint.h>

#include "proto/wire.h"

enum smsapi_proof {
    PROVES_NOTHING, /* the outcome is unknown */
    PROVES_ONE,     /* proves a refusal if the request had one recipient */
    PROVES_ALL,     /* proves that no recipient of the request was accepted */
};

struct smsapi_code {
    int32_t code;
    enum wire_class class;
    enum smsapi_proof proof;
};

/* Named where the code itself matters. */
enum { SMSAPI_BAD_NUMBER = 13 };

/* The row of CODE. A code that is not in the table has no class and proves nothing (CONTRACT.md section 4:
 * "do not loop: small retry count"). Never NULL. */
const struct smsapi_code *smsapi_code(int32_t code);

#endif
