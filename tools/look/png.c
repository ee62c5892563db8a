#include "tools/look/png.h"

#include <dlfcn.h>
#include <math.h>
#include <stdint.h>

// The part of cairo's interface that is used (cairographics.org, stable since 1.2), by name.
#define CAIRO_CALLS(X)                                                                        \
    X(void *, image_surface_create, (int format, int width, int height))                      \
    X(int, surface_status, (void *surface))                                                   \
    X(void, surface_destroy, (void *surface))                                                 \
    X(int, surface_write_to_png_stream,                                                       \
      (void *surface, int (*write)(void *, const unsigned char *, unsigned), void *context))  \
    X(void *, create, (void *surface))                                                        \
    X(void, destroy, (void *cr))                                                              \
    X(int, status, (void *cr))                                                                \
    X(void, scale, (void *cr, double x, double y))                                            \
    X(void, set_source_rgba, (void *cr, double red, double green, double blue, double alpha)) \
    X(void, set_line_width, (void *cr, double width))                                         \
    X(void, new_path, (void *cr))                                                             \
    X(void, move_to, (void *cr, double x, double y))                                          \
    X(void, line_to, (void *cr, double x, double y))                                          \
    X(void, close_path, (void *cr))                                                           \
    X(void, arc, (void *cr, double x, double y, double radius, double from, double to))       \
    X(void, paint, (void *cr))                                                                \
    X(void, fill, (void *cr))                                                                 \
    X(void, fill_preserve, (void *cr))                                                        \
    X(void, stroke, (void *cr))                                                               \
    X(void, stroke_preserve, (void *cr))                                                      \
    X(void, select_font_face, (void *cr, const char *family, int slant, int weight))          \
    X(void, set_font_size, (void *cr, double size))                                           \
    X(void, text_path, (void *cr, const char *text))

struct cairo {
    void *library, *surface, *cr;
    double link_opacity, sums_opacity, head;
#define CAIRO_FIELD(type, name, arguments) type(*name) arguments;
    CAIRO_CALLS(CAIRO_FIELD)
#undef CAIRO_FIELD
};

enum { FORMAT_RGB24 = 1, SIDE_MAX = 32000, FONT_SIZE = 12, ARROW_BACK = 6 };
static const double pi = 3.14159265358979323846;

static bool load(struct cairo *c)
{
    c->library = dlopen("libcairo.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!c->library) return false;
    bool whole = true;
#define CAIRO_LOAD(type, name, arguments)                                      \
    c->name = (type(*) arguments)(uintptr_t)dlsym(c->library, "cairo_" #name); \
    whole = whole && c->name;
    CAIRO_CALLS(CAIRO_LOAD)
#undef CAIRO_LOAD
    return whole;
}

static void color(struct cairo *c, enum atlas_paint paint, double opacity)
{
    const uint32_t rgb = atlas_colors[paint][0];
    c->set_source_rgba(c->cr, (rgb >> 16) / 255.0, (rgb >> 8 & 255) / 255.0, (rgb & 255) / 255.0, opacity);
}

static void rectangle(void *context, const struct atlas_box *b, double radius, enum atlas_paint fill)
{
    struct cairo *c = context;
    const double right = b->x + b->width, bottom = b->y + b->height, r = radius;
    c->new_path(c->cr);
    c->arc(c->cr, right - r, b->y + r, r, -pi / 2, 0);
    c->arc(c->cr, right - r, bottom - r, r, 0, pi / 2);
    c->arc(c->cr, b->x + r, bottom - r, r, pi / 2, pi);
    c->arc(c->cr, b->x + r, b->y + r, r, pi, 3 * pi / 2);
    c->close_path(c->cr);
    color(c, fill, 1);
    c->fill_preserve(c->cr);
    color(c, PAINT_RIM, 1);
    c->set_line_width(c->cr, 1);
    c->stroke(c->cr);
}

static void disc(void *context, double x, double y, double radius, enum atlas_paint fill, bool faint)
{
    struct cairo *c = context;
    c->new_path(c->cr);
    c->arc(c->cr, x, y, radius, 0, 2 * pi);
    color(c, fill, faint ? atlas_faint_opacity : 1);
    c->fill(c->cr);
}

// At the end of a line, before the peer's mark that it points at.
static void arrow(struct cairo *c, double x, double y, double to_x, double to_y)
{
    const double far = hypot(to_x - x, to_y - y);
    double dx = (to_x - x) / far, dy = (to_y - y) / far;
    if (far < ARROW_BACK + c->head) return;
    to_x -= dx * ARROW_BACK;
    to_y -= dy * ARROW_BACK;
    c->new_path(c->cr);
    c->move_to(c->cr, to_x, to_y);
    dx *= c->head, dy *= c->head;
    c->line_to(c->cr, to_x - dx - dy / 2, to_y - dy + dx / 2);
    c->line_to(c->cr, to_x - dx + dy / 2, to_y - dy - dx / 2);
    c->close_path(c->cr);
    c->fill(c->cr);
}

static void line(void *context, double x, double y, double to_x, double to_y, double width, enum atlas_paint stroke)
{
    struct cairo *c = context;
    c->new_path(c->cr);
    c->move_to(c->cr, x, y);
    c->line_to(c->cr, to_x, to_y);
    color(c, stroke, stroke == PAINT_LINK ? c->link_opacity : c->sums_opacity);
    c->set_line_width(c->cr, width);
    c->stroke(c->cr);
    if (stroke == PAINT_FLOW) arrow(c, x, y, to_x, to_y);
}

static void text(void *context, double x, double y, enum atlas_paint fill, bool bold, const char *what)
{
    struct cairo *c = context;
    c->select_font_face(c->cr, "monospace", 0, bold);
    c->set_font_size(c->cr, FONT_SIZE);
    c->new_path(c->cr);
    c->move_to(c->cr, x, y);
    c->text_path(c->cr, what);
    color(c, PAINT_GROUND, 1);
    c->set_line_width(c->cr, 2.5);
    c->stroke_preserve(c->cr);
    color(c, fill, 1);
    c->fill(c->cr);
}

static int write_bytes(void *context, const unsigned char *bytes, unsigned size)
{
    fwrite(bytes, 1, size, context);
    return 0;
}

static enum core_err draw(struct cairo *c, const struct atlas_snapshot *s, const struct atlas_layout *l, double scale)
{
    const struct atlas_pen pen = {c, atlas_draw_ink(s, l), atlas_draw_sums_ink(s, l, 0), rectangle, disc, line, text};
    double width, height;
    atlas_draw_size(l, &width, &height);
    if (width * scale > SIDE_MAX || height * scale > SIDE_MAX) return CORE_ERR_LIMIT;
    c->surface = c->image_surface_create(FORMAT_RGB24, (int)(width * scale), (int)(height * scale));
    if (c->surface_status(c->surface)) return CORE_ERR_NO_MEMORY;
    c->cr = c->create(c->surface);
    c->scale(c->cr, scale, scale);
    color(c, PAINT_GROUND, 1);
    c->paint(c->cr);
    c->link_opacity = atlas_link_opacity(pen.ink);
    c->sums_opacity = atlas_sums_opacity(pen.sums_ink);
    c->head = atlas_sums_head(pen.sums_ink);
    enum core_err err = atlas_draw(s, l, &pen);
    return err ? err : c->status(c->cr) ? CORE_ERR_NO_MEMORY : CORE_ERR_OK;
}

enum core_err png_write(const struct atlas_snapshot *s, const struct atlas_layout *l, double scale, FILE *out,
                        char why[PNG_WHY_SIZE])
{
    struct cairo c = {0};
    if (!load(&c)) {
        snprintf(why, PNG_WHY_SIZE, "cairo is not installed: install libcairo2, or ask for --as svg");
        if (c.library) dlclose(c.library);
        return CORE_ERR_UNSUPPORTED;
    }
    enum core_err err = draw(&c, s, l, scale);
    if (!err && c.surface_write_to_png_stream(c.surface, write_bytes, out)) err = CORE_ERR_NO_MEMORY;
    if (err)
        snprintf(why, PNG_WHY_SIZE,
                 err == CORE_ERR_LIMIT ? "the picture is too large for PNG: ask for --as svg"
                                       : "there is not enough memory for the picture");
    if (c.cr) c.destroy(c.cr);
    if (c.surface) c.surface_destroy(c.surface);
    dlclose(c.library);
    return err;
}
