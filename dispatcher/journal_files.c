#include "dispatcher/journal_files.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/alloc.h"

/* ---- names ---- */

void journal_file_name(int64_t started_ms, char out[JOURNAL_NAME_MAX])
{
    time_t seconds = (time_t)(started_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t len = strftime(out, JOURNAL_NAME_MAX, "events-%Y%m%dT%H%M%S", &tm);
    snprintf(out + len, JOURNAL_NAME_MAX - len, ".%03dZ.jsonl", (int)(started_ms % 1000));
}

/* -1 if NAME is not one of ours. */
static int64_t time_of_name(const char *name)
{
    struct tm tm = {0};
    char again[JOURNAL_NAME_MAX];
    if (sscanf(name, "events-%4d%2d%2dT%2d%2d%2d.", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min, &tm.tm_sec) != 6)
        return -1;
    const char *dot = strchr(name, '.');
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    int64_t ms = (int64_t)timegm(&tm) * 1000 + strtol(dot + 1, NULL, 10) % 1000;
    if (ms < 0)
        return -1;
    journal_file_name(ms, again);
    return strcmp(again, name) == 0 ? ms : -1;
}

/* ---- listing ---- */

static void add_file(struct journal_files *out, const char *dir, const char *name, int64_t started_ms)
{
    struct stat st;
    char *path = xasprintf("%s/%s", dir, name);
    if (stat(path, &st) || !S_ISREG(st.st_mode)) {
        free(path);
        return;
    }
    if ((out->count & (out->count - 1)) == 0)
        out->list = xreallocarray(out->list, out->count ? 2 * out->count : 1, sizeof *out->list);
    out->list[out->count++] = (struct journal_file){path, started_ms, (int64_t)st.st_size};
}

static int compare(const void *a, const void *b)
{
    const struct journal_file *x = a, *y = b;
    return (x->started_ms > y->started_ms) - (x->started_ms < y->started_ms);
}

int journal_files_list(const char *dir, struct journal_files *out)
{
    *out = (struct journal_files){0};
    DIR *d = opendir(dir);
    if (!d)
        return -1;
    for (struct dirent *entry; (entry = readdir(d));) {
        int64_t ms = time_of_name(entry->d_name);
        if (ms >= 0)
            add_file(out, dir, entry->d_name, ms);
    }
    closedir(d);
    if (out->count)
        qsort(out->list, out->count, sizeof *out->list, compare);
    return 0;
}

void journal_files_free(struct journal_files *f)
{
    for (size_t i = 0; i < f->count; i++)
        free(f->list[i].path);
    free(f->list);
    *f = (struct journal_files){0};
}

/* ---- what the configuration says, and the file ---- */

void journal_file_mode(const char *line, size_t len, char mode[JOURNAL_MODE_MAX])
{
    static const char head[] = "{\"bridgebell_journal\":1,\"mode\":\"";
    size_t n = 0;
    if (len > sizeof head && memcmp(line, head, sizeof head - 1) == 0)
        for (const char *s = line + sizeof head - 1;
             s < line + len && *s >= 'a' && *s <= 'z' && n < JOURNAL_MODE_MAX - 1; s++)
            mode[n++] = *s;
    mode[n] = '\0';
}

char *journal_directory(const struct slice *slice)
{
    static const char scheme[] = "sqlite:";
    const struct slice_block *b = slice_find(slice, "dispatcher", NULL);
    const char *dir = b ? slice_text(b, "journal_dir", NULL) : NULL;
    const char *store = b ? slice_text(b, "store", NULL) : NULL;
    if (dir && dir[0])
        return xstrdup(dir);
    if (!store || strncmp(store, scheme, sizeof scheme - 1) != 0)
        store = "sqlite:/var/lib/bridgebell/queue.db";
    store += sizeof scheme - 1;
    const char *slash = strrchr(store, '/');
    return xasprintf("%.*sjournal", slash ? (int)(slash + 1 - store) : 0, store);
}

const char *journal_mode(const struct slice *slice)
{
    const struct slice_block *b = slice_find(slice, "dispatcher", NULL);
    return b ? slice_text(b, "journal", "wanted") : "wanted";
}
