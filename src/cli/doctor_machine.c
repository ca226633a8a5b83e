// SPDX-License-Identifier: Apache-2.0
// heed doctor machine: what this CPU can run, and how fast it is at best.
#include <stdio.h>
#include <unistd.h>

#include "base/threads.h"
#include "cli/doctor.h"
#include "cli/machine.h"
#include "cli/output.h"
#include "cli/status.h"
#include "cli/version.h"
#include "nn/matmul.h"

enum { REPEATS = 10, QUERIES = 96, KEYS = 256, CHANNELS = 64, READ_MB = 256 };    // tiles as attention uses; memory no cache holds

static json_t *isa_json(const machine_isa *isa, bool used) {
    json_t *row = json_pack("{s:s, s:b, s:b, s:s?}", "name", isa->name, "runs_here", isa->kernels != NULL, "used", used, "why_not",
                            isa->kernels == NULL ? isa->why : NULL);
    if (isa->kernels == NULL) return row;
    json_object_set_new(row, "product_flops", output_real(machine_product_rate(isa->kernels, QUERIES, CHANNELS, KEYS, REPEATS)));
    json_object_set_new(row, "exp_values_per_s", output_real(machine_exp_rate(isa->kernels, REPEATS)));
    return row;
}

static void print_isa(const json_t *row) {
    printf("  %-8s", json_string_value(json_object_get(row, "name")));
    if (!json_is_true(json_object_get(row, "runs_here"))) {
        printf("no: %s\n", json_string_value(json_object_get(row, "why_not")));
        return;
    }
    printf("products %7.1f GF/s   exp %6.2f values/ns%s\n", json_real_value(json_object_get(row, "product_flops")) * 1e-9,
           json_real_value(json_object_get(row, "exp_values_per_s")) * 1e-9,
           json_is_true(json_object_get(row, "used")) ? "   <- used" : "");
}

// Drivers of GPUs, by the libraries that programs load; they are looked for by file, nothing is loaded or run.
static const struct { const char *name, *files[2]; } drivers[] = {
    {"vulkan", {"libvulkan.so.1", "libvulkan.1.dylib"}},
    {"cuda", {"libcuda.so.1", "libcuda.so"}},
    {"metal", {"Metal.framework", NULL}},
};
enum { DRIVERS = sizeof drivers / sizeof *drivers };

static bool driver_found(int which, char path[256]) {
    static const char *const folders[] = {
        "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib",
        "/usr/local/cuda/lib64", "/usr/lib/wsl/lib", "/opt/homebrew/lib", "/System/Library/Frameworks",
    };
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        for (int j = 0; j < 2 && drivers[which].files[j] != NULL; j++) {
            snprintf(path, 256, "%s/%s", folders[i], drivers[which].files[j]);
            if (access(path, F_OK) == 0) return true;
        }
    return false;
}

static json_t *drivers_json(void) {
    json_t *object = json_object();
    char path[256];
    for (int i = 0; i < DRIVERS; i++)
        json_object_set_new(object, drivers[i].name, driver_found(i, path) ? json_string(path) : json_null());
    return object;
}

static void print_drivers(void) {
    char path[256];
    for (int i = 0; i < DRIVERS; i++)
        printf("%-11s %-8s %s\n", i == 0 ? "GPU drivers" : "", drivers[i].name, driver_found(i, path) ? path : "not found");
    printf("%-11s this version computes on the CPU only\n", "");
}

int doctor_machine(const args *a) {
    const doctor_options *o = a->options;
    heed_error error;
    const cpu_kernels *best = cpu_kernels_best(NULL, &error);
    if (best == NULL) return args_fail_error(a, &error);
    char cpu[MACHINE_TEXT];
    machine_cpu_name(cpu);
    json_t *sets = json_array();
    machine_isa isa;
    for (int i = 0; machine_isa_row(i, &isa); i++) json_array_append_new(sets, isa_json(&isa, isa.kernels == best));
    const double read = machine_read_rate((size_t)READ_MB << 20, 3);
    const double memory = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGE_SIZE);
    if (!o->json) {
        printf("machine     %s, %d threads, %s of memory\n", cpu, threads_available(), output_bytes(memory).text);
        printf("build       heed %s, commit %s, %s\n", heed_version(), version_commit(), version_compiler());
        printf("layers      %s\n", matmul_provider());
        printf("read        %.1f GB/s, one thread, memory no cache holds\nkernels     one thread, f32, cached tiles\n",
               read * 1e-9);
        for (size_t i = 0; i < json_array_size(sets); i++) print_isa(json_array_get(sets, i));
        print_drivers();
        json_decref(sets);
        return STATUS_DONE;
    }
    json_t *all = json_pack("{s:s, s:i, s:s}", "machine", cpu, "cores", threads_available(), "heed", heed_version());
    json_object_set_new(all, "commit", json_string(version_commit()));
    json_object_set_new(all, "compiler", json_string(version_compiler()));
    json_object_set_new(all, "linear_layers", json_string(matmul_provider()));
    json_object_set_new(all, "memory_bytes", output_real(memory));
    json_object_set_new(all, "read_bytes_per_s", output_real(read));
    json_object_set_new(all, "instruction_sets", sets);
    json_object_set_new(all, "gpu_drivers", drivers_json());
    return output_json(a, all);
}
