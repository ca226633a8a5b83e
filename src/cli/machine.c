// SPDX-License-Identifier: Apache-2.0
#include "cli/machine.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/cpu_features.h"
#include "base/memory.h"
#include "base/text.h"

void machine_cpu_name(char text[MACHINE_TEXT]) {
    snprintf(text, MACHINE_TEXT, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "r");
    if (file == NULL) return;
    char line[512];
    while (fgets(line, sizeof line, file) != NULL) {
        const char *colon = strchr(line, ':');
        if (colon == NULL || (strncmp(line, "model name", 10) != 0 && strncmp(line, "Model\t", 6) != 0)) continue;
        snprintf(text, MACHINE_TEXT, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        break;
    }
    fclose(file);
}

static const struct { uint32_t bit; const char *name; } features[] = {
    {CPU_AVX2, "AVX2"}, {CPU_FMA, "FMA"}, {CPU_AVX512, "AVX-512 F, BW, DQ, VL"}, {CPU_BF16, "AVX-512 BF16"},
};

#define ISA(name, needed, flags, processors) needed,
static const uint32_t isa_features[] = {
#include "cpu/isa.def"
};
#undef ISA

bool machine_isa_row(int i, machine_isa *isa) {
    *isa = (machine_isa){0};
    isa->name = cpu_kernels_row(i, &isa->kernels);
    if (isa->name == NULL) return false;
    if (isa->kernels != NULL) return true;
    text_buffer why = {.text = isa->why, .bytes = sizeof isa->why};
    const uint32_t missing = isa_features[i] & ~cpu_features();
    for (size_t f = 0; f < sizeof features / sizeof *features; f++)
        if (missing & features[f].bit) text_add(&why, "%s%s", why.length > 0 ? ", " : "this CPU lacks ", features[f].name);
    if (why.length == 0) text_add(&why, "this build has no kernels of it: it is for another processor");
    return true;
}

double machine_seconds(int n_threads) { return n_threads == 1 ? clock_thread_seconds() : clock_seconds(); }

// ---- Rates ----------------------------------------------------------------------------------------------------------

enum { SAMPLE_US = 2000 };    // long beside the clock's own 50 ns, short beside a scheduler's slice

// How often body must run to fill a sample, and the best time of one run.
static double best_seconds(void (*body)(void *), void *context, int repeats) {
    int64_t n = 1;
    double best = 0;
    for (int r = -1; r < repeats;) {
        const double start = clock_thread_seconds();
        for (int64_t i = 0; i < n; i++) body(context);
        const double seconds = clock_thread_seconds() - start;
        if (r < 0 && seconds < SAMPLE_US * 1e-6) {    // warm-up: find n
            n *= 2;
            continue;
        }
        if (r >= 0 && (best == 0 || seconds / (double)n < best)) best = seconds / (double)n;
        r++;
    }
    return best;
}

typedef struct { const cpu_kernels *cpu; int64_t m, k, n; float *a, *c; void *b; } product;

static void run_product(void *context) {
    const product *p = context;
    p->cpu->f32.mm(p->m, p->n, p->k, p->a, p->k, p->b, p->k, p->c, p->n, true);
}

double machine_product_rate(const cpu_kernels *cpu, int64_t m, int64_t k, int64_t n, int repeats) {
    product p = {cpu, m, k, n, memory_take_zeroed((size_t)(m * k) * 4), memory_take_zeroed((size_t)(m * n) * 4),
                 memory_take_zeroed(cpu->f32.b_bytes(k, n))};
    double seconds = 0;
    if (p.a != NULL && p.b != NULL && p.c != NULL) seconds = best_seconds(run_product, &p, repeats);
    memory_free(p.a);
    memory_free(p.b);
    memory_free(p.c);
    return seconds > 0 ? 2.0 * (double)m * (double)k * (double)n / seconds : 0;
}

enum { EXP_VALUES = 2048 };
typedef struct { const cpu_kernels *cpu; float x[EXP_VALUES], y[EXP_VALUES]; } exponentials;

static void run_exp(void *context) {
    exponentials *e = context;
    e->cpu->exp(EXP_VALUES, e->y, e->x);
}

double machine_exp_rate(const cpu_kernels *cpu, int repeats) {
    exponentials e = {.cpu = cpu};
    for (int i = 0; i < EXP_VALUES; i++) e.x[i] = -(float)i / 100;
    const double seconds = best_seconds(run_exp, &e, repeats);
    return seconds > 0 ? EXP_VALUES / seconds : 0;
}

typedef struct { const uint64_t *word; size_t n; uint64_t sum; } reading;

static void run_read(void *context) {
    reading *r = context;
    uint64_t a = 0, b = 0, c = 0, d = 0;    // four chains, so that additions never hold up the loads
    for (size_t i = 0; i + 4 <= r->n; i += 4) a += r->word[i], b += r->word[i + 1], c += r->word[i + 2], d += r->word[i + 3];
    r->sum += a + b + c + d;
}

double machine_read_rate(size_t bytes, int repeats) {
    uint64_t *block = memory_take(bytes);
    if (block == NULL) return 0;
    memset(block, 1, bytes);    // a page that was never written reads from one shared page of zeros
    volatile uint64_t kept;
    reading r = {block, bytes / sizeof *block, 0};
    const double seconds = best_seconds(run_read, &r, repeats);
    kept = r.sum;
    (void)kept;
    memory_free(block);
    return seconds > 0 ? (double)bytes / seconds : 0;
}
