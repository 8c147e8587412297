#include "conf/directives.h"

#include <stdio.h>
#include <string.h>

#include "core/str.h"

#define KIB INT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define TIB (1024 * GIB)
#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

#define M CONF_MASTER
#define L CONF_LISTENER
#define D CONF_DISPATCHER
#define S CONF_SENDER
#define REQ CONF_REQUIRED
#define ENV CONF_ENVIRONMENT

static const char *const http_schemes[] = {"https", "http", NULL};
static const char *const ws_schemes[] = {"wss", "ws", NULL};
static const char *const channel_words[] = {"thread", "store", "stream", "inbox", "kvdb", NULL};
static const char *const priority_words[] = {"critical", "normal", "bulk", NULL};
static const char *const mode_words[] = {"live", "shadow", NULL};
static const char *const per_words[] = {"recipient", "rule", "person", NULL};
static const char *const quiet_words[] = {"hold", "drop", "pass", NULL};
static const char *const pass_words[] = {"none", "critical", "normal", "bulk", NULL};
static const char *const journal_words[] = {"wanted", "all", "off", NULL};
static const char *const provider_words[] = {"smsapi", "log", NULL};
static const char *const format_words[] = {"logfmt", "json", NULL};
static const char *const level_words[] = {"debug", "info", "warn", "error", NULL};

/* Rows that several kinds of block have. */
#define QUIET_ROWS                                                                                           \
    {"quiet_action",                                                                                         \
     CONF_WORD,                                                                                              \
     0,                                                                                                      \
     D,                                                                                                      \
     0,                                                                                                      \
     0,                                                                                                      \
     "hold",                                                                                                 \
     quiet_words,                                                                                            \
     "What becomes of messages in quiet hours: `hold` makes them one summary at the end, `drop` suppresses " \
     "them, `pass` lets them ring.",                                                                         \
     "drop"},                                                                                                \
    {                                                                                                        \
        "quiet_pass", CONF_WORD, 0, D, 0, 0, "critical", pass_words,                                         \
            "Rules of this priority or a higher one ring in quiet hours all the same.", "none"               \
    }
#define BUDGET_ROWS(whose, sms_day, sms_month, money_day, money_month)                                       \
    {"sms_per_day",                                                                                          \
     CONF_NUMBER,                                                                                            \
     0,                                                                                                      \
     D,                                                                                                      \
     1,                                                                                                      \
     100000000,                                                                                              \
     NULL,                                                                                                   \
     NULL,                                                                                                   \
     "Budget of " whose ": messages on one day of `zone`.",                                                  \
     sms_day},                                                                                               \
        {"sms_per_month", CONF_NUMBER, 0, D, 1, 100000000, NULL, NULL, "The same for a month.", sms_month},  \
        {"money_per_day",                                                                                    \
         CONF_MONEY,                                                                                         \
         0,                                                                                                  \
         D,                                                                                                  \
         1,                                                                                                  \
         0,                                                                                                  \
         NULL,                                                                                               \
         NULL,                                                                                               \
         "Budget of " whose ": price of the messages of one day, by the block `prices`.",                    \
         money_day},                                                                                         \
    {                                                                                                        \
        "money_per_month", CONF_MONEY, 0, D, 1, 0, NULL, NULL, "The same for a month.", money_month          \
    }

/* Columns: name, kind, flags, roles, min, max, default, words, help, example. */
static const struct directive top_directives[] = {
    {"runtime_dir", CONF_PATH, CONF_FIXED | ENV, CONF_EVERYONE, 0, 0, "\"/run/bridgebell\"", NULL,
     "Directory of the sockets between the processes and of the two command sockets.", "\"/run/bridgebell\""},
    {"user", CONF_NAME, CONF_FIXED, CONF_EVERYONE, 1, 64, NULL, NULL,
     "User to become after the start, when started as root. Secret files are read as this user.",
     "bridgebell"},
    {"installation", CONF_NAME, CONF_FIXED, CONF_EVERYONE, 1, 64, NULL, NULL,
     "Name of this installation, a part of every job's identity. Without it the store makes a random one; "
     "set it "
     "where a new store must recognise what an older one has sent.",
     "production"},
    {"language", CONF_NAME, 0, D, 2, 16, "en", NULL,
     "Language of people of whom none is known: decides plural forms, names of days, and which of `messages` "
     "is taken.",
     "pl"},
    {"zone", CONF_TEXT, 0, D, 1, 64, "\"UTC\"", NULL,
     "Time zone of people of whom none is known, and of days and months of budgets.", "\"Europe/Warsaw\""},
};

static const struct directive bridge_directives[] = {
    {"url", CONF_URL, REQ | ENV, L, 0, 0, NULL, http_schemes,
     "Address of the Bridge's API, the same that applications use.", "\"https://bridge.example.com/api\""},
    {"ws_url", CONF_URL, ENV, L, 0, 0, NULL, ws_schemes,
     "Address of the Bridge's WebSocket. Without it it follows from `url`.",
     "\"wss://bridge.example.com/api\""},
    {"api_key_id", CONF_TEXT, REQ | ENV, L, 1, 256, NULL, NULL,
     "Id of the Bridge API key. Its scope needs a session, the channels and a solution.",
     "\"66f76cdc06848d6a6494f783\""},
    {"api_key_secret", CONF_SECRET, ENV, L, 1, 4096, NULL, NULL, "Secret of the Bridge API key.",
     "\"${BRIDGE_SECRET}\""},
    {"api_key_secret_file", CONF_SECRET_FILE, ENV, M, 0, 0, NULL, NULL,
     "File that holds the secret of the Bridge API key; only its owner may read it.",
     "\"/etc/bridgebell/bridge.secret\""},
    {"channels", CONF_WORDS, 0, L | D, 0, 0, "{ thread, store, stream, inbox }", channel_words,
     "Channels of the Bridge to subscribe to.", "{ thread, kvdb }"},
    {"solutions", CONF_TEXTS, 0, L, 1, 256, "{ \"*\" }", NULL,
     "Solutions whose notifications are wanted; each becomes a `solution:` scope of the token. `*` is every "
     "one.",
     "{ \"66f76cdc06848d6a6494f783\" }"},
    {"ca_file", CONF_PATH, ENV, L, 0, 0, NULL, NULL,
     "Certificates to trust instead of the system's, in PEM form.", "\"/etc/bridgebell/ca.pem\""},
    {"connect_timeout", CONF_DURATION, 0, L, 100, 10 * MINUTE, "10s", NULL,
     "Longest time to connect, TLS included.", "10s"},
    {"request_timeout", CONF_DURATION, 0, L, 100, 10 * MINUTE, "15s", NULL,
     "Longest time to wait for the answer to a request.", "15s"},
    {"reconnect_min", CONF_DURATION, 0, L, 10, HOUR, "500ms", NULL,
     "First pause before connecting again; each further one is longer, with jitter.", "500ms"},
    {"reconnect_max", CONF_DURATION, 0, L, 10, DAY, "60s", NULL, "Longest pause before connecting again.",
     "60s"},
    {"silence_limit", CONF_DURATION, 0, L, SECOND, HOUR, "25s", NULL,
     "A connection without a single byte for so long is dead: the Bridge pings every 10 seconds.", "25s"},
    {"frame_limit", CONF_SIZE, 0, L, 4 * KIB, 256 * MIB, "16MiB", NULL,
     "Largest message accepted from the Bridge.", "16MiB"},
    {"outbox", CONF_SIZE, 0, L, 64 * KIB, 4 * GIB, "16MiB", NULL,
     "Memory for events that the dispatcher has not yet committed.", "16MiB"},
    {"spill", CONF_SIZE, 0, L, 0, TIB, "256MiB", NULL,
     "Size of the file that takes events over when the outbox is full; 0 for no file.", "256MiB"},
    {"spill_dir", CONF_PATH, ENV, L, 0, 0, "\"/var/lib/bridgebell\"", NULL, "Directory of that file.",
     "\"/var/lib/bridgebell\""},
    {"catch_up", CONF_SWITCH, 0, L, 0, 0, "on", NULL,
     "Ask the Bridge after every reconnect for what was missed.", "on"},
    {"catch_up_max_age", CONF_DURATION, 0, L, SECOND, 30 * DAY, "24h", NULL, "How far back to ask.", "24h"},
    {"catch_up_max_events", CONF_NUMBER, 0, L, 1, 100000000, "100000", NULL,
     "How many events to recover at most.", "100000"},
    {"catch_up_overlap", CONF_DURATION, 0, L, 0, HOUR, "10s", NULL,
     "How much to ask for twice, because ids are not in order of time.", "10s"},
};

static const struct directive recipients_directives[] = {
    {"to", CONF_RECIPIENTS, REQ, D, 0, 0, NULL, NULL,
     "Phone numbers in quotes, names of other recipients blocks, and expressions that give people.",
     "{ \"+48500500500\", \"+48500500501\" }"},
    {"language", CONF_NAME, 0, D, 2, 16, NULL, NULL,
     "Language of these people, unless the directory knows better.", "pl"},
    {"zone", CONF_TEXT, 0, D, 1, 64, NULL, NULL, "Their time zone, unless the directory knows better.",
     "\"Europe/Warsaw\""},
    {"quiet_hours", CONF_TEXTS, 0, D, 1, 100, NULL, NULL,
     "Times in which these people get no messages: days, hours or both.",
     "{ \"mon-fri 22:00-07:00\", \"sat-sun\" }"},
    QUIET_ROWS,
    {"throttle", CONF_RATES, CONF_OFF, D, 1, 1000000, "off", NULL,
     "Most messages to each of these people from all rules; what is beyond is suppressed.",
     "\"5/15min, 30/d\""},
    BUDGET_ROWS("each of these people", "20", "200", "\"2.00\"", "\"20.00\""),
};

static const struct directive directory_directives[] = {
    {"file", CONF_PATH, ENV, D, 0, 0, NULL, NULL,
     "CSV file with a head line, or SQLite file with a table `people`: user_id, number, language, zone, "
     "tags. Read again when it changes; a file with a fault changes nothing.",
     "\"/etc/bridgebell/people.csv\""},
};

static const struct directive numbers_directives[] = {
    {"default_country", CONF_TEXT, 0, D, 2, 8, NULL, NULL,
     "Country code of numbers in `to` and in the directory that are written without one.", "\"+48\""},
    {"allowed", CONF_TEXTS, 0, D, 2, 16, NULL, NULL,
     "Prefixes that numbers must have. Numbers that come out of events are used only where this list has "
     "their prefix.",
     "{ \"+48\", \"+49\" }"},
};

static const struct directive prices_directives[] = {
    {"currency", CONF_TEXT, 0, D, 1, 16, "\"PLN\"", NULL, "What the prices are in.", "\"EUR\""},
    {"table", CONF_TEXTS, 0, D, 3, 64, NULL, NULL,
     "Price of one part by the beginning of the number, the longest that fits; `*` is for all others.",
     "{ \"+48: 0.09\", \"+49: 0.35\", \"*: 0.50\" }"},
};

#define SUMMARY_ROW(name, of, example)                                                                       \
    {                                                                                                        \
        name, CONF_TEMPLATES, 0, D, 4, 10 * KIB, NULL, NULL,                                                 \
            "Text of " of ", each language in front of its own; sees what `digest_message` sees.", example   \
    }

static const struct directive summaries_directives[] = {
    SUMMARY_ROW("digest", "digests of rules that have no `digest_message`",
                "{ \"en: {{ count }} from {{ rule }}\", \"pl: {{ count }} od {{ rule }}\" }"),
    SUMMARY_ROW("quiet_hours", "what was held in quiet hours", "{ \"pl: {{ count }} z godzin ciszy\" }"),
    SUMMARY_ROW("max_age", "what was older than `max_age`",
                "{ \"pl: {{ count }} starszych od {{ rule }}\" }"),
    SUMMARY_ROW("storm", "what a storm guard collects for rules that have no `storm_message`",
                "{ \"pl: i jeszcze {{ count }} od {{ rule }}\" }"),
    SUMMARY_ROW("budget", "what is collected because a budget is nearly spent",
                "{ \"pl: {{ count }} od {{ rule }}\" }"),
};

static const struct directive limits_directives[] = {
    {"person_caps", CONF_RATE, CONF_OFF, D, 1, 1000000, "\"120/h\"", NULL,
     "Most messages to one person, whatever the rules; rules with `caps = off` do not count.", "\"60/h\""},
    BUDGET_ROWS("the whole installation", "1000", "10000", "\"100.00\"", "\"1000.00\""),
    {"warn_at", CONF_NUMBER, 0, D, 1, 100, "75", NULL,
     "Percentage of any budget from which on an alarm warns.", "80"},
    {"digest_at", CONF_NUMBER, 0, D, 1, 100, "90", NULL,
     "Percentage of any budget from which on messages are collected into digests; at 100 only critical rules "
     "ring.",
     "95"},
    {"budget_digest", CONF_DURATION, 0, D, MINUTE, 7 * DAY, "1h", NULL, "How long such a digest collects.",
     "2h"},
};

static const struct directive rule_directives[] = {
    {"when", CONF_TEMPLATE, REQ, D, 1, 64 * KIB, NULL, NULL,
     "Condition on an event. Regular expressions are written in single-quoted values.",
     "\"channel == 'thread' && type == 'threadNewMessage'\""},
    {"to", CONF_RECIPIENTS, REQ, D, 0, 0, NULL, NULL,
     "Who is rung: names of recipients blocks, phone numbers in quotes, and expressions that give people, "
     "such as "
     "`\"others()\"` or `author`.",
     "{ oncall, \"+48500500500\" }"},
    {"message", CONF_TEMPLATE, REQ, D, 1, 10 * KIB, NULL, NULL,
     "Text of the message; `{{ … }}` inserts from the event.",
     "\"New message in thread {{ data.threadId }}\""},
    {"messages", CONF_TEMPLATES, 0, D, 4, 10 * KIB, NULL, NULL,
     "The message in other languages, each with the language in front; `message` is for all others.",
     "{ \"pl: Nowa wiadomość w wątku {{ data.threadId }}\" }"},
    {"transliterate", CONF_SWITCH, 0, D, 0, 0, "off", NULL,
     "Write accented and other letters as plain ones where that saves a part.", "on"},
    {"max_parts", CONF_NUMBER, 0, D, 1, 10, "10", NULL,
     "Most parts of one message; a longer one is cut behind a word.", "2"},
    {"mode", CONF_WORD, 0, D, 0, 0, "live", mode_words,
     "`shadow` does everything but the sending: what would have been sent is counted and priced.", "shadow"},
    {"max_age", CONF_DURATION, 0, D, 0, 30 * DAY, "0", NULL,
     "Events older than this do not ring one by one but become one summary; 0 for no limit.", "30m"},
    {"dedupe", CONF_DURATION, 0, D, 0, 30 * DAY, "0", NULL,
     "The same message to the same person rings once in this time; 0 for no such window.", "10m"},
    {"dedupe_key", CONF_TEMPLATE, 0, D, 1, 64 * KIB, NULL, NULL,
     "Expression that says what is the same. Without it the text is.", "\"data.threadId\""},
    {"throttle", CONF_RATES, CONF_OFF, D, 1, 1000000, "off", NULL,
     "Most messages in these times; what is beyond is suppressed.", "\"1/min, 5/15min, 12/h\""},
    {"throttle_per", CONF_WORD, 0, D, 0, 0, "recipient", per_words,
     "Whether `throttle` counts for each recipient of the rule, for the rule in all (an event counts once, "
     "whoever hears of it), or for each person over all rules that say so with the same rates.",
     "rule"},
    {"throttle_key", CONF_TEMPLATE, 0, D, 1, 64 * KIB, NULL, NULL,
     "Expression whose every value is throttled by itself.", "\"author\""},
    {"digest", CONF_DURATION, 0, D, 0, 30 * DAY, "0", NULL,
     "Collect for so long from the first event on, then send one message with a count; 0 for none.", "15m"},
    {"digest_key", CONF_TEMPLATE, 0, D, 1, 64 * KIB, NULL, NULL,
     "Expression whose every value has a digest of its own.", "\"container\""},
    {"digest_message", CONF_TEMPLATE, 0, D, 1, 10 * KIB, NULL, NULL,
     "Text of a digest; sees `count`, `since`, `until`, `texts`, `rule`, `lang` and `zone`.",
     "\"{{ count }} new messages since {{ date(since) }}\""},
    {"digest_messages", CONF_TEMPLATES, 0, D, 4, 10 * KIB, NULL, NULL,
     "The same in other languages, each with the language in front.",
     "{ \"pl: {{ count }} {{ plural(count, 'nowa', 'nowe', 'nowych') }}\" }"},
    {"quiet_hours", CONF_TEXTS, 0, D, 1, 100, NULL, NULL, "Times without messages: days, hours or both.",
     "{ \"mon-fri 22:00-07:00\", \"sat-sun\" }"},
    {"quiet_zone", CONF_TEXT, 0, D, 1, 64, NULL, NULL,
     "Time zone of `quiet_hours`. Without it that of each person.", "\"Europe/Warsaw\""},
    QUIET_ROWS,
    {"storm", CONF_RATE, CONF_OFF, D, 1, 1000000, "off", NULL,
     "Beyond this rate a person gets one message \"and N more\" instead of the rest.", "\"10/min\""},
    {"storm_message", CONF_TEMPLATE, 0, D, 1, 10 * KIB, NULL, NULL,
     "Text of that message; sees what `digest_message` sees.", "\"and {{ count }} more from {{ rule }}\""},
    {"storm_messages", CONF_TEMPLATES, 0, D, 4, 10 * KIB, NULL, NULL,
     "The same in other languages, each with the language in front.",
     "{ \"pl: i jeszcze {{ count }} od {{ rule }}\" }"},
    {"rule_caps", CONF_RATE, CONF_OFF, D, 1, 1000000, "\"600/h\"", NULL,
     "Most messages of the rule in all; off where `caps` is.", "\"100/h\""},
    BUDGET_ROWS("the rule", "200", "2000", "\"20.00\"", "\"200.00\""),
    {"from", CONF_SENDER_NAME, 0, D, 1, 16, NULL, NULL,
     "Sender name that the phone shows. Without it the provider block's.", "\"MyCompany\""},
    {"provider", CONF_NAME, 0, D, 1, 64, NULL, NULL,
     "Provider block that sends. Without it the first one of the file.", "smsapi"},
    {"priority", CONF_WORD, 0, D, 0, 0, "normal", priority_words, "Which jobs go first.", "critical"},
    {"expires", CONF_DURATION, 0, D, SECOND, 30 * DAY, "24h", NULL,
     "A message that could not be sent for so long is given up.", "15m"},
    {"caps", CONF_RATE, CONF_OFF, D, 1, 1000000, "\"60/h\"", NULL, "Most messages per rule and person.",
     "\"10/15min\""},
    {"enabled", CONF_SWITCH, 0, D, 0, 0, "on", NULL, "Off keeps the rule in the file but out of work.",
     "off"},
    {"cancel_on_delete", CONF_SWITCH, 0, D, 0, 0, "on", NULL,
     "Cancel what is not yet sent when the Bridge deletes the item that it tells of.", "off"},
};

static const struct directive provider_directives[] = {
    {"type", CONF_WORD, REQ, D | S, 0, 0, NULL, provider_words,
     "`smsapi` sends through SMSAPI; `log` only writes what it would send.", "smsapi"},
    {"url", CONF_URL, ENV, D | S, 0, 0, "\"https://api.smsapi.com\"", http_schemes,
     "Address of the provider, without a path.", "\"https://api.smsapi.pl\""},
    {"backup_url", CONF_URL, ENV, D | S, 0, 0, NULL, http_schemes,
     "Asked when the first address does not answer.", "\"https://api2.smsapi.com\""},
    {"token", CONF_SECRET, ENV, S, 1, 4096, NULL, NULL, "Access token of the account; `smsapi` needs one.",
     "\"${SMSAPI_TOKEN}\""},
    {"token_file", CONF_SECRET_FILE, ENV, M, 0, 0, NULL, NULL,
     "File that holds the access token; only its owner may read it.", "\"/etc/bridgebell/smsapi.token\""},
    {"from", CONF_SENDER_NAME, 0, D | S, 1, 16, NULL, NULL,
     "Sender name that the phone shows; it must be active on the account. Without it the account's own.",
     "\"MyCompany\""},
    {"requests_per_second", CONF_RATE, CONF_PLAIN, D | S, 1, 1000000, "100", NULL,
     "Most requests from this host, in any second.", "\"6000/min\""},
    {"attempts_per_number", CONF_RATE, CONF_OFF, D, 1, 1000000, "\"10/60s\"", NULL,
     "Most attempts to one number. The default is the provider's own limit.", "off"},
    {"connect_timeout", CONF_DURATION, 0, D | S, 100, 10 * MINUTE, "5s", NULL,
     "Longest time to connect, TLS included.", "5s"},
    {"request_timeout", CONF_DURATION, 0, D | S, 100, 10 * MINUTE, "15s", NULL,
     "Longest time to wait for the answer to a request.", "15s"},
    {"connections", CONF_NUMBER, 0, D | S, 1, 256, "16", NULL,
     "Requests at the same time, per sender process.", "16"},
    {"batch", CONF_NUMBER, 0, D | S, 1, 100, "100", NULL,
     "Jobs of equal text that may share a request; 1 for a request each.", "1"},
    {"ca_file", CONF_PATH, ENV, S, 0, 0, NULL, NULL,
     "Certificates to trust instead of the system's, in PEM form.", "\"/etc/bridgebell/ca.pem\""},
    {"max_parts", CONF_NUMBER, 0, D | S, 1, 10, NULL, NULL,
     "Most parts of one message; longer texts are refused by the provider.", "3"},
    {"max_attempts", CONF_NUMBER, 0, D, 1, 1000, "12", NULL, "Attempts of one job before it is given up.",
     "12"},
    {"retry_min", CONF_DURATION, 0, D, 10, DAY, "5s", NULL, "First pause before another attempt.", "5s"},
    {"retry_max", CONF_DURATION, 0, D, 10, DAY, "15m", NULL, "Longest pause before another attempt.", "15m"},
};

static const struct directive dispatcher_directives[] = {
    {"store", CONF_STORE, CONF_FIXED | ENV, D, 0, 0, "\"sqlite:/var/lib/bridgebell/queue.db\"", NULL,
     "Where the queue is kept.", "\"sqlite:/var/lib/bridgebell/queue.db\""},
    {"retention", CONF_DURATION, 0, D, MINUTE, 3660 * DAY, "30d", NULL, "How long ended jobs are kept.",
     "90d"},
    {"log_limit", CONF_SIZE, 0, D, MIB, 4 * GIB, "16MiB", NULL,
     "Largest size of the store's write-ahead log.", "16MiB"},
    {"min_free", CONF_SIZE, 0, D, 0, TIB, "64MiB", NULL,
     "Intake stops while the store's disk has less free space than this.", "64MiB"},
    {"priority_weights", CONF_TEXTS, 0, D, 3, 32, "{ \"critical:16\", \"normal:4\", \"bulk:1\" }", NULL,
     "How places are shared out when jobs of several priorities wait: that many of each in turn.",
     "{ \"critical: 16\", \"normal: 4\", \"bulk: 1\" }"},
    {"journal", CONF_WORD, 0, D, 0, 0, "wanted", journal_words,
     "Which events are written to the journal, for `bridgebell replay` and `explain`: those that some rule "
     "can want, all, or none.",
     "all"},
    {"journal_dir", CONF_PATH, ENV, D, 0, 0, NULL, NULL,
     "Directory of the journal. Without it `journal` beside the store.", "\"/var/lib/bridgebell/journal\""},
    {"journal_size", CONF_SIZE, 0, D, MIB, TIB, "256MiB", NULL,
     "Most that the journal's files hold together; the oldest goes first.", "1GiB"},
    {"listen", CONF_TEXT, CONF_RESERVED, D, 0, 0, NULL, NULL,
     "senders on other hosts need keys, which this version does not have", NULL},
};

static const struct directive sender_directives[] = {
    {"processes", CONF_NUMBER, 0, M | D | S, 0, 64, "2", NULL, "Number of sender processes.", "4"},
    {"dispatchers", CONF_TEXTS, CONF_RESERVED, S, 0, 0, NULL, NULL,
     "dispatchers on other hosts need keys, which this version does not have", NULL},
};

static const struct directive metrics_directives[] = {
    {"listen", CONF_LISTEN, 0, M | D, 0, 0, "\"127.0.0.1:9464\"", NULL,
     "Address of the door with `/metrics`, `/healthz`, `/readyz` and `/status.json`, on loopback; or off.",
     "\"127.0.0.1:9464\""},
};

static const struct directive log_directives[] = {
    {"format", CONF_WORD, 0, CONF_EVERYONE, 0, 0, "logfmt", format_words, "One line an event in this form.",
     "json"},
    {"level", CONF_WORD, 0, CONF_EVERYONE, 0, 0, "info", level_words, "The least that is written.", "debug"},
    {"file", CONF_PATH, ENV, CONF_EVERYONE, 0, 0, NULL, NULL,
     "File to append to; opened again on USR1. Without it the log goes to standard error.",
     "\"/var/log/bridgebell.log\""},
};

#define BLOCK(table) (table), sizeof(table) / sizeof((table)[0])

const struct block_def conf_blocks[] = {
    {CONF_TOP, CONF_UNTITLED, BLOCK(top_directives), "Outside of any block.", NULL},
    {"bridge", CONF_TITLE_NAME, BLOCK(bridge_directives),
     "A PrivMX Bridge to watch; each has a listener process of its own.", "main"},
    {"provider", CONF_TITLE_NAME, BLOCK(provider_directives), "A way to send text messages.", "smsapi"},
    {"recipients", CONF_TITLE_NAME, BLOCK(recipients_directives), "A named group of people.", "oncall"},
    {"directory", CONF_UNTITLED, BLOCK(directory_directives),
     "Who is who: people by their user id at the Bridge.", NULL},
    {"numbers", CONF_UNTITLED, BLOCK(numbers_directives),
     "How phone numbers are read, and which may be rung.", NULL},
    {"prices", CONF_UNTITLED, BLOCK(prices_directives), "What a message costs.", NULL},
    {"limits", CONF_UNTITLED, BLOCK(limits_directives), "What holds for all rules together.", NULL},
    {"summaries", CONF_UNTITLED, BLOCK(summaries_directives),
     "The words of digests and summaries, by language, where a rule has none of its own; English and Polish "
     "ones are built in.",
     NULL},
    {"rule", CONF_TITLE_TEXT, BLOCK(rule_directives), "Which events ring whom, and with what words.",
     "lorem"},
    {"dispatcher", CONF_UNTITLED, BLOCK(dispatcher_directives), "The process that decides and queues.", NULL},
    {"sender", CONF_UNTITLED, BLOCK(sender_directives), "The processes that send.", NULL},
    {"metrics", CONF_UNTITLED, BLOCK(metrics_directives), "The operator's door.", NULL},
    {"log", CONF_UNTITLED, BLOCK(log_directives), "What all processes write about their work.", NULL},
};
const size_t conf_blocks_count = sizeof conf_blocks / sizeof conf_blocks[0];

const struct block_def *directives_block(const char *name)
{
    for (size_t i = 1; i < conf_blocks_count; i++)
        if (strcmp(conf_blocks[i].name, name) == 0)
            return &conf_blocks[i];
    return NULL;
}

const struct directive *directives_find(const struct block_def *block, const char *name)
{
    for (size_t i = 0; i < block->count; i++)
        if (strcmp(block->directives[i].name, name) == 0)
            return &block->directives[i];
    return NULL;
}

const char *directives_nearest(const struct block_def *block, const char *name)
{
    const char *words[64];
    size_t n = 0;
    for (size_t i = 0; i < block->count; i++)
        words[n++] = block->directives[i].name;
    for (size_t i = 1; block == &conf_blocks[0] && i < conf_blocks_count; i++)
        words[n++] = conf_blocks[i].name;
    if (block == &conf_blocks[0])
        words[n++] = "include";
    words[n] = NULL;
    return str_nearest(name, words);
}

const char *directives_kind(const struct directive *d)
{
    static const char *const names[CONF_KINDS] = {
        [CONF_TEXT] = "text",
        [CONF_TEMPLATE] = "text",
        [CONF_NAME] = "name",
        [CONF_SENDER_NAME] = "sender name",
        [CONF_PATH] = "path",
        [CONF_STORE] = "store",
        [CONF_SECRET] = "secret",
        [CONF_SECRET_FILE] = "path of a secret",
        [CONF_URL] = "address",
        [CONF_LISTEN] = "address:port or off",
        [CONF_WORD] = "word",
        [CONF_WORDS] = "list of words",
        [CONF_TEXTS] = "list of texts",
        [CONF_TEMPLATES] = "list of texts",
        [CONF_RECIPIENTS] = "list of recipients",
        [CONF_SWITCH] = "switch",
        [CONF_NUMBER] = "number",
        [CONF_DURATION] = "duration",
        [CONF_SIZE] = "size",
        [CONF_RATE] = "rate",
        [CONF_RATES] = "rates or off",
        [CONF_MONEY] = "amount",
    };
    if (d->kind == CONF_RATE && (d->flags & CONF_OFF))
        return "rate or off";
    if (d->kind == CONF_RATE && (d->flags & CONF_PLAIN))
        return "rate or number";
    return names[d->kind];
}

const struct directive *directives_partner(const struct block_def *block, const struct directive *d)
{
    char name[64];
    if (d->kind == CONF_SECRET)
        snprintf(name, sizeof name, "%s_file", d->name);
    else if (d->kind == CONF_SECRET_FILE)
        snprintf(name, sizeof name, "%.*s", (int)(strlen(d->name) - strlen("_file")), d->name);
    else
        return NULL;
    return directives_find(block, name);
}
