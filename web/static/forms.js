// Forms that speak to the API: data-api="METHOD /path", data-then, data-done, data-confirm, data-secret.

import { API, all, ask, askJson, fromInput, goTo, guarded, kept, make, one, toInput } from "./base.js";

export function readForm(form) {
  const body = {};
  for (const field of form.elements) {
    const value = field.name && !field.disabled ? readField(field, form) : undefined;
    if (field.dataset.type === "json") Object.assign(body, JSON.parse(value));
    else if (value !== undefined) put(body, field.name.split("."), value);
  }
  return body;
}

function readField(field, form) {
  const { type, value } = field;
  if (field.dataset.type === "list") {
    return all(`[name="${field.name}"]:checked`, form).map((each) => each.value);
  }
  if (type === "checkbox") return field.checked;
  if (type === "number" || field.dataset.type === "int") return value === "" ? null : Number(value);
  if (type === "datetime-local") return fromInput(value);
  if (field.dataset.type === "bool") return value === "true";
  if (field.dataset.type === "names")
    return value
      .split(",")
      .map((name) => name.trim())
      .filter(Boolean);
  return value;
}

function put(body, path, value) {
  const last = path.pop();
  let place = body;
  for (const name of path) place = place[name] ??= {};
  place[last] = value;
}

/** Cameras of a user: "every camera" beats the list. */
function userBody(body, isNew) {
  const { all_cameras: every, cameras = [], ...rest } = body;
  if (isNew) return { ...rest, cameras: every ? null : cameras };
  return every ? { ...rest, all_cameras: true } : { ...rest, cameras };
}

const SEES_NOTHING = "No camera is chosen, so this user will see nothing. Is that meant?";

function seesNothing(form) {
  return !form.elements.all_cameras.checked && !one('[name="cameras"]:checked', form);
}

async function submitApi(form) {
  const [method, path] = form.dataset.api.split(" ");
  if (form.dataset.confirm && !(await confirmed(form.dataset.confirm))) return;
  if ("user" in form.dataset && seesNothing(form) && !(await confirmed(SEES_NOTHING))) return;
  await guarded(form, async () => {
    let body = [...form.elements].some((field) => field.name) ? readForm(form) : undefined;
    if ("user" in form.dataset) body = userBody(body, method === "POST");
    const answer = await askJson(method, path, body);
    if (path === `${API}/session`) sessionStorage.clear(); // examples of one user are not for the next
    if (form.dataset.secret) await showSecret(answer[form.dataset.secret], form.dataset.secretWords);
    form.dispatchEvent(new CustomEvent("answered", { detail: answer }));
    afterwards(form.dataset, answer);
  });
}

function afterwards({ then, done, secret }, answer) {
  if (done) kept("sessionStorage", "flash", done);
  if (then === "reload" || secret) location.reload();
  else if (then) goTo(then.replace(/\{(\w+)\}/g, (_, name) => answer[name]));
}

function confirmed(words) {
  const dialog = one("#confirm");
  one("#confirm-words").textContent = words;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

function showSecret(value, words) {
  const dialog = one("#secret");
  const text = value.startsWith("/") ? location.origin + value : value;
  one("#secret-words").textContent = words;
  one("#secret-value").value = text;
  one("#secret-status").textContent = "";
  one("[data-copy]").onclick = async () => {
    one("#secret-value").select();
    const copied = await navigator.clipboard?.writeText(text).then(
      () => true,
      () => false,
    );
    one("#secret-status").textContent = copied ? "Copied." : "Press Ctrl+C to copy.";
  };
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
}

async function download(form) {
  const status = one(".status", form);
  await guarded(form, async () => {
    const [method, path] = form.dataset.download.split(" ");
    status.textContent = "Packing…";
    const blob = await (await ask(method, path)).blob();
    const url = URL.createObjectURL(blob);
    make("a", { href: url, download: form.dataset.name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    status.textContent = `Saved, ${(blob.size / 1e6).toFixed(1)} MB.`;
    return true;
  }).then((done) => done || (status.textContent = ""));
}

export function startForms() {
  for (const form of all("form[data-api], form[data-download]")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      return form.dataset.api ? submitApi(form) : download(form);
    });
  }
  for (const again of all("[data-same-as]")) {
    const first = again.form.elements[again.dataset.sameAs];
    const compare = () =>
      again.setCustomValidity(again.value === first.value ? "" : "The two are not the same.");
    again.addEventListener("input", compare);
    first.addEventListener("input", compare);
  }
  all("[data-filters]").forEach(startFilters);
}

/** Filters live in the URL: times as seconds UTC, and nothing that is empty. */
function startFilters(form) {
  for (const field of all("[data-epoch]", form)) {
    const hidden = form.elements[field.dataset.epoch];
    if (hidden.value !== "") field.value = toInput(Number(hidden.value));
    field.addEventListener("change", () => (hidden.value = fromInput(field.value) ?? ""));
  }
  form.addEventListener("submit", () => {
    const empty = [...form.elements].filter(
      (field) => field.name && ["", "0", field.dataset.default].includes(field.value),
    );
    empty.forEach((field) => (field.disabled = true));
    setTimeout(() => empty.forEach((field) => (field.disabled = false)), 0);
  });
}
