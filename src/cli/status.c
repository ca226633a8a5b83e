// SPDX-License-Identifier: Apache-2.0
#include "cli/status.h"

#include <stddef.h>

const status_line status_lines[] = {
    {STATUS_DONE, "done", "Done; what was compared is the same or differs by rounding."},
    {STATUS_FAILED, "a check failed or runs differ", "A check failed, or runs differ."},
    {STATUS_UNDECIDABLE, "undecidable", "What was asked cannot be decided with these inputs."},
    {STATUS_REFUSED, "refused", "Meaningful, but not possible here or not built yet; a sentence says why."},
    {STATUS_NOT_FINITE, "not finite", "A NaN or an infinity stopped a run; its origin is named."},
    {STATUS_SYSTEM, "file or system", "A file or the system failed."},
    {STATUS_USAGE, "usage", "The command line, or a problem text on it, has no meaning."},
    {STATUS_SIGNAL, "+ n ended by signal n", "Plus n: ended by signal n."},
    {0, NULL, NULL},
};
