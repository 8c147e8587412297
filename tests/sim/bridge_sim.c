/*
 * bridge-sim: a PrivMX Bridge to test and demo against. See tests/sim/README.md.
 */
#include "tests/sim/bridge.h"
#include "tests/sim/sim_main.h"

#include <errno.h>
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
    struct sim_arguments a;
    if (!sim_main_arguments(argc, argv, "bridge-sim", "", &a)) {
        return 2;
    }
    struct bridge b = {.base = sim_main_base(), .chance = 1};
    bridge_settings_default(&b);
    bool loaded = load(&b, a.config);
    struct sim_server_options o = {.idle_ms = b.set.http_idle_ms,
                                   .keep_alive = "timeout=5",
                                   .body_max_bytes = 256u << 20,
                                   .ctx = &b,
                                   .on_request = on_request,
                                   .on_close = on_close};
    int status = 1;
    if (loaded && sim_main_listen(b.base, "bridge-sim", &a, &o, &b.server, &b.control)) {
        sim_server_set_clock(b.server, b.set.clock_offset_ms);
        sockets_ping_start(&b);
        sim_main_run(b.base);
        status = 0;
    }
    bridge_free(&b);
    return status;
}
