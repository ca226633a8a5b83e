# SPDX-License-Identifier: Apache-2.0
"""The trainer's rows and their order, written again from the rule in src/train/data.h: what the runs are compared with."""
MASK32, MASK64 = (1 << 32) - 1, (1 << 64) - 1
ORDER_STREAM = 1 << 40


def philox(key, c):
    """Philox4x32-10 (Salmon et al. 2011)."""
    c0, c1, c2, c3 = c
    k0, k1 = key & MASK32, key >> 32
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & MASK32, (p0 >> 32) ^ c3 ^ k1, p0 & MASK32
        k0, k1 = (k0 + 0x9E3779B9) & MASK32, (k1 + 0xBB67AE85) & MASK32
    return c0, c1, c2, c3


class Stream:
    def __init__(self, seed, number):
        self.seed, self.number, self.drawn = seed, number, 0

    def u32(self):
        block, word = divmod(self.drawn, 4)
        self.drawn += 1
        return philox(self.seed, (block & MASK32, block >> 32, self.number & MASK32, self.number >> 32))[word]

    def below(self, n):
        while True:
            high = self.u32()
            x = high << 32 | self.u32()
            if x <= MASK64 - (1 << 64) % n:
                return x % n


def order(n, seed, epoch):
    stream, out = Stream(seed, ORDER_STREAM + epoch), list(range(n))
    for i in range(n - 1, 0, -1):
        other = stream.below(i + 1)
        out[i], out[other] = out[other], out[i]
    return out


def documents(text):
    """Documents of a .txt file: runs of non-blank lines."""
    out, lines = [], []
    for line in text.split("\n") + [""]:
        if line.strip(" \t\r\f\v"):
            lines.append(line)
        elif lines:
            out.append("\n".join(lines))
            lines = []
    return out


def rows(docs, length, packed):
    """Each row is a list of pieces, each piece a list of ids."""
    out, row, fill = [], [], 0
    for ids in docs:
        at = 0
        while at < len(ids):
            n = min(len(ids) - at, length - fill)
            row.append(ids[at:at + n])
            fill, at = fill + n, at + n
            if fill == length or not packed:
                out.append(row)
                row, fill = [], 0
        if not packed and row:
            out.append(row)
            row, fill = [], 0
    if row:
        out.append(row)
    return [r for r in out if any(len(piece) > 1 for piece in r)]


def steps(row_list, rows_a_step, seed):
    """Endless: the rows of each step."""
    epoch = 0
    while True:
        permutation = order(len(row_list), seed, epoch)
        for first in range(0, len(row_list), rows_a_step):
            yield [row_list[i] for i in permutation[first:first + rows_a_step]]
        epoch += 1
