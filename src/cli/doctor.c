// SPDX-License-Identifier: Apache-2.0
// heed doctor: which investigation.
#include "cli/doctor.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/capture_file.h"
#include "cli/status.h"
#include "cli/verbs.h"

static const option options[] = {
    {.name = "--impl", .kind = OPTION_TEXT, .offset = offsetof(doctor_options, impl), .standard_words = "the cheapest", .group = "",
     .help = "phases: this implementation (`heed list` names them), or a convention such as hf_eager"},
    {.name = "--cpu", .kind = OPTION_TEXT, .offset = offsetof(doctor_options, cpu), .standard_words = "HEED_CPU, else the best",
     .group = "", .help = "phases: kernels of this instruction set"},
    {.name = "--only", .kind = OPTION_TEXT, .offset = offsetof(doctor_options, only), .group = "",
     .help = "phases: one phase (1 to 4), or the rows of that name or problem, with whole verdicts"},
    {.name = "--threads", .kind = OPTION_INT, .offset = offsetof(doctor_options, threads), .standard = "1",
     .least = 1, .most = 1024, .group = "", .help = "nan, phases, FILE: threads to compute with"},
    {.name = "--seed", .kind = OPTION_INT, .offset = offsetof(doctor_options, seed), .standard = "42", .least = 0, .most = 9e18,
     .group = "", .help = "nan: the model's weights; phases: the data"},
    {.name = "--problem", .kind = OPTION_TEXT, .offset = offsetof(doctor_options, problem), .group = "",
     .standard_words = "what the file claims", .help = "FILE: what the captured call claims to be"},
    {.name = "--html", .kind = OPTION_TEXT, .offset = offsetof(doctor_options, html), .group = "", .value = "FILE",
     .help = "FILE: write a page with pictures, as heed compare --html does"},
    {.name = "--prompt", .kind = OPTION_TEXT, .offset = offsetof(doctor_options, prompt), .group = "",
     .standard_words = "a sentence", .help = "model: the text that both read, by A's tokenizer"},
    {.name = "--ids", .kind = OPTION_TEXT, .offset = offsetof(doctor_options, ids), .group = "", .value = "LIST",
     .help = "model: the tokens that both read, such as 464,2068,7586; a capture's own `ids` come first"},
    {.name = "--json", .kind = OPTION_FLAG, .offset = offsetof(doctor_options, json), .group = "", .help = "one JSON object"},
};

// most: words after the investigation's name. takes: the options that mean something to it, besides --json.
static const struct { const char *name; int (*run)(const args *); int most; const char *takes, *later; } investigations[] = {
    {"nan", doctor_nan, 0, "--threads --seed", NULL},
    {"machine", doctor_machine, 0, "", NULL},
    {"phase1", doctor_phase1, 1, "", NULL},
    {"phases", doctor_phases, 0, "--impl --cpu --only --threads --seed", NULL},
    {"model", doctor_model, 2, "--prompt --ids --threads", NULL},
};
enum { INVESTIGATIONS = sizeof investigations / sizeof *investigations };

const char *doctor_name(int wanted) {
    for (int i = 0; i < INVESTIGATIONS; i++)
        if (investigations[i].run != NULL && wanted-- == 0) return investigations[i].name;
    return NULL;
}

static bool has_options_without_effect(const args *a, const char *name_of, const char *takes) {
    char why[64];
    snprintf(why, sizeof why, "doctor %s does not take it", name_of);
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        const char *name = options[i].name;
        if (strcmp(name, "--json") == 0 || strstr(takes, name) != NULL) continue;
        if (args_without_effect(a, name, why)) return true;
    }
    return false;
}

static int doctor(const args *a) {
    const char *name = a->positional[0], *names[INVESTIGATIONS];
    for (int i = 0; i < INVESTIGATIONS; i++) {
        names[i] = investigations[i].name;
        if (strcmp(name, names[i]) != 0) continue;
        if (investigations[i].run == NULL) return args_fail(a, STATUS_REFUSED, "%s: %s", name, investigations[i].later);
        const int most = investigations[i].most;
        if (a->n_positional > 1 + most)
            return args_fail(a, STATUS_USAGE, "%s takes nothing %s, but \"%.60s\" follows", name, most > 0 ? "more" : "else",
                             a->positional[1 + most]);
        return has_options_without_effect(a, name, investigations[i].takes) ? STATUS_USAGE : investigations[i].run(a);
    }
    if (capture_file_named(name) || access(name, F_OK) == 0) {
        if (a->n_positional > 1)
            return args_fail(a, STATUS_USAGE, "one file is judged, but \"%.60s\" follows; `heed compare A B` takes two",
                             a->positional[1]);
        return has_options_without_effect(a, "FILE", "--problem --threads --html") ? STATUS_USAGE : doctor_capture(a);
    }
    const char *near = text_nearest(name, names, INVESTIGATIONS);
    if (near != NULL)
        return args_fail(a, STATUS_USAGE, "\"%.60s\" is no investigation and no file; the nearest is %s", name, near);
    return args_fail(a, STATUS_USAGE,
                     "\"%.60s\" is no investigation and no file; there are nan, machine, phase1, phases, model, FILE",
                     name);
}

const verb verb_doctor = {
    .name = "doctor", .purpose = "guided investigations: nan, phase1, phases, model, machine, a captured call",
    .usage = "nan|machine|phases|phase1 [FILE]|model A B|FILE [options]",
    .about = "nan: a GPT-2-shaped model, two texts of different length, left padding, on the operator whose evaluation gave NaN on "
             "an Apple GPU, on eager and on flash, in evaluation and in training; every number is computed now, and then it says "
             "why. phase1: four mismatches that were reported of a GPT-OSS attention block, and the one formula that gives all of "
             "them. phases: an implementation, or a convention, from its parts to combinations, edges and precision; each failure "
             "with a verdict and the command that shows it again. machine: instruction sets, measured peaks of products and exp, "
             "read bandwidth, drivers of GPUs. model: two GPT-2 checkpoints (folders, or names in the Hugging Face cache), or a "
             "checkpoint and what another program's model gave: the weights, then component by component, and the first that "
             "departs. FILE (.npz, .safetensors): is a captured call what its own text says it is? Verdict and exit status of "
             "model and FILE are those of `heed compare`.",
    .examples = "  heed doctor nan\n  heed doctor nan --json\n  heed doctor phase1\n  heed doctor phases --impl cpu.flash\n"
                "  heed doctor phases --impl hf_eager --only 3\n  heed doctor machine\n"
                "  heed doctor model openai-community/gpt2 runs/mine/checkpoints/final\n  heed doctor model mine captured/\n"
                "  heed doctor theirs.npz --problem \"bf16 causal window:127 sink\"\n",
    .options = options, .n_options = sizeof options / sizeof *options, .struct_bytes = sizeof(doctor_options),
    .least_positional = 1, .most_positional = -1, .positional = "an investigation", .run = doctor,
};
