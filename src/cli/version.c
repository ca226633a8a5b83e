// SPDX-License-Identifier: Apache-2.0
#include "cli/version.h"

#include <stdio.h>

#include "base/threads.h"
#include "cpu/kernels.h"
#include "heed/heed.h"
#include "nn/matmul.h"

#ifndef HEED_COMMIT
#define HEED_COMMIT "unknown"    // the build tells, where it stands in a git repository
#endif

const char *version_commit(void) { return HEED_COMMIT; }

const char *version_compiler(void) {
#ifdef __clang__
    return "clang " __clang_version__;
#else
    return "gcc " __VERSION__;
#endif
}

void version_print(void) {
    heed_error error;
    const cpu_kernels *kernels = cpu_kernels_best(NULL, &error);
    printf("heed %s\n", heed_version());
    printf("commit         %s\n", version_commit());
    printf("compiler       %s\n", version_compiler());
    printf("cpu kernels    %s\n", kernels != NULL ? kernels->name : error.text);
    printf("threads        %d\n", threads_available());
    printf("linear layers  %s\n", matmul_provider());
}
