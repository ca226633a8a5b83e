// SPDX-License-Identifier: Apache-2.0
#include "cli/bench_shapes.h"

#include <stddef.h>

const bench_shape bench_shapes[] = {
#define SHAPE(name, quick, text) {#name, quick, text},
#include "../../bench/shapes.def"
#undef SHAPE
    {NULL, false, NULL},
};
