// SPDX-License-Identifier: Apache-2.0
#include "core/presets.h"

#include "base/error.h"
#include "base/text.h"

#include <string.h>

#define UNPROVEN "is documented, not built: no system it could be checked against is at hand"

const preset presets[] = {
    {"heed", true, HEED_BOTTOM_RIGHT, HEED_EMPTY_ZERO, false, NULL, "the defaults"},
    {"torch", true, HEED_TOP_LEFT, HEED_EMPTY_ZERO, true, NULL, "PyTorch 2.5 and later, scaled_dot_product_attention"},
    {"torch_pre25", true, HEED_TOP_LEFT, HEED_EMPTY_NAN, true, NULL, "PyTorch before 2.5: an empty row is NaN"},
    {"mps_pre28", true, HEED_TOP_LEFT, HEED_EMPTY_NAN, false, NULL, "the old fused operator on Apple GPUs: an empty row is NaN"},
    {"flash_attention_2", true, HEED_BOTTOM_RIGHT, HEED_EMPTY_ZERO, false, NULL, "window is (left, right), inclusive"},
    {"flash_attention_3", true, HEED_BOTTOM_RIGHT, HEED_EMPTY_ZERO, false, NULL, "window is (left, right), inclusive"},
    {"hf_eager", false, HEED_BOTTOM_RIGHT, HEED_EMPTY_MEAN, false, NULL, "a finite minimum instead of -inf"},
    {"hf_eager_gpt2", false, HEED_BOTTOM_RIGHT, HEED_EMPTY_MEAN_CAUSAL, false, NULL, "GPT-2 in transformers 4"},
    {"onnx", true, HEED_TOP_LEFT, HEED_EMPTY_ZERO, false, NULL, "a cache's offset is the caller's to say"},
    {"gpt_oss", true, HEED_BOTTOM_RIGHT, HEED_EMPTY_ZERO, false, NULL, "a sink per head; lse includes it"},
    {"ggml", false, HEED_BOTTOM_RIGHT, HEED_EMPTY_ZERO, false, NULL, "the mask is additive"},
    {"flashinfer", true, HEED_BOTTOM_RIGHT, HEED_EMPTY_ZERO, false, UNPROVEN, "lse to base 2"},
    {"cudnn", true, HEED_TOP_LEFT, HEED_EMPTY_ZERO, false, UNPROVEN, "window's left side exclusive, default scale 1"},
    {"mlx", true, HEED_BOTTOM_RIGHT, HEED_EMPTY_MEAN, false, UNPROVEN, "scale required"},
    {"nki", true, HEED_TOP_LEFT, HEED_EMPTY_MEAN, false, UNPROVEN, "causal only when a mask is passed"},
    {.name = NULL},
};

const preset *preset_named(const char *name) {
    for (const preset *p = presets; p->name != NULL; p++)
        if (strcmp(p->name, name) == 0) return p;
    return NULL;
}

static heed_status apply(const preset *p, heed_problem *problem, heed_error *error) {
    if (p->documented != NULL) return error_set(error, HEED_REFUSED, "preset %s %s", p->name, p->documented);
    if (p->sets_align) {
        problem->align = p->align;
        problem->offset = 0;
    }
    problem->empty_row = p->empty_row;
    return HEED_OK;
}

heed_status preset_check(const preset *p, const heed_problem *problem, heed_error *error) {
    const bool mask = (problem->with & (HEED_MASK | HEED_BIAS)) != 0;
    bool causal = false;
    for (int i = 0; i < HEED_EDITS && problem->mask[i].kind != NULL; i++) causal |= problem->mask[i].kind == heed_causal().kind;
    if (p->refuses_mask_with_causal && mask && causal)
        return error_set(error, HEED_REFUSED, "preset %s: a mask or bias together with causal is an error there; give one",
                         p->name);
    return HEED_OK;
}

static heed_status unknown_preset(const char *name, heed_error *error) {
    const char *names[sizeof presets / sizeof *presets];
    size_t n = 0;
    for (const preset *p = presets; p->name != NULL; p++) names[n++] = p->name;
    const char *nearest = text_nearest(name, names, n);
    if (nearest != NULL) return error_set(error, HEED_INVALID, "preset '%.40s' is unknown; did you mean %s?", name, nearest);
    return error_set(error, HEED_INVALID, "preset '%.40s' is unknown; `heed list` names them", name);
}

heed_status heed_problem_preset(heed_problem *problem, const char *name, heed_error *error) {
    if (problem == NULL || name == NULL) return error_set(error, HEED_INVALID, "%s is NULL", problem == NULL ? "problem" : "name");
    const preset *p = preset_named(name);
    return p == NULL ? unknown_preset(name, error) : apply(p, problem, error);
}
