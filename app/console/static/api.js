// The gateway's HTTP: the key, refusals turned into problems, event streams.
import { parse, stringify } from "./numbers.js";
import { session } from "./storage.js";
import { Problem } from "./words.js";

const KEY = "personadual.key";
const IS_KEY = /^[!-~]+$/;
const NO_KEY = "This is no key: one has plain letters, digits and signs alone. Copy it again.";
const JSON_TYPE = "application/json";
const DATA = "data: ";
let askForKey = async () => false;
let asking = null;

export const key = {
  get: () => session.get(KEY),
  /** @throws {Error} where it can be none: what is outside Latin-1 no header can carry */
  set: (value) => {
    if (!IS_KEY.test(value)) throw new Error(NO_KEY);
    session.set(KEY, value);
  },
  forget: () => session.remove(KEY),
};

/**
 * `ask(reason, wasRefused)` shows the dialog with what the gateway said; it resolves to true once
 * there is a key to try.
 */
export function onKeyWanted(ask) {
  askForKey = ask;
}

/**
 * Call the gateway; `body` is turned into JSON unless it is of another `type`. Where it wants a
 * key the user is asked, unless `isQuiet`, and the call goes out again.
 * @returns {Promise<Response>} an answer with a status below 400
 * @throws {Problem} for every other answer, and where there is none; AbortError when stopped
 */
export async function call(path, { method = "GET", body, type = JSON_TYPE, signal, isQuiet = false } = {}) {
  const request = { method, signal, body: type === JSON_TYPE ? body && stringify(body) : body };
  let used = key.get();
  let response = await send(path, request, type, used);
  let said = await refusal(response);
  while (response.status === 401 && !isQuiet && (await hasNewKey(used, said?.error?.message))) {
    used = key.get();
    response = await send(path, request, type, used);
    said = await refusal(response);
  }
  if (response.ok) return response;
  throw Problem.of(response.status, said?.error, response.headers.get("retry-after"));
}

const refusal = (response) => (response.ok ? null : response.json().catch(() => null));

/** `call`, and the JSON of its answer. */
export const json = async (path, options) => parse(await (await call(path, options)).text());

async function send(path, request, type, used) {
  const headers = request.body === undefined ? {} : { "Content-Type": type };
  if (used) headers.Authorization = `Bearer ${used}`;
  try {
    return await fetch(path, { ...request, headers });
  } catch (error) {
    throw error.name === "AbortError" ? error : Problem.unreachable();
  }
}

/** One dialog for all calls that were refused; a key that came meanwhile is tried first. */
async function hasNewKey(used, reason) {
  if (key.get() && key.get() !== used) return true;
  asking ??= askForKey(reason ?? "", Boolean(used)).finally(() => { asking = null; });
  return asking;
}

/**
 * The JSON events of a stream, until its end.
 * @throws {Problem} when it breaks off, or ends with an error
 */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    while (true) {
      const { done, value } = await reader.read();
      if (done) throw new Problem("The answer broke off: the gateway went away. Try again.", { retryS: 0 });
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        if (!part.startsWith(DATA)) continue; // a comment: the gateway is alive, the answer not yet here
        const payload = part.slice(DATA.length);
        if (payload === "[DONE]") return;
        const event = JSON.parse(payload);
        if (event.error) throw Problem.of(event.error.code?.startsWith?.("engine") ? 502 : 500, event.error);
        yield event;
      }
    }
  } catch (error) {
    if (error instanceof Problem || error.name === "AbortError") throw error;
    throw new Problem("The answer broke off: the connection was lost. Try again.", { retryS: 0 });
  } finally {
    reader.cancel().catch(() => {});
  }
}
