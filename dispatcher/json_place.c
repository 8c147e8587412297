#include "dispatcher/json_place.h"

#include <stdbool.h>
#include <string.h>

struct walk {
    const char *text;
    size_t len, at, found;
    const cJSON *wanted;
    bool done;
};

struct json_place json_place_of(const char *text, size_t len, size_t offset)
{
    struct json_place place = {1, 1};
    for (size_t i = 0; i < offset && i < len; i++) {
        if (text[i] == '\n') {
            place.line++;
            place.column = 1;
        } else if (((unsigned char)text[i] & 0xc0) != 0x80) {
            place.column++;
        }
    }
    return place;
}

static void skip_blanks(struct walk *w)
{
    while (w->at < w->len && strchr(" \t\r\n", w->text[w->at]) && w->text[w->at])
        w->at++;
}

static void skip_string(struct walk *w)
{
    if (w->at < w->len)
        w->at++;
    while (w->at < w->len && w->text[w->at] != '"')
        w->at += w->text[w->at] == '\\' ? 2 : 1;
    w->at++;
}

static void skip_one(struct walk *w, char c)
{
    skip_blanks(w);
    if (w->at < w->len && w->text[w->at] == c)
        w->at++;
    skip_blanks(w);
}

static void find(struct walk *w)
{
    w->found = w->at;
    w->done = true;
}

static void step(struct walk *w, const cJSON *node);

static void step_inside(struct walk *w, const cJSON *node)
{
    bool object = cJSON_IsObject(node);
    skip_one(w, object ? '{' : '[');
    for (const cJSON *child = node->child; child && !w->done; child = child->next) {
        skip_blanks(w);
        if (child == w->wanted) {
            find(w);
            return;
        }
        if (object) {
            skip_string(w);
            skip_one(w, ':');
        }
        step(w, child);
        skip_one(w, ',');
    }
    if (!w->done)
        skip_one(w, object ? '}' : ']');
}

static void step(struct walk *w, const cJSON *node)
{
    skip_blanks(w);
    if (node == w->wanted)
        find(w);
    else if (cJSON_IsObject(node) || cJSON_IsArray(node))
        step_inside(w, node);
    else if (cJSON_IsString(node))
        skip_string(w);
    else
        while (w->at < w->len && !strchr(",]} \t\r\n", w->text[w->at]))
            w->at++;
}

struct json_place json_place_find(const char *text, size_t len, const cJSON *root, const cJSON *node)
{
    struct walk w = {.text = text, .len = len, .wanted = node};
    step(&w, root);
    return json_place_of(text, len, w.done ? w.found : 0);
}
