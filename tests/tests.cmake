# SPDX-License-Identifier: Apache-2.0
# What ctest runs. Every tests/*.c is a program and a ctest of that name; those of tests/app/ need the program's
# libraries, and tests/app/tool_*.c are programs that other tests run, no ctests. A new file needs no edit here.
enable_testing()
set(heed_test_seconds 300)    # sanitizers and qemu are slow; a test itself stays under 15 s
# Labels: pool = runs on a caller's own threads (tsan); smoke = the sample that aarch64 runs under qemu.
set(heed_smoke_tests algebra dispatch edits errors grad kernels pool problem_text simd)
if(HEED_SANITIZE)
  set(heed_test_seconds 900)      # beside other work, too
  set(heed_arguments_impls 60)    # drawn problems; 250 without sanitizers
endif()

function(heed_test source libraries)
  get_filename_component(name ${source} NAME_WE)
  add_executable(test_${name} ${source})
  target_link_libraries(test_${name} ${libraries})
  if(NOT name MATCHES "^tool_")
    add_test(NAME ${name} COMMAND test_${name} ${heed_arguments_${name}} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(${name} PROPERTIES TIMEOUT ${heed_test_seconds})
    if(name MATCHES "^pool")
      set_property(TEST ${name} APPEND PROPERTY LABELS pool)
    endif()
    if(name IN_LIST heed_smoke_tests)
      set_property(TEST ${name} APPEND PROPERTY LABELS smoke)
    endif()
  endif()
endfunction()

file(GLOB test_sources CONFIGURE_DEPENDS tests/*.c)
foreach(source IN LISTS test_sources)
  heed_test(${source} heed_static)
endforeach()
# tests/simd.c reaches each instruction set's vectors through an object compiled with its flags.
foreach(isa IN LISTS heed_isas)
  add_library(test_simd_${isa} OBJECT tests/simd/probe.c)
  target_compile_options(test_simd_${isa} PRIVATE ${heed_isa_flags_${isa}})
  target_include_directories(test_simd_${isa} PRIVATE ${CMAKE_SOURCE_DIR})
  target_compile_definitions(test_simd_${isa} PRIVATE "SIMD_HEADER=\"cpu/simd/${isa}.h\"" "SIMD_PROBE=simd_probe_${isa}")
  target_sources(test_simd PRIVATE $<TARGET_OBJECTS:test_simd_${isa}>)
  target_compile_definitions(test_simd PRIVATE "SIMD_PROBE_${isa}=&simd_probe_${isa}")
endforeach()
foreach(isa IN LISTS heed_isas_elsewhere)
  target_compile_definitions(test_simd PRIVATE "SIMD_PROBE_${isa}=NULL")
endforeach()
if(HEED_PROGRAM)
  file(GLOB app_test_sources CONFIGURE_DEPENDS tests/app/*.c)
  foreach(source IN LISTS app_test_sources)
    heed_test(${source} heed_app)
  endforeach()
endif()

# tests/preload/faults.c makes calls on files fail or kill (tests/python/test_faults.py).
if(HEED_PROGRAM AND CMAKE_SYSTEM_NAME STREQUAL "Linux")
  add_library(test_faults MODULE tests/preload/faults.c)
  set_target_properties(test_faults PROPERTIES C_VISIBILITY_PRESET default)
  target_link_libraries(test_faults ${CMAKE_DL_LIBS})
endif()

# Every tests/fuzz/*.c is a libFuzzer target. They are the target `fuzz`, where the whole tree is compiled for it: tools/fuzz.sh.
if(HEED_PROGRAM AND HEED_SANITIZE MATCHES "fuzzer-no-link")
  add_custom_target(fuzz)
  file(GLOB fuzz_sources CONFIGURE_DEPENDS tests/fuzz/*.c)
  foreach(source IN LISTS fuzz_sources)
    get_filename_component(name ${source} NAME_WE)
    add_executable(fuzz_${name} EXCLUDE_FROM_ALL ${source})
    target_link_libraries(fuzz_${name} heed_app)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    add_dependencies(fuzz fuzz_${name})
  endforeach()
endif()

# Every examples/*.c, built against the shared library as a user's program would be.
file(GLOB example_sources CONFIGURE_DEPENDS examples/*.c)
foreach(source IN LISTS example_sources)
  get_filename_component(name ${source} NAME_WE)
  add_executable(example_${name} ${source})
  target_link_libraries(example_${name} heed)
  add_test(NAME example_${name} COMMAND example_${name})
  set_tests_properties(example_${name} PROPERTIES TIMEOUT ${heed_test_seconds} LABELS smoke)
endforeach()

# Every bench/*.c; as a test it only shows that it runs.
file(GLOB bench_sources CONFIGURE_DEPENDS bench/*.c)
foreach(source IN LISTS bench_sources)
  get_filename_component(name ${source} NAME_WE)
  add_executable(bench_${name} ${source})
  target_link_libraries(bench_${name} heed)
  add_test(NAME bench_${name} COMMAND bench_${name} 100 16 1)
  set_tests_properties(bench_${name} PROPERTIES TIMEOUT ${heed_test_seconds})
endforeach()

if(NOT CMAKE_CROSSCOMPILING)
  add_test(NAME headers_alone COMMAND ${CMAKE_SOURCE_DIR}/tests/headers/run.sh ${CMAKE_SOURCE_DIR}/include ${CMAKE_C_COMPILER})
  # tests/cli/run.*: the program's verbs, by script and expected output.
  file(GLOB cli_runner CONFIGURE_DEPENDS tests/cli/run.sh tests/cli/run.py)
  if(HEED_PROGRAM AND cli_runner)
    add_test(NAME cli COMMAND ${cli_runner} $<TARGET_FILE:heed_program> WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(cli PROPERTIES TIMEOUT ${heed_test_seconds})
  endif()
endif()
