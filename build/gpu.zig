//! The GPUs' images: hip/gpu/kernels.hip compiled by Zig's own clang for each target, and one object that holds them all
//! with their table (hip/gpu.h: gpu_images). No SDK of AMD's or NVIDIA's takes part. `zig clang` cannot link AMD's in one
//! step, so they are compiled to assembly, assembled and linked apart.
const std = @import("std");
const sources = @import("sources.zig");

const Target = struct { name: []const u8, amd: bool, ptx: []const u8 = "" };

/// The last that the driver takes is used. PTX is compiled by the driver for any GPU from its number up; its version says
/// how old that driver may be: 6.3 is CUDA 10.0's, 7.0 is 11.0's.
const targets = [_]Target{
    .{ .name = "sm_75", .amd = false, .ptx = "+ptx63" },
    .{ .name = "sm_80", .amd = false, .ptx = "+ptx70" },
    .{ .name = "gfx90a", .amd = true },
    .{ .name = "gfx942", .amd = true },
    .{ .name = "gfx1030", .amd = true },
    .{ .name = "gfx1100", .amd = true },
    .{ .name = "gfx1201", .amd = true },
};

const code_object = "-mcode-object-version=5";

/// -ffp-contract=off: a fused multiply-add is written as one or isn't one (docs/numerics.md).
fn compile(b: *std.Build, target: Target) std.Build.LazyPath {
    const include = b.pathJoin(&.{ b.graph.zig_lib_directory.path orelse ".", "include" });
    const run = b.addSystemCommand(&.{ b.graph.zig_exe, "clang", "-x", if (target.amd) "hip" else "cuda" });
    run.setName(b.fmt("kernels for {s}", .{target.name}));
    run.addArg(b.fmt("{s}={s}", .{ if (target.amd) "--offload-arch" else "--cuda-gpu-arch", target.name }));
    run.addArgs(&.{ "--cuda-device-only", "-nogpulib", "-nogpuinc", "-nostdinc", "-isystem", include, "-ffreestanding" });
    run.addArgs(&.{ "-std=c++20", "-fno-exceptions", "-O3", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror" });
    run.addArg("-fuse-cuid=none"); // a hash of the folder it was built in, otherwise
    if (target.amd) run.addArg(code_object) else run.addArgs(&.{ "-Xclang", "-target-feature", "-Xclang", target.ptx });
    run.addPrefixedDirectoryArg("-I", b.path("."));
    run.addArg("-S");
    run.addFileArg(b.path("hip/gpu/kernels.hip"));
    for (sources.filesIn(b, "hip/gpu", ".h")) |file| run.addFileInput(b.path(b.fmt("hip/gpu/{s}", .{file})));
    for ([_][]const u8{ "hip/gpu_args.h", "hip/kernels.h", "hip/polynomial.h" }) |file| run.addFileInput(b.path(file));
    run.addArg("-o");
    const assembly = run.addOutputFileArg(b.fmt("{s}.s", .{target.name}));
    if (!target.amd) return assembly;
    const assemble = b.addSystemCommand(&.{ b.graph.zig_exe, "clang", "--target=amdgcn-amd-amdhsa", code_object });
    assemble.addArgs(&.{ b.fmt("-mcpu={s}", .{target.name}), "-c" });
    assemble.addFileArg(assembly);
    assemble.addArg("-o");
    const assembled = assemble.addOutputFileArg(b.fmt("{s}.o", .{target.name}));
    const link = b.addSystemCommand(&.{ b.graph.zig_exe, "ld.lld", "-shared", "--no-undefined" });
    link.addFileArg(assembled);
    link.addArg("-o");
    return link.addOutputFileArg(b.fmt("{s}.hsaco", .{target.name}));
}

/// Every image under its target's name, for tests that look into them.
pub fn folder(b: *std.Build) std.Build.LazyPath {
    const files = b.addWriteFiles();
    for (targets) |target| _ = files.addCopyFile(compile(b, target), target.name);
    return files.getDirectory();
}

/// The object with the images and their table: struct gpu_image { name, amd, bytes }, each eight bytes.
pub fn object(b: *std.Build, images: std.Build.LazyPath, arch: std.Target.Cpu.Arch) std.Build.LazyPath {
    var text = std.ArrayList(u8).empty;
    const a = b.allocator;
    text.appendSlice(a, ".section .rodata\n") catch @panic("OOM");
    for (targets, 0..) |target, i| {
        text.appendSlice(a, b.fmt(
            "name{0d}: .asciz \"{1s}\"\n.balign 4096\nimage{0d}: .incbin \"{1s}\"\n.byte 0\n",
            .{ i, target.name },
        )) catch @panic("OOM");
    }
    text.appendSlice(a, b.fmt(".globl gpu_image_count\n.balign 4\ngpu_image_count: .long {d}\n", .{targets.len})) catch @panic("OOM");
    text.appendSlice(a, ".section .data.rel.ro,\"aw\"\n.globl gpu_images\n.balign 8\ngpu_images:\n") catch @panic("OOM");
    for (targets, 0..) |target, i| {
        text.appendSlice(a, b.fmt(".quad name{0d}, {1d}, image{0d}\n", .{ i, @intFromBool(target.amd) })) catch @panic("OOM");
    }
    text.appendSlice(a, ".section .note.GNU-stack,\"\",%progbits\n") catch @panic("OOM");
    const source = b.addWriteFiles().add("images.S", text.items);
    const run = b.addSystemCommand(&.{ b.graph.zig_exe, "clang", "-c", b.fmt("--target={s}-linux-gnu", .{@tagName(arch)}) });
    run.setName("kernels' images");
    run.addPrefixedDirectoryArg("-Wa,-I", images);
    run.addPrefixedDirectoryArg("-I", images);
    run.addFileArg(source);
    run.addArg("-o");
    return run.addOutputFileArg("images.o");
}
