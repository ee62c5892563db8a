"""Announcements of docs/discovery.md, written a second time and with nothing but Python's own library: what the cases
forge and check with, and what made that page's examples (python3 tests/e2e/lan.py).

Ed25519 is RFC 8032's, ChaCha20-Poly1305 RFC 8439's, XChaCha20 draft-irtf-cfrg-xchacha's.
"""
import hashlib
import ipaddress
import struct

VERSION, NONCE, BODY, SIZE = 1, 24, 192, 233
GROUP, PORT = "239.255.61.73", 6173


def blake(*parts):
    return hashlib.blake2b(b"".join(parts), digest_size=32).digest()


# ---- XChaCha20-Poly1305 ----

def rounds(state):
    x = list(state)

    def quarter(a, b, c, d):
        for (p, q, r, n) in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            x[p] = (x[p] + x[q]) & 0xFFFFFFFF
            v = x[r] ^ x[p]
            x[r] = (v << n | v >> (32 - n)) & 0xFFFFFFFF

    for _ in range(10):
        for k in range(4):
            quarter(k, 4 + k, 8 + k, 12 + k)
        for k in range(4):
            quarter(k, 4 + (k + 1) % 4, 8 + (k + 2) % 4, 12 + (k + 3) % 4)
    return x


SIGMA = struct.unpack("<4I", b"expand 32-byte k")


def keystream(key, nonce, counter, size):
    """XChaCha20's stream: HChaCha20 makes a key of the nonce's first 16 bytes, the other 8 follow four zeros."""
    inner = rounds(SIGMA + struct.unpack("<8I", key) + struct.unpack("<4I", nonce[:16]))
    subkey = inner[:4] + inner[12:]
    out = b""
    while len(out) < size:
        state = list(SIGMA) + subkey + [counter, 0] + list(struct.unpack("<2I", nonce[16:]))
        out += struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(state, rounds(state))))
        counter += 1
    return out[:size]


def tag(key, nonce, head, sealed):
    once = keystream(key, nonce, 0, 32)
    r = int.from_bytes(once[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    pad = lambda b: b + bytes(-len(b) % 16)
    text = pad(head) + pad(sealed) + struct.pack("<QQ", len(head), len(sealed))
    total = 0
    for at in range(0, len(text), 16):
        total = (total + int.from_bytes(text[at:at + 16] + b"\1", "little")) * r % (2**130 - 5)
    return ((total + int.from_bytes(once[16:], "little")) % 2**128).to_bytes(16, "little")


def seal(key, nonce, head, plain):
    sealed = bytes(a ^ b for a, b in zip(plain, keystream(key, nonce, 1, len(plain))))
    return sealed + tag(key, nonce, head, sealed)


def unseal(key, nonce, head, sealed):
    """The plain bytes; None where the tag is wrong."""
    if tag(key, nonce, head, sealed[:-16]) != sealed[-16:]:
        return None
    return bytes(a ^ b for a, b in zip(sealed[:-16], keystream(key, nonce, 1, len(sealed) - 16)))


# ---- Ed25519 ----

P = 2**255 - 19
D = -121665 * pow(121666, P - 2, P) % P
ORDER = 2**252 + 27742317777372353535851937790883648493


def add(a, b):
    p, q = (a[1] - a[0]) * (b[1] - b[0]), (a[1] + a[0]) * (b[1] + b[0])
    t, z = 2 * a[3] * b[3] * D, 2 * a[2] * b[2]
    e, f, g, h = q - p, z - t, z + t, q + p
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def times(scalar, point):
    out = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            out = add(out, point)
        point, scalar = add(point, point), scalar >> 1
    return out


def recover_x(y, sign):
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P)
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P:
        return None
    return P - x if x & 1 != sign else x


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE_X = recover_x(BASE_Y, 0)
BASE = (BASE_X, BASE_Y, 1, BASE_X * BASE_Y % P)


def compress(p):
    inverse = pow(p[2], P - 2, P)
    x, y = p[0] * inverse % P, p[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def decompress(b):
    y = int.from_bytes(b, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    x = recover_x(y, sign)
    return None if x is None else (x, y, 1, x * y % P)


def secret_of(seed):
    h = hashlib.sha512(seed).digest()
    a = int.from_bytes(h[:32], "little") & (1 << 254) - 8 | 1 << 254
    return a, h[32:]


def public_of(seed):
    return compress(times(secret_of(seed)[0], BASE))


def modq(b):
    return int.from_bytes(hashlib.sha512(b).digest(), "little") % ORDER


def sign(seed, message):
    a, prefix = secret_of(seed)
    own = compress(times(a, BASE))
    r = modq(prefix + message)
    point = compress(times(r, BASE))
    return point + ((r + modq(point + own + message) * a) % ORDER).to_bytes(32, "little")


def verify(public, message, signature):
    a, r = decompress(public), decompress(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= ORDER:
        return False
    h = modq(signature[:32] + public + message)
    return compress(times(s, BASE)) == compress(add(r, times(h, a)))


# ---- announcements ----

def key_of(charter):
    """(key, mesh id) of an encoded charter (docs/wire-format.md): the id is the hash of what stands before the founders'
    signatures, and the nonce lies in it."""
    founders = 30 + charter[29]
    mesh = blake(charter[:founders + 1 + 32 * charter[founders]])
    return blake(b"mycel lan key v1\0", charter[13:29], mesh), mesh


def plain_of(ident, incarnation, sequence, time_s, addresses):
    out = ident + struct.pack("<QIQB", incarnation, sequence, time_s, len(addresses))
    for host, port in addresses:
        ip = ipaddress.ip_address(host)
        out += (bytes(10) + b"\xff\xff" + ip.packed if ip.version == 4 else ip.packed) + struct.pack("<H", port)
    return out.ljust(125, b"\0")


def signed_bytes(mesh, plain):
    domain = b"mycel lan v1"
    return blake(bytes([len(domain)]), domain, mesh, plain)


def announce(key, mesh, seed, nonce, incarnation, sequence, time_s, addresses, ident=None):
    """A datagram by the holder of `seed`; with another `ident` a forgery."""
    plain = plain_of(ident or public_of(seed), incarnation, sequence, time_s, addresses)
    body = (plain + sign(seed, signed_bytes(mesh, plain))).ljust(BODY, b"\0")
    head = bytes([VERSION])
    return head + nonce + seal(key, nonce, head, body)


def read(key, mesh, datagram):
    """A dictionary; None where it doesn't open, is badly made or badly signed."""
    if len(datagram) != SIZE or datagram[0] != VERSION:
        return None
    body = unseal(key, datagram[1:1 + NONCE], datagram[:1], datagram[1 + NONCE:])
    if body is None or not verify(body[:32], signed_bytes(mesh, body[:125]), body[125:189]):
        return None
    incarnation, sequence, time_s, count = struct.unpack_from("<QIQB", body, 32)
    addresses = []
    for k in range(count):
        ip = ipaddress.IPv6Address(body[53 + 18 * k:69 + 18 * k])
        addresses.append((str(ip.ipv4_mapped or ip), struct.unpack_from("<H", body, 69 + 18 * k)[0]))
    return {"id": body[:32].hex(), "incarnation": incarnation, "sequence": sequence, "time_s": time_s, "addresses": addresses}


def main():
    """The example of docs/discovery.md: in the mesh `garden` of docs/wire-format.md, by the member 02 02 .. 02."""
    charter = bytes.fromhex(GARDEN)
    key, mesh = key_of(charter)
    told = announce(key, mesh, bytes([2] * 32), bytes(range(NONCE)), 7, 3, 1750000000, [("192.168.1.20", 6173), ("fd00::20", 6173)])
    for name, data in (("lan-key", key), ("mesh", mesh), ("announcement", told)):
        print(f"```hex {name}")
        text = data.hex()
        print("\n".join(text[k:k + 64] for k in range(0, len(text), 64)) + "\n```\n")
    print(read(key, mesh, told))


GARDEN = ("010101010000f153650000000030313233343536373839616263646566066761"
          "7264656e018a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf37488"
          "01b40f6f5cc7e4ee16d34bd8516b30e8ebfc0aba8df7ed001b76389e8073d55d"
          "5e7a789d026ec1934ba743fe01a8e70d39c396e363cb4827568a6dc92d93977e"
          "682557df06")

if __name__ == "__main__":
    main()
