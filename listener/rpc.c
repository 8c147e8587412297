#include "listener/rpc.h"

#include <stdbool.h>
#include <string.h>

#include "core/alloc.h"

char *rpc_request(int64_t id, const char *method, cJSON *params)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "jsonrpc", "2.0");
    cJSON_AddNumberToObject(json, "id", (double)id);
    cJSON_AddStringToObject(json, "method", method);
    cJSON_AddItemToObject(json, "params", params);
    char *text = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    if (!text)
        panic("no memory for a request");
    return text;
}

static const char *text_of(const cJSON *object, const char *name)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsString(v) ? v->valuestring : "";
}

static bool is_limit(const cJSON *result)
{
    const cJSON *code = cJSON_GetObjectItemCaseSensitive(result, "code");
    return cJSON_IsNumber(code) && code->valueint == 429;
}

static void judge_result(const cJSON *result, struct rpc_answer *a)
{
    if (cJSON_IsString(result) && strcmp(result->valuestring, "OK") == 0) {
        a->form = RPC_OK;
    } else if (cJSON_IsObject(result)) {
        a->form = is_limit(result) ? RPC_LIMITED : RPC_RESULT;
        a->result = result;
    }
}

/* And not a notification; a failed call may have no id. */
static bool is_answer(const cJSON *json)
{
    return cJSON_IsObject(json) && (cJSON_HasObjectItem(json, "jsonrpc") || cJSON_HasObjectItem(json, "id"));
}

void rpc_judge(const cJSON *json, struct rpc_answer *a)
{
    memset(a, 0, sizeof *a);
    a->id = -1;
    a->message = a->data = "";
    if (!is_answer(json))
        return;
    a->form = RPC_ODD;
    const cJSON *id = cJSON_GetObjectItemCaseSensitive(json, "id");
    if (cJSON_IsNumber(id) && id->valuedouble >= 0 && id->valuedouble < 9e15)
        a->id = (int64_t)id->valuedouble;
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(json, "error");
    const cJSON *code = cJSON_GetObjectItemCaseSensitive(error, "code");
    if (cJSON_IsNumber(code)) {
        a->form = RPC_ERROR;
        a->code = code->valueint;
        a->message = text_of(error, "message");
        a->data = text_of(error, "data");
    } else if (!error || cJSON_IsNull(error)) {
        judge_result(cJSON_GetObjectItemCaseSensitive(json, "result"), a);
    }
}
