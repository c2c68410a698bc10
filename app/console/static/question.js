// One question, asked three ways: request bodies, and replies as they stream in.
import { call, events } from "./api.js";
import { Problem } from "./words.js";

export const COLUMNS = ["general", "auto", "personalized"];
const PATH = "/v1/chat/completions";

/**
 * The request of one column.
 * @param {{text, personaId, threshold, isolation, temperature, maxTokens}} question
 *   `threshold` null: the deployment's own
 */
export function bodyOf(question, column, model) {
  const extension = { mode: column };
  if (question.personaId) extension.persona_id = question.personaId;
  if (column === "auto" && question.threshold !== null) extension.threshold = question.threshold;
  if (question.isolation) extension.isolation = question.isolation;
  return {
    ...(model && { model }),
    messages: [{ role: "user", content: question.text }],
    temperature: question.temperature,
    max_tokens: question.maxTokens,
    personadual: extension,
  };
}

/** A reply before anything of it has come. `state`: streaming, done, stopped or failed. */
export function newReply(column, body) {
  return {
    column, body, state: "streaming", reasoning: "", answer: "", decision: null, finish: null,
    firstMs: null, totalMs: null, overheadMs: null, problem: null,
  };
}

/** Ask, and fill `reply`; `onChange` hears of every piece. What goes wrong the reply tells; only a fault of ours is thrown. */
export async function fill(reply, signal, onChange) {
  const begun = performance.now();
  try {
    const body = { ...reply.body, stream: true };
    const response = await call(PATH, { method: "POST", body, signal });
    reply.overheadMs = Number(response.headers.get("x-personadual-overhead-ms"));
    for await (const event of events(response)) {
      read(reply, event, performance.now() - begun);
      onChange(reply);
    }
    reply.state = "done";
  } catch (error) {
    reply.state = error.name === "AbortError" ? "stopped" : "failed";
    reply.problem = error instanceof Problem ? error : null;
    if (reply.state === "failed" && !reply.problem) throw error;
  } finally {
    reply.totalMs = performance.now() - begun;
    onChange(reply);
  }
}

function read(reply, event, elapsedMs) {
  reply.decision ??= event.personadual ?? null;
  const choice = event.choices?.[0];
  if (!choice) return;
  const { content, reasoning_content: long, reasoning: short } = choice.delta ?? {};
  reply.reasoning += long ?? short ?? "";
  reply.answer += content ?? "";
  if (reply.firstMs === null && (content || long || short)) reply.firstMs = elapsedMs;
  reply.finish = choice.finish_reason ?? reply.finish;
}
