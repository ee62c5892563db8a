#!/usr/bin/env python3
"""Turns what a terminal showed into an SVG picture for the README.

    mycel lab status | tools/terminal_svg.py --title 'mycel lab status' > docs/picture.svg

Understands colours and bold (SGR); a carriage return begins its line anew, as a terminal does.
"""
import html
import re
import sys

COLOURS = {30: "#586069", 31: "#f97583", 32: "#85e89d", 33: "#ffea7f", 34: "#79b8ff", 35: "#b392f0", 36: "#9ecbff",
           37: "#e1e4e8", 90: "#959da5"}
WIDTH, HEIGHT, FONT = 8.4, 19, 14


def spans(line):
    """(text, colour, bold) for each stretch of one style."""
    colour, bold = "#e1e4e8", False
    for part in re.split(r"(\x1b\[[0-9;]*m)", line):
        code = re.fullmatch(r"\x1b\[([0-9;]*)m", part)
        if not code:
            if part:
                yield re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", part), colour, bold
            continue
        for number in (int(n or 0) for n in code.group(1).split(";")):
            if number == 0:
                colour, bold = "#e1e4e8", False
            elif number == 1:
                bold = True
            elif number == 2:
                colour = "#959da5"
            elif number in COLOURS:
                colour = COLOURS[number]


def main():
    title = sys.argv[sys.argv.index("--title") + 1] if "--title" in sys.argv[:-1] else "mycel"
    lines = [line.split("\r")[-1] for line in sys.stdin.read().rstrip("\n").split("\n")]
    columns = max([80] + [sum(len(t) for t, _, _ in spans(line)) for line in lines])
    width, height = columns * WIDTH + 40, len(lines) * HEIGHT + 66
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}">',
           f'<rect width="100%" height="100%" rx="10" fill="#1f2428"/>']
    for index, colour in enumerate(("#ff5f56", "#ffbd2e", "#27c93f")):
        out.append(f'<circle cx="{22 + 20 * index}" cy="20" r="6" fill="{colour}"/>')
    out.append(f'<text x="{width / 2:.0f}" y="25" fill="#959da5" text-anchor="middle" font-family="sans-serif" '
               f'font-size="13">{html.escape(title)}</text>')
    out.append(f'<g font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="{FONT}" xml:space="preserve">')
    for row, line in enumerate(lines):
        column, y = 0, 56 + row * HEIGHT
        for text, colour, bold in spans(line):
            weight = ' font-weight="bold"' if bold else ""
            out.append(f'<text x="{20 + column * WIDTH:.1f}" y="{y}" fill="{colour}"{weight} '
                       f'textLength="{len(text) * WIDTH:.1f}">{html.escape(text)}</text>')
            column += len(text)
    out.append("</g></svg>")
    print("\n".join(out))


if __name__ == "__main__":
    main()
