// Two tracklets side by side, frame by frame; crop by crop where there is no recording.

import { all, one, timeWords } from "./base.js";
import { nearest, stepper, trajectory, whenBroken } from "./player.js";

const INTO_FRAME_S = 0.008; // half a frame at 60 a second: rounding does not lead to the frame before
const MARGIN = 1.2; // so many heights of the box are shown

export async function startCompare() {
  const root = one("[data-compare-page]");
  const sides = await Promise.all(all("[data-side]").map(sideOf));
  const slider = one("[data-step-slider]");
  let plan = [];
  const show = (step) => {
    const { numbers, words } = plan[step];
    sides.forEach((side, i) => side.show(numbers[i]));
    slider.value = step;
    slider.setAttribute("aria-valuetext", words);
    one("[data-step-words]").textContent = words;
  };
  const shown = () => sides.every((side) => side.shown());
  const steps = stepper(() => plan.length, show, one("[data-step-play]"), shown);
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
    numbers: sides.map(({ count }) => (length > 1 ? Math.round((step / (length - 1)) * (count - 1)) : 0)),
    words: `${step + 1} of ${length}`,
  }));
}

function planByTime(sides) {
  const since = sides.map(({ times }) => times.map((time) => time - times[0]));
  const moments = [...new Set([0, ...since.flat()].map((time) => time.toFixed(2)))].map(Number);
  return moments
    .sort((a, b) => a - b)
    .map((moment) => ({
      numbers: since.map((times) =>
        Math.max(
          0,
          times.findLastIndex((time) => time <= moment + 0.005),
        ),
      ),
      words: `${moment.toFixed(1)} s since each began`,
    }));
}

/** A side: how many pictures it has, and when; `show` shows one, `shown` tells whether it is there. */
async function sideOf(element, index) {
  const crops = cropsOf(element, "AB"[index]);
  const video = one("video", element);
  const path = video && (await trajectory(element.dataset.tracklet));
  return path?.width ? framesOf(element, "AB"[index], video, path, crops) : crops;
}

function cropsOf(element, name) {
  const { base } = element.dataset;
  const [count, times] = [Number(element.dataset.count), JSON.parse(element.dataset.times)];
  const show = (number) => {
    const picture = one("[data-crop] img", element);
    const words = `crop ${number + 1} of ${count}`;
    if (picture) Object.assign(picture, { src: base + number, alt: `${name}, ${words}` });
    if (count) say(element, words, times[number]);
  };
  return { count, times, show, shown: () => true };
}

function framesOf(element, name, video, { timestamps, xyxy, width, height }, crops) {
  const canvas = one("canvas", element);
  const swap = (isFrame) => {
    canvas.hidden = !isFrame;
    one("[data-crop]", element).hidden = isFrame;
  };
  const draw = (number) => drawBox(canvas, video, [width, height], xyxy[number]);
  const show = (number) => {
    const words = `frame ${number + 1} of ${timestamps.length}`;
    draw(number);
    canvas.setAttribute("aria-label", `${name}, ${words}`);
    say(element, words, timestamps[number]);
    swap(true);
  };
  const showNearestCrop = (number) => {
    crops.show(nearest(crops.times, timestamps[number]));
    swap(false);
  };
  return { count: timestamps.length, times: timestamps, ...seeker(video, timestamps, show, draw, showNearestCrop) };
}

function say(element, words, time) {
  one("[data-side-words]", element).textContent =
    time === undefined ? words : `${words}, ${timeWords(time, true)}`;
}

/** Seeks to frames by their number, one at a time: of those asked for meanwhile only the newest is shown. */
function seeker(video, timestamps, show, draw, showInstead) {
  let [wanted, sought] = [0, null];
  // A browser that is busy may say that it has sought before it has the picture.
  const again = () => sought === null && !video.error && draw(wanted);
  const seek = () => {
    sought = wanted;
    video.requestVideoFrameCallback?.(again);
    const since = timestamps[sought] - timestamps[0];
    video.currentTime = Number(video.dataset.offset) + since + INTO_FRAME_S;
  };
  video.addEventListener("seeked", () => {
    if (sought !== wanted) return seek();
    sought = null;
    show(wanted);
    requestAnimationFrame(again);
  });
  whenBroken(video, () => showInstead(wanted), seek);
  return {
    show: (number) => {
      wanted = number;
      if (video.error) showInstead(wanted);
      else if (sought === null) seek();
    },
    shown: () => sought === null || Boolean(video.error),
  };
}

/** The box with a margin, as high as the canvas; pixels of the recording, of which a clip has fewer. */
function drawBox(canvas, video, size, [x1, y1, x2, y2]) {
  const [across, down] = [video.videoWidth / size[0], video.videoHeight / size[1]];
  const shape = canvas.width / canvas.height;
  const height = MARGIN * Math.max((y2 - y1) * down, ((x2 - x1) * across) / shape);
  const width = height * shape;
  const [left, top] = [((x1 + x2) * across - width) / 2, ((y1 + y2) * down - height) / 2];
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.drawImage(video, left, top, width, height, 0, 0, canvas.width, canvas.height);
}
