#include "master/logs.h"

#include <errno.h>
#include <string.h>

#include "core/log.h"

int logs_configure(const struct conf *conf)
{
    const char *format = conf_text(conf, "log", NULL, "format");
    const char *level = conf_text(conf, "log", NULL, "level");
    const char *file = conf_text(conf, "log", NULL, "file");
    int known = level ? log_level_parse(level) : -1;
    log_configure(format && strcmp(format, "json") == 0 ? LOG_JSON : LOG_LOGFMT,
                  known < 0 ? LOG_INFO : (enum log_level)known);
    if (log_open(file) == 0)
        return 0;
    log_error("the log file cannot be opened", log_str("file", file), log_errno(errno));
    return -1;
}
