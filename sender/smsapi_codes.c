#include "sender/smsapi_codes.h"

#include <stdlib.h>

/* Sorted by code. */
static const struct smsapi_code codes[] = {
    {7, WIRE_CONFIG, PROVES_ALL}, /* short links are switched off for the account */
    {8, WIRE_TRANSIENT,
     PROVES_NOTHING}, /* call could not be handled; support wants to hear of it; acceptance not proven */
    {11, WIRE_PERMANENT_MESSAGE,
     PROVES_ALL}, /* text empty or too long or has non-7-bit characters while nounicode is on */
    {12, WIRE_PERMANENT_MESSAGE, PROVES_ALL}, /* text needs more parts than max_parts allows */
    {13, WIRE_PER_NUMBER, PROVES_ONE}, /* no usable recipient left: malformed or landline or blacklisted
                                          number; see invalid_numbers */
    {14, WIRE_CONFIG, PROVES_ALL},     /* sender name unknown or not active */
    {17, WIRE_PERMANENT_MESSAGE, PROVES_ALL}, /* flash message with special characters */
    {18, WIRE_PERMANENT_MESSAGE, PROVES_ALL}, /* wrong number of personalisation values */
    {19, WIRE_CONFIG, PROVES_ONE},            /* too many recipients in one request; one is never too many */
    {20, WIRE_PERMANENT_MESSAGE, PROVES_ONE}, /* count of idx values does not match the recipients */
    {21, WIRE_PERMANENT_MESSAGE, PROVES_ALL}, /* MMS too large */
    {22, WIRE_PERMANENT_MESSAGE, PROVES_ALL}, /* MMS SMIL malformed */
    {23, WIRE_PERMANENT_MESSAGE, PROVES_ALL}, /* file for MMS or voice could not be fetched */
    {24, WIRE_PERMANENT_MESSAGE, PROVES_ALL}, /* fetched file has a wrong format */
    {25, WIRE_CONFIG, PROVES_ALL},            /* normalize and datacoding used together */
    {26, WIRE_PERMANENT_MESSAGE, PROVES_ALL}, /* MMS subject longer than 30 characters */
    {27, WIRE_PERMANENT_MESSAGE, PROVES_ALL}, /* idx longer than 255 characters */
    {28, WIRE_CONFIG, PROVES_ALL},            /* time_restriction has an unknown value */
    {30, WIRE_PERMANENT_MESSAGE, PROVES_ALL}, /* user-data header missing or wrong for binary message */
    {31, WIRE_PERMANENT_MESSAGE, PROVES_ALL}, /* text-to-speech conversion failed */
    {32, WIRE_PER_NUMBER,
     PROVES_ONE}, /* destination outside the country not possible for this kind of message or account */
    {33, WIRE_PER_NUMBER, PROVES_ONE},        /* no valid numbers left */
    {35, WIRE_CONFIG, PROVES_ALL},            /* unknown text-to-speech voice */
    {36, WIRE_CONFIG, PROVES_ALL},            /* binary message not possible while the account has a footer */
    {40, WIRE_PERMANENT_MESSAGE, PROVES_ALL}, /* no contacts group of that name */
    {41, WIRE_PERMANENT_MESSAGE, PROVES_ALL}, /* contacts group has no members */
    {50, WIRE_PERMANENT_MESSAGE, PROVES_ALL}, /* scheduled more than three months ahead */
    {51, WIRE_PERMANENT_MESSAGE, PROVES_ALL}, /* voice message outside permitted hours */
    {52, WIRE_PER_NUMBER, PROVES_ONE}, /* more than 10 attempts to one number within 60 s; delay that number
                                          by 60 s or more and retry */
    {53, WIRE_DUPLICATE_IDX,
     PROVES_NOTHING}, /* idx was used before and check_idx is on: message is already with the provider */
    {54, WIRE_PERMANENT_MESSAGE, PROVES_ALL}, /* date malformed while date_validate is on */
    {55, WIRE_PERMANENT_MESSAGE, PROVES_ALL}, /* no landline numbers although skip_gsm is set */
    {56, WIRE_PERMANENT_MESSAGE, PROVES_ALL}, /* expiry too near or too far from the send time */
    {57, WIRE_PER_NUMBER, PROVES_ONE},        /* number is on the account blacklist */
    {59, WIRE_PER_NUMBER, PROVES_ONE},        /* number has opted out */
    {60, WIRE_PERMANENT_MESSAGE, PROVES_ALL}, /* discount code group does not exist */
    {61, WIRE_PERMANENT_MESSAGE, PROVES_ALL}, /* discount code group has expired */
    {62, WIRE_PERMANENT_MESSAGE, PROVES_ALL}, /* all codes of the group are used */
    {65, WIRE_PERMANENT_MESSAGE, PROVES_ALL}, /* fewer free codes than recipients */
    {66, WIRE_PERMANENT_MESSAGE, PROVES_ALL}, /* text lacks the code placeholder */
    {70, WIRE_CONFIG, PROVES_ALL},            /* notify_url is not a valid address */
    {72, WIRE_CONFIG, PROVES_ONE},            /* notify_url given with several recipients (older rule) */
    {74, WIRE_THROTTLED,
     PROVES_ALL}, /* send time outside the hours or days permitted on the account; wait for the window */
    {76, WIRE_PERMANENT_MESSAGE, PROVES_ALL}, /* request parameters hold invalid characters */
    {93, WIRE_PERMANENT_MESSAGE, PROVES_ALL}, /* personalisation values together with a group */
    {94, WIRE_PERMANENT_MESSAGE, PROVES_ALL}, /* account may not send texts with links */
    {96, WIRE_PER_NUMBER, PROVES_ONE}, /* sending limit reached; seen as a per-recipient monthly limit */
    {98, WIRE_PERMANENT_ACCOUNT,
     PROVES_ONE}, /* restricted account: only the registration number may be addressed */
    {101, WIRE_PERMANENT_ACCOUNT, PROVES_ALL}, /* credentials missing or wrong or wrong regional host */
    {102, WIRE_PERMANENT_ACCOUNT, PROVES_ALL}, /* login or password wrong */
    {103, WIRE_PERMANENT_ACCOUNT, PROVES_ALL}, /* not enough credit; nothing was sent; needs its own alarm */
    {104, WIRE_CONFIG, PROVES_ALL},            /* no template of that name */
    {105, WIRE_PERMANENT_ACCOUNT, PROVES_ALL}, /* source address not permitted by the IP filter */
    {106, WIRE_PERMANENT_MESSAGE, PROVES_ALL}, /* short link invalid */
    {110, WIRE_PERMANENT_ACCOUNT, PROVES_ALL}, /* service or action not available on this account */
    {112, WIRE_PER_NUMBER, PROVES_ONE},        /* destination country is blocked on this account */
    {200, WIRE_TRANSIENT, PROVES_NOTHING},     /* send attempt failed; asks to be repeated */
    {201, WIRE_TRANSIENT, PROVES_NOTHING},     /* internal error at the provider; acceptance not proven */
    {202, WIRE_THROTTLED, PROVES_ALL},         /* too many calls at the same time; not sent; call again */
    {203, WIRE_THROTTLED, PROVES_ALL}, /* too many calls; later (current table names the subusers endpoint) */
    {300, WIRE_CONFIG, PROVES_ALL},    /* legacy points field wrong */
    {301, WIRE_PERMANENT_MESSAGE,
     PROVES_ALL}, /* message id unknown or due within 60 s so it cannot be cancelled */
    {400, WIRE_PERMANENT_MESSAGE, PROVES_ALL},  /* message id in a status query invalid */
    {401, WIRE_PERMANENT_ACCOUNT, PROVES_ALL},  /* token lacks the permission for this action */
    {409, WIRE_CONFIG, PROVES_NOTHING},         /* value exists already */
    {666, WIRE_TRANSIENT, PROVES_NOTHING},      /* internal error at the provider */
    {997, WIRE_CONFIG, PROVES_ALL},             /* plain HTTP is disabled for the account */
    {998, WIRE_TRANSIENT, PROVES_NOTHING},      /* short-link service is down */
    {999, WIRE_TRANSIENT, PROVES_NOTHING},      /* internal error at the provider; acceptance not proven */
    {1000, WIRE_PERMANENT_ACCOUNT, PROVES_ALL}, /* only the main user may do this */
    {1001, WIRE_CONFIG, PROVES_NOTHING},        /* unknown user.do action */
    {1010, WIRE_CONFIG, PROVES_NOTHING},        /* adding a subuser failed */
    {1020, WIRE_CONFIG, PROVES_NOTHING},        /* changing a subuser failed */
    {1021, WIRE_CONFIG, PROVES_NOTHING},        /* nothing to change was given */
    {1030, WIRE_CONFIG, PROVES_NOTHING},        /* reading user data failed */
    {1032, WIRE_CONFIG, PROVES_NOTHING},        /* subuser not found */
    {1100, WIRE_CONFIG, PROVES_NOTHING},        /* subuser data faulty */
    {1110, WIRE_CONFIG, PROVES_NOTHING},        /* subuser name invalid */
    {1111, WIRE_CONFIG, PROVES_NOTHING},        /* subuser name missing */
    {1112, WIRE_CONFIG, PROVES_NOTHING},        /* subuser name under 3 characters */
    {1113, WIRE_CONFIG, PROVES_NOTHING},        /* subuser name with prefix over 32 characters */
    {1114, WIRE_CONFIG, PROVES_NOTHING},        /* subuser name has forbidden characters */
    {1115, WIRE_CONFIG, PROVES_NOTHING},        /* user name taken */
    {1120, WIRE_CONFIG, PROVES_NOTHING},        /* subuser password faulty */
    {1121, WIRE_CONFIG, PROVES_NOTHING},        /* password too short */
    {1122, WIRE_CONFIG, PROVES_NOTHING},        /* password too long */
    {1123, WIRE_CONFIG, PROVES_NOTHING},        /* password not given as MD5 */
    {1130, WIRE_CONFIG, PROVES_NOTHING},        /* credit limit faulty */
    {1131, WIRE_CONFIG, PROVES_NOTHING},        /* credit limit not a number */
    {1140, WIRE_CONFIG, PROVES_NOTHING},        /* monthly limit faulty */
    {1141, WIRE_CONFIG, PROVES_NOTHING},        /* monthly limit not a number */
    {1150, WIRE_CONFIG, PROVES_NOTHING},        /* senders flag not 0 or 1 */
    {1160, WIRE_CONFIG, PROVES_NOTHING},        /* phonebook flag not 0 or 1 */
    {1170, WIRE_CONFIG, PROVES_NOTHING},        /* active flag not 0 or 1 */
    {1180, WIRE_CONFIG, PROVES_NOTHING},        /* info field faulty */
    {1183, WIRE_CONFIG, PROVES_NOTHING},        /* info field too long */
    {1190, WIRE_CONFIG, PROVES_NOTHING},        /* subuser API password faulty */
    {1192, WIRE_CONFIG, PROVES_NOTHING},        /* API password hash has a wrong length */
    {1193, WIRE_CONFIG, PROVES_NOTHING},        /* API password not given as MD5 */
    {2001, WIRE_CONFIG, PROVES_NOTHING},        /* unknown sender.do action */
    {2010, WIRE_CONFIG, PROVES_NOTHING},        /* adding a sender name failed */
    {2030, WIRE_CONFIG, PROVES_NOTHING},        /* checking a sender name failed */
    {2031, WIRE_CONFIG, PROVES_NOTHING},        /* sender name not found */
    {2060, WIRE_CONFIG, PROVES_NOTHING},        /* setting the default sender failed */
    {2061, WIRE_CONFIG, PROVES_NOTHING},        /* sender name must be active to become default */
    {2062, WIRE_CONFIG, PROVES_NOTHING},        /* sender name is default already */
    {2100, WIRE_CONFIG, PROVES_NOTHING},        /* request data faulty */
    {2110, WIRE_CONFIG, PROVES_NOTHING},        /* sender name faulty */
    {2111, WIRE_CONFIG, PROVES_NOTHING},        /* sender name missing */
    {2112, WIRE_CONFIG, PROVES_NOTHING}, /* sender name has forbidden characters or is over 11 characters */
    {2115, WIRE_CONFIG, PROVES_NOTHING}, /* sender name exists already */
    {4000, WIRE_CONFIG, PROVES_NOTHING}, /* contacts: general failure */
    {4001, WIRE_CONFIG, PROVES_NOTHING}, /* contacts: not available on this account */
    {4002, WIRE_CONFIG, PROVES_NOTHING}, /* contacts: unknown action */
    {4003, WIRE_CONFIG, PROVES_NOTHING}, /* contacts: parameter misused */
    {4004, WIRE_CONFIG, PROVES_NOTHING}, /* contacts: limit value too large */
    {4100, WIRE_CONFIG, PROVES_NOTHING}, /* groups: general failure */
    {4101, WIRE_CONFIG, PROVES_NOTHING}, /* group not found */
    {4110, WIRE_CONFIG, PROVES_NOTHING}, /* group name: general failure */
    {4111, WIRE_CONFIG, PROVES_NOTHING}, /* group name invalid */
    {4112, WIRE_CONFIG, PROVES_NOTHING}, /* group name empty */
    {4113, WIRE_CONFIG, PROVES_NOTHING}, /* group name under 2 characters */
    {4114, WIRE_CONFIG, PROVES_NOTHING}, /* group name over 32 characters */
    {4115, WIRE_CONFIG, PROVES_NOTHING}, /* group name has forbidden characters */
    {4116, WIRE_CONFIG, PROVES_NOTHING}, /* group exists already */
    {4121, WIRE_CONFIG, PROVES_NOTHING}, /* group info field invalid */
    {4122, WIRE_CONFIG, PROVES_NOTHING}, /* group info field over 200 characters */
    {4200, WIRE_CONFIG, PROVES_NOTHING}, /* contact: general failure */
    {4201, WIRE_CONFIG, PROVES_NOTHING}, /* contact not found */
    {4210, WIRE_CONFIG, PROVES_NOTHING}, /* contact number: general failure */
    {4211, WIRE_CONFIG, PROVES_NOTHING}, /* contact number invalid */
    {4212, WIRE_CONFIG, PROVES_NOTHING}, /* contact number missing */
    {4213, WIRE_CONFIG, PROVES_NOTHING}, /* contact number too short */
    {4214, WIRE_CONFIG, PROVES_NOTHING}, /* contact number too long */
    {4220, WIRE_CONFIG, PROVES_NOTHING}, /* first name faulty */
    {4221, WIRE_CONFIG, PROVES_NOTHING}, /* first name too short */
    {4222, WIRE_CONFIG, PROVES_NOTHING}, /* first name over 100 characters */
    {4230, WIRE_CONFIG, PROVES_NOTHING}, /* last name faulty */
    {4231, WIRE_CONFIG, PROVES_NOTHING}, /* last name too short */
    {4232, WIRE_CONFIG, PROVES_NOTHING}, /* last name over 100 characters */
    {4240, WIRE_CONFIG, PROVES_NOTHING}, /* contact info field faulty */
    {4241, WIRE_CONFIG, PROVES_NOTHING}, /* contact info field over 200 characters */
    {4250, WIRE_CONFIG, PROVES_NOTHING}, /* contact e-mail faulty */
    {4260, WIRE_CONFIG, PROVES_NOTHING}, /* contact birth date faulty */
    {4270, WIRE_CONFIG, PROVES_NOTHING}, /* contact group faulty */
    {4271, WIRE_CONFIG, PROVES_NOTHING}, /* contact group not found */
    {4272, WIRE_CONFIG, PROVES_NOTHING}, /* contact group name missing */
    {4280, WIRE_CONFIG, PROVES_NOTHING}, /* contact gender faulty */
};

static int by_code(const void *key, const void *row)
{
    int32_t a = *(const int32_t *)key;
    int32_t b = ((const struct smsapi_code *)row)->code;
    return a < b ? -1 : a > b;
}

const struct smsapi_code *smsapi_code(int32_t code)
{
    static const struct smsapi_code unlisted = {0, WIRE_CLASS_NONE, PROVES_NOTHING};
    const struct smsapi_code *row =
        bsearch(&code, codes, sizeof codes / sizeof codes[0], sizeof codes[0], by_code);
    return row ? row : &unlisted;
}
