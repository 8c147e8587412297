#include "master/json.h"

/* Numbers are turned into whole ones later; larger ones come from nobody who is well. */
static const double NUMBER_MAX = 1e15;

cJSON *json_member(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

const char *json_text(const cJSON *object, const char *name)
{
    const char *text = cJSON_GetStringValue(json_member(object, name));
    return text ? text : "";
}

double json_number(const cJSON *object, const char *name)
{
    const cJSON *member = json_member(object, name);
    if (!cJSON_IsNumber(member) || !(member->valuedouble > -NUMBER_MAX && member->valuedouble < NUMBER_MAX))
        return 0;
    return member->valuedouble;
}

bool json_flag(const cJSON *object, const char *name)
{
    return cJSON_IsTrue(json_member(object, name));
}
