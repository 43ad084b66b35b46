/* SPDX-License-Identifier: MIT
 * SHA-256 as FIPS 180-4 writes it (section numbers below are from there).
 */
#include "base/hash.h"

#include <string.h>

#include "base/cpu.h"
#include "base/endian_internal.h"
#include "base/hash_internal.h"
#include "base/mem.h"

/* sotto_sha256.engine: who takes whole blocks. Asking the processor costs as
 * much as hashing a kilobyte or, in a virtual machine, ten, so that it is asked
 * when the first long piece comes. */
enum { ENGINE_NOT_CHOSEN = 0, ENGINE_PORTABLE, ENGINE_SHA };
#define LONG_PIECE_BYTES 4096

const uint32_t sotto_sha256_constant[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
    0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
    0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
    0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
    0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static inline uint32_t rotate_right(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

/* §6.2.2 for one block of 64 bytes. The message schedule is made sixteen
 * words at a time in place, so that it stays in registers. */
static void compress(uint32_t state[8], const uint8_t *block)
{
    uint32_t w[16];
    for (int t = 0; t < 16; t++) {
        w[t] = sotto_load_be32(block + (size_t)4 * (size_t)t);
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];

    for (int base = 0; base < 64; base += 16) {
        for (int t = 0; t < 16; t++) {
            const uint32_t sum1 =
                rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25);
            const uint32_t choose = g ^ (e & (f ^ g));
            const uint32_t t1 =
                h + sum1 + choose + sotto_sha256_constant[base + t] + w[t];
            const uint32_t sum0 =
                rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22);
            const uint32_t majority = (a & b) | (c & (a | b));
            h = g;
            g = f;
            f = e;
            e = d + t1;
            d = c;
            c = b;
            b = a;
            a = t1 + sum0 + majority;

            /* W[t+16] takes the place of W[t]; W[t+1], W[t+9] and W[t+14] are
             * still, or already, the right ones of the circle. */
            const uint32_t w1 = w[(t + 1) & 15], w14 = w[(t + 14) & 15];
            const uint32_t sigma0 =
                rotate_right(w1, 7) ^ rotate_right(w1, 18) ^ w1 >> 3;
            const uint32_t sigma1 =
                rotate_right(w14, 17) ^ rotate_right(w14, 19) ^ w14 >> 10;
            w[t] += sigma0 + w[(t + 9) & 15] + sigma1;
        }
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
    state[5] += f;
    state[6] += g;
    state[7] += h;
    sotto_wipe(w, sizeof w);
}

void sotto_sha256_blocks_portable(uint32_t *state, const uint8_t *in,
                                  size_t n_blocks)
{
    for (; n_blocks > 0; n_blocks--) {
        compress(state, in);
        in += 64;
    }
}

static int choose_engine(void)
{
    return (sotto_cpu_features() & SOTTO_CPU_SHA) != 0 ? ENGINE_SHA
                                                       : ENGINE_PORTABLE;
}

static void take_blocks(sotto_sha256 *hash, const uint8_t *in, size_t n_blocks)
{
    if (hash->engine == ENGINE_NOT_CHOSEN &&
        n_blocks >= LONG_PIECE_BYTES / 64) {
        hash->engine = choose_engine();
    }
#if defined(__x86_64__)
    if (hash->engine == ENGINE_SHA) {
        sotto_sha256_blocks_sha(hash->state, in, n_blocks);
        return;
    }
#endif
    sotto_sha256_blocks_portable(hash->state, in, n_blocks);
}

/* §5.3.3 */
void sotto_sha256_init(sotto_sha256 *hash)
{
    *hash = (sotto_sha256){.state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372,
                                     0xa54ff53a, 0x510e527f, 0x9b05688c,
                                     0x1f83d9ab, 0x5be0cd19}};
}

void sotto_sha256_init_like(sotto_sha256 *hash, const sotto_sha256 *like)
{
    sotto_sha256_init(hash);
    hash->engine = like->engine;
}

void sotto_sha256_ask(sotto_sha256 *hash)
{
    hash->engine = choose_engine();
}

void sotto_sha256_update(sotto_sha256 *hash, const void *data, size_t len_bytes)
{
    const uint8_t *in = data;
    const size_t fill = (size_t)(hash->len_bytes % sizeof hash->block);
    hash->len_bytes += len_bytes;

    if (fill > 0) {
        const size_t room = sizeof hash->block - fill;
        const size_t take = len_bytes < room ? len_bytes : room;
        if (take > 0) {
            memcpy(hash->block + fill, in, take);
        }
        if (take < room) {
            return;
        }
        take_blocks(hash, hash->block, 1);
        in += take;
        len_bytes -= take;
    }
    const size_t whole = len_bytes / sizeof hash->block;
    take_blocks(hash, in, whole);
    in += whole * sizeof hash->block;
    len_bytes -= whole * sizeof hash->block;
    if (len_bytes > 0) {
        memcpy(hash->block, in, len_bytes);
    }
}

void sotto_sha256_update_two(sotto_sha256 *hash, sotto_sha256 *other,
                             const void *data, const void *other_data,
                             size_t len_bytes)
{
    const uint8_t *in = data, *other_in = other_data;
#if defined(__x86_64__)
    const size_t size = sizeof hash->block;
    const size_t head = (size_t)(0 - hash->len_bytes) % size;
    if (hash->engine == ENGINE_SHA && other->engine == ENGINE_SHA &&
        hash->len_bytes % size == other->len_bytes % size &&
        len_bytes >= head + size) {
        sotto_sha256_update(hash, in, head);
        sotto_sha256_update(other, other_in, head);
        const size_t whole = (len_bytes - head) / size;
        sotto_sha256_two_sha(hash->state, other->state, in + head,
                             other_in + head, whole);
        hash->len_bytes += whole * size;
        other->len_bytes += whole * size;
        in += head + whole * size;
        other_in += head + whole * size;
        len_bytes -= head + whole * size;
    }
#endif
    sotto_sha256_update(hash, in, len_bytes);
    sotto_sha256_update(other, other_in, len_bytes);
}

/* §5.1.1: a one bit, zeros, the length in bits as a big-endian number. */
void sotto_sha256_final(sotto_sha256 *hash, uint8_t *digest)
{
    static const uint8_t padding[64] = {0x80};
    const uint64_t len_bits = hash->len_bytes * 8;
    const size_t fill = (size_t)(hash->len_bytes % 64);
    sotto_sha256_update(hash, padding, fill < 56 ? 56 - fill : 120 - fill);

    uint8_t length[8];
    sotto_store_be32(length, (uint32_t)(len_bits >> 32));
    sotto_store_be32(length + 4, (uint32_t)len_bits);
    sotto_sha256_update(hash, length, sizeof length);

    for (size_t i = 0; i < 8; i++) {
        sotto_store_be32(digest + 4 * i, hash->state[i]);
    }
    sotto_wipe(hash, sizeof *hash);
}

void sotto_sha256_of(uint8_t *digest, const void *data, size_t len_bytes)
{
    sotto_sha256 hash;
    sotto_sha256_init(&hash);
    sotto_sha256_update(&hash, data, len_bytes);
    sotto_sha256_final(&hash, digest);
}

void sotto_hex(char *text, const uint8_t *data, size_t len_bytes)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len_bytes; i++) {
        text[2 * i] = digits[data[i] >> 4];
        text[2 * i + 1] = digits[data[i] & 15];
    }
    text[2 * len_bytes] = '\0';
}
