// Pointing at a person in a picture, and at a moment of a video.

import {
  all,
  ask,
  askJson,
  later,
  lengthWords,
  make,
  onKeys,
  one,
  plural,
  shape,
  timeWords,
} from "./base.js";

/** A picture with the persons found in it, in which a box is chosen: by number, by drawing, by typing. */
export function picker(root, urls, changed) {
  const picture = one("[data-picture]", root);
  const overlay = one("[data-overlay]", root);
  const status = one("[data-status]", root);
  const edges = all("[data-edge]", root);
  const state = { box: null, at: 0, persons: [], turn: 0 };

  const setBox = (box) => {
    state.box = box;
    edges.forEach((edge, i) => (edge.value = box ? Math.round(box[i]) : ""));
    drawBoxes(overlay, state);
    all("[data-persons] button", root).forEach((button, i) =>
      button.setAttribute("aria-pressed", state.persons[i].box === box),
    );
    changed(state);
  };
  const find = async (turn) => {
    status.textContent = "Looking for persons…";
    const found = await askJson("GET", urls.persons(state.at)).catch((problem) => problem);
    if (turn !== state.turn) return;
    state.persons = found.persons ?? [];
    status.textContent =
      found instanceof Error
        ? found.message
        : `${plural(state.persons.length, "person").replace("persons", "people")} found.`;
    one("[data-persons]", root).replaceChildren(
      ...state.persons.map((person, i) => personButton(i, person, () => setBox(person.box))),
    );
    drawBoxes(overlay, state);
  };
  const findSoon = later(find, 250);
  const load = async (at) => {
    const turn = ++state.turn;
    status.textContent = "Loading the picture…";
    try {
      const answer = await ask("GET", urls.frame(at));
      const shown = URL.createObjectURL(await answer.blob());
      if (turn !== state.turn) return URL.revokeObjectURL(shown);
      if (picture.src) URL.revokeObjectURL(picture.src);
      picture.src = shown;
      await picture.decode();
      const time = answer.headers.get("X-Frame-Time");
      Object.assign(state, { at: time === null ? at : Number(time), persons: [] });
    } catch (problem) {
      if (turn === state.turn) status.textContent = problem.message;
      return;
    }
    picture.alt = `Picture at ${lengthWords(state.at)}`;
    overlay.setAttribute("viewBox", `0 0 ${picture.naturalWidth} ${picture.naturalHeight}`);
    one("[data-persons]", root).replaceChildren();
    setBox(null);
    status.textContent = "";
    if (urls.persons) findSoon(turn);
  };
  if (urls.persons) drawing(overlay, state, setBox);
  edges.forEach((edge) =>
    edge.addEventListener("change", () => {
      const box = edges.map((each) => (each.value === "" ? NaN : Number(each.value)));
      if (box.every(Number.isFinite)) setBox(proper(box, picture));
    }),
  );
  onKeys((event) => {
    const person = /^[1-9]$/.test(event.key) && state.persons[Number(event.key) - 1];
    if (person) setBox(person.box);
    return Boolean(person);
  });
  return { load, state, picture };
}

function personButton(index, person, choose) {
  const button = make("button", { type: "button", "aria-pressed": "false" }, `Person ${index + 1}`);
  button.title = `confidence ${person.confidence.toFixed(2)}`;
  button.addEventListener("click", choose);
  return button;
}

/** Corners in order and inside the picture; null if too small to be a person. */
function proper([x1, y1, x2, y2], picture) {
  const clip = (value, most) => Math.min(Math.max(value, 0), most);
  const [width, height] = [picture.naturalWidth, picture.naturalHeight];
  const box = [
    clip(Math.min(x1, x2), width),
    clip(Math.min(y1, y2), height),
    clip(Math.max(x1, x2), width),
    clip(Math.max(y1, y2), height),
  ];
  return box[2] - box[0] >= 4 && box[3] - box[1] >= 4 ? box : null;
}

function drawBoxes(overlay, { box, persons }) {
  const rect = ([x1, y1, x2, y2], kind) =>
    shape("rect", { x: x1, y: y1, width: x2 - x1, height: y2 - y1, class: kind });
  const size = Math.max(14, overlay.viewBox.baseVal.height / 30);
  const found = persons.map((person, i) =>
    shape(
      "g",
      {},
      rect(person.box, "person"),
      shape("text", { x: person.box[0] + 2, y: person.box[1] + size, "font-size": size }, String(i + 1)),
    ),
  );
  overlay.replaceChildren(...found, ...(box ? [rect(box, "chosen")] : []));
}

function drawing(overlay, state, setBox) {
  const picture = one("[data-picture]", overlay.parentElement);
  let from = null;
  const place = (event) => {
    const area = overlay.getBoundingClientRect();
    return [
      ((event.clientX - area.left) / area.width) * picture.naturalWidth,
      ((event.clientY - area.top) / area.height) * picture.naturalHeight,
    ];
  };
  overlay.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !picture.naturalWidth) return;
    from = place(event);
    overlay.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  overlay.addEventListener("pointermove", (event) => {
    const box = from && proper([...from, ...place(event)], picture);
    if (box) drawBoxes(overlay, { ...state, box });
  });
  overlay.addEventListener("pointerup", (event) => {
    if (!from) return;
    const to = place(event);
    const drawn = Math.hypot(to[0] - from[0], to[1] - from[1]) > picture.naturalWidth / 100;
    const box = drawn ? proper([...from, ...to], picture) : personAt(state.persons, to);
    from = null;
    if (box) setBox(box);
    else drawBoxes(overlay, state);
  });
  overlay.addEventListener("pointercancel", () => {
    from = null;
    drawBoxes(overlay, state);
  });
}

function personAt(persons, [x, y]) {
  const area = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);
  const hit = persons
    .map((person) => person.box)
    .filter(([x1, y1, x2, y2]) => x >= x1 && x <= x2 && y >= y1 && y <= y2);
  return hit.sort((a, b) => area(a) - area(b))[0] ?? null;
}

/** A small copy of the box, to recognise it by in the list of examples. */
export function boxPicture(picture, box) {
  const [x1, y1, x2, y2] = box ?? [0, 0, picture.naturalWidth, picture.naturalHeight];
  const canvas = make("canvas", {
    height: 96,
    width: Math.max(8, Math.min(96, Math.round((96 * (x2 - x1)) / (y2 - y1)))),
  });
  canvas.getContext("2d").drawImage(picture, x1, y1, x2 - x1, y2 - y1, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.8);
}

/** Slider and buttons for a moment of a video; `load(at)` shows it. */
export function moments(root, load, zero_s = null) {
  const slider = one("[data-at]", root);
  const words = one("[data-moment-words]", root);
  const soon = later(load, 120);
  const go = (wanted) => {
    const at = Math.round(1000 * Math.min(Math.max(wanted, 0), Number(slider.max) || 0)) / 1000;
    slider.value = at; // which knows tenths only
    words.textContent = lengthWords(at) + (zero_s === null ? "" : ` (${timeWords(zero_s + at)})`);
    slider.setAttribute("aria-valuetext", words.textContent);
    soon(at);
  };
  slider.addEventListener("input", () => go(Number(slider.value)));
  root.addEventListener(
    "click",
    (event) => event.target.dataset.step && go(Number(slider.value) + Number(event.target.dataset.step)),
  );
  onKeys((event) => {
    if (root.hidden) return false;
    const step = { ",": -0.1, ".": 0.1, "<": -1, ">": 1 }[event.key];
    if (step) go(Number(slider.value) + step);
    return Boolean(step);
  });
  return { go, slider };
}
