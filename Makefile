# SPDX-License-Identifier: Apache-2.0
# The doors. Everything is built by CMake in build/; this file only names the way in.
#   make deps      install what is missing from the distribution's packages (make demo and make test do it themselves)
#   make           build the library and the program
#   make demo      about three minutes: a small GPT-2 learns a language whose best possible loss is known
#   make test      everything the project can prove about itself
#   make test-full the same with every interruption and failing call instead of a drawn few, and all planted defects
#   make fuzz      made-up inputs against every parser, FUZZ_SECONDS=60 each; FUZZ=json for one
#   make bench     time it, and the peers beside it
#   make install   to PREFIX (/usr/local), below DESTDIR
#   make clean     remove the build folders

BUILD ?= build
PREFIX ?= /usr/local
JOBS ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)
# An existing build folder keeps the generator it was made with.
GENERATOR = $(if $(wildcard $(BUILD)/CMakeCache.txt),,$(if $(shell command -v ninja 2>/dev/null),-G Ninja,-G "Unix Makefiles"))

.PHONY: all deps build-deps test-deps build demo test test-full fuzz bench install clean

all: build

deps: test-deps

build-deps:
	@tools/deps.sh build

test-deps:
	@tools/deps.sh test

build: build-deps
	@mkdir -p $(BUILD)
	@cmake -S . -B $(BUILD) $(GENERATOR) -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=$(PREFIX) > $(BUILD)/configure.log 2>&1 \
	    || { cat $(BUILD)/configure.log; exit 1; }
	@cmake --build $(BUILD) -j $(JOBS)

demo: build
	@HEED_BUILD=$(BUILD) tools/demo.sh

test: test-deps
	@tools/test.sh

test-full: test-deps
	@HEED_FULL=1 tools/test.sh

fuzz: test-deps
	@tools/fuzz.sh

bench: build
	@HEED_BUILD=$(BUILD) tools/bench.sh

install: build
	@cmake --install $(BUILD) --prefix $(PREFIX)

clean:
	@rm -rf build build-*
