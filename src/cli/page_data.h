// SPDX-License-Identifier: Apache-2.0
// Many numbers in a page's JSON as base64: numbersOf in pages/page.js reads them. NULL without memory.
#pragma once

#include "io/json.h"

json_t *page_numbers(const double *, size_t n);    // {"f4": text}, or {"f8": text} where seven digits lose a counter
json_t *page_bytes(const uint8_t *, size_t n);     // {"u1": text}
