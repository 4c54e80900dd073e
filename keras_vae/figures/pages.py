"""Pages: sections one below the other under a heading.

A section is a height in inches and a function that draws into a cell of a grid.
"""

import pathlib

from keras_vae.figures import drawing

# Inches.
_HEADER, _GAP = 1.2, 0.62


def write(path, sections, title, subtitle):
    """Writes sections as one PNG."""
    heights = [height for height, _ in sections]
    inches = _HEADER + sum(heights) + _GAP * len(heights)
    figure = drawing.figure(inches)
    figure.text(drawing.LEFT, 1 - 0.42 / inches, title, fontsize=18, weight="bold")
    figure.text(
        drawing.LEFT, 1 - 0.68 / inches, subtitle, fontsize=11.5, color=drawing.GREY
    )
    cells = figure.add_gridspec(
        nrows=len(sections),
        ncols=1,
        height_ratios=heights,
        hspace=_GAP * len(heights) / sum(heights),
        left=drawing.LEFT,
        right=drawing.RIGHT,
        top=1 - _HEADER / inches,
        bottom=_GAP / inches,
    )
    for i, (_, section) in enumerate(sections):
        section(figure, cells[i])
    drawing.save(figure, pathlib.Path(path))


def side_by_side(examples):
    """Returns a section with at most two sections beside each other."""

    def draw(figure, cell):
        # Two columns even for one section, so that its size is the same in all reports.
        columns = cell.subgridspec(1, 2, wspace=0.13)
        for i, (_, section) in enumerate(examples):
            section(figure, columns[i])

    return max(height for height, _ in examples), draw
