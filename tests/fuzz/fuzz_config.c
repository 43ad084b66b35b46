/* SPDX-License-Identifier: MIT
 * Training configurations.
 */
#include "nn/train/config.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
    static nn_train_config config; /* large for a stack */
    sotto_error err;
    if (nn_train_config_parse(&config, (const char *)data, len_bytes, "fuzz",
                              &err) == SOTTO_OK) {
        uint8_t digest[32];
        nn_train_config_digest(digest, &config);
    }
    return 0;
}
