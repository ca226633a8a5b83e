// SPDX-License-Identifier: Apache-2.0
// What the program's exit status says, the same for every verb. 128 + n: ended by signal n.
#pragma once

enum {
    STATUS_DONE = 0,           // also: SAME, ROUNDING
    STATUS_FAILED = 1,         // a check failed; SEMANTIC, NAN
    STATUS_UNDECIDABLE = 2,
    STATUS_REFUSED = 3,        // valid, but not possible here (or not built yet): a sentence says why
    STATUS_NOT_FINITE = 4,     // a NaN or infinity stopped a run
    STATUS_SYSTEM = 5,         // a file or the system failed
    STATUS_USAGE = 64,         // the command line (or a problem text on it) has no meaning
    STATUS_SIGNAL = 128
};

// The same in words, for help and manual: {0, "done", "..."}; ends with NULL words.
typedef struct { int status; const char *brief, *meaning; } status_line;
extern const status_line status_lines[];
