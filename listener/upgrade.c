#include "listener/upgrade.h"

#include <curl/curl.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/alloc.h"

enum { HEAD_MAX_BYTES = 32 * 1024, KEY_BYTES = 16, ACCEPT_SIZE = 32 };

static const char websocket_guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

static char *part_of(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    char *copy = NULL;
    if (curl_url_get(url, part, &text, 0) == CURLUE_OK)
        copy = xstrdup(text);
    curl_free(text);
    return copy;
}

void upgrade_init(struct upgrade *u, const char *url)
{
    memset(u, 0, sizeof *u);
    buf_init(&u->head, HEAD_MAX_BYTES);
    bool is_ws = strncasecmp(url, "ws", 2) == 0;
    u->http_url = is_ws ? xasprintf("http%s", url + 2) : xstrdup(url);
    CURLU *parsed = curl_url();
    if (!parsed || curl_url_set(parsed, CURLUPART_URL, u->http_url, 0))
        panic("an address that was validated does not parse");
    char *host = part_of(parsed, CURLUPART_HOST);
    char *port = part_of(parsed, CURLUPART_PORT);
    char *path = part_of(parsed, CURLUPART_PATH);
    char *query = part_of(parsed, CURLUPART_QUERY);
    u->host = port ? xasprintf("%s:%s", host, port) : xstrdup(host ? host : "");
    u->target = xasprintf("%s%s%s", path ? path : "/", query ? "?" : "", query ? query : "");
    free(host);
    free(port);
    free(path);
    free(query);
    curl_url_cleanup(parsed);
}

void upgrade_free(struct upgrade *u)
{
    free(u->http_url);
    free(u->host);
    free(u->target);
    buf_free(&u->head);
}

static void base64(const void *data, size_t len, char *out, size_t size)
{
    sodium_bin2base64(out, size, data, len, sodium_base64_VARIANT_ORIGINAL);
}

void upgrade_request(struct upgrade *u, struct buf *out)
{
    unsigned char key[KEY_BYTES];
    randombytes_buf(key, sizeof key);
    base64(key, sizeof key, u->key, sizeof u->key);
    buf_addf(out,
             "GET %s HTTP/1.1\r\n"
             "Host: %s\r\n"
             "User-Agent: bridgebell/" BRIDGEBELL_VERSION "\r\n"
             "Upgrade: websocket\r\n"
             "Connection: Upgrade\r\n"
             "Sec-WebSocket-Key: %s\r\n"
             "Sec-WebSocket-Version: 13\r\n\r\n",
             u->target, u->host, u->key);
}

static void expected_accept(const struct upgrade *u, char out[ACCEPT_SIZE])
{
    char text[sizeof u->key + sizeof websocket_guid];
    snprintf(text, sizeof text, "%s%s", u->key, websocket_guid);
    /* SHA-1 is what RFC 6455 section 4.2.2 asks for; it proves that a WebSocket server answers, nothing more.
     */
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (!EVP_Digest(text, strlen(text), digest, &len, EVP_sha1(), NULL))
        panic("libcrypto has no SHA-1");
    base64(digest, len, out, ACCEPT_SIZE);
}

/* Copies the value of header NAME, without blanks around it. */
static bool header_value(const char *head, const char *name, char *out, size_t size)
{
    size_t name_len = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, name_len) != 0 || line[name_len] != ':')
            continue;
        const char *value = line + name_len + 1;
        value += strspn(value, " \t");
        size_t len = strcspn(value, "\r\n");
        while (len && (value[len - 1] == ' ' || value[len - 1] == '\t'))
            len--;
        snprintf(out, size, "%.*s", (int)(len < size ? len : size - 1), value);
        return true;
    }
    return false;
}

static enum upgrade_result fault(struct upgrade *u, const char *why)
{
    snprintf(u->detail, sizeof u->detail, "%s", why);
    return UPGRADE_FAULT;
}

static enum upgrade_result refused(struct upgrade *u, const char *head)
{
    char where[100];
    if (u->status / 100 == 3 && header_value(head, "Location", where, sizeof where))
        snprintf(u->detail, sizeof u->detail, "sent elsewhere: %s", where);
    return UPGRADE_REFUSED;
}

/* "HTTP/1.1 101 …": 101; 0 if the line is none. */
static int status_of(const char *head)
{
    static const char start[] = "HTTP/1.";
    if (strncmp(head, start, sizeof start - 1) != 0 || strlen(head) < sizeof start + 4)
        return 0;
    const char *digits = head + sizeof start + 1;
    int status = 0;
    for (int i = 0; i < 3; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return 0;
        status = status * 10 + digits[i] - '0';
    }
    return digits[-1] == ' ' ? status : 0;
}

static enum upgrade_result judge(struct upgrade *u, const char *head)
{
    u->status = status_of(head);
    if (u->status == 0)
        return fault(u, "the answer to the upgrade is not HTTP/1.1");
    if (u->status != 101)
        return refused(u, head);
    char value[256], accept[ACCEPT_SIZE];
    if (!header_value(head, "Upgrade", value, sizeof value) || strcasecmp(value, "websocket") != 0)
        return fault(u, "status 101 without \"Upgrade: websocket\"");
    if (!header_value(head, "Connection", value, sizeof value) || !strcasestr(value, "upgrade"))
        return fault(u, "status 101 without \"Connection: Upgrade\"");
    expected_accept(u, accept);
    if (!header_value(head, "Sec-WebSocket-Accept", value, sizeof value) || strcmp(value, accept) != 0)
        return fault(u, "wrong Sec-WebSocket-Accept: the answer is not to this request");
    if (header_value(head, "Sec-WebSocket-Extensions", value, sizeof value) && value[0])
        return fault(u, "the server uses an extension that was not offered");
    return UPGRADE_DONE;
}

enum upgrade_result upgrade_received(struct upgrade *u, const char *data, size_t len, size_t *used)
{
    size_t before = u->head.len;
    size_t room = HEAD_MAX_BYTES - 1 - before;
    *used = len;
    buf_add(&u->head, data, len < room ? len : room);
    const char *head = buf_cstr(&u->head);
    const char *end = memmem(head, u->head.len, "\r\n\r\n", 4);
    if (!end) {
        static const char http[] = "HTTP/1.";
        size_t n = u->head.len < sizeof http - 1 ? u->head.len : sizeof http - 1;
        if (memcmp(head, http, n) != 0)
            return fault(u, "the answer to the upgrade is not HTTP/1.1");
        return len >= room ? fault(u, "the answer to the upgrade has no end") : UPGRADE_MORE;
    }
    size_t head_len = (size_t)(end + 4 - head);
    *used = head_len - before;
    u->head.data[head_len - 1] = '\0';
    if (strlen(u->head.data) != head_len - 1)
        return fault(u, "the answer to the upgrade holds a NUL");
    return judge(u, u->head.data);
}
