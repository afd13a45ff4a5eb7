// Curves of one joint of one person, each on a strip of its own.

const CURVES = ["speed", "acceleration", "jitter", "angle", "height"];
const OF_SPACE = ["speed", "acceleration", "jitter"];

class Plots {
  constructor(data, page, timeline) {
    this.data = data;
    this.page = page;
    this.timeline = timeline;
    this.space = document.getElementById("space");
    this.space.addEventListener("change", () => page.draw());
    this.cache = null;
    const units = { ...data.units, height: "m" };
    this.rows = CURVES.map((name) => {
      const label = document.createElement("div");
      label.className = "curve";
      const value = document.createElement("output");
      const unit = document.createElement("small");
      unit.textContent = units[name];
      label.append(name, value, unit);
      const canvas = document.createElement("canvas");
      canvas.title = MEANINGS[name];
      label.title = MEANINGS[name];
      document.getElementById("curves").append(label, canvas);
      timeline.seekOn(canvas);
      return { name, value, canvas };
    });
  }

  draw(frame) {
    for (const row of this.rows) {
      const values = this.#values(row.name);
      const at = frame - this.page.person.first;
      row.value.textContent = at >= 0 && at < values.length ? numberText(values[at]) : "";
      this.#plot(row.canvas, values, frame);
    }
  }

  // Of the chosen joint, one for each row of the person.
  #values(name) {
    const { person, joint } = this.page, key = `${person.id} ${joint} ${this.space.value}`;
    if (!this.cache || this.cache.key !== key) this.cache = { key };
    if (this.cache[name]) return this.cache[name];
    const count = this.data.joints.length, values = new Float32Array(person.count);
    const curve = person.curves[OF_SPACE.includes(name) ? `${name} ${this.space.value}` : name];
    for (let row = 0; row < person.count; row++) {
      const there = present(person, person.first + row) >= 0;
      const value = name === "height" ? person.places[3 * (row * count + joint) + 1] : curve[row * count + joint];
      values[row] = there ? value : NaN;
    }
    return (this.cache[name] = values);
  }

  #plot(canvas, values, frame) {
    const drawing = ready(canvas);
    if (!drawing) return;
    const { context, width, height } = drawing, { timeline } = this, theme = this.page.theme;
    let low = 0, high = 0;
    for (const value of values) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
    const room = high - low || 1;
    const y = (value) => height - 3 - ((height - 8) * (value - low)) / room;
    context.fillStyle = theme.raised;
    context.fillRect(0, 0, width, height);
    context.fillStyle = theme.rule;
    context.fillRect(0, y(0), width, 1);
    this.#line(context, values, width, y);
    timeline.cursor(context, frame, width, height);
    if (high > 0) this.#limit(context, numberText(high), width - 3, 11);
    if (low < 0) this.#limit(context, numberText(low), width - 3, height - 3);
  }

  // A number that stays readable over the line.
  #limit(context, text, x, y) {
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "right";
    const reach = context.measureText(text).width + 3;
    context.fillStyle = this.page.theme.raised;
    context.fillRect(x - reach, y - 9, reach + 3, 11);
    context.fillStyle = this.page.theme.muted;
    context.fillText(text, x, y);
  }

  // Of more values than pixels, the lowest and the highest of each pixel.
  #line(context, values, width, y) {
    const { first } = this.page.person, every = Math.max(Math.ceil(values.length / (2 * width)), 1);
    context.beginPath();
    for (let row = 0, pen = false; row < values.length; row += every) {
      const x = this.timeline.across(first + row, width);
      let low = Infinity, high = -Infinity;
      for (let i = row; i < Math.min(row + every, values.length); i++) {
        if (values[i] < low) low = values[i];
        if (values[i] > high) high = values[i];
      }
      if (low > high) { pen = false; continue; }
      if (pen) context.lineTo(x, y(high)); else context.moveTo(x - 0.5, y(high));
      if (low < high) context.lineTo(x, y(low));
      else if (!pen) context.lineTo(x + 0.5, y(high));
      pen = true;
    }
    context.lineWidth = 1.5;
    context.lineJoin = "round";
    context.strokeStyle = this.page.theme.line;
    context.stroke();
  }
}

const MEANINGS = {
  speed: "how fast the joint moves, from the frame before",
  acceleration: "size of the second difference in time",
  jitter: "size of the third difference in time: high where the joint shakes",
  angle: "how far the joint is bent from the zero pose; of the pelvis, how far it has turned since its first frame",
  height: "above the ground",
};

function numberText(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
}
