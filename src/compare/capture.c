// SPDX-License-Identifier: Apache-2.0
// The claim, and the call with its inputs. The names, what of a claim asks for each, and which are no inputs: the table below.
#include "compare/capture_shape.h"

#include "base/error.h"
#include "core/problem.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef enum { NAME_INPUT, NAME_RESULT } name_kind;

static const struct { const char *name; name_kind kind; unsigned with; const char *word; } names[] = {
    {"q", NAME_INPUT, 0, NULL},
    {"k", NAME_INPUT, 0, NULL},
    {"v", NAME_INPUT, 0, NULL},
    {"sinks", NAME_INPUT, HEED_SINKS, "sink"},
    {"slopes", NAME_INPUT, HEED_SLOPES, "alibi"},
    {"bias", NAME_INPUT, HEED_BIAS, "bias"},
    {"mask", NAME_INPUT, HEED_MASK, "mask"},
    {"key_range", NAME_INPUT, HEED_KEY_RANGE, "pad:left or pad:right"},
    {"key_count", NAME_INPUT, HEED_KEY_COUNT, "count:rand"},
    {"documents", NAME_INPUT, HEED_DOCUMENTS, "docs"},
    {"keep", NAME_INPUT, 0, "dropout:P"},
    {"dout", NAME_INPUT, 0, "grad"},
    {"cos", NAME_INPUT, 0, "rope:half or rope:pairs"},
    {"sin", NAME_INPUT, 0, "rope:half or rope:pairs"},
    {"out", NAME_RESULT, 0, NULL},
    {"lse", NAME_RESULT, 0, NULL},
    {"dq", NAME_RESULT, 0, "grad"},
    {"dk", NAME_RESULT, 0, "grad"},
    {"dv", NAME_RESULT, 0, "grad"},
    {"dbias", NAME_RESULT, HEED_BIAS, "bias"},
    {"dsinks", NAME_RESULT, HEED_SINKS, "sink"},
    {"dslopes", NAME_RESULT, HEED_SLOPES, "alibi"},
};
enum { NAMES = sizeof names / sizeof *names };

const tensor_view *capture_find(const capture *from, const char *name) {
    for (int64_t i = 0; i < from->n; i++)
        if (strcmp(from->array[i].name, name) == 0) return &from->array[i];
    return NULL;
}

bool capture_has_inputs(const capture *from) {
    return capture_find(from, "q") != NULL || capture_find(from, "k") != NULL || capture_find(from, "v") != NULL;
}

// Does the claim use the array of that row? Optional ones (cos, sin) too.
static bool claims(const problem_line *claim, int name) {
    const heed_problem *p = &claim->problem;
    const char *word = names[name].word;
    if (names[name].with != 0) return (p->with & names[name].with) != 0;
    if (word == NULL) return true;
    if (strcmp(word, "grad") == 0) return p->pass == HEED_BACKWARD;
    return strcmp(word, "dropout:P") == 0 ? p->dropout > 0 : claim->rope.layout != ROPE_NONE;
}

void capture_remarks(const capture *from, const problem_line *claim, text_string *to) {
    for (int64_t i = 0; i < from->n; i++) {
        int at = 0;
        while (at < NAMES && strcmp(names[at].name, from->array[i].name) != 0) at++;
        const char *name = from->array[i].name;
        if (strcmp(name, "weights") == 0) text_format(to, "%s: weights are not judged; out and lse are\n", from->from);
        else if (at == NAMES && strcmp(name, "problem") != 0)
            text_format(to, "%s: %.60s is no array that a capture has; it is not looked at\n", from->from, name);
        else if (at < NAMES && !claims(claim, at))
            text_format(to, "%s: %s is not looked at: the claim does not say %s\n", from->from, name, names[at].word);
    }
}

// ---- The claim ----------------------------------------------------------------------------------------------------

typedef struct { bool size[5], type; } said;    // b h q k d

static said what_is_said(const char *text) {
    static const char letters[] = "bhqkd";
    said s = {.type = false};
    for (const char *at = text + strspn(text, " \t\r\n"); *at != 0; at += strspn(at, " \t\r\n")) {
        const size_t n = strcspn(at, " \t\r\n");
        const char *letter = strchr(letters, *at);
        if (letter != NULL && n > 1 && isdigit((unsigned char)at[1])) s.size[letter - letters] = true;
        s.type |= (n == 3 && (strncmp(at, "f32", 3) == 0 || strncmp(at, "f16", 3) == 0)) || (n == 4 && strncmp(at, "bf16", 4) == 0);
        at += n;
    }
    return s;
}

// Axis i of 4, where leading axes of 1 may be missing; -1 without the array.
static int64_t extent(const tensor_view *t, int i) {
    if (t == NULL || t->dims > 4) return -1;
    const int at = i + t->dims - 4;
    return at < 0 ? 1 : t->shape[at];
}

// Writes before the text what it does not say and the arrays show.
static void infer(const capture *from, const char *text, text_buffer *b) {
    const tensor_view *q = capture_find(from, "q"), *k = capture_find(from, "k"), *v = capture_find(from, "v");
    const said s = what_is_said(text);
    const long long B = extent(q, 0), H = extent(q, 1), Hkv = extent(k, 1), Q = extent(q, 2), K = extent(k, 2), D = extent(q, 3);
    const long long Dv = extent(v, 3);
    if (!s.size[0] && B >= 0) text_add(b, "b%lld ", B);
    if (!s.size[1] && H >= 0) text_add(b, Hkv >= 0 && Hkv != H ? "h%lld/%lld " : "h%lld ", H, Hkv);
    if (!s.size[2] && Q >= 0) text_add(b, "q%lld ", Q);
    if (!s.size[2] && !s.size[3] && K >= 0 && K != Q) text_add(b, "k%lld ", K);
    if (!s.size[4] && D >= 0) text_add(b, Dv >= 0 && Dv != D ? "d%lld/%lld " : "d%lld ", D, Dv);
    if (!s.type && q != NULL && q->type == TENSOR_F16) text_add(b, "f16 ");
    if (!s.type && q != NULL && (q->type == TENSOR_BF16 || q->type == TENSOR_U16)) text_add(b, "bf16 ");
    text_add(b, "%s", text);
}

heed_status capture_claim(problem_line *claim, const capture *from, const char *text, heed_error *error) {
    char whole[4096];
    text_buffer b = {whole, sizeof whole, 0};
    if (text == NULL) text = from->problem;
    if (text == NULL) {
        infer(from, "", &b);
        return error_set(error, HEED_INVALID, "%s has no text `problem`: say by --problem what the call claims to be, such as "
                         "\"%.80s"
                         "causal\"", from->from, whole);
    }
    infer(from, text, &b);
    if (b.length >= sizeof whole) return error_set(error, HEED_INVALID, "%s: its problem text is too long", from->from);
    const heed_status status = problem_claim_parse(claim, whole, error);
    return status == HEED_OK ? status : error_within(error, status, "%s", from->from);
}

// ---- The call -----------------------------------------------------------------------------------------------------

typedef struct { call *c; const capture *from; heed_error *error; } reader;

static heed_status check_claim(const capture *from, const problem_line *claim, heed_error *error) {
    const heed_problem *p = &claim->problem;
    if (p->ragged)
        return error_set(error, HEED_REFUSED, "%s: ragged calls cannot be captured: record each sequence, or pad them", from->from);
    if (p->kv_dtype == HEED_INT8)
        return error_set(error, HEED_REFUSED, "%s: kv:int8 cannot be captured: record k and v as they are after their scales",
                         from->from);
    return HEED_OK;
}

static heed_status check_missing(const capture *from, const problem_line *claim, heed_error *error) {
    char missing[160] = "";
    text_buffer b = {missing, sizeof missing, 0};
    for (int i = 0; i < NAMES; i++) {
        const bool optional = names[i].kind == NAME_RESULT || strcmp(names[i].name, "cos") == 0 || strcmp(names[i].name,
                                                                                                          "sin") == 0;
        if (!optional && claims(claim, i) && capture_find(from, names[i].name) == NULL)
            text_add(&b, b.length == 0 ? "%s" : ", %s", names[i].name);
    }
    if (b.length == 0) return HEED_OK;
    return error_set(error, HEED_INVALID, "%s lacks arrays that its claim needs: %s", from->from, missing);
}

static heed_status take(const reader *r, const char *name, double *to, const capture_shape *s, bool broadcast, heed_dtype type) {
    if (to == NULL) return HEED_OK;
    return capture_take(to, r->from, capture_find(r->from, name), s, broadcast, type, true, r->error);
}

static heed_status take_tensors(const reader *r) {
    call *c = r->c;
    const heed_problem *p = &c->problem;
    const capture_shape q = {4, {c->batch, c->heads, c->queries, c->channels}, {"sequences", "heads", "queries", "channels"}};
    const capture_shape k = {4, {c->batch, c->kv_heads, c->keys, c->channels}, {"sequences", "kv heads", "keys", "channels"}};
    capture_shape v = k, dout = q;
    v.extent[3] = dout.extent[3] = c->value_channels;
    heed_status status = take(r, "q", c->q, &q, false, p->dtype);
    if (status == HEED_OK) status = take(r, "k", c->k, &k, false, p->kv_dtype);
    if (status == HEED_OK) status = take(r, "v", c->v, &v, false, p->kv_dtype);
    if (status == HEED_OK) status = take(r, "dout", c->dout, &dout, false, p->dtype);
    return status;
}

// A bias or mask has some of the four axes; an array may have just those, or all four with 1 for the others.
static capture_shape grid_shape(const call *c, unsigned axes, const tensor_view *t) {
    const int64_t extent[] = {c->batch, c->heads, c->queries, c->keys};
    static const char *const axis[] = {"sequences", "heads", "queries", "keys"};
    const bool compact = t != NULL && axes != HEED_AXES_ALL && t->dims == __builtin_popcount(axes);
    capture_shape s = {.dims = 0};
    for (int i = 0; i < 4; i++) {
        const bool has = (axes >> i & 1) != 0;
        if (!has && compact) continue;
        s.extent[s.dims] = has ? extent[i] : 1;
        s.axis[s.dims++] = axis[i];
    }
    return s;
}

static heed_status take_flags(const reader *r, const char *name, uint8_t *to, const capture_shape *s, bool real_too) {
    const tensor_view *t = capture_find(r->from, name);
    capture_grid g;
    if (to == NULL) return HEED_OK;
    if (!tensor_type_is_integer(t->type) && !(real_too && tensor_type_is_real(t->type)))
        return error_set(r->error, HEED_INVALID, "%s: %s has type %s; BOOL or integers are needed (what is added to scores is "
                         "`bias`)",
                         r->from->from, name, tensor_type_name(t->type));
    const heed_status status = capture_fit(&g, r->from, t, s, true, r->error);
    if (status != HEED_OK) return status;
    const int64_t n = capture_elements(s);
    for (int64_t i = 0; i < n; i++) to[i] = tensor_value(t, capture_at(&g, i)) != 0;
    return HEED_OK;
}

static heed_status take_integers(const reader *r, const char *name, int32_t *to, const capture_shape *s) {
    const tensor_view *t = capture_find(r->from, name);
    capture_grid g;
    if (to == NULL) return HEED_OK;
    if (!tensor_type_is_integer(t->type))
        return error_set(r->error, HEED_INVALID, "%s: %s has type %s; integers are needed", r->from->from, name,
                         tensor_type_name(t->type));
    const heed_status status = capture_fit(&g, r->from, t, s, true, r->error);
    if (status != HEED_OK) return status;
    const int64_t n = capture_elements(s);
    for (int64_t i = 0; i < n; i++) {
        const double x = tensor_value(t, capture_at(&g, i));
        if (!(x >= INT32_MIN && x <= INT32_MAX))
            return error_set(r->error, HEED_INVALID, "%s: %s holds %.17g; a 32-bit integer is needed", r->from->from, name, x);
        to[i] = (int32_t)x;
    }
    return HEED_OK;
}

static heed_status take_extras(const reader *r) {
    call *c = r->c;
    const heed_problem *p = &c->problem;
    const capture_shape heads = {1, {c->heads}, {"heads"}}, batch = {1, {c->batch}, {"sequences"}};
    const capture_shape range = {2, {c->batch, 2}, {"sequences", "numbers (first key, one past the last)"}};
    const capture_shape tokens = {2, {c->batch, c->keys}, {"sequences", "keys"}};
    const capture_shape all = {4, {c->batch, c->heads, c->queries, c->keys}, {"sequences", "heads", "queries", "keys"}};
    const capture_shape bias = grid_shape(c, p->bias_axes, capture_find(r->from, "bias"));
    const capture_shape mask = grid_shape(c, p->mask_axes, capture_find(r->from, "mask"));
    heed_status status = take(r, "sinks", c->sinks, &heads, false, HEED_F32);
    if (status == HEED_OK) status = take(r, "slopes", c->slopes, &heads, false, HEED_F32);
    if (status == HEED_OK) status = take(r, "bias", c->bias, &bias, true, p->bias_dtype);
    if (status == HEED_OK) status = take_flags(r, "mask", c->mask, &mask, false);
    if (status == HEED_OK) status = take_flags(r, "keep", c->keep, &all, true);
    if (status == HEED_OK) status = take_integers(r, "key_range", c->key_range, &range);
    if (status == HEED_OK) status = take_integers(r, "key_count", c->key_count, &batch);
    if (status == HEED_OK) status = take_integers(r, "documents", c->documents, &tokens);
    return status;
}

// Ranges, counts and documents by the rules that every run is held to.
static heed_status check_tables(const reader *r) {
    const call *c = r->c;
    heed_problem p = c->problem;
    p.page_size = p.page_count = 0;    // pages lie dense in a capture
    const heed_args a = {.q = c->q, .k = c->k, .sinks = (const float *)c->sinks, .slopes = (const float *)c->slopes,
                         .bias = c->bias,
                         .mask = c->mask, .key_range = c->key_range, .key_count = c->key_count, .documents = c->documents};
    const heed_status status = problem_check_reading(&p, &a, false, 0, NULL, 0, r->error);
    return status == HEED_OK ? status : error_within(r->error, status, "%s", r->from->from);
}

heed_status capture_call(call *c, const capture *from, const problem_line *claim, heed_error *error) {
    *c = (call){.memory = NULL};
    heed_status status = check_claim(from, claim, error);
    if (status == HEED_OK) status = check_missing(from, claim, error);
    if (status == HEED_OK) status = call_begin(c, claim, error);
    const reader r = {c, from, error};
    if (status == HEED_OK) status = take_tensors(&r);
    if (status == HEED_OK) status = take_extras(&r);
    if (status == HEED_OK) status = check_tables(&r);
    if (status == HEED_OK) status = capture_rotary(c, from, error);
    return status;
}
