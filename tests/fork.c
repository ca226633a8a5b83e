// SPDX-License-Identifier: Apache-2.0
// A child after fork has none of OpenMP's workers: it must compute the same bits inline, not wait for them for ever.
#include "base/memory.h"
#include "compare/drawn.h"
#include "test.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
    problem_line line;
    drawn d;
    heed_plan *plan;
    heed_error error = {.text = ""};
    CHECK(problem_line_parse(&line, "b2 h4 q200 d32 causal", &error) == HEED_OK && drawn_make(&d, &line, &error) == HEED_OK, "%s",
          error.text);
    CHECK(heed_plan_create(&plan, &line.problem, &(heed_choice){.threads = 4}, &error) == HEED_OK, "%s", error.text);
    heed_args a = d.args;
    a.workspace_bytes = heed_workspace_bytes(plan);
    a.workspace = memory_take(a.workspace_bytes);
    CHECK(heed_run(plan, &a, &error) == HEED_OK, "the parent: %s", error.text);
    const size_t n = 2 * 4 * 200 * 32;
    float *parent = malloc(n * sizeof *parent);
    memcpy(parent, a.out, n * sizeof *parent);
    const pid_t child = fork();
    if (child == 0) {
        alarm(20);    // a hang ends here, as signal 14
        drawn_reset_outputs(&d);
        const bool same = heed_run(plan, &a, &error) == HEED_OK && memcmp(parent, a.out, n * sizeof *parent) == 0;
        _exit(same ? 0 : 1);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with status %d",
          status);
    free(parent);
    memory_free(a.workspace);
    heed_plan_destroy(plan);
    drawn_free(&d);
    return test_end();
}
