// SPDX-License-Identifier: Apache-2.0
// Every layer forward and backward against nn/reference in double, on odd sizes and every instruction set this CPU has; the
// bound of a sum of n products is (n + 8) 2^-24 of the sum of their magnitudes, which the same reference gives on |x|, |w|.
#include "../test.h"

#include "base/dtype.h"
#include "base/memory.h"
#include "base/random.h"
#include "cpu/kernels.h"
#include "nn/activation.h"
#include "nn/embedding.h"
#include "nn/linear.h"
#include "nn/loss.h"
#include "nn/norm.h"
#include "nn/reference.h"

#include <math.h>
#include <string.h>

static const double ULP = 0x1p-24;
static random_stream draws;

static float *some(int64_t n) {
    float *x = memory_take((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++) x[i] = (float)random_normal(&draws);
    return x;
}

static double *zeros(int64_t n) { return memory_take_zeroed((size_t)n * sizeof(double)); }

static double *doubled(const float *x, int64_t n, bool magnitude) {
    double *y = zeros(n);
    for (int64_t i = 0; i < n; i++) y[i] = magnitude ? fabs((double)x[i]) : (double)x[i];
    return y;
}

// |got - want| <= terms ULP (size + floor); size NULL: |want|.
static void compare(const char *what, const float *got, const double *want, const double *size, int64_t n, double terms,
                    double floor) {
    double worst = 0;
    int64_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        const double bound = terms * ULP * ((size == NULL ? fabs(want[i]) : size[i]) + floor);
        const double excess = fabs((double)got[i] - want[i]) / bound;
        if (!(excess <= worst)) worst = excess, at = i;
    }
    CHECK(worst <= 1, "%s: element %lld is %.9g, reference %.9g, %.2f times the bound", what, (long long)at, (double)got[at],
          want[at], worst);
}

static void test_linear(const engine *e, linear_shape s, int64_t rows) {
    const int64_t nx = rows * s.in, ny = rows * s.out, nw = s.in * s.out;
    float *x = some(nx), *w = some(nw), *bias = some(s.out), *dy = some(ny), *y = some(ny), *dx = some(nx), *dw = some(nw),
        *db = some(s.out);
    double *X = doubled(x, nx, false), *W = doubled(w, nw, false), *B = doubled(bias, s.out, false), *DY = doubled(dy, ny, false);
    double *aX = doubled(x, nx, true), *aW = doubled(w, nw, true), *aB = doubled(bias, s.out, true), *aDY = doubled(dy, ny, true);
    double *Y = zeros(ny), *aY = zeros(ny), *DX = zeros(nx), *aDX = zeros(nx), *DW = zeros(nw), *aDW = zeros(nw),
        *DB = zeros(s.out), *aDB = zeros(s.out);
    reference_linear(s, rows, X, W, B, Y);
    reference_linear(s, rows, aX, aW, aB, aY);
    reference_linear_grad(s, rows, X, W, DY, DX, DW, DB);
    reference_linear_grad(s, rows, aX, aW, aDY, aDX, aDW, aDB);
    linear_forward(e, s, rows, x, w, bias, y);
    compare("linear y", y, Y, aY, ny, (double)s.in + 8, 0);
    linear_dx(e, s, rows, dy, w, dx);
    compare("linear dx", dx, DX, aDX, nx, (double)s.out + 8, 0);
    linear_dw(e, s, rows, x, dy, dw, db, false);
    compare("linear dw", dw, DW, aDW, nw, (double)rows + 8, 0);
    compare("linear dbias", db, DB, aDB, s.out, (double)rows + 8, 0);
    linear_dw(e, s, rows, x, dy, dw, db, true);
    for (int64_t i = 0; i < nw; i++) DW[i] *= 2, aDW[i] *= 2;
    for (int64_t i = 0; i < s.out; i++) DB[i] *= 2, aDB[i] *= 2;
    compare("linear dw added", dw, DW, aDW, nw, (double)rows + 8, 0);
    compare("linear dbias added", db, DB, aDB, s.out, (double)rows + 8, 0);
    x[nx - 1] = NAN;
    linear_forward(e, s, rows, x, w, bias, y);
    CHECK(isnan(y[ny - 1]) && (rows == 1 || isfinite(y[0])), "linear: a NaN in the last row must reach that row and no other");
    w[0] = INFINITY;
    linear_forward(e, s, rows, x, w, bias, y);
    CHECK(!isfinite(y[0]), "linear: an infinity in W must reach the result, got %g", (double)y[0]);
    void *all[] = {x, w, bias, dy, y, dx, dw, db, X, W, B, DY, aX, aW, aB, aDY, Y, aY, DX, aDX, DW, aDW, DB, aDB};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) memory_free(all[i]);
}

// Up to LINEAR_FEW_ROWS rows: a row has the bits it has alone, by any number of threads.
static void test_few_rows(const engine *e, const char *cpu, linear_shape s) {
    const int64_t most = LINEAR_FEW_ROWS, nx = most * s.in, nw = s.in * s.out;
    float *x = some(nx), *w = some(nw), *bias = some(s.out);
    if (s.type == HEED_BF16) {
        float *x32 = x, *w32 = w;
        x = memory_take((size_t)nx * 2), w = memory_take((size_t)nw * 2);
        round_to_bf16(e, nx, x32, (uint16_t *)x);
        round_to_bf16(e, nw, w32, (uint16_t *)w);
        memory_free(x32);
        memory_free(w32);
    }
    const size_t out = (size_t)s.out * (s.y_type == HEED_BF16 ? 2 : 4), in = (size_t)s.in * (s.type == HEED_BF16 ? 2 : 4);
    char *alone = memory_take_zeroed((size_t)most * out), *y = memory_take_zeroed((size_t)most * out);
    engine one;
    heed_error error;
    CHECK(engine_create(&one, 1, cpu, &error) == HEED_OK, "%s", error.text);
    for (int64_t r = 0; r < most; r++) linear_forward(&one, s, 1, (char *)x + (size_t)r * in, w, bias, alone + (size_t)r * out);
    for (int64_t rows = 2; rows <= most; rows++) {
        linear_forward(e, s, rows, x, w, bias, y);
        CHECK(memcmp(y, alone, (size_t)rows * out) == 0,
              "%s linear %lld x %lld: some of %lld rows have other bits than alone on one thread", cpu, (long long)s.in,
              (long long)s.out, (long long)rows);
    }
    engine_destroy(&one);
    void *all[] = {x, w, bias, alone, y};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) memory_free(all[i]);
}

static void test_norm(const engine *e, int64_t rows, int64_t n) {
    const int64_t nx = rows * n;
    float *x = some(nx), *added = some(nx), *w = some(n), *b = some(n), *dy = some(nx), *y = some(nx), *sum = some(nx),
        *dx = some(nx);
    float *dw = some(n), *db = some(n), *mean = some(rows), *rstd = some(rows);
    void *scratch = memory_take(layer_norm_scratch_bytes(rows, n));
    const layer_norm norm = {n, 1e-5, w, b, HEED_F32};
    double *W = doubled(w, n, false), *B = doubled(b, n, false), *DY = doubled(dy, nx, false), *before = doubled(dx, nx, false);
    double *Y = zeros(nx), *DX = zeros(nx), *DW = zeros(n), *DB = zeros(n);
    for (int pass = 0; pass < 2; pass++) {    // without and with a residual
        layer_norm_forward(e, &norm, rows, x, pass == 0 ? NULL : added, pass == 0 ? NULL : sum, y, mean, rstd);
        const float *in = pass == 0 ? x : sum;
        if (pass == 1)
            for (int64_t i = 0; i < nx; i++) CHECK(sum[i] == x[i] + added[i], "norm: sum[%lld] is not x + added", (long long)i);
        double *X = doubled(in, nx, false);
        reference_norm(rows, n, 1e-5, X, W, B, Y);
        compare("norm y", y, Y, NULL, nx, 64, 2);    // values of order 1 to 4: 64 units of the last place of 2
        if (pass == 1) {
            reference_norm_grad(rows, n, 1e-5, X, W, DY, DX, DW, DB);
            for (int64_t i = 0; i < nx; i++) DX[i] += before[i];
            layer_norm_backward(e, &norm, rows, in, mean, rstd, dy, dx, dw, db, false, scratch);
            compare("norm dx", dx, DX, NULL, nx, 64, 4);
            compare("norm dweight", dw, DW, NULL, n, (double)rows + 32, sqrt((double)rows) + 4);
            compare("norm dbias", db, DB, NULL, n, (double)rows + 32, sqrt((double)rows));
            layer_norm_backward(e, &norm, rows, in, mean, rstd, dy, dx, dw, db, true, scratch);
            for (int64_t i = 0; i < n; i++) DW[i] *= 2;
            compare("norm dweight added", dw, DW, NULL, n, (double)rows + 32, 2 * sqrt((double)rows) + 4);
        }
        memory_free(X);
    }
    void *all[] = {x, added, w, b, dy, y, sum, dx, dw, db, mean, rstd, scratch, W, B, DY, before, Y, DX, DW, DB};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) memory_free(all[i]);
}

static void test_gelu(const engine *e, int64_t n) {
    float *x = some(n), *dy = some(n), *y = some(n), *dx = some(n), *again = some(n);
    for (int64_t i = 0; i < n; i++) x[i] *= 3;
    double *Y = zeros(n), *DX = zeros(n);
    for (int64_t i = 0; i < n; i++) {
        Y[i] = reference_gelu((double)x[i]);
        DX[i] = (double)dy[i] * reference_gelu_slope((double)x[i]);
    }
    gelu_forward(e, HEED_F32, n, x, y);
    compare("gelu", y, Y, NULL, n, 16, 1);
    gelu_backward(e, HEED_F32, n, x, dy, dx, again);
    compare("gelu gradient", dx, DX, NULL, n, 32, 4);
    CHECK(memcmp(y, again, (size_t)n * sizeof *y) == 0, "gelu again differs from gelu");
    const float ends[] = {0.0f, -0.0f, 100.0f, -100.0f, 1e30f, -1e30f, NAN}, slopes[] = {0.5f, 0.5f, 1, 0, 1, 0, NAN};
    for (int i = 0; i < 7; i++) {
        float value, slope, one = 1;
        gelu_forward(e, HEED_F32, 1, &ends[i], &value);
        gelu_backward(e, HEED_F32, 1, &ends[i], &one, &slope, NULL);
        const float want = isnan(ends[i]) ? NAN : ends[i] > 0 ? ends[i] : 0;
        CHECK(isnan(want) ? isnan(value) && isnan(slope) : fabsf(value - want) < 1e-30f && fabsf(slope - slopes[i]) < 1e-30f,
              "gelu(%g) is %g, slope %g",
              (double)ends[i],
              (double)value, (double)slope);
    }
    void *all[] = {x, dy, y, dx, again, Y, DX};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) memory_free(all[i]);
}

static void test_embedding(const engine *e, int64_t rows, int64_t width) {
    enum { VOCABULARY = 11, POSITIONS = 7 };
    const int64_t nt = VOCABULARY * width, np = POSITIONS * width, ny = rows * width;
    float *tokens = some(nt), *positions = some(np), *y = some(ny), *dy = some(ny), *dt = some(nt), *dp = some(np);
    int32_t *id = memory_take((size_t)rows * sizeof *id), *position = memory_take((size_t)rows * sizeof *position);
    for (int64_t t = 0; t < rows; t++) {
        id[t] = (int32_t)random_below(&draws, VOCABULARY);
        position[t] = (int32_t)random_below(&draws, POSITIONS);
    }
    double *T = doubled(tokens, nt, false), *P = doubled(positions, np, false), *DY = doubled(dy, ny, false), *Y = zeros(ny);
    double *DT = doubled(dt, nt, false), *DP = doubled(dp, np, false);
    reference_embedding(rows, width, id, position, T, P, Y);
    embedding_forward(e, rows, width, id, position, tokens, positions, y);
    compare("embedding", y, Y, NULL, ny, 1, 0.1);
    reference_embedding_grad(rows, width, id, position, DY, DT, DP);
    embedding_backward(e, rows, width, id, position, dy, dt, dp);
    compare("embedding tokens", dt, DT, NULL, nt, (double)rows, 4);
    compare("embedding positions", dp, DP, NULL, np, (double)rows, 4);
    void *all[] = {tokens, positions, y, dy, dt, dp, id, position, T, P, DY, Y, DT, DP};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) memory_free(all[i]);
}

static void test_loss(const engine *e, int64_t rows, int64_t C, int64_t V, int64_t unscored) {
    const linear_shape head = {C, V, .order = LINEAR_OUT_IN};
    float *x = some(rows * C), *w = some(V * C), *dx = some(rows * C), *dw = some(V * C);
    int32_t *target = memory_take((size_t)rows * sizeof *target);
    for (int64_t r = 0; r < rows; r++) target[r] = r % 3 < unscored ? -1 : (int32_t)random_below(&draws, (uint64_t)V);
    double *X = doubled(x, rows * C, false), *W = doubled(w, V * C, false), *L = zeros(rows * V), *DL = zeros(rows * V);
    double *DX = zeros(rows * C), *DW = zeros(V * C), *DB = zeros(V), *old = doubled(dw, V * C, false), sum = 0;
    reference_linear(head, rows, X, W, NULL, L);
    const double want = reference_cross_entropy(rows, V, L, target, DL);
    for (int64_t i = 0; i < rows * V; i++) DL[i] *= 0.25;
    reference_linear_grad(head, rows, X, W, DL, DX, DW, DB);
    void *scratch = memory_take(head_loss_scratch_bytes(HEED_F32, rows, C, V));
    int64_t scored = 0, expected = 0;
    for (int64_t r = 0; r < rows; r++) expected += target[r] >= 0;
    head_loss h = {.rows = rows, .width = C, .vocabulary = V, .x = x, .w = w, .target = target};
    head_loss_run(e, &h, &sum, &scored, scratch);
    CHECK(scored == expected, "loss: %lld scored, expected %lld", (long long)scored, (long long)expected);
    CHECK(fabs(sum - want) <= 1e-5 * ((double)rows + fabs(want)), "loss: %.9g, reference %.9g", sum, want);
    h.scale = 0.25, h.dx = dx, h.dw = dw;
    double again = 0;
    head_loss_run(e, &h, &again, &scored, scratch);
    CHECK(again == sum, "loss with gradient %.17g differs from loss alone %.17g", again, sum);
    for (int64_t i = 0; i < V * C; i++) old[i] += DW[i];
    compare("loss dx", dx, DX, NULL, rows * C, (double)C + 64, 1);
    compare("loss dw added", dw, old, NULL, V * C, (double)C + 64, 4);
    h.dw_write = true;
    head_loss_run(e, &h, &again, &scored, scratch);
    compare("loss dw written", dw, DW, NULL, V * C, (double)C + 64, 4);
    void *all[] = {x, w, dx, dw, target, X, W, L, DL, DX, DW, DB, old, scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) memory_free(all[i]);
}

// ---- bf16 ---------------------------------------------------------------------------------------------------------------

// A result rounded to bf16 is off by up to 2^-8 of itself besides what the f32 sum is: so many more units of 2^-24.
enum { ROUNDED = 1 << 16 };

// bf16 of x, and x becomes what that holds.
static uint16_t *rounded(const engine *e, float *x, int64_t n) {
    uint16_t *y = memory_take((size_t)n * sizeof *y);
    round_to_bf16(e, n, x, y);
    for (int64_t i = 0; i < n; i++) {
        CHECK(y[i] == bf16_of_f32(x[i]), "bf16 of %a is %#x, not %#x", (double)x[i], y[i], bf16_of_f32(x[i]));
        x[i] = bf16_to_f32(y[i]);
    }
    return y;
}

static void widen(const uint16_t *x, float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = bf16_to_f32(x[i]);
}

static void test_linear_bf16(const engine *e, linear_shape s, int64_t rows) {
    const int64_t nx = rows * s.in, ny = rows * s.out, nw = s.in * s.out;
    float *x = some(nx), *w = some(nw), *bias = some(s.out), *dy = some(ny), *y = some(ny), *dx = some(nx), *dw = some(nw),
        *db = some(s.out);
    uint16_t *hx = rounded(e, x, nx), *hw = rounded(e, w, nw), *hdy = rounded(e, dy, ny);
    uint16_t *hy = memory_take((size_t)ny * sizeof *hy), *hdx = memory_take((size_t)nx * sizeof *hdx);
    double *X = doubled(x, nx, false), *W = doubled(w, nw, false), *B = doubled(bias, s.out, false), *DY = doubled(dy, ny, false);
    double *aX = doubled(x, nx, true), *aW = doubled(w, nw, true), *aB = doubled(bias, s.out, true), *aDY = doubled(dy, ny, true);
    double *Y = zeros(ny), *aY = zeros(ny), *DX = zeros(nx), *aDX = zeros(nx), *DW = doubled(dw, nw, false), *aDW = zeros(nw),
        *DB = zeros(s.out), *aDB = zeros(s.out), *old = doubled(dw, nw, false);
    reference_linear(s, rows, X, W, B, Y);
    reference_linear(s, rows, aX, aW, aB, aY);
    reference_linear_grad(s, rows, X, W, DY, DX, DW, DB);
    reference_linear_grad(s, rows, aX, aW, aDY, aDX, aDW, aDB);
    for (int64_t i = 0; i < nw; i++) DW[i] += old[i], aDW[i] += fabs(old[i]);
    s.type = HEED_BF16;
    linear_forward(e, s, rows, hx, hw, bias, y);
    compare("bf16 linear y", y, Y, aY, ny, (double)s.in + 8, 0);
    linear_dx(e, s, rows, hdy, hw, dx);
    compare("bf16 linear dx", dx, DX, aDX, nx, (double)s.out + 8, 0);
    linear_dw(e, s, rows, hx, hdy, dw, db, true);
    compare("bf16 linear dw added", dw, DW, aDW, nw, (double)rows + 8, 0);
    for (int64_t i = 0; i < nw; i++) DW[i] -= old[i], aDW[i] -= fabs(old[i]);
    linear_dw(e, s, rows, hx, hdy, dw, db, false);
    compare("bf16 linear dw", dw, DW, aDW, nw, (double)rows + 8, 0);
    compare("bf16 linear dbias", db, DB, aDB, s.out, (double)rows + 8, 0);
    s.y_type = s.dx_type = HEED_BF16;
    linear_forward(e, s, rows, hx, hw, bias, hy);
    widen(hy, y, ny);
    compare("bf16 linear y in bf16", y, Y, aY, ny, (double)s.in + 8 + ROUNDED, 0);
    linear_dx(e, s, rows, hdy, hw, hdx);
    widen(hdx, dx, nx);
    compare("bf16 linear dx in bf16", dx, DX, aDX, nx, (double)s.out + 8 + ROUNDED, 0);
    hx[nx - 1] = bf16_of_f32(NAN);
    hw[0] = bf16_of_f32(INFINITY);
    linear_forward(e, s, rows, hx, hw, NULL, hy);
    CHECK(isnan(bf16_to_f32(hy[ny - 1])) && !isfinite(bf16_to_f32(hy[0])), "bf16 linear: NaN and infinity must be handed on");
    void *all[] = {x, w, bias, dy, y, dx, dw, db, hx, hw, hdy, hy, hdx, X, W, B, DY, aX, aW, aB, aDY, Y, aY, DX, aDX, DW, aDW, DB,
                   aDB, old};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) memory_free(all[i]);
}

// Norm and gelu compute in f32 whatever they read and write: from the same values, the same results, rounded.
static void test_pointwise_bf16(const engine *e, int64_t rows, int64_t n) {
    const int64_t count = rows * n;
    float *x = some(count), *dy = some(count), *w = some(n), *b = some(n), *y = some(count), *again = some(count);
    float *mean = some(rows), *rstd = some(rows);
    uint16_t *hx = rounded(e, x, count), *hdy = rounded(e, dy, count), *hy = memory_take((size_t)count * sizeof *hy);
    uint16_t *hagain = memory_take((size_t)count * sizeof *hagain);
    const layer_norm plain = {n, 1e-5, w, b, HEED_F32}, half = {n, 1e-5, w, b, HEED_BF16};
    layer_norm_forward(e, &plain, rows, x, NULL, NULL, y, mean, rstd);
    layer_norm_forward(e, &half, rows, x, NULL, NULL, hy, mean, rstd);
    for (int64_t i = 0; i < count; i++) CHECK(hy[i] == bf16_of_f32(y[i]), "bf16 norm: element %lld is not f32's", (long long)i);
    gelu_forward(e, HEED_F32, count, x, y);
    gelu_forward(e, HEED_BF16, count, hx, hy);
    for (int64_t i = 0; i < count; i++) CHECK(hy[i] == bf16_of_f32(y[i]), "bf16 gelu: element %lld is not f32's", (long long)i);
    gelu_backward(e, HEED_F32, count, x, dy, y, again);
    gelu_backward(e, HEED_BF16, count, hx, hdy, hdy, hagain);
    for (int64_t i = 0; i < count; i++)
        CHECK(hdy[i] == bf16_of_f32(y[i]) && hagain[i] == bf16_of_f32(again[i]), "bf16 gelu gradient: element %lld is not f32's",
              (long long)i);
    void *all[] = {x, dy, w, b, y, again, mean, rstd, hx, hdy, hy, hagain};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) memory_free(all[i]);
}

static void test_loss_bf16(const engine *e, int64_t rows, int64_t C, int64_t V) {
    const linear_shape head = {C, V, .order = LINEAR_OUT_IN};
    float *x = some(rows * C), *w = some(V * C), *dx = some(rows * C), *dw = some(V * C);
    for (int64_t i = 0; i < C; i++) x[i] *= 20;    // a row that is sure of its token: its slope is not what rounding 1 leaves
    uint16_t *hx = rounded(e, x, rows * C), *hw = rounded(e, w, V * C);
    double *X = doubled(x, rows * C, false), *W = doubled(w, V * C, false), *L = zeros(rows * V), *DL = zeros(rows * V);
    double *aX = doubled(x, rows * C, true), *aW = doubled(w, V * C, true), *aDL = zeros(rows * V), *DX = zeros(rows * C),
        *DW = zeros(V * C), *DB = zeros(V), *aDX = zeros(rows * C), *aDW = zeros(V * C);
    reference_linear(head, rows, X, W, NULL, L);
    int32_t *target = memory_take((size_t)rows * sizeof *target);
    for (int64_t r = 0; r < rows; r++) target[r] = (int32_t)random_below(&draws, (uint64_t)V);
    for (int64_t j = 0; j < V; j++) target[0] = L[j] > L[target[0]] ? (int32_t)j : target[0];
    const double want = reference_cross_entropy(rows, V, L, target, DL);
    for (int64_t i = 0; i < rows * V; i++) aDL[i] = fabs(DL[i]);
    reference_linear_grad(head, rows, X, W, DL, DX, DW, DB);
    reference_linear_grad(head, rows, aX, aW, aDL, aDX, aDW, DB);
    void *scratch = memory_take(head_loss_scratch_bytes(HEED_BF16, rows, C, V));
    double sum = 0;
    int64_t scored = 0;
    const head_loss h = {.rows = rows, .width = C, .vocabulary = V, .type = HEED_BF16, .x = hx, .w = hw, .target = target,
                         .scale = 1, .dx = dx, .dw = dw, .dw_write = true};
    head_loss_run(e, &h, &sum, &scored, scratch);
    CHECK(scored == rows && fabs(sum - want) <= 1e-5 * ((double)rows + want), "bf16 loss: %.9g, reference %.9g", sum, want);
    compare("bf16 loss dx", dx, DX, aDX, rows * C, (double)V + 256 + ROUNDED, 1e-3);
    compare("bf16 loss dw", dw, DW, aDW, V * C, (double)rows + 256 + ROUNDED, 1e-3);
    void *all[] = {x, w, dx, dw, hx, hw, X, W, L, DL, aX, aW, aDL, DX, DW, DB, aDX, aDW, target, scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) memory_free(all[i]);
}

static void test_all_bf16(const engine *e) {
    static const int64_t shapes[][3] = {{1, 1, 1}, {3, 5, 7}, {33, 65, 130}, {130, 300, 96}, {70, 257, 17},
                                        {1, 300, 90}, {2, 64, 770}, {16, 77, 270}, {17, 40, 30}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        test_linear_bf16(e, (linear_shape){shapes[i][1], shapes[i][2], .order = LINEAR_IN_OUT}, shapes[i][0]);
        test_linear_bf16(e, (linear_shape){shapes[i][1], shapes[i][2], .order = LINEAR_OUT_IN}, shapes[i][0]);
        test_pointwise_bf16(e, shapes[i][0], shapes[i][1]);
    }
    test_loss_bf16(e, 1, 5, 2);
    test_loss_bf16(e, 300, 33, 101);
}

static void test_all(const engine *e) {
    static const int64_t shapes[][3] = {{1, 1, 1}, {3, 5, 7}, {33, 65, 130}, {130, 96, 300}, {70, 257, 17},
                                        {1, 300, 90}, {2, 64, 770}, {16, 77, 270}, {17, 40, 30}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        test_linear(e, (linear_shape){shapes[i][1], shapes[i][2], .order = LINEAR_IN_OUT}, shapes[i][0]);
        test_linear(e, (linear_shape){shapes[i][1], shapes[i][2], .order = LINEAR_OUT_IN}, shapes[i][0]);
    }
    const linear_shape few[] = {{300, 90, .order = LINEAR_IN_OUT}, {90, 300, .order = LINEAR_OUT_IN},
                                {40, 34000, .order = LINEAR_IN_OUT}, {9, 7, .order = LINEAR_IN_OUT}};
    for (size_t i = 0; i < sizeof few / sizeof *few; i++) {
        linear_shape bf16 = few[i];
        bf16.type = HEED_BF16;
        if (i % 2 == 0) bf16.y_type = HEED_BF16;
        test_few_rows(e, e->cpu->name, few[i]);
        test_few_rows(e, e->cpu->name, bf16);
    }
    static const int64_t norms[][2] = {{1, 2}, {3, 17}, {70, 64}, {33, 130}};
    for (size_t i = 0; i < sizeof norms / sizeof *norms; i++) test_norm(e, norms[i][0], norms[i][1]);
    static const int64_t lengths[] = {1, 15, 16, 33, 70000};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) test_gelu(e, lengths[i]);
    test_embedding(e, 1, 1);
    test_embedding(e, 100, 70);
    test_loss(e, 1, 5, 2, 0);
    test_loss(e, 40, 33, 101, 1);
    test_loss(e, 600, 16, 67, 2);    // more than one chunk
    test_loss(e, 9, 8, 5, 3);        // nothing scored
}

int main(void) {
    draws = random_of(11, 0);
    const cpu_kernels *table;
    for (int i = 0; cpu_kernels_row(i, &table) != NULL; i++) {
        if (table == NULL) {
            SKIP("%s: not on this machine", cpu_kernels_row(i, &table));
            continue;
        }
        engine e;
        heed_error error;
        CHECK(engine_create(&e, 0, table->name, &error) == HEED_OK, "%s: %s", table->name, error.text);
        test_all(&e);
        test_all_bf16(&e);
        engine_destroy(&e);
    }
    return test_end();
}
