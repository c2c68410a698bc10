// The three cards: shows replies, whatever state they are in.
import { $, el, hide, say } from "./dom.js";
import { COLUMNS } from "./question.js";
import { duration, modeName, percent } from "./words.js";

const TITLES = { general: "General", auto: "Auto", personalized: "Personalised" };
const LEADS = {
  general: "Answers in general mode. Only strict isolation keeps the persona out of its context.",
  auto: "The model decides for each question which of the two it takes, and says how sure it is.",
  personalized: "Answers for the chosen persona, with all that is known of it.",
};
const SOURCES = {
  model: "model, its own threshold",
  threshold: "model, your threshold",
  request: "this request",
  policy: "the deployment",
  fallback: "fallback",
};
const STATUSES = {
  applied: "It was in the context of the answer.",
  withheld: "There is one, and it was kept out of the context.",
  absent: "There is none.",
  unavailable: "Redis does not answer, so it could not be looked up.",
};
const FORCED = ["request", "policy"];

export class Answers {
  /** `onAgain(column)` and `onCode(column)` hear of the cards' buttons. */
  constructor(root, onAgain, onCode) {
    this.cards = Object.fromEntries(
      COLUMNS.map((column) => [column, new Card(column, () => onAgain(column), () => onCode(column))]),
    );
    root.append(...COLUMNS.map((column) => this.cards[column].root));
  }

  show(reply) {
    this.cards[reply.column].show(reply);
  }
}

class Card {
  constructor(column, onAgain, onCode) {
    this.column = column;
    this.root = $("#answer").content.cloneNode(true).firstElementChild;
    this.part = (name) => $(name, this.root);
    const title = this.part("h2");
    title.textContent = TITLES[column];
    title.id = `answer-${column}`;
    this.root.setAttribute("aria-labelledby", title.id);
    if (column !== "auto") this.root.dataset.mode = column;
    this.part(".lead").textContent = LEADS[column];
    this.part(".code").setAttribute("aria-label", `Code of the ${TITLES[column]} request`);
    this.part(".code").addEventListener("click", onCode);
    this.part(".again").addEventListener("click", onAgain);
  }

  show(reply) {
    const { decision, state } = reply;
    this.root.setAttribute("aria-busy", state === "streaming");
    this.part(".lead").hidden = true;
    this.part(".code").hidden = false;
    grow(this.part(".text"), reply.answer);
    grow(this.part(".reasoning p"), reply.reasoning);
    this.part(".reasoning").hidden = !reply.reasoning;
    const isReasoning = state === "streaming" && !reply.answer;
    this.part("summary").textContent = isReasoning ? `Reasoning (${wordsIn(reply.reasoning)})` : "Reasoning";
    const mode = decision?.mode ?? null;
    if (this.column === "auto") this.root.dataset.mode = mode ?? "";
    const isSurprise = mode && this.column !== "auto" && mode !== this.column;
    this.part(".mode").textContent = mode && (this.column === "auto" || isSurprise) ? `took ${modeName(mode)}` : "";
    this.showFacts(reply);
    say(this.part(".note"), noteOf(reply), state === "failed");
    this.offerAgain(reply);
  }

  showFacts(reply) {
    const facts = this.part(".facts");
    facts.hidden = !reply.decision;
    if (facts.hidden) return;
    const rows = factsOf(reply).map(([name, value, title]) => [el("dt", {}, name), el("dd", { title }, value)]);
    facts.replaceChildren(...rows.flat());
  }

  offerAgain(reply) {
    const again = this.part(".again");
    if (reply.problem?.retryS == null) hide(again, this.part(".code"));
    else again.hidden = false;
    clearInterval(this.countdown);
    let left = again.hidden ? 0 : reply.problem.retryS;
    const tick = () => {
      again.disabled = left > 0;
      again.textContent = left > 0 ? `Try again in ${left} s` : "Try again";
      if (left-- <= 0) clearInterval(this.countdown);
    };
    tick();
    if (again.disabled) this.countdown = setInterval(tick, 1000);
  }
}

const wordsIn = (text) => text.match(/\S+/g)?.length ?? 0;

/** Add what is new behind what stands there already, so that a selection survives. */
function grow(element, text) {
  const node = element.firstChild ?? element.appendChild(document.createTextNode(""));
  if (text.startsWith(node.data)) node.appendData(text.slice(node.data.length));
  else node.data = text;
}

function noteOf({ state, decision, problem, finish }) {
  if (problem) return problem.message;
  if (state === "stopped") return "Stopped.";
  if (decision?.persona.status === "unavailable") {
    return "Redis does not answer, so this was answered in general mode and without the persona. Start Redis and ask again.";
  }
  if (decision && !decision.mode) {
    return "The reply opened with no tag: the engine runs without the gate, so nothing was decided. Start it with --logits-processors model.gate:ModeGate.";
  }
  return finish === "length" ? "Cut at the longest answer; raise it under Options." : "";
}

/** Rows of name, value and explanation. Where the mode was forced its probability decided nothing. */
function factsOf({ decision, firstMs, overheadMs, totalMs }) {
  const { persona, probability, source } = decision;
  const version = persona.version ? ` v${persona.version}` : "";
  const whose = persona.id ? `${persona.id}${version}, ` : "";
  const isShown = probability !== null && !FORCED.includes(source);
  return [
    ...(isShown ? [["Personalised", percent(probability), "Its probability, as the model sees it."]] : []),
    ["Decided by", SOURCES[source] ?? source, `source: ${source}`],
    ["Persona", `${whose}${persona.status}`, STATUSES[persona.status] ?? ""],
    ...(firstMs === null ? [] : [["First token", duration(firstMs), "Seen from this page."]]),
    ...(totalMs === null ? [] : [["In all", `${duration(totalMs)}, gateway ${duration(overheadMs)}`, ""]]),
  ];
}
