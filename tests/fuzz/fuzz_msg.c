/* links: proto core */
/* Messages between processes: any bytes, through every typed reader. */
#include <stdint.h>
#include <stdlib.h>

#include "proto/slice.h"
#include "proto/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_slice(struct msg_fields *f)
{
    struct slice *s = slice_unpack(f);
    slice_free(&s);
}

static void read_interest(struct msg_fields *f)
{
    struct wire_interest interest;
    wire_get_interest(f, &interest);
    wire_interest_free(&interest);
}

static void read_grant(struct msg_fields *f)
{
    struct wire_grant g;
    struct wire_grant_job jobs[WIRE_GRANT_JOBS_MAX];
    wire_get_grant(f, &g, jobs);
}

static void read_result(struct msg_fields *f)
{
    struct wire_result r;
    struct wire_credit c;
    wire_get_result(f, &r);
    wire_get_credit(f, &c);
}

static void read_members_ask(struct msg_fields *f)
{
    struct wire_members_ask a;
    wire_get_members_ask(f, &a);
}

static void read_members(struct msg_fields *f)
{
    struct wire_members a;
    if (wire_get_members(f, &a) == 0)
        while (a.users.left)
            if (!msg_get_str(&a.users).data)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const readers[])(struct msg_fields *) = {read_slice,  read_interest,    read_grant,
                                                           read_result, read_members_ask, read_members};
    struct msg_in in;
    msg_in_init(&in);
    for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++) {
        struct msg_fields f;
        if (msg_parse(&in, data, size, &f) >= 0)
            readers[i](&f);
    }
    struct event e;
    if (event_unpack(&in, data, size, &e) == 0) {
        cJSON *json = event_msgpack_to_json(e.data);
        cJSON_Delete(json);
    }
    msg_in_free(&in);
    return 0;
}
