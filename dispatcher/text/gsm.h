/*
 * The GSM 03.38 default alphabet and its extension table.
 */
#ifndef BRIDGEBELL_DISPATCHER_TEXT_GSM_H
#define BRIDGEBELL_DISPATCHER_TEXT_GSM_H

#include <stdint.h>

/* Septets of a character: 1 in the alphabet, 2 in the extension table, 0 in neither. */
unsigned gsm_weight(uint32_t code);

#endif
