// Grids of cards: arrow keys, and crops played in place.

import { API, all, askJson, guarded, one } from "./base.js";

/** The card that arrow keys lead to from `card`, by what lies where. */
function neighbour(cards, card, key) {
  const index = cards.indexOf(card);
  if (index < 0) return cards[0];
  if (key === "ArrowLeft") return cards[index - 1];
  if (key === "ArrowRight") return cards[index + 1];
  const here = card.getBoundingClientRect();
  const down = key === "ArrowDown";
  const step = down ? 1 : -1;
  let best = null;
  for (let i = index + step; i >= 0 && i < cards.length; i += step) {
    const there = cards[i].getBoundingClientRect();
    if (down ? there.top < here.bottom : there.bottom > here.top) continue;
    if (best && Math.abs(there.top - best.top) > 4) break;
    const away = Math.abs(there.left - here.left);
    if (!best || away < best.away) best = { card: cards[i], top: there.top, away };
  }
  return best?.card;
}

export function gridKeys(event) {
  if (!event.key.startsWith("Arrow")) return false;
  const card = event.target.closest(".card");
  if (!card && event.target !== document.body && event.target.id !== "main") return false;
  const next = neighbour(all("[data-grid] > .card"), card, event.key);
  focusCard(next);
  return Boolean(next);
}

export function focusCard(card) {
  if (!card) return;
  one(".picture", card).focus({ preventScroll: true });
  card.scrollIntoView({ block: "nearest" });
}

/** Crops of a tracklet, one after the other, in the picture of its card, once `begin` is done. */
export function flipInPlace(card, begin) {
  const picture = one(".picture img", card);
  const button = one("[data-play]", card);
  if (!picture) return;
  const id = card.dataset.tracklet;
  const still = `${API}/tracklets/${id}/thumbnail`;
  if (card.stopFlip) return void card.stopFlip();
  guarded(card, async () => {
    await begin();
    const { num_crops: count } = await askJson("GET", `${API}/tracklets/${id}`);
    let number = 0;
    const timer = setInterval(() => (picture.src = `${API}/tracklets/${id}/crops/${number++ % count}`), 300);
    button.textContent = "Stop";
    card.stopFlip = () => {
      clearInterval(timer);
      picture.src = still;
      button.textContent = "Play";
      card.stopFlip = null;
    };
  });
}
