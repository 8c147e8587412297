#include "tests/sim/sim_main.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool usage(const char *name, const char *more)
{
    fprintf(stderr,
            "usage: %s [--listen ADDRESS:PORT] [--port-file FILE] [--control ADDRESS:PORT]\n"
            "       [--control-port-file FILE] [--tls-cert FILE --tls-key FILE] [--config FILE]%s\n",
            name, more);
    return false;
}

bool sim_main_arguments(int argc, char **argv, const char *name, const char *more, struct sim_arguments *a)
{
    static const struct option options[] = {
        {"listen", required_argument, NULL, 'l'},
        {"port-file", required_argument, NULL, 'p'},
        {"control", required_argument, NULL, 'c'},
        {"control-port-file", required_argument, NULL, 'q'},
        {"tls-cert", required_argument, NULL, 't'},
        {"tls-key", required_argument, NULL, 'k'},
        {"config", required_argument, NULL, 'f'},
        {"token-file", required_argument, NULL, 'o'},
        {"print", no_argument, NULL, 'P'},
        {"quiet-fast", no_argument, NULL, 'Q'},
        {NULL, 0, NULL, 0},
    };
    *a = (struct sim_arguments){.listen = "127.0.0.1:0"};
    const struct {
        int letter;
        const char **slot;
    } texts[] = {
        {'l', &a->listen},      {'p', &a->port_file}, {'c', &a->control}, {'q', &a->control_port_file},
        {'t', &a->certificate}, {'k', &a->key},       {'f', &a->config},  {'o', &a->token_file},
    };
    int letter;
    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
            if (texts[i].letter == letter) {
                *texts[i].slot = optarg;
            }
        }
        a->print = a->print || letter == 'P';
        a->fast = a->fast || letter == 'Q';
        if (letter == '?') {
            return usage(name, more);
        }
    }
    if (optind != argc || (a->certificate == NULL) != (a->key == NULL)) {
        return usage(name, more);
    }
    return true;
}

struct event_base *sim_main_base(void)
{
    struct event_config *config = event_config_new();
    signal(SIGPIPE, SIG_IGN);
    event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    if (base == NULL) {
        abort();
    }
    return base;
}

/* The file appears whole: a reader that sees it sees the number. */
static bool write_port(const char *path, int port)
{
    if (path == NULL) {
        return true;
    }
    struct sim_buf temporary = {0};
    sim_buf_printf(&temporary, "%s.new", path);
    FILE *f = fopen(temporary.data, "w");
    bool good = f != NULL && fprintf(f, "%d\n", port) > 0;
    good = f != NULL && fclose(f) == 0 && good && rename(temporary.data, path) == 0;
    if (!good) {
        fprintf(stderr, "cannot write %s: %s\n", path, strerror(errno));
    }
    sim_buf_free(&temporary);
    return good;
}

bool sim_main_listen(struct event_base *base, const char *name, const struct sim_arguments *a,
                     struct sim_server_options *o, struct sim_server **server, struct sim_server **control)
{
    o->listen = a->listen;
    o->tls_certificate = a->certificate;
    o->tls_key = a->key;
    *server = sim_server_new(base, o);
    if (*server == NULL || !write_port(a->port_file, sim_server_port(*server))) {
        return false;
    }
    printf("%s listens on port %d\n", name, sim_server_port(*server));
    if (a->control != NULL) {
        o->listen = a->control;
        o->tls_certificate = NULL;
        o->idle_ms = 0;
        *control = sim_server_new(base, o);
        if (*control == NULL || !write_port(a->control_port_file, sim_server_port(*control))) {
            return false;
        }
        printf("%s is controlled on port %d\n", name, sim_server_port(*control));
    }
    fflush(stdout);
    return true;
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    event_base_loopbreak(arg);
}

void sim_main_run(struct event_base *base)
{
    struct event *term = evsignal_new(base, SIGTERM, on_signal, base);
    struct event *interrupt = evsignal_new(base, SIGINT, on_signal, base);
    event_add(term, NULL);
    event_add(interrupt, NULL);
    event_base_dispatch(base);
    event_free(term);
    event_free(interrupt);
}
