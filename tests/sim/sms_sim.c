/*
 * smsapi-sim: an SMSAPI to test and demo against. See tests/sim/README.md.
 */
#include "tests/sim/sim_main.h"
#include "tests/sim/sms.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool load_config(struct sms *s, const char *path)
{
    char *text = path != NULL ? sim_read_file(path, NULL) : sim_strdup("{}");
    cJSON *o = text != NULL ? cJSON_Parse(text) : NULL;
    const char *unknown = cJSON_IsObject(o) ? sms_options_apply(s, o) : "not a readable JSON object";
    if (unknown != NULL) {
        fprintf(stderr, "%s: %s\n", path, unknown);
    }
    s->opt_at_start = s->opt;
    bool good = unknown == NULL;
    cJSON_Delete(o);
    free(text);
    return good;
}

/* From a file or the environment: a command line can be read by everyone on the host. */
static bool load_token(struct sms *s, const char *path)
{
    const char *from_environment = getenv("SMSAPI_SIM_TOKEN");
    if (path == NULL) {
        sim_set(&s->token, from_environment != NULL ? from_environment : "sim-token");
        return true;
    }
    s->token = sim_read_file(path, NULL);
    if (s->token == NULL) {
        fprintf(stderr, "cannot read %s\n", path);
        return false;
    }
    s->token[strcspn(s->token, "\r\n")] = '\0';
    return true;
}

static void sms_free(struct sms *s)
{
    if (s->server != NULL) {
        sim_server_free(s->server);
    }
    if (s->control != NULL) {
        sim_server_free(s->control);
    }
    sms_reports_free(s);
    sms_forget(s);
    sms_faults_clear(s);
    cJSON *empty = cJSON_Parse("{\"senders\":[],\"blacklist\":[],\"report_url\":null}");
    sms_options_apply(s, empty);
    cJSON_Delete(empty);
    free(s->token);
    if (s->beat != NULL) {
        event_free(s->beat);
    }
    event_base_loop(s->base, EVLOOP_NONBLOCK); /* connections are freed at the end of the pass */
    event_base_free(s->base);
}

static void on_beat(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct sms *s = arg;
    s->beats_ns[2] = s->beats_ns[1];
    s->beats_ns[1] = s->beats_ns[0];
    s->beats_ns[0] = sim_mono_ns();
}

static void start_beats(struct sms *s)
{
    static const struct timeval every = {.tv_usec = 5000};
    s->beat = event_new(s->base, -1, EV_PERSIST, on_beat, s);
    event_add(s->beat, &every);
}

int main(int argc, char **argv)
{
    struct sim_arguments a;
    if (!sim_main_arguments(argc, argv, "smsapi-sim", " [--token-file FILE] [--print] [--quiet-fast]", &a)) {
        return 2;
    }
    setlocale(LC_CTYPE, "");
    struct sms s = {.base = sim_main_base(), .chance = 1, .fast = a.fast, .print = a.print};
    sms_options_default(&s);
    struct sim_server_options o = {.idle_ms = 65000,
                                   .body_max_bytes = 64u << 20,
                                   .direct_reads = a.fast,
                                   .ctx = &s,
                                   .on_request = sms_on_request,
                                   .on_open = sms_on_open,
                                   .on_close = sms_on_close};
    int status = 1;
    if (load_config(&s, a.config) && load_token(&s, a.token_file) &&
        sim_main_listen(s.base, "smsapi-sim", &a, &o, &s.server, &s.control)) {
        if (!s.fast) {
            start_beats(&s);
        }
        sim_main_run(s.base);
        status = 0;
    }
    sms_free(&s);
    return status;
}
