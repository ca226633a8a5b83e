// SPDX-License-Identifier: Apache-2.0
// The functions that the rows of hypotheses.def name: when a row means anything, and what it changes.
#include "compare/hypothesis.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

// ---- When a row means anything ------------------------------------------------------------------------------------

static bool with(const call *c, unsigned flag) { return (c->problem.with & flag) != 0; }
static bool always(const call *c) { return true; }

static bool hides_by_edges(const variant *v) { return v->causal || v->prefix >= 0 || v->left >= 0 || v->right >= 0; }
static bool has_edges(const call *c) { const variant v = variant_of(c); return hides_by_edges(&v); }
static bool has_left_edge(const call *c) { return variant_of(c).left >= 0; }
static bool has_causal(const call *c) { const variant v = variant_of(c); return v.causal || v.prefix >= 0; }
static bool is_not_causal(const call *c) { return !has_causal(c); }
static bool has_right_edge(const call *c) { return has_causal(c) || variant_of(c).right >= 0; }
static bool has_causal_and_left(const call *c) { return has_causal(c) && has_left_edge(c); }
static bool is_open_to_the_right(const call *c) { return !has_right_edge(c); }

static bool has_sinks(const call *c) { return with(c, HEED_SINKS); }
static bool has_sinks_of_heads(const call *c) { return has_sinks(c) && c->heads > 1; }
static bool has_slopes(const call *c) { return with(c, HEED_SLOPES); }
static bool has_slopes_both_ways(const call *c) { return has_slopes(c) && !has_causal(c); }
static bool has_bias(const call *c) { return with(c, HEED_BIAS); }
static bool has_square_bias(const call *c) {
    const unsigned both = HEED_AXIS_QUERY | HEED_AXIS_KEY;
    return has_bias(c) && c->queries == c->keys && (c->problem.bias_axes & both) == both;
}
static bool has_mask(const call *c) { return with(c, HEED_MASK); }
static bool has_padding(const call *c) { return with(c, HEED_KEY_RANGE); }
static bool has_padding_without_sinks(const call *c) { return has_padding(c) && !has_sinks(c); }
static bool has_documents(const call *c) { return with(c, HEED_DOCUMENTS); }
static bool has_counts(const call *c) { return with(c, HEED_KEY_COUNT) || c->queries < c->keys; }
static bool has_pages(const call *c) { return c->problem.page_size > 0; }
static bool has_free_slot(const call *c) {
    for (int64_t b = 0; with(c, HEED_KEY_COUNT) && b < c->batch; b++)
        if (c->key_count[b] < c->keys) return true;
    return false;
}

static bool has_softcap(const call *c) { return c->problem.score[0].kind != NULL; }
static bool hides(const call *c) { return has_edges(c) || with(c, HEED_KEY_RANGE | HEED_MASK | HEED_DOCUMENTS); }
static bool has_softcap_and_hiding(const call *c) { return has_softcap(c) && hides(c); }

// A bias hides keys where it is -infinity.
static bool may_be_empty(const call *c) { return (hides(c) || has_bias(c)) && !has_sinks(c); }
static bool may_be_empty_not_zero(const call *c) { return may_be_empty(c) && c->problem.empty_row != HEED_EMPTY_ZERO; }
static bool may_be_empty_not_mean(const call *c) { return may_be_empty(c) && c->problem.empty_row != HEED_EMPTY_MEAN; }
static bool may_be_empty_not_mean_causal(const call *c) {
    return may_be_empty(c) && c->problem.empty_row != HEED_EMPTY_MEAN_CAUSAL;
}
static bool may_be_empty_not_nan(const call *c) { return may_be_empty(c) && c->problem.empty_row != HEED_EMPTY_NAN; }

static bool has_groups(const call *c) { return c->group > 1 && c->kv_heads > 1; }
static bool has_kv_heads(const call *c) { return c->kv_heads > 1; }
static bool same_widths(const call *c) { return c->channels == c->value_channels; }
static bool widths_differ(const call *c) { return !same_widths(c); }
static bool is_square_without_rope(const call *c) { return c->queries == c->keys && c->line.rope.layout == ROPE_NONE; }
static bool has_heads_and_rows(const call *c) { return c->heads > 1 && c->queries > 1; }
static bool has_batch_and_heads(const call *c) { return c->batch > 1 && c->heads > 1; }
static bool has_many_keys(const call *c) { return c->keys > 1 && c->value_channels > 1; }

static bool scale_is_not_one(const call *c) { return c->problem.scale != 1; }
static bool scale_is_not_inverse(const call *c) { return c->problem.scale != 1 / (double)c->channels; }

static bool has_rope(const call *c) { return c->line.rope.layout != ROPE_NONE; }
static bool has_yarn(const call *c) { return has_rope(c) && c->line.rope.yarn > 1; }
static bool has_rope_and_offset(const call *c) {
    for (int64_t b = 0; has_rope(c) && b < c->batch; b++)
        if (call_sequence_of(c, b).offset != 0) return true;
    return false;
}

static bool has_rope_and_padding(const call *c) { return has_rope(c) && has_padding(c); }
static bool has_rope_and_documents(const call *c) { return has_rope(c) && has_documents(c); }

static bool has_dropout(const call *c) { return c->keep != NULL; }
static bool is_backward(const call *c) { return c->problem.pass == HEED_BACKWARD; }
static bool has_sinks_backward(const call *c) { return is_backward(c) && has_sinks(c); }
static bool has_groups_backward(const call *c) { return is_backward(c) && c->group > 1; }
static bool is_backward_scaled(const call *c) { return is_backward(c) && scale_is_not_one(c); }
static bool is_backward_hiding(const call *c) { return is_backward(c) && hides(c); }
static bool has_softcap_backward(const call *c) { return is_backward(c) && has_softcap(c); }

// ---- What it changes ----------------------------------------------------------------------------------------------

static void causal_none(const call *c, variant *v, double x) { v->causal = false, v->prefix = v->right = -1; }
static void causal_no_mask(const call *c, variant *v, double x) { causal_none(c, v, x), v->left = -1; }
static void causal_added(const call *c, variant *v, double x) { v->causal = true; }
static void offset_top(const call *c, variant *v, double x) { v->offset = OFFSET_TOP; }
static void offset_bottom(const call *c, variant *v, double x) { v->offset = OFFSET_BOTTOM; }
static void causal_plus_one(const call *c, variant *v, double x) { v->right_shift = 1; }
static void causal_strict(const call *c, variant *v, double x) { v->right_shift = -1; }

static void window_none(const call *c, variant *v, double x) { v->left = -1; }
static void window_plus_one(const call *c, variant *v, double x) { v->left += v->left >= 0; }
static void window_minus_one(const call *c, variant *v, double x) { v->left -= v->left > 0; }
static void window_right_open(const call *c, variant *v, double x) { v->causal = false, v->prefix = v->right = -1; }
static void window_both_ways(const call *c, variant *v, double x) { v->causal = false, v->prefix = -1, v->right = v->left; }

static void sink_none(const call *c, variant *v, double x) { v->sink = SINK_NONE; }
static void sink_scaled(const call *c, variant *v, double x) { v->sink = SINK_SCALED; }
static void sink_full_rows(const call *c, variant *v, double x) { v->sink = SINK_FULL_ROWS; }
static void sink_after(const call *c, variant *v, double x) { v->sink = SINK_AFTER_SOFTMAX; }
static void sink_in_value(const call *c, variant *v, double x) { v->sink = SINK_IN_VALUE; }
// (Hkv, G) read as (G, Hkv) changes nothing where either is 1: then reversed.
static void sink_order(const call *c, variant *v, double x) {
    v->sink_order = has_groups(c) ? SINK_ORDER_GROUPED : SINK_ORDER_REVERSED;
}

static void heads_tiled(const call *c, variant *v, double x) { v->heads = HEADS_TILED; }
static void heads_plus_one(const call *c, variant *v, double x) { v->heads = HEADS_PLUS_ONE; }
static void heads_reversed(const call *c, variant *v, double x) { v->heads = HEADS_REVERSED; }
static void heads_first(const call *c, variant *v, double x) { v->heads = HEADS_FIRST; }
static void roles_kv_swapped(const call *c, variant *v, double x) { v->roles = ROLES_KV_SWAPPED; }
static void roles_qk_swapped(const call *c, variant *v, double x) { v->roles = ROLES_QK_SWAPPED; }

static void scale_none(const call *c, variant *v, double x) { v->scale = 1; }
static void scale_twice(const call *c, variant *v, double x) { v->scale *= v->scale; }
static void scale_inverse_d(const call *c, variant *v, double x) { v->scale = 1 / (double)c->channels; }
static void scale_dv(const call *c, variant *v, double x) { v->scale = 1 / sqrt((double)c->value_channels); }
static void scale_log2(const call *c, variant *v, double x) { v->exponent_factor = v->sink_factor = log(2); }

static void scale_fitted(const call *c, variant *v, double scale) { if (scale != 0) v->scale = scale; }

static void cap_none(const call *c, variant *v, double x) { v->cap = CAP_NONE; }
static void cap_before(const call *c, variant *v, double x) { v->cap = CAP_BEFORE_SCALE; }
static void cap_after_mask(const call *c, variant *v, double x) { v->cap = CAP_AFTER_MASK; }
static void alibi_none(const call *c, variant *v, double x) { v->alibi = ALIBI_NONE; }
static void alibi_sign(const call *c, variant *v, double x) { v->alibi = ALIBI_SIGN; }
static void alibi_unshifted(const call *c, variant *v, double x) { v->alibi = ALIBI_UNSHIFTED; }
static void alibi_absolute(const call *c, variant *v, double x) { v->alibi = ALIBI_ABSOLUTE; }
static void bias_none(const call *c, variant *v, double x) { v->bias_factor = 0; }
static void bias_transposed(const call *c, variant *v, double x) { v->bias = BIAS_TRANSPOSED; }
static void bias_twice(const call *c, variant *v, double x) { v->bias_factor = 2; }
static void bias_scaled(const call *c, variant *v, double x) { v->bias_factor = v->scale; }

static void mask_none(const call *c, variant *v, double x) { v->mask = MASK_NONE; }
static void mask_inverted(const call *c, variant *v, double x) { v->mask = MASK_INVERTED; }
static void mask_as_bias(const call *c, variant *v, double x) { v->mask = MASK_AS_BIAS; }

static void rope_none(const call *c, variant *v, double x) { v->rope.layout = ROPE_NONE; }
static void rope_pairing(const call *c, variant *v, double x) {
    v->rope.layout = v->rope.layout == ROPE_HALF ? ROPE_PAIRS : ROPE_HALF;
}
static void rope_partial(const call *c, variant *v, double x) { v->rope.partial = true; }
static void rope_theta(const call *c, variant *v, double theta) { v->rope.theta = theta; }
static void rope_plus_one(const call *c, variant *v, double x) { v->rope.q_shift = 1; }
static void rope_no_offset(const call *c, variant *v, double x) { v->rope.no_offset = true; }
static void rope_inverse(const call *c, variant *v, double x) { v->rope.inverse = true; }
static void rope_no_concentration(const call *c, variant *v, double x) { v->rope.concentration = 0; }
static void rope_concentration_twice(const call *c, variant *v, double x) { v->rope.concentration = 2; }
static void rope_bf16_table(const call *c, variant *v, double x) { v->rope.bf16_table = true; }
static void rope_q_only(const call *c, variant *v, double x) { v->rope.q_only = true; }

static void positions_moved(const call *c, variant *v, double x) {}

static void pad_none(const call *c, variant *v, double x) { v->padding = PADDING_NONE; }
static void pad_other_side(const call *c, variant *v, double x) { v->padding = PADDING_OTHER_SIDE; }
static void pad_zero(const call *c, variant *v, double x) { v->padding = PADDING_ZERO_SCORES; }
static void pad_finite(const call *c, variant *v, double x) { v->empty = HEED_EMPTY_MEAN, v->empty_mean_of_shown = true; }
static void docs_leak(const call *c, variant *v, double x) { v->docs = DOCS_NONE; }
static void docs_edge(const call *c, variant *v, double way) { v->docs = way == 1 ? DOCS_LATE : DOCS_EARLY; }
static void empty_zero(const call *c, variant *v, double x) { v->empty = HEED_EMPTY_ZERO; }
static void empty_mean(const call *c, variant *v, double x) { v->empty = HEED_EMPTY_MEAN; }
static void empty_mean_causal(const call *c, variant *v, double x) { v->empty = HEED_EMPTY_MEAN_CAUSAL; }
static void empty_nan(const call *c, variant *v, double x) { v->empty = HEED_EMPTY_NAN; }

static void round_softmax(const call *c, variant *v, double x) { v->rounding = ROUND_SOFTMAX; }
static void round_accumulate(const call *c, variant *v, double x) { v->rounding = ROUND_ACCUMULATE; }
static void round_scores(const call *c, variant *v, double x) { v->rounding = x == 2 ? ROUND_STAGES : ROUND_SCORES; }
static void round_overflow(const call *c, variant *v, double x) { v->rounding = ROUND_OVERFLOW; }

static void layout_seq_head(const call *c, variant *v, double x) { v->layout = LAYOUT_OUT_SEQ_HEAD; }
static void layout_batch_head(const call *c, variant *v, double x) { v->layout = LAYOUT_OUT_BATCH_HEAD; }
static void layout_v_transposed(const call *c, variant *v, double x) { v->layout = LAYOUT_V_TRANSPOSED; }
static void layout_strides(const call *c, variant *v, double x) { v->layout = LAYOUT_STRIDES_IGNORED; }

static void tile_tail_dropped(const call *c, variant *v, double keys) { v->tile = TILE_TAIL_DROPPED, v->tile_keys = (int64_t)keys; }
static void tile_tail_zero(const call *c, variant *v, double keys) { v->tile = TILE_TAIL_ZERO, v->tile_keys = (int64_t)keys; }
static void tile_no_rescale(const call *c, variant *v, double keys) { v->tile = TILE_NO_RESCALE, v->tile_keys = (int64_t)keys; }
static void tile_unweighted(const call *c, variant *v, double keys) { v->tile = TILE_UNWEIGHTED, v->tile_keys = (int64_t)keys; }

static void lse_base2(const call *c, variant *v, double x) { v->lse = LSE_BASE2; }
static void lse_no_sink(const call *c, variant *v, double x) { v->lse = LSE_NO_SINK; }

static void cache_one_more(const call *c, variant *v, double x) { v->cache = CACHE_ONE_MORE; }
static void cache_one_less(const call *c, variant *v, double x) { v->cache = CACHE_ONE_LESS; }
static void cache_stale(const call *c, variant *v, double x) { v->cache = CACHE_STALE_LAST; }
static void cache_page_order(const call *c, variant *v, double x) { v->cache = CACHE_PAGE_ORDER; }

static void dropout_none(const call *c, variant *v, double x) { v->dropout = DROPOUT_NONE; }
static void dropout_not_rescaled(const call *c, variant *v, double x) { v->dropout = DROPOUT_NOT_RESCALED; }
static void dropout_before(const call *c, variant *v, double x) { v->dropout = DROPOUT_BEFORE_SOFTMAX; }

static void grad_sink_missing(const call *c, variant *v, double x) { v->grad = GRAD_SINK_MISSING; }
static void grad_sink_sign(const call *c, variant *v, double x) { v->grad = GRAD_SINK_SIGN; }
static void grad_delta_missing(const call *c, variant *v, double x) { v->grad = GRAD_DELTA_MISSING; }
static void grad_group(const call *c, variant *v, double x) { v->grad = GRAD_GROUP_NOT_SUMMED; }
static void grad_scale_missing(const call *c, variant *v, double x) { v->grad = GRAD_SCALE_MISSING; }
static void grad_scale_twice(const call *c, variant *v, double x) { v->grad = GRAD_SCALE_TWICE; }
static void grad_mask_missing(const call *c, variant *v, double x) { v->grad = GRAD_MASK_MISSING; }
static void grad_cap_slope(const call *c, variant *v, double x) { v->grad = GRAD_SOFTCAP_SLOPE_MISSING; }

// ---- The table ----------------------------------------------------------------------------------------------------

#define HYPOTHESIS(id, aliases, applies, edit, sentence, ...) {id, aliases, sentence, applies, edit, {__VA_ARGS__}},
const hypothesis hypotheses[] = {
#include "compare/hypotheses.def"
    {.id = NULL},
};
#undef HYPOTHESIS

int hypotheses_count(void) { return (int)(sizeof hypotheses / sizeof *hypotheses) - 1; }

bool hypothesis_fits(const hypothesis *h, const call *c, double *low, double *high) {
    if (h->edit == rope_theta) *low = 10, *high = 1e9;
    if (h->edit == scale_fitted) *low = fabs(c->problem.scale) / 64, *high = fabs(c->problem.scale) * 64;
    return (h->edit == rope_theta || h->edit == scale_fitted) && h->applies(c) && c->problem.scale != 0;
}

static bool among(const char *names, const char *id) {
    const size_t n = strlen(id);
    for (const char *at = strstr(names, id); at != NULL; at = strstr(at + 1, id))
        if ((at == names || at[-1] == ' ') && (at[n] == 0 || at[n] == ' ')) return true;
    return false;
}

const hypothesis *hypothesis_find(const char *id) {
    for (const hypothesis *h = hypotheses; h->id != NULL; h++)
        if (strcmp(h->id, id) == 0 || among(h->aliases, id)) return h;
    return NULL;
}
