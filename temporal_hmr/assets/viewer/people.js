// The list of people with their strips, and the findings.

class People {
  constructor(data, page, timeline) {
    this.data = data;
    this.timeline = timeline;
    const list = document.getElementById("people");
    this.rows = data.people.map((person) => {
      const canvas = element("canvas", { title: "time of this person: press to go there" });
      timeline.seekOn(canvas);
      list.append(this.#label(person, page), canvas);
      return { person, canvas };
    });
    this.#findings(page);
  }

  #label(person, page) {
    const box = element("input", { type: "checkbox", checked: true, defaultChecked: true });
    box.addEventListener("change", () => { person.shown = box.checked; page.draw(); });
    const swatch = element("span", { className: "swatch" });
    swatch.style.background = css(person.color);
    const seconds = person.observedFrames / this.data.fps, [from, to] = person.span;
    const facts = `${from.toFixed(1)}–${to.toFixed(1)} s, seen ${seconds.toFixed(1)} s, ` +
      `${Math.round(100 * person.confidenceMean)} % sure`;
    const title = `${person.file}: frames ${person.frameSpan[0]} to ${person.frameSpan[1]}, seen in ` +
      `${person.observedFrames}, mean confidence ${person.confidenceMean.toFixed(2)}`;
    const verdict = element("span", { className: `verdict ${person.verdict}`,
      textContent: person.verdict, title: "the verdict of check" });
    return element("div", { className: "person", title }, [
      element("label", {}, [box, swatch, `person ${person.id}`]), verdict,
      element("small", { textContent: facts }),
    ]);
  }

  #findings(page) {
    const place = document.getElementById("findings");
    for (const person of this.data.people) {
      for (const note of person.notes) {
        place.append(element("p", { className: "hint", textContent: `person ${person.id}: ${note}` }));
      }
      for (const finding of person.findings) place.append(this.#finding(person, finding, page));
    }
    if (!place.childElementCount) {
      place.append(element("p", { className: "hint", textContent: "Nothing to report." }));
    }
  }

  #finding(person, finding, page) {
    const value = finding.value === null ? "" : ` ${numberText(finding.value)} ${finding.unit}`;
    const space = finding.space ? ` (${finding.space})` : "";
    const buttons = finding.moments.map(([first, last, worst, what]) => {
      const index = this.timeline.indexOf(first);
      const text = `${this.data.times[index].toFixed(2)} s${what ? ` ${what.replaceAll("_", " ")}` : ""}`;
      const button = element("button", { textContent: text,
        title: `frames ${first} to ${last}${worst === null ? "" : `: ${numberText(worst)} ${finding.unit}`}` });
      button.disabled = last < this.data.frames[0] || first > this.data.frames[this.data.frames.length - 1];
      button.addEventListener("click", () => page.show(person, what, index));
      return button;
    });
    return element("p", { className: "finding" }, [
      element("span", { className: `verdict ${finding.verdict}`, textContent: finding.verdict }),
      ` person ${person.id}: ${finding.name.replaceAll("_", " ")}${space}${value}`,
      ...(finding.note ? [element("span", { className: "hint", textContent: ` ${finding.note}` })] : []),
      element("br", {}), ...buttons,
    ]);
  }

  draw(frame) {
    for (const { person, canvas } of this.rows) this.timeline.drawStrip(canvas, person, frame);
  }
}

function element(tag, properties, children = []) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
