// SPDX-License-Identifier: Apache-2.0
// GPT-2 in Hugging Face's layout: config.json and model.safetensors.
#include "model/model_state.h"

#include "base/error.h"
#include "base/memory.h"
#include "io/file.h"
#include "io/json.h"
#include "io/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- config.json ------------------------------------------------------------------------------------------------------

static const char FILE_NAME[] = "config.json";

static heed_status unsupported(const json_t *value, const char *key, const char *allowed, heed_error *error) {
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    error_set(error, HEED_REFUSED, "%s: %s is %.60s, which heed does not compute; allowed is %s", FILE_NAME, key,
              text == NULL ? "?" : text, allowed);
    free(text);
    return HEED_REFUSED;
}

static bool is_off(const json_t *value) {
    if (json_is_object(value)) return json_object_size(value) == 0;
    if (json_is_array(value)) return json_array_size(value) == 0;
    return value == NULL || json_is_null(value) || json_is_false(value);
}

// Fields whose other values change the arithmetic: an error, not a guess.
static heed_status check_arithmetic(const json_t *json, heed_error *error) {
    static const char *const must_be_off[] = {"scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn", "add_cross_attention",
                                              "pruned_heads", "quantization_config", "is_encoder_decoder", "rope_scaling"};
    static const char *const must_be_on[] = {"scale_attn_weights", "tie_word_embeddings"};
    for (size_t i = 0; i < sizeof must_be_off / sizeof *must_be_off; i++) {
        const json_t *value = json_object_get(json, must_be_off[i]);
        if (!is_off(value)) return unsupported(value, must_be_off[i], "false or absent", error);
    }
    for (size_t i = 0; i < sizeof must_be_on / sizeof *must_be_on; i++) {
        const json_t *value = json_object_get(json, must_be_on[i]);
        if (value != NULL && !json_is_true(value)) return unsupported(value, must_be_on[i], "true or absent", error);
    }
    // A field heed has never heard of, of a name that smells of arithmetic.
    static const char *const known[] = {"attn_pdrop", "scale_attn_weights", "layer_norm_epsilon", "activation_function",
                                        "attn_implementation", "_attn_implementation", "output_attentions",
                                        "_attn_implementation_autoset",
                                        "_attn_implementation_internal", "summary_activation", "cross_attention_hidden_size"};
    static const char *const smells[] = {"attn", "attention", "rope", "rotary", "norm", "activation", "scale", "window", "alibi",
                                         "expert", "softcap", "bias"};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)json, key, value) {
        bool of_ours = false, suspect = false;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++) of_ours |= strcmp(key, known[i]) == 0;
        for (size_t i = 0; i < sizeof must_be_off / sizeof *must_be_off; i++) of_ours |= strcmp(key, must_be_off[i]) == 0;
        for (size_t i = 0; i < sizeof smells / sizeof *smells; i++) suspect |= strstr(key, smells[i]) != NULL;
        if (suspect && !of_ours && !is_off(value))
            return unsupported(value, key, "the absence of this field, which heed does not know", error);
    }
    return HEED_OK;
}

static heed_status read_fields(model *m, const json_t *json, heed_error *error) {
    static const char *const families[] = {"gpt2", NULL}, *const activations[] = {"gelu_new", NULL};
    model_config *c = &m->config;
    const char *text = "gelu_new";
    int64_t bos = -1, eos = -1;
    const struct { const char *key; json_need need; int64_t least, most, *value; } whole[] = {
        {"vocab_size", JSON_NEEDED, 1, 1 << 24, &c->vocabulary}, {"n_positions", JSON_NEEDED, 1, 1 << 24, &c->positions},
        {"n_layer", JSON_NEEDED, 1, 1 << 12, &c->layers}, {"n_head", JSON_NEEDED, 1, 1 << 12, &c->heads},
        {"n_embd", JSON_NEEDED, 1, 1 << 17, &c->width}, {"n_inner", JSON_OPTIONAL, 1, 1 << 19, &c->inner},
        {"bos_token_id", JSON_OPTIONAL, 0, INT32_MAX, &bos}, {"eos_token_id", JSON_OPTIONAL, 0, INT32_MAX, &eos},
    };
    c->epsilon = 1e-5;
    c->dropout_embedding = c->dropout_attention = c->dropout_residual = 0.1;    // transformers' own, where a file is silent
    const struct { const char *key; double least, most, *value; } real[] = {
        {"layer_norm_epsilon", 0, 1, &c->epsilon}, {"initializer_range", 0, 10, &m->initializer_range},
        {"embd_pdrop", 0, 1, &c->dropout_embedding}, {"attn_pdrop", 0, 1, &c->dropout_attention},
        {"resid_pdrop", 0, 1, &c->dropout_residual},
    };
    heed_status status = json_take_text(json, FILE_NAME, "model_type", JSON_NEEDED, families, &text, error);
    if (status == HEED_OK) snprintf(c->name, sizeof c->name, "%s", text);
    if (status == HEED_OK) status = json_take_text(json, FILE_NAME, "activation_function", JSON_OPTIONAL, activations, &text,
                                                   error);
    for (size_t i = 0; status == HEED_OK && i < sizeof whole / sizeof *whole; i++)
        status = json_take_int(json, FILE_NAME, whole[i].key, whole[i].need, whole[i].least, whole[i].most, whole[i].value, error);
    for (size_t i = 0; status == HEED_OK && i < sizeof real / sizeof *real; i++)
        status = json_take_real(json, FILE_NAME, real[i].key, JSON_OPTIONAL, real[i].least, real[i].most, real[i].value, error);
    if (c->inner == 0) c->inner = 4 * c->width;
    c->bos = (int32_t)bos;
    c->eos = (int32_t)eos;
    return status;
}

heed_status gpt2_read_config(model *m, const char *folder, heed_error *error) {
    char *path = file_join(folder, FILE_NAME);
    if (path == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a path");
    heed_status status = json_file_read(&m->json, path, error);
    free(path);
    if (status == HEED_OK) status = read_fields(m, m->json, error);
    return status == HEED_OK ? check_arithmetic(m->json, error) : status;
}

// ---- model.safetensors --------------------------------------------------------------------------------------------------

static const char *without_prefix(const char *name) {
    return strncmp(name, "transformer.", strlen("transformer.")) == 0 ? name + strlen("transformer.") : name;
}

static bool ends_in(const char *name, const char *end) {
    const size_t n = strlen(name), k = strlen(end);
    return n >= k && strcmp(name + n - k, end) == 0;
}

// Old files hold the causal mask of every layer; newer ones may hold the tied head a second time.
static heed_status check_extra(const model *m, const safetensors *file, const char *prefix, heed_error *error) {
    for (int64_t i = 0; i < safetensors_count(file); i++) {
        const tensor_view *t = safetensors_at(file, i);
        if (ends_in(t->name, ".attn.bias") || ends_in(t->name, ".attn.masked_bias")) continue;
        if (strcmp(t->name, "lm_head.weight") == 0) {
            char name[MODEL_NAME];
            snprintf(name, sizeof name, "%swte.weight", prefix);
            const tensor_view *tokens = safetensors_find(file, name);
            const bool same_kind = tokens != NULL && tokens->bytes == t->bytes && tokens->type == t->type;
            if (!same_kind || memcmp(tokens->data, t->data, t->bytes) != 0)
                return error_set(error, HEED_REFUSED, "lm_head.weight differs from wte.weight; only a tied head is built");
            continue;
        }
        bool wanted = false;
        for (int64_t j = 0; j < m->count && !wanted; j++) {
            const char *plain = m->parameters[j].name + strlen("transformer.");
            wanted = strncmp(t->name, prefix, strlen(prefix)) == 0 && strcmp(t->name + strlen(prefix), plain) == 0;
        }
        if (!wanted)
            return error_set(error, HEED_INVALID, "model.safetensors holds %.100s, which a GPT-2 of this config has not",
                             t->name);
    }
    return HEED_OK;
}

static heed_status read_tensors(model *m, const safetensors *file, heed_error *error) {
    const char *prefix = safetensors_find(file, "transformer.wte.weight") != NULL ? "transformer." : "";
    heed_status status = check_extra(m, file, prefix, error);
    for (int64_t i = 0; status == HEED_OK && i < m->count; i++) {
        const parameter *p = &m->parameters[i];
        const tensor_view *t;
        char name[2 * MODEL_NAME];
        snprintf(name, sizeof name, "%s%s", prefix, without_prefix(p->name));
        status = safetensors_need(file, name, TENSOR_TYPES, p->dims, p->shape, &t, error);
        if (status == HEED_OK && !tensor_to_f32(t, p->value))
            status = error_set(error, HEED_REFUSED, "%s is %s; allowed are F32, F16 and BF16", name, tensor_type_name(t->type));
    }
    return status;
}

static heed_status load(model **out, const char *folder, int64_t vocabulary, bool fresh, uint64_t seed, heed_error *error) {
    *out = NULL;
    model *m;
    heed_status status = model_begin(&m, error);
    if (status != HEED_OK) return status;
    status = gpt2_read_config(m, folder, error);
    if (status == HEED_OK && vocabulary != 0) m->config.vocabulary = vocabulary;
    safetensors *file = NULL;
    if (status == HEED_OK && !fresh) {    // before memory is taken: a damaged file is the better news
        char *path = file_join(folder, "model.safetensors");
        status = path == NULL ? error_set(error, HEED_NO_MEMORY, "no memory for a path") : safetensors_open(&file, path, error);
        free(path);
    }
    if (status == HEED_OK) status = gpt2_layout(m, error);
    if (status == HEED_OK && !fresh) status = read_tensors(m, file, error);
    if (file != NULL) safetensors_close(file);
    if (status != HEED_OK) {
        model_free(m);
        return status;
    }
    if (fresh) gpt2_initialize(m, seed);
    *out = m;
    return HEED_OK;
}

heed_status model_load(model **out, const char *folder, heed_error *error) { return load(out, folder, 0, false, 0, error); }

heed_status model_create_from_config(model **out, const char *folder, int64_t vocabulary, uint64_t seed, heed_error *error) {
    return load(out, folder, vocabulary, true, seed, error);
}

// ---- Saving -------------------------------------------------------------------------------------------------------------

// What was loaded, as it was; from scratch the fields of transformers' GPT2Config. Dropout is 0: it was trained with none.
static json_t *config_to_write(const model *m) {
    const model_config *c = &m->config;
    json_t *json = m->json != NULL ? json_deep_copy(m->json) : json_object();
    if (json == NULL) return NULL;
    bool done = true;
    if (m->json == NULL) {
        json_t *architectures = json_pack("[s]", "GPT2LMHeadModel");
        done = json_object_set_new(json, "architectures", architectures) == 0 &&
               json_object_set_new(json, "model_type", json_string("gpt2")) == 0 &&
               json_object_set_new(json, "activation_function", json_string("gelu_new")) == 0 &&
               json_object_set_new(json, "n_positions", json_integer(c->positions)) == 0 &&
               json_object_set_new(json, "n_layer", json_integer(c->layers)) == 0 &&
               json_object_set_new(json, "n_head", json_integer(c->heads)) == 0 &&
               json_object_set_new(json, "n_embd", json_integer(c->width)) == 0 &&
               json_object_set_new(json, "n_inner", json_null()) == 0 &&
               json_object_set_new(json, "layer_norm_epsilon", json_real(c->epsilon)) == 0 &&
               json_object_set_new(json, "initializer_range", json_real(m->initializer_range)) == 0 &&
               json_object_set_new(json, "embd_pdrop", json_real(0)) == 0 &&
               json_object_set_new(json, "attn_pdrop", json_real(0)) == 0 &&
               json_object_set_new(json, "resid_pdrop", json_real(0)) == 0 &&
               json_object_set_new(json, "bos_token_id", json_integer(c->bos)) == 0 &&
               json_object_set_new(json, "eos_token_id", json_integer(c->eos)) == 0 &&
               json_object_set_new(json, "tie_word_embeddings", json_true()) == 0;
    }
    // What heed writes is f32, whatever was read; --tokenizer may have changed the vocabulary of a fresh model.
    const char *dtype = json_object_get(json, "torch_dtype") != NULL ? "torch_dtype" : "dtype";
    done = done && json_object_set_new(json, dtype, json_string("float32")) == 0 &&
           json_object_set_new(json, "vocab_size", json_integer(c->vocabulary)) == 0;
    if (done) return json;
    json_decref(json);
    return NULL;
}

static heed_status save_config(const model *m, const char *folder, heed_error *error) {
    json_t *json = config_to_write(m);
    char *path = file_join(folder, FILE_NAME);
    heed_status status = HEED_NO_MEMORY;
    if (json == NULL || path == NULL) error_set(error, status, "no memory for %s", FILE_NAME);
    else status = json_file_write(json, path, error);
    free(path);
    json_decref(json);
    return status;
}

heed_status model_save(const model *m, const char *folder, heed_error *error) {
    heed_status status = save_config(m, folder, error);
    if (status != HEED_OK) return status;
    tensor_view *tensors = calloc((size_t)m->count, sizeof *tensors);
    char *path = file_join(folder, "model.safetensors");
    if (tensors == NULL || path == NULL) {
        status = error_set(error, HEED_NO_MEMORY, "no memory for model.safetensors");
    } else {
        for (int64_t i = 0; i < m->count; i++) {
            const parameter *p = &m->parameters[i];
            tensors[i] = (tensor_view){.name = p->name, .type = TENSOR_F32, .dims = p->dims, .data = p->value};
            memcpy(tensors[i].shape, p->shape, sizeof p->shape);
        }
        status = safetensors_write(path, tensors, m->count, NULL, 0, error);
    }
    free(tensors);
    free(path);
    return status;
}
