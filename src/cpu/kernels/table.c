// SPDX-License-Identifier: Apache-2.0
// Compiled once per row of isa.def, with that row's compiler flags, SIMD_HEADER, SIMD_NAME and SIMD_TABLE. All is static
// but the table, the only symbol such an object exports.
#include SIMD_HEADER

#include "base/memory.h"
#include "cpu/kernels.h"

#include <math.h>

#include "cpu/kernels/exp.inl"
#include "cpu/kernels/mm.inl"
#include "cpu/kernels/convert.inl"
#include "cpu/kernels/dropout.inl"
#include "cpu/kernels/softmax.inl"
#include "cpu/kernels/pointwise.inl"

static void nothing(void) {}

extern const cpu_kernels SIMD_TABLE;
const cpu_kernels SIMD_TABLE = {
    .name = SIMD_NAME, .enter = nothing, .leave = nothing,
    .f32 = {
        .type = HEED_F32, .rows = MM_ROWS, .cols = MM_COLS, .depth = 1,
        .b_bytes = b_bytes, .pack_b = pack_b, .pack_bt = pack_bt, .rows_of = rows_of,
        .mm = mm, .mm_t = mm_t, .softmax = softmax, .softmax_grad = softmax_grad, .mm_softmax = mm_softmax,
    },
    .bf16 = {    // no faster product of bf16 here
        .type = HEED_F32, .rows = MM_ROWS, .cols = MM_COLS, .depth = 1,
        .b_bytes = b_bytes, .pack_b = pack_b, .pack_bt = pack_bt, .rows_of = rows_of,
        .mm = mm, .mm_t = mm_t, .softmax = softmax, .softmax_grad = softmax_grad, .mm_softmax = mm_softmax,
    },
    .rows_to = rows_to, .row_dots = row_dots, .dot_rows = dot_rows, .add_rows = add_rows,
    .dropout = dropout_rows, .add = add, .exp = exp_all, .tanh = tanh_all,
    .pointwise = {
        .add = add_arrays, .gelu = gelu, .gelu_grad = gelu_grad, .rows_times = rows_times, .norm = norm,
        .norm_grad = norm_grad, .sum_rows = sum_rows, .log_sum_exp = log_sum_exp, .softmax_scaled = softmax_scaled,
        .sum_squares = sum_squares, .adamw = adamw,
    },
};
