// JSON without rounding: a whole number that JavaScript's own would round is a BigInt here.
// Browsers older than `source` and `rawJSON` fail at such a number, and round none.

const isCoarse = (value) => Number.isInteger(value) && !Number.isSafeInteger(value);
const isWhole = (source) => /^-?\d+$/.test(source);

export const parse = (text) =>
  JSON.parse(text, (_name, value, context) =>
    isCoarse(value) && isWhole(context.source) ? BigInt(context.source) : value);

/** A float beyond 2^53 is written with an exponent, which keeps it from being read as whole. */
export const stringify = (value) =>
  JSON.stringify(value, (_name, item) => {
    if (typeof item === "bigint") return JSON.rawJSON(String(item));
    return isCoarse(item) ? JSON.rawJSON(item.toExponential()) : item;
  });

/** Whether the gateway keeps a value as it is: its whole numbers have 64 bits. */
export function isKept(value) {
  if (typeof value !== "bigint") return typeof value !== "number" || Number.isFinite(value);
  return BigInt.asIntN(64, value) === value || BigInt.asUintN(64, value) === value;
}
