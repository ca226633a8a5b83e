// SPDX-License-Identifier: Apache-2.0
// Dropout of weights (base/dropout.h): V_BLOCKS blocks of Philox at once, four places each. A block is one long chain of
// operations that wait for one another: CHAINS of them side by side keep the units busy.

enum { CHAINS = 2, CHAIN_PLACES = 4 * V_BLOCKS, CHAIN_VECTORS = CHAIN_PLACES / V_LANES };

// The key of every round in every lane: read from memory, since broadcasting them again costs a third of the whole.
typedef struct { v_u64 low[10], high[10]; } philox_keys;

static inline philox_keys philox_keys_of(uint64_t seed) {
    philox_keys k;
    for (uint32_t round = 0; round < 10; round++) {
        k.low[round] = v_set_u64((uint32_t)seed + round * 0x9E3779B9u);
        k.high[round] = v_set_u64((uint32_t)(seed >> 32) + round * 0xBB67AE85u);
    }
    return k;
}

// word: counters, which become the words of their blocks.
static inline void philox_blocks(v_u64 word[CHAINS][4], const philox_keys *k) {
    const v_u64 m0 = v_set_u64(0xD2511F53u), m1 = v_set_u64(0xCD9E8D57u);
#pragma GCC unroll 10
    for (int round = 0; round < 10; round++) {
#pragma GCC unroll 2
        for (int c = 0; c < CHAINS; c++) {
            const v_u64 p0 = v_mul_low(m0, word[c][0]), p1 = v_mul_low(m1, word[c][2]);
            word[c][0] = v_xor(v_high(p1), word[c][1], k->low[round]);
            word[c][1] = p1;
            word[c][2] = v_xor(v_high(p0), word[c][3], k->high[round]);
            word[c][3] = p0;
        }
    }
}

static void dropout_rows(int64_t m, int64_t n, float *x, int64_t ld, const dropout *d, int64_t row, int64_t key) {
    const philox_keys keys = philox_keys_of(d->seed);
    const v_f32 scale = v_set((float)d->scale);
    const v_u64 head = v_set_u64(d->head), batch = v_set_u64(d->batch);
    const uint32_t from = d->keep_from, block = (uint32_t)(key / 4);
    for (int64_t r = 0; r < m; r++, x += ld) {
        const v_u64 at_row = v_set_u64((uint32_t)(row + r));
        for (int64_t j = 0; j < n; j += CHAINS * CHAIN_PLACES) {
            v_u64 word[CHAINS][4];
            v_mask keep[CHAINS * CHAIN_VECTORS];
            for (int c = 0; c < CHAINS; c++) {
                word[c][0] = v_counters(block + (uint32_t)(j / 4) + (uint32_t)(c * V_BLOCKS));
                word[c][1] = at_row, word[c][2] = head, word[c][3] = batch;
            }
            philox_blocks(word, &keys);
            for (int c = 0; c < CHAINS; c++) v_at_least(word[c], from, keep + c * CHAIN_VECTORS);
#pragma GCC unroll 8
            for (int i = 0; i < CHAINS * CHAIN_VECTORS; i++) {
                const int64_t at = j + i * V_LANES;
                if (at >= n) break;
                const v_f32 factor = v_select(keep[i], scale, v_zero());
                store_upto(HEED_F32, x, at, v_mul(load_upto(HEED_F32, x, at, n - at), factor), n - at);
            }
        }
    }
}
