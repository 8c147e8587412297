#include "tests/sim/sms.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *sms_error_text(int code)
{
    static const struct {
        int code;
        const char *text;
    } texts[] = {
        {8, "Error in request (please report)"},
        {11, "Message too long or there is no message or parameter nounicode is set and special characters "
             "are used"},
        {12, "Message has more parts than defined in max_parts parameter"},
        {13, "No correct phonenumbers"},
        {14, "Wrong sender name"},
        {17, "FLASH message cannot contain special characters"},
        {18, "Invalid number of parameters"},
        {19, "Too many messages in one request"},
        {20, "Invalid number of IDX parameters"},
        {25, "Parameters normalize and datacoding musn't appear in the same request"},
        {27, "Too long IDX parameter, max 255 chars"},
        {28, "Invalid time_restriction parameter value"},
        {30, "Wrong UDH parameter when datacoding=bin"},
        {40, "No group with given name in phonebook"},
        {41, "Chosen group is empty"},
        {50, "Messages may be scheduled up to 3 months in the future"},
        {52, "Too many attempts of sending messages to one number (maximum 10 attempts within 60s)"},
        {53, "Not unique idx parameter, message with the same idx has been already sent and check_idx is on"},
        {54, "Wrong date"},
        {56,
         "The difference between date sent and expiration date can't be less than 1 and more than 72 hours"},
        {57, "The recipient phone number is on a black list for a particular user"},
        {60, "Group of codes does not exist"},
        {70, "Invalid URL in notify_url parameter"},
        {72, "notify_url parameter is allowed only with single recipient"},
        {74, "Sending date doesn't match date sent restrictions set for the account"},
        {76, "Parameters contain invalid characters"},
        {93, "Parameters are not allowed with group"},
        {94, "Sending SMS with links is not allowed"},
        {101, "Authorization failed"},
        {102, "Invalid username or password"},
        {103, "Insufficient credits on Your account"},
        {104, "No such template"},
        {105, "Wrong IP address (for IP filter turned on)"},
        {110, "Action not allowed for your account"},
        {112, "Sending to this country is blocked"},
        {200, "Sending the message failed, please repeat the request"},
        {201, "System internal error (please report)"},
        {202, "Too many simultaneous requests, the message won't be sent"},
        {203, "Too many requests. Please try again later."},
        {301, "ID of messages doesn't exist"},
        {401, "Token without permission for this action"},
        {666, "Internal system error (please report)"},
        {997, "HTTP is disabled for the account, use HTTPS"},
        {998, "Short link service is temporarily unavailable"},
        {999, "Internal system error (please report)"},
        {1000, "Action available only for main user"},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (texts[i].code == code) {
            return texts[i].text;
        }
    }
    return "Error";
}

/* ---- dates ---- */

/* UNIX seconds or ISO 8601 with an offset; milliseconds, or -1. */
static int64_t parse_date(const char *text)
{
    struct tm tm = {0};
    if (*text != '\0' && strspn(text, "0123456789") == strlen(text)) {
        return strlen(text) < 12 ? strtoll(text, NULL, 10) * 1000 : -1;
    }
    const char *p = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (p == NULL) {
        return -1;
    }
    if (*p == '.') {
        p += 1 + strspn(p + 1, "0123456789");
    }
    int sign = *p == '-' ? -1 : 1;
    int hours = 0;
    int minutes = 0;
    if (strcmp(p, "Z") != 0 && sscanf(p + 1, "%2d:%2d", &hours, &minutes) != 2 &&
        sscanf(p + 1, "%2d%2d", &hours, &minutes) != 2) {
        return -1;
    }
    return (int64_t)timegm(&tm) * 1000 - (int64_t)sign * (hours * 60 + minutes) * 60000;
}

static int check_expiration(const struct sms *s, const char *text, int64_t due_ms)
{
    int64_t at = parse_date(text);
    int64_t tolerance_s = 300;
    int64_t distance_s = (at - due_ms) / 1000;
    bool good = at >= 0 && distance_s >= s->opt.expiration_min_s - tolerance_s &&
                distance_s <= s->opt.expiration_max_s + tolerance_s;
    return good ? 0 : 56;
}

int sms_check_dates(const struct sms *s, const struct sms_params *p, int64_t *due_ms)
{
    const char *date = sms_param(p, "date");
    const char *expiration = sms_param(p, "expiration_date");
    int64_t now = sms_now_ms(s);
    *due_ms = now;
    if (date != NULL && *date != '\0') {
        int64_t at = parse_date(date);
        if (at < 0 && sms_flag(p, "date_validate")) {
            return 54;
        }
        if (at > now + (int64_t)92 * 86400 * 1000) {
            return 50;
        }
        *due_ms = at > now ? at : now;
    }
    return expiration != NULL && *expiration != '\0' ? check_expiration(s, expiration, *due_ms) : 0;
}

/* ---- single parameters ---- */

static int check_time_restriction(const struct sms *s, const char *value)
{
    static const char *const values[] = {"follow", "ignore", "nearest_available"};
    bool known = value == NULL;
    for (size_t i = 0; value != NULL && i < 3; i++) {
        known = known || strcmp(value, values[i]) == 0;
    }
    if (!known) {
        return 28;
    }
    return s->opt.quiet_hours != 0 && (value == NULL || strcmp(value, "follow") == 0) ? 74 : 0;
}

static int check_notify_url(const char *url)
{
    bool good = url == NULL || (strlen(url) < 2048 && strchr(url, ' ') == NULL &&
                                (strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0));
    return good ? 0 : 70;
}

int sms_check_options(const struct sms *s, const struct sms_params *p, bool tls)
{
    const char *datacoding = sms_param(p, "datacoding");
    int code = check_time_restriction(s, sms_param(p, "time_restriction"));
    if (s->opt.https_only != 0 && !tls) {
        return 997;
    }
    if (code == 0) {
        code = check_notify_url(sms_param(p, "notify_url"));
    }
    if (code == 0 && datacoding != NULL && sms_flag(p, "normalize")) {
        code = 25;
    }
    if (code == 0 && datacoding != NULL && strcmp(datacoding, "bin") == 0 && sms_param(p, "udh") == NULL) {
        code = 30;
    }
    if (code == 0 && sms_param(p, "discount_group") != NULL) {
        code = 60;
    }
    if (code == 0 && sms_param(p, "template") != NULL) {
        code = 104;
    }
    return code;
}

static bool well_formed_sender(const char *from)
{
    size_t length = strlen(from);
    size_t digits = strspn(from, "0123456789");
    if (digits == length) {
        return length >= 8 && length <= 16;
    }
    bool letter = false;
    for (const char *p = from; *p != '\0'; p++) {
        letter = letter || isalpha((unsigned char)*p);
        if (!isalnum((unsigned char)*p) && strchr("_.-&@ %!+", *p) == NULL) {
            return false;
        }
    }
    return letter && length <= 11;
}

int sms_check_sender(const struct sms *s, const char *from)
{
    if (from == NULL || *from == '\0' || strcmp(from, "2way") == 0 || strcmp(from, "ECO") == 0) {
        return 0;
    }
    if (s->senders == NULL) {
        return well_formed_sender(from) ? 0 : 14;
    }
    for (size_t i = 0; i < s->sender_count; i++) {
        if (strcmp(s->senders[i], from) == 0) {
            return 0;
        }
    }
    return 14;
}

bool sms_check_number(const char *submitted, char number[24])
{
    size_t n = 0;
    for (const char *p = submitted; *p != '\0'; p++) {
        if (isdigit((unsigned char)*p)) {
            if (n == 20) {
                return false;
            }
            number[n++] = *p;
        } else if (strchr(" \t-", *p) == NULL && !(*p == '+' && n == 0)) {
            return false;
        }
    }
    number[n] = '\0';
    if (n >= 2 && number[0] == '0' && number[1] == '0') {
        memmove(number, number + 2, n - 1);
        n -= 2;
    }
    if (n == 9 && strchr(submitted, '+') == NULL) {
        memmove(number + 2, number, n + 1);
        memcpy(number, "48", 2);
        n += 2;
    }
    bool polish = n >= 2 && number[0] == '4' && number[1] == '8';
    return polish ? n == 11 : n >= 8 && n <= 16;
}
