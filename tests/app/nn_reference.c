// SPDX-License-Identifier: Apache-2.0
// The gradients of nn/reference against finite differences of its own forward, in double: central differences with a step of
// 1e-5 are good to some 1e-9.
#include "../test.h"

#include "base/random.h"
#include "nn/reference.h"

#include <math.h>

enum { ROWS = 3, IN = 5, OUT = 4, MOST = 64 };
static random_stream draws;
static const double STEP = 1e-5, BOUND = 1e-7;

typedef double (*loss_of)(const double *x);    // of the array being varied

static void fill(double *x, int n) {
    for (int i = 0; i < n; i++) x[i] = random_normal(&draws);
}

static void check(const char *what, double *x, const double *dx, int n, loss_of loss) {
    for (int i = 0; i < n; i++) {
        const double kept = x[i];
        x[i] = kept + STEP;
        const double up = loss(x);
        x[i] = kept - STEP;
        const double down = loss(x);
        x[i] = kept;
        const double slope = (up - down) / (2 * STEP);
        CHECK(fabs(slope - dx[i]) <= BOUND * (1 + fabs(slope)), "%s[%d]: gradient %.12g, differences %.12g", what, i, dx[i], slope);
    }
}

static double x[MOST], w[MOST], b[MOST], dy[MOST], y[MOST], dx[MOST], dw[MOST], db[MOST];
static int n_y;
static linear_shape shape;
static int32_t target[ROWS] = {2, -1, 0};

static double weighted(void) {
    double sum = 0;
    for (int i = 0; i < n_y; i++) sum += dy[i] * y[i];
    return sum;
}
static double linear_loss(const double *varied) { reference_linear(shape, ROWS, x, w, b, y); return weighted(); }
static double norm_loss(const double *varied) { reference_norm(ROWS, IN, 1e-5, x, w, b, y); return weighted(); }
static double gelu_loss(const double *varied) { return reference_gelu(varied[0]); }
static double entropy_loss(const double *varied) { return reference_cross_entropy(ROWS, OUT, varied, target, NULL); }

int main(void) {
    draws = random_of(5, 0);
    for (int order = 0; order < 2; order++) {
        shape = (linear_shape){IN, OUT, .order = order == 0 ? LINEAR_IN_OUT : LINEAR_OUT_IN};
        fill(x, ROWS * IN), fill(w, IN * OUT), fill(b, OUT), fill(dy, ROWS * OUT);
        n_y = ROWS * OUT;
        reference_linear_grad(shape, ROWS, x, w, dy, dx, dw, db);
        check("linear x", x, dx, ROWS * IN, linear_loss);
        check("linear w", w, dw, IN * OUT, linear_loss);
        check("linear bias", b, db, OUT, linear_loss);
    }
    fill(x, ROWS * IN), fill(w, IN), fill(b, IN), fill(dy, ROWS * IN);
    n_y = ROWS * IN;
    reference_norm_grad(ROWS, IN, 1e-5, x, w, dy, dx, dw, db);
    check("norm x", x, dx, ROWS * IN, norm_loss);
    check("norm weight", w, dw, IN, norm_loss);
    check("norm bias", b, db, IN, norm_loss);
    for (int i = -8; i <= 8; i++) {
        double at = 0.7 * i;
        const double slope = reference_gelu_slope(at);
        check("gelu", &at, &slope, 1, gelu_loss);
    }
    fill(x, ROWS * OUT);
    reference_cross_entropy(ROWS, OUT, x, target, dx);
    check("cross entropy", x, dx, ROWS * OUT, entropy_loss);
    return test_end();
}
