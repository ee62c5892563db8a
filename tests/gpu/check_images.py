#!/usr/bin/env python3
"""Looks into the GPUs' images: tests/gpu/check_images.py FOLDER [PTXAS]

AMD: each code object holds every kernel of hip/gpu_args.h with its arguments' size, blocks of 256 threads, no more
shared memory than a device has, no register spilled and enough of them free that two blocks run beside each other. NVIDIA: the PTX holds the same kernels, none
of an operation that would change bits, and PTXAS (if given) assembles it for each architecture without spilling.
Prints a line a check; exit status 1 if one fails.
"""
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

ARCHITECTURES = ["sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"]
SHARED_MAX = 48 << 10  # bytes of a block that every target has
REGISTERS_MAX = 256  # of 512 (CDNA) or more (RDNA): two waves on each SIMD


def kernels():
    text = pathlib.Path("hip/gpu_args.h").read_text()
    table = text[text.index("#define GPU_KERNELS(X)") :]
    return re.findall(r"X\((\w+),", table[: table.index("enum gpu_kernel")])


def unpack(data, at):
    """One msgpack value (what the code objects' notes are made of): value, next offset."""
    byte = data[at]
    at += 1
    if byte <= 0x7F:
        return byte, at
    if byte <= 0x8F:
        return unpack_map(data, at, byte & 15)
    if byte <= 0x9F:
        return unpack_array(data, at, byte & 15)
    if byte <= 0xBF:
        return data[at : at + (byte & 31)].decode(), at + (byte & 31)
    if byte in (0xC2, 0xC3):
        return byte == 0xC3, at
    for code, form in ((0xCC, ">B"), (0xCD, ">H"), (0xCE, ">I"), (0xCF, ">Q"), (0xD0, ">b"), (0xD1, ">h"), (0xD2, ">i")):
        if byte == code:
            return struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)
    for code, form in ((0xD9, ">B"), (0xDA, ">H"), (0xDB, ">I")):
        if byte == code:
            size = struct.unpack_from(form, data, at)[0]
            at += struct.calcsize(form)
            return data[at : at + size].decode(), at + size
    if byte == 0xDC:
        return unpack_array(data, at + 2, struct.unpack_from(">H", data, at)[0])
    if byte == 0xDE:
        return unpack_map(data, at + 2, struct.unpack_from(">H", data, at)[0])
    raise ValueError(f"msgpack type {byte:#x}")


def unpack_array(data, at, count):
    values = []
    for _ in range(count):
        value, at = unpack(data, at)
        values.append(value)
    return values, at


def unpack_map(data, at, count):
    values = {}
    for _ in range(count):
        key, at = unpack(data, at)
        values[key], at = unpack(data, at)
    return values, at


def amd_metadata(image):
    """The note of AMD's code object: ELF64, section of type NOTE, name AMDGPU, type 32."""
    sections, size, count = struct.unpack_from("<Q", image, 40)[0], *struct.unpack_from("<HH", image, 58)
    for i in range(count):
        kind = struct.unpack_from("<I", image, sections + i * size + 4)[0]
        offset, length = struct.unpack_from("<QQ", image, sections + i * size + 24)
        if kind != 7:
            continue
        name_size, body_size, note = struct.unpack_from("<III", image, offset)
        body = offset + 12 + (name_size + 3) // 4 * 4
        if note == 32 and image[offset + 12 :].startswith(b"AMDGPU") and body_size <= length:
            return unpack(image[body : body + body_size], 0)[0]
    raise ValueError("no AMDGPU note")


class Checks:
    def __init__(self):
        self.failed = 0

    def say(self, good, what):
        print(("ok     " if good else "FAILED ") + what)
        self.failed += not good


def check_amd(checks, path, names):
    try:
        metadata = amd_metadata(path.read_bytes())
    except (ValueError, struct.error, IndexError) as error:
        checks.say(False, f"{path.name}: {error}")
        return
    checks.say(metadata["amdhsa.target"] == f"amdgcn-amd-amdhsa--{path.name}", f"{path.name}: {metadata['amdhsa.target']}")
    found = {kernel[".name"]: kernel for kernel in metadata["amdhsa.kernels"]}
    wrong = []
    for name in names:
        kernel = found.get("mycel_" + name)
        if not kernel:
            wrong.append(f"no {name}")
            continue
        first = kernel[".args"][0]
        if first[".value_kind"] != "by_value" or kernel[".max_flat_workgroup_size"] != 256:
            wrong.append(f"{name}: {first}, blocks of {kernel['.max_flat_workgroup_size']}")
        if kernel[".group_segment_fixed_size"] > SHARED_MAX or kernel[".private_segment_fixed_size"]:
            wrong.append(f"{name}: {kernel['.group_segment_fixed_size']} shared, {kernel['.private_segment_fixed_size']} scratch")
        if kernel[".vgpr_spill_count"] or kernel[".vgpr_count"] > REGISTERS_MAX:
            wrong.append(f"{name}: {kernel['.vgpr_count']} registers, {kernel['.vgpr_spill_count']} spilled")
    registers = max(kernel[".vgpr_count"] for kernel in found.values())
    checks.say(not wrong, f"{path.name}: {len(found)} kernels, at most {registers} registers" + "".join("; " + w for w in wrong))


def check_ptx(checks, path, names, ptxas, architectures):
    text = path.read_text()
    missing = [name for name in names if f".entry mycel_{name}(" not in text]
    checks.say(not missing, f"{path.name}: {len(names)} entries {missing or ''}")
    loose = sorted(set(re.findall(r"\.ftz|\.approx|div\.full|\bmad\.f32|\bmad\.rn\.f32", text)))
    checks.say(not loose, f"{path.name}: only IEEE's operations {loose or ''}")
    if not ptxas:
        print(f"SKIPPED: no ptxas: {path.name} was NOT assembled")
        return
    for architecture in architectures:
        with tempfile.NamedTemporaryFile() as out:
            run = subprocess.run([ptxas, "-v", f"-arch={architecture}", "-o", out.name, path], capture_output=True, text=True)
        spills = sum(int(n) for n in re.findall(r"(\d+) bytes spill", run.stderr))
        registers = max([int(n) for n in re.findall(r"Used (\d+) registers", run.stderr)] or [0])
        good = run.returncode == 0 and not spills
        checks.say(good, f"{path.name} for {architecture}: assembled, at most {registers} registers, {spills} bytes spilled")
        if run.returncode:
            print(run.stderr[-2000:])


def main():
    folder, ptxas = pathlib.Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None
    names, checks = kernels(), Checks()
    images = sorted(folder.iterdir())
    checks.say(len(names) > 20 and len(images) > 5, f"{len(names)} kernels, {len(images)} images")
    for image in images:
        if image.name.startswith("gfx"):
            check_amd(checks, image, names)
        else:
            # A driver takes the newest that its GPU can run.
            number = int(image.name[3:])
            newer = min([int(i.name[3:]) for i in images if i.name.startswith("sm_") and int(i.name[3:]) > number] or [10**6])
            check_ptx(checks, image, names, ptxas, [a for a in ARCHITECTURES if number <= int(a[3:]) < newer])
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
