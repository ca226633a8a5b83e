// SPDX-License-Identifier: Apache-2.0
// exp, 2^t and tanh of a vector. Polynomials are minimax fits of the relative error (Remez); the bounds beside them are of
// the polynomial in exact arithmetic, to which f32 rounding adds about one ulp (2^-23).

// 2^t to about 1.5 ulp; infinity gives infinity, -infinity exactly 0, NaN stays NaN. Degree 5: 9.2e-8.
static inline v_f32 v_exp2(v_f32 t) {
    v_f32 whole;
    const v_f32 r = v_split(t, &whole);
    v_f32 p = v_fma(v_set(0x1.5bba14p-10f), r, v_set(0x1.3cea88p-7f));
    p = v_fma(p, r, v_set(0x1.c6b752p-5f));
    p = v_fma(p, r, v_set(0x1.ebf9bcp-3f));
    p = v_fma(p, r, v_set(0x1.62e42ap-1f));
    p = v_fma(p, r, v_set(1.0f));
    return v_scale(p, whole);
}

// e^x to about 1 ulp over the whole range (subnormal results to the spacing of subnormals). Degree 6: 3.1e-9.
static inline v_f32 v_exp(v_f32 x) {
    x = v_max(v_set(-170.0f), x);    // v_max and v_min hand on their second operand when it is NaN
    x = v_min(v_set(170.0f), x);
    const v_f32 whole = v_round(v_mul(x, v_set(0x1.715476p+0f)));
    v_f32 r = v_fnma(whole, v_set(0x1.62e400p-1f), x);    // ln 2 in two parts: whole * the first is exact
    r = v_fnma(whole, v_set(0x1.7f7d1cp-20f), r);
    v_f32 p = v_fma(v_set(0x1.6a2448p-10f), r, v_set(0x1.1239d4p-7f));
    p = v_fma(p, r, v_set(0x1.5558f2p-5f));
    p = v_fma(p, r, v_set(0x1.555492p-3f));
    p = v_fma(p, r, v_set(0x1.fffffcp-2f));
    p = v_fma(v_mul(p, r), r, r);
    return v_scale(v_add(p, v_set(1.0f)), whole);
}

// tanh to about 2 ulp. Near 0 the odd series in x (4.4e-9); elsewhere 1 - 2 / (e^(2|x|) + 1), where nothing cancels.
static inline v_f32 v_tanh(v_f32 x) {
    const v_f32 size = v_abs(x), square = v_mul(x, x);
    v_f32 p = v_fma(v_set(-0x1.75e1d0p-8f), square, v_set(0x1.52269cp-6f));
    p = v_fma(p, square, v_set(-0x1.b83c5ap-5f));
    p = v_fma(p, square, v_set(0x1.110726p-3f));
    p = v_fma(p, square, v_set(-0x1.555532p-2f));
    const v_f32 near = v_fma(v_mul(p, square), x, x);
    const v_f32 grown = v_add(v_exp(v_add(size, size)), v_set(1.0f));
    const v_f32 far = v_sub(v_set(1.0f), v_div(v_set(2.0f), grown));
    return v_copysign(v_select(v_lt(size, v_set(0.625f)), near, far), x);
}
