// A camera that goes around a point: dragged, pinched, or sent to one side.

const VIEW_ANGLE = (40 * Math.PI) / 180;
const VIEWS = { front: [0, 0.12], side: [Math.PI / 2, 0.12], top: [0, Math.PI / 2 - 0.001] };

class Orbit {
  constructor(canvas, changed) {
    this.target = [0, 1, 0];
    this.yaw = 0.5;
    this.pitch = 0.25;
    this.distance = 4;
    this.aspect = 1;
    this.changed = changed;
    this.pointers = new Map();
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    });
    canvas.addEventListener("pointermove", (event) => this.#drag(event, canvas.clientHeight));
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      canvas.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.#zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY / 400))));
      this.changed();
    }, { passive: false });
  }

  // A named view.
  look(view) {
    [this.yaw, this.pitch] = VIEWS[view];
  }

  // From where a point in the world stands, towards the target.
  lookFrom(eye) {
    const [x, y, z] = minus(eye, this.target);
    this.distance = Math.max(Math.hypot(x, y, z), 0.3);
    this.yaw = Math.atan2(x, z);
    this.pitch = Math.asin(y / this.distance);
  }

  // So that a box about the target, given by half its size, is seen whole from any side.
  fit([x, y, z]) {
    const aside = Math.hypot(x, z);
    const needed = Math.max(y, aside / this.aspect) / Math.tan(VIEW_ANGLE / 2);
    this.distance = Math.max(1.12 * needed + 0.7 * aside, 0.3);
  }

  eye() {
    const level = Math.cos(this.pitch);
    const towards = [Math.sin(this.yaw) * level, Math.sin(this.pitch), Math.cos(this.yaw) * level];
    return this.target.map((x, i) => x + this.distance * towards[i]);
  }

  matrix() {
    const near = 0.02 * this.distance + 0.01;
    const lens = perspective(VIEW_ANGLE, this.aspect, near, this.distance + 120);
    return multiplied(lens, lookingAt(this.eye(), this.target, [0, 1, 0]));
  }

  #drag(event, height) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    const fingers = this.pointers.size;
    const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    if (fingers === 1 && (event.shiftKey || event.buttons & 6)) {
      this.#pan(dx, dy, height);
    } else if (fingers === 1) {
      this.yaw -= 0.008 * dx;
      this.pitch = Math.max(-1.5, Math.min(Math.PI / 2 - 0.001, this.pitch + 0.008 * dy));
    } else if (fingers === 2) {
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
      const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
      this.#zoom(Math.max(apart(before), 1) / Math.max(apart(now), 1));
      this.#pan(dx / 2, dy / 2, height);
    }
    this.pointers.set(event.pointerId, now);
    this.changed();
  }

  #zoom(factor) {
    this.distance = Math.max(0.3, Math.min(200, this.distance * factor));
  }

  #pan(dx, dy, height) {
    const metres = (2 * this.distance * Math.tan(VIEW_ANGLE / 2)) / height;
    const right = [Math.cos(this.yaw), 0, -Math.sin(this.yaw)];
    const slope = Math.sin(this.pitch);
    const up = [-Math.sin(this.yaw) * slope, Math.cos(this.pitch), -Math.cos(this.yaw) * slope];
    this.target = this.target.map((x, i) => x + metres * (dy * up[i] - dx * right[i]));
  }
}
