// SPDX-License-Identifier: Apache-2.0
#include "cli/compare_side.h"

#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "core/impl.h"

static heed_status unknown(const char *name, heed_error *error) {
    const char *names[64];
    size_t n = 0;
    for (const heed_impl *const *impl = heed_impls; *impl != NULL && n < 32; impl++) names[n++] = (*impl)->name;
    for (int i = 0; heed_preset_at(i) != NULL && n < 64; i++) names[n++] = heed_preset_at(i)->name;
    const char *near = text_nearest(name, names, n);
    if (near != NULL)
        return error_set(error, HEED_INVALID, "\"%.60s\" is no implementation, preset or file; the nearest is %s", name, near);
    return error_set(error, HEED_INVALID, "\"%.60s\" is no implementation, preset or file; `heed list` names the first two", name);
}

heed_status compare_side_find(compare_side *s, const char *name, heed_error *error) {
    *s = (compare_side){.name = name};
    for (const heed_impl *const *impl = heed_impls; *impl != NULL; impl++)
        if (strcmp((*impl)->name, name) == 0) s->implementation = (*impl)->name;
    if (s->implementation != NULL) return HEED_OK;
    if (heed_preset_find(name) == NULL)
        return capture_file_named(name) || access(name, F_OK) == 0 ? HEED_OK : unknown(name, error);
    s->implementation = "ref";
    s->preset = name;
    return HEED_OK;
}

heed_status compare_side_results(const compare_side *s, const call *c, int n_threads, call_results *r, heed_error *error) {
    if (s->implementation == NULL) return capture_results(r, &s->file.of, c, error);
    const heed_choice choice = {.implementation = s->implementation, .threads = n_threads};
    return call_run(r, c, &choice, s->preset, error);
}
