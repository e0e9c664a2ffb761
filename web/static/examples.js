// Examples of a person, collected for a search until the tab is closed.

import { API, all, flash, kept, plural } from "./base.js";

export function tray() {
  return kept("sessionStorage", "examples") ?? [];
}

export function setTray(items) {
  kept("sessionStorage", "examples", items);
  showTrayCount();
}

export function addToTray(...items) {
  const known = new Set(tray().map((item) => JSON.stringify(item.example)));
  const added = items.filter((item) => !known.has(JSON.stringify(item.example)));
  setTray([...tray(), ...added].slice(0, 16));
  flash(`${plural(tray().length, "example")} collected for a search.`);
}

export function trackletItem(id, camera = "") {
  const words = camera ? `${camera}, tracklet ${id}` : `tracklet ${id}`;
  return { example: { tracklet: Number(id) }, words, picture: `${API}/tracklets/${id}/thumbnail` };
}

export function showTrayCount() {
  const count = tray().length;
  for (const badge of all("[data-tray-count]")) {
    badge.hidden = count === 0;
    badge.textContent = ` ${count}`;
    badge.title = `${plural(count, "example")} collected`;
  }
}
