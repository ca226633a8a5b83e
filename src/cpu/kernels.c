// SPDX-License-Identifier: Apache-2.0
// Picks the kernel table. The rows come from isa.def; the build defines HEED_ISA_<name> as the
// address of its table, NULL where it compiled none.
#include "cpu/kernels.h"

#include "base/cpu_features.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

#define ISA(name, features, flags, processors) extern const cpu_kernels cpu_kernels_##name;
#include "cpu/isa.def"
#undef ISA

typedef struct { const char *name; uint32_t features; const cpu_kernels *table; } isa_row;

#define ISA(name, features, flags, processors) {#name, features, HEED_ISA_##name},
static const isa_row rows[] = {
#include "cpu/isa.def"
};
#undef ISA

enum { ROWS = sizeof rows / sizeof rows[0] };

static const cpu_kernels *runnable(const isa_row *row) {
    return (row->features & ~cpu_features()) == 0 ? row->table : NULL;
}

const char *cpu_kernels_row(int i, const cpu_kernels **table) {
    if (i < 0 || i >= ROWS) return NULL;
    if (table != NULL) *table = runnable(&rows[i]);
    return rows[i].name;
}

static heed_status refuse_name(const char *name, bool from_environment, heed_error *error) {
    char text[128] = "";
    text_buffer list = {text, sizeof text, 0};
    bool known = false;
    for (int i = 0; i < ROWS; i++) {
        known |= strcmp(rows[i].name, name) == 0;
        if (runnable(&rows[i]) != NULL) text_add(&list, "%s%s", list.length > 0 ? ", " : "", rows[i].name);
    }
    return error_set(error, known ? HEED_DEVICE : HEED_INVALID, "%s \"%.40s\" %s; this CPU can run: %s",
                     from_environment ? "HEED_CPU" : "cpu", name,
                     known ? "cannot run on this CPU" : "is no known instruction set", text);
}

const cpu_kernels *cpu_kernels_best(const char *name, heed_error *error) {
    const bool from_environment = name == NULL;
    if (from_environment) name = getenv("HEED_CPU");
    if (name == NULL || name[0] == '\0') {
        for (int i = ROWS; i-- > 0;) {
            const cpu_kernels *table = runnable(&rows[i]);
            if (table != NULL) return table;
        }
    } else {
        for (int i = 0; i < ROWS; i++) {
            if (strcmp(rows[i].name, name) == 0 && runnable(&rows[i]) != NULL) return rows[i].table;
        }
    }
    refuse_name(name != NULL ? name : "", from_environment, error);
    return NULL;
}
