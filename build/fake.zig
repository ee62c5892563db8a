//! The library that plays a GPU's driver in tests (tests/fake): the kernels' source for this machine and the driver's calls.
const std = @import("std");
const layers = @import("layers.zig");
const sources = @import("sources.zig");

pub fn library(b: *std.Build, target: std.Build.ResolvedTarget) std.Build.LazyPath {
    const root = b.createModule(.{ .target = target, .optimize = .ReleaseFast, .link_libc = true, .pic = true });
    root.addIncludePath(b.path("."));
    root.addAfterIncludePath(.{ .cwd_relative = "/usr/include" });
    root.addAfterIncludePath(.{ .cwd_relative = b.fmt("/usr/include/{s}-linux-gnu", .{@tagName(target.result.cpu.arch)}) });
    for (sources.cFiles(b, "tests/fake")) |file| {
        root.addCSourceFile(.{ .file = b.path(b.fmt("tests/fake/{s}", .{file})), .flags = &(layers.flags ++ .{"-Wno-missing-prototypes"}) });
    }
    const cpp = &[_][]const u8{ "-std=c++20", "-fno-exceptions", "-fno-rtti", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror" };
    root.addCSourceFile(.{ .file = b.path("tests/fake/kernels.cpp"), .flags = cpp });
    root.linkSystemLibrary("m", .{ .use_pkg_config = .no });
    return b.addLibrary(.{ .name = "fakegpu", .linkage = .dynamic, .root_module = root }).getEmittedBin();
}
