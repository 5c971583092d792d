(() => {
  "use strict";
  const cards = [...document.querySelectorAll(".card")];
  const master = document.getElementById("master");
  const play = document.getElementById("play");
  const weak = document.getElementById("weak");
  const copy = document.getElementById("copy");
  const format = (scale) => (scale > 0 ? "+" : scale < 0 ? "\u2212" : "") + Math.abs(scale);

  const show = (card, k) => {
    const input = card.querySelector("input[type=range]");
    const scale = Number(input.dataset.scales.split(",")[k]);
    const beyond = input.dataset.low !== undefined && (scale < Number(input.dataset.low) || scale > Number(input.dataset.high));
    const text = "scale " + format(scale) + (beyond ? ": beyond the usable range" : "");
    const output = card.querySelector("output");
    input.value = k;
    input.setAttribute("aria-valuetext", text);
    output.textContent = text;
    output.classList.toggle("beyond", beyond);
    card.style.setProperty("--k", k);
    for (const figure of card.querySelectorAll("figure[data-passed]")) {
      const failed = figure.dataset.passed[k] === "0";
      figure.classList.toggle("failed", failed);
      figure.querySelector("figcaption").textContent = failed ? "looks unreal" : figure.dataset.caption;
    }
  };

  for (const card of cards) {
    const input = card.querySelector("input[type=range]");
    const people = card.querySelector(".people");
    if (!input || !people) continue;
    input.addEventListener("input", () => { stop(); show(card, Number(input.value)); });
    let from = null;
    people.addEventListener("pointerdown", (event) => {
      stop();
      from = { x: event.clientX, k: Number(input.value) };
      people.setPointerCapture(event.pointerId);
    });
    people.addEventListener("pointermove", (event) => {
      if (from === null) return;
      const moved = (event.clientX - from.x) / people.clientWidth * Number(input.max) * 1.6;
      show(card, Math.min(Number(input.max), Math.max(0, Math.round(from.k + moved))));
    });
    for (const end of ["pointerup", "pointercancel"]) people.addEventListener(end, () => { from = null; });
    show(card, Number(input.value));
  }

  const showAll = (k) => {
    if (master) {
      master.value = k;
      master.setAttribute("aria-valuetext", "scale " + format(Number(master.dataset.scales.split(",")[k])));
    }
    for (const card of cards) if (card.querySelector("input[type=range]")) show(card, k);
  };
  if (master) master.addEventListener("input", () => { stop(); showAll(Number(master.value)); });

  let timer = null;
  const stop = () => {
    if (timer === null) return;
    clearInterval(timer);
    timer = null;
    play.setAttribute("aria-pressed", "false");
    play.textContent = "Play";
  };
  if (play) play.addEventListener("click", () => {
    if (timer !== null) { stop(); return; }
    const last = Number(master.max);
    let k = Number(master.value);
    let by = 1;
    play.setAttribute("aria-pressed", "true");
    play.textContent = "Pause";
    timer = setInterval(() => {
      if (k + by > last || k + by < 0) by = -by;
      k += by;
      showAll(k);
    }, 260);
  });

  if (weak) weak.addEventListener("change", () => document.body.classList.toggle("hide-weak", weak.checked));

  if (copy) copy.addEventListener("click", () => {
    const code = document.getElementById("command");
    const selection = window.getSelection();
    selection.selectAllChildren(code);
    const done = () => { copy.textContent = "Copied"; setTimeout(() => { copy.textContent = "Copy"; }, 1500); };
    if (navigator.clipboard) navigator.clipboard.writeText(code.textContent).then(done, () => {});
  });
})();
