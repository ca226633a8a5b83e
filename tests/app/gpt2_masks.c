// SPDX-License-Identifier: Apache-2.0
// Padding and packing change nothing but the place of a document, the search for a NaN names its origin, and the attention
// names do what their table says.
#include "gpt2_small.h"

#include "../test.h"

#include <math.h>
#include <string.h>

static heed_error error;

static model *with(const char *name, const char *preset, bool refuse) {
    model *m = small_model(&(attention_choice){.name = name, .preset = preset, .fallback_refuse = refuse}, &error);
    CHECK(m != NULL, "%s: %s", name, error.text);
    return m;
}

static double loss_of(model *m, const model_batch *b) {
    double loss;
    int64_t scored;
    CHECK(model_loss(m, b, &loss, &scored, &error) == HEED_OK, "%s", error.text);
    return loss;
}

// `count` documents of 3, 4 and 3 tokens from the first row, each alone.
static double separate(model *m, const model_batch *whole) {
    double sum = 0;
    for (int d = 0; d < 3; d++) {
        static const int begin[] = {0, 3, 7, 10};
        int32_t target[4], position[] = {0, 1, 2, 3};
        const int n = begin[d + 1] - begin[d];
        for (int i = 0; i < n; i++) target[i] = i == n - 1 ? -1 : whole->id[begin[d] + i + 1];
        const model_batch one = {.rows = 1, .length = n, .id = whole->id + begin[d], .position = position, .target = target};
        sum += loss_of(m, &one);
    }
    return sum;
}

static void test_packing(model *m) {
    small_memory memory;
    model_batch b = small_batch(&memory);
    static const int document[] = {0, 0, 0, 1, 1, 1, 1, 2, 2, 2}, place[] = {0, 1, 2, 0, 1, 2, 3, 0, 1, 2};
    b.rows = 1;
    for (int i = 0; i < SMALL_LENGTH; i++) {
        memory.document[i] = document[i];
        memory.position[i] = place[i];
        memory.target[i] = i == SMALL_LENGTH - 1 || document[i + 1] != document[i] ? -1 : memory.id[i + 1];
    }
    const double alone = separate(m, &b), leaking = loss_of(m, &b);
    b.document = memory.document;
    const double packed = loss_of(m, &b);
    CHECK(fabs(packed - alone) < 1e-5 * alone, "packed documents: loss %.9g, each alone %.9g", packed, alone);
    CHECK(fabs(leaking - alone) > 1e-3 * alone, "with leaking the loss should differ from %.9g", alone);
}

static void test_padding(model *m) {
    small_memory memory;
    const model_batch full = small_batch(&memory);
    for (int side = 0; side < 2; side++) {    // the first row's first six tokens, padded to ten on the left, then on the right
        int32_t id[SMALL_LENGTH] = {0}, position[SMALL_LENGTH] = {0}, target[SMALL_LENGTH], range[2];
        const int first = side == 0 ? 4 : 0;
        for (int i = 0; i < SMALL_LENGTH; i++) target[i] = -1;
        for (int i = 0; i < 6; i++) {
            id[first + i] = full.id[i];
            position[first + i] = i;
            if (i < 5) target[first + i] = full.id[i + 1];
        }
        range[0] = first, range[1] = first + 6;
        const model_batch padded = {.rows = 1, .length = SMALL_LENGTH, .id = id, .position = position, .target = target,
                                    .key_range = range};
        const model_batch plain = {.rows = 1, .length = 6, .id = id + first, .position = position + first,
                                   .target = target + first};
        const double a = loss_of(m, &padded), b = loss_of(m, &plain);
        CHECK(isfinite(a) && fabs(a - b) < 1e-5 * b, "padding on the %s: loss %.9g, without %.9g", side == 0 ? "left" : "right", a,
              b);
        double loss;
        int64_t scored;
        model_gradient_clear(m);
        CHECK(model_gradient(m, &padded, 1, &loss, &scored, &error) == HEED_OK, "%s", error.text);
        CHECK(loss == a, "loss in training %.17g, in evaluation %.17g", loss, a);
        for (int64_t i = 0; i < m->elements; i++)
            if (!isfinite(m->grads[i])) { CHECK(false, "a gradient under padding is not finite"); break; }
    }
}

static void test_origin(void) {
    small_memory memory;
    model_batch b = small_batch(&memory);
    b.key_range = memory.range;
    memory.range[2] = 4;    // row 1 begins with four paddings
    nan_origin o;
    model *m = with("sdpa", "mps_pre28", false);
    CHECK(isfinite(loss_of(m, &b)), "mps_pre28 is protected in evaluation");
    int64_t count;
    const attention_record *r = model_attention_records(m, &count);
    CHECK(count == 1 && r[0].substituted && strstr(r[0].reason, "disable_mps_fix") != NULL, "the protection is on record: %s",
          r[0].reason);
    const attention_choice bare = {.name = "sdpa", .preset = "mps_pre28", .disable_mps_fix = true};
    CHECK(model_set_attention(m, &bare, false, &error) == HEED_OK, "%s", error.text);
    for (int i = 0; i < 4; i++) memory.target[SMALL_LENGTH + i] = 0;
    CHECK(isnan(loss_of(m, &b)), "mps_pre28 without its fix gives NaN");
    CHECK(model_nan_origin(m, &b, true, &o, &error) == HEED_OK, "%s", error.text);
    CHECK(o.found && !o.backward && o.layer == 0 && strcmp(o.operation, "attention") == 0 && o.row == 1 && o.position == 0 &&
          o.no_visible_key,
          "%s", o.sentence);
    CHECK(model_nan_origin(m, &b, false, &o, &error) == HEED_OK && !o.found, "in training: %s", o.sentence);
    block_parameter(m, 1, B_FC_W)->value[5] = INFINITY;
    model_set_attention(m, &(attention_choice){0}, true, &error);
    CHECK(model_nan_origin(m, &b, false, &o, &error) == HEED_OK, "%s", error.text);
    CHECK(o.found && o.layer == 1 && strcmp(o.operation, "mlp in") == 0 && o.row == 0 && !o.no_visible_key &&
          strcmp(o.parameter, "transformer.h.1.mlp.c_fc.weight") == 0, "%s", o.sentence);
    model_free(m);
}

static void test_names(void) {
    small_memory memory;
    const model_batch b = small_batch(&memory);
    double loss;
    int64_t scored, count;
    int names;
    const attention_name *table = attention_names(&names);
    CHECK(names == 7, "%d names", names);
    double losses[8];
    int runs = 0;
    for (int i = 0; i < names; i++) {
        const attention_choice warn = {.name = table[i].name}, refuse = {.name = table[i].name, .fallback_refuse = true};
        if (strcmp(table[i].name, "paged_attention") == 0) {
            CHECK(attention_choice_check(&warn, true, &error) == HEED_REFUSED, "paged training must be refused");
            CHECK(attention_choice_check(&warn, false, &error) == HEED_OK, "%s", error.text);
            continue;
        }
        model *m = with(warn.name, NULL, false);
        CHECK(model_gradient(m, &b, 1, &loss, &scored, &error) == HEED_OK, "%s: %s", warn.name, error.text);
        losses[runs++] = loss;
        const attention_record *r = model_attention_records(m, &count);
        CHECK(count == 2 && r[0].calls == 2 && r[1].calls == 2 && r[0].seconds > 0, "%s: %lld records", warn.name,
              (long long)count);
        CHECK(r[0].substituted == (table[i].missing != NULL) && r[0].n_refused == (table[i].missing != NULL), "%s: %s", warn.name,
              r[0].reason);
        CHECK(strcmp(r[0].requested, warn.name) == 0 && strcmp(r[0].preset, table[i].preset) == 0 && strstr(r[0].problem,
                                                                                                            "h2") != NULL,
              "%s: %s, %s", warn.name, r[0].problem, r[0].preset);
        const heed_status status = model_set_attention(m, &refuse, true, &error);
        CHECK(status == (table[i].missing != NULL ? HEED_REFUSED : HEED_OK), "%s under refuse: status %d", refuse.name,
              (int)status);
        CHECK(status != HEED_OK || model_gradient(m, &b, 1, &loss, &scored, &error) == HEED_OK, "%s: %s", refuse.name, error.text);
        model_free(m);
    }
    for (int i = 1; i < runs; i++) CHECK(fabs(losses[i] - losses[0]) < 1e-5 * losses[0], "loss %d is %.9g, not %.9g", i, losses[i],
                                         losses[0]);
    CHECK(attention_choice_check(&(attention_choice){.name = "flash_atention_2"}, true, &error) == HEED_INVALID &&
          strstr(error.text, "did you mean flash_attention_2") != NULL, "%s", error.text);
    CHECK(attention_choice_check(&(attention_choice){.preset = "nonsense"}, true, &error) == HEED_INVALID, "%s", error.text);
    CHECK(attention_choice_check(&(attention_choice){.disable_mps_fix = true}, true, &error) == HEED_INVALID, "%s", error.text);
    CHECK(attention_choice_check(&(attention_choice){.name = "cpu.flash"}, true, &error) == HEED_OK, "%s", error.text);
}

// flex_attention asks one mask function about all of it; the arrays of each batch reach it through plans that are kept.
static void test_mask_function(void) {
    model *flash = with("flash_attention_2", NULL, true), *flex = with("flex_attention", NULL, true);
    small_memory memory;
    model_batch b = small_batch(&memory);
    for (int round = 0; round < 6; round++) {    // a plan with arrays meets three batches of other padding and documents
        b.key_range = round % 2 ? memory.range : NULL;
        b.document = round % 2 ? memory.document : NULL;
        for (int i = 0; i < SMALL_ROWS * SMALL_LENGTH; i++) memory.document[i] = i % SMALL_LENGTH / (round + 2);
        memory.range[0] = round, memory.range[1] = SMALL_LENGTH;
        memory.range[2] = 0, memory.range[3] = SMALL_LENGTH - round;
        for (int i = 0; i < SMALL_LENGTH; i++) memory.target[i] = i < round ? -1 : memory.id[i];
        const double want = loss_of(flash, &b), got = loss_of(flex, &b);
        CHECK(isfinite(want) && fabs(got - want) < 1e-6 * want, "round %d: flex_attention's loss is %.9g, flash's %.9g", round, got,
              want);
    }
    int64_t count;
    const attention_record *r = model_attention_records(flex, &count);
    CHECK(count == 2 && strstr(r[0].problem, "mask:causal_function?") != NULL &&
          strstr(r[1].problem, "mask:batch_function?") != NULL && !r[0].substituted &&
          strcmp(r[1].actual, "cpu.flash") == 0 && strstr(r[1].reason, "listed") != NULL,
          "%lld records: %s; %s", (long long)count, r[0].problem, r[0].reason);
    model_free(flash);
    model_free(flex);
}

// Every preset that is built runs and is on record with its own rule for the rows of the padding; the others are refused.
static void test_presets(void) {
    static const char *const rules[] = {NULL, "empty:nan", "empty:mean", "empty:mean_causal"};
    small_memory memory;
    model_batch b = small_batch(&memory);
    b.key_range = memory.range;
    memory.range[2] = 4;
    const heed_preset *p;
    for (int i = 0; (p = heed_preset_at(i)) != NULL; i++) {
        const attention_choice choice = {.preset = p->name, .disable_mps_fix = strcmp(p->name, "mps_pre28") == 0};
        const heed_status status = attention_choice_check(&choice, false, &error);
        CHECK(status == (p->refused != NULL ? HEED_REFUSED : HEED_OK), "%s: status %d, %s", p->name, (int)status, error.text);
        if (status != HEED_OK) {
            CHECK(strstr(error.text, p->name) != NULL && strstr(error.text, "attn_preset") != NULL, "%s", error.text);
            continue;
        }
        model *m = with("auto", NULL, false);
        CHECK(model_set_attention(m, &choice, false, &error) == HEED_OK, "%s: %s", p->name, error.text);
        loss_of(m, &b);
        int64_t count;
        const attention_record *r = model_attention_records(m, &count);
        const char *rule = rules[p->empty_row];
        CHECK(count == 1 && strcmp(r[0].preset, p->name) == 0, "%s is on record as %s", p->name, r[0].preset);
        CHECK(rule == NULL ? strstr(r[0].problem, "empty:") == NULL : strstr(r[0].problem, rule) != NULL, "%s ran %s", p->name,
              r[0].problem);
        model_free(m);
    }
}

static void test_batches(model *m) {
    small_memory memory;
    const model_batch good = small_batch(&memory);
    double loss;
    int64_t scored;
    model_batch b = good;
    b.rows = 0;
    CHECK(model_loss(m, &b, &loss, &scored, &error) == HEED_INVALID, "no rows");
    b = good;
    memory.id[7] = SMALL_VOCABULARY;
    CHECK(model_loss(m, &b, &loss, &scored, &error) == HEED_INVALID && strstr(error.text,
                                                                              "token id at row 0, column 7 is 29") != NULL, "%s",
                                                                                  error.text);
    memory.id[7] = 0, memory.position[3] = SMALL_POSITIONS;
    CHECK(model_loss(m, &b, &loss, &scored, &error) == HEED_INVALID && strstr(error.text, "position") != NULL, "%s", error.text);
    memory.position[3] = 3, memory.target[1] = SMALL_VOCABULARY;
    CHECK(model_loss(m, &b, &loss, &scored, &error) == HEED_INVALID && strstr(error.text, "target") != NULL, "%s", error.text);
    memory.target[1] = 1, b.key_range = memory.range, memory.range[1] = SMALL_LENGTH + 1;
    CHECK(model_loss(m, &b, &loss, &scored, &error) == HEED_INVALID && strstr(error.text, "key range") != NULL, "%s", error.text);
}

int main(void) {
    model *m = with("auto", NULL, false);
    if (m == NULL) return test_end();
    test_packing(m);
    test_padding(m);
    test_batches(m);
    model_free(m);
    test_origin();
    test_names();
    test_mask_function();
    test_presets();
    return test_end();
}
