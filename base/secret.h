/* SPDX-License-Identifier: MIT
 * Marks for the constant-time checks: what is secret, what has become public.
 *
 * To the checkers a secret is undefined memory: a branch, an address or a
 * system call that depends on it is reported. valgrind does it in builds with
 * -DSOTTO_CT_VALGRIND, clang's MemorySanitizer in its own builds; otherwise
 * both functions are empty.
 *
 * The tests mark secrets. Library code never does; it declassifies what a
 * protocol step publishes (a seed, a ciphertext), each time with the reason.
 */
#ifndef SOTTO_BASE_SECRET_H
#define SOTTO_BASE_SECRET_H

#include <stddef.h>

#if defined(SOTTO_CT_VALGRIND)
#include <valgrind/memcheck.h>
#elif defined(__clang__)
#if __has_feature(memory_sanitizer)
#define SOTTO_CT_MSAN 1
#include <sanitizer/msan_interface.h>
#endif
#endif

/* Keeps v in a register of this class and hides from the compiler where its
 * value came from; emits nothing. Left out under MemorySanitizer, which takes a
 * pin for a use of the value. */
#if defined(SOTTO_CT_MSAN)
#define SOTTO_PIN(register_class, v) ((void)0)
#else
#define SOTTO_PIN(register_class, v) __asm__("" : "+" register_class(v))
#endif

/* Declares len_bytes bytes secret. Tests only. */
static inline void sotto_mark_secret(void *data, size_t len_bytes)
{
#if defined(SOTTO_CT_VALGRIND)
    (void)VALGRIND_MAKE_MEM_UNDEFINED(data, len_bytes);
#elif defined(SOTTO_CT_MSAN)
    __msan_poison(data, len_bytes);
#else
    (void)data;
    (void)len_bytes;
#endif
}

/* Declares len_bytes bytes public from here on. Say why beside each call. */
static inline void sotto_declassify(const void *data, size_t len_bytes)
{
#if defined(SOTTO_CT_VALGRIND)
    (void)VALGRIND_MAKE_MEM_DEFINED(data, len_bytes);
#elif defined(SOTTO_CT_MSAN)
    __msan_unpoison(data, len_bytes);
#else
    (void)data;
    (void)len_bytes;
#endif
}

#endif
