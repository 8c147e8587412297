/*
 * The simulated SMSAPI: one struct that its modules share, and what each of them offers to the others.
 * Facts are those of CONTRACT.md and errors.csv; where they leave something open there is an option.
 *
 *   sms_sim.c      main: options of the command line, listening
 *   sms_http.c     requests: limits, faults, the answer on the wire
 *   sms_params.c   parameters of a form or of JSON
 *   sms_send.c     POST /sms.do: the checks in their order, acceptance, the reply
 *   sms_check.c    the checks of single parameters
 *   sms_text.c     alphabets, parts, transliteration
 *   sms_memory.c   what was accepted, the idx register, attempts per number, doubles, rates
 *   sms_faults.c   fault rules
 *   sms_control.c  the control API for tests under /_sim
 *   sms_fast.c     the quick way for benchmarks
 *   sms_print.c    messages as phones that ring, for the demo
 *   sms_reports.c  delivery reports
 */
#ifndef BRIDGEBELL_TESTS_SIM_SMS_H
#define BRIDGEBELL_TESTS_SIM_SMS_H

#include "tests/sim/sim_http.h"

#include <cjson/cJSON.h>

/* Options: int64_t each, set by name. */
struct sms_options {
    int64_t rate_per_s;    /* requests of one address in any second; 0: no limit */
    int64_t rate_answer;   /* 202, 203 or 429 */
    int64_t retry_after_s; /* with 429; -1: no header */
    int64_t parallel_max;  /* requests at the same time; 0: no limit */
    int64_t balance;       /* ten-thousandths of a point; -1: endless */
    int64_t price;         /* of a part, in ten-thousandths of a point */
    int64_t points_string;
    int64_t recipients_max;
    int64_t parts_max;         /* of the account; 10 is the most that exists */
    int64_t attempts_max;      /* to one number ... */
    int64_t attempts_window_s; /* ... in this time; 0: no limit */
    int64_t idx_window_s;
    int64_t refused_occupy; /* a refused request takes its idx as well */
    int64_t test_occupy;
    int64_t partial;     /* bad numbers among good ones: 0 left out, 1 left out and named, 2 all refused */
    int64_t batch_53;    /* used idx among new ones: 0 all refused, 1 left out */
    int64_t auth_status; /* HTTP status for a bad token */
    int64_t expiration_min_s;
    int64_t expiration_max_s;
    int64_t quiet_hours; /* outside the account's hours: code 74 unless told to ignore */
    int64_t links_forbidden;
    int64_t notify_single; /* notify_url with several recipients: code 72 */
    int64_t https_only;    /* code 997 */
    int64_t latency_ms;
    int64_t latency_jitter_ms;
    int64_t latency_exponential; /* the jitter is the mean of an exponential distribution */
    int64_t report_status;       /* of delivery reports: 0 none, else 401..412 */
    int64_t report_delay_ms;
    int64_t report_batch; /* reports in one call at most */
    int64_t report_repeat_ms;
};

struct sms_param {
    char *name;
    char *value;
    size_t length;
};
struct sms_params {
    struct sms_param *at;
    size_t count;
    bool json;
};

struct sms_message {
    uint64_t n;
    uint64_t request;
    uint64_t ns;
    int64_t time_ms;
    int64_t due_ms; /* later than time_ms if scheduled */
    char *idx;      /* NULL: none */
    char *number;
    char *text;
    char *from;
    char *notify_url;
    int parts;
    bool cancelled;
    char id[25];
};

/* One recipient of a request being checked. */
struct sms_recipient {
    const char *submitted;
    const char *idx;
    const char *bad; /* why it is not accepted, or NULL */
    int bad_code;
    bool repeated;
    char number[24];
    char *text; /* personalised */
    int parts;
    int length;
};

enum sms_ending { SMS_ANSWER, SMS_HANG, SMS_CLOSE, SMS_RST, SMS_TRUNCATE, SMS_TWICE };
enum sms_body { SMS_BODY, SMS_BODY_CUT, SMS_BODY_HTML, SMS_BODY_EMPTY };

/* What is to become of one request. */
struct sms_plan {
    int64_t before_ms;
    int64_t after_ms;
    int64_t drip_ms;
    int http_status;
    int retry_after_s;
    int error_code;
    bool accept;
    int64_t list_keep;   /* -1: all */
    int64_t accept_keep; /* -1: all */
    enum sms_ending ending;
    enum sms_body body;
};

struct sms_reply {
    int status;
    const char *content_type;
    struct sim_buf headers;
    struct sim_buf body;
};

struct sms_rule;

struct sms_hash_set {
    uint64_t *at;
    size_t count;
    size_t cap;
};

struct sms {
    struct event_base *base;
    struct sim_server *server;
    struct sim_server *control;
    struct sms_options opt;
    struct sms_options opt_at_start;
    char *token;
    char *report_url; /* where reports go if the request named nothing */
    bool fast;
    bool print;
    char **senders; /* NULL: every well-formed name */
    size_t sender_count;
    struct sim_map blacklist; /* number -> code + 1 */
    struct sms_rule *rules;
    size_t rule_count;
    uint64_t chance;
    int64_t close_on_connect;
    int64_t clock_ahead_ms;
    struct event *beat;
    uint64_t beats_ns[3]; /* the last ones, the newest first */
    int64_t held_ms;      /* where the clocks stand still; 0: they go */
    uint64_t held_ns;

    struct sms_message *messages;
    size_t message_count, message_cap;
    struct sim_map idx_register;  /* idx -> time of acceptance */
    struct sim_map idx_accepted;  /* idx -> how often */
    struct sim_map text_accepted; /* number and text -> how often */
    struct sim_map attempts;      /* number -> struct attempts */
    struct sim_map windows;       /* address -> struct window */
    struct sim_map refused;       /* by code */
    struct sim_map paths;
    uint32_t id_run[2];
    uint64_t requests;
    uint64_t accepted;
    uint64_t tests;
    uint64_t doubles_idx;
    uint64_t doubles_text;
    uint64_t bytes_of_texts;
    uint64_t faults_used;
    int64_t spent;
    int in_flight;
    int in_flight_max;
    uint64_t window_max;
    uint64_t attempts_most;
    uint64_t window_messages_max;
    struct window *all_requests;
    struct window *all_messages;
    struct sim_buf double_list; /* JSON strings with commas */

    struct sim_buf fast_keys; /* key NUL key NUL ... */
    uint64_t *fast_ns;
    size_t fast_count, fast_cap;
    struct sms_hash_set fast_idx, fast_text;

    struct reports *reports;
};

int64_t sms_now_ms(const struct sms *s);
/* The time of limits per second, in nanoseconds. */
uint64_t sms_limits_ns(const struct sms *s);

/* ---- sms_params.c ---- */

/* False: the body is neither a form nor a JSON object. */
bool sms_params_read(struct sms_params *p, const struct sim_request *r);
void sms_params_free(struct sms_params *p);
const char *sms_param(const struct sms_params *p, const char *name);
bool sms_flag(const struct sms_params *p, const char *name);
/* The values of name, name[0], name[1], ...; *count of them. The caller frees the list only. */
const char **sms_param_list(const struct sms_params *p, const char *name, char separator, size_t *count,
                            char **storage);

/* ---- sms_text.c ---- */

struct sms_measure {
    bool unicode;
    int length; /* septets or UTF-16 units */
    int parts;
};
/* False: not valid UTF-8. */
bool sms_text_measure(const char *text, struct sms_measure *m);
/* Plain letters for accented ones. The caller frees. */
char *sms_text_plain(const char *text);
/* From the named character set to UTF-8; NULL if that is not possible. The caller frees. */
char *sms_text_decode(const char *text, size_t length, const char *charset);

/* ---- sms_check.c: 0 or an error code ---- */

int sms_check_dates(const struct sms *s, const struct sms_params *p, int64_t *due_ms);
int sms_check_options(const struct sms *s, const struct sms_params *p, bool tls);
int sms_check_sender(const struct sms *s, const char *from);
/* Digits with country code into number. False: no phone number. */
bool sms_check_number(const char *submitted, char number[24]);
const char *sms_error_text(int code);

/* ---- sms_send.c ---- */

void sms_send(struct sms *s, const struct sim_request *r, const char *peer, bool tls,
              const struct sms_plan *plan, struct sms_reply *reply);
/* A refusal in the form that the request asked for. */
void sms_refuse(struct sms *s, const struct sms_params *p, int code, struct sms_reply *reply);

/* ---- sms_memory.c ---- */

struct window;
/* Counts one more at now and answers how many there were in the second up to now. */
/* One more that came at AT_NS; how many did in the second before NOW_NS, not before AT_NS. */
uint64_t sms_window_add(struct window **w, uint64_t at_ns, uint64_t now_ns);
uint64_t sms_window_count(struct window **w, uint64_t now_ns);
struct window **sms_window_of(struct sms *s, const char *address);
/* Notes an attempt; false if there are too many. */
bool sms_attempt(struct sms *s, const char *number);
bool sms_idx_used(struct sms *s, const char *idx);
void sms_idx_take(struct sms *s, const char *idx);
/* Remembers an accepted message and returns it. */
struct sms_message *sms_accept(struct sms *s, const struct sms_recipient *to, const char *from,
                               int64_t due_ms);
void sms_forget(struct sms *s);
void sms_messages_json(const struct sms *s, uint64_t since, uint64_t limit, struct sim_buf *out);
void sms_accept_times(const struct sms *s, struct sim_buf *out);
/* The first 24 hexadecimal digits in text, or NULL. */
const char *sms_event_id(const char *text, size_t length);

/* ---- sms_faults.c ---- */

/* NULL or what is wrong. */
const char *sms_faults_set(struct sms *s, const cJSON *order);
void sms_faults_clear(struct sms *s);
void sms_faults_plan(struct sms *s, const struct sim_request *r, struct sms_plan *plan);

/* ---- sms_http.c, sms_control.c, sms_fast.c, sms_print.c, sms_reports.c ---- */

void sms_on_request(struct sim_conn *c, struct sim_request *r, void *ctx);
bool sms_on_open(struct sim_conn *c, void *ctx);
void sms_on_close(struct sim_conn *c, void *ctx);
bool sms_token_good(const struct sms *s, const struct sim_request *r);
void sms_control(struct sms *s, struct sim_conn *c, struct sim_request *r);
void sms_options_default(struct sms *s);
const char *sms_options_apply(struct sms *s, const cJSON *o);
void sms_fast(struct sms *s, struct sim_conn *c, const struct sim_request *r);
void sms_print(const struct sms *s, const struct sms_message *m);
/* Sends a report on the message at that place in memory. */
void sms_report(struct sms *s, uint64_t place, int status, const char *url, int64_t delay_ms);
/* The report that the options ask for, if any. */
void sms_report_later(struct sms *s, const struct sms_message *m);
void sms_reports_json(const struct sms *s, struct sim_buf *out);
void sms_reports_free(struct sms *s);

#endif
