// Starting a search: uploads, the examples collected, the question.

import {
  API,
  announce,
  askJson,
  goTo,
  guarded,
  jsonOf,
  kept,
  lengthWords,
  make,
  one,
  sentence,
} from "./base.js";
import { addToTray, setTray, trackletItem, tray } from "./examples.js";
import { readForm } from "./forms.js";
import { boxPicture, moments, picker } from "./pointing.js";

export function startSearch() {
  takeFromUrl();
  showTray();
  one("[data-tray-clear]").addEventListener("click", () => {
    setTray([]);
    showTray();
  });
  const form = one("[data-search-form]");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submitSearch(form);
  });
  startUpload();
}

/** Tracklets that the address names; those that there are stand in the page. */
function takeFromUrl() {
  const examples = jsonOf("[data-examples-of]");
  if (!examples) return;
  setTray(examples.map(({ id, camera }) => trackletItem(id, camera)));
  const url = new URL(location.href);
  url.searchParams.delete("tracklet");
  history.replaceState(null, "", url);
  one('[name="reason"]').focus();
}

function showTray() {
  const items = tray();
  const rows = items.map((item, i) => {
    const row = one("#tray-template").content.firstElementChild.cloneNode(true);
    one("img", row).src = item.picture;
    one("[data-words]", row).textContent = item.words;
    one("[data-remove]", row).append(make("span", { class: "sr" }, ` example ${i + 1}`));
    one("[data-remove]", row).addEventListener("click", () => {
      setTray(tray().filter((_, other) => other !== i));
      showTray();
      announce("Example removed");
    });
    return row;
  });
  one("[data-tray]").replaceChildren(...rows);
  one("[data-tray-empty]").hidden = items.length > 0;
  one("[data-tray-clear]").hidden = items.length < 2;
  one("[data-search-form] .primary").disabled = items.length === 0;
}

async function submitSearch(form) {
  const body = readForm(form);
  body.examples = tray().map((item) => item.example);
  const status = one("[data-searching]", form);
  status.textContent = "Searching…";
  const done = await guarded(form, async () => {
    const search = await askJson("POST", `${API}/searches`, body);
    setTray([]);
    if (search.notes.length) kept("sessionStorage", "flash", search.notes.map(sentence).join(" "));
    goTo(`/searches/${search.id}`);
    return true;
  });
  if (!done) status.textContent = "";
  showTray();
}

function startUpload() {
  const form = one("[data-upload]");
  const point = pointing();
  const input = one("input[type=file]", form);
  const take = (files) => files[0] && upload(form, files[0], point);
  input.addEventListener("change", () => take(input.files));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("dragover", (event) => {
    event.preventDefault();
    form.classList.add("over");
  });
  form.addEventListener("dragleave", () => form.classList.remove("over"));
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    form.classList.remove("over");
    take(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => take(event.clipboardData?.files ?? []));
}

async function upload(form, file, point) {
  const status = one("[data-upload-status]", form);
  one(".error", form).textContent = "";
  status.textContent = `Sending ${file.name}…`;
  try {
    const made = await send(file, one("progress", form));
    status.textContent = `${file.name}: ${made.width} × ${made.height}${made.kind === "clip" ? `, ${lengthWords(made.duration_s)}` : ""}`;
    point(made, file.name);
  } catch (problem) {
    status.textContent = "";
    one(".error", form).textContent = problem.message;
  }
}

/** Sends a file as the body of a request; fetch cannot tell how far it is. */
function send(file, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `${API}/uploads`);
    request.responseType = "json";
    request.setRequestHeader("X-CSRF-Token", one('meta[name="csrf-token"]').content);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    progress.hidden = false;
    request.upload.onprogress = (event) =>
      event.lengthComputable && (progress.value = event.loaded / event.total);
    request.onloadend = () => (progress.hidden = true);
    request.onerror = () =>
      reject(new Error("The server cannot be reached. Check the connection and try again."));
    request.onload = () => {
      if (request.status < 300) resolve(request.response);
      else reject(new Error(sentence(request.response?.detail ?? `the server answered ${request.status}`)));
    };
    request.send(file);
  });
}

/** The part of the page in which a person of an upload is picked; the function it gives shows another upload. */
function pointing() {
  const area = one("[data-uploaded]");
  const [use, whole] = [one("[data-use-box]", area), one("[data-use-whole]", area)];
  const clipOnly = one("[data-clip-only]", area);
  let [made, name] = [null, ""];
  const of = (what) => (at) => `${API}/uploads/${made.id}/${what}?at_s=${at}`;
  const pick = picker(
    one("[data-picker]", area),
    { frame: of("frame"), persons: of("persons") },
    ({ box }) => (use.disabled = !box),
  );
  const control = moments(clipOnly, pick.load);
  const add = (box) => {
    const { at } = pick.state;
    const words = made.kind === "clip" ? `${name} at ${lengthWords(at)}` : name;
    addToTray({ example: { upload: made.id, at_s: at, box }, words, picture: boxPicture(pick.picture, box) });
    showTray();
  };
  use.addEventListener("click", () => add(pick.state.box));
  whole.addEventListener("click", () => add(null));
  return (upload, file) => {
    [made, name] = [upload, file];
    area.hidden = false;
    clipOnly.hidden = made.kind !== "clip";
    whole.hidden = made.kind === "clip";
    control.slider.max = made.duration_s;
    control.go(0);
  };
}
