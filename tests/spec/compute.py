#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the files of SPEC §15, written from SPEC.md alone.

    compute.py SPEC.md

Keys, a ciphertext, its square, relinearised, rescaled and both at once, all
from one fixed root. Prints one line for each file, and fails when a SHA-256 or
a size is not the one in the text. Plain Python 3 without packages.
"""
import hashlib
import re
import struct
import sys

sys.dont_write_bytecode = True
from decrypt import WORD, Ring, bit_reverse, chacha20_block, prf, uniform

SECRET, ERROR, CHILD, KEY_ID = 1, 2, 5, 6
PUBLIC, SWITCH = 1 << 63, (1 << 63) + 1

LOG2_N = 10
N = 1 << LOG2_N
MODULI = (1099511592961, 4294957057, 2199023251457)
RING = [Ring(q, LOG2_N) for q in MODULI]
LEVELS = ((0, 1), (0,))
SPECIAL = (2,)
DIGITS = ((0,), (1,))
ROOT = bytes(range(32))
SCALE = 2.0 ** 30
SLOTS = (1.0, -2.0, 0.5, 3.25)


# ---- §6.3: samplers ---------------------------------------------------------

def words(key):
    """The first N 8-byte words of the stream of a key."""
    out = []
    for counter in range(N // 8):
        out += struct.unpack("<8Q", chacha20_block(
            key, counter & WORD, struct.pack("<IQ", counter >> 32, 0)))
    return out


def ternary(key):
    return [(3 * x >> 64) - 1 for x in words(key)]


def error(key):
    def ones(x):
        return bin(x & ((1 << 21) - 1)).count("1")
    return [ones(x) - ones(x >> 21) for x in words(key)]


# ---- polynomials: {id: NTT values} ------------------------------------------

def from_integers(small, ids):
    return {i: RING[i].forward([x % MODULI[i] for x in small]) for i in ids}


def add(a, b):
    return {i: [(x + y) % MODULI[i] for x, y in zip(a[i], b[i])] for i in a}


def mul(a, b):
    return {i: [x * y % MODULI[i] for x, y in zip(a[i], b[i])] for i in a}


def times(a, factor):
    return {i: [x * factor % MODULI[i] for x in a[i]] for i in a}


def only(a, ids):
    return {i: a[i] for i in ids}


# ---- §5: base conversion, division ------------------------------------------

def product(ids):
    out = 1
    for i in ids:
        out *= MODULI[i]
    return out


def convert(x, to):
    """From all limbs of x to those of `to`, values to values."""
    whole = product(x)
    sums = [0] * N
    for i in x:
        q, rest = MODULI[i], whole // MODULI[i]
        factor = pow(rest, -1, q)
        for k, c in enumerate(RING[i].inverse(x[i])):
            y = c * factor % q
            sums[k] += (y if y <= (q - 1) // 2 else y - q) * rest
    return from_integers(sums, to)


def divide(x, by):
    keep = [i for i in x if i not in by]
    lifted = convert(only(x, by), keep)
    whole = product(by)
    return {i: [(a - b) * pow(whole, -1, MODULI[i]) % MODULI[i]
                for a, b in zip(x[i], lifted[i])] for i in keep}


# ---- §7: keys, encryption, key switching ------------------------------------

def mask(secret, seed, error_key, ids, digit=0):
    """(b, a) with b = −a·s + e."""
    a = {i: uniform(seed, i, MODULI[i], N, digit) for i in ids}
    b = add(times(mul(a, only(secret, ids)), -1),
            from_integers(error(error_key), ids))
    return b, a


def switch_key(secret, target):
    ids = LEVELS[0] + SPECIAL
    seed = prf(ROOT, CHILD, SWITCH)
    digits = []
    for j, own in enumerate(DIGITS):
        b, a = mask(secret, seed, prf(ROOT, ERROR, SWITCH, 0, j), ids, j)
        for i in own:
            b = {**b, **add({i: b[i]},
                            times({i: target[i]}, product(SPECIAL)))}
        digits.append((b, a))
    return seed, digits


def relinearise(ct, key, removed=()):
    """Three components to two, divided by P and the moduli removed."""
    level = tuple(ct[0])
    every = level + SPECIAL
    sums = [times({**c, **{i: [0] * N for i in SPECIAL}}, product(SPECIAL))
            for c in ct[:2]]
    for own, parts in zip(DIGITS, key):
        digit = only(ct[2], own)
        lifted = {**convert(digit, [i for i in every if i not in own]), **digit}
        sums = [add(s, mul(only(lifted, s), part))
                for s, part in zip(sums, parts)]
    return [divide(s, SPECIAL + removed) for s in sums]


# ---- §8: encoding -----------------------------------------------------------

ONE = 1 << 200  # fixed point


def arctan_of_inverse(x):
    term, total, k, sign = ONE // x, 0, 1, 1
    while term:
        total += sign * (term // k)
        term, k, sign = term // (x * x), k + 2, -sign
    return total


PI = 4 * (4 * arctan_of_inverse(5) - arctan_of_inverse(239))


def root(k):
    """e^(2πi·k/2N), both parts correctly rounded."""
    angle = 2 * PI * k // (2 * N)
    parts = [0, 0]
    term, n = ONE, 0
    while term:
        parts[n % 2] += term if n % 4 < 2 else -term
        n += 1
        term = term * angle // (ONE * n)
    # What is 0 or 1 came out a few units of 2^-200 off. Dividing integers
    # rounds correctly.
    return [0.0 if abs(x) < ONE >> 100 else x / ONE for x in parts]


def encode(values, ids):
    n = N // 2
    re, im = [0.0] * n, [0.0] * n
    exponent = 1
    for value in values:
        re[bit_reverse((exponent - 1) // 4, LOG2_N - 1)] = value
        exponent = exponent * 5 % (2 * N)
    m = n // 2
    while m >= 1:
        t = n // (2 * m)
        for i in range(m):
            w_re, w_im = root(t * (1 + 4 * bit_reverse(
                i, m.bit_length() - 1)) % (2 * N))
            for a in range(2 * t * i, 2 * t * i + t):
                b = a + t
                d_re, d_im = re[a] - re[b], im[a] - im[b]
                re[a], im[a] = re[a] + re[b], im[a] + im[b]
                re[b] = d_re * w_re + d_im * w_im
                im[b] = d_im * w_re - d_re * w_im
        m //= 2
    factor = SCALE / n
    return from_integers([round(x * factor) for x in re + im], ids)


# ---- §11: files -------------------------------------------------------------

def header(kind, key_id, count=0):
    params = hashlib.sha256(struct.pack("<III3Q", 0, LOG2_N, 3, *MODULI))
    head = (b"SOTTOHDR" + struct.pack("<HHI", 1, kind, 3) + params.digest() +
            bytes(32) + key_id + struct.pack("<Q", count))
    return head + hashlib.sha256(head).digest()


def record(kind, payload):
    head = b"SOTTOREC" + struct.pack("<IIQQ", kind, 0, 0, len(payload))
    return head + hashlib.sha256(head + payload).digest() + payload


def limb(values, i):
    bits = MODULI[i].bit_length()
    text = "".join(format(x, "0%db" % bits) for x in reversed(values))
    return int(text, 2).to_bytes(N * bits // 8, "little")


def poly(a):
    return b"".join(limb(a[i], i) for i in sorted(a))


def moduli(ids):
    return sum(1 << i for i in ids).to_bytes(16, "little")


def ciphertext(key_id, ct, level, scale, seed=None):
    parts = ct if seed is None else ct[:1]
    payload = (struct.pack("<HBBId", level, len(ct), seed is not None, 0,
                           scale) + key_id + moduli(ct[0]) +
               b"".join(poly(c) for c in parts) + (seed or b""))
    return header(4, key_id, 4) + record(4, payload)


def make_files():
    """Yields (name in SPEC §15, bytes)."""
    small = ternary(prf(ROOT, SECRET))
    key_id = prf(ROOT, KEY_ID)[:16]
    secret = from_integers(small, range(3))
    codes = [x & 3 for x in small]
    yield "secret key", header(1, key_id) + record(1, key_id + bytes(
        sum(codes[4 * k + p] << 2 * p for p in range(4))
        for k in range(N // 4)))

    seed = prf(ROOT, CHILD, PUBLIC)
    b, _ = mask(secret, seed, prf(ROOT, ERROR, PUBLIC), (0, 1, 2))
    yield "public key", header(2, key_id) + record(
        2, key_id + moduli((0, 1, 2)) + seed + poly(b))

    seed, key = switch_key(secret, mul(secret, secret))
    yield "evaluation keys", header(3, key_id) + record(
        3, key_id + struct.pack("<IIQ", 1, 2, 2) + moduli(LEVELS[0]) +
        moduli(SPECIAL) + bytes((0, 1)).ljust(96, b"\0") + seed +
        b"".join(limb(digit[0][i], i) for i in range(3) for digit in key))

    seed = prf(ROOT, CHILD, 5, 1)
    ct = list(mask(secret, seed, prf(ROOT, ERROR, 5, 1), LEVELS[0]))
    ct[0] = add(ct[0], encode(SLOTS, LEVELS[0]))
    yield "ciphertext", ciphertext(key_id, ct, 0, SCALE, seed)

    scale = SCALE * SCALE
    square = [mul(ct[0], ct[0]), times(mul(ct[0], ct[1]), 2),
              mul(ct[1], ct[1])]
    yield "its square", ciphertext(key_id, square, 0, scale)
    small_ct = relinearise(square, key)
    yield "relinearised", ciphertext(key_id, small_ct, 0, scale)
    scale /= MODULI[1]
    yield "then rescaled to level 1", ciphertext(
        key_id, [divide(c, (1,)) for c in small_ct], 1, scale)
    yield "both at once", ciphertext(
        key_id, relinearise(square, key, (1,)), 1, scale)


def main():
    with open(sys.argv[1], encoding="utf-8") as spec:
        text = spec.read()
    failed = 0
    for name, data in make_files():
        said = re.search(r"\| %s, (\d+) bytes \| `([0-9a-f]{64})`" % name, text)
        same = said and (int(said.group(1)), said.group(2)) == (
            len(data), hashlib.sha256(data).hexdigest())
        failed += not same
        print("%s: %s" % (name, "as SPEC says" if same else "differs"))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
