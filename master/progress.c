#include "master/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "master/text.h"

enum { BAR = 30, BAR_WIDTH_MIN = 70 };

static bool is_drawn;

bool progress_is_wanted(void)
{
    const char *term = getenv("TERM");
    return isatty(STDERR_FILENO) && !(term && strcmp(term, "dumb") == 0);
}

void progress_draw(double done, double of, double count, const char *word)
{
    char bar[BAR + 1], number[48];
    double part = of > 0 ? done / of : 0;
    part = part < 0 ? 0 : part > 1 ? 1 : part;
    size_t filled = (size_t)(part * BAR);
    memset(bar, '.', BAR);
    memset(bar, '#', filled);
    bar[BAR] = '\0';
    fprintf(stderr, "\r\033[K");
    if (of > 0)
        fprintf(stderr, "%3d%% ", (int)(part * 100));
    if (of > 0 && text_terminal_width(stderr) >= BAR_WIDTH_MIN)
        fprintf(stderr, "[%s] ", bar);
    fprintf(stderr, "%s %s", text_number(count, number, sizeof number), word);
    fflush(stderr);
    is_drawn = true;
}

void progress_clear(void)
{
    if (!is_drawn)
        return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    is_drawn = false;
}
