// SPDX-License-Identifier: Apache-2.0
// The sequences of `heed generate`: prompts as they were given, what they become, and how that is shown while it grows.
#pragma once

#include "cli/args.h"
#include "io/json.h"
#include "io/text_stream.h"
#include "io/tokenizer.h"
#include "model/generate.h"

// One sequence; several samples of a prompt are sequences of their own.
typedef struct {
    const char *prompt;        // prompt_bytes of it; the text's
    size_t prompt_bytes;
    int64_t number, sample;    // of the prompt and of its sample, from 0
    id_list prompt_ids, ids;
    text_stream text;
    size_t shown;
    bool begun, done;
    finish_reason reason;      // when done
} sequence;

typedef struct {
    const tokenizer *words;
    int32_t eos;
    const char *stops[2];
    bool live;                  // shown while it grows; --json shows nothing
    char *file;                 // what --prompt_file named; NULL: none
    sequence *list;
    int64_t count, samples, speaking;    // speaking: the first that is not shown whole; later ones wait for it
} sequences;

// One prompt, or one a line of a file ("-": standard input; CR LF is a line's end too).
heed_status sequences_from_text(sequences *, const char *prompt, int64_t samples, heed_error *);
heed_status sequences_from_file(sequences *, const char *path, int64_t samples, heed_error *);
heed_status sequences_encode(sequences *, heed_error *);
void sequences_free(sequences *);

// The calls of model/generate.h; context is the sequences.
bool sequences_token(void *context, int64_t at, int32_t id);
void sequences_finished(void *context, int64_t at, finish_reason);

json_t *sequences_json(const sequences *);
