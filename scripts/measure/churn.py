#!/usr/bin/env python3
"""The slope of each column of churn.csv after the warm-up, and the curves as an SVG. Usage:
churn.py CSV SVG"""

import csv
import sys

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 720, 320, 60, 40, 20, 40
CURVES = [("super_rss_kib", "super peer, RSS", "#1f77b4"), ("super_private_kib", "super peer, private", "#ff7f0e"),
          ("peer_private_kib", "serving peer, private", "#2ca02c")]


def slope(points):
    """Least squares, in percent of the mean per hour."""
    count = len(points)
    mean_x, mean_y = (sum(axis) / count for axis in zip(*points))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if not spread or not mean_y:
        return 0.0
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread * 3600 / mean_y * 100


def ticks(top, count=5):
    step = 10 ** len(str(int(top / count))) / 10 or 1
    step = next(step * m for m in (1, 2, 5, 10) if step * m * count >= top)
    return [n * step for n in range(int(top / step) + 1)]


def main():
    source, target = sys.argv[1:]
    with open(source, newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    # A process that has just ended has no descriptors.
    rows = [row for row in rows if row["super_descriptors"] and row["peer_descriptors"]]
    seconds = rows[-1]["seconds"] or 1
    warm = [row for row in rows if row["seconds"] >= seconds / 10]
    for name in rows[0]:
        if name != "seconds":
            points = [(row["seconds"], row[name]) for row in warm]
            values = [value for _, value in points]
            print(f"{name:20} {min(values):8.0f} to {max(values):8.0f}, slope {slope(points):+.2f} %/h")

    top = max(row[name] for row in rows for name, _, _ in CURVES) * 1.15
    def x(at):
        return LEFT + at / seconds * (WIDTH - LEFT - RIGHT)
    def y(kib):
        return HEIGHT - BOTTOM - kib / top * (HEIGHT - TOP - BOTTOM)
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           f'<text x="{LEFT}" y="18">Memory of the daemons under churn (KiB over minutes)</text>']
    for kib in ticks(top):
        svg.append(f'<path d="M{LEFT} {y(kib):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
                   f'<text x="{LEFT - 6}" y="{y(kib) + 4:.1f}" text-anchor="end">{kib:.0f}</text>')
    for minutes in ticks(seconds / 60):
        svg.append(f'<text x="{x(minutes * 60):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{minutes:g}</text>')
    for at, (name, words, color) in enumerate(CURVES):
        points = " ".join(f"{x(row['seconds']):.1f},{y(row[name]):.1f}" for row in rows)
        svg.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.5"/>'
                   f'<text x="{LEFT + at * 160}" y="34" fill="{color}">{words}</text>')
    svg.append("</svg>\n")
    with open(target, "w") as file:
        file.write("\n".join(svg))


if __name__ == "__main__":
    main()
