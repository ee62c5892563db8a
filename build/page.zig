//! The live page: node/look/page/'s style and script put into its HTML, compressed, and one object that holds both forms
//! and the policy that allows just these two by their hashes (node/look/http_page.h). No tool but Zig takes part.
const std = @import("std");

const folder = "node/look/page";

fn read(b: *std.Build, name: []const u8) []const u8 {
    const path = b.pathJoin(&.{ folder, name });
    return b.build_root.handle.readFileAlloc(b.graph.io, path, b.allocator, .limited(1 << 20)) catch |err|
        std.debug.panic("cannot read {s}: {t}", .{ path, err });
}

/// As Content-Security-Policy names it: 'sha256-..' over what stands between the tags.
fn hashOf(b: *std.Build, text: []const u8) []const u8 {
    var digest: [32]u8 = undefined;
    std.crypto.hash.sha2.Sha256.hash(text, &digest, .{});
    var buffer: [64]u8 = undefined;
    return b.fmt("'sha256-{s}'", .{std.base64.standard.Encoder.encode(&buffer, &digest)});
}

fn place(b: *std.Build, into: []const u8, mark: []const u8, text: []const u8) []const u8 {
    if (std.mem.count(u8, into, mark) != 1) std.debug.panic("{s}/page.html must name {s} once", .{ folder, mark });
    return std.mem.replaceOwned(u8, b.allocator, into, mark, text) catch @panic("OOM");
}

fn gzip(b: *std.Build, text: []const u8) []const u8 {
    var out = std.Io.Writer.Allocating.initCapacity(b.allocator, text.len + 64) catch @panic("OOM");
    const window = b.allocator.alloc(u8, std.compress.flate.max_window_len) catch @panic("OOM");
    var pack = std.compress.flate.Compress.init(&out.writer, window, .gzip, .best) catch @panic("OOM");
    pack.writer.writeAll(text) catch @panic("OOM");
    pack.finish() catch @panic("OOM");
    return out.written();
}

pub fn object(b: *std.Build, arch: std.Target.Cpu.Arch) std.Build.LazyPath {
    const style = read(b, "page.css");
    const script = b.fmt("{s}{s}", .{ read(b, "map.js"), read(b, "page.js") });
    const html = place(b, place(b, read(b, "page.html"), "@STYLE@", style), "@SCRIPT@", script);
    const policy = b.fmt("default-src 'none'; script-src {s}; style-src {s}; connect-src 'self'; img-src data:; " ++
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'", .{ hashOf(b, script), hashOf(b, style) });
    const files = b.addWriteFiles();
    _ = files.add("page.html", html);
    _ = files.add("page.gz", gzip(b, html));
    const text = b.fmt(
        \\.section .rodata
        \\.globl page_html, page_gzip, page_policy, page_html_size, page_gzip_size
        \\page_html: .incbin "page.html"
        \\page_html_end: .byte 0
        \\page_gzip: .incbin "page.gz"
        \\page_gzip_end: .byte 0
        \\page_policy: .asciz "{s}"
        \\.balign 8
        \\page_html_size: .quad page_html_end - page_html
        \\page_gzip_size: .quad page_gzip_end - page_gzip
        \\.section .note.GNU-stack,"",%progbits
        \\
    , .{policy});
    const source = b.addWriteFiles().add("page.S", text);
    const run = b.addSystemCommand(&.{ b.graph.zig_exe, "clang", "-c", b.fmt("--target={s}-linux-gnu", .{@tagName(arch)}) });
    run.setName("the live page");
    run.addPrefixedDirectoryArg("-Wa,-I", files.getDirectory());
    run.addPrefixedDirectoryArg("-I", files.getDirectory());
    run.addFileArg(source);
    run.addArg("-o");
    return run.addOutputFileArg("page.o");
}
