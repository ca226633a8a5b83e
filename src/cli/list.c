// SPDX-License-Identifier: Apache-2.0
// heed list: every name another command takes, from the tables the program itself runs on.
#include "core/impl.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/bench_shapes.h"
#include "cli/machine.h"
#include "cli/output.h"
#include "cli/status.h"
#include "cli/verbs.h"
#include "compare/hypothesis.h"
#include "core/rows.h"
#include "model/attention_choice.h"
#include "model/model.h"

typedef struct { bool json; } list_options;

static const option options[] = {
    {.name = "--json", .kind = OPTION_FLAG, .offset = offsetof(list_options, json), .group = "", .help = "one JSON object"},
};

// Each section is an array of objects whose values are texts, booleans or null; the table is printed from the same.
static void add_row(json_t *section, const char *name, json_t *row) {
    json_t *all = json_object();
    json_object_set_new(all, "name", json_string(name));
    json_object_update(all, row);
    json_decref(row);
    json_array_append_new(section, all);
}

static json_t *implementations(void) {
    json_t *section = json_array();
    for (int i = 0; heed_impls[i] != NULL; i++) {
        bool forward = false, backward = false, seen = false;
        for (int j = 0; heed_impls[j] != NULL; j++) {
            if (strcmp(heed_impls[j]->name, heed_impls[i]->name) != 0) continue;
            seen |= j < i;
            forward |= heed_impls[j]->pass == HEED_FORWARD;
            backward |= heed_impls[j]->pass == HEED_BACKWARD;
        }
        if (seen) continue;
        add_row(section, heed_impls[i]->name,
                json_pack("{s:b, s:b, s:b}", "forward", forward, "backward", backward, "only_when_named",
                          heed_impls[i]->only_when_named));
    }
    return section;
}

static json_t *instruction_sets(void) {
    json_t *section = json_array();
    const cpu_kernels *best = cpu_kernels_best(NULL, NULL);
    machine_isa isa;
    for (int i = 0; machine_isa_row(i, &isa); i++)
        add_row(section, isa.name, json_pack("{s:b, s:b, s:s?}", "runs_here", isa.kernels != NULL, "used",
                                             isa.kernels != NULL && isa.kernels == best, "why_not",
                                                 isa.why[0] != 0 ? isa.why : NULL));
    return section;
}

static json_t *masks(void) {
    json_t *section = json_array();
    for (const mask_row *row = mask_rows; row->name != NULL; row++) add_row(section, row->name, json_pack("{s:s}", "texts",
                                                                                                          row->examples));
    return section;
}

static json_t *scores(void) {
    json_t *section = json_array();
    for (const score_row *row = score_rows; row->name != NULL; row++) add_row(section, row->name, json_pack("{s:s}", "texts",
                                                                                                            row->examples));
    return section;
}

static json_t *preset_rows(void) {
    json_t *section = json_array();
    static const char *const offset[] = {"bottom-right", "top-left"};
    static const char *const empty[] = {"zero", "nan", "mean", "mean_causal"};
    static const char *const window[] = {NULL, "sides", "keys"};
    const heed_preset *p;
    for (int i = 0; (p = heed_preset_at(i)) != NULL; i++) {
        const bool built = p->refused == NULL, infinite = isinf(p->empty_lse);
        const char *lse = !p->gives_lse ? NULL : !infinite ? "0" : p->empty_lse > 0 ? "+inf" : "-inf";
        add_row(section, p->name,
                json_pack("{s:b, s:s?, s:s?, s:s?, s:s?, s:b, s:s, s:s?}", "built", built, "offset",
                          !built ? NULL : p->sets_align ? offset[p->align] : "the caller's", "empty_row",
                          built ? empty[p->empty_row] : NULL, "empty_lse", lse, "window", window[p->window],
                          "window_even_layers", p->window_even_layers, "system", p->system, "proof", p->proof));
    }
    return section;
}

static json_t *hypothesis_rows(void) {
    json_t *section = json_array();
    for (const hypothesis *h = hypotheses; h->id != NULL; h++)
        add_row(section, h->id, json_pack("{s:s?, s:s}", "aliases", *h->aliases != 0 ? h->aliases : NULL, "says", h->sentence));
    return section;
}

static json_t *attention(void) {
    json_t *section = json_array();
    int count;
    const attention_name *row = attention_names(&count);
    for (int i = 0; i < count; i++)
        add_row(section, row[i].name, json_pack("{s:s?, s:s, s:s, s:s?}", "implementation", row[i].implementation, "preset",
                                                row[i].preset, "what", row[i].what, "missing", row[i].missing));
    return section;
}

static json_t *models(void) {
    json_t *section = json_array();
    for (const char *const *size = model_sizes(); *size != NULL; size++) add_row(section, *size, json_object());
    return section;
}

static json_t *shapes(void) {
    json_t *section = json_array();
    for (const bench_shape *s = bench_shapes; s->name != NULL; s++) add_row(section, s->name, json_pack("{s:s}", "problem",
                                                                                                        s->text));
    return section;
}

static const struct { const char *key, *title; json_t *(*rows)(void); } sections[] = {
    {"implementations", "implementations (--impl)", implementations},
    {"instruction_sets", "instruction sets (--cpu, HEED_CPU)", instruction_sets},
    {"masks", "masks", masks},
    {"scores", "score functions", scores},
    {"presets", "presets (preset:NAME, --attn_preset)", preset_rows},
    {"attention", "attention names (--attn_implementation)", attention},
    {"models", "built-in models (--model)", models},
    {"hypotheses", "hypotheses of `heed compare` (--ask)", hypothesis_rows},
    {"bench_shapes", "problems that `heed bench` times", shapes},
};
enum { SECTIONS = sizeof sections / sizeof *sections };

// What stands before a value in the table; "" for a value that speaks for itself, NULL for one that only JSON has.
static const char *label_of(const char *key) {
    static const struct { const char *key, *label; } labels[] = {
        {"name", NULL}, {"proof", NULL}, {"missing", "- not here: "}, {"offset", "offset "}, {"empty_row", "empty row "},
        {"empty_lse", "its lse "}, {"window", "window by "}, {"window_even_layers", NULL},
        {"aliases", "also "},
    };
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++)
        if (strcmp(key, labels[i].key) == 0) return labels[i].label;
    return "";
}

static const char *words(const char *key, const json_t *value) {
    if (json_is_string(value)) return json_string_value(value);
    if (strcmp(key, "built") == 0) return json_is_true(value) ? "" : "(documented, not built)";
    if (strcmp(key, "runs_here") == 0) return json_is_true(value) ? "runs here" : "";
    if (strcmp(key, "used") == 0) return json_is_true(value) ? "<- used" : "";
    if (strcmp(key, "implementation") == 0) return "the cheapest";
    return json_is_true(value) ? key : "";
}

static void print_section(const char *title, const json_t *section) {
    printf("%s%s%s\n", output_colour(COLOUR_STRONG), title, output_colour(COLOUR_NONE));
    for (size_t i = 0; i < json_array_size(section); i++) {
        json_t *row = json_array_get(section, i), *value;
        const char *key;
        printf("  %-20s", json_string_value(json_object_get(row, "name")));
        json_object_foreach(row, key, value) {
            const char *label = label_of(key), *text = words(key, value);
            if (label != NULL && *text != 0) printf("  %s%s", label, text);
        }
        putchar('\n');
    }
}

static int list(const args *a) {
    const list_options *o = a->options;
    json_t *all = json_object();
    for (int i = 0; i < SECTIONS; i++) json_object_set_new(all, sections[i].key, sections[i].rows());
    if (o->json) return output_json(a, all);
    for (int i = 0; i < SECTIONS; i++) {
        if (i > 0) putchar('\n');
        print_section(sections[i].title, json_object_get(all, sections[i].key));
    }
    json_decref(all);
    return STATUS_DONE;
}

const verb verb_list = {
    .name = "list", .purpose = "implementations, instruction sets, masks, presets, models, hypotheses",
    .about = "Every name that another command takes, and what it is here.",
    .examples = "  heed list\n  heed list --json\n",
    .options = options, .n_options = sizeof options / sizeof *options, .struct_bytes = sizeof(list_options), .run = list,
};
