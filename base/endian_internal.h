/* SPDX-License-Identifier: MIT
 * Numbers to and from bytes at any address. Compilers turn each of these into
 * one move (and one byte swap for the big-endian ones).
 */
#ifndef SOTTO_BASE_ENDIAN_INTERNAL_H
#define SOTTO_BASE_ENDIAN_INTERNAL_H

#include <stdint.h>

/* Reads 16 bits, least significant byte first. */
static inline uint16_t sotto_load_le16(const uint8_t *in)
{
    return (uint16_t)((uint32_t)in[0] | (uint32_t)in[1] << 8);
}

/* Reads 32 bits, least significant byte first. */
static inline uint32_t sotto_load_le32(const uint8_t *in)
{
    return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 |
           (uint32_t)in[3] << 24;
}

/* Reads 64 bits, least significant byte first. */
static inline uint64_t sotto_load_le64(const uint8_t *in)
{
    return (uint64_t)sotto_load_le32(in) | (uint64_t)sotto_load_le32(in + 4)
                                               << 32;
}

/* Reads 32 bits, most significant byte first. */
static inline uint32_t sotto_load_be32(const uint8_t *in)
{
    return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 |
           (uint32_t)in[2] << 8 | (uint32_t)in[3];
}

/* Writes 32 bits, least significant byte first. */
static inline void sotto_store_le32(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t)value;
    out[1] = (uint8_t)(value >> 8);
    out[2] = (uint8_t)(value >> 16);
    out[3] = (uint8_t)(value >> 24);
}

/* Writes 64 bits, least significant byte first. */
static inline void sotto_store_le64(uint8_t *out, uint64_t value)
{
    sotto_store_le32(out, (uint32_t)value);
    sotto_store_le32(out + 4, (uint32_t)(value >> 32));
}

/* Writes 32 bits, most significant byte first. */
static inline void sotto_store_be32(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t)(value >> 24);
    out[1] = (uint8_t)(value >> 16);
    out[2] = (uint8_t)(value >> 8);
    out[3] = (uint8_t)value;
}

#endif
