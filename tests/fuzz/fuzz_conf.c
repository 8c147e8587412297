/* links: conf proto core */
/* A configuration: any text; what loads must be cut into slices, and its print must load again. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void cut_and_free(const struct conf *c)
{
    struct slice *slices[] = {conf_slice_dispatcher(c), conf_slice_sender(c),
                              conf_title(c, "bridge", 0) ? conf_slice_listener(c, conf_title(c, "bridge", 0))
                                                         : NULL};
    for (size_t i = 0; i < sizeof slices / sizeof slices[0]; i++)
        slice_free(&slices[i]);
}

static void print_and_load(const struct conf *c)
{
    char *text = NULL;
    size_t len = 0;
    struct faults faults = {NULL, 0};
    FILE *out = open_memstream(&text, &len);
    if (!out || conf_print(c, out) < 0)
        abort();
    fclose(out);
    struct conf *again = conf_load_text("print", text, len, &faults);
    if (!again)
        abort();
    conf_free(&again);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct faults faults = {NULL, 0};
    struct conf *c = conf_load_text("input", (const char *)data, size, &faults);
    if (!c != (faults.count > 0))
        abort();
    if (c) {
        cut_and_free(c);
        print_and_load(c);
    }
    conf_free(&c);
    faults_free(&faults);
    return 0;
}
