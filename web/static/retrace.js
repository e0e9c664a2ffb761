// Retrace in the browser. The server renders each page; this adds what a page cannot do alone:
// what all pages need is here, the rest is loaded by the page that needs it.

import { IDLE_MS, all, announce, flash, kept, localise, make, onKeys, one, pageAt } from "./base.js";
import { showTrayCount } from "./examples.js";
import { startForms } from "./forms.js";

const THEMES = { auto: "as the system", light: "light", dark: "dark" };

function startTheme() {
  const button = one("[data-theme-switch]");
  const show = (theme) => {
    document.documentElement.dataset.theme = theme;
    button.setAttribute("aria-label", `Colours: ${THEMES[theme]}`);
    button.title = `Colours: ${THEMES[theme]}`;
  };
  show(THEMES[kept("localStorage", "theme")] ? kept("localStorage", "theme") : "auto");
  button.addEventListener("click", () => {
    const names = Object.keys(THEMES);
    const next = names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length];
    kept("localStorage", "theme", next);
    show(next);
    announce(`Colours: ${THEMES[next]}`);
  });
}

function startKeysHelp() {
  const dialog = one("#keys");
  const single = one("[data-keys-on]");
  single.checked = kept("localStorage", "keys") !== "off";
  single.addEventListener("change", () => kept("localStorage", "keys", single.checked ? "on" : "off"));
  one("[data-keys-help]")?.addEventListener("click", () => dialog.showModal());
  onKeys((event) => event.key === "?" && (dialog.showModal(), true));
}

/** Lists with data-refresh="seconds" are renewed in place, unless somebody is in them or nobody is there. */
function startRefresh(list) {
  let seen = Date.now();
  window.addEventListener("pointermove", () => (seen = Date.now()), { passive: true });
  window.addEventListener("keydown", () => (seen = Date.now()));
  setInterval(
    async () => {
      if (document.hidden || list.contains(document.activeElement) || Date.now() - seen > IDLE_MS) return;
      const page = await pageAt(location.href).catch(() => null);
      const fresh = page && one("[data-refresh]", page);
      if (fresh) list.replaceChildren(...fresh.children);
    },
    Number(list.dataset.refresh) * 1000,
  );
}

/** A picture that is gone, or was never kept, says so. */
function sayMissing({ target }) {
  if (target instanceof HTMLImageElement)
    target.replaceWith(make("span", { class: "no-picture" }, "no picture"));
}

// The script of a page, and the function that begins it.
const PAGES = {
  browse: ["./browse.js", "startBrowse"],
  video: ["./video.js", "startVideo"],
  search: ["./search.js", "startSearch"],
  results: ["./results.js", "startResults"],
  tracklet: ["./player.js", "startTracklet"],
  compare: ["./compare.js", "startCompare"],
  erasure: ["./admin.js", "startErasure"],
  audit: ["./admin.js", "startAudit"],
  index: ["./admin.js", "startJobs"],
  retention: ["./admin.js", "startJobs"],
};

async function start() {
  document.addEventListener("error", sayMissing, true); // errors of pictures do not bubble
  startTheme();
  localise();
  startForms();
  startKeysHelp();
  showTrayCount();
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  all("[data-zone]").forEach((element) => (element.textContent = `Times are in ${zone}.`));
  all("[data-refresh]").forEach(startRefresh);
  const words = kept("sessionStorage", "flash");
  if (words) flash(words);
  kept("sessionStorage", "flash", null);
  const [file, begin] = PAGES[document.documentElement.dataset.page] ?? [];
  if (file) await (await import(file))[begin]();
  document.documentElement.dataset.ready = ""; // keys and buttons work from now on
}

start();
