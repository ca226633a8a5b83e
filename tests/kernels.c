// SPDX-License-Identifier: Apache-2.0
// Every slot of every kernel table this CPU can run against the plain loop that defines it: odd sizes, guards around every
// output, whole numbers compared exactly, real numbers by a bound that follows from the length of the sums. The pointwise
// slots of layers are tests/app/nn_*.c's.
#include "base/dtype.h"
#include "base/memory.h"
#include "base/random.h"
#include "cpu/kernels.h"
#include "test.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { GUARD = 32 };
static const float guard = -7777.25f;
static const double unit = 0x1p-24;    // half an ulp of 1: what one rounding may cost

static const char *isa;
static const cpu_kernels *cpu;
static random_stream stream;

// n floats between two guards, which hold what no kernel writes.
typedef struct { float *all, *at; int64_t n; } guarded;

static guarded guarded_make(int64_t n) {
    guarded g = {malloc((size_t)(n + 2 * GUARD) * sizeof(float)), NULL, n};
    for (int64_t i = 0; i < n + 2 * GUARD; i++) g.all[i] = guard;
    g.at = g.all + GUARD;
    return g;
}
static void guarded_free(guarded *g, const char *what) {
    bool whole = true;
    for (int64_t i = 0; i < GUARD; i++) whole &= g->all[i] == guard && g->at[g->n + i] == guard;
    CHECK(whole, "%s %s wrote outside of its output", isa, what);
    free(g->all);
}

static float whole_number(void) { return (float)random_below(&stream, 17) - 8; }
static float real_number(void) { return (float)random_normal(&stream); }
static int64_t below(int64_t n) { return (int64_t)random_below(&stream, (uint64_t)n); }

static void fill(float *x, int64_t n, bool whole) {
    for (int64_t i = 0; i < n; i++) x[i] = whole ? whole_number() : real_number();
}

// ---- Products -----------------------------------------------------------------------------------------------------

typedef struct { int64_t m, n, k, lda, ldb, ldc; bool whole, add, transposed, turned; } product_case;

static product_case draw_product(int round) {
    static const int64_t sizes[] = {1, 2, 3, 5, 6, 7, 11, 12, 13, 15, 16, 17, 31, 33, 48, 63, 64, 65, 96, 127, 130, 200};
    enum { SIZES = sizeof sizes / sizeof sizes[0] };
    product_case c = {.m = sizes[below(SIZES)], .n = sizes[below(SIZES)], .k = sizes[below(SIZES)], .whole = round % 2 == 0};
    c.transposed = below(2), c.turned = below(2), c.add = below(2);
    c.lda = (c.transposed ? c.m : c.k) + below(3), c.ldb = (c.turned ? c.k : c.n) + below(3), c.ldc = c.n + below(20);
    return c;
}

static void check_product(const product_case *c, const float *a, const float *b, const float *before, const float *after) {
    for (int64_t i = 0; i < c->m; i++) {
        for (int64_t j = 0; j < c->ldc; j++) {
            double sum = before[i * c->ldc + j], size = fabs(sum);
            for (int64_t t = 0; t < c->k && j < c->n; t++) {
                const double x = c->transposed ? a[t * c->lda + i] : a[i * c->lda + t];
                const double y = c->turned ? b[j * c->ldb + t] : b[t * c->ldb + j];
                sum += x * y, size += fabs(x * y);
            }
            const float got = after[i * c->ldc + j];
            const double bound = c->whole || j >= c->n ? 0 : (double)(2 * c->k + 1) * unit * size;
            CHECK(fabs(got - sum) <= bound, "%s mm m%d n%d k%d%s%s%s [%d][%d]: %a, right is %a", isa, (int)c->m, (int)c->n,
                  (int)c->k, c->transposed ? " a transposed" : "", c->turned ? " pack_bt" : "", c->add ? " add" : "", (int)i,
                  (int)j, got, sum);
        }
    }
}

static void test_product(const cpu_product *p, int round) {
    const product_case c = draw_product(round);
    const int64_t rows_a = c.transposed ? c.k : c.m, rows_b = c.turned ? c.n : c.k, b_rows = c.turned ? c.k : c.k + below(9);
    guarded a = guarded_make(rows_a * c.lda), b = guarded_make(rows_b * c.ldb), after = guarded_make(c.m * c.ldc);
    const size_t packed_bytes = p->b_bytes(b_rows, c.n);
    float *before = malloc((size_t)after.n * sizeof(float)), *packed = memory_take(packed_bytes + 64);
    memset((char *)packed + packed_bytes, 0x5a, 64);
    fill(a.at, a.n, c.whole);
    fill(b.at, b.n, c.whole);
    fill(after.at, after.n, c.whole);
    for (int64_t i = 0; i < after.n; i++) before[i] = c.add || i % c.ldc >= c.n ? after.at[i] : 0;
    if (c.turned) p->pack_bt(packed, c.k, c.n, HEED_F32, b.at, c.ldb);
    else CHECK(p->pack_b(packed, b_rows, c.k, c.n, HEED_F32, b.at, c.ldb), "%s pack_b: finite rows called bad", isa);
    for (size_t i = 0; i < 64; i++) CHECK(((char *)packed)[packed_bytes + i] == 0x5a, "%s pack wrote past b_bytes", isa);
    (c.transposed ? p->mm_t : p->mm)(c.m, c.n, c.k, a.at, c.lda, packed, b_rows, after.at, c.ldc, c.add);
    check_product(&c, a.at, b.at, before, after.at);
    memory_free(packed);
    free(before);
    guarded_free(&a, "mm's a");
    guarded_free(&b, "mm's b");
    guarded_free(&after, "mm");
}

// A row's bits do not depend on the rows computed beside it, nor on the columns.
static void test_product_alone(const cpu_product *p) {
    enum { M = 29, N = 75, K = 67 };
    static float a[M * K], b[K * N], all[M * N], one[N];
    fill(a, M * K, false);
    fill(b, K * N, false);
    void *packed = memory_take(p->b_bytes(K, N));
    p->pack_b(packed, K, K, N, HEED_F32, b, N);
    p->mm(M, N, K, a, K, packed, K, all, N, false);
    for (int64_t i = 0; i < M; i++) {
        const int64_t n = 1 + below(N);
        p->mm(1, n, K, a + i * K, K, packed, K, one, N, false);
        CHECK(memcmp(one, all + i * N, (size_t)n * sizeof(float)) == 0, "%s mm: row %d alone has other bits", isa, (int)i);
    }
    memory_free(packed);
}

// NaN and Inf: pack_b says so and leaves the row out; in pack_bt a column spoils itself only.
static void test_bad_rows(const cpu_product *p) {
    enum { N = 37, K = 21 };
    float src[K * N], a[K], c[N], ones[N];
    for (int i = 0; i < N; i++) ones[i] = 1;
    for (int64_t i = 0; i < K * N; i++) src[i] = whole_number();
    for (int i = 0; i < K; i++) a[i] = 1;
    void *packed = memory_take(p->b_bytes(K, N) + p->b_bytes(N, K));
    for (int round = 0; round < 40; round++) {
        const int64_t row = below(K), column = below(N);
        const float was = src[row * N + column], bad = (float[]){NAN, INFINITY, -INFINITY}[round % 3];
        src[row * N + column] = bad;
        CHECK(!p->pack_b(packed, K, K, N, HEED_F32, src, N), "%s pack_b: %f in row %d was not seen", isa, (double)bad, (int)row);
        p->mm(1, N, K, a, K, packed, K, c, N, false);
        for (int64_t j = 0; j < N; j++) {
            float sum = 0;
            for (int64_t t = 0; t < K; t++) sum += t == row ? 0 : src[t * N + j];
            CHECK(c[j] == sum, "%s pack_b: row %d was not left out", isa, (int)row);
        }
        float turned[K];
        p->pack_bt(packed, N, K, HEED_F32, src, N);
        p->mm(1, K, N, ones, N, packed, N, turned, K, false);
        for (int64_t j = 0; j < K; j++) CHECK((isfinite(turned[j]) != 0) == (j != row), "%s pack_bt: column %d", isa, (int)j);
        src[row * N + column] = was;
    }
    memory_free(packed);
}

// ---- Softmax ------------------------------------------------------------------------------------------------------

typedef struct { int64_t m, n, ld, n_o; bool intervals; int32_t first[16], end[16]; } softmax_case;

static softmax_case draw_softmax(void) {
    softmax_case c = {.m = 1 + below(9), .n = 1 + below(150), .n_o = 1 + below(70), .intervals = below(2)};
    c.ld = c.n + below(5);
    for (int64_t r = 0; r < c.m; r++) {
        c.first[r] = (int32_t)below(c.n + 1);
        c.end[r] = (int32_t)(c.first[r] + below(c.n - c.first[r] + 1));
        if (!c.intervals) c.first[r] = 0, c.end[r] = (int32_t)c.n;
    }
    return c;
}

// Scores with hidden ones: -inf inside the intervals, anything outside.
static void draw_scores(const softmax_case *c, float *s, float scale) {
    for (int64_t i = 0; i < c->m * c->ld; i++) {
        const int64_t r = i / c->ld, j = i % c->ld;
        s[i] = scale * real_number();
        if (below(9) == 0) s[i] = -INFINITY;
        if (c->intervals && (j < c->first[r] || j >= c->end[r]) && below(2)) s[i] = NAN;
    }
}

// Two tiles in a row: what counts is max + ln(sum) and o / sum, and s / o in the same units.
static void test_softmax(const cpu_product *p) {
    const softmax_case c = draw_softmax();
    guarded s = guarded_make(c.m * c.ld), o = guarded_make(c.m * c.n_o), max = guarded_make(c.m), sum = guarded_make(c.m);
    double z[16] = {0};
    for (int64_t i = 0; i < c.m * c.n_o; i++) o.at[i] = 0;
    for (int64_t r = 0; r < c.m; r++) max.at[r] = -INFINITY, sum.at[r] = 0;
    for (int tile = 0; tile < 3; tile++) {
        draw_scores(&c, s.at, tile == 0 ? 3.0f : 12.0f);
        float *before = malloc((size_t)s.n * sizeof(float));
        memcpy(before, s.at, (size_t)s.n * sizeof(float));
        const int32_t *first = c.intervals ? c.first : NULL, *end = c.intervals ? c.end : NULL;
        p->softmax(c.m, c.n, s.at, c.ld, first, end, max.at, sum.at, o.at, c.n_o, c.n_o);
        for (int64_t r = 0; r < c.m; r++) {
            for (int64_t j = 0; j < c.n; j++) {
                const float x = before[r * c.ld + j], got = s.at[r * c.ld + j];
                const bool seen = j >= c.first[r] && j < c.end[r] && x != -INFINITY;
                const double right = seen ? exp((double)x - (double)max.at[r]) : 0;
                if (seen) z[r] += exp((double)x);
                const double bound = seen ? (8 + 2 * fabs((double)x - (double)max.at[r])) * unit * right + 1e-45 : 0;
                CHECK(fabs(got - right) <= bound,
                      "%s softmax: s[%d][%d] = %a, right is %a", isa, (int)r, (int)j, got, right);
                o.at[r * c.n_o] += got;    // a column of ones: o must shrink as sum does
            }
            const double lse = sum.at[r] > 0 ? (double)max.at[r] + log((double)sum.at[r]) : (double)-INFINITY;
            const double right = log(z[r]), bound = 600 * unit + 4 * unit * fabs(right);
            CHECK(lse == right || fabs(lse - right) <= bound, "%s softmax: lse %a, right is %a", isa, lse, right);
            CHECK(fabs(o.at[r * c.n_o] - sum.at[r]) <= 600 * unit * sum.at[r], "%s softmax: o does not shrink as sum does", isa);
            const size_t rest = (size_t)(c.ld - c.n) * sizeof(float);
            CHECK(memcmp(&s.at[r * c.ld + c.n], &before[r * c.ld + c.n], rest) == 0, "%s softmax wrote past n", isa);
        }
        free(before);
    }
    guarded_free(&s, "softmax's s");
    guarded_free(&o, "softmax's o");
    guarded_free(&max, "softmax's max");
    guarded_free(&sum, "softmax's sum");
}

// NaN in a score makes that row NaN, and no other.
static void test_softmax_nan(const cpu_product *p) {
    float s[3][40], o[3][8] = {{0}}, max[3] = {-INFINITY, -INFINITY, -INFINITY}, sum[3] = {0};
    for (int r = 0; r < 3; r++) fill(s[r], 40, false);
    for (int j = 0; j < 40; j++) s[1][j] = j == 17 ? NAN : -INFINITY;
    p->softmax(3, 40, s[0], 40, NULL, NULL, max, sum, o[0], 8, 8);
    CHECK(isfinite(sum[0]) && isnan(sum[1]) && isfinite(sum[2]), "%s softmax: sums %f %f %f", isa, sum[0], sum[1], sum[2]);
    CHECK(isnan(s[1][17]) && s[1][16] == 0, "%s softmax: a NaN score spoils its own weight", isa);
}

static void test_softmax_grad(const cpu_product *p) {
    const softmax_case c = draw_softmax();
    guarded s = guarded_make(c.m * c.ld), ds = guarded_make(c.m * c.ld);
    float *x = malloc((size_t)s.n * sizeof(float)), *dw = malloc((size_t)s.n * sizeof(float)), lse[16], delta[16];
    draw_scores(&c, s.at, 2.0f);
    fill(ds.at, ds.n, false);
    for (int64_t i = 0; i < s.n; i++) ds.at[i] = s.at[i] == -INFINITY || isnan(s.at[i]) ? NAN : ds.at[i];
    fill(delta, 16, false);
    for (int64_t r = 0; r < c.m; r++) lse[r] = below(5) == 0 ? -INFINITY : 2 + real_number();
    for (int64_t r = 0; r < c.m; r++) {    // a row whose lse is -inf sees nothing
        for (int64_t j = 0; j < c.n && lse[r] == -INFINITY; j++) s.at[r * c.ld + j] = -INFINITY;
    }
    memcpy(x, s.at, (size_t)s.n * sizeof(float));
    memcpy(dw, ds.at, (size_t)s.n * sizeof(float));
    p->softmax_grad(c.m, c.n, s.at, c.ld, ds.at, c.ld, c.intervals ? c.first : NULL, c.intervals ? c.end : NULL, lse, delta);
    for (int64_t i = 0; i < s.n; i++) {
        const int64_t r = i / c.ld, j = i % c.ld;
        if (j >= c.n) continue;
        const bool seen = j >= c.first[r] && j < c.end[r] && x[i] != -INFINITY;
        const double w = seen ? exp((double)x[i] - (double)lse[r]) : 0, d = seen ? w * ((double)dw[i] - (double)delta[r]) : 0;
        const double relative = (10 + 2 * (seen ? fabs((double)x[i] - (double)lse[r]) : 0)) * unit;
        CHECK(fabs(s.at[i] - w) <= relative * w, "%s softmax_grad: p %a, right is %a", isa, s.at[i], w);
        CHECK(fabs(ds.at[i] - d) <= relative * fabs(d) + unit * w * 4, "%s softmax_grad: ds %a, right is %a", isa, ds.at[i], d);
    }
    free(x);
    free(dw);
    guarded_free(&s, "softmax_grad's s");
    guarded_free(&ds, "softmax_grad's ds");
}

// mm_softmax is mm, then softmax, to the bit.
static void test_mm_softmax(const cpu_product *p) {
    enum { M = 13, N = 90, K = 24, O = 20 };
    static float a[M * K], b[N * K], s[2][M * N], o[2][M * O], max[2][M], sum[2][M];
    fill(a, M * K, false);
    fill(b, N * K, false);
    void *packed = memory_take(p->b_bytes(K, N));
    p->pack_bt(packed, K, N, HEED_F32, b, K);
    for (int which = 0; which < 2; which++) {
        for (int i = 0; i < M; i++) max[which][i] = 0.5f, sum[which][i] = 1;
        for (int i = 0; i < M * O; i++) o[which][i] = (float)i;
    }
    p->mm(M, N, K, a, K, packed, K, s[0], N, false);
    p->softmax(M, N, s[0], N, NULL, NULL, max[0], sum[0], o[0], O, O);
    p->mm_softmax(M, N, K, a, K, packed, K, s[1], N, NULL, NULL, max[1], sum[1], o[1], O, O);
    CHECK(memcmp(s[0], s[1], sizeof s[0]) == 0 && memcmp(o[0], o[1], sizeof o[0]) == 0, "%s mm_softmax: tile", isa);
    CHECK(memcmp(max[0], max[1], sizeof max[0]) == 0 && memcmp(sum[0], sum[1], sizeof sum[0]) == 0, "%s mm_softmax: state", isa);
    memory_free(packed);
}

// ---- Rows ---------------------------------------------------------------------------------------------------------

static void test_rows(heed_dtype type) {
    const int64_t m = 1 + below(5), n = 1 + below(70), ld = n + below(4);
    guarded stored = guarded_make(m * ld), wide = guarded_make(m * ld), y = guarded_make(m), sum = guarded_make(n);
    float from[5 * 80], factor[5], x[80];
    fill(from, m * n, false);
    fill(factor, m, false);
    fill(x, 80, false);
    cpu->rows_to(m, n, type, stored.at, ld, from, n, factor);
    cpu->f32.rows_of(wide.at, m, n, ld, type, stored.at, ld, 0.5f);
    for (int64_t i = 0; i < m * n; i++) {
        const int64_t at = i / n * ld + i % n;
        uint32_t storage;
        dtype_store(type, &storage, 0, from[i] * factor[i / n]);
        const float right = dtype_load(type, &storage, 0);
        CHECK(dtype_load(type, stored.at, at) == right, "%s rows_to %s", isa, dtype_name(type));
        CHECK(wide.at[at] == 0.5f * right, "%s rows_of %s", isa, dtype_name(type));
    }
    cpu->dot_rows(m, n, type, stored.at, ld, x, y.at);
    for (int64_t r = 0; r < m; r++) {
        double dot = 0, size = 0;
        for (int64_t j = 0; j < n; j++) {
            const double term = (double)dtype_load(type, stored.at, r * ld + j) * (double)x[j];
            dot += term, size += fabs(term);
        }
        CHECK(fabs(y.at[r] - dot) <= 2 * (double)n * unit * size, "%s dot_rows %s", isa, dtype_name(type));
    }
    cpu->row_dots(m, n, type, stored.at, ld, stored.at, ld, y.at);
    for (int64_t r = 0; r < m; r++) {
        double dot = 0;
        for (int64_t j = 0; j < n; j++) dot += pow((double)dtype_load(type, stored.at, r * ld + j), 2);
        CHECK(fabs(y.at[r] - dot) <= 2 * (double)n * unit * dot, "%s row_dots %s", isa, dtype_name(type));
    }
    factor[0] = 0;
    for (int64_t j = 0; j < n; j++) dtype_store(type, stored.at, j, NAN), sum.at[j] = x[j];    // row 0 is left out
    cpu->add_rows(m, n, type, stored.at, ld, factor, sum.at);
    for (int64_t j = 0; j < n; j++) {
        double right = x[j], size = fabs(right);
        for (int64_t r = 1; r < m; r++) {
            const double term = (double)factor[r] * (double)dtype_load(type, stored.at, r * ld + j);
            right += term, size += fabs(term);
        }
        CHECK(fabs(sum.at[j] - right) <= 2 * (double)m * unit * size, "%s add_rows %s", isa, dtype_name(type));
    }
    guarded_free(&stored, "rows_to");
    guarded_free(&wide, "rows_of");
    guarded_free(&y, "row_dots or dot_rows");
    guarded_free(&sum, "add_rows");
}

// Against double; and a row's bits are those it has alone, whatever the columns beside it.
static void test_rows_times(heed_dtype type) {
    const int64_t m = 1 + below(10), n = 1 + below(150), k = 1 + below(40);
    const int64_t ldx = k + below(3), ldw = n + below(5), ldy = n + below(3);
    guarded w = guarded_make(k * ldw), y = guarded_make(m * ldy), alone = guarded_make(n);
    float x[10 * 50], start[10 * 160];
    for (int64_t i = 0; i < k * ldw; i++) dtype_store(type, w.at, i, (double)real_number());
    fill(x, m * ldx, false);
    fill(start, m * ldy, false);
    memcpy(y.at, start, (size_t)(m * ldy) * sizeof(float));
    cpu->pointwise.rows_times(m, n, k, x, ldx, type, w.at, ldw, y.at, ldy);
    const int64_t row = below(m), from = below(n), columns = 1 + below(n - from);
    memcpy(alone.at, start + row * ldy + from, (size_t)columns * sizeof(float));
    const char *part = (const char *)w.at + (size_t)from * dtype_bytes(type);
    cpu->pointwise.rows_times(1, columns, k, x + row * ldx, ldx, type, part, ldw, alone.at, columns);
    CHECK(memcmp(alone.at, y.at + row * ldy + from, (size_t)columns * sizeof(float)) == 0,
          "%s rows_times %s: row %lld of %lld, columns %lld to %lld of %lld have other bits alone", isa, dtype_name(type),
          (long long)row, (long long)m, (long long)from, (long long)(from + columns), (long long)n);
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++) {
            double right = start[i * ldy + j], size = fabs(right);
            for (int64_t t = 0; t < k; t++) {
                const double term = (double)x[i * ldx + t] * (double)dtype_load(type, w.at, t * ldw + j);
                right += term, size += fabs(term);
            }
            CHECK(fabs(y.at[i * ldy + j] - right) <= (double)(k + 2) * unit * size, "%s rows_times %s m%lld n%lld k%lld", isa,
                  dtype_name(type), (long long)m, (long long)n, (long long)k);
        }
    }
    dtype_store(type, w.at, 0, (double)NAN), x[0] = 0;    // nothing is left out, not even 0 * NaN
    cpu->pointwise.rows_times(m, n, k, x, ldx, type, w.at, ldw, y.at, ldy);
    CHECK(isnan(y.at[0]), "%s rows_times %s: 0 * NaN", isa, dtype_name(type));
    guarded_free(&w, "rows_times");
    guarded_free(&y, "rows_times");
    guarded_free(&alone, "rows_times");
}

// Bits: word by word as base/dropout.h says, NaN kept, nothing written past n.
static void test_dropout(void) {
    const int64_t m = 1 + below(4), n = 1 + below(200), ld = n + below(5), row = below(1 << 20), key = 4 * below(1 << 20);
    static const double rates[] = {0.1, 0.5, 0.9, 1 - 0x1p-32};
    const uint64_t seed = (uint64_t)random_u32(&stream) << 32 | random_u32(&stream);
    const dropout d = dropout_of(rates[below(4)], seed, below(100), below(100));
    guarded x = guarded_make(m * ld);
    fill(x.at, x.n, false);
    x.at[below(x.n)] = NAN;
    float *before = malloc((size_t)x.n * sizeof(float));
    memcpy(before, x.at, (size_t)x.n * sizeof(float));
    cpu->dropout(m, n, x.at, ld, &d, row, key);
    for (int64_t i = 0; i < x.n; i++) {
        const float factor = i % ld < n ? (float)dropout_factor(&d, row + i / ld, key + i % ld) : 1.0f, right = before[i] * factor;
        CHECK(x.at[i] == right || (isnan(x.at[i]) && isnan(right)), "%s dropout: row %lld, key %lld: %a times %a is %a", isa,
              (long long)(row + i / ld), (long long)(key + i % ld), (double)before[i], (double)factor, (double)x.at[i]);
    }
    free(before);
    guarded_free(&x, "dropout");
}

static void test_pointwise(void) {
    const int64_t n = 1 + below(100);
    guarded y = guarded_make(n), e = guarded_make(n), t = guarded_make(n);
    float x[100];
    fill(x, n, false);
    fill(y.at, n, true);
    for (int64_t i = 0; i < n; i++) y.at[i] += x[i];
    float before[100];
    memcpy(before, y.at, (size_t)n * sizeof(float));
    cpu->add(n, y.at, x);
    cpu->exp(n, e.at, x);
    cpu->tanh(n, t.at, x);
    for (int64_t i = 0; i < n; i++) {
        CHECK(y.at[i] == before[i] + x[i], "%s add", isa);
        CHECK(fabs(e.at[i] - exp((double)x[i])) <= 3 * unit * exp((double)x[i]), "%s exp(%a) = %a", isa, x[i], e.at[i]);
        CHECK(fabs(t.at[i] - tanh((double)x[i])) <= 4 * unit * fabs(tanh((double)x[i])), "%s tanh(%a) = %a", isa, x[i], t.at[i]);
    }
    guarded_free(&y, "add");
    guarded_free(&e, "exp");
    guarded_free(&t, "tanh");
}

// A table never has an empty slot: every pointer of it, slot by slot as they lie.
static void test_whole(void) {
    CHECK(cpu->name != NULL && strcmp(cpu->name, isa) == 0, "%s: name", isa);
    CHECK(cpu->f32.type == HEED_F32 && cpu->f32.rows > 0 && cpu->f32.cols > 0 && cpu->f32.depth > 0, "%s: block", isa);
    const size_t head = offsetof(cpu_kernels, rows_to);
    void *slot;
    for (size_t at = head; at + sizeof slot <= sizeof *cpu; at += sizeof slot) {
        memcpy(&slot, (const char *)cpu + at, sizeof slot);
        CHECK(slot != NULL, "%s: the slot at byte %zu is empty", isa, at);
    }
    for (size_t at = offsetof(cpu_product, b_bytes); at + sizeof slot <= sizeof(cpu_product); at += sizeof slot) {
        memcpy(&slot, (const char *)&cpu->f32 + at, sizeof slot);
        CHECK(slot != NULL, "%s: the product's slot at byte %zu is empty", isa, at);
        memcpy(&slot, (const char *)&cpu->bf16 + at, sizeof slot);
        CHECK(slot != NULL, "%s: the bf16 product's slot at byte %zu is empty", isa, at);
    }
    cpu->enter();
    cpu->leave();
}

static void test_choice(void) {
    heed_error error;
    CHECK(cpu_kernels_best("sse9", &error) == NULL && error.status == HEED_INVALID, "an unknown name");
    CHECK(strstr(error.text, "sse9") != NULL && strstr(error.text, "scalar") != NULL, "\"%s\" does not help", error.text);
    const cpu_kernels *table, *last = NULL;
    const char *name;
    for (int i = 0; (name = cpu_kernels_row(i, &table)) != NULL; i++) {
        CHECK(cpu_kernels_best(name, &error) == table, "%s is not what its name gives", name);
        if (table != NULL) last = table; else CHECK(error.status == HEED_DEVICE, "%s cannot run here: %s", name, error.text);
    }
    setenv("HEED_CPU", "scalar", 1);
    CHECK(cpu_kernels_best(NULL, NULL) != NULL && strcmp(cpu_kernels_best(NULL, NULL)->name, "scalar") == 0, "HEED_CPU=scalar");
    setenv("HEED_CPU", "sse9", 1);
    CHECK(cpu_kernels_best(NULL, &error) == NULL && strstr(error.text, "HEED_CPU") != NULL, "HEED_CPU=sse9");
    unsetenv("HEED_CPU");
    CHECK(cpu_kernels_best(NULL, &error) == last, "the last row that runs is the best");
}

int main(void) {
    test_choice();
    for (int i = 0; (isa = cpu_kernels_row(i, &cpu)) != NULL; i++) {
        if (cpu == NULL) { SKIP("instruction set %s: not on this CPU", isa); continue; }
        stream = random_of(11, (uint64_t)i);
        test_whole();
        const cpu_product *products[] = {&cpu->f32, &cpu->bf16};
        for (int p = 0; p < 2 && products[p]->type == HEED_F32; p++) {
            for (int round = 0; round < 80; round++) test_product(products[p], round);
            test_product_alone(products[p]);
            test_bad_rows(products[p]);
            test_softmax_nan(products[p]);
            test_mm_softmax(products[p]);
            for (int round = 0; round < 100; round++) test_softmax(products[p]), test_softmax_grad(products[p]);
        }
        for (int round = 0; round < 100; round++) {
            test_rows(HEED_F32 + round % 3);
            test_rows_times(round % 2 ? HEED_F32 : HEED_BF16);
            test_pointwise();
            test_dropout();
        }
    }
    return test_end();
}
