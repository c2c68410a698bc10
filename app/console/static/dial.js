// The dial: probability of personalised on an arc, with a threshold to drag along it.
// The scale is log-odds, the model's own: 1 % and 99 % lie as far from the middle as they are sure.
import { svg } from "./dom.js";
import { modeName, percent } from "./words.js";

const WIDTH = 320;
const CENTRE = { x: WIDTH / 2, y: 172 };
const RADIUS = 116;
const EDGE = Math.log(0.999 / 0.001);
const END = 0.04; // of the arc, at either side, for what is surer than the scale reaches
const TICKS = [0.01, 0.1, 0.5, 0.9, 0.99];
const DOT_STACK = 5;
const STEPS = { ArrowRight: 0.02, ArrowUp: 0.02, ArrowLeft: -0.02, ArrowDown: -0.02, PageUp: 0.1, PageDown: -0.1 };

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** Where on the arc a probability lies, from 0 (left) to 1 (right). */
export function place(probability) {
  if (probability <= 0 || probability >= 1) return clamp(probability, 0, 1);
  const odds = Math.log(probability / (1 - probability));
  return END + (1 - 2 * END) * clamp((odds + EDGE) / (2 * EDGE), 0, 1);
}

/** The threshold at a place on the arc, as round as the scale is fine there. */
export function thresholdAt(position) {
  if (position < END / 2) return 0;
  if (position > 1 - END / 2) return 1;
  const odds = ((clamp(position, END, 1 - END) - END) / (1 - 2 * END)) * 2 * EDGE - EDGE;
  return round(1 / (1 + Math.exp(-odds)));
}

const fineness = (probability) => (probability < 0.05 || probability > 0.95 ? 3 : 2);
const round = (probability) => Number(probability.toFixed(fineness(probability)));

/** The next threshold for a key; always another one, but at the ends. */
export function step(threshold, key) {
  if (key === "Home") return 0;
  if (key === "End") return 1;
  const by = STEPS[key];
  if (by === undefined) return null;
  const next = thresholdAt(clamp(place(threshold) + by, 0, 1));
  if (next !== threshold) return next;
  return clamp(round(threshold + Math.sign(by) * 10 ** -fineness(threshold)), 0, 1);
}

/** The mode of a probability: the gate's rule. A threshold of 1 is never reached. */
export const modeAt = (probability, threshold) =>
  threshold < 1 && probability >= threshold ? "personalized" : "general";

function point(position, radius) {
  const angle = Math.PI * (1 - position);
  return { x: CENTRE.x + radius * Math.cos(angle), y: CENTRE.y - radius * Math.sin(angle) };
}

function arc(from, to) {
  const [a, b] = [point(from, RADIUS), point(to, RADIUS)];
  return `M ${a.x} ${a.y} A ${RADIUS} ${RADIUS} 0 0 1 ${b.x} ${b.y}`;
}

function label(position, radius, text, className) {
  const { x, y } = point(position, radius);
  return svg("text", { x, y: y + 3.5, class: className }, text);
}

export class Dial {
  /** `onThreshold` hears every value that the user drags or steps to. */
  constructor(root, onThreshold) {
    this.threshold = 0.5;
    this.shown = null;
    this.isAsked = false;
    this.dots = [];
    this.onThreshold = onThreshold;
    this.parts = {
      general: svg("path", { class: "zone general" }),
      personalized: svg("path", { class: "zone personalized" }),
      dots: svg("g"),
      needle: svg("line", { class: "needle", visibility: "hidden" }),
      value: svg("text", { x: CENTRE.x, y: CENTRE.y - 24, class: "value" }, "–"),
      verdict: svg("text", { x: CENTRE.x, y: CENTRE.y - 4, class: "verdict" }),
      // Wide and unseen, for fingers.
      target: svg("path", { class: "target", d: arc(0, 1) }),
      handle: svg(
        "g",
        { class: "handle", role: "slider", tabindex: "0", "aria-label": "Threshold", "aria-valuemin": "0", "aria-valuemax": "1" },
        svg("circle", { class: "ring", r: 14 }),
        svg("circle", { r: 9 }),
      ),
    };
    const { general, personalized, dots, needle, value, verdict, target, handle } = this.parts;
    this.handle = handle;
    const ends = [
      svg("text", { x: CENTRE.x - RADIUS, y: CENTRE.y + 24, class: "end general" }, "general"),
      svg("text", { x: CENTRE.x + RADIUS, y: CENTRE.y + 24, class: "end personalized" }, "personalised"),
    ];
    const ticks = TICKS.map((tick) => label(place(tick), RADIUS - 27, `${tick * 100} %`, "tick"));
    this.picture = svg("svg", { viewBox: `0 0 ${WIDTH} 204`, role: "group", "aria-label": "Dial" });
    const scale = svg("g", { "aria-hidden": "true" }, general, personalized, ...ticks, ...ends, dots, needle);
    this.picture.append(scale, value, verdict, target, handle);
    root.append(this.picture);
    this.listen();
    this.draw();
  }

  /** Show a decision's probability, or that there is none (null), and dots of what was asked before. */
  show(probability, dots, isAsked) {
    this.shown = probability;
    this.dots = dots;
    this.isAsked = isAsked;
    this.draw();
  }

  set(threshold) {
    this.threshold = threshold;
    this.draw();
  }

  listen() {
    const { target, handle } = this.parts;
    const follow = (event) => {
      const box = this.picture.getBoundingClientRect();
      const scale = WIDTH / box.width;
      const x = (event.clientX - box.left) * scale - CENTRE.x;
      const y = CENTRE.y - (event.clientY - box.top) * scale;
      // Below the arc's ends the nearer end is meant.
      const angle = y < 0 ? (x < 0 ? Math.PI : 0) : Math.atan2(y, x);
      this.choose(thresholdAt(1 - angle / Math.PI));
    };
    const take = (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      this.picture.setPointerCapture(event.pointerId);
      handle.focus({ preventScroll: true, focusVisible: false });
      follow(event);
    };
    for (const part of [target, handle]) {
      part.addEventListener("pointerdown", take);
      // A page that scrolls with the finger would take it away; not every browser hears of the
      // style `touch-action` within a picture.
      part.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false });
    }
    this.picture.addEventListener("pointermove", (event) => {
      if (this.picture.hasPointerCapture(event.pointerId)) follow(event);
    });
    handle.addEventListener("keydown", (event) => {
      const next = step(this.threshold, event.key);
      if (next === null) return;
      event.preventDefault();
      this.choose(next);
    });
  }

  choose(threshold) {
    if (threshold === this.threshold) return;
    this.set(threshold);
    this.onThreshold(threshold);
  }

  draw() {
    const { general, personalized, dots, needle, value, verdict, handle } = this.parts;
    const bound = place(this.threshold);
    general.setAttribute("d", arc(0, bound));
    personalized.setAttribute("d", arc(bound, 1));
    const { x, y } = point(bound, RADIUS);
    handle.setAttribute("transform", `translate(${x} ${y})`);
    handle.setAttribute("aria-valuenow", this.threshold);
    handle.setAttribute("aria-valuetext", boundInWords(this.threshold));
    dots.replaceChildren(...this.drawDots());
    const isKnown = this.shown !== null;
    needle.setAttribute("visibility", isKnown ? "visible" : "hidden");
    value.textContent = isKnown ? percent(this.shown) : "–";
    verdict.textContent = isKnown ? `${modeName(modeAt(this.shown, this.threshold))} at this threshold` : this.whyNone();
    if (!isKnown) return;
    const [from, to] = [point(place(this.shown), RADIUS - 11), point(place(this.shown), RADIUS + 11)];
    Object.entries({ x1: from.x, y1: from.y, x2: to.x, y2: to.y }).forEach(([name, at]) => needle.setAttribute(name, at));
  }

  whyNone() {
    return this.isAsked ? "no decision" : "nothing asked yet";
  }

  /** One dot a question, stacked outward where they would cover each other. */
  drawDots() {
    const heights = new Map();
    return this.dots.map(({ probability, isFlipped }) => {
      const position = place(probability);
      const bin = Math.round(position * 40);
      const height = heights.get(bin) ?? 0;
      heights.set(bin, height + 1);
      const { x, y } = point(bin / 40, RADIUS + 18 + 9 * Math.min(height, DOT_STACK));
      const isPersonalized = modeAt(probability, this.threshold) === "personalized";
      const names = ["dot", isPersonalized && "is-personalized", isFlipped && "is-flipped"];
      return svg("circle", { cx: x, cy: y, r: 4.5, class: names.filter(Boolean).join(" ") });
    });
  }
}

/** What a threshold means. */
export function boundInWords(threshold) {
  if (threshold <= 0) return "0: always personalised";
  if (threshold >= 1) return "1: never personalised";
  return `${threshold}: personalised from ${Number((threshold * 100).toFixed(1))} % on`;
}
