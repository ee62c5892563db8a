//! The layers, as a table. A module's sources see only the headers of itself and of the modules named in
//! `sees`: each gets an include folder that holds nothing else, so a forbidden include does not compile.
//! Sources are every `.c` file that lies directly in the folder, or in one of its parts.

const std = @import("std");

pub const Module = struct {
    /// Folder under the root, and the prefix of its includes ("core/error.h").
    name: []const u8,
    /// Folders inside it, for a person to find their way: they see what the module sees, and each other.
    parts: []const []const u8 = &.{},
    /// Modules whose headers it may include (closed: name every one that is used).
    sees: []const []const u8 = &.{},
    /// Debian's libraries that it links.
    libs: []const []const u8 = &.{},
    /// Holds the GPUs' images (build/gpu.zig).
    images: bool = false,
    /// Holds the live page (build/page.zig).
    page: bool = false,
};

/// In link order: a module stands after everything that it sees.
pub const modules = [_]Module{
    .{ .name = "core", .libs = &.{"sodium"} },
    .{ .name = "gossip", .sees = &.{"core"}, .libs = &.{"m"} },
    .{ .name = "mesh", .sees = &.{"core"}, .libs = &.{ "zmq", "sodium", "msgpackc", "crypto", "pthread" } },
    .{ .name = "sched", .sees = &.{"core"}, .libs = &.{"hwloc"} },
    .{ .name = "store", .sees = &.{"core"}, .libs = &.{"sodium"} },
    .{ .name = "ledger", .sees = &.{"core"} },
    .{ .name = "atlas", .sees = &.{"core"}, .libs = &.{ "m", "jansson" } },
    .{ .name = "hip", .sees = &.{"core"}, .libs = &.{ "m", "pthread" }, .images = true },
    .{ .name = "learn", .sees = &.{ "core", "gossip", "ledger", "hip" }, .libs = &.{"m"} },
    .{
        .name = "node",
        .parts = &.{ "compute", "control", "doctor", "look" },
        .sees = &.{ "core", "gossip", "mesh", "sched", "store", "ledger", "atlas", "hip", "learn" },
        .libs = &.{ "zmq", "sodium", "hwloc", "jansson", "pthread" },
        .page = true,
    },
    .{
        .name = "tools",
        .parts = &.{ "doctor", "lab", "look" },
        .sees = &.{ "core", "atlas", "node" },
        .libs = &.{ "jansson", "ncursesw", "tinfo", "pthread" },
    },
};

/// Folders inside `tools/` and `bench/` that link modules directly and are called by the command line.
pub const programs = [_]Module{
    .{ .name = "tools/sim", .sees = &.{ "core", "gossip", "ledger", "hip", "learn" } },
    .{
        .name = "bench",
        .sees = &.{ "core", "gossip", "mesh", "sched", "store", "ledger", "atlas", "hip", "learn" },
        .libs = &.{ "jansson", "zmq" },
    },
};

/// Instruction sets by the end of a file's name; everything else is built for the baseline machine, so that one
/// binary runs anywhere and picks its kernels once, at start. Zig takes the features (its own list overrides -m flags),
/// clang the flags.
pub const Isa = struct {
    suffix: []const u8,
    arch: std.Target.Cpu.Arch,
    features: std.Target.Cpu.Feature.Set,
    flags: []const []const u8,
};
pub const isas = [_]Isa{
    .{
        .suffix = "_avx512.c",
        .arch = .x86_64,
        .features = std.Target.x86.featureSet(&.{ .avx512f, .avx512bw, .avx512dq, .avx512vl, .avx2, .fma }),
        .flags = &.{ "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma" },
    },
    .{
        .suffix = "_neon.c",
        .arch = .aarch64,
        .features = std.Target.aarch64.featureSet(&.{.neon}),
        .flags = &.{},
    },
    .{
        .suffix = "_avx2.c",
        .arch = .x86_64,
        .features = std.Target.x86.featureSet(&.{ .avx2, .fma }),
        .flags = &.{ "-mavx2", "-mfma" },
    },
};

/// Every translation unit. `-ffp-contract=off`: a fused multiply-add is written as one or isn't one (docs/numerics).
pub const flags = [_][]const u8{
    "-std=gnu11",            "-Wall",             "-Wextra",
    "-Werror",               "-Wshadow",          "-Wstrict-prototypes",
    "-Wmissing-prototypes",  "-Wundef",           "-Wvla",
    "-Wpointer-arith",       "-ffp-contract=off", "-fno-fast-math",
    "-D_GNU_SOURCE",         "-fno-strict-aliasing",
};
