// Says what a picture holds where it is pointed at. Without scripts the page has everything but this.
"use strict";
(() => {
  const most = 16;
  const box = document.createElement("div");
  const line = document.createElement("div");
  box.className = "tip";
  line.className = "tip-line";
  const at = (seconds) => new Date(seconds * 1000).toISOString().replace("T", " ").slice(0, 16);

  function entry(name, colour, words) {
    const row = document.createElement("p");
    if (colour) row.append(Object.assign(document.createElement("i"), { style: `background:${colour}` }));
    row.append(name);
    row.append(Object.assign(document.createElement("b"), { textContent: words }));
    return row;
  }

  function found(said, share, height) {
    const time = said.from + share * (said.to - said.from);
    if (said.cells) {
      const label = Math.min(said.labels.length - 1, Math.floor(height * said.labels.length));
      const cell = said.cells.find(([from, to, number]) => number === label && from <= time && time < to);
      return [cell?.[0] ?? time, cell?.[1], [entry(said.labels[label], null, cell ? cell[3] : "nothing")]];
    }
    const row = said.rows.find(([from]) => from <= time && time < from + said.step);
    const words = (row ?? []).slice(1).map((word, number) => [...said.lines[number], word]);
    const known = words.filter(([, , word]) => word !== null).map(([name, colour, word]) => entry(name, colour, word));
    const from = row?.[0] ?? time;
    return [from, row ? from + said.step : undefined, known.length ? known : [entry("nothing", null, "")]];
  }

  function show(event, picture, said) {
    const plot = picture.querySelector(".root > g > .background").getBoundingClientRect();
    const share = (event.clientX - plot.left) / plot.width;
    const height = (event.clientY - plot.top) / plot.height;
    if (share < 0 || share > 1 || height < 0 || height > 1) return hide();
    const [from, to, entries] = found(said, share, height);
    const until = to ?? from;
    const marks = (said.marks ?? []).filter(([begin, end]) => begin <= until && end >= from);
    const shown = [...entries, ...marks.map(([, , words, colour]) => entry(words, colour, ""))];
    const head = document.createElement("h4");
    head.textContent = `${at(from)}${to ? ` to ${at(to).slice(11)}` : ""} UTC`;
    box.replaceChildren(head, ...shown.slice(0, most));
    if (shown.length > most) box.append(entry(`and ${shown.length - most} more`, null, ""));
    document.body.append(line, box);
    line.style.cssText = `left:${event.pageX}px;top:${plot.top + scrollY}px;height:${plot.height}px`;
    const left = event.clientX + 16 + box.offsetWidth > innerWidth ? event.pageX - 16 - box.offsetWidth : event.pageX + 16;
    const top = Math.min(event.pageY + 12, scrollY + innerHeight - box.offsetHeight - 4);
    box.style.cssText = `left:${Math.max(scrollX + 4, left)}px;top:${Math.max(scrollY, top)}px`;
  }

  function hide() {
    box.remove();
    line.remove();
  }

  for (const data of document.querySelectorAll("script.said")) {
    const picture = data.parentElement.querySelector("svg");
    const said = JSON.parse(data.textContent);
    for (const name of ["pointermove", "pointerdown"]) picture.addEventListener(name, (event) => show(event, picture, said));
    // A wide picture moves within its panel on a phone.
    data.parentElement.addEventListener("scroll", hide, { passive: true });
    // A finger leaves as soon as it has tapped.
    picture.addEventListener("pointerleave", (event) => event.pointerType === "touch" || hide());
  }
  addEventListener("pointerdown", (event) => event.target.closest("svg") || hide());
})();
