// SPDX-License-Identifier: Apache-2.0
// One self-contained HTML page: styles, scripts and data inside, nothing loaded from anywhere.
#pragma once

#include "base/text.h"
#include "io/json.h"

typedef struct {
    const char *title;                       // of ours; a script may set another
    const char *const *styles, *const *scripts;    // texts of embedded.h, ending in NULL
    const json_t *data;                      // what the scripts read from the element "data"; may hold anything
} page;

// Appends the page. Want of memory sets to->failed.
void page_write(const page *, text_string *to);
