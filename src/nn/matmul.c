// SPDX-License-Identifier: Apache-2.0
// c is cut into tiles that threads_for hands out, each one single-threaded product: the cut depends on the shape only, so
// the bits do not depend on the threads, and a busy neighbour delays one tile, not a whole static share.
//
// f32: oneDNN's plain sgemm packs both operands itself, in any orientation: measured on GPT-2 124M's shapes (Zen 5, one
// thread) it runs at 200 to 240 GF/s on tiles of 256 x 768, its matmul primitive at 170 to 240; the first also has one
// signature in oneDNN 2 and 3, and needs nothing cached.
// bf16: the matmul primitive (1.8 to 2.1 times the speed of f32 on Zen 4, in any orientation). Compiling one takes about as
// long as running it, so they are kept. They are compiled and run where OpenMP offers one thread, and work in scratch of
// ours: one compiled product then serves all workers at once, and its bits do not know how many there are.
#include "nn/matmul.h"

#include "base/dtype.h"
#include "base/error.h"
#include "base/memory.h"

#include <stdio.h>
#include <string.h>

#ifdef HEED_ONEDNN
#include <oneapi/dnnl/dnnl.h>
#endif

typedef struct { int64_t rows, cols; } tile_shape;
struct compiled;

typedef struct {
    const engine *engine;
    const multiplication *whole;
    tile_shape tile;
    int64_t across;    // tiles in a row of tiles
    const struct compiled *compiled[2][2];    // of a tile: [in the last row][in the last column]; NULL: heed's own tiles
    size_t scratch_bytes;                     // what those need
    bool scratch;                             // there is enough for every tile; else plain loops
} tiling;

// The largest tile of this list that gives eight tiles, so that two to eight workers share a product evenly. Smaller tiles
// pack the same operands more often: 5 % slower at 128 x 256, 10 to 30 % at 64 x 256.
static tile_shape choose_tile(int64_t m, int64_t n) {
    static const tile_shape list[] = {{MATMUL_OWN_ROWS, MATMUL_OWN_COLS}, {256, 384}, {256, 256}, {128, 256}, {128, 192},
                                      {64, 256}};
    enum { COUNT = sizeof list / sizeof *list, ENOUGH = 8 };
    for (int i = 0; i < COUNT; i++) {
        if (int64_ceil_div(m, list[i].rows) * int64_ceil_div(n, list[i].cols) >= ENOUGH) return list[i];
    }
    return list[COUNT - 1];
}

static matrix matrix_from(matrix x, int64_t row, int64_t col) {
    x.data = (const char *)x.data + (size_t)(x.transposed ? col * x.ld + row : row * x.ld + col) * dtype_bytes(x.type);
    return x;
}

// The product of one tile, at rows i and columns j of the whole.
static multiplication tile_at(const tiling *t, int64_t i, int64_t j) {
    multiplication p = *t->whole;
    p.a = matrix_from(p.a, i, 0);
    p.b = matrix_from(p.b, 0, j);
    p.c = (char *)p.c + (size_t)(i * p.ldc + j) * dtype_bytes(p.c_type);
    p.m = int64_min(p.m - i, t->tile.rows);
    p.n = int64_min(p.n - j, t->tile.cols);
    if (p.bias != NULL) p.bias += j;
    return p;
}

// ---- What is kept between calls -------------------------------------------------------------------------------------------

enum { COMPILED = 256 };    // a training step has some 60; rows of many lengths make more, and the oldest then goes

struct matmul_kept {
    char *scratch;            // worker_bytes for each worker
    size_t worker_bytes;
    int workers;
#ifdef HEED_ONEDNN
    dnnl_engine_t engine;     // NULL: none could be had
    dnnl_stream_t *streams;   // one a worker
    int64_t n_compiled;       // so far; number i is in slot i % COMPILED
    struct compiled *compiled;
#endif
};

// At least so much scratch for each worker; false: there is no memory.
static bool reserve(struct matmul_kept *kept, size_t bytes) {
    bytes = size_align(bytes);
    if (bytes <= kept->worker_bytes) return true;
    memory_free(kept->scratch);
    kept->scratch = memory_take(size_mul(bytes, (size_t)kept->workers));
    kept->worker_bytes = kept->scratch == NULL ? 0 : bytes;
    return kept->scratch != NULL;
}

static void *scratch_of(const engine *e, int worker) {
    return e->products->scratch + (size_t)worker * e->products->worker_bytes;
}

// ---- bf16 by oneDNN -------------------------------------------------------------------------------------------------------

#ifdef HEED_ONEDNN

// A description is a struct in oneDNN 2 and a handle in oneDNN 3.
#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t description_view;
static dnnl_status_t describe(dnnl_memory_desc_t *d, const dnnl_dims_t dims, dnnl_data_type_t type, const dnnl_dims_t strides) {
    return dnnl_memory_desc_create_with_strides(d, 2, dims, type, strides);
}
static description_view view(const dnnl_memory_desc_t *d) { return *d; }
static void forget(dnnl_memory_desc_t *d) { if (*d != NULL) dnnl_memory_desc_destroy(*d); }
static dnnl_status_t sum_after(dnnl_post_ops_t list) { return dnnl_post_ops_append_sum(list, 1.0f, 0, dnnl_data_type_undef); }
static dnnl_status_t matmul_description(dnnl_primitive_desc_t *d, dnnl_engine_t cpu, const dnnl_memory_desc_t md[4],
                                        bool biased, const_dnnl_primitive_attr_t attributes) {
    return dnnl_matmul_primitive_desc_create(d, cpu, md[0], md[1], biased ? md[2] : NULL, md[3], attributes);
}
#else
typedef const dnnl_memory_desc_t *description_view;
static dnnl_status_t describe(dnnl_memory_desc_t *d, const dnnl_dims_t dims, dnnl_data_type_t type, const dnnl_dims_t strides) {
    return dnnl_memory_desc_init_by_strides(d, 2, dims, type, strides);
}
static description_view view(const dnnl_memory_desc_t *d) { return d; }
static void forget(dnnl_memory_desc_t *d) {}
static dnnl_status_t sum_after(dnnl_post_ops_t list) { return dnnl_post_ops_append_sum(list, 1.0f); }
static dnnl_status_t matmul_description(dnnl_primitive_desc_t *d, dnnl_engine_t cpu, const dnnl_memory_desc_t md[4],
                                        bool biased, const_dnnl_primitive_attr_t attributes) {
    dnnl_matmul_desc_t operation;
    const dnnl_status_t status = dnnl_matmul_desc_init(&operation, &md[0], &md[1], biased ? &md[2] : NULL, &md[3]);
    return status != dnnl_success ? status : dnnl_primitive_desc_create(d, &operation, attributes, cpu, NULL);
}
#endif

enum { MD_A, MD_B, MD_BIAS, MD_C, MD_SCRATCH, MDS };

// A product without its addresses.
typedef struct { int64_t number[8]; } product_key;

struct compiled {
    product_key key;
    dnnl_memory_desc_t md[4];        // MD_A .. MD_C
    dnnl_primitive_desc_t description;
    dnnl_primitive_t primitive;      // NULL: oneDNN has none for this CPU
    size_t scratch_bytes;
};

static product_key key_of(const multiplication *p) {
    const int64_t kind = (p->a.transposed ? 1 : 0) | (p->b.transposed ? 2 : 0) | (p->add ? 4 : 0) | (p->bias != NULL ? 8 : 0);
    return (product_key){{p->m, p->n, p->k, p->a.ld, p->b.ld, p->ldc, (int64_t)p->c_type, kind}};
}

static dnnl_status_t describe_matrix(dnnl_memory_desc_t *d, int64_t rows, int64_t cols, int64_t ld, bool transposed, bool bf16) {
    const dnnl_dims_t dims = {rows, cols}, strides = {transposed ? 1 : ld, transposed ? ld : 1};
    return describe(d, dims, bf16 ? dnnl_bf16 : dnnl_f32, strides);
}

static dnnl_status_t compile(struct compiled *c, const multiplication *p, dnnl_engine_t cpu) {
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_post_ops_t after = NULL;
    dnnl_status_t status = describe_matrix(&c->md[MD_A], p->m, p->k, p->a.ld, p->a.transposed, true);
    if (status == dnnl_success) status = describe_matrix(&c->md[MD_B], p->k, p->n, p->b.ld, p->b.transposed, true);
    if (status == dnnl_success) status = describe_matrix(&c->md[MD_BIAS], 1, p->n, p->n, false, false);
    if (status == dnnl_success) status = describe_matrix(&c->md[MD_C], p->m, p->n, p->ldc, false, p->c_type == HEED_BF16);
    if (status == dnnl_success) status = dnnl_primitive_attr_create(&attributes);
    if (status == dnnl_success) status = dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user);
    if (status == dnnl_success && p->add) status = dnnl_post_ops_create(&after);
    if (status == dnnl_success && p->add) status = sum_after(after);
    if (status == dnnl_success && p->add) status = dnnl_primitive_attr_set_post_ops(attributes, after);
    if (status == dnnl_success) status = matmul_description(&c->description, cpu, c->md, p->bias != NULL, attributes);
    if (status == dnnl_success) status = dnnl_primitive_create(&c->primitive, c->description);
    if (after != NULL) dnnl_post_ops_destroy(after);
    if (attributes != NULL) dnnl_primitive_attr_destroy(attributes);
    if (status == dnnl_success)
        c->scratch_bytes = dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(c->description, dnnl_query_scratchpad_md, 0));
    return status;
}

static void discard(struct compiled *c) {
    if (c->primitive != NULL) dnnl_primitive_destroy(c->primitive);
    if (c->description != NULL) dnnl_primitive_desc_destroy(c->description);
    for (int i = 0; i < 4; i++) forget(&c->md[i]);
    memset(c, 0, sizeof *c);
}

static const struct compiled *find(struct matmul_kept *kept, const multiplication *p) {
    const product_key key = key_of(p);
    for (int64_t i = 0; i < kept->n_compiled && i < COMPILED; i++)
        if (memcmp(&kept->compiled[i].key, &key, sizeof key) == 0) return &kept->compiled[i];
    struct compiled *c = &kept->compiled[kept->n_compiled++ % COMPILED];
    discard(c);
    if (compile(c, p, kept->engine) != dnnl_success) discard(c);
    c->key = key;
    return c;
}

// Run as an item of threads_for: there OpenMP offers one thread, as it will when the tiles run.
static void prepare_tiles(void *context, int64_t item, int worker) {
    tiling *t = context;
    const multiplication *p = t->whole;
    struct matmul_kept *kept = t->engine->products;
    const int64_t last_row = (p->m - 1) / t->tile.rows * t->tile.rows, last_col = (p->n - 1) / t->tile.cols * t->tile.cols;
    if (kept->engine == NULL) return;
    for (int corner = 0; corner < 4; corner++) {
        const multiplication tile = tile_at(t, corner & 2 ? last_row : 0, corner & 1 ? last_col : 0);
        const struct compiled *c = find(kept, &tile);
        if (c->primitive == NULL) continue;
        t->compiled[corner >> 1][corner & 1] = c;
        if (c->scratch_bytes > t->scratch_bytes) t->scratch_bytes = c->scratch_bytes;
    }
}

// False: nothing was computed.
static bool run_compiled(const struct compiled *c, const multiplication *p, const engine *e, int worker) {
    const struct matmul_kept *kept = e->products;
    const struct { int argument; description_view md; const void *data; } wanted[MDS] = {
        {DNNL_ARG_SRC, view(&c->md[MD_A]), p->a.data}, {DNNL_ARG_WEIGHTS, view(&c->md[MD_B]), p->b.data},
        {DNNL_ARG_BIAS, view(&c->md[MD_BIAS]), p->bias}, {DNNL_ARG_DST, view(&c->md[MD_C]), p->c},
        {DNNL_ARG_SCRATCHPAD, dnnl_primitive_desc_query_md(c->description, dnnl_query_scratchpad_md, 0), scratch_of(e, worker)},
    };
    dnnl_exec_arg_t arguments[MDS];
    int n = 0;
    dnnl_status_t status = dnnl_success;
    for (int i = 0; i < MDS && status == dnnl_success; i++) {
        if (wanted[i].data == NULL || (i == MD_SCRATCH && c->scratch_bytes == 0)) continue;
        arguments[n].arg = wanted[i].argument;
        status = dnnl_memory_create(&arguments[n].memory, wanted[i].md, kept->engine, (void *)(uintptr_t)wanted[i].data);
        if (status == dnnl_success) n++;
    }
    if (status == dnnl_success) status = dnnl_primitive_execute(c->primitive, kept->streams[worker], n, arguments);
    if (status == dnnl_success) status = dnnl_stream_wait(kept->streams[worker]);
    for (int i = 0; i < n; i++) dnnl_memory_destroy(arguments[i].memory);
    return status == dnnl_success;
}

static bool multiply_f32(const engine *e, const multiplication *p, int worker) {
    for (int64_t i = 0; i < p->m && p->bias != NULL; i++)    // sums begin with the bias
        memcpy((float *)p->c + i * p->ldc, p->bias, (size_t)p->n * sizeof(float));
    const float begin = p->bias != NULL || p->add ? 1 : 0;
    // Shapes are positive and strides at least as long as rows: nothing is left that sgemm could refuse but memory.
    return dnnl_sgemm(p->a.transposed ? 'T' : 'N', p->b.transposed ? 'T' : 'N', p->m, p->n, p->k, 1.0f, p->a.data, p->a.ld,
                      p->b.data, p->b.ld, begin, p->c, p->ldc) == dnnl_success;
}

static heed_status open_onednn(struct matmul_kept *kept, heed_error *error) {
    kept->streams = memory_take_zeroed((size_t)kept->workers * sizeof *kept->streams);
    kept->compiled = memory_take_zeroed(COMPILED * sizeof *kept->compiled);
    if (kept->streams == NULL || kept->compiled == NULL)
        return error_set(error, HEED_NO_MEMORY, "no memory for the products of %d threads", kept->workers);
    dnnl_status_t status = dnnl_engine_create(&kept->engine, dnnl_cpu, 0);
    for (int i = 0; i < kept->workers && status == dnnl_success; i++)
        status = dnnl_stream_create(&kept->streams[i], kept->engine, dnnl_stream_default_flags);
    return status == dnnl_success ? HEED_OK : error_set(error, HEED_NO_MEMORY, "oneDNN gives no engine (status %d)", (int)status);
}

static void close_onednn(struct matmul_kept *kept) {
    for (int i = 0; kept->compiled != NULL && i < COMPILED; i++) discard(&kept->compiled[i]);
    for (int i = 0; kept->streams != NULL && i < kept->workers; i++)
        if (kept->streams[i] != NULL) dnnl_stream_destroy(kept->streams[i]);
    if (kept->engine != NULL) dnnl_engine_destroy(kept->engine);
    memory_free(kept->compiled);
    memory_free(kept->streams);
}

const char *matmul_provider(void) {
    static char text[32];
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, sizeof text, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
    return text;
}

#else

static void prepare_tiles(void *context, int64_t item, int worker) {}
static bool run_compiled(const struct compiled *c, const multiplication *p, const engine *e, int worker) { return false; }
static bool multiply_f32(const engine *e, const multiplication *p, int worker) { return false; }
static heed_status open_onednn(struct matmul_kept *kept, heed_error *error) { return HEED_OK; }
static void close_onednn(struct matmul_kept *kept) {}

const char *matmul_provider(void) { return "heed's own tiles"; }

#endif

// ---- The product ----------------------------------------------------------------------------------------------------------

static void run_tile(void *context, int64_t item, int worker) {
    const tiling *t = context;
    const int64_t i = item / t->across * t->tile.rows, j = item % t->across * t->tile.cols;
    const multiplication p = tile_at(t, i, j);
    const struct compiled *c = t->compiled[i + t->tile.rows >= t->whole->m][j + t->tile.cols >= t->whole->n];
    if (c != NULL ? run_compiled(c, &p, t->engine, worker) : p.a.type != HEED_BF16 && multiply_f32(t->engine, &p, worker)) return;
    if (t->scratch) matmul_own(t->engine, &p, scratch_of(t->engine, worker));
    else matmul_plain(&p);    // out of memory: late is better than wrong
}

void matmul(const engine *e, const multiplication *p) {
    if (p->m == 0 || p->n == 0 || p->k == 0) return;
    tiling t = {.engine = e, .whole = p, .tile = choose_tile(p->m, p->n)};
    t.across = int64_ceil_div(p->n, t.tile.cols);
    if (p->a.type == HEED_BF16) threads_for(&e->team, 1, prepare_tiles, &t);
    bool missing = false;
    for (int corner = 0; corner < 4; corner++) missing |= t.compiled[corner >> 1][corner & 1] == NULL;
    if (missing && matmul_own_bytes() > t.scratch_bytes) t.scratch_bytes = matmul_own_bytes();
    t.scratch = reserve(e->products, t.scratch_bytes);
    if (!t.scratch) memset(t.compiled, 0, sizeof t.compiled);
    threads_for(&e->team, int64_ceil_div(p->m, t.tile.rows) * t.across, run_tile, &t);
}

heed_status matmul_open(engine *e, heed_error *error) {
    struct matmul_kept *kept = e->products = memory_take_zeroed(sizeof *kept);
    if (kept == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for the products of layers");
    kept->workers = e->team.workers;
    return open_onednn(kept, error);
}

void matmul_close(engine *e) {
    if (e->products == NULL) return;
    close_onednn(e->products);
    memory_free(e->products->scratch);
    memory_free(e->products);
    e->products = NULL;
}
