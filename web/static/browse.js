// Tracklets in a grid: selecting, loading more, new ones, and a time line above.

import { all, announce, flash, goTo, listen, make, onKeys, one, pageAt, plural } from "./base.js";
import { addToTray, setTray, trackletItem } from "./examples.js";
import { focusCard, gridKeys } from "./grid.js";
import { startBars } from "./timeline.js";

export function startBrowse() {
  const grid = one("#grid");
  const chosen = new Map();
  all("input:checked", grid).forEach((box) => (box.checked = false)); // browsers restore them, we do not
  grid.addEventListener("change", (event) => {
    const card = event.target.closest(".card");
    if (event.target.checked) chosen.set(card.dataset.tracklet, one("b", card).textContent);
    else chosen.delete(card.dataset.tracklet);
    showSelection(chosen);
  });
  one("[data-selection]").addEventListener("click", (event) =>
    selectionDoes(event.target.dataset.do, chosen, grid),
  );
  onKeys((event) => {
    if (event.key === "x") return toggle(event.target.closest(".card"));
    if (event.key === "w" && chosen.size && one('[data-do="search"]'))
      return selectionDoes("search", chosen, grid);
    return gridKeys(event);
  });
  startMore(grid);
  startBars();
  startNew();
}

function toggle(card) {
  const box = card && one(".select input", card);
  box?.click();
  if (box) announce(box.checked ? "Selected" : "Not selected");
  return Boolean(box);
}

function showSelection(chosen) {
  const bar = one("[data-selection]");
  bar.hidden = chosen.size === 0;
  one("[data-selection-words]").textContent = `${chosen.size} selected`;
  one('[data-do="compare"]').disabled = chosen.size !== 2;
}

function selectionDoes(what, chosen, grid) {
  const ids = [...chosen.keys()];
  const items = [...chosen].map(([id, camera]) => trackletItem(id, camera));
  if (what === "search") {
    setTray(items.slice(0, 16));
    goTo("/search");
  } else if (what === "tray") addToTray(...items);
  else if (what === "compare") goTo(`/compare?a=${ids[0]}&b=${ids[1]}`);
  else if (what === "erase") goTo(`/admin/erasure?tracklet=${ids.join(",")}`);
  if (["clear", "tray"].includes(what)) {
    all("input:checked", grid).forEach((box) => (box.checked = false));
    chosen.clear();
    showSelection(chosen);
  }
  return true;
}

function startMore(grid) {
  const link = one("[data-more]");
  if (!link) return;
  let loading = false;
  const more = async (byHand) => {
    if (loading) return;
    loading = true;
    try {
      const page = await pageAt(link.href);
      const cards = all("#grid > li", page);
      const next = one("[data-more]", page);
      grid.append(...cards);
      if (byHand) focusCard(cards[0]);
      announce(`${cards.length} more tracklets`);
      if (next) link.href = next.href;
      else stop();
    } catch (problem) {
      flash(problem.message);
    }
    loading = false;
  };
  const watcher = new IntersectionObserver((seen) => seen[0].isIntersecting && more(false), {
    rootMargin: "600px",
  });
  const stop = () => {
    watcher.disconnect();
    link.replaceWith(make("span", { class: "muted" }, "That is all."));
  };
  watcher.observe(link);
  link.addEventListener("click", (event) => {
    event.preventDefault();
    more(true);
  });
}

function startNew() {
  const button = one("[data-new]");
  let count = 0;
  listen({
    tracklets: (event) => {
      count += event.count;
      button.hidden = false;
      button.textContent = `${plural(count, "new tracklet")} – show`;
      announce(`${plural(count, "new tracklet")}`);
    },
  });
  button.addEventListener("click", () => goTo("/browse"));
}
