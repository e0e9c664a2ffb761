// What every page uses: finding and making elements, asking the API, times, keys, events of the server.
// All text that comes from outside is inserted as text, never as markup.

export const API = "/api/v1";
export const IDLE_MS = 15 * 60_000; // pages stop asking by themselves then, so that an unused log-in ends

export const one = (selector, root = document) => root.querySelector(selector);
export const all = (selector, root = document) => [...root.querySelectorAll(selector)];

export function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function shape(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

export function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function jsonOf(selector) {
  const element = one(selector);
  return element ? JSON.parse(element.textContent) : null;
}

export function later(work, wait_ms) {
  let timer;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...values), wait_ms);
  };
}

export function sentence(text) {
  const words = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(words) ? words : `${words}.`;
}

export function plural(count, word) {
  return `${count.toLocaleString("en")} ${word}${count === 1 ? "" : word.endsWith("ch") ? "es" : "s"}`;
}

export function announce(words) {
  const region = one("#announce");
  region.textContent = "";
  setTimeout(() => (region.textContent = words), 50); // a region that is emptied first is read again
}

export function flash(words) {
  const region = one("#flash");
  region.textContent = words;
  region.hidden = false;
  setTimeout(() => (region.hidden = true), 6000);
}

/** Storage that may be switched off in the browser. */
export function kept(storage, name, value) {
  try {
    if (value === undefined) return JSON.parse(window[storage].getItem(name));
    if (value === null) window[storage].removeItem(name);
    else window[storage].setItem(name, JSON.stringify(value));
  } catch {
    /* nothing is remembered then */
  }
  return null;
}

export function goTo(path) {
  const url = new URL(path, location.href);
  if (url.origin === location.origin) location.assign(url);
}

export async function ask(method, path, body) {
  const csrf = one('meta[name="csrf-token"]')?.content;
  const headers = { Accept: "application/json" };
  if (csrf && method !== "GET") headers["X-CSRF-Token"] = csrf;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Error("The server cannot be reached. Check the connection and try again.");
  }
  if (answer.status === 401 && csrf) toLogIn();
  if (!answer.ok) throw await whatWentWrong(answer);
  return answer;
}

export async function askJson(method, path, body) {
  const answer = await ask(method, path, body);
  return answer.status === 204 ? null : answer.json();
}

async function whatWentWrong(answer) {
  const problem = await answer.json().catch(() => null);
  const words = sentence(problem?.detail || problem?.title || `the server answered ${answer.status}`);
  return Object.assign(new Error(words), { fields: problem?.errors ?? [] });
}

/** What went wrong, in the words of the form: `where` of the API is a path such as "body.filter.start". */
function problemWords({ message, fields = [] }, root) {
  const lines = fields.map(({ where, what }) => {
    const path = where.split(".").filter((part) => !/^(body|query|path|\d+|[A-Z]\w*)$/.test(part));
    const label = one(`[name="${CSS.escape(path.join("."))}"]`, root)?.closest("label");
    const name = label?.firstChild.textContent.trim() || path.join(" ").replaceAll("_", " ");
    return sentence(name ? `${name}: ${what}` : what);
  });
  return [...new Set(lines)].slice(0, 5).join(" ") || message;
}

function toLogIn() {
  goTo(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
}

/** Runs `work`; while it runs buttons in `root` rest, and what goes wrong is said in `root`. */
export async function guarded(root, work) {
  const error = one(".error", root);
  const buttons = all("button:not([disabled])", root);
  if (error) error.textContent = "";
  buttons.forEach((button) => (button.disabled = true));
  try {
    return await work();
  } catch (problem) {
    const words = problemWords(problem, root);
    if (error) error.textContent = words;
    else flash(words);
    return undefined;
  } finally {
    buttons.forEach((button) => (button.disabled = false));
  }
}

const pad = (number) => String(number).padStart(2, "0");
export const dateWords = (date) => `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
export const clockWords = (date) =>
  `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;

export function timeWords(seconds, tenths = false) {
  const date = new Date(seconds * 1000);
  const rest = tenths ? `.${Math.floor(date.getMilliseconds() / 100)}` : "";
  return `${dateWords(date)} ${clockWords(date)}${rest}`;
}

export function lengthWords(seconds) {
  return `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;
}

export function setTime(element, seconds) {
  const iso = new Date(seconds * 1000).toISOString();
  element.dateTime = iso;
  element.title = `${iso.slice(0, 19).replace("T", " ")} UTC`;
  element.textContent = timeWords(seconds);
}

export function localise(root = document) {
  for (const element of all("time", root))
    element.textContent = timeWords(Date.parse(element.dateTime) / 1000, "tenths" in element.dataset);
}

export const fromInput = (value) => (value ? new Date(value).getTime() / 1000 : null);

export function toInput(seconds) {
  return timeWords(seconds).replace(" ", "T");
}

/** Single keys do something only where nobody types, and can be switched off (WCAG 2.1.4). */
export function onKeys(handle) {
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest(
      "input:not([type=checkbox]), textarea, select, [role=slider], dialog",
    );
    if (typing || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.key.length === 1 && event.key !== " " && kept("localStorage", "keys") === "off") return;
    if (handle(event)) event.preventDefault();
  });
}

/** Events of the server, while somebody is there to see them. */
export function listen(handlers) {
  let stream = null;
  let last = "";
  let seen = Date.now();
  const open = () => {
    if (stream || document.hidden) return;
    stream = new EventSource(`${API}/events${last && `?after=${last}`}`);
    for (const [name, handle] of Object.entries({ begin: () => {}, ...handlers })) {
      stream.addEventListener(name, (event) => {
        last = event.lastEventId;
        handle(JSON.parse(event.data));
      });
    }
  };
  const close = () => {
    stream?.close();
    stream = null;
  };
  const awake = () => {
    seen = Date.now();
    open();
  };
  for (const name of ["pointermove", "keydown", "focus", "scroll"])
    window.addEventListener(name, awake, { passive: true });
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : awake()));
  window.addEventListener("pagehide", close);
  setInterval(() => Date.now() - seen > IDLE_MS && close(), 60_000);
  open();
}

export async function pageAt(url) {
  const answer = await fetch(url, { headers: { Accept: "text/html" } });
  if (answer.redirected && new URL(answer.url).pathname === "/login") toLogIn();
  if (!answer.ok) throw new Error("The page could not be loaded. Try again.");
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  localise(page);
  return page;
}
