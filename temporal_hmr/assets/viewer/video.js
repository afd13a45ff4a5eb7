// The left panel: the video with what was detected, and the bodies over it.

class VideoPanel {
  constructor(data, page, trouble) {
    this.data = data;
    this.page = page;
    this.canvas = document.getElementById("picture");
    this.context = this.canvas.getContext("2d");
    this.pictures = data.pictures ? new Pictures(data.pictures, (frame) => {
      if (frame === page.frame) page.draw();
    }) : null;
    this.last = null;
    this.message = document.getElementById("video-message");
    this.options = {};
    for (const name of ["keypoints", "boxes", "bodies"]) {
      const box = document.getElementById(`show-${name}`);
      box.addEventListener("change", () => { this.options[name] = box.checked; page.draw(); });
      this.options[name] = box.checked;
    }
    this.bodies = document.getElementById("bodies");
    this.trouble = trouble;
    this.renderer = null;
  }

  // The picture of the frame; meanwhile the one before it, so that nothing flickers.
  picture(frame) {
    if (!this.pictures) return null;
    const picture = this.pictures.at(frame);
    if (picture || !this.pictures.has(frame)) this.last = picture;
    return this.last;
  }

  draw(frame) {
    const { canvas, context, data } = this, ratio = Math.min(window.devicePixelRatio || 1, 2);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const place = within(width, height, data.camera.width / data.camera.height);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const picture = this.picture(frame);
    if (picture) context.drawImage(picture, ...place);
    else this.#blank(place);
    const missing = this.pictures && !this.pictures.has(frame);
    this.message.hidden = !(missing || !this.pictures);
    this.message.textContent = missing ? "The video has no such frame." : "No video in this page";
    const scale = place[2] / data.camera.width;
    context.translate(place[0], place[1]);
    for (const person of data.people) {
      const row = person.shown ? present(person, frame) : -1;
      if (row >= 0) this.#annotate(person, row, scale);
    }
    this.#drawBodies(frame, place);
  }

  #blank(place) {
    const { context } = this;
    context.strokeStyle = this.page.theme.rule;
    context.strokeRect(...place);
  }

  #annotate(person, row, scale) {
    const { context, options } = this, color = css(person.color);
    if (options.boxes && person.boxes) {
      const [x0, y0, x1, y1] = person.boxes.subarray(4 * row, 4 * row + 4);
      context.setLineDash(person.status[row] === FILLED_IN ? [5, 4] : []);
      context.lineWidth = 2;
      context.strokeStyle = color;
      context.strokeRect(scale * x0, scale * y0, scale * (x1 - x0), scale * (y1 - y0));
      context.setLineDash([]);
      context.font = "600 13px system-ui, sans-serif";
      const wide = context.measureText(person.id).width + 8;
      context.fillStyle = color;
      context.fillRect(scale * x0 - 1, Math.max(scale * y0 - 17, 0), wide, 17);
      context.fillStyle = "#15191d";
      context.fillText(person.id, scale * x0 + 3, Math.max(scale * y0 - 4, 13));
    }
    if (options.keypoints && person.keypoints) this.#points(person, row, scale, color);
  }

  #points(person, row, scale, color) {
    const { context } = this, count = person.keypointConfidence.length / person.count;
    const at = (joint) => {
      const i = row * count + joint;
      return person.keypointConfidence[i] > 0
        ? [scale * person.keypoints[2 * i], scale * person.keypoints[2 * i + 1]] : null;
    };
    const path = new Path2D();
    for (const [a, b] of person.bones.map((bone) => bone.map(at))) {
      if (a && b) { path.moveTo(...a); path.lineTo(...b); }
    }
    for (let joint = 0; joint < count; joint++) {
      const point = at(joint);
      if (point) { path.moveTo(...point); path.arc(...point, 1.6, 0, 7); }
    }
    context.lineCap = context.lineJoin = "round";
    for (const [width, ink] of [[4, "rgb(20 24 28 / 0.75)"], [2, color]]) {
      context.lineWidth = width;
      context.strokeStyle = ink;
      context.stroke(path);
    }
  }

  #drawBodies(frame, place) {
    this.bodies.hidden = !this.options.bodies;
    if (!this.options.bodies) return;
    if (!this.renderer) {
      try {
        this.renderer = new Renderer(this.bodies, this.data, this.trouble);
      } catch (error) {
        this.options.bodies = false;
        this.trouble(error.message);
        return;
      }
    }
    const { camera } = this.data, world = camera.worldFromCamera;
    const view = multiplied(pinhole(camera, 0.05, 300), rigidInverse(world));
    this.renderer.begin(null, place);
    const figures = this.page.figures(frame).map((figure) => ({ ...figure, opacity: 0.8 * figure.opacity }));
    this.renderer.drawBodies(figures, view, world, world.slice(12, 15));
  }
}

function css(color) {
  return `rgb(${color.map((channel) => Math.round(255 * channel)).join(" ")})`;
}
