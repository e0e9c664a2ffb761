// A recording at a moment: pick a person, or draw a box.

import { API, goTo, lengthWords, one } from "./base.js";
import { addToTray, setTray } from "./examples.js";
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
  const control = moments(
    one("[data-moment]"),
    (at) => {
      history.replaceState(null, "", `?at_s=${at}`);
      pick.load(at);
    },
    Number(sourceStart),
  );
  control.go(Number(root.dataset.atStart));
}

function showAround(start, at) {
  const around = one("[data-around]");
  const url = new URL(around.href);
  url.searchParams.set("start", start + at - 60);
  url.searchParams.set("end", start + at + 60);
  around.href = url;
  const play = one("[data-play-source]");
  if (play) play.href = `${play.href.split("#")[0]}#t=${at.toFixed(2)}`;
}
