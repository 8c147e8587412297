/* links: dispatcher_parts expr proto core m */
/* The directory as CSV: any bytes; who is taken is found again, and nothing is taken where a fault is told.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/phone.h"
#include "dispatcher/directory_parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(void *arg, const struct person *p)
{
    if (people_find(arg, p->user, strlen(p->user)) != p || (p->number && !phone_is(p->number)))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct faults faults = {0};
    struct directory_reader r = {
        .path = "people.csv", .country = "+48", .row_word = "line", .faults = &faults};
    directory_reader_open(&r);
    directory_read_csv(&r, (const char *)data, size);
    people_tagged(r.people, "oncall", strlen("oncall"), check, r.people);
    if (r.bad != faults.count && r.bad <= DIRECTORY_FAULTS_MAX)
        abort();
    directory_reader_close(&r);
    faults_free(&faults);
    return 0;
}
