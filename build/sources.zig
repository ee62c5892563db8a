//! Finds a module's sources and makes the include folder that shows it only the headers it may see.
const std = @import("std");
const layers = @import("layers.zig");

/// Names of the `.c` files that lie directly in `folder`, sorted; none if the folder is missing.
pub fn cFiles(b: *std.Build, folder: []const u8) []const []const u8 {
    return filesIn(b, folder, ".c");
}

/// A module's sources under the root, those of its parts too.
pub fn filesOf(b: *std.Build, module: layers.Module) []const []const u8 {
    var list = std.ArrayList([]const u8).empty;
    for (foldersOf(b, module)) |folder| {
        for (cFiles(b, folder)) |file| list.append(b.allocator, b.fmt("{s}/{s}", .{ folder, file })) catch @panic("OOM");
    }
    return list.items;
}

fn foldersOf(b: *std.Build, module: layers.Module) []const []const u8 {
    const list = b.allocator.alloc([]const u8, 1 + module.parts.len) catch @panic("OOM");
    list[0] = module.name;
    for (module.parts, list[1..]) |part, *folder| folder.* = b.fmt("{s}/{s}", .{ module.name, part });
    return list;
}

/// Names of the files in `folder` that end in `suffix`, sorted.
pub fn filesIn(b: *std.Build, folder: []const u8, suffix: []const u8) []const []const u8 {
    var list = std.ArrayList([]const u8).empty;
    const io = b.graph.io;
    var dir = b.build_root.handle.openDir(io, folder, .{ .iterate = true }) catch return &.{};
    defer dir.close(io);
    var it = dir.iterate();
    while (it.next(io) catch @panic("cannot list a source folder")) |entry| {
        if (entry.kind == .file and std.mem.endsWith(u8, entry.name, suffix))
            list.append(b.allocator, b.dupe(entry.name)) catch @panic("OOM");
    }
    std.mem.sort([]const u8, list.items, {}, struct {
        fn less(_: void, x: []const u8, y: []const u8) bool {
            return std.mem.lessThan(u8, x, y);
        }
    }.less);
    return list.items;
}

pub fn exists(b: *std.Build, file: []const u8) bool {
    b.build_root.handle.access(b.graph.io, file, .{}) catch return false;
    return true;
}

/// A folder with `NAME/*.h` of the module and of those it sees, and nothing else. Message tables (`.def`) count as headers.
pub fn headersOf(b: *std.Build, module: layers.Module) std.Build.LazyPath {
    const files = b.addWriteFiles();
    for (foldersOf(b, module)) |folder| addHeaders(b, files, folder);
    for (module.sees) |name| {
        for (layers.modules ++ layers.programs) |seen| {
            if (!std.mem.eql(u8, seen.name, name)) continue;
            for (foldersOf(b, seen)) |folder| addHeaders(b, files, folder);
        }
    }
    _ = files.add(".keep", "");
    return files.getDirectory();
}

fn addHeaders(b: *std.Build, files: *std.Build.Step.WriteFile, folder: []const u8) void {
    const io = b.graph.io;
    var dir = b.build_root.handle.openDir(io, folder, .{ .iterate = true }) catch return;
    defer dir.close(io);
    var it = dir.iterate();
    while (it.next(io) catch @panic("cannot list a header folder")) |entry| {
        const header = std.mem.endsWith(u8, entry.name, ".h") or std.mem.endsWith(u8, entry.name, ".def") or
            std.mem.endsWith(u8, entry.name, ".inc");
        if (entry.kind != .file or !header) continue;
        const path = b.fmt("{s}/{s}", .{ folder, entry.name });
        _ = files.addCopyFile(b.path(path), path);
    }
}

/// Adds the module's sources that are built for the baseline machine.
pub fn addModule(b: *std.Build, root: *std.Build.Module, module: layers.Module, flags: []const []const u8) void {
    for (filesOf(b, module)) |file| {
        if (isaOf(file) != null) continue;
        root.addCSourceFile(.{ .file = b.path(file), .flags = flags });
    }
}

/// The instruction set that a file's name asks for, or null for the baseline.
pub fn isaOf(file: []const u8) ?layers.Isa {
    for (layers.isas) |isa| if (std.mem.endsWith(u8, file, isa.suffix)) return isa;
    return null;
}

/// A test's run: in the root, always run, and silent unless it fails (tests/run-unit keeps its log).
pub fn asTest(b: *std.Build, run: *std.Build.Step.Run) *std.Build.Step.Run {
    run.setCwd(b.path("."));
    run.has_side_effects = true;
    run.expectExitCode(0);
    return run;
}

/// Which modules a program that names these must be linked with: what is seen, and what that sees in turn.
pub fn closure(names: []const []const u8) [layers.modules.len]bool {
    var needed = [_]bool{false} ** layers.modules.len;
    for (layers.modules, 0..) |module, at| needed[at] = contains(names, module.name);
    // A module stands after everything that it sees, so one walk from the end is enough.
    var i: usize = layers.modules.len;
    while (i > 0) {
        i -= 1;
        if (!needed[i]) continue;
        for (layers.modules, 0..) |below, at| {
            if (contains(layers.modules[i].sees, below.name)) needed[at] = true;
        }
    }
    return needed;
}

fn contains(names: []const []const u8, name: []const u8) bool {
    for (names) |one| if (std.mem.eql(u8, one, name)) return true;
    return false;
}
