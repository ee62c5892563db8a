//! tests/device: one program with all that only a real GPU can prove, run here or carried to a machine that has one.
const std = @import("std");
const layers = @import("layers.zig");
const sources = @import("sources.zig");

/// Unit tests that run there too, each with its main under another name.
const borrowed = [_][]const u8{ "hip/gemm.c", "hip/attention.c", "hip/elements.c", "hip/rows.c", "learn/golden.c" };

pub fn addSources(b: *std.Build, root: *std.Build.Module) void {
    root.addIncludePath(b.path("tests"));
    sources.addModule(b, root, .{ .name = "tests/device" }, &layers.flags);
    for (borrowed) |file| {
        const name = std.fs.path.stem(file);
        const flags = std.mem.concat(b.allocator, []const u8, &.{
            &layers.flags,
            &.{ "-DMYCEL_TEST_DEVICE", b.fmt("-Dmain={s}_main", .{name}), "-Wno-missing-prototypes" },
        }) catch @panic("OOM");
        root.addCSourceFile(.{ .file = b.path(b.fmt("tests/unit/{s}", .{file})), .flags = flags });
    }
    // Carried with the two libraries that a bare machine lacks beside it.
    root.addRPathSpecial("$ORIGIN");
}

pub fn steps(b: *std.Build, exe: *std.Build.Step.Compile) void {
    const run = b.addSystemCommand(&.{"tests/run-unit"});
    run.addArgs(&.{ "device", "tests", "device.c" });
    run.addArtifactArg(exe);
    run.addArg(""); // no fake driver
    run.setEnvironmentVariable("MYCEL_SHOW", "1");
    const test_run = sources.asTest(b, run);
    test_run.stdio = .inherit;
    b.step("test:device", "What needs a GPU (tests/device)").dependOn(&test_run.step);
    const place = b.step("device", "The tests that need a GPU, to be carried, into zig-out/device");
    const program = b.addInstallArtifact(exe, .{ .dest_dir = .{ .override = .{ .custom = "device" } } });
    place.dependOn(&program.step);
    for ([_][]const u8{ "libcmocka.so.0", "libsodium.so.23" }) |name| {
        const library = std.Build.LazyPath{ .cwd_relative = b.fmt("/usr/lib/{s}-linux-gnu/{s}", .{ @tagName(exe.rootModuleTarget().cpu.arch), name }) };
        place.dependOn(&b.addInstallFile(library, b.fmt("device/{s}", .{name})).step);
    }
}
