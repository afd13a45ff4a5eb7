// The right panel: the bodies in space.

const TRAIL_SECONDS = 1;

class ScenePanel {
  constructor(data, page, video, trouble) {
    this.data = data;
    this.page = page;
    this.video = video;
    this.canvas = document.getElementById("scene");
    this.options = {};
    for (const name of ["mesh", "skeleton", "path", "ground", "camera"]) {
      const box = document.getElementById(`show-${name}`);
      box.addEventListener("change", () => { this.options[name] = box.checked; page.draw(); });
      this.options[name] = box.checked;
    }
    this.followed = document.getElementById("follow");
    this.followed.addEventListener("change", () => page.draw());
    this.renderer = new Renderer(this.canvas, data, trouble);
    this.orbit = new Orbit(this.canvas, () => { this.#leaveCamera(); page.draw(); });
    this.eye = data.camera.worldFromCamera.slice(12, 15);
    this.throughCamera = false;
    this.buttons = [...document.querySelectorAll(".sides button")];
    for (const button of this.buttons) {
      button.addEventListener("click", () => this.look(button.dataset.view));
    }
    this.canvas.addEventListener("dblclick", () => { this.#frameAll(); page.draw(); });
    this.#begin();
  }

  // A little aside from where the video was taken, so that depth shows at once.
  #begin() {
    this.#frameAll();
    const distance = this.orbit.distance;
    this.orbit.lookFrom(this.eye);
    this.orbit.distance = distance;
    this.orbit.yaw += 0.5;
    this.orbit.pitch = Math.min(Math.max(this.orbit.pitch, 0.1) + 0.1, 1.2);
  }

  look(view) {
    if (view === "camera") {
      this.throughCamera = true;
    } else {
      this.throughCamera = false;
      this.#frameAll(view === "top");
      this.orbit.look(view);
    }
    this.#press(view);
    this.page.draw();
  }

  #press(view) {
    for (const button of this.buttons) {
      button.setAttribute("aria-pressed", String(button.dataset.view === view));
    }
  }

  #leaveCamera() {
    if (this.throughCamera) {
      this.throughCamera = false;
      this.orbit.lookFrom(this.eye);
    }
    this.#press("");
  }

  // All that is ever seen of those who are shown, and some room for what is beyond their joints.
  #frameAll(fromAbove = false) {
    const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
    const size = 3 * this.data.joints.length;
    for (const person of this.data.people.filter((each) => each.shown)) {
      for (let row = 0; row < person.count; row++) {
        if (present(person, person.first + row) < 0) continue;
        for (let i = 0; i < size; i++) {
          const x = person.places[row * size + i];
          low[i % 3] = Math.min(low[i % 3], x);
          high[i % 3] = Math.max(high[i % 3], x);
        }
      }
    }
    if (!Number.isFinite(low[0])) return;
    this.orbit.aspect = this.canvas.clientWidth / Math.max(this.canvas.clientHeight, 1);
    this.orbit.target = low.map((x, i) => (x + high[i]) / 2);
    const [x, y, z] = minus(high, low).map((size) => size / 2 + 0.12);
    this.orbit.fit(fromAbove ? [x, z, y] : [x, y, z]);
  }

  draw(frame) {
    const { renderer, canvas, data, options, page } = this;
    if (renderer.lost) return;
    const world = data.camera.worldFromCamera, theme = page.theme;
    let view, frameOf = null, eye = this.eye;
    if (this.throughCamera) {
      frameOf = within(canvas.clientWidth, canvas.clientHeight, data.camera.width / data.camera.height);
      view = multiplied(pinhole(data.camera, 0.05, 300), rigidInverse(world));
    } else {
      if (this.followed.checked) this.#follow(frame);
      this.orbit.aspect = canvas.clientWidth / Math.max(canvas.clientHeight, 1);
      view = this.orbit.matrix();
      eye = this.orbit.eye();
    }
    renderer.begin(theme.shares.space, frameOf);
    const picture = this.throughCamera ? this.video.picture(frame) : null;
    if (picture) renderer.drawBackdrop(picture);
    const figures = page.figures(frame);
    if (options.ground && !picture) {
      renderer.drawGrid(view, this.orbit.target, theme.shares.grid);
      if (options.mesh) renderer.drawShadows(figures, view, world);
    }
    if (options.camera && !this.throughCamera) renderer.drawLines(this.#frustum(), view, 1.2);
    if (options.path) renderer.drawLines(this.#trail(frame), view, 2, true);
    if (options.mesh) {
      const opacity = options.skeleton ? 0.45 : 1;
      renderer.drawBodies(figures.map((each) => ({ ...each, opacity: opacity * each.opacity })),
        view, world, eye);
    }
    if (options.skeleton) renderer.drawLines(this.#skeletons(figures), view, 2.5, true);
  }

  #follow(frame) {
    const person = this.page.person, row = present(person, frame);
    if (row < 0) return;
    const at = 3 * row * this.data.joints.length;
    this.orbit.target = [...person.places.subarray(at, at + 3)];
  }

  #frustum() {
    const { camera } = this.data, [[fx, , cx], [, fy, cy]] = camera.matrix;
    const depth = 0.5, ink = [...this.page.theme.shares.ink, 0.8];
    const corner = (x, y) => moved(camera.worldFromCamera,
      [(depth * (x - cx)) / fx, (depth * (y - cy)) / fy, depth]);
    const { width, height } = camera;
    const corners = [corner(0, 0), corner(width, 0), corner(width, height), corner(0, height)];
    const numbers = [];
    corners.forEach((point, i) => {
      numbers.push(...this.eye, ...point, ...ink, ...point, ...corners[(i + 1) % 4], ...ink);
    });
    const top = corner(width / 2, -0.15 * height);
    numbers.push(...corners[0], ...top, ...ink, ...top, ...corners[1], ...ink);
    return numbers;
  }

  // Where the chosen joint was and will be, for a second either way.
  #trail(frame) {
    const { page, data } = this, { person, joint } = page, numbers = [];
    const span = Math.max(Math.round((TRAIL_SECONDS * data.fps) / data.step), 2);
    const size = 3 * data.joints.length;
    for (let at = frame - span; at < frame + span; at++) {
      const from = present(person, at), to = present(person, at + 1);
      if (from < 0 || to < 0) continue;
      const [a, b] = [from, to].map((row) => person.places.subarray(row * size + 3 * joint, row * size + 3 * joint + 3));
      const opacity = 1 - Math.abs(at - frame) / (span + 1);
      numbers.push(...a, ...b, ...(at < frame ? page.theme.shares.ink : page.theme.shares.line), opacity);
    }
    return numbers;
  }

  #skeletons(figures) {
    const size = 3 * this.data.joints.length, numbers = [];
    for (const { person, row, opacity } of figures) {
      const place = (joint) => person.places.subarray(row * size + 3 * joint, row * size + 3 * joint + 3);
      this.data.body.parents.forEach((parent, joint) => {
        if (parent < 0) return;
        const dark = person.color.map((channel) => 0.75 * channel);
        numbers.push(...place(parent), ...place(joint), ...(this.options.mesh ? this.page.theme.shares.ink : dark), opacity);
      });
    }
    return numbers;
  }
}
