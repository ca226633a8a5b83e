// SPDX-License-Identifier: Apache-2.0
//
// heed: attention that is fast, never silently wrong, and explains itself.
//
// The journey has three steps: describe a problem, make a plan, run it.
//
//     heed_problem p = { .batch = 1, .heads = 12, .queries = 1024, .channels = 64, .mask = { heed_causal() } };
//     heed_plan *plan;
//     heed_error error;
//     if (heed_plan_create(&plan, &p, NULL, &error) != HEED_OK) { puts(error.text); return 1; }
//     heed_run(plan, &(heed_args){ .q = q, .k = k, .v = v, .out = out, .workspace = w, .workspace_bytes = n }, &error);
//
// Every zero is a default, so that a caller names only what differs. What is computed, to the last edge case, is
// docs/contract.md. Nothing here prints, exits, keeps a caller's pointer, or sets errno.

#ifndef HEED_H
#define HEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) && defined(HEED_BUILD)
#define HEED_API __attribute__((visibility("default")))
#else
#define HEED_API
#endif

#define HEED_VERSION_MAJOR 0
#define HEED_VERSION_MINOR 1
#define HEED_VERSION_PATCH 0

// "0.1.0". The string is static. Thread-safe.
HEED_API const char *heed_version(void);

// ---- Errors -------------------------------------------------------------------------------------------------------

// Every function that can fail returns one of these, and fills the caller's heed_error (when it gave one) with a single
// sentence that names the field, its value, and what is allowed.
typedef enum {
    HEED_OK = 0,
    HEED_INVALID = 1,    // the input has no meaning: the sentence says which field
    HEED_REFUSED = 2,    // the input is valid, but the implementation asked for cannot honour it
    HEED_NO_MEMORY = 3,
    HEED_DEVICE = 4      // the machine lacks what was asked for
} heed_status;

typedef struct {
    heed_status status;
    char text[252];
} heed_error;

// ---- Types --------------------------------------------------------------------------------------------------------

typedef enum {
    HEED_DTYPE_DEFAULT = 0,    // f32; for kv_dtype: the problem's dtype
    HEED_F32 = 1,
    HEED_BF16 = 2,    // the upper half of an f32, rounded to nearest even
    HEED_F16 = 3,     // IEEE binary16, rounded to nearest even; beyond 65504 infinite
    HEED_INT8 = 4     // K and V only; one f32 scale per key row and kv head
} heed_dtype;

typedef enum { HEED_FORWARD = 0, HEED_BACKWARD = 1 } heed_pass;

// Where query row i stands: at position i + offset, which causal and window compare with the key's index.
typedef enum {
    HEED_BOTTOM_RIGHT = 0,    // offset = keys of the sequence - queries: the last query sees the last key
    HEED_TOP_LEFT = 1,        // offset = 0
    HEED_OFFSET = 2           // offset is given, in heed_problem.offset or per sequence in heed_args.offsets
} heed_align;

// What a row that sees no key gives. A row with a sink is never empty.
typedef enum {
    HEED_EMPTY_ZERO = 0,
    HEED_EMPTY_NAN = 1,           // an unprotected softmax
    HEED_EMPTY_MEAN = 2,          // the mean of v over all keys: eager code whose mask is a finite minimum
    HEED_EMPTY_MEAN_CAUSAL = 3    // the mean of v over keys j <= i + offset: GPT-2's eager code in transformers 4
} heed_empty;

// Arrays that will be given at run time (heed_problem.with).
enum {
    HEED_SINKS = 1 << 0,         // one logit per query head that joins the denominator, has no value row
    HEED_SLOPES = 1 << 1,        // alibi: slope[head] * (key - position) is added to the score
    HEED_BIAS = 1 << 2,          // an additive array; its -inf entries hide their key
    HEED_MASK = 1 << 3,          // a bool array; nonzero = attend
    HEED_KEY_RANGE = 1 << 4,     // which keys of each sequence are no padding
    HEED_KEY_COUNT = 1 << 5,     // how many keys each sequence has
    HEED_OFFSETS = 1 << 6,       // an offset per sequence
    HEED_DOCUMENTS = 1 << 7,     // a document per key; a row sees its own document only
    HEED_BIAS_FIRST = 1 << 8     // slopes and bias are added before the score functions, not after
};

// Which axes a bias or bool mask really has; it is broadcast over the others (HEED_AXES_ALL when 0).
enum { HEED_AXIS_BATCH = 1, HEED_AXIS_HEAD = 2, HEED_AXIS_QUERY = 4, HEED_AXIS_KEY = 8, HEED_AXES_ALL = 15 };

// Strides count elements. The channel stride is 1. All zero: dense (batch, head, token, channel).
typedef struct { int64_t batch, head, token; } heed_stride;
typedef struct { int64_t batch, head, query, key; } heed_grid_stride;

// ---- Masks and score functions ------------------------------------------------------------------------------------

// One score of the grid. row counts from 0 in its sequence; position = row + offset is what masks compare with key.
typedef struct { int64_t batch, head, row, position, key; } heed_pos;

// rows x keys scores from `first` on.
typedef struct { heed_pos first; int64_t rows, keys; } heed_rect;

typedef enum {
    HEED_RECT_SKIP = 0,    // nothing in it is visible
    HEED_RECT_EDIT = 1,    // must be looked at score by score
    HEED_RECT_KEEP = 2     // everything in it is visible
} heed_rect_class;

// A mask is a pure function of the position: it is called from any thread, in any order, and for some positions never.
// What `data` points to must outlive the plan. Calling heed from inside one is an error.
typedef struct heed_mask heed_mask;
typedef struct {
    const char *name;
    // The definition: may this query see this key?
    bool (*visible)(const heed_mask *, heed_pos);
    // A whole rectangle at once; NULL: always HEED_RECT_EDIT (or told from keys_of_row). SKIP and KEEP are promises.
    heed_rect_class (*classify)(const heed_mask *, const heed_rect *);
    // The visible keys of row `at` are exactly *first <= key < *end (any bounds; heed clips them); NULL: not an interval.
    void (*keys_of_row)(const heed_mask *, heed_pos at, int64_t *first, int64_t *end);
    // What `visible` depends on: HEED_AXIS_BATCH, _HEAD, _QUERY, _KEY added up; 0: all. Without HEED_AXIS_HEAD (_BATCH) a run
    // may ask once for all heads (sequences).
    unsigned axes;
} heed_mask_kind;
struct heed_mask { const heed_mask_kind *kind; int64_t i[3]; const void *data; };

// A score function maps the scaled score to another one, with the same rules as a mask.
typedef struct heed_score heed_score;
typedef struct {
    const char *name;
    double (*value)(const heed_score *, heed_pos, double x);    // the definition
    double (*slope)(const heed_score *, heed_pos, double x);    // d value / d x at x; NULL: the problem has no backward
    // The same in f32 over a rectangle, x[row * ld + key], in place; NULL: value by value.
    void (*tile)(const heed_score *, const heed_rect *, float *x, int64_t ld);
} heed_score_kind;
struct heed_score { const heed_score_kind *kind; double f[2]; const void *data; };

HEED_API heed_mask heed_causal(void);                             // key <= position
HEED_API heed_mask heed_window(int64_t left, int64_t right);      // position - left <= key <= position + right; -1: open
HEED_API heed_mask heed_prefix(int64_t n);                        // key < n or key <= position: contains causal
HEED_API heed_score heed_softcap(double cap);                     // cap * tanh(x / cap); cap > 0

// ---- The problem: what is asked -----------------------------------------------------------------------------------

enum { HEED_EDITS = 4 };     // at most so many masks, and so many score functions
#define HEED_NO_KEYS (-1)    // heed_problem.keys of a problem whose sequences have no keys at all

// Holds no tensor memory: it can be copied, compared, printed (heed_problem_print) and read (heed_problem_parse).
//
//     x    = scale * dot(q[b,h,i], k[b,g,j])           g = h / (heads / kv_heads)
//     x    = score functions in order
//     x    = x + slope[h] * (j - (i + offset)) + bias[b,h,i,j]
//     w    = exp(x - lse) over visible j;  lse = ln(sum over visible j of exp(x) (+ exp(sink[h])))
//     out  = sum over visible j of dropout(w) * v[b,g,j]
//
// Softmax with a running maximum: Milakov and Gimelshein 2018, section 3; tiles: Dao 2023 (FlashAttention-2), section 3.1.
// Sinks: Xiao et al. 2023, section 3. Alibi: Press et al. 2021, section 3. Softcap: Gemma 2 report, section 2.
typedef struct {
    int64_t batch, heads, kv_heads;       // kv_heads 0: heads; heads is a multiple of it
    int64_t queries, keys;                // of each sequence (the most, when counts come at run time); keys 0: as queries
    int64_t channels, value_channels;     // of q and k; of v and out (0: as channels)
    heed_dtype dtype, kv_dtype;           // 0: f32; 0: as dtype
    heed_pass pass;
    unsigned with;                        // HEED_SINKS | ...: arrays given at run time
    heed_align align;
    int64_t offset;                       // with HEED_OFFSET
    heed_empty empty_row;
    double scale;                         // 0: 1 / sqrt(channels)
    double dropout;                       // probability of dropping a weight, at most 1 - 2^-32; 0: none
    int64_t page_size, page_count;        // 0: dense K and V. Else their batch axis counts pages
    bool ragged;                          // sequences follow one another along the token axis
    heed_score score[HEED_EDITS];         // in order; ends at the first without a kind
    heed_mask mask[HEED_EDITS];           // a key must be visible in all
    heed_stride q, k, v, out, dout, dq, dk, dv;
    heed_dtype bias_dtype;                // 0: f32
    unsigned bias_axes, mask_axes;        // HEED_AXIS_*; 0: all
    heed_grid_stride bias, bool_mask;     // all zero: dense over the axes it has; dbias is dense in the same axes and type
} heed_problem;

// Reads one line such as "b1 h32/8 q1 k8192 d128 bf16 causal sink" (docs/contract.md, "Problem text").
// On failure *problem is untouched. Thread-safe.
HEED_API heed_status heed_problem_parse(heed_problem *problem, const char *text, heed_error *error);

// Writes the line that parses to the same problem. As snprintf: returns the length it needs without the final zero, writes
// at most `bytes`. User masks and score functions print as "mask:NAME?" and do not parse back.
HEED_API size_t heed_problem_print(const heed_problem *problem, char *text, size_t bytes);

// ---- The memory: given at each run --------------------------------------------------------------------------------

// Arrays in the strides of the problem. Caller owns everything; nothing is kept after the call. Inputs may alias one
// another; outputs overlap nothing. Every array may have any alignment its element type has.
typedef struct {
    const void *q, *k, *v;        // (batch, heads, queries, channels), (batch, kv_heads, keys, channels), (.., value_channels)
    void *out;                    // (batch, heads, queries, value_channels): written forward, read backward
    float *lse;                   // (batch, heads, queries), dense: written forward when given, needed backward
    const float *sinks, *slopes;  // (heads) each
    const void *bias;             // (batch, heads, queries, keys) as far as bias_axes go
    const uint8_t *mask;          // the same by mask_axes; nonzero = attend
    const int32_t *key_range;     // (batch, 2): first valid key, one past the last
    const int32_t *key_count;     // (batch)
    const int32_t *offsets;       // (batch)
    const int32_t *documents;     // (batch, keys): any ids; row i belongs to the document of key i + offset
    const int32_t *query_start, *key_start;    // ragged: (batch + 1)
    const int32_t *pages;                      // paged: (batch, ceil(keys / page_size))
    const float *k_scale, *v_scale;            // int8: one scale a key row and kv head
    uint64_t seed;                             // dropout: backward needs forward's
    const void *dout;                          // as out
    void *dq, *dk, *dv;                        // as q, k, v; backward writes all three
    void *dbias;                               // wanted when not NULL: dense over bias_axes, of bias_dtype
    float *dsinks, *dslopes;                   // wanted when not NULL: (heads)
    void *workspace;                           // at least heed_workspace_bytes(plan), aligned to 64
    size_t workspace_bytes;
} heed_args;

// ---- Presets: what other systems mean ------------------------------------------------------------------------------

// What a window of a configuration or call means there.
typedef enum {
    HEED_WINDOW_NONE = 0,     // it has none
    HEED_WINDOW_SIDES = 1,    // (left, right), both inclusive, -1: open; as heed_window
    HEED_WINDOW_KEYS = 2      // W keys counting self, of a causal problem
} heed_window_rule;

// The convention of another system: what it sets in a problem, and what has no field there and is translated at the edge.
// Rows are static. All that are built have heed's default scale and lse as a natural logarithm (docs/contract.md, "Presets").
typedef struct {
    const char *name, *system;      // "torch"; what it is, in words
    const char *proof;              // what the row was checked against
    const char *refused;            // why it is refused, a sentence; NULL: it is built
    bool sets_align;                // false: it masks with an array, and the caller's own align stands
    heed_align align;
    heed_empty empty_row;
    heed_window_rule window;
    bool window_even_layers;        // layers 1, 3, 5, ... have no window
    bool gives_lse;                 // false: it returns none
    bool alibi_by_key;              // slope * key instead of slope * (key - position) where causal and open to the left
    bool one_mask;                  // a mask or bias together with causal is an error
    float empty_lse;                // of a row that sees no key
} heed_preset;

HEED_API const heed_preset *heed_preset_find(const char *name);    // NULL: none of that name
HEED_API const heed_preset *heed_preset_at(int index);             // 0, 1, ...; NULL past the last

// Sets the offset rule and the empty-row rule of a preset, by name. HEED_INVALID for a name that is not known, HEED_REFUSED
// for one that is not built.
HEED_API heed_status heed_problem_preset(heed_problem *problem, const char *name, heed_error *error);

// HEED_REFUSED where the finished problem is an error in that system, or means something else there.
HEED_API heed_status heed_preset_check(const heed_preset *, const heed_problem *, heed_error *);

// The mask that a window of that system's configuration stands for in layer 0, 1, ...: its two sides, or W as `left` and 0.
HEED_API heed_status heed_preset_window(const heed_preset *, int64_t layer, int64_t left, int64_t right, heed_mask *mask,
                                        heed_error *);

// After a forward run: args->lse becomes what that system would have returned. args are those of the run. Such an lse is for
// that system; heed's own backward reads the one that heed wrote.
HEED_API heed_status heed_preset_lse(const heed_preset *, const heed_problem *, const heed_args *args, heed_error *);

// ---- Plan and run -------------------------------------------------------------------------------------------------

// What the caller wants of the choice; NULL or zero fields: heed decides.
typedef struct {
    const char *implementation;    // "cpu.flash", ...: honoured or refused, never replaced
    const char *cpu;               // "scalar", "avx2", "avx512", ...; also the environment's HEED_CPU
    int threads;                   // at most so many; 0: as many as OpenMP would take
    // A pool of the caller's: must call body(context, i) once for each 0 <= i < n, in any order, on any threads, and
    // return when all have returned. NULL: OpenMP.
    void (*parallel)(void *pool, int64_t n, void (*body)(void *context, int64_t i), void *context);
    void *pool;
} heed_choice;

typedef struct heed_plan heed_plan;

// Validates the problem, asks every implementation, plans for the cheapest (or the one named). The caller destroys the
// plan. A plan is immutable: any number of threads may run it at once. On failure *plan is NULL.
HEED_API heed_status heed_plan_create(heed_plan **plan, const heed_problem *problem, const heed_choice *choice, heed_error *error);
HEED_API void heed_plan_destroy(heed_plan *plan);    // NULL is fine

// Bytes each concurrent run needs; a function of problem and threads alone.
HEED_API size_t heed_workspace_bytes(const heed_plan *plan);
HEED_API const char *heed_plan_implementation(const heed_plan *plan);    // "cpu.flash"
HEED_API const char *heed_plan_cpu(const heed_plan *plan);               // "avx512"

// Checks every pointer, range, count and overlap, then computes. On failure nothing was written. Allocates nothing.
// Results are bit-identical for any number of threads and any other content of the batch.
HEED_API heed_status heed_run(const heed_plan *plan, const heed_args *args, heed_error *error);

// ---- Report -------------------------------------------------------------------------------------------------------

typedef struct {
    const char *name;          // "cpu.flash"; static
    bool accepts, chosen;
    const char *reason;        // why not, one static sentence; NULL when it accepts
    double ms;                 // predicted; 0 when refused
    size_t workspace_bytes;    // 0 when refused
    int64_t tile_query, tile_key;
} heed_report_line;

enum { HEED_REPORT_LINES = 16 };

typedef struct {
    int lines;
    heed_report_line line[HEED_REPORT_LINES];
    const char *cpu;           // kernels in use
    int threads;
    double visible;            // scores that need computing (visible as far as the problem alone can say)
    double gflop;              // 4 (backward: 10) flop per channel and visible score
} heed_report;

// Who would run this problem, who refuses, and why. Succeeds for every valid problem, also when nobody accepts it.
HEED_API heed_status heed_explain(const heed_problem *problem, const heed_choice *choice, heed_report *report, heed_error *error);

// The report as the table `heed explain` prints; as snprintf.
HEED_API size_t heed_report_print(const heed_report *report, char *text, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
