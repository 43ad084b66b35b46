#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Decrypts a ciphertext file, written from SPEC.md alone.

    decrypt.py PLAN SECRET CIPHERTEXTS [--items N] [--batches N]

Prints CSV: one line per slot, index first, then one number per ciphertext of
its batch. Plain Python 3 without packages; slow and short on purpose. Nothing
here shares code with the library, so that it tests the specification.
"""
import cmath
import hashlib
import struct
import sys


def need(condition, message):
    if not condition:
        sys.exit("decrypt.py: " + message)


# ---- SPEC §6: ChaCha20, the labelled PRF, uniform residues ------------------

LABEL_UNIFORM = 3
WORD = 0xFFFFFFFF


def chacha20_block(key, counter, nonce):
    """RFC 8439 §2.3: 64 bytes for a 32-byte key and a 12-byte nonce."""
    start = list(struct.unpack("<4I", b"expand 32-byte k"))
    start += struct.unpack("<8I", key) + (counter,) + struct.unpack("<3I", nonce)
    x = list(start)

    def quarter(a, b, c, d):
        for first, second, third, bits in ((a, b, d, 16), (c, d, b, 12),
                                           (a, b, d, 8), (c, d, b, 7)):
            x[first] = (x[first] + x[second]) & WORD
            y = x[third] ^ x[first]
            x[third] = ((y << bits) | (y >> (32 - bits))) & WORD

    for _ in range(10):
        for i in range(4):
            quarter(i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return struct.pack("<16I", *((a + b) & WORD for a, b in zip(x, start)))


def prf(root, label, obj=0, index=0, digit=0, limb=0):
    middle = chacha20_block(root, label, struct.pack("<I", index) + b"sottoPRF")
    return chacha20_block(middle[:32], digit, struct.pack("<IQ", limb, obj))[:32]


def uniform(seed, modulus_id, q, n, digit=0):
    """n residues by rejection from the stream of one limb."""
    key = prf(seed, LABEL_UNIFORM, digit=digit, limb=modulus_id)
    mask = (1 << q.bit_length()) - 1
    out = []
    counter = 0
    while len(out) < n:
        block = chacha20_block(key, counter & WORD,
                               struct.pack("<IQ", counter >> 32, 0))
        counter += 1
        for word in struct.unpack("<8Q", block):
            if word & mask < q and len(out) < n:
                out.append(word & mask)
    return out


# ---- SPEC §4: the ring ------------------------------------------------------

def bit_reverse(i, bits):
    return int(format(i, "0%db" % bits)[::-1], 2) if bits else 0


class Ring:
    """Z_q[X]/(X^n + 1) for one modulus: values <-> coefficients."""

    def __init__(self, q, log2_n):
        self.q, self.log2_n, self.n = q, log2_n, 1 << log2_n
        n = self.n
        base = 2
        while pow(base, (q - 1) // 2, q) != q - 1:  # any non-residue
            base += 1
        root = pow(base, (q - 1) // (2 * n), q)
        square = root * root % q
        self.root = root
        for _ in range(n):  # the smallest odd power of any primitive root
            root = root * square % q
            self.root = min(self.root, root)

    def transform(self, a, w):
        """[Σ_k a_k·w^(ik) for i in range(len(a))], w of order len(a)."""
        if len(a) == 1:
            return a
        even = self.transform(a[0::2], w * w % self.q)
        odd = self.transform(a[1::2], w * w % self.q)
        out = [0] * len(a)
        factor = 1
        for i, (x, y) in enumerate(zip(even, odd)):
            y = y * factor % self.q
            out[i] = (x + y) % self.q
            out[i + len(a) // 2] = (x - y) % self.q
            factor = factor * w % self.q
        return out

    def forward(self, a):
        """Coefficients to values, position i at root^(2·brv(i) + 1)."""
        twist = [x * pow(self.root, k, self.q) % self.q
                 for k, x in enumerate(a)]
        natural = self.transform(twist, self.root * self.root % self.q)
        return [natural[bit_reverse(i, self.log2_n)] for i in range(self.n)]

    def inverse(self, values):
        natural = [values[bit_reverse(i, self.log2_n)] for i in range(self.n)]
        back = pow(self.root, -1, self.q)
        twist = self.transform(natural, back * back % self.q)
        scale = pow(self.n, -1, self.q)
        return [x * pow(back, k, self.q) * scale % self.q
                for k, x in enumerate(twist)]


# ---- SPEC §11: files --------------------------------------------------------

KIND_SECRET, KIND_CIPHERTEXT = 1, 4


class Plan:
    """What the plan file says of the ring: its degree and moduli."""

    def __init__(self, path):
        self.moduli = []
        self.log2_n = None
        with open(path, encoding="utf-8") as text:
            for line in text:
                word = line.split()
                if word[:2] == ["ring", "standard"]:
                    self.log2_n = int(word[2])
                elif word[:1] == ["modulus"]:
                    self.moduli.append(int(word[1]))
        need(self.log2_n and self.moduli, path + " is no plan")
        self.n = 1 << self.log2_n
        self.id = hashlib.sha256(
            struct.pack("<III", 0, self.log2_n, len(self.moduli)) +
            struct.pack("<%dQ" % len(self.moduli), *self.moduli)).digest()
        self.ring = [Ring(q, self.log2_n) for q in self.moduli]


def read_records(path, kind, plan):
    """Yields (index, item, payload, count of the job), everything verified."""
    with open(path, "rb") as file:
        data = file.read()
    at = 0
    count = None
    while at < len(data):
        magic = data[at:at + 8]
        if magic == b"SOTTOHDR":
            head = data[at:at + 136]
            need(len(head) == 136, path + ": truncated header")
            version, have, flags = struct.unpack_from("<HHI", head, 8)
            need(version == 1 and have == kind, path + ": other kind of file")
            need(flags < 4, path + ": unknown flags")
            need(head[16:48] == plan.id, path + ": other parameters")
            need(hashlib.sha256(head[:104]).digest() == head[104:],
                 path + ": header damaged")
            count, = struct.unpack_from("<Q", head, 96)
            at += 136
            continue
        need(magic == b"SOTTOREC" and count is not None, path + ": no record")
        have, item, index, size = struct.unpack_from("<IIQQ", data, at + 8)
        payload = data[at + 64:at + 64 + size]
        need(have == kind and len(payload) == size, path + ": truncated")
        need(hashlib.sha256(data[at:at + 32] + payload).digest() ==
             data[at + 32:at + 64], path + ": record damaged")
        yield index, item, payload, count
        at += 64 + size


def unpack_limb(data, at, q, n):
    """Residues of one limb, and where the next begins."""
    bits = q.bit_length()
    size = (n * bits + 7) // 8
    number = int.from_bytes(data[at:at + size], "little")
    mask = (1 << bits) - 1
    # by pieces: shifting one long number n times would take for ever
    out = []
    for k in range(0, n, 64):
        piece = (number >> (k * bits)) & ((1 << (64 * bits)) - 1)
        out += [(piece >> (i * bits)) & mask for i in range(min(64, n - k))]
    need(max(out) < q, "a residue is not below its modulus")
    return out, at + size


def read_secret(path, plan):
    records = list(read_records(path, KIND_SECRET, plan))
    need(len(records) == 1, path + ": expected one record")
    payload = records[0][2]
    small = []
    for byte in payload[16:]:
        small += [(byte >> shift) & 3 for shift in (0, 2, 4, 6)]
    need(2 not in small and len(small) == plan.n, path + ": no secret key")
    return payload[:16], [-1 if x == 3 else x for x in small]


def read_ciphertext(payload, plan, key_id):
    """(scale, ids of the moduli, components as lists of limbs in values)."""
    _, n_components, flags, zero = struct.unpack_from("<HBBI", payload, 0)
    scale, = struct.unpack_from("<d", payload, 8)
    need(zero == 0 and flags < 2 and 2 <= n_components <= 5, "bad ciphertext")
    need(payload[16:32] == key_id, "the ciphertext belongs to another key")
    mask = int.from_bytes(payload[32:48], "little")
    ids = [i for i in range(len(plan.moduli)) if mask >> i & 1]
    stored = 1 if flags & 1 else n_components
    at = 48
    components = []
    for _ in range(stored):
        limbs = []
        for i in ids:
            limb, at = unpack_limb(payload, at, plan.moduli[i], plan.n)
            limbs.append(limb)
        components.append(limbs)
    if flags & 1:  # c_1 is uniform, from the seed
        seed = payload[at:at + 32]
        at += 32
        components.append([uniform(seed, i, plan.moduli[i], plan.n)
                           for i in ids])
    need(at == len(payload), "bytes after the ciphertext")
    return scale, ids, components


# ---- SPEC §7, §8: phase, lift, slots ----------------------------------------

def phase(plan, secret_values, ids, components):
    """Coefficients of Σ c_i·s^i, one list for each modulus."""
    out = []
    for at, i in enumerate(ids):
        q, s = plan.moduli[i], secret_values[i]
        sums = [0] * plan.n
        for component in reversed(components):
            sums = [(x * y + c) % q
                    for x, y, c in zip(sums, s, component[at])]
        out.append(plan.ring[i].inverse(sums))
    return out


def lift(plan, ids, limbs):
    """Integers in (-Q/2, Q/2) by the Chinese remainder theorem."""
    whole = 1
    for i in ids:
        whole *= plan.moduli[i]
    factor = []
    for i in ids:
        rest = whole // plan.moduli[i]
        factor.append(rest * pow(rest, -1, plan.moduli[i]))
    out = []
    for residues in zip(*limbs):
        x = sum(r * f for r, f in zip(residues, factor)) % whole
        out.append(x - whole if x > whole // 2 else x)
    return out


def fft(a, sign):
    if len(a) == 1:
        return a
    even, odd = fft(a[0::2], sign), fft(a[1::2], sign)
    half = len(even)
    odd = [x * cmath.exp(sign * 1j * cmath.pi * i / half)
           for i, x in enumerate(odd)]
    return ([x + y for x, y in zip(even, odd)] +
            [x - y for x, y in zip(even, odd)])


def slots(coefficients):
    """Slot j is the value at zeta^(5^j), zeta = e^(i·pi/n)."""
    n = len(coefficients)
    twisted = [x * cmath.exp(1j * cmath.pi * k / n)
               for k, x in enumerate(coefficients)]
    at_odd = fft(twisted, 1)  # entry i is the value at zeta^(2i + 1)
    exponent, out = 1, []
    for _ in range(n // 2):
        out.append(at_odd[(exponent - 1) // 2])
        exponent = exponent * 5 % (2 * n)
    return out


def main():
    args = sys.argv[1:]
    limit = {"--items": None, "--batches": None}
    for name in limit:
        if name in args:
            at = args.index(name)
            limit[name] = int(args[at + 1])
            del args[at:at + 2]
    need(len(args) == 3, "usage: decrypt.py PLAN SECRET CIPHERTEXTS "
         "[--items N] [--batches N]")
    plan = Plan(args[0])
    key_id, small = read_secret(args[1], plan)
    secret_values = [ring.forward([x % ring.q for x in small])
                     for ring in plan.ring]
    batches = {}
    total = 0
    for index, item, payload, total in read_records(
            args[2], KIND_CIPHERTEXT, plan):
        if limit["--items"] is not None and item >= limit["--items"]:
            continue
        if limit["--batches"] is not None and index >= limit["--batches"]:
            continue
        scale, ids, components = read_ciphertext(payload, plan, key_id)
        integers = lift(plan, ids,
                        phase(plan, secret_values, ids, components))
        values = slots([x / scale for x in integers])
        batches.setdefault(index, {})[item] = [x.real for x in values]
    for index in sorted(batches):
        items = [batches[index][i] for i in sorted(batches[index])]
        for j in range(plan.n // 2):
            image = index * (plan.n // 2) + j
            if image < total:
                print(",".join([str(image)] +
                               ["%.9g" % values[j] for values in items]))


if __name__ == "__main__":
    main()
