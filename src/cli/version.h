// SPDX-License-Identifier: Apache-2.0
#pragma once

// What this build is and what it found: version, kernels, threads, linear layers. To stdout.
void version_print(void);
