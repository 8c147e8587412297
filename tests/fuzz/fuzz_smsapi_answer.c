/* links: sender_parts proto http core */
/* The provider's answers: any status, any body. Nothing that is not named in the body may be accepted. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sender/smsapi_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct request_job jobs[3] = {{.number = "+48500500501", .idx = "a-1"},
                                               {.number = "+48500500502", .idx = "b-1"},
                                               {.number = "+49", .idx = "c-1"}};
    static const int statuses[] = {200, 201, 302, 400, 401, 403, 404, 408, 429, 500, 0, 99, 1000, -1};
    if (size < 2)
        return 0;
    size_t count = 1 + data[0] % 3;
    struct smsapi_answer answer = {
        .http_status = statuses[data[1] % (sizeof statuses / sizeof statuses[0])],
        .retry_after_ms = -1,
        .body = (const char *)data + 2,
        .len = size - 2,
    };
    struct verdict verdicts[3];
    smsapi_answer_read(&answer, jobs, count, verdicts);
    for (size_t i = 0; i < count; i++) {
        bool said = answer.http_status / 100 == 2 || answer.http_status / 100 == 4;
        if (verdicts[i].outcome >= WIRE_OUTCOMES || verdicts[i].outcome == WIRE_UNSENT ||
            (verdicts[i].outcome != WIRE_UNKNOWN && !said) ||
            !memchr(verdicts[i].words, 0, PROVIDER_WORDS_MAX) || !memchr(verdicts[i].id, 0, PROVIDER_ID_MAX))
            abort();
    }
    return 0;
}
