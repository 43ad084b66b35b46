/* SPDX-License-Identifier: MIT
 * The byte reader against a model too simple to be wrong: the first byte of
 * each pair chooses a read, the second a length; the input reads itself.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/fuzz/fuzz.h"

static void must(int condition)
{
    if (!condition) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
    sotto_reader reader = sotto_reader_init(data, len_bytes);
    size_t at = 0; /* the model: where the reader must be */
    int ok = 1;
    for (size_t i = 0; i + 1 < len_bytes && i < 64; i += 2) {
        static const size_t sizes[] = {1, 2, 4, 8, 8};
        const unsigned kind = data[i] % 7;
        const size_t want = kind < 5 ? sizes[kind] : data[i + 1];
        uint8_t got[256] = {0};
        memset(got, 0xee, want);
        if (kind == 0) {
            got[0] = sotto_read_u8(&reader);
        } else if (kind == 1) {
            const uint16_t value = sotto_read_u16(&reader);
            memcpy(got, &value, 2);
        } else if (kind == 2) {
            const uint32_t value = sotto_read_u32(&reader);
            memcpy(got, &value, 4);
        } else if (kind == 3) {
            const uint64_t value = sotto_read_u64(&reader);
            memcpy(got, &value, 8);
        } else if (kind == 4) {
            const double value = sotto_read_f64(&reader);
            memcpy(got, &value, 8);
        } else if (kind == 5) {
            sotto_read_bytes(&reader, got, want);
        } else {
            const uint8_t *view = sotto_read_view(&reader, want);
            memset(got, 0, want);
            if (view != NULL && want > 0) {
                memcpy(got, view, want);
            }
        }
        ok = ok && want <= len_bytes - at;
        static const uint8_t zero[256];
        must(reader.ok == ok);
        must(want == 0 || memcmp(got, ok ? data + at : zero, want) == 0);
        at += ok ? want : 0;
        must(sotto_reader_left(&reader) == (ok ? len_bytes - at : 0));
    }
    return 0;
}
