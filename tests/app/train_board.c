// SPDX-License-Identifier: Apache-2.0
// What TensorBoard's events cost a run: nothing is written between two windows, and a step's event is a matter of microseconds.
#include "train/board.h"

#include "base/clock.h"
#include "io_place.h"

#include <dirent.h>
#include <sys/stat.h>

enum { STEPS = 20000, WINDOW = 10 };

static json_t *line_of(int step) {
    json_t *line = json_pack("{s:i, s:f, s:f, s:f, s:f, s:f, s:i}", "step", step, "epoch", 0.5, "loss", 2.0 / step, "learning_rate",
                             1e-3, "grad_norm", 1.0, "tokens_per_second", 1e4, "tokens", step * 100);
    if (step % WINDOW == 0) json_object_set_new(line, "mean_loss", json_real(2));
    return line;
}

static int64_t bytes_in(const char *folder) {
    int64_t bytes = 0;
    DIR *open = opendir(folder);
    for (const struct dirent *entry; open != NULL && (entry = readdir(open)) != NULL;) {
        char *path = file_join(folder, entry->d_name);
        struct stat s;
        if (stat(path, &s) == 0 && S_ISREG(s.st_mode)) bytes += s.st_size;
        free(path);
    }
    if (open != NULL) closedir(open);
    return bytes;
}

int main(void) {
    heed_error e;
    tfevents *board;
    place_begin();
    CHECK(board_create(&board, place, -1, &e) == HEED_OK, "%s", e.text);
    char *folder = file_join(place, "tensorboard");
    double seconds = 0;
    int64_t before = bytes_in(folder);
    for (int step = 1; step <= STEPS; step++) {
        json_t *line = line_of(step);
        const double begin = clock_thread_seconds();
        CHECK(board_line(board, line, &e) == HEED_OK, "%s", e.text);
        seconds += clock_thread_seconds() - begin;
        json_decref(line);
        if (step > 3 * WINDOW) continue;
        const int64_t now = bytes_in(folder);
        CHECK((now > before) == (step % WINDOW == 0), "step %d: %lld bytes after %lld", step, (long long)now, (long long)before);
        before = now;
    }
    printf("%.2f us a step\n", 1e6 * seconds / STEPS);
    // 1 % of the shortest step there is, some 10 ms of gpt2-nano with one row; measured are 2 us.
    CHECK(seconds / STEPS < 100e-6, "%.1f us a step", 1e6 * seconds / STEPS);
    tfevents_close(board);
    free(folder);
    return place_end();
}
