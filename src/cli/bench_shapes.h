// SPDX-License-Identifier: Apache-2.0
// The rows of bench/shapes.def.
#pragma once

#include <stdbool.h>

typedef struct { const char *name; bool quick; const char *text; } bench_shape;

extern const bench_shape bench_shapes[];    // ends with a row without a name
