#!/usr/bin/env python3
"""Recomputes handshake.csv and makes transport.csv, with nothing of this project's code.

The curve, ElligatorSwift decoding (BIP 324), Schnorr verification (BIP 340) and the handshake (sv2-spec section 4.5) are
written out below; ChaCha20-Poly1305 comes from the package `cryptography`. Run it in this folder:

    python3 independent.py check   # recomputes handshake.csv from its secrets and encodings
    python3 independent.py make    # prints transport.csv

ElligatorSwift encodings are random, so the two ephemeral ones and the static one are taken from handshake.csv and
checked to decode to the public keys of the secrets.
"""

import csv
import hashlib
import hmac
import sys

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)
PROTOCOL = b"Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256"
BLOCK = 65519


def add(a, b):
    if a is None or b is None:
        return a or b
    if a[0] == b[0]:
        if (a[1] + b[1]) % P == 0:
            return None
        slope = 3 * a[0] * a[0] * pow(2 * a[1], -1, P)
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, P)
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def multiply(point, scalar):
    result = None
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def square_root(value):
    root = pow(value, (P + 1) // 4, P)
    return root if root * root % P == value % P else None


def lift_x(x):
    y = square_root(x**3 + 7)
    return None if y is None else (x, y if y % 2 == 0 else P - y)


def decode_ellswift(encoding):
    """The x coordinate of a 64-byte encoding (BIP 324, XSwiftEC)."""
    u = int.from_bytes(encoding[:32], "big") % P or 1
    t = int.from_bytes(encoding[32:], "big") % P or 1
    if (u**3 + t**2 + 7) % P == 0:
        t = 2 * t % P
    c = square_root(P - 3)
    x = (u**3 + 7 - t**2) * pow(2 * t, -1, P) % P
    y = (x + t) * pow(c * u, -1, P) % P
    for candidate in (u + 4 * y * y, (-x * pow(y, -1, P) - u) * pow(2, -1, P), (x * pow(y, -1, P) - u) * pow(2, -1, P)):
        if lift_x(candidate % P):
            return candidate % P
    raise ValueError("every encoding decodes")


def tagged(tag, *parts):
    digest = hashlib.sha256(tag).digest()
    return hashlib.sha256(digest + digest + b"".join(parts)).digest()


def ecdh(secret, mine, theirs, initiator):
    shared = multiply(lift_x(decode_ellswift(theirs)), secret)[0].to_bytes(32, "big")
    order = (mine, theirs) if initiator else (theirs, mine)
    return tagged(b"bip324_ellswift_xonly_ecdh", *order, shared)


def verify_schnorr(key, message, signature):
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    challenge = int.from_bytes(tagged(b"BIP0340/challenge", signature[:32], key, message), "big") % N
    point = add(multiply(G, s), multiply(lift_x(int.from_bytes(key, "big")), N - challenge))
    return point is not None and point[1] % 2 == 0 and point[0] == r


def hkdf(chaining_key, material):
    key = hmac.digest(chaining_key, material, "sha256")
    first = hmac.digest(key, b"\x01", "sha256")
    return first, hmac.digest(key, first + b"\x02", "sha256")


def nonce(count):
    return bytes(4) + count.to_bytes(8, "little")


class Symmetric:
    def __init__(self):
        self.ck = hashlib.sha256(PROTOCOL).digest()
        self.h = hashlib.sha256(self.ck).digest()
        self.key, self.count = None, 0

    def mix_hash(self, data):
        self.h = hashlib.sha256(self.h + data).digest()

    def mix_key(self, material):
        self.ck, self.key = hkdf(self.ck, material)
        self.count = 0

    def encrypt_and_hash(self, plain):
        cipher = plain if self.key is None else ChaCha20Poly1305(self.key).encrypt(nonce(self.count), plain, self.h)
        self.count += 1
        self.mix_hash(cipher)
        return cipher


def public_x(secret):
    return multiply(G, secret)[0]


def handshake(v):
    """Recomputes act 2 from the responder's side; gives it and both transport keys."""
    number = lambda name: int.from_bytes(v[name], "big")
    act1, e = v["act1"], v["act2"][:64]
    assert decode_ellswift(act1) == public_x(number("initiator_secret"))
    assert decode_ellswift(e) == public_x(number("responder_secret"))
    state = Symmetric()
    state.mix_hash(act1)
    state.encrypt_and_hash(b"")
    state.mix_hash(e)
    shared = ecdh(number("responder_secret"), e, act1, False)
    assert shared == ecdh(number("initiator_secret"), act1, e, True)
    state.mix_key(shared)
    # The static encoding is only in the vector in encrypted form.
    static = ChaCha20Poly1305(state.key).decrypt(nonce(0), v["act2"][64:144], state.h)
    assert decode_ellswift(static) == public_x(number("server_static_secret"))
    act2 = e + state.encrypt_and_hash(static)
    state.mix_key(ecdh(number("server_static_secret"), static, act1, False))
    certificate = v["certificate"]
    authority = public_x(number("authority_secret")).to_bytes(32, "big")
    server = public_x(number("server_static_secret")).to_bytes(32, "big")
    signed = hashlib.sha256(certificate[:10] + server).digest()
    assert verify_schnorr(authority, signed, certificate[10:])
    act2 += state.encrypt_and_hash(certificate)
    return act2, *hkdf(state.ck, b"")


def seal(key, count, plain):
    return ChaCha20Poly1305(key).encrypt(nonce(count), plain, None)


def read(path):
    rows = csv.reader(line for line in open(path) if not line.startswith("#"))
    return {name: bytes.fromhex(value) for name, value in rows}


def check(v):
    act2, to_responder, to_initiator = handshake(v)
    assert act2 == v["act2"]
    for count in (0, 1):
        assert seal(to_responder, count, v["plaintext"]) == v[f"initiator_ciphertext_{count}"]
        name = f"responder_ciphertext_{count}"
        assert name not in v or seal(to_initiator, count, v["plaintext"]) == v[name]
    print("handshake.csv is right")


def make(v):
    _, key, _ = handshake(v)
    print("# The first frame that the initiator of handshake.csv sends, for several lengths of its payload: message type 0x74, byte i")
    print("# of the payload is (7 * i + 3) mod 251. Length of the payload, length of the bytes sent, their SHA-256, their first 38 and")
    print("# last 32 bytes in hexadecimal. Made by independent.py.")
    for length in (0, 1, 65518, 65519, 65520, 131037, 131038, 131039, 200000):
        payload = bytes((7 * i + 3) % 251 for i in range(length))
        wire = seal(key, 0, bytes([0, 0, 0x74]) + length.to_bytes(3, "little"))
        for index in range(0, length, BLOCK):
            wire += seal(key, 1 + index // BLOCK, payload[index : index + BLOCK])
        print(f"{length},{len(wire)},{hashlib.sha256(wire).hexdigest()},{wire[:38].hex()},{wire[-32:].hex()}")


if __name__ == "__main__":
    {"check": check, "make": make}[sys.argv[1]](read("handshake.csv"))
