#include "master/json.h"

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
    return cJSON_IsNumber(member) ? member->valuedouble : 0;
}

bool json_flag(const cJSON *object, const char *name)
{
    return cJSON_IsTrue(json_member(object, name));
}
