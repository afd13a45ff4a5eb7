// Strips over time: one for each person, and the axis below the scrubber.

const MARGIN = 8; // Half of the scrubber's thumb, so that all of them stand under each other.

// Prepares a canvas for drawing in CSS pixels; null while it has no size.
function ready(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!width || !height) return null;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { context, width, height };
}

class Timeline {
  constructor(data, page) {
    this.data = data;
    this.page = page;
    this.frames = data.frames.length;
    this.axis = document.getElementById("axis");
    this.seekOn(this.axis);
  }

  // Where a frame is on a strip of this width; frames between two shown ones lie between them.
  across(frame, width) {
    return MARGIN + ((width - 2 * MARGIN) * frame) / Math.max(this.frames - 1, 1);
  }

  frameAt(x, width) {
    const frame = Math.round(((x - MARGIN) / (width - 2 * MARGIN)) * Math.max(this.frames - 1, 1));
    return Math.max(0, Math.min(this.frames - 1, frame));
  }

  // Pressing or dragging on a canvas goes to that time.
  seekOn(canvas) {
    const seek = (event) => {
      if (event.buttons & 1) this.page.go(this.frameAt(event.offsetX, canvas.clientWidth));
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      seek(event);
    });
    canvas.addEventListener("pointermove", seek);
  }

  // The shown frame at or after a frame number of the video.
  indexOf(number) {
    let low = 0, high = this.frames - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.data.frames[middle] < number) low = middle + 1; else high = middle;
    }
    return low;
  }

  drawAxis() {
    const drawing = ready(this.axis);
    if (!drawing) return;
    const { context, width } = drawing, { times } = this.data, theme = this.page.theme;
    const seconds = times[times.length - 1] - times[0];
    const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600]
      .find((each) => (each / Math.max(seconds, 0.01)) * width > 56) || 7200;
    context.fillStyle = context.strokeStyle = theme.muted;
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "center";
    for (let mark = Math.ceil(times[0] / step - 1e-6) * step; mark <= times[times.length - 1] + 1e-6; mark += step) {
      const x = this.across(this.#between(mark), width);
      context.fillRect(x, 0, 1, 3);
      const text = `${Number(mark.toFixed(2))} s`;
      const half = context.measureText(text).width / 2;
      context.fillText(text, Math.min(Math.max(x, half), width - half), 13);
    }
  }

  // The place of a time among the shown frames, with a fraction.
  #between(time) {
    const { times } = this.data;
    let after = times.findIndex((each) => each >= time);
    if (after <= 0) return Math.max(after, 0);
    return after - (times[after] - time) / (times[after] - times[after - 1]);
  }

  drawStrip(canvas, person, frame) {
    const drawing = ready(canvas);
    if (!drawing) return;
    const { context, width, height } = drawing, theme = this.page.theme;
    const top = 6, tall = height - top - 2, half = (width - 2 * MARGIN) / Math.max(this.frames - 1, 1) / 2;
    context.fillStyle = theme.absent;
    context.fillRect(this.across(0, width) - half, top, this.across(this.frames - 1, width) - this.across(0, width) + 2 * half, tall);
    for (const [begin, end, status] of this.#runs(person)) {
      const left = this.across(person.first + begin, width) - half;
      const right = this.across(person.first + end - 1, width) + half;
      this.#fill(context, person, status, [left, top, Math.max(right - left, 1), tall]);
    }
    this.#confidence(context, person, width, top, tall);
    for (const finding of person.findings) {
      context.fillStyle = finding.verdict === "fail" ? theme.alarm : theme.caution;
      for (const [first] of finding.moments) {
        const x = this.across(this.indexOf(first), width);
        context.beginPath();
        context.moveTo(x - 4, 0);
        context.lineTo(x + 4, 0);
        context.lineTo(x, 6);
        context.fill();
      }
    }
    this.cursor(context, frame, width, height);
  }

  // Begin, end and status of stretches of one status.
  #runs(person) {
    if (person.runs) return person.runs;
    person.runs = [];
    for (let row = 0; row < person.count; row++) {
      const last = person.runs[person.runs.length - 1];
      if (last && last[2] === person.status[row]) last[1] = row + 1;
      else person.runs.push([row, row + 1, person.status[row]]);
    }
    return person.runs;
  }

  #fill(context, person, status, [left, top, width, height]) {
    if (status === ABSENT) return;
    context.fillStyle = status === BROKEN ? this.page.theme.alarm : css(person.color);
    if (status !== FILLED_IN) {
      context.fillRect(left, top, width, height);
      return;
    }
    context.globalAlpha = 0.25;
    context.fillRect(left, top, width, height);
    context.globalAlpha = 1;
    context.save();
    context.beginPath();
    context.rect(left, top, width, height);
    context.clip();
    for (let x = Math.floor(left / 5) * 5; x < left + width; x += 5) context.fillRect(x, top, 2, height);
    context.restore();
  }

  #confidence(context, person, width, top, tall) {
    context.beginPath();
    const every = Math.max(Math.floor(person.count / (2 * width)), 1);
    for (let row = 0, pen = false; row < person.count; row += every) {
      const known = person.status[row] === SEEN;
      const x = this.across(person.first + row, width), y = top + tall * (1 - person.confidence[row] / 255);
      if (known && pen) context.lineTo(x, y);
      else if (known) context.moveTo(x, y);
      pen = known;
    }
    context.lineWidth = 1.5;
    context.strokeStyle = "rgb(20 24 28 / 0.8)";
    context.stroke();
  }

  cursor(context, frame, width, height) {
    context.fillStyle = this.page.theme.ink;
    context.fillRect(this.across(frame, width) - 0.75, 0, 1.5, height);
  }
}
