"""Marks the symbol versions that this system's libraries lack as optional in an ELF file: pccl_weaken.py LIBRARY
VERSION... (VER_FLG_WEAK in its .gnu.version_r, after the ELF gABI's symbol versioning.)"""
import struct
import sys

SHT_GNU_VERNEED, VER_FLG_WEAK = 0x6FFFFFFE, 2

path, versions = sys.argv[1], {word.encode() for word in sys.argv[2:]}
with open(path, "rb") as file:
    elf = bytearray(file.read())
start, size, count = (struct.unpack_from(f, elf, at)[0] for f, at in (("<Q", 0x28), ("<H", 0x3A), ("<H", 0x3C)))
# name, type, flags, address, offset, size, link, info
sections = [struct.unpack_from("<IIQQQQII", elf, start + i * size) for i in range(count)]
for section in sections:
    if section[1] != SHT_GNU_VERNEED:
        continue
    names, need = sections[section[6]][4], section[4]
    while True:
        _, entries, _, first, following = struct.unpack_from("<HHIII", elf, need)
        at = need + first
        for _ in range(entries):
            _, flags, _, name, step = struct.unpack_from("<IHHII", elf, at)
            if bytes(elf[names + name:elf.index(0, names + name)]) in versions:
                struct.pack_into("<H", elf, at + 4, flags | VER_FLG_WEAK)
            at += step
        if not following:
            break
        need += following
with open(path, "wb") as file:
    file.write(elf)
