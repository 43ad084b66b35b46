/* SPDX-License-Identifier: MIT
 * base/ is constant time in keys, stream content and hashed bytes.
 */
#include <stdint.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/prng.h"
#include "tests/ct/ct.h"

static sotto_seed secret_seed(void)
{
    sotto_seed seed;
    sotto_seed_from_text(&seed, "constant time");
    sotto_mark_secret(&seed, sizeof seed);
    return seed;
}

/* Looks at every byte, so that a value that was never made is noticed. */
static void publish(const void *data, size_t len_bytes)
{
    const uint8_t *bytes = data;
    unsigned sum = 0;
    sotto_declassify(data, len_bytes);
    for (size_t i = 0; i < len_bytes; i++) {
        sum += bytes[i];
    }
    ct_must(sum > 0, "output");
}

static void check_blocks(ct_log *log)
{
    const sotto_seed key = secret_seed();
    uint8_t out[11 * SOTTO_CHACHA_BLOCK_BYTES], nonce[12] = {1};
    sotto_chacha20_block(out, key.bytes, 7, nonce);
    publish(out, SOTTO_CHACHA_BLOCK_BYTES);
    sotto_chacha20_blocks(out, &key, UINT64_C(0xffffffff), 11);
    publish(out, sizeof out);
    ct_done(log, "chacha20 blocks in the key");
}

static void check_prf(ct_log *log)
{
    const sotto_seed root = secret_seed();
    sotto_seed out;
    sotto_prf(&out, &root, SOTTO_LABEL_CHILD, 1, 2, 3, 4);
    publish(&out, sizeof out);
    ct_done(log, "prf in the root");
}

static void check_stream(ct_log *log)
{
    const sotto_seed key = secret_seed();
    sotto_stream stream;
    uint8_t out[1000];
    sotto_stream_init(&stream, &key);
    sotto_stream_read(&stream, out, 13);
    sotto_stream_read(&stream, out + 13, sizeof out - 13);
    publish(out, sizeof out);
    const uint64_t word = sotto_stream_u64(&stream);
    publish(&word, sizeof word);
    sotto_stream_clear(&stream);
    ct_done(log, "stream in the key");
}

static void check_hash(ct_log *log)
{
    uint8_t message[200] = {0}, digest[SOTTO_HASH_BYTES];
    sotto_mark_secret(message, sizeof message);
    sotto_sha256_of(digest, message, sizeof message);
    publish(digest, sizeof digest);
    ct_done(log, "sha256 in the message");
}

static void check_wipe(ct_log *log)
{
    sotto_seed seed = secret_seed();
    sotto_wipe(&seed, sizeof seed);
    unsigned sum = 0; /* zeros that were stored are defined again */
    for (size_t i = 0; i < sizeof seed.bytes; i++) {
        sum += seed.bytes[i];
    }
    ct_must(sum == 0, "wipe");
    ct_done(log, "wipe leaves nothing of the secret");
}

int main(void)
{
    ct_log log = {0};
    check_blocks(&log);
    check_prf(&log);
    check_stream(&log);
    check_hash(&log);
    check_wipe(&log);
    return 0;
}
