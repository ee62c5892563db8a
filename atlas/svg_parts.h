// What SVG files are written with.
#ifndef ATLAS_SVG_PARTS_H
#define ATLAS_SVG_PARTS_H

#include <stdio.h>

// Tenths of a pixel, without the locale's help.
void atlas_svg_number(FILE *out, double value);
// ` name="value"`
void atlas_svg_attribute(FILE *out, const char *name, double value);
// The opening tag of a picture of so many pixels.
void atlas_svg_open(FILE *out, double width, double height);
// Printable ASCII as text or as a quoted attribute.
void atlas_svg_escaped(FILE *out, const char *text);

#endif
