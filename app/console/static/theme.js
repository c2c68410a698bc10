// Applies the chosen colours before the first paint, so that nothing flashes.
(() => {
  const chosen = localStorage.getItem("personadual.theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
})();
