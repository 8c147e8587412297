#include "core/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

enum { BOOT_ID_MAX = 40 };

static uint64_t read_ns(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t clock_mono_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

uint64_t clock_mono_ms(void)
{
    return read_ns(CLOCK_MONOTONIC) / 1000000u;
}

uint64_t clock_boot_ms(void)
{
    return read_ns(CLOCK_BOOTTIME) / 1000000u;
}

const char *clock_boot_id(void)
{
    static char id[BOOT_ID_MAX];
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    if (!id[0]) {
        FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
        if (f && fscanf(f, "%39s", id) != 1)
            id[0] = '\0';
        if (f)
            fclose(f);
    }
    pthread_mutex_unlock(&lock);
    return id;
}

int64_t clock_wall_ms(void)
{
    return (int64_t)(read_ns(CLOCK_REALTIME) / 1000000u);
}

void clock_format(int64_t wall_ms, char out[25])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    int ms = (int)(wall_ms % 1000);
    if (ms < 0) {
        ms += 1000;
        seconds--;
    }
    struct tm tm = {0};
    gmtime_r(&seconds, &tm);
    char date[32];
    if (strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm) != 19)
        snprintf(date, sizeof date, "0000-00-00T00:00:00");
    snprintf(out, 25, "%.19s.%03dZ", date, ms);
}
