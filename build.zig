//! Builds mycel with nothing but Zig and Debian's libraries. The layers stand in build/layers.zig.
//!
//!   zig build                      the program, zig-out/bin/mycel (ReleaseFast unless -Ddebug)
//!   zig build run -- ARGS          builds and runs it
//!   zig build test [-Donly=NAME]   unit tests (of one module), tests/unit/MODULE/*.c
//!   zig build images               the GPUs' images into zig-out/images
//!   zig build aarch64 -Daarch64=D  those of the kernels and of training as an aarch64 machine runs them (qemu-user)
//!   zig build asan|tsan            the same tests under ASan+UBSan (clang) or TSan (Zig)
//!   zig build fuzz                 libFuzzer targets into zig-out/fuzz (clang), tests/fuzz/*.c
//!   zig build hostile              the attacker of the end-to-end tests, zig-out/tests/hostile
//!   zig build test:device          what needs a GPU: tests/device (skipped aloud where there is none)
//!   zig build device               the same as a program to be carried, zig-out/device
//!   zig build fake                 the library that plays a GPU's driver (tests/fake), zig-out/tests/libfakegpu.so
//!   zig build deb                  the Debian package, zig-out/mycel_VERSION_ARCH.deb
//!   zig build release              source and binary as tarballs with their checksums, zig-out/release
//!   zig build sim bench tidy fmt   simulator seeds, benchmarks, style as a test, formatting check
const std = @import("std");
const layers = @import("build/layers.zig");
const clang = @import("build/clang.zig");
const device = @import("build/device.zig");
const fake = @import("build/fake.zig");
const gpu = @import("build/gpu.zig");
const page = @import("build/page.zig");
const sources = @import("build/sources.zig");

const Context = struct {
    b: *std.Build,
    target: std.Build.ResolvedTarget,
    optimize: std.builtin.OptimizeMode,
    tsan: bool = false,
    suite: []const u8 = "unit",
    /// Another architecture's libraries, and who runs its programs.
    sysroot: ?[]const u8 = null,
    runner: []const []const u8 = &.{},
    images: std.Build.LazyPath,
    page: std.Build.LazyPath,
    fake_driver: std.Build.LazyPath,
    libraries: std.StringHashMapUnmanaged(*std.Build.Step.Compile) = .empty,

    fn library(c: *Context, module: layers.Module) *std.Build.Step.Compile {
        if (c.libraries.get(module.name)) |found| return found;
        const b = c.b;
        const root = c.moduleOf(module);
        sources.addModule(b, root, module, &layers.flags);
        if (module.images) root.addObjectFile(c.images);
        if (module.page) root.addObjectFile(c.page);
        for (sources.filesOf(b, module)) |file| {
            const isa = sources.isaOf(file) orelse continue;
            if (isa.arch != c.target.result.cpu.arch) continue;
            var query = c.target.query;
            query.cpu_features_add = isa.features;
            const wide = b.resolveTargetQuery(query);
            const part = c.moduleFor(module, wide);
            part.addCSourceFile(.{ .file = b.path(file), .flags = &layers.flags });
            root.addObject(b.addObject(.{ .name = std.fs.path.stem(file), .root_module = part }));
        }
        const flat = std.mem.replaceOwned(u8, b.allocator, module.name, "/", "-") catch @panic("OOM");
        const lib = b.addLibrary(.{ .name = flat, .linkage = .static, .root_module = root });
        c.libraries.put(b.allocator, module.name, lib) catch @panic("OOM");
        return lib;
    }

    fn moduleOf(c: *Context, module: layers.Module) *std.Build.Module {
        return c.moduleFor(module, c.target);
    }

    fn moduleFor(c: *Context, module: layers.Module, target: std.Build.ResolvedTarget) *std.Build.Module {
        const root = c.b.createModule(.{
            .target = target,
            .optimize = c.optimize,
            .link_libc = true,
            .pic = true,  // the program is position-independent: the system may load it anywhere
            .sanitize_thread = c.tsan,
            .sanitize_c = if (c.optimize == .Debug) .full else .off,
        });
        root.addIncludePath(sources.headersOf(c.b, module));
        if (c.sysroot) |other| {
            root.addAfterIncludePath(.{ .cwd_relative = c.b.fmt("{s}/usr/include", .{other}) });
            root.addLibraryPath(.{ .cwd_relative = c.b.fmt("{s}/usr/lib/{s}-linux-gnu", .{ other, @tagName(target.result.cpu.arch) }) });
            return root;
        }
        // Where no C compiler is installed Zig brings libc's headers itself and doesn't look among the system's.
        root.addAfterIncludePath(.{ .cwd_relative = "/usr/include" });
        root.addAfterIncludePath(.{ .cwd_relative = c.b.fmt("/usr/include/{s}-linux-gnu", .{@tagName(target.result.cpu.arch)}) });
        return root;
    }

    /// Links `root` with the libraries named and those of everything below them.
    fn linkWith(c: *Context, root: *std.Build.Module, names: []const []const u8) void {
        const needed = sources.closure(names);
        var i: usize = layers.modules.len;
        while (i > 0) {
            i -= 1;
            if (!needed[i]) continue;
            root.linkLibrary(c.library(layers.modules[i]));
            for (layers.modules[i].libs) |lib| linkSystem(root, lib);
        }
    }

    fn linkProgram(c: *Context, root: *std.Build.Module, program: layers.Module) void {
        root.linkLibrary(c.library(program));
        for (program.libs) |lib| linkSystem(root, lib);
    }

    fn executable(c: *Context, name: []const u8, root: *std.Build.Module) *std.Build.Step.Compile {
        const exe = c.b.addExecutable(.{ .name = name, .root_module = root });
        exe.pie = true;
        return exe;
    }

    /// One executable for each tests/unit/MODULE/*.c, run by `step`.
    fn unitTests(c: *Context, step: *std.Build.Step, only: ?[]const u8) void {
        const b = c.b;
        for (layers.modules ++ layers.programs) |module| {
            if (only) |name| if (!std.mem.eql(u8, name, module.name)) continue;
            const folder = b.fmt("tests/unit/{s}", .{module.name});
            for (sources.cFiles(b, folder)) |file| {
                var sees = std.ArrayList([]const u8).empty;
                sees.append(b.allocator, module.name) catch @panic("OOM");
                sees.appendSlice(b.allocator, module.sees) catch @panic("OOM");
                const view = layers.Module{ .name = folder, .sees = sees.items };
                const root = c.moduleOf(view);
                root.addCSourceFile(.{ .file = b.path(b.fmt("{s}/{s}", .{ folder, file })), .flags = &layers.flags });
                root.addIncludePath(b.path("tests"));
                for (layers.programs) |program| {
                    if (std.mem.eql(u8, program.name, module.name)) c.linkProgram(root, program);
                }
                c.linkWith(root, sees.items);
                linkSystem(root, "cmocka");
                const exe = c.executable(b.fmt("{s}-{s}", .{ std.fs.path.basename(module.name), std.fs.path.stem(file) }), root);
                const run = b.addSystemCommand(&.{ "tests/run-unit", c.suite, module.name, file });
                run.addArtifactArg(exe);
                run.addFileArg(c.fake_driver);
                run.addArgs(c.runner);
                step.dependOn(&sources.asTest(b, run).step);
            }
        }
    }
};

fn linkSystem(root: *std.Build.Module, name: []const u8) void {
    root.linkSystemLibrary(name, .{ .use_pkg_config = .no });
}

pub fn build(b: *std.Build) void {
    const debug = b.option(bool, "debug", "Debug build with UBSan (default: ReleaseFast)") orelse false;
    const only = b.option([]const u8, "only", "Run the tests of this module only");
    // The baseline machine: kernels for wider vectors are separate files, picked at start.
    const target = b.resolveTargetQuery(.{ .cpu_model = .baseline });
    const image_files = gpu.folder(b);
    const images = gpu.object(b, image_files, target.result.cpu.arch);
    const place = b.addInstallDirectory(.{ .source_dir = image_files, .install_dir = .prefix, .install_subdir = "images" });
    b.step("images", "The GPUs' images into zig-out/images").dependOn(&place.step);
    const live_page = page.object(b, target.result.cpu.arch);
    const fake_driver = fake.library(b, target);
    const place_fake = b.addInstallFile(fake_driver, "tests/libfakegpu.so");
    b.step("fake", "The library that plays a GPU's driver, into zig-out/tests").dependOn(&place_fake.step);
    var c = Context{ .b = b, .target = target, .images = images, .page = live_page, .fake_driver = fake_driver, .optimize = if (debug) .Debug else .ReleaseFast };

    const exe = if (only == null) mycel(&c, false) else null;
    if (exe) |e| {
        b.installArtifact(e);
        const run = b.addRunArtifact(e);
        if (b.args) |args| run.addArgs(args);
        b.step("run", "Run mycel").dependOn(&run.step);
        const package = b.addSystemCommand(&.{"tools/package/deb.sh"});
        package.setCwd(b.path("."));
        const stripped = mycel(&c, true).?.getEmittedBin();
        package.addFileArg(stripped);
        package.addArg("zig-out");
        package.has_side_effects = true;
        b.step("deb", "The Debian package into zig-out").dependOn(&package.step);
        const release = b.addSystemCommand(&.{"tools/package/release.sh"});
        release.setCwd(b.path("."));
        release.addFileArg(stripped);
        release.addArg("zig-out/release");
        release.has_side_effects = true;
        b.step("release", "Source and binary as tarballs, with checksums, into zig-out/release").dependOn(&release.step);
        runStep(b, e, "bench", "Benchmarks beside their peers", &.{"bench"}, &.{"all"});
        runStep(b, e, "sim", "Simulator: 200 seeds with faults", &.{"sim"}, &.{ "--nodes", "7", "--rounds", "20", "--faults", "all", "--seeds", "200" });
    }

    c.unitTests(b.step("test", "Unit tests"), only);

    var t = Context{ .b = b, .target = target, .images = images, .page = live_page, .fake_driver = fake_driver, .optimize = .ReleaseSafe, .tsan = true, .suite = "tsan" };
    const tsan = b.step("tsan", "Unit tests under ThreadSanitizer");
    t.unitTests(tsan, only);

    if (hostile(&c)) |program| {
        const install = b.addInstallArtifact(program, .{ .dest_dir = .{ .override = .{ .custom = "tests" } } });
        b.step("hostile", "The attacker of tests/e2e/cases_attacks.py, into zig-out/tests").dependOn(&install.step);
    }

    device.steps(b, deviceTests(&c));

    if (b.option([]const u8, "aarch64", "Folder with Debian's arm64 libraries (tools/setup.sh), for zig build aarch64")) |sysroot|
        aarch64(b, b.step("aarch64", "Kernels and training on aarch64, by qemu-user"), sysroot);

    clang.asanTests(b, b.step("asan", "Unit tests under ASan and UBSan"), only, .{ .images = images, .page = live_page }, fake_driver);
    clang.fuzzers(b, b.step("fuzz", "Build the fuzzers into zig-out/fuzz"), .{ .images = images, .page = live_page });

    const tidy = b.addSystemCommand(&.{ "python3", "tools/tidy.py" });
    tidy.setCwd(b.path("."));
    tidy.has_side_effects = true;
    b.step("tidy", "Style as a test").dependOn(&tidy.step);
    const fmt = b.addSystemCommand(&.{ "python3", "tools/tidy.py", "--format" });
    fmt.setCwd(b.path("."));
    fmt.has_side_effects = true;
    b.step("fmt", "Check the formatting").dependOn(&fmt.step);
}

/// The kernels' tests and the golden trajectory as an aarch64 machine runs them.
fn aarch64(b: *std.Build, step: *std.Build.Step, sysroot: []const u8) void {
    const target = b.resolveTargetQuery(.{ .cpu_arch = .aarch64, .os_tag = .linux, .abi = .gnu, .cpu_model = .baseline, .glibc_version = .{ .major = 2, .minor = 36, .patch = 0 } });
    var c = Context{
        .b = b,
        .target = target,
        .optimize = .ReleaseFast,
        .suite = "aarch64",
        .sysroot = sysroot,
        .runner = &.{ "qemu-aarch64", "-L", sysroot },
        .images = gpu.object(b, gpu.folder(b), .aarch64),
        .page = page.object(b, .aarch64),
        .fake_driver = fake.library(b, target),
    };
    c.unitTests(step, "hip");
    c.unitTests(step, "learn");
}

fn runStep(b: *std.Build, exe: *std.Build.Step.Compile, name: []const u8, about: []const u8, verb: []const []const u8, unless_given: []const []const u8) void {
    const run = b.addRunArtifact(exe);
    run.addArgs(verb);
    run.addArgs(b.args orelse unless_given);
    run.has_side_effects = true;
    b.step(name, about).dependOn(&run.step);
}

/// tests/device: the kernel tests of tests/unit/hip and the golden trajectory again, on a real GPU.
fn deviceTests(c: *Context) *std.Build.Step.Compile {
    const b = c.b;
    const view = layers.Module{ .name = "tests/device", .sees = &.{ "core", "gossip", "ledger", "hip", "learn" } };
    const root = c.moduleOf(view);
    device.addSources(b, root);
    c.linkWith(root, view.sees);
    linkSystem(root, "cmocka");
    return c.executable("test-device", root);
}

/// tests/hostile: a peer that means harm, over the modules but not over the product's own links.
fn hostile(c: *Context) ?*std.Build.Step.Compile {
    const b = c.b;
    if (!sources.exists(b, "tests/hostile/main.c")) return null;
    const view = layers.Module{ .name = "tests/hostile", .sees = &.{ "core", "gossip", "mesh" } };
    const root = c.moduleOf(view);
    sources.addModule(b, root, view, &layers.flags);
    root.addIncludePath(b.path("tests/hostile"));
    c.linkWith(root, view.sees);
    return c.executable("hostile", root);
}

/// The program: tools/main.c with the command line, the daemon, the simulator and the benchmarks. `strip`: without symbols.
fn mycel(c: *Context, strip: bool) ?*std.Build.Step.Compile {
    const b = c.b;
    if (!sources.exists(b, "tools/main/main.c")) return null;
    var sees = std.ArrayList([]const u8).empty;
    for (layers.modules) |module| sees.append(b.allocator, module.name) catch @panic("OOM");
    const view = layers.Module{ .name = "tools/main", .sees = &.{ "core", "node", "tools", "tools/sim", "bench" } };
    const root = c.moduleOf(view);
    root.strip = strip;
    root.addCSourceFile(.{ .file = b.path("tools/main/main.c"), .flags = &layers.flags });
    for (layers.programs) |program| c.linkProgram(root, program);
    c.linkWith(root, sees.items);
    return c.executable("mycel", root);
}
