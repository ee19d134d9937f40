"""The picture of a front: accuracy against each cost, with the limits as forbidden ground."""

from __future__ import annotations

from pathlib import Path

from autoshrink.core import Candidate, Front
from autoshrink.tracking.scene import scene_of

__all__ = ["plot_front"]


def plot_front(
    front: Front, baseline: Candidate, title: str, png: Path | None = None, html: Path | None = None
) -> None:
    """Draw a front as a picture, as a page to explore, or both.

    Each panel shows accuracy against one cost. Only the ground that no limit forbids is white; candidates far outside
    are drawn at the panel's edge, so that they don't squash the rest.

    Args:
        front: all candidates, judged.
        baseline: the original model's figures.
        title: a heading.
        png: the picture's file (matplotlib).
        html: the page's file; plotly is packed into it, nothing is loaded from elsewhere.
    """
    scene = scene_of(front, baseline, title)
    if png is not None:
        from autoshrink.tracking.picture import draw_picture

        draw_picture(scene, png)
    if html is not None:
        from autoshrink.tracking.page import write_page

        write_page(scene, html)
