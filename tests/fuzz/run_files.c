// SPDX-License-Identifier: Apache-2.0
// What a resumed run reads of the one before: metrics.jsonl (first byte even) and trainer_state.json.
#include "fuzz.h"

#include "train/checkpoint.h"
#include "train/log.h"

// Kept lines are whole, in their order, and keeping again keeps all of them.
static void metrics(const uint8_t *data, size_t n) {
    char *text = malloc(n + 1), *twice = malloc(n + 1);
    REQUIRE(text != NULL && twice != NULL, "no memory");
    if (n > 0) memcpy(text, data, n);
    int64_t damaged;
    const size_t kept = run_log_keep(text, n, 7, &damaged);
    REQUIRE(damaged >= 0 && damaged <= (int64_t)n, "%lld lines of %zu bytes", (long long)damaged, n);
    REQUIRE(kept <= n && (kept == 0 || text[kept - 1] == '\n'), "%zu of %zu bytes", kept, n);
    memcpy(twice, text, kept);
    REQUIRE(run_log_keep(twice, kept, 7, &damaged) == kept && damaged == 0, "kept lines are not kept");
    REQUIRE(memcmp(text, twice, kept) == 0, "kept lines are not kept");
    REQUIRE(run_log_keep(twice, kept, -1, &damaged) == 0, "a line of no step is kept");
    free(text);
    free(twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    if (n == 0) return 0;
    if (data[0] % 2 == 0) {
        metrics(data + 1, n - 1);
        return 0;
    }
    heed_error e;
    trainer_state s;
    fuzz_file("trainer_state.json", data + 1, n - 1);
    const heed_status status = checkpoint_read_state(fuzz_folder(), &s, &e);
    fuzz_sentence(status, &e, "trainer_state.json");
    REQUIRE(status != HEED_OK || (s.step >= 0 && s.steps >= 1 && s.steps_per_epoch >= 1 && s.rows >= 1 && s.batch_size >= 1),
            "a state that cannot be");
    return 0;
}
