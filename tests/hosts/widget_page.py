"""The widget as a person sees it, the same in every host: what is on the page and what can be done to it."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from playwright.sync_api import Locator, Page, expect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECONDS = 45
expect.set_options(timeout=SECONDS * 1000)

SCREENS = 50
SCROLL = """(tree, screens) => new Promise((done) => {
  tree.scrollTop = screens * tree.clientHeight;
  requestAnimationFrame(() => setTimeout(done));
})"""
CROWDED = """(entries) => entries.filter((entry) => {
  const [label, number] = [...entry.children].map((child) => child.getBoundingClientRect());
  return label.bottom > number.top + 1;
}).map((entry) => entry.textContent)"""


class WidgetPage:
    """One view of a widget.

    Parameters
    ----------
    root
        Locates the element of class ``qw-root``.
    set_theme
        Makes the host light or dark.
    """

    def __init__(self, root: Locator, set_theme: Callable[[str], None]) -> None:
        self.root = root
        self.page: Page = root.page
        self.set_theme = set_theme
        self.tree = root.get_by_role("tree")
        self.rows = root.get_by_role("treeitem")
        self.title = root.locator(".qw-title-name")
        self.chart = root.locator(".qw-chart")
        self.percentage = root.locator(".qw-range-result b")
        self.search_box = root.get_by_role("searchbox")
        self.channel_grid = root.get_by_role("grid", name="Channels")
        self.bins_slider = root.get_by_role("slider", name="Bins")

    def wait_until_painted(self) -> None:
        """Wait for layers and bars."""
        expect(self.rows.first).to_be_visible()
        expect(self.chart.locator(".qw-bars")).to_have_attribute("d", re.compile("M"))

    def start_over(self, name: str) -> None:
        """Bring a page that tests share into a known state, with a tensor selected."""
        self.search("")
        self.select(name)
        self.press("Linear")
        self.press("Count")
        if self.button("Codes").count():
            self.press("Codes")

    def row(self, name: str) -> Locator:
        """Locate the row of a tensor by its full name; only rows in view, and a few around them, are in the page."""
        return self.root.locator('[role="treeitem"]:not([aria-expanded])').and_(
            self.root.get_by_title(name, exact=True)
        )

    def reveal(self, name: str) -> None:
        """Scroll through the tree until a tensor's row is there."""
        expect(self.rows.first).to_be_visible()
        for step in range(SCREENS):
            self.tree.evaluate(SCROLL, step)
            if self.row(name).count():
                return
        message = f"the tree has no row for {name!r}"
        raise AssertionError(message)

    def select(self, name: str) -> None:
        """Scroll to a tensor's row and click it."""
        self.reveal(name)
        self.row(name).click()
        self.expect_selected(name)

    def expect_selected(self, name: str) -> None:
        """Wait until a tensor is the selected one: in the tree, above the chart and in the chart."""
        expect(self.row(name)).to_have_attribute("aria-selected", "true")
        expect(self.title).to_have_text(name)
        expect(self.chart.get_by_role("img", name=f"Histogram of {name}:")).to_be_visible()

    def button(self, label: str) -> Locator:
        """Locate one of the choices above the chart."""
        return self.root.get_by_role("button", name=label, exact=True)

    def press(self, label: str) -> None:
        """Choose one of the choices above the chart."""
        self.button(label).click()
        expect(self.button(label)).to_have_attribute("aria-pressed", "true")

    def search(self, words: str) -> None:
        """Type into the search box."""
        self.search_box.fill(words)

    def expect_bins(self, number: int, space: str) -> None:
        """Wait until the chart says that it shows that many bins of codes or values."""
        expect(self.chart.get_by_role("img", name=re.compile(rf" {space} from .* in {number} bins$"))).to_be_visible()

    def channels(self) -> Locator:
        """Open the list of channels; gives its rows, which come from the kernel."""
        fold = self.root.locator("details.qw-channels")
        if fold.get_attribute("open") is None:
            fold.locator("summary").click()
        return self.channel_grid.get_by_role("row")

    def bars(self) -> int:
        """Count the bars that are drawn; an empty bin has none."""
        return (self.chart.locator(".qw-bars").get_attribute("d") or "").count("M")

    def tick_labels(self) -> list[str]:
        """Read the numbers along both axes."""
        return self.chart.locator(".qw-ticks text").all_text_contents()

    def drag_range(self, start: float, end: float) -> None:
        """Drag over the chart, from and to a share of its width."""
        surface = self.chart.locator(".qw-surface")
        surface.scroll_into_view_if_needed()
        box = surface.bounding_box()
        assert box is not None
        height = box["y"] + box["height"] / 2
        self.page.mouse.move(box["x"] + start * box["width"], height)
        self.page.mouse.down()
        self.page.mouse.move(box["x"] + (start + end) / 2 * box["width"], height)
        self.page.mouse.move(box["x"] + end * box["width"], height)
        self.page.mouse.up()
        expect(self.root.get_by_role("button", name="reset")).to_be_visible()

    def type_range(self, low: float, high: float, *, exact: bool = True) -> None:
        """Type both ends of the range, the second one when the share for the first is there."""
        for box, number in zip(self.range_boxes(), (low, high), strict=True):
            box.fill(str(number))
            box.press("Enter")
            self.percent_in_range(exact=exact)

    def range_boxes(self) -> tuple[Locator, Locator]:
        """Locate the boxes with the lower and the upper end of the range."""
        return (
            self.root.get_by_role("textbox", name="Lower end of the range"),
            self.root.get_by_role("textbox", name="Upper end of the range"),
        )

    def range(self) -> tuple[float, float]:
        """Read both ends of the range, with the digits that are shown."""
        low, high = (float(box.input_value()) for box in self.range_boxes())
        return low, high

    def percent_in_range(self, *, exact: bool = True) -> float:
        """Read the percentage, once it is marked as exact if it has to be."""
        expect(self.percentage).to_have_text(re.compile(r"^[\d.]+ %$" if exact else r"^(≈ )?[\d.]+ %$"))
        return float(self.percentage.inner_text().removeprefix("≈ ").removesuffix(" %"))

    def count_in_range(self) -> int:
        """Read how many elements are in the range, once the count is marked as exact."""
        count = self.root.locator(".qw-range-result span")
        expect(count).to_have_text(re.compile(r"^[\d,]+ of [\d,]+$"))
        return int(count.inner_text().split(" of ")[0].replace(",", ""))

    def crowded_statistics(self) -> list[str]:
        """Name the statistics whose label and number share a place."""
        return self.root.locator(".qw-statistics dl > div").evaluate_all(CROWDED)

    def save_pictures(self, folder: Path, name: str) -> None:
        """Save what the host's window shows, light and dark."""
        self.page.mouse.move(0, 0)
        for theme in ("dark", "light"):
            self.set_theme(theme)
            expect(self.root).to_have_attribute("data-qw-theme", theme)
            self.page.screenshot(path=folder / f"{name}-{theme}.png")


def wait_until(reading: Callable[[], object], expected: object) -> None:
    """Read again and again until it is as expected."""
    give_up = time.monotonic() + SECONDS
    while (last := reading()) != expected:
        assert time.monotonic() < give_up, f"{last!r} has not become {expected!r}"
        time.sleep(0.1)
