/*
 * The body of POST /sms.do: application/x-www-form-urlencoded, as CONTRACT.md section 2 lists it.
 *
 * to, message, from, idx, expiration_date and max_parts as the request has them; always check_idx=1,
 * format=json and encoding=utf-8; never details, which would make the provider echo the text.
 */
#ifndef SENDER_SMSAPI_FORM_H
#define SENDER_SMSAPI_FORM_H

#include "core/buf.h"
#include "sender/provider.h"

/* Appends S in percent encoding; all but letters, digits and "-._~" is encoded, a blank too. */
void smsapi_form_encode(struct buf *out, const char *s, size_t len);

/* Replaces OUT by the body for R at wall clock NOW_MS. MAX_PARTS 0: not said. 0, or -1 beyond OUT's limit. */
int smsapi_form_build(struct buf *out, const struct request *r, int64_t now_ms, int max_parts);

#endif
