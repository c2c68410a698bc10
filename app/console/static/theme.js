// Applies the chosen colours before the first paint, so that nothing flashes.
(() => {
  try {
    const chosen = localStorage.getItem("personadual.theme");
    if (chosen) document.documentElement.dataset.theme = chosen;
  } catch {
    // The browser keeps nothing for this page: the system's colours hold.
  }
})();
