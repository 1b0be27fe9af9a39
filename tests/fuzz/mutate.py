"""Damaging bytes as disks, editors and attackers do."""

from random import Random

_PIECES = (
    b"\x00",
    b"\xff" * 8,
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"-1",
    b"NaN",
    b"1e999",
    b"9" * 5000,
    b"\xb2",
    b"[" * 3000,
    b'{"a":' * 3000,
    b"../../escaped",
    b"/etc/hostname",
    b"\r\n",
    b"\t",
    b'"',
    b"-->",
    b"<script>",
)


def mutate(content: bytes, random: Random) -> bytes:
    """Return ``content`` with one to four damages."""
    data = bytearray(content)
    for _ in range(random.randint(1, 4)):
        start = random.randrange(len(data) + 1)
        length = min(len(data) - start, random.choice((1, 1, 2, 8, 64, 1024)))
        kind = random.randrange(6)
        if kind == 0 and length:  # flip a bit
            data[start] ^= 1 << random.randrange(8)
        elif kind == 1:  # cut out
            del data[start : start + length]
        elif kind == 2:  # cut off
            del data[start:]
        elif kind == 3:  # say twice
            data[start:start] = data[start : start + length]
        elif kind == 4:  # overwrite by noise
            data[start : start + length] = random.randbytes(length)
        else:
            data[start:start] = random.choice(_PIECES)
    return bytes(data)
