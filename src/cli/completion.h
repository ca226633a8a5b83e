// SPDX-License-Identifier: Apache-2.0
// Completion scripts, made from the tables of verbs and options. To stdout.
#pragma once

#include "cli/args.h"

const char *completion_shell(int i);    // the shells it is made for; NULL past the last

void completion_bash(void);
void completion_zsh(void);
void completion_fish(void);

// Calls body for each verb and each below it, "runs" before "runs diff".
void completion_each(void (*body)(const verb *));

// Is it worth offering? What is refused is not.
bool completion_offers(const option *);

// A verb's name as part of an identifier: "runs_diff".
typedef struct { char text[64]; } completion_name;
completion_name completion_identifier(const char *words);
