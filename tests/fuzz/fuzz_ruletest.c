/* links: dispatcher_parts proto expr core m */
/* A file of rule tests: any bytes; it is read or refused with faults, each with its place. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dispatcher/ruletest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    char path[64];
    struct faults faults = {0};
    struct ruletests tests;
    if (fd < 0)
        fd = memfd_create("ruletest", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ruletests_read(&tests, path, &faults);
    if (!faults.count && !tests.json)
        abort();
    ruletests_free(&tests);
    faults_free(&faults);
    return 0;
}
