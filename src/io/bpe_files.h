// SPDX-License-Identifier: Apache-2.0
// A vocabulary's files, as tokenizer.h describes them for tokenizer_load and tokenizer_save.
#pragma once

#include "io/bpe.h"

#define BPE_EOS "<|endoftext|>"

heed_status bpe_read(bpe **, int32_t *eos, const char *folder, heed_error *);
heed_status bpe_write(const bpe *, int32_t eos, const char *folder, heed_error *);
