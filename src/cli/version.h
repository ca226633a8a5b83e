// SPDX-License-Identifier: Apache-2.0
// What this build is: for --version, run folders and benchmark records.
#pragma once

const char *version_commit(void);           // of git when the build was configured, else "unknown"
const char *version_compiler(void);         // "gcc 12.2.0"

// Version, commit, compiler, kernels, threads, linear layers. To stdout.
void version_print(void);
