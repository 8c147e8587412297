/* Runs a fuzz driver on every file of the directories named, where libFuzzer is not linked. Fails if there is
 * none. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/alloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return 0;
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    rewind(f);
    uint8_t *data = size >= 0 ? xmalloc((size_t)size) : NULL;
    int read = data && fread(data, 1, (size_t)size, f) == (size_t)size;
    if (read)
        LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
    fclose(f);
    return read;
}

static int replay_directory(const char *path)
{
    DIR *d = opendir(path);
    int count = 0;
    if (!d)
        return 0;
    for (struct dirent *entry; (entry = readdir(d));) {
        if (entry->d_name[0] == '.')
            continue;
        char *file = xasprintf("%s/%s", path, entry->d_name);
        count += replay_file(file);
        free(file);
    }
    closedir(d);
    return count;
}

int main(int argc, char **argv)
{
    int count = 0;
    for (int i = 1; i < argc; i++)
        count += replay_directory(argv[i]);
    printf("%d seeds replayed\n", count);
    return count ? 0 : 1;
}
