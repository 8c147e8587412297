/* `bridgebell test`: rule tests in files. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/alloc.h"
#include "master/commands.h"
#include "master/json.h"
#include "master/print.h"
#include "master/text.h"
#include "master/tools.h"

enum { FILE_BYTES_MAX = 16 * 1024 * 1024 };

const struct option_row test_options[] = {
    {"config", 'c', "FILE",
     "configuration of tests that name none (default /etc/bridgebell/bridgebell.conf)"},
    {"numbers", 'n', NULL, "show whole numbers"},
    {"json", 'j', NULL, "one JSON object a line"},
    {"help", 'h', NULL, "show this text"},
    {0},
};

struct testing {
    const struct arguments *arguments;
    const char *config;
    char **files;
    size_t count;
    struct handovers slices;
    char **unusable; /* configurations that have been tried */
    size_t unusable_count;
    bool colour;
};

/* ---- files ---- */

static void add_file(struct testing *t, char *path)
{
    t->files = xreallocarray(t->files, t->count + 1, sizeof *t->files);
    t->files[t->count++] = path;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_directory(struct testing *t, const char *path)
{
    DIR *d = opendir(path);
    size_t first = t->count, len = strlen(path);
    if (!d) {
        add_file(t, xstrdup(path));
        return;
    }
    for (struct dirent *entry; (entry = readdir(d));) {
        const char *end = strrchr(entry->d_name, '.');
        if (end && strcmp(end, ".json") == 0 && entry->d_name[0] != '.')
            add_file(t, xasprintf("%s%s%s", path, len && path[len - 1] == '/' ? "" : "/", entry->d_name));
    }
    closedir(d);
    if (t->count > first)
        qsort(t->files + first, t->count - first, sizeof *t->files, compare);
}

/* What cannot be read stays in the list: the tool counts it as failed and goes on. */
static void find_files(struct testing *t)
{
    for (size_t i = 0; i < t->arguments->words_count; i++) {
        const char *path = t->arguments->words[i];
        struct stat st;
        if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
            add_directory(t, path);
        else
            add_file(t, xstrdup(path));
    }
}

/* ---- configurations ---- */

/* NULL if it cannot be read or is no JSON: the tool says so. */
static cJSON *read_json(const char *path)
{
    FILE *f = fopen(path, "re");
    struct stat st;
    cJSON *json = NULL;
    if (f && fstat(fileno(f), &st) == 0 && st.st_size <= FILE_BYTES_MAX) {
        char *text = xmalloc((size_t)st.st_size + 1);
        size_t len = fread(text, 1, (size_t)st.st_size, f);
        json = cJSON_ParseWithLength(text, len);
        free(text);
    }
    if (f)
        fclose(f);
    return json;
}

static bool is_unusable(const struct testing *t, const char *path)
{
    for (size_t i = 0; i < t->unusable_count; i++)
        if (strcmp(t->unusable[i], path) == 0)
            return true;
    return false;
}

/* Its faults are told once; the tool then fails each test that needs it. */
static void load_path(struct testing *t, const char *path)
{
    if (is_unusable(t, path) || tools_load(&t->slices, path) == 0)
        return;
    t->unusable = xreallocarray(t->unusable, t->unusable_count + 1, sizeof *t->unusable);
    t->unusable[t->unusable_count++] = xstrdup(path);
}

static void load_config(struct testing *t, const char *file, const cJSON *test)
{
    const char *config = json_text(test, "config");
    char *path = config[0] ? handover_beside(file, config) : xstrdup(t->config);
    load_path(t, path);
    free(path);
}

static void load_configs(struct testing *t)
{
    for (size_t i = 0; i < t->count; i++) {
        cJSON *json = read_json(t->files[i]);
        const cJSON *test;
        if (cJSON_IsObject(json))
            load_config(t, t->files[i], json);
        else if (cJSON_IsArray(json))
            cJSON_ArrayForEach(test, json) load_config(t, t->files[i], test);
        cJSON_Delete(json);
    }
}

/* ---- what comes of it ---- */

static void print_clean(const char *text)
{
    char *clean = text_clean(text, TEXT_ONE_LINE);
    fputs(clean, stdout);
    free(clean);
}

static enum text_colour colour_of(const char *mark)
{
    return *mark == '+' ? TEXT_GREEN : *mark == '-' ? TEXT_RED : TEXT_DIM;
}

static void print_failure(const struct testing *t, const cJSON *failure)
{
    const cJSON *line;
    double step = json_number(failure, "step");
    if (step > 0)
        printf("  step %.0f\n", step);
    else
        puts("  after the last step");
    cJSON_ArrayForEach(line, json_member(failure, "lines"))
    {
        const char *mark = json_text(line, "mark");
        printf("    %s%s ", text_colour_on(colour_of(mark), t->colour), mark);
        print_clean(json_text(line, "text"));
        printf("%s\n", text_colour_off(colour_of(mark), t->colour));
    }
}

static void print_test(const struct testing *t, const cJSON *test)
{
    bool passed = json_flag(test, "passed");
    enum text_colour colour = passed ? TEXT_GREEN : TEXT_RED;
    const cJSON *failure;
    printf("%s%s%s  ", text_colour_on(colour, t->colour), passed ? "pass" : "FAIL",
           text_colour_off(colour, t->colour));
    print_clean(json_text(test, "file"));
    fputs(": ", stdout);
    print_clean(json_text(test, "name"));
    putchar('\n');
    cJSON_ArrayForEach(failure, json_member(test, "failures")) print_failure(t, failure);
}

static void take_line(void *arg, const cJSON *line)
{
    struct testing *t = arg;
    const char *what = json_text(line, "what");
    if (strcmp(what, "test") == 0) {
        print_test(t, line);
    } else if (strcmp(what, "fault") == 0) {
        char *text = text_clean(json_text(line, "text"), TEXT_LINES);
        fflush(stdout);
        print_fault(stderr, json_text(line, "file"), (unsigned)json_number(line, "line"), text);
        free(text);
    } else if (strcmp(what, "summary") == 0) {
        printf("%.0f passed, %.0f failed\n", json_number(line, "passed"), json_number(line, "failed"));
    }
}

static int run(struct testing *t)
{
    struct tool_words words = {0};
    bool json = options_has(t->arguments, "json");
    tool_option(&words, "--rules", t->config);
    tool_option(&words, "--numbers", options_has(t->arguments, "numbers") ? "1" : NULL);
    tool_word(&words, "--");
    for (size_t i = 0; i < t->count; i++)
        tool_word(&words, t->files[i]);
    int code = tools_run("test", &words, &t->slices, NULL, json ? NULL : take_line, t);
    tool_words_free(&words);
    if (code == TOOLS_NOTHING && !json)
        fputs("no test was found\n", stderr);
    return code;
}

int test_command(const struct arguments *arguments)
{
    struct testing t = {.arguments = arguments, .config = command_config(arguments)};
    t.colour = text_wants_colour(stdout);
    find_files(&t);
    load_configs(&t);
    int code = run(&t);
    for (size_t i = 0; i < t.count; i++)
        free(t.files[i]);
    for (size_t i = 0; i < t.unusable_count; i++)
        free(t.unusable[i]);
    free(t.files);
    free(t.unusable);
    handover_free(&t.slices);
    return code;
}
