// SPDX-License-Identifier: Apache-2.0
// Guided investigations: one file each. They return the verb's exit status, STATUS_DONE when the investigation completed.
#pragma once

#include "cli/args.h"

typedef struct { const char *impl, *cpu, *only, *problem, *html, *prompt, *ids; int64_t threads, seed; bool json; } doctor_options;

int doctor_nan(const args *);
int doctor_machine(const args *);
int doctor_phase1(const args *);
int doctor_phases(const args *);
int doctor_model(const args *);
int doctor_capture(const args *);    // of a file, named instead of an investigation

const char *doctor_name(int i);    // the i-th investigation that is built; NULL past the last
