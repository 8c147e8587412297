#include "conf/parse.h"

#include <confuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"

/* libConfuse hands its callbacks no pointer of ours. */
static struct {
    struct scan *scan;
    size_t next;  /* the value to be read next */
    bool strayed; /* the parser's values are not the scan's */
    char error[256];
    unsigned error_line;
} parsing;

/* Takes every value as it is read; what stays in libConfuse's tree is empty, so that secrets are in one
 * place. */
static int take_value(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
    struct scan *s = parsing.scan;
    (void)cfg;
    *(const char **)result = "";
    if (parsing.next >= s->value_count) {
        parsing.strayed = true;
        return -1;
    }
    struct scan_value *v = &s->values[parsing.next++];
    if (strcmp(s->settings[v->setting].directive->name, cfg_opt_name(opt)) != 0) {
        parsing.strayed = true;
        return -1;
    }
    v->text = xstrdup(value);
    return 0;
}

/* A block has been read: it is dropped at once, so that the tree never holds more than one. */
static int drop_block(cfg_t *cfg, cfg_opt_t *opt)
{
    (void)cfg;
    return cfg_opt_rmnsec(opt, 0) == CFG_SUCCESS ? 0 : -1;
}

static void take_error(cfg_t *cfg, const char *format, va_list args)
{
    vsnprintf(parsing.error, sizeof parsing.error, format, args);
    parsing.error_line = cfg && cfg->line > 0 ? (unsigned)cfg->line : 0;
}

/* A list of strings whatever the kind: the parser's own readings of numbers and switches are not used. */
static cfg_opt_t *setting_options(const struct block_def *block, size_t room)
{
    cfg_opt_t end = CFG_END();
    cfg_opt_t *options = xcalloc(block->count + room + 1, sizeof *options);
    for (size_t i = 0; i < block->count; i++)
        options[i] = (cfg_opt_t){.name = block->directives[i].name,
                                 .type = CFGT_STR,
                                 .flags = CFGF_LIST | CFGF_NODEFAULT,
                                 .parsecb = take_value};
    options[block->count + room] = end;
    return options;
}

/* All blocks are MULTI: otherwise errors inside them lack the place. */
static cfg_opt_t *all_options(void)
{
    cfg_opt_t *options = setting_options(&conf_blocks[0], conf_blocks_count - 1);
    for (size_t i = 1; i < conf_blocks_count; i++)
        options[conf_blocks[0].count + i - 1] = (cfg_opt_t){.name = conf_blocks[i].name,
                                                            .type = CFGT_SEC,
                                                            .flags = CFGF_MULTI,
                                                            .validcb = drop_block,
                                                            .subopts = setting_options(&conf_blocks[i], 0)};
    return options;
}

static void free_options(cfg_opt_t *options)
{
    for (size_t i = 0; options[i].name; i++)
        free(options[i].subopts);
    free(options);
}

int parse_values(struct scan *s, const char *file, struct faults *faults)
{
    memset(&parsing, 0, sizeof parsing);
    parsing.scan = s;
    cfg_opt_t *options = all_options();
    cfg_t *cfg = cfg_init(options, CFGF_NONE);
    if (!cfg)
        panic("out of memory (libConfuse)");
    cfg_set_error_function(cfg, take_error);
    int rc = cfg_parse_buf(cfg, s->text);
    cfg_free(cfg);
    free_options(options);
    parsing.scan = NULL;
    if (rc == CFG_SUCCESS && !parsing.strayed && parsing.next == s->value_count)
        return 0;
    if (parsing.error[0])
        faults_add(faults, file, parsing.error_line, "%s", parsing.error);
    else
        faults_add(faults, file, parsing.next ? s->values[parsing.next - 1].line : 1,
                   "near here the file is not understood: write it in a plainer form");
    return -1;
}
