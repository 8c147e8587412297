/*
 * bridge-sim: a PrivMX Bridge to test and demo against. See tests/sim/README.md.
 */
#include "tests/sim/bridge.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char default_config[] =
    "{\"solutions\":[{\"id\":\"93618fda-910a-47d8-a17a-ce8a170b895c\",\"name\":\"driver\"}],"
    "\"contexts\":[{\"id\":\"9214534c-ad78-4a9b-bcf1-b54a6ae8ede4\",\"name\":\"driver\"}],"
    "\"keys\":[{\"id\":\"00112233445566778899aabbccddeeff\",\"secret\":\"ffeeddccbbaa99887766554433221100\"}]"
    ","
    "\"threads\":[{\"id\":\"6757b81daafe67cb6e19180e\",\"publicMeta\":{\"name\":\"driver\"}}]}";

/* ---- HTTP ---- */

static void send_pending(struct sim_conn *c)
{
    struct sim_buf *b = sim_conn_user(c);
    struct sim_buf body = *b;
    *b = (struct sim_buf){0};
    sim_conn_answer_json(c, 200, body.data);
    sim_buf_free(&body);
}

static void answer_rpc(struct bridge *b, struct sim_conn *c, struct sim_request *r)
{
    if (bridge_fault(&b->set.drop_answers_count)) {
        sim_conn_close(c, SIM_END_FIN);
        return;
    }
    struct sim_buf *answer = sim_conn_user(c);
    if (answer == NULL) {
        answer = sim_alloc(sizeof(*answer));
        sim_conn_set_user(c, answer);
    }
    if (!rpc_answer(b, NULL, sim_conn_peer(c), sim_request_header(r, "Authorization"), r->body,
                    r->body_length, answer)) {
        return;
    }
    int64_t delay_ms =
        b->set.answer_delay_ms + (int64_t)(sim_chance(&b->chance) * (double)b->set.answer_jitter_ms);
    if (delay_ms > 0) {
        sim_conn_later(c, delay_ms, send_pending);
    } else {
        send_pending(c);
    }
}

static void answer_404(struct sim_conn *c, const struct sim_request *r)
{
    struct sim_buf b = {0};
    sim_buf_printf(&b,
                   "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta "
                   "charset=\"utf-8\">\n<title>Error</title>\n</head>\n"
                   "<body>\n<pre>Cannot %s %.*s</pre>\n</body>\n</html>\n",
                   r->method, (int)strcspn(r->target, "?<>&\"'"), r->target);
    sim_conn_answer(c, &(struct sim_answer){.status = 404,
                                            .content_type = "text/html; charset=utf-8",
                                            .body = b.data,
                                            .body_length = b.len});
    sim_buf_free(&b);
}

static void on_request(struct sim_conn *c, struct sim_request *r, void *ctx)
{
    struct bridge *b = ctx;
    const char *upgrade = sim_request_header(r, "Upgrade");
    if (strncmp(r->target, "/_sim/", 6) == 0) {
        control_request(b, c, r);
    } else if (r->upgrade && upgrade != NULL && strcasecmp(upgrade, "websocket") == 0) {
        sockets_upgrade(b, c, r);
    } else if (b->set.http_status != 0 && bridge_fault(&b->set.http_status_count)) {
        const char *body = b->http_body != NULL ? b->http_body : "<html><body>unavailable</body></html>";
        sim_conn_answer(c, &(struct sim_answer){.status = (int)b->set.http_status,
                                                .content_type = "text/html",
                                                .body = body,
                                                .body_length = strlen(body)});
    } else if (sim_request_is(r, "POST", "/api") || sim_request_is(r, "POST", "/api/")) {
        answer_rpc(b, c, r);
    } else if (sim_request_is(r, "GET", "/health") || sim_request_is(r, "GET", "/ready")) {
        sim_conn_answer_json(c, 200, "{\"status\":\"ok\"}");
    } else if (sim_request_is(r, "GET", "/privmx-configuration.json")) {
        sim_conn_answer_json(c, 200, "{\"defaultEndpoint\":\"//localhost\"}");
    } else if (strcmp(r->method, "OPTIONS") == 0) {
        sim_conn_answer(c, &(struct sim_answer){.status = 200, .body = "", .body_length = 0});
    } else {
        answer_404(c, r);
    }
}

static void on_close(struct sim_conn *c, void *ctx)
{
    struct bridge *b = ctx;
    control_conn_closed(b, c);
    sockets_conn_closed(b, c);
    struct sim_buf *answer = sim_conn_user(c);
    if (answer != NULL) {
        sim_buf_free(answer);
        free(answer);
    }
}

/* ---- start and end ---- */

struct arguments {
    const char *listen;
    const char *port_file;
    const char *control;
    const char *control_port_file;
    const char *config;
    const char *certificate;
    const char *key;
};

static const char usage[] =
    "usage: bridge-sim [--listen ADDRESS:PORT] [--port-file FILE] [--control ADDRESS:PORT]\n"
    "                  [--control-port-file FILE] [--tls-cert FILE --tls-key FILE] [--config FILE]\n";

static bool read_arguments(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {
        {"listen", required_argument, NULL, 'l'},   {"port-file", required_argument, NULL, 'p'},
        {"control", required_argument, NULL, 'c'},  {"control-port-file", required_argument, NULL, 'q'},
        {"tls-cert", required_argument, NULL, 't'}, {"tls-key", required_argument, NULL, 'k'},
        {"config", required_argument, NULL, 'f'},   {NULL, 0, NULL, 0},
    };
    *a = (struct arguments){.listen = "127.0.0.1:0"};
    int o;
    while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
        const char **slot = o == 'l'   ? &a->listen
                            : o == 'p' ? &a->port_file
                            : o == 'c' ? &a->control
                            : o == 'q' ? &a->control_port_file
                            : o == 't' ? &a->certificate
                            : o == 'k' ? &a->key
                            : o == 'f' ? &a->config
                                       : NULL;
        if (slot == NULL) {
            return false;
        }
        *slot = optarg;
    }
    return optind == argc && (a->certificate == NULL) == (a->key == NULL);
}

static bool load(struct bridge *b, const char *path)
{
    char *text = path != NULL ? sim_read_file(path, NULL) : sim_strdup(default_config);
    if (text == NULL) {
        fprintf(stderr, "cannot read %s: %s\n", path, strerror(errno));
        return false;
    }
    const char *wrong = make_from_config(b, text);
    free(text);
    if (wrong != NULL) {
        fprintf(stderr, "%s: %s\n", path != NULL ? path : "(defaults)", wrong);
    }
    b->set_at_start = b->set;
    return wrong == NULL;
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

static bool listen_all(struct bridge *b, const struct arguments *a)
{
    struct sim_server_options o = {.listen = a->listen,
                                   .tls_certificate = a->certificate,
                                   .tls_key = a->key,
                                   .idle_ms = b->set.http_idle_ms,
                                   .keep_alive = "timeout=5",
                                   .body_max_bytes = 256u << 20,
                                   .ctx = b,
                                   .on_request = on_request,
                                   .on_close = on_close};
    b->server = sim_server_new(b->base, &o);
    if (b->server == NULL || !write_port(a->port_file, sim_server_port(b->server))) {
        return false;
    }
    printf("bridge-sim listens on port %d\n", sim_server_port(b->server));
    if (a->control != NULL) {
        o.listen = a->control;
        o.tls_certificate = NULL;
        o.idle_ms = 0;
        b->control = sim_server_new(b->base, &o);
        if (b->control == NULL || !write_port(a->control_port_file, sim_server_port(b->control))) {
            return false;
        }
        printf("bridge-sim is controlled on port %d\n", sim_server_port(b->control));
    }
    sim_server_set_clock(b->server, b->set.clock_offset_ms);
    fflush(stdout);
    return true;
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    event_base_loopbreak(arg);
}

static struct event_base *new_base(void)
{
    struct event_config *config = event_config_new();
    event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    if (base == NULL) {
        abort();
    }
    return base;
}

static void bridge_free(struct bridge *b)
{
    flood_free(b);
    make_bulk_stop(b);
    if (b->server != NULL) {
        sim_server_free(b->server);
    }
    if (b->control != NULL) {
        sim_server_free(b->control);
    }
    if (b->ping_timer != NULL) {
        event_free(b->ping_timer);
    }
    tokens_free(b);
    state_free(b);
    sim_map_clear(&b->credits, free);
    sim_map_clear(&b->logins, NULL);
    sim_map_clear(&b->calls, NULL);
    sim_map_clear(&b->refusals, NULL);
    sim_map_clear(&b->emitted, NULL);
    free(b->events);
    free(b->http_body);
    free(b->upgrade_location);
    free(b->fault_method);
    free(b->fault_answer);
    event_base_loop(b->base, EVLOOP_NONBLOCK); /* connections are freed at the end of the pass */
    event_base_free(b->base);
}

int main(int argc, char **argv)
{
    struct arguments a;
    if (!read_arguments(argc, argv, &a)) {
        fputs(usage, stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    struct bridge b = {.base = new_base(), .chance = 1};
    bridge_settings_default(&b);
    struct event *term = evsignal_new(b.base, SIGTERM, on_signal, b.base);
    struct event *interrupt = evsignal_new(b.base, SIGINT, on_signal, b.base);
    int status = 1;
    if (load(&b, a.config) && listen_all(&b, &a)) {
        sockets_ping_start(&b);
        event_add(term, NULL);
        event_add(interrupt, NULL);
        event_base_dispatch(b.base);
        status = 0;
    }
    event_free(term);
    event_free(interrupt);
    bridge_free(&b);
    return status;
}
