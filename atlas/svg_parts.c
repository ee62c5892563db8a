#include "atlas/svg_parts.h"

void atlas_svg_number(FILE *out, double value)
{
    long tenths = (long)(value * 10 + (value < 0 ? -0.5 : 0.5));
    if (tenths < 0) fputc('-', out);
    if (tenths < 0) tenths = -tenths;
    fprintf(out, tenths % 10 ? "%ld.%ld" : "%ld", tenths / 10, tenths % 10);
}

void atlas_svg_attribute(FILE *out, const char *name, double value)
{
    fprintf(out, " %s=\"", name);
    atlas_svg_number(out, value);
    fputc('"', out);
}

void atlas_svg_open(FILE *out, double width, double height)
{
    fputs("<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\"", out);
    atlas_svg_attribute(out, "width", width);
    atlas_svg_attribute(out, "height", height);
    fputs(" viewBox=\"0 0 ", out);
    atlas_svg_number(out, width);
    fputc(' ', out);
    atlas_svg_number(out, height);
    fputs("\">\n", out);
}

void atlas_svg_escaped(FILE *out, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '<': fputs("&lt;", out); break;
        case '>': fputs("&gt;", out); break;
        case '&': fputs("&amp;", out); break;
        case '"': fputs("&quot;", out); break;
        default: fputc(*text, out);
        }
    }
}
