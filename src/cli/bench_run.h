// SPDX-License-Identifier: Apache-2.0
// Times every implementation of one problem, interleaved, after checking what they compute.
#pragma once

#include "compare/check.h"
#include "cpu/kernels.h"

enum { BENCH_ROWS = HEED_REPORT_LINES };

typedef struct {
    const char *implementation;     // NULL, "all": every one that accepts, but those that run only when named
    const char *cpu;                // NULL: the best
    int threads;                    // 0: all
    int repeats;
    double sample_seconds;          // a sample repeats the call until it lasts so long
} bench_wanted;

// What the machine does at best at this shape, measured between the samples of the implementations.
typedef struct {
    double score_product, value_product;    // flop/s of one thread: q . k^T and w . v of cached tiles
    double exp, read;                       // values/s and bytes/s of one thread
    double products_s, limit_s;             // the problem's products alone; products and exp, or its bytes, without overlap
} bench_limits;

typedef struct {
    const char *implementation, *refusal;    // refusal not NULL: nothing was timed
    double seconds, gflops;                  // best of the samples
    double of_products, of_limit;            // shares, 0 to 1
    size_t workspace_bytes;
    const char *checked_against;             // "ref", "cpu.eager"; NULL: nothing else could compute it
    double error;                            // the largest difference over its bound; above 1: wrong, and not timed
} bench_row;

typedef struct {
    const cpu_kernels *kernels;
    int threads;
    double visible, gflop;
    size_t array_bytes;
    bench_limits limits;
    bench_row row[BENCH_ROWS];
    int rows;
} bench_report;

// HEED_REFUSED when the problem is too large for this machine, or the implementation named refuses it.
heed_status bench_problem(const problem_line *, const bench_wanted *, bench_report *, heed_error *);
