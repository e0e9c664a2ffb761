// Erasure, audit, and long work on the index.

import { API, all, askJson, guarded, jsonOf, listen, make, one, plural, sentence } from "./base.js";

export function startErasure() {
  const form = one("[data-erasure]");
  if (!form) return;
  const erase = one("[data-erase]", form);
  const { confirmation, reason } = form.elements;
  const phrase = one("[data-phrase]", form).textContent;
  const request = (dry_run) =>
    askJson("POST", `${API}/erasures`, {
      tracklets: JSON.parse(form.dataset.tracklets),
      searches: JSON.parse(form.dataset.searches),
      reason: reason.value || "preview",
      dry_run,
    });
  const preview = async () => {
    const found = await guarded(form, () => request(true));
    if (found) showErasure(found);
    erase.disabled = confirmation.value.trim() !== phrase;
  };
  confirmation.addEventListener("input", () => (erase.disabled = confirmation.value.trim() !== phrase));
  one("[data-dry]", form).addEventListener("click", preview);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (confirmation.value.trim() !== phrase) return;
    const found = await guarded(form, () => request(false));
    if (!found) return;
    showErasure(found);
    all("input, button", form).forEach((field) => (field.disabled = true));
    one("#preview").closest("section").remove();
  });
  preview();
}

function showErasure({ dry_run, counts, remaining, searches }) {
  const lines = Object.entries(counts)
    .filter(([, count]) => count)
    .map(([kind, count]) => make("li", {}, `${kind.replaceAll("_", " ")}: ${count.toLocaleString("en")}`));
  if (!lines.length) lines.push(make("li", {}, "nothing"));
  const after = remaining.length
    ? "The check afterwards still found:"
    : "The check afterwards found nothing left.";
  const parts = [make("p", {}, dry_run ? "Would be deleted:" : "Deleted:"), make("ul", {}, ...lines)];
  if (searches.length) {
    const words = dry_run
      ? "Searches that would go, or lose examples or decisions:"
      : "Searches that are gone, or have lost examples or decisions:";
    const named = (id) => (dry_run ? make("a", { href: `/searches/${id}` }, `search ${id}`) : `search ${id}`);
    parts.push(
      make("p", {}, words),
      make("ul", {}, ...searches.map((id) => make("li", {}, named(id)))),
    );
  }
  if (!dry_run)
    parts.push(
      make("p", { class: remaining.length ? "error" : "good" }, after),
      make("ul", {}, ...remaining.map((words) => make("li", {}, words))),
    );
  one("[data-preview]").replaceChildren(...parts);
}

export function startAudit() {
  const form = one("[data-verify]");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const head = form.elements.head.value.trim();
    guarded(form.closest("section"), async () => {
      const words = one("[data-verify-words]");
      words.textContent = "Reading…";
      const path = `${API}/audit/verify${head && `?head=${encodeURIComponent(head)}`}`;
      const found = await askJson("GET", path).finally(() => (words.textContent = ""));
      const erased = found.erased_crops
        ? ` ${plural(found.erased_crops, "picture")} ${found.erased_crops === 1 ? "was" : "were"} erased on request.`
        : "";
      const state = found.ok
        ? `Whole: ${found.entries.toLocaleString("en")} entries.`
        : `Not whole: ${found.problems.map(sentence).join(" ")}`;
      words.className = found.ok ? "good" : "error";
      words.textContent = `${state}${erased} Head: ${found.head}`;
    });
  });
}

export function startJobs() {
  let [running, newest] = [false, null];
  const show = (told) => {
    const ended = newest?.started === told.started && newest.state !== "running";
    const job = (newest = ended ? newest : told); // news of one job may come in another order
    one("[data-job-panel]").hidden = false;
    const share = job.total ? job.done / job.total : null;
    const count = job.total ? `, ${job.done.toLocaleString("en")} of ${job.total.toLocaleString("en")}` : "";
    one("[data-job-words]").textContent =
      job.state === "running"
        ? `${job.kind}: ${job.step}${count}`
        : `${job.kind}: ${job.state}. ${job.message ? sentence(job.message) : ""}`;
    const bar = one("[data-job-progress]");
    bar.hidden = job.state !== "running";
    if (share === null) bar.removeAttribute("value");
    else bar.value = share;
    one("#job").textContent = job.state === "running" ? "Work in progress" : "Last work";
    if (running && job.state !== "running") setTimeout(() => location.reload(), 1500);
    running = job.state === "running";
  };
  const job = jsonOf("[data-job-of]");
  if (job) show(job);
  for (const form of all("form[data-job]")) {
    form.addEventListener("answered", (event) => {
      running = true; // short work may have ended before anybody was told of it
      show(event.detail);
    });
  }
  listen({ job: show });
}
