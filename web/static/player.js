// One tracklet: its moment of video with the box of the person, and its crops.

import { API, all, ask, askJson, onKeys, one, shape, timeWords } from "./base.js";
import { addToTray, trackletItem } from "./examples.js";

export function startTracklet() {
  const root = one(".player");
  if (root.dataset.search)
    ask("POST", `${API}/searches/${root.dataset.search}/opened/${root.dataset.tracklet}`).catch(() => {});
  const video = one("video", root);
  if (video) {
    const words = "The video cannot be played here. The crops show what was kept.";
    const say = (text) => (one("[data-video-error]").textContent = text);
    whenBroken(
      video,
      () => say(words),
      () => say(""),
    );
    startTrajectory(root, video);
    startWhole(one("[data-whole]", root), video);
  }
  const book = one("[data-flip]", root);
  if (book) startFlip(book);
  for (const button of all("[data-add-tracklet]")) {
    button.addEventListener("click", () =>
      addToTray(trackletItem(button.dataset.addTracklet, button.dataset.label)),
    );
  }
}

const ASK_AGAIN_MS = 1000;
const LONGEST_WAIT_MS = 5 * 60_000;

/**
 * Tells that a video cannot be played, also when that was known before somebody listened. One that could not
 * be begun is loaded once more when the server has it, which may be cutting others: then `again` is told.
 */
export function whenBroken(video, tell, again) {
  let waited = false;
  const broken = async () => {
    tell();
    if (waited || video.readyState > HTMLMediaElement.HAVE_NOTHING) return;
    waited = true;
    if (!(await comes(video.src, Date.now() + LONGEST_WAIT_MS))) return;
    video.load();
    again();
  };
  if (video.error) broken();
  video.addEventListener("error", broken);
}

/** Waits while a server is busy; whether it then has what was asked for. */
async function comes(url, until) {
  const answer = await fetch(url, { headers: { Range: "bytes=0-0" } }).catch(() => null);
  if (answer?.status !== 503 || Date.now() > until) return Boolean(answer?.ok);
  await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
  return comes(url, until);
}

/** When a tracklet was seen where; null where that cannot be had. */
export function trajectory(id) {
  return askJson("GET", `${API}/tracklets/${id}/trajectory`).catch(() => null);
}

async function startTrajectory(root, video) {
  const overlay = one("[data-trajectory]", root);
  const shown = one("[data-box]", root);
  const path = await trajectory(root.dataset.tracklet);
  if (!path?.width) return;
  overlay.setAttribute("viewBox", `0 0 ${path.width} ${path.height}`);
  const draw = () => {
    const at = path.timestamps[0] + video.currentTime - Number(video.dataset.offset);
    const index = nearest(path.timestamps, at);
    const near = Math.abs(path.timestamps[index] - at) < 0.5 && shown.checked;
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

/** The link to the whole picture leads to the moment that the video is at. */
function startWhole(link, video) {
  video.addEventListener("timeupdate", () => {
    const at = Number(link.dataset.whole) + video.currentTime - Number(video.dataset.offset);
    const url = new URL(link.href);
    url.searchParams.set("at_s", Math.max(0, at).toFixed(2));
    link.href = url;
  });
}

export function nearest(sorted, value) {
  let [low, high] = [0, sorted.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low > 0 && value - sorted[low - 1] < sorted[low] - value ? low - 1 : low;
}

/**
 * Steps through `length()` pictures, round and round, with buttons, keys and a timer. The timer, and a key
 * that is held, wait while the last picture asked for is not shown yet.
 */
export function stepper(length, show, playButton, shown = () => true) {
  let [step, timer] = [0, null];
  const go = (to) => show((step = ((to % length()) + length()) % length()));
  const play = () => {
    clearInterval(timer);
    timer = timer ? null : setInterval(() => shown() && go(step + 1), 300);
    playButton.textContent = timer ? "Pause" : "Play";
  };
  playButton.addEventListener("click", play);
  onKeys((event) => {
    const elsewhere = event.target.closest(event.key === " " ? "a, button, video, summary" : "video");
    const move = { ArrowLeft: () => go(step - 1), ArrowRight: () => go(step + 1), " ": play }[event.key];
    if (!move || elsewhere) return false;
    if (!event.repeat || shown()) move();
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
