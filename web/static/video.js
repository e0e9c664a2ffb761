// A recording at a moment, that of the slider or where it is paused: pick a person, or draw a box.

import { API, goTo, lengthWords, one } from "./base.js";
import { addToTray, setTray } from "./examples.js";
import { whenBroken } from "./player.js";
import { boxPicture, moments, picker } from "./pointing.js";

export function startVideo() {
  const root = one("[data-video]");
  if (!root) return;
  const { video: id, sourceStart } = root.dataset;
  const [use, search] = [one("[data-use-box]"), one("[data-where-else]")];
  const urls = {
    frame: (at) => `${API}/sources/${id}/frame?at_s=${at}`,
    persons: use && ((at) => `${API}/sources/${id}/persons?at_s=${at}`),
  };
  const pick = picker(one("[data-picker]"), urls, ({ box, at }) => {
    for (const button of [use, search]) if (button) button.disabled = !box;
    if (use)
      one("[data-box-words]").textContent = box
        ? `Box ${box.map(Math.round).join(", ")} at ${lengthWords(at)}`
        : "No box yet.";
    showAround(Number(sourceStart), at);
  });
  const item = () => ({
    example: { source: Number(id), at_s: pick.state.at, box: pick.state.box },
    words: `${one("h1").textContent} at ${lengthWords(pick.state.at)}`,
    picture: boxPicture(pick.picture, pick.state.box),
  });
  use?.addEventListener("click", () => addToTray(item()));
  search?.addEventListener("click", () => {
    setTray([item()]);
    goTo("/search");
  });
  const recording = one("[data-recording]");
  let shown = null;
  const control = moments(
    one("[data-moment]"),
    (at) => {
      shown = at;
      history.replaceState(null, "", `?at_s=${at}`);
      pick.load(at);
      if (recording && !same(recording.currentTime, at)) {
        recording.pause();
        recording.currentTime = at;
      }
    },
    Number(sourceStart),
  );
  if (recording) {
    const still = () =>
      recording.paused && !same(recording.currentTime, shown) && control.go(recording.currentTime);
    for (const name of ["pause", "seeked"]) recording.addEventListener(name, still);
    const hide = (hidden) => () => (recording.hidden = hidden);
    whenBroken(recording, hide(true), hide(false));
  }
  control.go(Number(root.dataset.atStart));
}

const same = (one_s, other_s) => Math.abs(one_s - other_s) < 0.002;

function showAround(start, at) {
  const around = one("[data-around]");
  const url = new URL(around.href);
  url.searchParams.set("start", start + at - 60);
  url.searchParams.set("end", start + at + 60);
  around.href = url;
}
