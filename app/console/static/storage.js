// What the browser keeps for this page. Where it refuses to, memory does until the page is left.

/** @param {"localStorage" | "sessionStorage"} name */
function storage(name) {
  const memory = new Map();
  const attempt = (act) => {
    try {
      return act(window[name]); // the mere look may be refused
    } catch {
      return null;
    }
  };
  return {
    get: (item) => memory.get(item) ?? attempt((kept) => kept.getItem(item)),
    set: (item, value) => {
      memory.set(item, value);
      attempt((kept) => kept.setItem(item, value));
    },
    remove: (item) => {
      memory.delete(item);
      attempt((kept) => kept.removeItem(item));
    },
  };
}

export const local = storage("localStorage");
export const session = storage("sessionStorage");
