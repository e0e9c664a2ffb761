// Time lines by camera: an axis in local time, and marks that can be reached with keys.

import { all, clockWords, dateWords, fill, jsonOf, make, one, plural, shape, timeWords } from "./base.js";

const STEPS_S = [
  1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 2592000,
  7776000, 31536000,
];

/** Moments at round local times, at most `most` of them. */
function ticks(start, end, most) {
  const step = STEPS_S.find((each) => (end - start) / each <= most) ?? STEPS_S.at(-1) * 10;
  const shift = new Date(start * 1000).getTimezoneOffset() * 60;
  const found = [];
  for (let at = Math.ceil((start - shift) / step) * step + shift; at <= end; at += step) {
    const date = new Date(at * 1000);
    const clock = clockWords(date);
    const words =
      step >= 86400 || (clock === "00:00:00" && step >= 60)
        ? dateWords(date).slice(step >= 2592000 ? 0 : 5, 10)
        : clock.slice(0, step < 60 ? 8 : 5);
    found.push({ at, words });
  }
  return found;
}

/** A time line in `root`. The function it gives shows a span; `draw(scale, width)` gives [{name, height, marks}]; `gaps` as the API has them. */
export function timeLine(root, words) {
  let [shown, drawn] = [null, 0];
  const render = () => {
    drawn = root.clientWidth;
    const focused = one(":focus", root)?.getAttribute("href");
    root.replaceChildren(picture(Math.max(200, drawn), words, shown));
    all("[data-row]", root).forEach((row) => one("a", row)?.setAttribute("tabindex", "0"));
    if (focused) one(`a[href="${CSS.escape(focused)}"]`, root)?.focus({ preventScroll: true });
  };
  new ResizeObserver(() => shown && drawn !== root.clientWidth && render()).observe(root);
  root.addEventListener("keydown", (event) => moveInTimeLine(root, event));
  return (start, end, draw, gaps) => {
    shown = { start, end, draw, gaps };
    render();
  };
}

function picture(width, words, { start, end, draw, gaps }) {
  const scale = (at) => ((at - start) / (end - start || 1)) * (width - 2) + 1;
  const svg = shape("svg", { width, role: "group", "aria-label": words });
  const hatch = { id: "hatch", width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" };
  svg.append(shape("pattern", hatch, shape("rect", { width: 2, height: 5, class: "hatch" })));
  const gapShapes = (name, height) =>
    gaps.filter((gap) => gap.camera === name).map((gap) => {
      const [x, to] = [Math.max(gap.start, start), Math.min(gap.end ?? end, end)].map(scale);
      const words = `${name}, no pictures from ${timeWords(gap.start)} to ${gap.end ? timeWords(gap.end) : "now"}: ${gap.reason}`;
      const area = { x, width: Math.max(2, to - x), height, fill: "url(#hatch)", role: "img", "aria-label": words };
      return shape("rect", area, shape("title", {}, words));
    });
  let top = 0;
  for (const { name, height, marks } of draw(scale, width)) {
    const foot = top + 16 + height;
    svg.append(
      shape(
        "g",
        { "data-row": "" },
        shape("text", { x: 1, y: top + 12, class: "row-name" }, name),
        shape("line", { x1: 0, x2: width, y1: foot, y2: foot, class: "base" }),
        shape("g", { transform: `translate(0 ${top + 16})` }, ...gapShapes(name, height), ...marks),
      ),
    );
    top = foot + 8;
  }
  for (const { at, words: label } of ticks(start, end, width / 90)) {
    const x = scale(at);
    const anchor = x < 25 ? "start" : x > width - 25 ? "end" : "middle";
    svg.prepend(shape("line", { x1: x, x2: x, y1: 0, y2: top, class: "tick" }));
    svg.append(shape("text", { x, y: top + 12, class: "tick-words", "text-anchor": anchor }, label));
  }
  return fill(svg, { height: top + 18, viewBox: `0 0 ${width} ${top + 18}` }, []);
}

/** One mark of each row can be tabbed to; arrows lead to the others. */
function moveInTimeLine(root, event) {
  const mark = event.target.closest("a");
  if (!mark || !event.key.startsWith("Arrow")) return;
  event.preventDefault();
  const rows = all("[data-row]", root)
    .map((row) => all("a", row))
    .filter((row) => row.length);
  const row = rows.findIndex((each) => each.includes(mark));
  const along = rows[row].indexOf(mark);
  const next = {
    ArrowLeft: () => rows[row][along - 1],
    ArrowRight: () => rows[row][along + 1],
    ArrowUp: () => rows[row - 1]?.[Math.min(along, rows[row - 1].length - 1)],
    ArrowDown: () => rows[row + 1]?.[Math.min(along, rows[row + 1].length - 1)],
  }[event.key]();
  next?.focus();
}

export function markLink(href, words, ...shapes) {
  return shape("a", { href, tabindex: -1, "aria-label": words }, shape("title", {}, words), ...shapes);
}

export function startBars() {
  const line = jsonOf("[data-bars-of]");
  const root = one("[data-bars]");
  const names = line ? Object.keys(line.counts).sort() : [];
  if (!names.length) return void root.append(make("p", { class: "muted" }, "Nothing in this span of time."));
  const bins = line.counts[names[0]].length;
  const end = line.start + bins * line.bin_s;
  const draw = (scale, width) => {
    const merge = Math.ceil((bins * 5) / width);
    const rows = names.map((name) => merged(line.counts[name], merge));
    const most = Math.max(1, ...rows.flat());
    return names.map((name, i) => ({
      name,
      height: 24,
      marks: bars(name, rows[i], line.start, line.bin_s * merge, most, scale),
    }));
  };
  timeLine(root, "Tracklets over time, by camera; arrow keys move between bars")(line.start, end, draw, line.gaps);
}

function merged(counts, by) {
  const found = [];
  counts.forEach((count, i) => (found[Math.floor(i / by)] = (found[Math.floor(i / by)] ?? 0) + count));
  return found;
}

function bars(name, counts, start, bin_s, most, scale) {
  return counts.flatMap((count, i) => {
    if (!count) return [];
    const [from, to] = [start + i * bin_s, start + (i + 1) * bin_s];
    const url = new URL(location.href);
    url.searchParams.set("start", from.toFixed(3));
    url.searchParams.set("end", to.toFixed(3));
    url.searchParams.delete("after");
    const [x, width] = [scale(from), Math.max(1, scale(to) - scale(from) - 1)];
    const height = Math.max(3, (24 * count) / most);
    const words = `${name}, ${timeWords(from)} to ${clockWords(new Date(to * 1000))}: ${plural(count, "tracklet")}`;
    return [
      markLink(
        url.pathname + url.search,
        words,
        shape("rect", { x, y: 0, width, height: 24, class: "hit" }),
        shape("rect", { x, y: 24 - height, width, height, class: "bar" }),
      ),
    ];
  });
}
