// SPDX-License-Identifier: Apache-2.0
#include "cli/bench_run.h"

#include <math.h>
#include <string.h>

#include "base/dtype.h"
#include "base/memory.h"
#include "cli/machine.h"
#include "cli/size.h"
#include "core/problem.h"

// One implementation at the start: its plan and workspace, its row, and the best time so far.
typedef struct {
    heed_plan *plan;
    heed_args args;
    bench_row *row;
    int64_t calls;    // a sample's
    double best;
} contestant;

// ---- Times ------------------------------------------------------------------------------------------------------------

static void call_run(contestant *c) { (void)heed_run(c->plan, &c->args, NULL); }    // ran before, with the same args
static void call_nothing(contestant *c) { (void)c; }

// Seconds of `calls` calls; the pointer is volatile so that a loop over nothing stays a loop.
static double sample(void (*volatile call)(contestant *), contestant *c, int64_t calls, int n_threads) {
    const double start = machine_seconds(n_threads);
    for (int64_t i = 0; i < calls; i++) call(c);
    return machine_seconds(n_threads) - start;
}

enum { WARM_SAMPLES = 12 };

// Finds how many calls fill a sample, and goes on until two samples agree within 3 %: caches, clock and threads have settled.
static void warm_up(contestant *c, const bench_wanted *wanted, int n_threads) {
    double before = 0;
    c->calls = 1;
    for (int i = 0; i < WARM_SAMPLES;) {
        const double seconds = sample(call_run, c, c->calls, n_threads);
        if (seconds < wanted->sample_seconds && c->calls < (int64_t)1 << 30) {
            const double more = seconds > 0 ? wanted->sample_seconds / seconds * 1.2 : 100;
            c->calls = 1 + (int64_t)((double)c->calls * fmin(more, 100));
            continue;
        }
        const double each = seconds / (double)c->calls;
        if (fabs(each - before) < 0.03 * each) return;
        before = each;
        i++;
    }
}

// Samples of all contestants and of the machine's limits take turns, so that what disturbs one disturbs all.
static void race(const heed_problem *p, contestant *all, int n, const bench_wanted *wanted, bench_report *report) {
    const int64_t D = p->channels, Dv = p->value_channels;
    bench_limits *limits = &report->limits;
    enum { QUERIES = 96, KEYS = 256 };    // tiles of a size that stays in L1 and L2 for every table
    for (int i = 0; i < n; i++) warm_up(&all[i], wanted, report->threads);
    for (int r = 0; r < wanted->repeats; r++) {
        for (int i = 0; i < n; i++) {
            const double nop = sample(call_nothing, &all[i], all[i].calls, report->threads);
            const double seconds = (sample(call_run, &all[i], all[i].calls, report->threads) - nop) / (double)all[i].calls;
            if (all[i].best == 0 || seconds < all[i].best) all[i].best = seconds;
        }
        limits->score_product = fmax(limits->score_product, machine_product_rate(report->kernels, QUERIES, D, KEYS, 1));
        limits->value_product = fmax(limits->value_product, machine_product_rate(report->kernels, QUERIES, KEYS, Dv, 1));
        limits->exp = fmax(limits->exp, machine_exp_rate(report->kernels, 1));
        limits->read = fmax(limits->read, machine_read_rate((size_t)64 << 20, 1));
    }
}

// ---- Work -------------------------------------------------------------------------------------------------------------

// Visible scores with the arrays as they were drawn: padding, documents, mask tensors, counts.
static double count_visible(const drawn *d) {
    const heed_problem *p = &d->problem;
    const unsigned hiding = HEED_MASK | HEED_BIAS | HEED_KEY_RANGE | HEED_KEY_COUNT | HEED_DOCUMENTS | HEED_OFFSETS;
    if ((p->with & hiding) == 0) return problem_visible(p);
    const bool by_head = (p->with & HEED_MASK) != 0;
    int64_t visible = 0;
    for (int64_t b = 0; b < p->batch; b++) {
        const edit_sequence s = edit_begin(p, &d->args, b);
        for (int64_t h = 0; h < (by_head ? p->heads : 1); h++)
            for (int64_t i = 0; i < p->queries; i++)
                for (int64_t j = 0; j < s.n_key; j++) visible += edit_visible(&s, h, i, j);
    }
    return (double)visible * (by_head ? 1 : (double)p->heads);
}

// forward: q k^T, w v; backward: those of the scores (q k^T, dout v^T) and of the values (dq, dk, dv).
static void set_limits(const heed_problem *p, bench_report *r) {
    const double scores = r->visible, D = (double)p->channels, Dv = (double)p->value_channels;
    const double score_flop = 2 * scores * (p->pass == HEED_FORWARD ? D : D + Dv);
    const double value_flop = 2 * scores * (p->pass == HEED_FORWARD ? Dv : 2 * D + Dv);
    bench_limits *l = &r->limits;
    if (l->score_product <= 0 || l->value_product <= 0 || l->exp <= 0 || l->read <= 0) return;
    l->products_s = (score_flop / l->score_product + value_flop / l->value_product) / r->threads;
    l->limit_s = fmax(l->products_s + scores / l->exp / r->threads, (double)r->array_bytes / l->read / r->threads);
}

// ---- The problem ------------------------------------------------------------------------------------------------------

static heed_status enter(const heed_problem *problem, const bench_wanted *wanted, const char *name, const heed_args *drawn_args,
                         contestant *c, heed_error *error) {
    const heed_choice choice = {.implementation = name, .cpu = wanted->cpu, .threads = wanted->threads};
    *c = (contestant){.args = *drawn_args, .row = c->row};
    const heed_status status = heed_plan_create(&c->plan, problem, &choice, error);
    if (status != HEED_OK) return status;
    c->args.workspace_bytes = heed_workspace_bytes(c->plan);
    c->args.workspace = memory_take(c->args.workspace_bytes > 0 ? c->args.workspace_bytes : 1);
    if (c->args.workspace != NULL) return HEED_OK;
    heed_plan_destroy(c->plan);
    c->plan = NULL;
    return error_set(error, HEED_NO_MEMORY, "no memory for a workspace of %zu bytes", c->args.workspace_bytes);
}

static void leave(contestant *c) {
    memory_free(c->args.workspace);
    heed_plan_destroy(c->plan);
}

// Plans for all that are wanted; *n contestants, refusals as rows without a time.
static heed_status enter_all(const problem_line *line, const drawn *d, const bench_wanted *wanted, contestant *all, int *n,
                             bench_report *report, heed_error *error) {
    const bool named = wanted->implementation != NULL && strcmp(wanted->implementation, "all") != 0;
    heed_status status = HEED_OK;
    for (const heed_impl *const *impl = heed_impls; *impl != NULL && status == HEED_OK && report->rows < BENCH_ROWS; impl++) {
        const char *name = named ? wanted->implementation : (*impl)->name;
        if (!named && ((*impl)->pass != d->problem.pass || (*impl)->only_when_named)) continue;
        bench_row *row = &report->row[report->rows++];
        *row = (bench_row){.implementation = name};
        all[*n].row = row;
        status = enter(&line->problem, wanted, name, &d->args, &all[*n], error);
        if (status == HEED_REFUSED) {
            if (named) break;    // the sentence is the answer
            row->refusal = (*impl)->refuse(&d->problem, &(heed_machine){.cpu = report->kernels, .cpu_name = report->kernels->name});
            status = HEED_OK;
        } else if (status == HEED_OK) {
            row->implementation = heed_plan_implementation(all[*n].plan);
            row->workspace_bytes = heed_workspace_bytes(all[*n].plan);
            *n += 1;
        }
        if (named) break;
    }
    return status;
}

static void fill_row(const contestant *c, const bench_report *report) {
    bench_row *row = c->row;
    row->seconds = c->best;
    if (c->best <= 0) return;
    row->gflops = report->gflop / c->best;
    row->of_products = report->limits.products_s / c->best;
    row->of_limit = report->limits.limit_s / c->best;
}

// ---- Results first ----------------------------------------------------------------------------------------------------

enum { REFERENCE_MFLOP = 400 };    // below it ref takes about a second: the contract's yardstick judges

// Outputs of the pass as flat arrays; both layouts a text can name have no gaps.
typedef struct { heed_dtype type; const void *array; int64_t n; } output;

static int outputs_of(const drawn *d, output o[4]) {
    const heed_problem *p = &d->problem;
    const heed_args *a = &d->args;
    const int first = p->pass == HEED_FORWARD ? PROBLEM_OUT : PROBLEM_DQ,
        end = p->pass == HEED_FORWARD ? PROBLEM_DOUT : PROBLEM_ARRAYS;
    const void *const arrays[] = {[PROBLEM_OUT] = a->out, [PROBLEM_DQ] = a->dq, [PROBLEM_DK] = a->dk, [PROBLEM_DV] = a->dv};
    int n = 0;
    for (int which = first; which < end; which++) {
        const problem_array x = problem_array_of(p, which);
        o[n++] = (output){x.dtype, arrays[which], p->batch * x.heads * x.tokens * x.channels};
    }
    if (p->pass == HEED_FORWARD) o[n++] = (output){HEED_F32, a->lse, p->batch * p->heads * p->queries};
    return n;
}

// How much of max |a| two right results may differ by: a thousandth, or some three units of a type with fewer digits.
static double allowed_share(heed_dtype type) { return type == HEED_BF16 ? 0.025 : type == HEED_F16 ? 0.003 : 1e-3; }

// max |a - b| over that share of max |a|: says garbage from right. `heed check` says right from nearly.
static double distance(heed_dtype type, const void *a, const void *b, int64_t n) {
    double most = 0, error = 0;
    for (int64_t i = 0; i < n; i++) {
        const double x = (double)dtype_load(type, a, i), y = (double)dtype_load(type, b, i);
        if (x == y || (isnan(x) && isnan(y))) continue;
        error = fmax(error, isfinite(x) && isfinite(y) ? fabs(x - y) : INFINITY);
    }
    for (int64_t i = 0; i < n; i++) {
        const double x = fabs((double)dtype_load(type, a, i));
        if (isfinite(x)) most = fmax(most, x);
    }
    return error == 0 ? 0 : error / (most * allowed_share(type));
}

// Every contestant against what eager leaves, on the data that is timed.
static heed_status check_by_eager(drawn *d, const bench_wanted *wanted, contestant *all, int n, heed_error *error) {
    output o[4];
    void *kept[4] = {NULL};
    const int outputs = outputs_of(d, o);
    contestant eager = {.row = NULL};
    heed_status status = enter(&d->line.problem, wanted, "cpu.eager", &d->args, &eager, error);
    if (status != HEED_OK) return status;
    status = heed_run(eager.plan, &eager.args, error);
    for (int k = 0; k < outputs && status == HEED_OK; k++) {
        const size_t bytes = (size_t)o[k].n * dtype_bytes(o[k].type);
        kept[k] = memory_take(bytes + 1);
        if (kept[k] == NULL) status = error_set(error, HEED_NO_MEMORY, "no memory to check results");
        else memcpy(kept[k], o[k].array, bytes);
    }
    bench_row *of_eager = NULL;
    const char *agrees = NULL;    // who else got eager's results
    for (int i = 0; i < n && status == HEED_OK; i++) {
        bench_row *row = all[i].row;
        if (strcmp(row->implementation, "cpu.eager") == 0) {
            of_eager = row;
            continue;
        }
        drawn_reset_outputs(d);
        status = heed_run(all[i].plan, &all[i].args, error);
        row->checked_against = "cpu.eager";
        if (!drawn_guards_whole(d)) row->error = INFINITY;
        for (int k = 0; k < outputs; k++) row->error = fmax(row->error, distance(o[k].type, kept[k], o[k].array, o[k].n));
        if (row->error <= 1) agrees = row->implementation;
    }
    if (of_eager != NULL) of_eager->checked_against = agrees;
    for (int k = 0; k < outputs; k++) memory_free(kept[k]);
    leave(&eager);
    return status;
}

static heed_status check_by_ref(check_case *c, const bench_wanted *wanted, contestant *all, int n, heed_error *error) {
    for (int i = 0; i < n; i++) {
        const heed_choice choice = {.implementation = all[i].row->implementation, .cpu = wanted->cpu, .threads = wanted->threads};
        check_report r;
        const heed_status status = check_run(c, &choice, &r, error);
        if (status != HEED_OK) return status;
        all[i].row->checked_against = "ref";
        for (int k = 0; k < r.outputs; k++)
            if (r.output[k].error > 0) all[i].row->error = fmax(all[i].row->error, r.output[k].error / r.output[k].bound);
        if (!r.guards_whole) all[i].row->error = INFINITY;
    }
    return HEED_OK;
}

// Backward reads out and lse.
static heed_status run_forward(drawn *d, const bench_wanted *wanted, heed_error *error) {
    heed_problem forward = d->line.problem;
    forward.pass = HEED_FORWARD;
    contestant c = {.row = NULL};
    heed_status status = enter(&forward, wanted, NULL, &d->args, &c, error);
    if (status != HEED_OK) return status;
    status = heed_run(c.plan, &c.args, error);
    leave(&c);
    return status;
}

// ---- All of it --------------------------------------------------------------------------------------------------------

static heed_status measure(check_case *c, bool by_ref, const bench_wanted *wanted, bench_report *report, heed_error *error) {
    contestant all[BENCH_ROWS];
    int n = 0, right = 0;
    drawn *d = &c->data;
    heed_status status = enter_all(&d->line, d, wanted, all, &n, report, error);
    if (status == HEED_OK) status = (by_ref ? check_by_ref(c, wanted, all, n, error) : check_by_eager(d, wanted, all, n, error));
    for (int i = 0; i < n; i++) {
        if (all[i].row->error <= 1) {    // who is wrong is not timed
            const contestant good = all[i];
            all[i] = all[right];
            all[right++] = good;
        }
    }
    if (status == HEED_OK) {
        race(&d->problem, all, right, wanted, report);
        set_limits(&d->problem, report);
        for (int i = 0; i < right; i++) fill_row(&all[i], report);
    }
    for (int i = 0; i < n; i++) leave(&all[i]);
    return status;
}

heed_status bench_problem(const problem_line *line, const bench_wanted *wanted, bench_report *report, heed_error *error) {
    *report = (bench_report){.kernels = cpu_kernels_best(wanted->cpu, error)};
    if (report->kernels == NULL) return error->status;
    heed_status status = size_allow(&line->problem, error);
    if (status != HEED_OK) return status;
    heed_problem p;
    if ((status = problem_complete(&line->problem, &p, error)) != HEED_OK) return status;
    report->threads = wanted->threads > 0 ? wanted->threads : threads_available();
    const double flop_each = (double)(p.channels + p.value_channels) * (p.pass == HEED_FORWARD ? 2 : 5);
    const bool by_ref = problem_visible(&p) * flop_each <= REFERENCE_MFLOP * 1e6;
    check_case c = {0};
    status = by_ref ? check_begin(&c, line, false, error) : drawn_make(&c.data, line, error);
    if (status == HEED_OK && !by_ref && p.pass == HEED_BACKWARD) status = run_forward(&c.data, wanted, error);
    if (status == HEED_OK) {
        report->visible = count_visible(&c.data);
        report->gflop = report->visible * flop_each * 1e-9;
        report->array_bytes = size_arrays(&p);
        status = measure(&c, by_ref, wanted, report, error);
    }
    check_end(&c);
    return status;
}

