#include "dispatcher/members.h"
enum members_known members_find(struct members *m, struct msg_str bridge, struct msg_str container,
                                struct members_list *out)
{
    (void)m;
    (void)bridge;
    (void)container;
    (void)out;
    return MEMBERS_NONE;
}
