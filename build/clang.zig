//! ASan+UBSan tests and libFuzzer targets: Debian's clang over the same table (Zig ships neither runtime).
const std = @import("std");
const layers = @import("layers.zig");
const sources = @import("sources.zig");

const compiler = "clang-14";

/// Objects that modules hold beside their sources.
pub const Held = struct { images: std.Build.LazyPath, page: std.Build.LazyPath };

const Objects = struct {
    b: *std.Build,
    extra: []const []const u8,
    held: Held,
    built: std.StringHashMapUnmanaged([]const std.Build.LazyPath) = .empty,

    fn compile(o: *Objects, path: []const u8, file: []const u8, headers: std.Build.LazyPath) ?std.Build.LazyPath {
        const b = o.b;
        const isa = sources.isaOf(file);
        if (isa) |wanted| if (wanted.arch != b.graph.host.result.cpu.arch) return null;
        const run = b.addSystemCommand(&.{ compiler, "-c", "-g", "-O1" });
        run.setName(b.fmt("clang {s}", .{path}));
        run.addArgs(&layers.flags);
        if (isa) |wanted| run.addArgs(wanted.flags);
        run.addArgs(o.extra);
        run.addPrefixedDirectoryArg("-I", headers);
        run.addPrefixedDirectoryArg("-I", b.path("tests"));
        run.addArgs(&.{ "-MD", "-MF" });
        _ = run.addDepFileOutputArg("deps.d");
        run.addFileArg(b.path(path));
        run.addArg("-o");
        return run.addOutputFileArg("out.o");
    }

    fn module(o: *Objects, m: layers.Module) []const std.Build.LazyPath {
        if (o.built.get(m.name)) |found| return found;
        const b = o.b;
        var list = std.ArrayList(std.Build.LazyPath).empty;
        const headers = sources.headersOf(b, m);
        for (sources.filesOf(b, m)) |file| {
            const object = o.compile(file, std.fs.path.basename(file), headers) orelse continue;
            list.append(b.allocator, object) catch @panic("OOM");
        }
        if (m.images) list.append(b.allocator, o.held.images) catch @panic("OOM");
        if (m.page) list.append(b.allocator, o.held.page) catch @panic("OOM");
        o.built.put(b.allocator, m.name, list.items) catch @panic("OOM");
        return list.items;
    }

    /// Links `path` with the modules named.
    fn program(o: *Objects, path: []const u8, sees: []const []const u8, link: []const []const u8) struct { *std.Build.Step.Run, std.Build.LazyPath } {
        const b = o.b;
        const view = layers.Module{ .name = std.fs.path.dirname(path).?, .sees = sees };
        const run = b.addSystemCommand(&.{compiler});
        run.setName(b.fmt("clang link {s}", .{path}));
        run.addArgs(o.extra);
        run.addArgs(link);
        run.addFileArg(o.compile(path, std.fs.path.basename(path), sources.headersOf(b, view)).?);
        const needed = sources.closure(sees);
        for (layers.programs) |m| {
            for (sees) |name| {
                if (!std.mem.eql(u8, name, m.name)) continue;
                for (o.module(m)) |object| run.addFileArg(object);
                for (m.libs) |lib| run.addArg(b.fmt("-l{s}", .{lib}));
            }
        }
        for (layers.modules, needed) |m, wanted| {
            if (!wanted) continue;
            for (o.module(m)) |object| run.addFileArg(object);
            for (m.libs) |lib| run.addArg(b.fmt("-l{s}", .{lib}));
        }
        run.addArg("-o");
        return .{ run, run.addOutputFileArg(std.fs.path.stem(path)) };
    }
};

pub fn asanTests(b: *std.Build, step: *std.Build.Step, only: ?[]const u8, held: Held, fake_driver: std.Build.LazyPath) void {
    var o = Objects{ .b = b, .held = held, .extra = &.{ "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer" } };
    for (layers.modules ++ layers.programs) |m| {
        if (only) |name| if (!std.mem.eql(u8, name, m.name)) continue;
        const folder = b.fmt("tests/unit/{s}", .{m.name});
        for (sources.cFiles(b, folder)) |file| {
            const sees = std.mem.concat(b.allocator, []const u8, &.{ &.{m.name}, m.sees }) catch @panic("OOM");
            const result = o.program(b.fmt("{s}/{s}", .{ folder, file }), sees, &.{"-lcmocka"});
            const run = b.addSystemCommand(&.{ "tests/run-unit", "asan", m.name, file });
            run.addFileArg(result[1]);
            run.addFileArg(fake_driver);
            step.dependOn(&sources.asTest(b, run).step);
        }
    }
}

/// tests/fuzz/MODULE_*.c: the name up to the first '_' says which module (and what it sees) is linked.
pub fn fuzzers(b: *std.Build, step: *std.Build.Step, held: Held) void {
    var o = Objects{ .b = b, .held = held, .extra = &.{ "-fsanitize=fuzzer-no-link,address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer" } };
    for (sources.cFiles(b, "tests/fuzz")) |file| {
        const end = std.mem.indexOfScalar(u8, file, '_') orelse continue;
        for (layers.modules ++ layers.programs) |m| {
            if (!std.mem.eql(u8, std.fs.path.basename(m.name), file[0..end])) continue;
            const sees = std.mem.concat(b.allocator, []const u8, &.{ &.{m.name}, m.sees }) catch @panic("OOM");
            const result = o.program(b.fmt("tests/fuzz/{s}", .{file}), sees, &.{"-fsanitize=fuzzer"});
            const install = b.addInstallFile(result[1], b.fmt("fuzz/{s}", .{std.fs.path.stem(file)}));
            step.dependOn(&install.step);
        }
    }
}
