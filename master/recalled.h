/* What people are told of the silences and opt-outs that a decision about the past was made with. */
#ifndef MASTER_RECALLED_H
#define MASTER_RECALLED_H

#include <cjson/cJSON.h>
#include <stdbool.h>

/* A sentence on STORE, the member "store" of a tool's answer, without a full stop. *LACKS: there may have
 * been others. The caller frees. */
char *recalled_words(const cJSON *store, bool *lacks);

#endif
