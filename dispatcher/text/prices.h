/*
 * What a part of an SMS costs by the country prefix of its number: the block `prices` of the configuration.
 *
 *     prices {
 *         currency = "PLN"
 *         table = { "+48: 0.09", "+49: 0.35", "*: 0.50" }
 *     }
 *
 * The longest prefix that a number begins with decides; "*" is for all others. Money is in millionths of the
 * currency's unit, never in floating point. Immutable once made.
 */
#ifndef BRIDGEBELL_DISPATCHER_TEXT_PRICES_H
#define BRIDGEBELL_DISPATCHER_TEXT_PRICES_H

#include <stddef.h>
#include <stdint.h>

#include "proto/slice.h"

#define PRICES_UNKNOWN INT64_C(-1)
#define PRICES_PARTS_MAX 1000000u /* parts of one price asked for; more count as so many */

struct prices;

/*
 * Reads the block `prices`; without one every price is unknown. Each faulty entry is a fault with file, line
 * and what was expected; then NULL is returned. The slice is not needed afterwards. Free with prices_free.
 */
struct prices *prices_new(const struct slice *slice, struct faults *faults);
/* Frees the prices and clears the pointer; NULL is fine. */
void prices_free(struct prices **prices);
/* How many entries the table has. */
size_t prices_count(const struct prices *prices);
/* The price of `parts` parts to a number ("+48500500500") in millionths; PRICES_UNKNOWN if no entry fits. */
int64_t prices_of(const struct prices *prices, const char *number, size_t parts);
/* "PLN"; "" if none is configured. Lives as long as the prices. */
const char *prices_currency(const struct prices *prices);

#endif
