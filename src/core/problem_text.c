// SPDX-License-Identifier: Apache-2.0
#include "core/problem_text.h"

#include "base/dtype.h"
#include "base/error.h"
#include "base/philox.h"
#include "base/text.h"
#include "core/problem.h"
#include "core/rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKEN_MAX = 80, TEXT_MAX = 4096 };

// What has been said so far, so that nothing is said twice or against itself.
typedef struct {
    problem_line *line;
    heed_error *error;
    unsigned said;       // SAID_*
    unsigned sizes;      // one bit per letter of b h q k d
    int masks, scores;
    bool claim;          // of a captured or compared call, which may have rotary embeddings
} parser;

enum {
    SAID_TYPE = 1 << 0,
    SAID_KV = 1 << 1,
    SAID_OFFSET = 1 << 2,
    SAID_BIAS = 1 << 3,
    SAID_MASK = 1 << 4,
    SAID_PAD = 1 << 5,
    SAID_EMPTY = 1 << 6,
    SAID_SCALE = 1 << 7,
    SAID_DROPOUT = 1 << 8,
    SAID_PAGED = 1 << 9,
    SAID_LAYOUT = 1 << 10,
    SAID_SEED = 1 << 11,
    SAID_PRESET = 1 << 12,
    SAID_GRAD = 1 << 13,
    SAID_RAGGED = 1 << 14,
    SAID_COUNT = 1 << 15,
    SAID_SINK = 1 << 16,
    SAID_ALIBI = 1 << 17,
    SAID_DOCS = 1 << 18,
    SAID_BIAS_FIRST = 1 << 19,
    SAID_BIAS_TYPE = 1 << 20,
    SAID_ROPE = 1 << 21,
};

// ---- Single tokens: each reader gets the text after "name:" (NULL without one) -------------------------------------

typedef heed_status (*reader)(parser *, const char *token, const char *value);

static heed_status wrong(parser *p, const char *token, const char *allowed) {
    return error_set(p->error, HEED_INVALID, "'%s' is no valid token of a problem text; allowed: %s", token, allowed);
}

static heed_status flag(parser *p, const char *token, const char *value, unsigned with) {
    if (value != NULL) return wrong(p, token, "the word alone");
    p->line->problem.with |= with;
    return HEED_OK;
}

static heed_status read_sink(parser *p, const char *token, const char *value) { return flag(p, token, value, HEED_SINKS); }
static heed_status read_alibi(parser *p, const char *token, const char *value) { return flag(p, token, value, HEED_SLOPES); }
static heed_status read_docs(parser *p, const char *token, const char *value) { return flag(p, token, value, HEED_DOCUMENTS); }
static heed_status read_bias_first(parser *p, const char *token, const char *value) {
    return flag(p, token, value, HEED_BIAS_FIRST);
}

static heed_status read_grad(parser *p, const char *token, const char *value) {
    p->line->problem.pass = HEED_BACKWARD;
    return flag(p, token, value, 0);
}

static heed_status read_ragged(parser *p, const char *token, const char *value) {
    p->line->problem.ragged = true;
    return flag(p, token, value, 0);
}

static heed_status read_offset(parser *p, const char *token, const char *value) {
    heed_problem *problem = &p->line->problem;
    if (value == NULL) return wrong(p, token, "offset:top, offset:bottom, offset:N");
    problem->offset = 0;
    if (strcmp(value, "top") == 0) problem->align = HEED_TOP_LEFT;
    else if (strcmp(value, "bottom") == 0) problem->align = HEED_BOTTOM_RIGHT;
    else if (text_to_int64(value, &problem->offset)) problem->align = HEED_OFFSET;
    else return wrong(p, token, "offset:top, offset:bottom, offset:N");
    return HEED_OK;
}

static heed_status read_axes(parser *p, const char *token, const char *value, unsigned *axes) {
    *axes = 0;
    for (const char *c = value; c != NULL && *c != 0; c++) {
        const char *at = strchr("bhqk", *c);
        const unsigned axis = at == NULL ? 0 : 1u << (at - "bhqk");
        if (axis == 0 || *axes & axis || (c[1] != 0 && c[1] != ',')) return wrong(p, token, "axes among b,h,q,k, each once");
        *axes |= axis;
        if (c[1] == ',') {
            if (c[2] == 0) return wrong(p, token, "axes among b,h,q,k, each once");
            c++;
        }
    }
    if (value != NULL && *axes == 0) return wrong(p, token, "axes among b,h,q,k, each once");
    return HEED_OK;
}

static heed_status read_bias(parser *p, const char *token, const char *value) {
    p->line->problem.with |= HEED_BIAS;
    return read_axes(p, token, value, &p->line->problem.bias_axes);
}

static heed_status read_mask(parser *p, const char *token, const char *value) {
    p->line->problem.with |= HEED_MASK;
    return read_axes(p, token, value, &p->line->problem.mask_axes);
}

static heed_status read_pad(parser *p, const char *token, const char *value) {
    if (value != NULL && strcmp(value, "left") == 0) p->line->pad = PAD_LEFT;
    else if (value != NULL && strcmp(value, "right") == 0) p->line->pad = PAD_RIGHT;
    else return wrong(p, token, "pad:left, pad:right");
    p->line->problem.with |= HEED_KEY_RANGE;
    return HEED_OK;
}

static heed_status read_empty(parser *p, const char *token, const char *value) {
    static const char *const rules[] = {"zero", "nan", "mean", "mean_causal"};
    for (int i = 0; value != NULL && i < 4; i++)
        if (strcmp(value, rules[i]) == 0) {
            p->line->problem.empty_row = (heed_empty)i;
            return HEED_OK;
        }
    return wrong(p, token, "empty:zero, empty:nan, empty:mean, empty:mean_causal");
}

static heed_status read_scale(parser *p, const char *token, const char *value) {
    if (value == NULL || !text_to_double(value, &p->line->problem.scale)) return wrong(p, token, "scale:X, a finite number");
    if (p->line->problem.scale == 0)
        return wrong(p, token, "a scale other than 0, which would make all scores equal; leave it out for 1/sqrt(d)");
    return HEED_OK;
}

static heed_status read_dropout(parser *p, const char *token, const char *value) {
    double *dropout = &p->line->problem.dropout;
    if (value == NULL || !text_to_double(value, dropout) || !philox_can_drop(*dropout))
        return wrong(p, token, "dropout:P, 0 <= P <= 1 - 2^-32");
    return HEED_OK;
}

static heed_status read_paged(parser *p, const char *token, const char *value) {
    int64_t *size = &p->line->problem.page_size;
    if (value == NULL || !text_to_int64(value, size) || *size < 1 || *size > PROBLEM_SIZE_MAX)
        return wrong(p, token, "paged:N, N at least 1");
    return HEED_OK;
}

static heed_status read_count(parser *p, const char *token, const char *value) {
    if (value == NULL || strcmp(value, "rand") != 0) return wrong(p, token, "count:rand");
    p->line->problem.with |= HEED_KEY_COUNT;
    return HEED_OK;
}

static heed_status read_layout(parser *p, const char *token, const char *value) {
    if (value == NULL || (strcmp(value, "bshd") != 0 && strcmp(value, "bhsd") != 0))
        return wrong(p, token, "layout:bhsd, layout:bshd");
    p->line->layout_bshd = strcmp(value, "bshd") == 0;
    return HEED_OK;
}

static heed_status read_seed(parser *p, const char *token, const char *value) {
    int64_t seed;
    if (value == NULL || !text_to_int64(value, &seed) || seed < 0) return wrong(p, token, "seed:N, N at least 0");
    p->line->seed = (uint64_t)seed;
    return HEED_OK;
}

// The preset was applied before every other token, so that these override it.
static heed_status read_preset(parser *p, const char *token, const char *value) { return HEED_OK; }

// rope:half,theta=10000,yarn=32
static heed_status read_rope(parser *p, const char *token, const char *value) {
    static const char allowed[] = "rope:half or rope:pairs, then ,theta=T and ,yarn=F, each once, positive";
    rope_claim *rope = &p->line->rope;
    if (!p->claim)
        return error_set(p->error, HEED_REFUSED,
                         "'%s': rotary embeddings belong to captures and comparisons; give q and k after them", token);
    *rope = (rope_claim){.theta = 10000, .yarn = 1};
    char text[TOKEN_MAX], *next = NULL;
    snprintf(text, sizeof text, "%s", value == NULL ? "" : value);
    for (char *part = strtok_r(text, ",", &next); part != NULL; part = strtok_r(NULL, ",", &next)) {
        const bool theta = strncmp(part, "theta=", 6) == 0, yarn = strncmp(part, "yarn=", 5) == 0;
        double *number = theta ? &rope->theta : &rope->yarn;
        if (part == text && strcmp(part, "half") == 0) rope->layout = ROPE_HALF;
        else if (part == text && strcmp(part, "pairs") == 0) rope->layout = ROPE_PAIRS;
        else if (part == text || (!theta && !yarn)) return wrong(p, token, allowed);
        else if (!text_to_double(strchr(part, '=') + 1, number) || !(*number >= 1 && *number <= 1e12))
            return wrong(p, token, allowed);
    }
    return rope->layout == ROPE_NONE ? wrong(p, token, allowed) : HEED_OK;
}

// A type by its name, no later in the list than `last`.
static bool type_named(const char *name, heed_dtype last, heed_dtype *type) {
    for (heed_dtype t = HEED_F32; name != NULL && t <= last; t++)
        if (strcmp(name, dtype_name(t)) == 0) return *type = t, true;
    return false;
}

static heed_status read_kv(parser *p, const char *token, const char *value) {
    if (type_named(value, HEED_INT8, &p->line->problem.kv_dtype)) return HEED_OK;
    return wrong(p, token, "kv:f32, kv:bf16, kv:f16, kv:int8");
}

static heed_status read_bias_type(parser *p, const char *token, const char *value) {
    if (type_named(value, HEED_F16, &p->line->problem.bias_dtype)) return HEED_OK;
    return wrong(p, token, "bias-type:f32, bias-type:bf16, bias-type:f16");
}

static const struct { const char *name; unsigned said; reader read;
} words[] = {
    {"sink", SAID_SINK, read_sink},
    {"alibi", SAID_ALIBI, read_alibi},
    {"docs", SAID_DOCS, read_docs},
    {"bias-first", SAID_BIAS_FIRST, read_bias_first},
    {"grad", SAID_GRAD, read_grad},
    {"ragged", SAID_RAGGED, read_ragged},
    {"offset", SAID_OFFSET, read_offset},
    {"bias", SAID_BIAS, read_bias},
    {"mask", SAID_MASK, read_mask},
    {"pad", SAID_PAD, read_pad},
    {"empty", SAID_EMPTY, read_empty},
    {"scale", SAID_SCALE, read_scale},
    {"dropout", SAID_DROPOUT, read_dropout},
    {"paged", SAID_PAGED, read_paged},
    {"count", SAID_COUNT, read_count},
    {"layout", SAID_LAYOUT, read_layout},
    {"seed", SAID_SEED, read_seed},
    {"preset", SAID_PRESET, read_preset},
    {"rope", SAID_ROPE, read_rope},
    {"kv", SAID_KV, read_kv},
    {"bias-type", SAID_BIAS_TYPE, read_bias_type},
};
enum { WORDS = sizeof words / sizeof *words };

// ---- Masks, score functions, sizes, types -------------------------------------------------------------------------

// "5,3" -> numbers; how many, -1 when it is no such list of at most `most`.
static int read_numbers(const char *value, int most, double *number, int64_t *whole) {
    int n = 0;
    for (const char *at = value; at != NULL;) {
        const char *comma = strchr(at, ',');
        const size_t length = comma == NULL ? strlen(at) : (size_t)(comma - at);
        char text[TOKEN_MAX];
        if (n == most || length == 0 || length >= sizeof text) return -1;
        memcpy(text, at, length);
        text[length] = 0;
        if (number != NULL ? !text_to_double(text, &number[n]) : !text_to_int64(text, &whole[n])) return -1;
        n++;
        at = comma == NULL ? NULL : comma + 1;
    }
    return n;
}

static heed_status read_mask_kind(parser *p, const char *token, const char *value, const mask_row *row) {
    if (p->masks == HEED_EDITS) return error_set(p->error, HEED_INVALID, "'%s': a problem has at most %d masks", token, HEED_EDITS);
    heed_mask *mask = &p->line->problem.mask[p->masks];
    for (int i = 0; i < p->masks; i++)
        if (p->line->problem.mask[i].kind == row->kind) return error_set(p->error, HEED_INVALID, "'%s' is said twice", row->name);
    *mask = (heed_mask){.kind = row->kind};
    for (int i = 0; i < row->most; i++) mask->i[i] = -1;
    const int n = read_numbers(value, row->most, NULL, mask->i);
    if (n < row->least) return wrong(p, token, row->examples);
    for (int i = 0; i < n; i++)
        if (mask->i[i] < row->lowest || mask->i[i] > PROBLEM_REACH_MAX) return wrong(p, token, row->examples);
    p->masks++;
    return HEED_OK;
}

static heed_status read_score_kind(parser *p, const char *token, const char *value, const score_row *row) {
    if (p->scores == HEED_EDITS)
        return error_set(p->error, HEED_INVALID, "'%s': a problem has at most %d score functions", token, HEED_EDITS);
    heed_score *score = &p->line->problem.score[p->scores];
    *score = (heed_score){.kind = row->kind};
    const int n = read_numbers(value, row->most, score->f, NULL);
    if (n < row->least) return wrong(p, token, row->examples);
    for (int i = 0; i < n; i++)
        if (score->f[i] <= 0) return wrong(p, token, row->examples);
    p->scores++;
    return HEED_OK;
}

static const char size_letters[] = "bhqkd";

// b1 h32/8 q128 k4096 d64/32; false when the token is no size at all.
static bool read_size(parser *p, const char *token, heed_status *status) {
    const char *letter = strchr(size_letters, token[0]);
    const char *digit = token + 1 + (token[1] == '-');
    if (token[0] == 0 || letter == NULL || *digit < '0' || *digit > '9') return false;
    heed_problem *problem = &p->line->problem;
    int64_t *const first[] = {&problem->batch, &problem->heads, &problem->queries, &problem->keys, &problem->channels};
    int64_t *const second[] = {NULL, &problem->kv_heads, NULL, NULL, &problem->value_channels};
    const int which = (int)(letter - size_letters);
    const int least = which == 1 || which == 4 ? 1 : 0;
    char text[TOKEN_MAX];
    snprintf(text, sizeof text, "%s", token + 1);
    char *slash = strchr(text, '/');
    if (slash != NULL) *slash = 0;
    const char *allowed = which == 1 ? "hN or hQ/KV" : which == 4 ? "dN or dN/DV" : "one whole number";
    *status = HEED_OK;
    if (p->sizes & 1u << which) *status = error_set(p->error, HEED_INVALID, "'%s': %c is said twice", token, *letter);
    else if (!text_to_int64(text, first[which])) *status = wrong(p, token, allowed);
    else if (slash != NULL && (second[which] == NULL || !text_to_int64(slash + 1, second[which])))
        *status = wrong(p, token, allowed);
    else if (*first[which] < least || *first[which] > PROBLEM_SIZE_MAX)
        *status = error_set(p->error, HEED_INVALID, "'%s': %c must be %d to %d", token, *letter, least, PROBLEM_SIZE_MAX);
    else if (slash != NULL && (*second[which] < 1 || *second[which] > PROBLEM_SIZE_MAX))
        *status = error_set(p->error, HEED_INVALID, "'%s': the number after '/' must be 1 to %d", token, PROBLEM_SIZE_MAX);
    if (*status == HEED_OK && which == 3 && problem->keys == 0) problem->keys = HEED_NO_KEYS;
    p->sizes |= 1u << which;
    return true;
}

static heed_status unknown_token(parser *p, const char *token, const char *name) {
    const char *names[64];
    size_t n = 0;
    for (int i = 0; i < WORDS; i++) names[n++] = words[i].name;
    for (const mask_row *row = mask_rows; row->name != NULL; row++) names[n++] = row->name;
    for (const score_row *row = score_rows; row->name != NULL; row++) names[n++] = row->name;
    const char *nearest = text_nearest(name, names, n);
    if (nearest == NULL)
        return error_set(p->error, HEED_INVALID, "'%s' is no token of a problem text; one looks like: b1 h12 q1024 d64 causal",
                         token);
    return error_set(p->error, HEED_INVALID, "'%s' is no token of a problem text; did you mean '%s'?", token, nearest);
}

static heed_status read_token(parser *p, char *token) {
    heed_status status;
    problem_line *line = p->line;
    if (read_size(p, token, &status)) return status;
    heed_dtype type;
    if (type_named(token, HEED_F16, &type)) {
        if (p->said & SAID_TYPE) return error_set(p->error, HEED_INVALID, "'%s': the storage type is said twice", token);
        p->said |= SAID_TYPE;
        line->problem.dtype = type;
        return HEED_OK;
    }
    char name[TOKEN_MAX];
    snprintf(name, sizeof name, "%s", token);
    char *colon = strchr(name, ':');
    const char *value = colon == NULL ? NULL : token + (colon - name) + 1;
    if (colon != NULL) *colon = 0;
    if (strcmp(name, "causal") == 0 && value != NULL) {    // causal:top is short for causal offset:top
        if (p->said & SAID_OFFSET) return error_set(p->error, HEED_INVALID, "'%s': the offset is said twice", token);
        p->said |= SAID_OFFSET;
        if ((status = read_offset(p, token, value)) != HEED_OK) return status;
        value = NULL;
    }
    for (int i = 0; i < WORDS; i++) {
        if (strcmp(name, words[i].name) != 0) continue;
        if (p->said & words[i].said) return error_set(p->error, HEED_INVALID, "'%s' is said twice", name);
        p->said |= words[i].said;
        return words[i].read(p, token, value);
    }
    for (const mask_row *row = mask_rows; row->name != NULL; row++)
        if (strcmp(name, row->name) == 0) return read_mask_kind(p, token, value, row);
    for (const score_row *row = score_rows; row->name != NULL; row++)
        if (strcmp(name, row->name) == 0) return read_score_kind(p, token, value, row);
    return unknown_token(p, token, name);
}

// ---- The line -----------------------------------------------------------------------------------------------------

// Copies the next word to token; false at the end. Longer words than any valid one are cut, hence unknown.
static bool next_token(const char **text, char token[TOKEN_MAX]) {
    const char *at = *text + strspn(*text, " \t\n\r");
    const size_t length = strcspn(at, " \t\n\r");
    const size_t kept = length < TOKEN_MAX - 1 ? length : TOKEN_MAX - 1;
    memcpy(token, at, kept);
    token[kept] = 0;
    *text = at + length;
    return length > 0;
}

static heed_stride stride_bshd(int64_t heads, int64_t tokens, int64_t channels) {
    return (heed_stride){.batch = tokens * heads * channels, .head = channels, .token = heads * channels};
}

static void set_layout_bshd(heed_problem *p) {
    heed_problem c;
    if (problem_complete(p, &c, NULL) != HEED_OK) return;    // reported by the caller's own problem_complete
    p->q = p->dq = stride_bshd(c.heads, c.queries, c.channels);
    p->k = p->dk = stride_bshd(c.kv_heads, c.keys, c.channels);
    p->v = p->dv = stride_bshd(c.kv_heads, c.keys, c.value_channels);
    p->out = p->dout = stride_bshd(c.heads, c.queries, c.value_channels);
}

static heed_status apply_preset(problem_line *line, const char *text, heed_error *error) {
    char token[TOKEN_MAX];
    while (next_token(&text, token)) {
        if (strncmp(token, "preset:", 7) != 0) continue;
        const heed_status status = heed_problem_preset(&line->problem, token + 7, error);
        if (status != HEED_OK) return status;
        line->preset = heed_preset_find(token + 7);
    }
    return HEED_OK;
}

static heed_status read_line(problem_line *result, const char *text, bool claim, heed_error *error) {
    problem_line line = {.seed = 0};
    parser p = {.line = &line, .error = error, .claim = claim};
    if (text == NULL) return error_set(error, HEED_INVALID, "the problem text is NULL");
    if (strlen(text) > TEXT_MAX) return error_set(error, HEED_INVALID, "the problem text is longer than %d characters", TEXT_MAX);
    heed_status status = apply_preset(&line, text, error);
    if (status != HEED_OK) return status;
    char token[TOKEN_MAX];
    for (const char *at = text; next_token(&at, token);)
        if ((status = read_token(&p, token)) != HEED_OK) return status;
    for (int i = 0; i < 5; i++)
        if (i != 3 && !(p.sizes & 1u << i))
            return error_set(error, HEED_INVALID, "the problem text lacks '%cN'; one looks like: b1 h12 q1024 d64 causal",
                             size_letters[i]);
    heed_problem *problem = &line.problem;
    if (p.said & SAID_BIAS_TYPE && !(p.said & SAID_BIAS)) return error_set(error, HEED_INVALID, "bias-type is said, but no bias");
    if (problem->page_size > 0) {    // as many pages as the sequences can fill
        heed_problem sizes = {
            .batch = problem->batch, .heads = 1, .queries = problem->queries, .keys = problem->keys, .channels = 1};
        if ((status = problem_complete(&sizes, &sizes, error)) != HEED_OK) return status;
        const int64_t pages = (sizes.keys + problem->page_size - 1) / problem->page_size;
        problem->page_count = pages * sizes.batch > 0 ? pages * sizes.batch : 1;
    }
    heed_problem complete;
    if ((status = problem_complete(problem, &complete, error)) != HEED_OK) return status;
    if (line.layout_bshd) set_layout_bshd(problem);
    if ((status = problem_complete(problem, &complete, error)) != HEED_OK) return status;
    if (line.preset != NULL && (status = heed_preset_check(line.preset, problem, error)) != HEED_OK) return status;
    if (line.rope.layout != ROPE_NONE && complete.channels % 2 != 0)
        return error_set(error, HEED_INVALID, "rope turns pairs of channels, but d is %lld; it must be even",
                         (long long)complete.channels);
    *result = line;
    return HEED_OK;
}

heed_status problem_line_parse(problem_line *line, const char *text, heed_error *error) {
    return read_line(line, text, false, error);
}

heed_status problem_claim_parse(problem_line *line, const char *text, heed_error *error) {
    return read_line(line, text, true, error);
}

heed_status heed_problem_parse(heed_problem *problem, const char *text, heed_error *error) {
    if (problem == NULL) return error_set(error, HEED_INVALID, "problem is NULL");
    problem_line line;
    const heed_status status = problem_line_parse(&line, text, error);
    if (status == HEED_OK) *problem = line.problem;
    return status;
}

// ---- Printing -----------------------------------------------------------------------------------------------------

// The shortest decimal that reads back as x.
static void print_number(text_buffer *b, double x) {
    char text[32];
    int digits = 1;
    do snprintf(text, sizeof text, "%.*g", digits, x);
    while (strtod(text, NULL) != x && ++digits <= 17);
    text_add(b, "%s", text);
}

static void print_numbers(text_buffer *b, const double *number, const int64_t *whole, int n) {
    for (int i = 0; i < n; i++) {
        text_add(b, i == 0 ? ":" : ",");
        if (number != NULL) print_number(b, number[i]);
        else text_add(b, "%lld", (long long)whole[i]);
    }
}

static void print_edits(text_buffer *b, const heed_problem *p) {
    for (int i = 0; i < HEED_EDITS && p->mask[i].kind != NULL; i++) {
        const mask_row *row = mask_row_of(p->mask[i].kind);
        int n = row == NULL ? 0 : row->most;
        while (row != NULL && n > row->least && p->mask[i].i[n - 1] == -1) n--;
        text_add(b, row == NULL ? " mask:%s?" : " %s", p->mask[i].kind->name);
        print_numbers(b, NULL, p->mask[i].i, n);
    }
    for (int i = 0; i < HEED_EDITS && p->score[i].kind != NULL; i++) {
        const score_row *row = score_row_of(p->score[i].kind);
        text_add(b, row == NULL ? " score:%s?" : " %s", p->score[i].kind->name);
        print_numbers(b, p->score[i].f, NULL, row == NULL ? 0 : row->most);
    }
}

static void print_axes(text_buffer *b, const char *name, unsigned axes) {
    text_add(b, " %s", name);
    if (axes == 0 || axes == HEED_AXES_ALL) return;
    const char *separator = ":";
    for (int i = 0; i < 4; i++)
        if (axes & 1u << i) {
            text_add(b, "%s%c", separator, "bhqk"[i]);
            separator = ",";
        }
}

static void print_arrays(text_buffer *b, const heed_problem *p, pad_side pad) {
    if (p->with & HEED_SLOPES) text_add(b, " alibi");
    if (p->with & HEED_BIAS) print_axes(b, "bias", p->bias_axes);
    if (p->with & HEED_BIAS && p->bias_dtype > HEED_F32) text_add(b, " bias-type:%s", dtype_name(p->bias_dtype));
    if (p->with & HEED_BIAS_FIRST) text_add(b, " bias-first");
    if (p->with & HEED_MASK) print_axes(b, "mask", p->mask_axes);
    if (p->with & HEED_KEY_RANGE) text_add(b, pad == PAD_RIGHT ? " pad:right" : " pad:left");
    if (p->with & HEED_DOCUMENTS) text_add(b, " docs");
    if (p->with & HEED_KEY_COUNT) text_add(b, " count:rand");
    if (p->with & HEED_SINKS) text_add(b, " sink");
}

// After a preset's name, what it could have set is said again: a later token may have overridden it.
static void print_numbers_of(text_buffer *b, const heed_problem *p, bool after_preset) {
    static const char *const rules[] = {"zero", "nan", "mean", "mean_causal"};
    if (p->align == HEED_BOTTOM_RIGHT && after_preset) text_add(b, " offset:bottom");
    if (p->align == HEED_TOP_LEFT) text_add(b, " offset:top");
    if (p->align == HEED_OFFSET) text_add(b, " offset:%lld", (long long)p->offset);
    if (p->scale != 0 && p->scale != 1 / sqrt((double)p->channels)) text_add(b, " scale:"), print_number(b, p->scale);
    if (p->dropout != 0) text_add(b, " dropout:"), print_number(b, p->dropout);
    if (p->empty_row != HEED_EMPTY_ZERO || after_preset) text_add(b, " empty:%s", rules[p->empty_row]);
    if (p->page_size > 0) text_add(b, " paged:%lld", (long long)p->page_size);
    if (p->ragged) text_add(b, " ragged");
}

static bool stride_equal(heed_stride a, heed_stride b) { return a.batch == b.batch && a.head == b.head && a.token == b.token; }

static bool is_layout_bshd(const heed_problem *p) {
    heed_problem c;
    if (problem_complete(p, &c, NULL) != HEED_OK || c.heads == 1) return false;
    return stride_equal(p->q, stride_bshd(c.heads, c.queries, c.channels)) &&
           stride_equal(p->k, stride_bshd(c.kv_heads, c.keys, c.channels));
}

size_t problem_line_print(const problem_line *line, char *text, size_t bytes) {
    const heed_problem *p = &line->problem;
    text_buffer b = {.text = text, .bytes = bytes};
    text_add(&b, "b%lld h%lld", (long long)p->batch, (long long)p->heads);
    if (p->kv_heads != 0 && p->kv_heads != p->heads) text_add(&b, "/%lld", (long long)p->kv_heads);
    text_add(&b, " q%lld", (long long)p->queries);
    if (p->keys == HEED_NO_KEYS) text_add(&b, " k0");
    else if (p->keys != 0 && p->keys != p->queries) text_add(&b, " k%lld", (long long)p->keys);
    text_add(&b, " d%lld", (long long)p->channels);
    if (p->value_channels != 0 && p->value_channels != p->channels) text_add(&b, "/%lld", (long long)p->value_channels);
    if (p->dtype > HEED_F32) text_add(&b, " %s", dtype_name(p->dtype));
    if (p->kv_dtype != HEED_DTYPE_DEFAULT && p->kv_dtype != (p->dtype == HEED_DTYPE_DEFAULT ? HEED_F32 : p->dtype))
        text_add(&b, " kv:%s", dtype_name(p->kv_dtype));
    print_edits(&b, p);
    print_arrays(&b, p, line->pad);
    const bool preset_matters = line->preset != NULL && (line->preset->one_mask || line->preset->alibi_by_key);
    if (preset_matters) text_add(&b, " preset:%s", line->preset->name);
    print_numbers_of(&b, p, preset_matters);
    if (line->layout_bshd) text_add(&b, " layout:bshd");
    if (line->rope.layout != ROPE_NONE) {
        text_add(&b, line->rope.layout == ROPE_HALF ? " rope:half" : " rope:pairs");
        if (line->rope.theta != 10000) text_add(&b, ",theta="), print_number(&b, line->rope.theta);
        if (line->rope.yarn != 1) text_add(&b, ",yarn="), print_number(&b, line->rope.yarn);
    }
    if (p->pass == HEED_BACKWARD) text_add(&b, " grad");
    if (line->seed != 0) text_add(&b, " seed:%llu", (unsigned long long)line->seed);
    return b.length;
}

size_t heed_problem_print(const heed_problem *problem, char *text, size_t bytes) {
    const problem_line line = {.problem = *problem, .layout_bshd = is_layout_bshd(problem)};
    return problem_line_print(&line, text, bytes);
}
