// One tracklet, or two side by side.

import { API, all, ask, askJson, onKeys, one, shape, timeWords } from "./base.js";
import { addToTray, trackletItem } from "./examples.js";

export function startTracklet() {
  const root = one(".player");
  if (root.dataset.search)
    ask("POST", `${API}/searches/${root.dataset.search}/opened/${root.dataset.tracklet}`).catch(() => {});
  const video = one("video", root);
  video?.addEventListener(
    "error",
    () =>
      (one("[data-video-error]").textContent =
        "The video cannot be played here. The crops show what was kept."),
  );
  if (video && root.dataset.offset) startTrajectory(root, video);
  const book = one("[data-flip]", root);
  if (book) startFlip(book);
  for (const button of all("[data-add-tracklet]")) {
    button.addEventListener("click", () =>
      addToTray(trackletItem(button.dataset.addTracklet, button.dataset.label)),
    );
  }
}

async function startTrajectory(root, video) {
  const { tracklet: id, start, offset } = root.dataset;
  const overlay = one("[data-trajectory]", root);
  const shown = one("[data-box]", root);
  const path = await askJson("GET", `${API}/tracklets/${id}/trajectory`).catch(() => null);
  if (!path) return;
  const draw = () => {
    const at = Number(start) + video.currentTime - Number(offset);
    const index = nearest(path.timestamps, at);
    const near = Math.abs(path.timestamps[index] - at) < 0.5 && shown.checked;
    overlay.setAttribute("viewBox", `0 0 ${video.videoWidth || 1} ${video.videoHeight || 1}`);
    const [x1, y1, x2, y2] = path.xyxy[index];
    overlay.replaceChildren(
      ...(near ? [shape("rect", { x: x1, y: y1, width: x2 - x1, height: y2 - y1, class: "chosen" })] : []),
    );
  };
  const each = () => {
    draw();
    if (!video.paused) requestAnimationFrame(each);
  };
  for (const name of ["play", "seeked", "loadeddata"]) video.addEventListener(name, each);
  shown.addEventListener("change", draw);
  draw();
}

function nearest(sorted, value) {
  let [low, high] = [0, sorted.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low > 0 && value - sorted[low - 1] < sorted[low] - value ? low - 1 : low;
}

/** Steps through `length()` pictures, round and round, with buttons, keys and a timer. */
function stepper(length, show, playButton) {
  let [step, timer] = [0, null];
  const go = (to) => show((step = ((to % length()) + length()) % length()));
  const play = () => {
    clearInterval(timer);
    timer = timer ? null : setInterval(() => go(step + 1), 300);
    playButton.textContent = timer ? "Pause" : "Play";
  };
  playButton.addEventListener("click", play);
  onKeys((event) => {
    const elsewhere = event.target.closest(event.key === " " ? "a, button, video, summary" : "video");
    const move = { ArrowLeft: () => go(step - 1), ArrowRight: () => go(step + 1), " ": play }[event.key];
    if (!move || elsewhere) return false;
    move();
    return true;
  });
  return { go, by: (change) => go(step + change) };
}

function startFlip(book) {
  const { base, count } = book.dataset;
  const times = JSON.parse(book.dataset.times);
  const show = (number) => {
    const words = `Crop ${number + 1} of ${count}`;
    Object.assign(one("img", book), { src: base + number, alt: words });
    one("[data-flip-words]", book).textContent =
      times[number] === undefined ? words : `${words}, ${timeWords(times[number])}`;
  };
  const steps = stepper(() => Number(count), show, one("[data-flip-play]", book));
  book.addEventListener(
    "click",
    (event) => event.target.dataset.flipStep && steps.by(Number(event.target.dataset.flipStep)),
  );
  steps.go(0);
}

export function startCompare() {
  const root = one("[data-compare-page]");
  const sides = all("[data-side]").map((element) => ({
    element,
    base: element.dataset.base,
    count: Number(element.dataset.count),
    times: JSON.parse(element.dataset.times),
  }));
  const slider = one("[data-step-slider]");
  let plan = planByPosition(sides);
  const show = (step) => {
    const { crops, words } = plan[step];
    sides.forEach((side, i) => showSide(side, crops[i], i));
    slider.value = step;
    slider.setAttribute("aria-valuetext", words);
    one("[data-step-words]").textContent = words;
  };
  const steps = stepper(() => plan.length, show, one("[data-step-play]"));
  const begin = () => {
    plan = one('[name="by"]:checked').value === "time" ? planByTime(sides) : planByPosition(sides);
    slider.max = plan.length - 1;
    steps.go(0);
  };
  slider.addEventListener("input", () => steps.go(Number(slider.value)));
  root.addEventListener(
    "click",
    (event) => event.target.dataset.stepBy && steps.by(Number(event.target.dataset.stepBy)),
  );
  root.addEventListener("change", (event) => event.target.name === "by" && begin());
  begin();
}

function planByPosition(sides) {
  const length = Math.max(1, ...sides.map((side) => side.count));
  return Array.from({ length }, (_, step) => ({
    crops: sides.map(({ count }) => (length > 1 ? Math.round((step / (length - 1)) * (count - 1)) : 0)),
    words: `${step + 1} of ${length}`,
  }));
}

function planByTime(sides) {
  const since = sides.map(({ times }) => times.map((time) => time - times[0]));
  const moments = [...new Set(since.flat().map((time) => time.toFixed(2)))].map(Number).sort((a, b) => a - b);
  return moments.map((moment) => ({
    crops: since.map((times) =>
      Math.max(
        0,
        times.findLastIndex((time) => time <= moment + 0.005),
      ),
    ),
    words: `${moment.toFixed(1)} s since each began`,
  }));
}

function showSide({ element, base, count, times }, number, index) {
  const picture = one("img", element);
  if (!picture || !count) return;
  Object.assign(picture, { src: base + number, alt: `${"AB"[index]}, crop ${number + 1} of ${count}` });
  one("[data-side-words]", element).textContent =
    `crop ${number + 1} of ${count}${times[number] === undefined ? "" : `, ${timeWords(times[number])}`}`;
}
