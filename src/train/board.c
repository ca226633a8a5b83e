// SPDX-License-Identifier: Apache-2.0
#include "train/board.h"

#include "io/file.h"
#include "io/folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TAG_BYTES = 512 };

heed_status board_create(tfevents **board, const char *run_folder, int64_t after_step, heed_error *error) {
    *board = NULL;
    char *folder = file_join(run_folder, "tensorboard");
    if (folder == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a path");
    heed_status status = folder_make(folder, error);
    if (status == HEED_OK) status = tfevents_create(board, folder, after_step < 0 ? -1 : after_step + 1, error);
    free(folder);
    return status;
}

heed_status board_line(tfevents *board, const json_t *line, heed_error *error) {
    const bool evaluates = json_object_get(line, "eval_loss") != NULL, window_ends = json_object_get(line, "mean_loss") != NULL;
    const json_t *origin = json_object_get(line, "non_finite");
    const char *key;
    json_t *value;
    tfevents_begin(board, json_integer_value(json_object_get(line, "step")));
    json_object_foreach((json_t *)line, key, value) {
        char tag[TAG_BYTES];
        if (!json_is_number(value) || strcmp(key, "step") == 0) continue;
        const char *bare = evaluates && strncmp(key, "eval_", 5) == 0 ? key + 5 : key;
        snprintf(tag, sizeof tag, "%s/%s", evaluates ? "eval" : "train", bare);
        tfevents_number(board, tag, json_number_value(value));
    }
    const char *sentence = json_string_value(json_object_get(origin, "sentence"));
    if (sentence != NULL) tfevents_text(board, "non_finite", sentence);
    tfevents_end(board);
    return evaluates || window_ends || sentence != NULL ? tfevents_flush(board, error) : HEED_OK;
}

heed_status board_text(tfevents *board, int64_t step, const char *tag, const char *markdown, heed_error *error) {
    tfevents_begin(board, step);
    tfevents_text(board, tag, markdown);
    tfevents_end(board);
    return tfevents_flush(board, error);
}

heed_status board_options(tfevents *board, int64_t step, const json_t *effective, heed_error *error) {
    text_string table = {0};
    const char *name;
    json_t *value;
    text_format(&table, "| option | value |\n|---|---|\n");
    json_object_foreach((json_t *)effective, name, value) {
        text_string shown = {0};
        if (json_file_print(value, false, &shown, error) != HEED_OK) table.failed = true;
        text_format(&table, "| %s | %s |\n", name, shown.text != NULL ? shown.text : "");
        free(shown.text);
    }
    const heed_status status = table.failed ? error_set(error, HEED_NO_MEMORY, "no memory for the table of options")
        : board_text(board, step, "options", table.text, error);
    free(table.text);
    return status;
}
