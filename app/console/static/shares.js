// What the gateway says of itself: shares of modes from /metrics, readiness. Asked gently, and
// not at all while nobody looks.
import { call } from "./api.js";
import { $, el } from "./dom.js";
import { percent } from "./words.js";

const EVERY_MS = 5_000;
const TICKS = 48;
const SAMPLE = /^personadual_mode_decisions_total\{(.*)\} (\S+)$/gm;
const MODELS = ["model", "threshold"]; // the sources in which the model itself has decided

/** Decisions by mode that the model took itself; forced ones say nothing of it. */
export function countModes(exposition) {
  const counts = { general: 0, personalized: 0 };
  for (const [, labels, value] of exposition.matchAll(SAMPLE)) {
    const { mode, source } = Object.fromEntries([...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, name, text]) => [name, text]));
    if (MODELS.includes(source) && mode in counts) counts[mode] += Number(value);
  }
  return counts;
}

/** Poll `look` while the page is seen: at once, and then as often as told. */
export function whileSeen(look, everyMs = EVERY_MS) {
  let timer = 0;
  const next = async () => {
    clearTimeout(timer);
    if (document.hidden) return;
    await look();
    clearTimeout(timer);
    timer = setTimeout(next, everyMs);
  };
  document.addEventListener("visibilitychange", next);
  next();
  return next;
}

export class Shares {
  constructor() {
    this.root = $("#shares");
    this.last = null;
    $(".ticks", this.root).append(...Array.from({ length: TICKS }, () => el("i")));
  }

  async look() {
    try {
      const response = await call("/metrics", { isQuiet: true });
      this.show(countModes(await response.text()));
    } catch {
      this.root.hidden = true; // not offered here, or away: readiness says so beside it
    }
  }

  show(counts) {
    this.root.hidden = false;
    const total = counts.general + counts.personalized;
    const { general, personalized } = counts;
    $("figcaption", this.root).textContent = total
      ? `general ${percent(general / total)} · personalised ${percent(personalized / total)} of ${total}`
      : "no decisions yet";
    if (this.last) this.tick(general - this.last.general, personalized - this.last.personalized);
    this.last = counts;
  }

  /** What was decided since the last look: one tick, empty when nothing was. */
  tick(general, personalized) {
    const mark = el("i");
    if (general > 0 || personalized > 0) {
      mark.append(el("u"), el("b"));
      mark.style.setProperty("--general-share", general);
      mark.style.setProperty("--personalized-share", personalized);
    }
    $(".ticks", this.root).prepend(mark);
    $(".ticks", this.root).lastElementChild.remove();
  }
}

/** Say in the header whether all that is needed is there. */
export async function showHealth(model) {
  const [text, isAway] = await fetch("/health/ready").then(readiness, () => ["gateway away", true]);
  const health = $("#health");
  const shown = text || model || "ready";
  if (health.textContent !== shown) health.textContent = shown;
  health.classList.toggle("is-away", isAway);
}

async function readiness(response) {
  const { checks = {} } = await response.json().catch(() => ({}));
  const away = Object.keys(checks).filter((name) => checks[name] !== "ok");
  // A gate cannot be asked where its engine is away.
  const named = away.filter((name) => name !== "gate" || !away.includes("engine"));
  if (named.join() === "gate") return ["engine without gate", true];
  return response.ok ? ["", false] : [`${named.join(" and ") || "service"} away`, true];
}
