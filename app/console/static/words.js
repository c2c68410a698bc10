// What the page says: numbers and failures in words, the latter with what to do about them.

/** A probability for people: never 0 % or 100 % for something that is merely close to it. */
export function percent(probability) {
  const value = probability * 100;
  if (value > 0 && value < 0.1) return "< 0.1 %";
  if (value > 99.9 && value < 100) return "> 99.9 %";
  const isNearAnEnd = (value > 0 && value < 10) || (value > 90 && value < 100);
  return `${value.toFixed(isNearAnEnd ? 1 : 0)} %`;
}

/** Milliseconds, from fractions of one to seconds. */
export function duration(ms) {
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  return ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** When a persona with so many seconds to live is forgotten, as a time that stays true; "" if never. */
export function forgotten(ttlS) {
  if (ttlS === null) return "";
  const end = new Date(Date.now() + ttlS * 1000);
  return `Forgotten on ${end.toLocaleString([], { dateStyle: "medium", timeStyle: "short" })}`;
}

/** `personalized` is the API's word; people read the one they write themselves. */
export const modeName = (mode) => (mode === "personalized" ? "personalised" : mode);

const OF_CODE = {
  engine_unavailable: "The engine is away or has no room. It may be starting: try again shortly.",
  engine_timeout: "The engine took too long. Ask for a shorter answer, or try again.",
  engine_broken: "The engine broke off. Try again; its log knows why.",
  engine_key: "The engine refuses the gateway's key. Set PERSONADUAL_ENGINE_API_KEY anew.",
  store_unavailable: "Redis is away, so personas cannot be reached. Start it, then try again.",
  persona_not_found: "This persona is gone; somebody else may have deleted it.",
  context_length_exceeded: "Question and persona are too long for the model. Shorten one of them.",
};
const OF_STATUS = {
  401: "This gateway wants a key, and none was given.",
  429: "Too many requests. Wait a moment, then try again.",
  502: "The engine gave no proper answer. Try again; its log knows why.",
  503: "Something that is needed is away. Try again shortly.",
  504: "The engine took too long. Ask for a shorter answer, or try again.",
};

/** A failure that the page can show. `retryS` is set where trying again may help. */
export class Problem extends Error {
  constructor(message, { status = 0, code = null, field = null, retryS = null } = {}) {
    super(message);
    Object.assign(this, { status, code, field, retryS });
  }

  /** The gateway does not answer at all. */
  static unreachable() {
    const text = "The gateway does not answer. Check that it runs and that you are online, then try again.";
    return new Problem(text, { retryS: 0 });
  }

  /** Of an OpenAI error object; `said` may be missing where something else has answered. */
  static of(status, said, retryAfter = null) {
    const { message = "", code = null, param: field = null } = said ?? {};
    const isTemporary = status === 429 || status >= 502 || code === "engine_broken";
    let text = OF_CODE[code] ?? OF_STATUS[status];
    if (!text && status >= 500) text = `The gateway failed (${status}). Its log knows why.`;
    const refused = status === 403 ? "Not allowed" : "Not accepted";
    text ??= message ? `${refused}: ${message}.` : `${refused} (${status}).`;
    if (field && !text.includes(field)) text += ` The field is ${field}.`;
    const retryS = isTemporary ? Number(retryAfter) || 0 : null;
    return new Problem(text, { status, code, field, retryS });
  }
}
