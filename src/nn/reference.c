// SPDX-License-Identifier: Apache-2.0
#include "nn/reference.h"

#include <math.h>

// ---- linear -----------------------------------------------------------------------------------------------------------

static int64_t weight_at(linear_shape s, int64_t in, int64_t out) {
    return s.order == LINEAR_IN_OUT ? in * s.out + out : out * s.in + in;
}

void reference_linear(linear_shape s, int64_t rows, const double *x, const double *w, const double *bias, double *y) {
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t j = 0; j < s.out; j++) {
            double sum = bias == NULL ? 0 : bias[j];
            for (int64_t i = 0; i < s.in; i++) sum += x[r * s.in + i] * w[weight_at(s, i, j)];
            y[r * s.out + j] = sum;
        }
    }
}

// forward: y = x . W + bias      so:  dx = dy . W^T,  dW = x^T . dy,  dbias = sum of dy over rows
void reference_linear_grad(linear_shape s, int64_t rows, const double *x, const double *w, const double *dy, double *dx, double *dw,
                           double *dbias) {
    for (int64_t i = 0; i < rows * s.in; i++) dx[i] = 0;
    for (int64_t i = 0; i < s.in * s.out; i++) dw[i] = 0;
    for (int64_t j = 0; j < s.out; j++) dbias[j] = 0;
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t j = 0; j < s.out; j++) {
            const double d = dy[r * s.out + j];
            dbias[j] += d;
            for (int64_t i = 0; i < s.in; i++) {
                dx[r * s.in + i] += d * w[weight_at(s, i, j)];
                dw[weight_at(s, i, j)] += d * x[r * s.in + i];
            }
        }
    }
}

// ---- norm -------------------------------------------------------------------------------------------------------------

static void moments(int64_t n, double epsilon, const double *x, double *mean, double *rstd) {
    double sum = 0, squares = 0;
    for (int64_t j = 0; j < n; j++) sum += x[j];
    *mean = sum / (double)n;
    for (int64_t j = 0; j < n; j++) squares += (x[j] - *mean) * (x[j] - *mean);
    *rstd = 1 / sqrt(squares / (double)n + epsilon);
}

void reference_norm(int64_t rows, int64_t n, double epsilon, const double *x, const double *weight, const double *bias, double *y) {
    for (int64_t r = 0; r < rows; r++) {
        double mean, rstd;
        moments(n, epsilon, x + r * n, &mean, &rstd);
        for (int64_t j = 0; j < n; j++) y[r * n + j] = (x[r * n + j] - mean) * rstd * weight[j] + bias[j];
    }
}

// forward: h = (x - mean) * rstd, y = h * weight + bias
// so:      dx = rstd * (g - mean(g) - h * mean(g * h)) with g = dy * weight;  dweight = sum of dy * h,  dbias = sum of dy
void reference_norm_grad(int64_t rows, int64_t n, double epsilon, const double *x, const double *weight, const double *dy,
                         double *dx, double *dweight, double *dbias) {
    for (int64_t j = 0; j < n; j++) dweight[j] = dbias[j] = 0;
    for (int64_t r = 0; r < rows; r++, x += n, dy += n, dx += n) {
        double mean, rstd, g = 0, gh = 0;
        moments(n, epsilon, x, &mean, &rstd);
        for (int64_t j = 0; j < n; j++) {
            const double h = (x[j] - mean) * rstd;
            g += dy[j] * weight[j] / (double)n;
            gh += dy[j] * weight[j] * h / (double)n;
            dweight[j] += dy[j] * h;
            dbias[j] += dy[j];
        }
        for (int64_t j = 0; j < n; j++) dx[j] = rstd * (dy[j] * weight[j] - g - (x[j] - mean) * rstd * gh);
    }
}

// ---- gelu, embedding ----------------------------------------------------------------------------------------------------

static const double ROOT_2_OVER_PI = 0.79788456080286535588;

double reference_gelu(double x) { return x / 2 * (1 + tanh(ROOT_2_OVER_PI * (x + 0.044715 * x * x * x))); }

// forward: y = x / 2 * (1 + tanh(u))      so:  dy/dx = (1 + tanh(u)) / 2 + x / 2 * (1 - tanh(u)^2) * du/dx
double reference_gelu_slope(double x) {
    const double t = tanh(ROOT_2_OVER_PI * (x + 0.044715 * x * x * x));
    return (1 + t) / 2 + x / 2 * (1 - t * t) * ROOT_2_OVER_PI * (1 + 3 * 0.044715 * x * x);
}

void reference_embedding(int64_t rows, int64_t width, const int32_t *id, const int32_t *position, const double *tokens,
                         const double *positions, double *y) {
    for (int64_t t = 0; t < rows; t++)
        for (int64_t j = 0; j < width; j++) y[t * width + j] = tokens[id[t] * width + j] + positions[position[t] * width + j];
}

void reference_embedding_grad(int64_t rows, int64_t width, const int32_t *id, const int32_t *position, const double *dy,
                              double *dtokens, double *dpositions) {
    for (int64_t t = 0; t < rows; t++) {
        for (int64_t j = 0; j < width; j++) {
            dtokens[id[t] * width + j] += dy[t * width + j];
            dpositions[position[t] * width + j] += dy[t * width + j];
        }
    }
}

// ---- loss, optimizer ----------------------------------------------------------------------------------------------------

double reference_cross_entropy(int64_t rows, int64_t n, const double *logits, const int32_t *target, double *dlogits) {
    double loss = 0;
    for (int64_t r = 0; r < rows; r++) {
        const double *x = logits + r * n;
        double most = x[0], sum = 0;
        for (int64_t j = 1; j < n; j++) most = fmax(most, x[j]);
        for (int64_t j = 0; j < n; j++) sum += exp(x[j] - most);
        if (target[r] >= 0) loss += most + log(sum) - x[target[r]];
        for (int64_t j = 0; j < n && dlogits != NULL; j++)
            dlogits[r * n + j] = target[r] < 0 ? 0 : exp(x[j] - most) / sum - (j == target[r]);
    }
    return loss;
}

void reference_adamw(double learning_rate, double beta1, double beta2, double epsilon, double weight_decay, int64_t step,
                     double grad,
                     double *value, double *m, double *v) {
    *value *= 1 - learning_rate * weight_decay;
    *m = beta1 * *m + (1 - beta1) * grad;
    *v = beta2 * *v + (1 - beta2) * grad * grad;
    const double mean = *m / (1 - pow(beta1, (double)step)), square = *v / (1 - pow(beta2, (double)step));
    *value -= learning_rate * mean / (sqrt(square) + epsilon);
}
