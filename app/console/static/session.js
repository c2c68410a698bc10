// The questions of this session, and which of them another threshold would flip.
import { $, el } from "./dom.js";
import { modeAt } from "./dial.js";
import { modeName, percent } from "./words.js";

const MAX_QUESTIONS = 100;

export class Session {
  /** `onChoose(asked)` hears which past question is to be shown again. */
  constructor(onChoose) {
    this.asked = [];
    this.current = null;
    this.threshold = 0.5;
    this.onChoose = onChoose;
    this.list = $("#questions");
  }

  /** Keep a question and its replies; the oldest goes when there are too many. */
  add(question, replies) {
    this.current = { question, replies };
    this.asked.unshift(this.current);
    this.asked.length = Math.min(this.asked.length, MAX_QUESTIONS);
  }

  /** The dots of the dial: every question whose decision is known, the current one not. */
  dots() {
    return this.asked
      .filter((asked) => asked !== this.current && decisionOf(asked))
      .map((asked) => ({ probability: decisionOf(asked).probability, isFlipped: this.isFlipped(asked) }));
  }

  probability() {
    return (this.current && decisionOf(this.current)?.probability) ?? null;
  }

  isFlipped(asked) {
    const decision = decisionOf(asked);
    return decision !== null && modeAt(decision.probability, this.threshold) !== decision.mode;
  }

  draw() {
    $("#questions-none").hidden = this.asked.length > 0;
    const focused = [...this.list.children].indexOf(document.activeElement?.parentElement);
    this.list.replaceChildren(...this.asked.map((asked) => this.drawOne(asked)));
    this.list.children[focused]?.firstChild.focus();
    const decided = this.asked.filter(decisionOf);
    const flipped = decided.filter((asked) => this.isFlipped(asked)).length;
    const text = flipped ? `${flipped} of ${decided.length} would flip` : "";
    if ($("#flips").textContent !== text) $("#flips").textContent = text;
  }

  drawOne(asked) {
    const decision = decisionOf(asked);
    const { text, personaId } = asked.question;
    const shown = el("span", { className: "asked", title: text, dir: "auto" }, text);
    if (personaId) shown.append(" ", el("small", {}, personaId));
    const took = el("span", { className: "took" });
    if (decision) {
      const mode = modeAt(decision.probability, this.threshold);
      took.dataset.mode = mode;
      if (this.isFlipped(asked)) took.append(el("span", { className: "was" }, modeName(decision.mode)), " → ");
      took.append(modeName(mode));
    }
    const odds = el("span", { className: "odds" }, decision ? percent(decision.probability) : "–");
    const button = el("button", { type: "button" }, shown, took, odds);
    button.setAttribute("aria-current", asked === this.current);
    button.addEventListener("click", () => {
      this.current = asked;
      this.onChoose(asked);
    });
    return el("li", {}, button);
  }
}

/** The model's own decision on a question: null while unknown, or where it was not the model's. */
function decisionOf(asked) {
  const decision = asked.replies.auto.decision;
  const isModels = decision?.mode && ["model", "threshold"].includes(decision.source);
  return isModels && decision.probability !== null ? decision : null;
}
