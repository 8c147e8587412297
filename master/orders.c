#include "master/orders.h"

#include "core/log.h"
#include "master/supervise.h"

void orders_reopen_logs(void)
{
    if (log_reopen())
        log_error("the log file cannot be opened again");
    struct crew *crew;
    for (size_t i = 0; (crew = supervise_at(i)); i++)
        crew_reopen_logs(crew);
    log_info("log files opened again");
}

unsigned orders_senders(void)
{
    return supervise_crew() ? crew_senders(supervise_crew()) : 0;
}

const char *orders_scale(long count)
{
    if (supervise_activity())
        return "not while bridgebell is starting, reloading or stopping; try again";
    if (count < 0 || count > CREW_SENDERS_MAX)
        return "the number of senders is 0 to 64";
    unsigned former = orders_senders();
    crew_scale(supervise_crew(), (unsigned)count);
    supervise_poke();
    log_info("the number of senders changes; a reload takes the configuration's again",
             log_int("from", former), log_int("to", count));
    return NULL;
}

const char *orders_scale_by(int by)
{
    return orders_scale((long)orders_senders() + by);
}
