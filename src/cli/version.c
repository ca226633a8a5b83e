// SPDX-License-Identifier: Apache-2.0
#include "cli/version.h"

#include <stdio.h>

#include "base/threads.h"
#include "heed/heed.h"

void version_print(void) {
    printf("heed %s\n", heed_version());
    printf("threads        %d\n", threads_available());
#if HEED_ONEDNN
    printf("linear layers  oneDNN\n");
#else
    printf("linear layers  heed's own tiles\n");
#endif
}
