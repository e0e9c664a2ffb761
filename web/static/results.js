// Results of a search: decisions, undo, the threshold, the time line.

import {
  API,
  all,
  announce,
  ask,
  askJson,
  guarded,
  jsonOf,
  later,
  onKeys,
  one,
  plural,
  setTime,
  shape,
  timeWords,
} from "./base.js";
import { setTray, tray } from "./examples.js";
import { flipInPlace, focusCard, gridKeys } from "./grid.js";
import { markLink, timeLine } from "./timeline.js";

export function startResults() {
  const root = one("[data-results]");
  const page = {
    root,
    search: jsonOf("[data-search-of]"),
    id: root.dataset.results,
    limit: new URL(location.href).searchParams.get("limit") ?? 60,
    locked: "locked" in root.dataset,
  };
  page.path = (rest = "") => `${API}/searches/${page.id}${rest}?limit=${page.limit}`;
  page.line = timeLine(one("[data-marks]"), "Results over time, by camera; arrow keys move between marks");
  one("[data-marks]").addEventListener("click", openMark);
  root.addEventListener("click", (event) => clickResult(page, event));
  onKeys((event) => keyResult(page, event));
  one("[data-undo]").addEventListener("click", () => undo(page));
  startThreshold(page);
  startCase(page);
  startAddTray(page);
  showResults(page);
}

function clickResult(page, event) {
  const card = event.target.closest(".result");
  const button = event.target.closest("button");
  if (card && button?.dataset.decide) decide(page, card, button.dataset.decide);
  else if (card && button && "play" in button.dataset) play(page, card);
}

function keyResult(page, event) {
  const card = event.target.closest(".result");
  const verdict = { s: "same", d: "different", u: "unsure" }[event.key];
  if (event.key === "z" && !page.locked) return (undo(page), true);
  if (card && verdict && !page.locked) return (decide(page, card, verdict), true);
  if (card && event.key === "p") return (play(page, card), true);
  if (card && event.key === "c") return (one("[data-compare]", card).click(), true);
  if (card && event.key === "o") return (one("[data-open]", card).click(), true);
  return gridKeys(event);
}

/** The crops play once the audit trail has it that this result was looked at. */
function play(page, card) {
  flipInPlace(card, () => ask("POST", `${API}/searches/${page.id}/opened/${card.dataset.tracklet}`));
}

/** What a result is: a decision of a person weighs more than the threshold. */
function kindOf({ match, verdict }) {
  return { same: "confirmed", different: "rejected" }[verdict] ?? (match ? "match" : "candidate");
}

const isAbove = (match) => ["confirmed", "match"].includes(kindOf(match));

const VERDICTS = { same: "the same person", different: "not this person", unsure: "unsure" };

/** A decision is sent at once; chosen again it is taken back. */
async function decide(page, card, verdict) {
  const id = Number(card.dataset.tracklet);
  if (card.dataset.verdict === verdict) return undoOf(page, card, id);
  const found = await guarded(card, () =>
    askJson("POST", page.path("/decisions"), { tracklet: id, verdict }),
  );
  if (found) rerank(page, { last_decision: id, ...found }, `Tracklet ${id}: ${VERDICTS[verdict]}.`);
}

/** Takes back this user's newest decision that stands, on whichever page or tab it was made. */
async function undo(page) {
  const place = one("[data-undo]").parentElement;
  const now = await guarded(place, () => askJson("GET", page.path()));
  if (!now) return;
  const { last_decision: id } = (page.search = { last_decision: page.search.last_decision, ...now });
  if (id) return undoOf(page, one(`#r${id}`) ?? place, id);
  showResults(page);
  announce("There is no decision of yours to undo.");
}

async function undoOf(page, place, id) {
  const was = page.search.matches.find((match) => match.tracklet.id === id)?.verdict;
  const found = await guarded(place, () => askJson("DELETE", page.path(`/decisions/${id}`)));
  if (found) rerank(page, found, `Taken back: tracklet ${id}${was ? `, ${VERDICTS[was]}` : ""}.`);
}

function rerank(page, found, words) {
  page.search = found;
  showResults(page);
  announce(`${words} ${bestWords(found)}`);
}

/** Cards move to their new places; the one in hand stays where it was on the screen, with its focus. */
function showResults(page) {
  const { search, root } = page;
  const focused = document.activeElement;
  const held = focused.closest?.(".result");
  const before = held?.getBoundingClientRect().top;
  const known = new Map(all(".result", root).map((card) => [card.dataset.tracklet, card]));
  const cards = search.matches.map((match) => {
    const card = known.get(String(match.tracklet.id)) ?? newResult();
    known.delete(String(match.tracklet.id));
    return showResult(page, card, match);
  });
  known.forEach((card) => card.remove());
  arrange(
    one("[data-matches]"),
    cards.filter((_, i) => isAbove(search.matches[i])),
  );
  arrange(
    one("[data-candidates]"),
    cards.filter((_, i) => !isAbove(search.matches[i])),
  );
  if (held?.isConnected) {
    if (document.activeElement !== focused) focused.focus({ preventScroll: true });
    window.scrollBy({ top: held.getBoundingClientRect().top - before, behavior: "instant" });
  } else if (held) focusCard(cards[0]);
  showSummary(page);
  showMarks(page);
}

function arrange(list, cards) {
  cards.forEach((card, i) => list.children[i] !== card && list.insertBefore(card, list.children[i] ?? null));
  while (list.children.length > cards.length) list.lastElementChild.remove();
}

function newResult() {
  return one("#result-template").content.firstElementChild.cloneNode(true);
}

function showResult(page, card, result) {
  const { tracklet, rank, similarity, verdict } = result;
  const isNew = card.dataset.tracklet !== String(tracklet.id);
  Object.assign(card.dataset, {
    tracklet: tracklet.id,
    similarity,
    verdict: verdict ?? "",
    kind: kindOf(result),
  });
  one("[data-rank]", card).textContent = `${rank}.`;
  one("[data-similarity-words]", card).textContent = similarity.toFixed(3);
  one("[data-kind-words]", card).textContent = kindOf(result);
  for (const button of all("[data-decide]", card))
    button.setAttribute("aria-pressed", button.dataset.decide === verdict);
  if (!isNew) return card;
  card.id = `r${tracklet.id}`;
  one("[data-camera]", card).textContent = tracklet.camera;
  setTime(one("time", card), tracklet.start);
  one("[data-open]", card).href = `/tracklets/${tracklet.id}?search=${page.id}`;
  one("[data-compare]", card).href = `/compare?${page.root.dataset.querySide}&b=${tracklet.id}`;
  one("[data-more-like]", card).href = `/search?tracklet=${tracklet.id}`;
  one(".verdicts", card).setAttribute("aria-label", `Is tracklet ${tracklet.id} this person?`);
  one(".picture img", card).src = `${API}/tracklets/${tracklet.id}/thumbnail`;
  return card;
}

function bestWords({ matches, threshold }) {
  const of = (kind) => matches.filter((match) => kindOf(match) === kind);
  const [confirmed, found, candidates] = [of("confirmed").length, of("match").length, of("candidate")];
  const known = confirmed ? `${confirmed} confirmed. ` : "";
  if (found) return `${known}${plural(found, "match")} at or above the threshold ${threshold.toFixed(3)}.`;
  if (!candidates.length) return known || "Nothing was found to compare with.";
  const best = Math.max(...candidates.map((match) => match.similarity));
  return `${known}No ${confirmed ? "other " : ""}match: the best candidate, ${best.toFixed(3)}, is below the threshold ${threshold.toFixed(3)}.`;
}

function showSummary({ search, locked }) {
  const found = search.matches.filter(isAbove).length;
  const count = (verdict) => search.decisions[verdict] ?? 0;
  one("[data-best]").textContent = bestWords(search);
  one("[data-num-matches]").textContent = found;
  one("[data-no-match]").hidden = found > 0;
  one("[data-no-candidate]").hidden = found < search.matches.length;
  one("[data-threshold-words]").textContent = search.threshold.toFixed(3);
  one("[data-decisions]").textContent =
    `${count("same")} same, ${count("different")} not, ${count("unsure")} unsure`;
  one("[data-order-words]").hidden = count("different") === 0;
  one("[data-undo]").disabled = locked || !search.last_decision;
}

/** Matches are solid, candidates hollow, the examples in a colour of their own. */
function showMarks(page) {
  const { matches, query_spans: spans } = page.search;
  const marks = matches
    .map((result) => [result, result.tracklet])
    .map(([result, tracklet]) => ({
      camera: tracklet.camera,
      start: tracklet.start,
      end: tracklet.end,
      href: `#r${tracklet.id}`,
      kind: `mark-${isAbove(result) ? "match" : "candidate"} is-${kindOf(result)}`,
      words: `${tracklet.camera}, ${timeWords(tracklet.start)}, similarity ${result.similarity.toFixed(3)}, ${kindOf(result)}`,
    }));
  marks.push(
    ...spans.map(([camera, start, end]) => ({
      camera,
      start,
      end,
      href: "#asked",
      kind: "mark-query",
      words: `example: ${camera}, ${timeWords(start)}`,
    })),
  );
  if (!marks.length) return;
  const from = Math.min(...marks.map((mark) => mark.start));
  const to = Math.max(...marks.map((mark) => mark.end), from + 1);
  const slack = (to - from) * 0.02;
  const cameras = [...new Set(marks.map((mark) => mark.camera))].sort();
  const draw = (scale) =>
    cameras.map((name) =>
      lanes(
        name,
        marks.filter((mark) => mark.camera === name),
        scale,
      ),
    );
  page.line(from - slack, to + slack, draw, page.search.gaps);
}

function openMark(event) {
  const mark = event.target.closest("a");
  if (!mark) return;
  event.preventDefault();
  const card = one(mark.getAttribute("href"));
  card?.scrollIntoView({ block: "center" });
  if (card?.matches(".card")) one(".picture", card).focus({ preventScroll: true });
}

/** Marks that overlap lie under each other, in at most four lanes. */
function lanes(name, marks, scale) {
  const free = [];
  const shapes = marks
    .sort((a, b) => a.start - b.start)
    .map((mark) => {
      const x = scale(mark.start);
      const width = Math.max(6, scale(mark.end) - x);
      let lane = free.findIndex((end) => end <= x);
      if (lane < 0) lane = Math.min(free.length, 3);
      free[lane] = x + width + 1;
      return markLink(
        mark.href,
        mark.words,
        shape("rect", { x, y: lane * 12 + 1, width, height: 10, rx: 2, class: mark.kind }),
      );
    });
  return { name, height: free.length * 12 + 1, marks: shapes };
}

function startThreshold(page) {
  const form = one("[data-threshold-form]");
  const [slider, number] = all("input", form);
  const save = later(async (threshold) => {
    const found = await guarded(form, () => askJson("PATCH", page.path(), { threshold }));
    if (found) rerank(page, found, `Threshold ${threshold.toFixed(3)}.`);
  }, 500);
  const move = (value) => {
    const threshold = Math.min(1, Math.max(-1, Number(value)));
    if (!Number.isFinite(threshold)) return;
    [slider.value, number.value] = [threshold, threshold.toFixed(3)];
    page.search.threshold = threshold;
    for (const match of page.search.matches) match.match = match.similarity >= threshold;
    showResults(page);
    save(threshold);
  };
  slider.addEventListener("input", () => move(slider.value));
  number.addEventListener("change", () => move(number.value));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    move(number.value);
  });
}

function startCase(page) {
  const choice = one("[data-case]");
  choice?.addEventListener("change", async () => {
    const found = await guarded(choice.closest("div"), () =>
      askJson("PATCH", page.path(), { case_id: Number(choice.value) }),
    );
    if (found) location.reload();
    else choice.value = page.search.case_id ?? "";
  });
}

function startAddTray(page) {
  const button = one("[data-add-tray]");
  button.hidden = page.locked || tray().length === 0;
  button.addEventListener("click", () =>
    guarded(button.parentElement, async () => {
      await askJson("PATCH", page.path(), { add_examples: tray().map((item) => item.example) });
      setTray([]);
      location.reload();
    }),
  );
}
