// SPDX-License-Identifier: Apache-2.0
// The conventions of other systems: a table, what it sets, what it refuses, and what is translated at the edge (a window's
// numbers, a logsumexp). docs/contract.md, "Presets"; tests/python/test_presets*.py hold each built row against its system.
#include "base/error.h"
#include "base/text.h"
#include "core/edit.h"
#include "core/problem.h"

#include <math.h>
#include <string.h>

#define UNPROVEN "is documented, not built: no system it could be checked against is at hand"

static const heed_preset presets[] = {
    {.name = "heed", .sets_align = true, .gives_lse = true, .empty_lse = -INFINITY, .window = HEED_WINDOW_SIDES,
     .system = "heed's own defaults", .proof = "ref, in double"},
    {.name = "torch", .sets_align = true, .align = HEED_TOP_LEFT, .gives_lse = true, .empty_lse = 0, .one_mask = true,
     .system = "PyTorch 2.5 and later, scaled_dot_product_attention", .proof = "PyTorch 2.13.0: math and the fused CPU kernel"},
    {.name = "torch_pre25", .sets_align = true, .align = HEED_TOP_LEFT, .empty_row = HEED_EMPTY_NAN, .gives_lse = true,
     .empty_lse = -INFINITY, .one_mask = true, .system = "the same before 2.5: left padding's NaN",
     .proof = "PyTorch 2.4.1: math and the fused CPU kernel"},
    {.name = "mps_pre28", .sets_align = true, .align = HEED_TOP_LEFT, .empty_row = HEED_EMPTY_NAN,
     .system = "the old fused operator on Apple GPUs: left padding's NaN", .proof = "published outputs; no such machine is here"},
    {.name = "flash_attention_2", .sets_align = true, .gives_lse = true, .empty_lse = INFINITY, .window = HEED_WINDOW_SIDES,
     .alibi_by_key = true, .system = "flash-attn 2", .proof = "flash-attn 2.8.3: its PyTorch reference, its kernels' source"},
    {.name = "flash_attention_3", .sets_align = true, .gives_lse = true, .empty_lse = -INFINITY, .window = HEED_WINDOW_SIDES,
     .system = "flash-attn 3", .proof = "flash-attn 2.8.3 (hopper) and 4.0.0b36: their PyTorch references"},
    {.name = "hf_eager", .empty_row = HEED_EMPTY_MEAN, .window = HEED_WINDOW_KEYS,
     .system = "eager attention of transformers: a finite minimum instead of -inf",
     .proof = "transformers 5.23.0: GPT-2, Llama, Mistral and its masks"},
    {.name = "hf_eager_gpt2", .empty_row = HEED_EMPTY_MEAN_CAUSAL, .system = "the same for GPT-2 in transformers 4",
     .proof = "transformers 4.57.6: GPT-2"},
    {.name = "onnx", .sets_align = true, .align = HEED_TOP_LEFT, .window = HEED_WINDOW_SIDES,
     .system = "ONNX Attention; a cache's offset is the caller's to say",
     .proof = "onnx 1.23.2: opsets 23 to 25; onnxruntime 1.32.0"},
    {.name = "gpt_oss", .sets_align = true, .gives_lse = true, .empty_lse = -INFINITY, .window = HEED_WINDOW_KEYS,
     .window_even_layers = true, .system = "GPT-OSS: a sink a head, which lse includes",
     .proof = "transformers 5.23.0: GptOssModel"},
    {.name = "ggml", .system = "ggml's flash_attn_ext: an additive f16 mask", .proof = "ggml 0.13.1: CPU"},
    {.name = "flashinfer", .refused = UNPROVEN, .system = "lse to base 2, alibi before the cap"},
    {.name = "cudnn", .refused = UNPROVEN, .system = "window's left side exclusive, default scale 1"},
    {.name = "mlx", .refused = UNPROVEN, .system = "scale required"},
    {.name = "nki", .refused = UNPROVEN, .system = "causal only when a mask is passed"},
};
enum { PRESETS = sizeof presets / sizeof *presets };

const heed_preset *heed_preset_at(int index) {
    return index < 0 || index >= PRESETS ? NULL : &presets[index];
}

const heed_preset *heed_preset_find(const char *name) {
    for (int i = 0; name != NULL && i < PRESETS; i++)
        if (strcmp(presets[i].name, name) == 0) return &presets[i];
    return NULL;
}

static heed_status built(const heed_preset *preset, heed_error *error) {
    if (preset == NULL) return error_set(error, HEED_INVALID, "preset is NULL");
    if (preset->refused != NULL) return error_set(error, HEED_REFUSED, "preset %s %s", preset->name, preset->refused);
    return HEED_OK;
}

static heed_status unknown_preset(const char *name, heed_error *error) {
    const char *names[PRESETS];
    for (int i = 0; i < PRESETS; i++) names[i] = presets[i].name;
    const char *nearest = text_nearest(name, names, PRESETS);
    if (nearest != NULL) return error_set(error, HEED_INVALID, "preset '%.40s' is unknown; did you mean %s?", name, nearest);
    return error_set(error, HEED_INVALID, "preset '%.40s' is unknown; `heed list` names them", name);
}

heed_status heed_problem_preset(heed_problem *problem, const char *name, heed_error *error) {
    if (problem == NULL || name == NULL) return error_set(error, HEED_INVALID, "%s is NULL", problem == NULL ? "problem" : "name");
    const heed_preset *p = heed_preset_find(name);
    if (p == NULL) return unknown_preset(name, error);
    const heed_status status = built(p, error);
    if (status != HEED_OK) return status;
    if (p->sets_align) {
        problem->align = p->align;
        problem->offset = 0;
    }
    problem->empty_row = p->empty_row;
    return HEED_OK;
}

// What the masks leave open: keys to the right of a row's position, all keys to its left. A window at least as wide as the
// (completed) problem has keys closes nothing, here as in flash-attn.
typedef struct { bool causal, right, left; } open_sides;

static open_sides open_sides_of(const heed_problem *p) {
    open_sides open = {.causal = false, .right = true, .left = true};
    for (int i = 0; i < HEED_EDITS && p->mask[i].kind != NULL; i++) {
        const heed_mask *mask = &p->mask[i];
        if (mask->kind == heed_causal().kind) open.causal = true;
        if (mask->kind != heed_window(-1, -1).kind) continue;
        open.right &= mask->i[1] != 0;
        open.left &= mask->i[0] < 0 || mask->i[0] >= p->keys;
    }
    open.right &= !open.causal;
    return open;
}

heed_status heed_preset_check(const heed_preset *preset, const heed_problem *problem, heed_error *error) {
    const heed_status status = built(preset, error);
    if (status != HEED_OK) return status;
    if (problem == NULL) return error_set(error, HEED_INVALID, "problem is NULL");
    const open_sides open = open_sides_of(problem);
    if (preset->one_mask && open.causal && problem->with & (HEED_MASK | HEED_BIAS))
        return error_set(error, HEED_REFUSED, "preset %s: a mask or bias together with causal is an error there; give one",
                         preset->name);
    if (preset->alibi_by_key && open.right && problem->with & HEED_SLOPES)
        return error_set(error, HEED_REFUSED, "preset %s: slopes without causal mean -slope * |position - key| there; give a bias",
                         preset->name);
    return HEED_OK;
}

heed_status heed_preset_window(const heed_preset *preset, int64_t layer, int64_t left, int64_t right, heed_mask *mask,
                               heed_error *error) {
    const heed_status status = built(preset, error);
    if (status != HEED_OK) return status;
    if (mask == NULL) return error_set(error, HEED_INVALID, "mask is NULL");
    if (layer < 0) return error_set(error, HEED_INVALID, "layer is %lld; it must be at least 0", (long long)layer);
    if (preset->window == HEED_WINDOW_NONE)
        return error_set(error, HEED_REFUSED, "preset %s: there is no window there; give its mask", preset->name);
    const int64_t reach = PROBLEM_REACH_MAX;
    if (preset->window == HEED_WINDOW_SIDES) {
        if (left < -1 || left > reach || right < -1 || right > reach)
            return error_set(error, HEED_INVALID, "window is (%lld, %lld); each side must be -1 (open) to 2^40", (long long)left,
                             (long long)right);
        *mask = heed_window(left, right);
        return HEED_OK;
    }
    if (left < 1 || left > reach || right != 0)
        return error_set(error, HEED_INVALID, "window is (%lld, %lld); preset %s counts keys and self is one: left must be 1 to "
                         "2^40, right 0", (long long)left, (long long)right, preset->name);
    *mask = preset->window_even_layers && layer % 2 != 0 ? heed_window(-1, -1) : heed_window(left - 1, 0);
    return HEED_OK;
}

// ---- lse ----------------------------------------------------------------------------------------------------------

// Nothing to see, whatever q and k hold.
static bool row_is_empty(const edit_sequence *s, int64_t head, int64_t row) {
    if (s->problem->with & HEED_SINKS) return false;
    int64_t first, end;
    edit_key_bounds(s, head, row, 1, &first, &end);
    for (int64_t key = first; key < end; key++)
        if (edit_visible(s, head, row, key) && edit_score(s, head, row, key, 0) != -INFINITY) return false;
    return true;
}

// slope * key + c is what a row would have had without "- position": softmax is blind to the difference, lse is not.
static float lse_of(const heed_preset *preset, const edit_sequence *s, bool by_key, int64_t head, int64_t row, float lse) {
    if (lse == -INFINITY) return preset->empty_lse;
    if (isnan(lse) && preset->empty_row == HEED_EMPTY_NAN && row_is_empty(s, head, row)) return preset->empty_lse;
    return by_key ? (float)(lse + (double)s->args->slopes[head] * (double)(row + s->offset)) : lse;
}

heed_status heed_preset_lse(const heed_preset *preset, const heed_problem *problem, const heed_args *args, heed_error *error) {
    heed_problem p;
    heed_status status = heed_preset_check(preset, problem, error);
    if (status == HEED_OK) status = problem_complete(problem, &p, error);
    if (status != HEED_OK) return status;
    if (!preset->gives_lse) return error_set(error, HEED_REFUSED, "preset %s: no lse is returned there", preset->name);
    p.pass = HEED_FORWARD;
    if ((status = problem_check_args(&p, args, 0, error)) != HEED_OK) return status;
    if (args->lse == NULL) return error_set(error, HEED_INVALID, "lse is NULL");
    const open_sides open = open_sides_of(&p);
    const bool by_key = preset->alibi_by_key && p.with & HEED_SLOPES && open.left;
    for (int64_t b = 0; b < p.batch; b++) {
        const edit_sequence s = edit_begin(&p, args, b);
        for (int64_t h = 0; h < p.heads; h++)
            for (int64_t i = 0; i < p.queries; i++) {
                float *lse = &args->lse[(b * p.heads + h) * p.queries + i];
                *lse = lse_of(preset, &s, by_key, h, i, *lse);
            }
    }
    return HEED_OK;
}
