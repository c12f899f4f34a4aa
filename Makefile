# SPDX-License-Identifier: BSD-3-Clause
# The commands people type; Meson does the work (meson.build).
.DEFAULT_GOAL := build
.PHONY: build run test install format check-format bench clean

PREFIX ?= /usr/local
MESON  := /usr/bin/meson

# What is missing is installed first: Debian packages.
.PHONY: packages
packages:
	@tools/install-packages build

build: packages
	@[ -f build/build.ninja ] || $(MESON) setup build --buildtype=release --prefix=$(PREFIX) >build.log || { cat build.log; exit 1; }
	@rm -f build.log
	@ninja -C build programs
	@ln -f build/src/cli/reeve build/src/keeper/reeve-keeper build/

# Reeve on this machine, in the foreground, with the jobs of examples/first.yaml. Ctrl-C stops them and ends.
run: build
	@mkdir -p run
	@echo "Starting Reeve in run/ with examples/first.yaml; in another terminal:"
	@echo "    export REEVE_ADDR=unix:$(CURDIR)/run/reeve.sock PATH=$(CURDIR)/build:\$$PATH"
	@build/reeve up --data run --socket run/reeve.sock --listen 127.0.0.1:7433 --jobs examples/first.yaml

# Everything that must hold, with AddressSanitizer and UndefinedBehaviorSanitizer.
test: packages
	@tools/install-packages test
	@[ -f build-test/build.ninja ] || $(MESON) setup build-test -Db_sanitize=address,undefined --werror >build-test.log || { cat build-test.log; exit 1; }
	@rm -f build-test.log
	@$(MESON) test -C build-test --print-errorlogs

install: build
	@$(MESON) configure build -Dprefix=$(abspath $(PREFIX)) && ninja -C build programs
	$(MESON) install -C build --no-rebuild $(if $(DESTDIR),--destdir $(DESTDIR))

format:
	git ls-files '*.c' '*.h' | xargs clang-format -i

check-format:
	git ls-files '*.c' '*.h' | xargs clang-format --dry-run --Werror

bench: packages
	@tools/install-packages bench
	@[ -f build-bench/build.ninja ] || $(MESON) setup build-bench -Dbench=true --buildtype=release >/dev/null
	@ninja -C build-bench && ln -f build-bench/src/cli/reeve build-bench/src/keeper/reeve-keeper build-bench/
	@bench/node --build build-bench

clean:
	rm -rf build build-* run
