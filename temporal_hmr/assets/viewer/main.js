// The page as a whole: what time it is, who is chosen, and who draws when.

class ViewerPage {
  constructor(data) {
    this.data = data;
    this.frame = 0;
    this.person = data.people[0];
    this.joint = 0;
    this.playing = false;
    this.clock = 0;
    this.before = null;
    this.theme = readTheme();
    for (const person of data.people) {
      person.places = jointsInWorld(person, data.body.parents, data.camera.worldFromCamera);
    }
    this.#describe();
    this.timeline = new Timeline(data, this);
    this.video = new VideoPanel(data, this, say);
    try {
      this.scene = new ScenePanel(data, this, this.video, say);
    } catch (error) {
      const message = document.getElementById("scene-message");
      message.textContent = error.message;
      message.hidden = false;
    }
    this.people = new People(data, this, this.timeline);
    this.plots = new Plots(data, this, this.timeline);
    this.#controls();
    this.#fromAddress();
    window.addEventListener("hashchange", () => this.#fromAddress());
    const anew = () => { this.theme = readTheme(); this.draw(); };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", anew);
    new ResizeObserver(() => this.draw()).observe(document.querySelector("main"));
    this.draw();
  }

  #describe() {
    const { data } = this, { times } = data;
    document.getElementById("title").textContent = data.title;
    const people = data.people.length === 1 ? "1 person" : `${data.people.length} people`;
    document.getElementById("summary").textContent = `${people}, ${data.frames.length} frames, ` +
      `${times[0].toFixed(2)} to ${times[times.length - 1].toFixed(2)} s`;
    document.getElementById("notes").append(
      ...data.notes.map((note) => element("li", { textContent: note })));
    document.getElementById("facts").append(...data.facts.map(([name, value]) => element("div", {},
      [element("dt", { textContent: name }), element("dd", { textContent: value })])));
    document.querySelector(".stage").style.setProperty("--share",
      `calc(var(--stage) * ${(data.camera.width / data.camera.height).toFixed(4)})`);
  }

  #controls() {
    const { data } = this, get = (id) => document.getElementById(id);
    this.scrubber = get("scrubber");
    this.scrubber.max = data.frames.length - 1;
    this.scrubber.addEventListener("input", () => this.go(Number(this.scrubber.value)));
    get("play").addEventListener("click", () => this.play(!this.playing));
    get("back").addEventListener("click", () => this.step(-1));
    get("forth").addEventListener("click", () => this.step(1));
    const person = get("person"), joint = get("joint");
    person.append(...data.people.map((each, i) => new Option(`person ${each.id}`, i)));
    joint.append(...data.joints.map((name, i) => new Option(name.replaceAll("_", " "), i)));
    person.addEventListener("change", () => { this.person = data.people[person.value]; this.draw(); });
    joint.addEventListener("change", () => { this.joint = Number(joint.value); this.draw(); });
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
    const far = event.shiftKey ? 10 : 1, views = { 1: "front", 2: "side", 3: "top", 4: "camera" };
    if (event.key === " ") {
      // A button or box that has the focus keeps its own space bar.
      if (["BUTTON", "INPUT"].includes(event.target.tagName) && event.target.type !== "range") return;
      this.play(!this.playing);
    } else if (event.key === "ArrowLeft") this.step(-far);
    else if (event.key === "ArrowRight") this.step(far);
    else if (event.key === "Home") this.go(0);
    else if (event.key === "End") this.go(this.data.frames.length - 1);
    else if (event.key in views && this.scene) this.scene.look(views[event.key]);
    else return;
    event.preventDefault();
  }

  // #frame=83&view=camera in the address opens the page there.
  #fromAddress() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    if (wanted.has("frame")) this.go(this.timeline.indexOf(Number(wanted.get("frame"))));
    if (wanted.get("view") in { ...VIEWS, camera: 1 } && this.scene) this.scene.look(wanted.get("view"));
  }

  // A finding: its person, the joint it speaks of, its time.
  show(person, what, frame) {
    this.person = person;
    document.getElementById("person").value = this.data.people.indexOf(person);
    if (this.data.joints.includes(what)) {
      this.joint = this.data.joints.indexOf(what);
      document.getElementById("joint").value = this.joint;
    }
    this.go(frame);
  }

  step(frames) {
    this.play(false);
    this.go(this.frame + frames);
  }

  go(frame) {
    this.frame = Math.max(0, Math.min(this.data.frames.length - 1, frame)) || 0;
    this.clock = this.data.times[this.frame];
    this.draw();
  }

  play(playing) {
    this.playing = playing;
    this.before = null;
    document.getElementById("play").textContent = playing ? "Pause" : "Play";
    if (playing && this.frame === this.data.frames.length - 1) this.go(0);
    this.clock = this.data.times[this.frame];
    this.draw();
  }

  // Asks for everything to be drawn, once before the next picture of the screen.
  draw() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame((now) => {
      this.asked = false;
      if (this.playing) this.#advance(now);
      this.#drawAll();
      if (this.playing) this.draw();
    });
  }

  #advance(now) {
    const { times } = this.data, speed = Number(document.getElementById("speed").value);
    if (this.before !== null) this.clock += (speed * Math.min(now - this.before, 250)) / 1000;
    this.before = now;
    const last = times.length - 1;
    while (this.frame < last && times[this.frame + 1] <= this.clock) this.frame++;
    if (this.frame < last) return;
    // The last frame stays as long as one lasts.
    if (this.clock < times[last] + this.data.step / this.data.fps) return;
    if (!document.getElementById("loop").checked) return this.play(false);
    this.frame = 0;
    this.clock = times[0];
  }

  #drawAll() {
    const { frame, data } = this;
    this.scrubber.value = frame;
    const time = `${data.times[frame].toFixed(2)} s`, number = `frame ${data.frames[frame]}`;
    document.getElementById("now").textContent = `${time}\n${number}`;
    this.scrubber.setAttribute("aria-valuetext", `${time}, ${number}`);
    this.video.draw(frame);
    if (this.scene) this.scene.draw(frame);
    this.timeline.drawAxis();
    this.people.draw(frame);
    this.plots.draw(frame);
  }

  // Who is in a frame and shown, with what draws them.
  figures(frame) {
    const figures = [];
    for (const person of this.data.people) {
      const row = person.shown ? present(person, frame) : -1;
      if (row < 0) continue;
      if (person.posedRow !== row) {
        person.matrices = new Float32Array(16 * 24);
        posed(person, row, this.data.body.parents, new Float32Array(3 * 24), person.matrices);
        person.posedRow = row;
      }
      const opacity = person.status[row] === FILLED_IN ? 0.4 : 1;
      figures.push({ person, row, bones: person.matrices, opacity });
    }
    return figures;
  }
}

// Colours of the page, as text and as shares of red, green and blue.
function readTheme() {
  const style = getComputedStyle(document.documentElement), theme = { shares: {} };
  for (const name of ["raised", "ink", "muted", "rule", "line", "alarm", "caution", "absent", "space", "grid"]) {
    const text = style.getPropertyValue(`--${name}`).trim();
    theme[name] = text;
    theme.shares[name] = [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16) / 255);
  }
  return theme;
}

// What went wrong, where the reader sees it; nothing when it is over.
function say(message) {
  const place = document.getElementById("trouble");
  place.textContent = message;
  place.hidden = !message;
}

window.addEventListener("error", (event) => say(`This page has failed: ${event.message}`));
window.addEventListener("unhandledrejection", (event) => say(`This page has failed: ${event.reason}`));
const viewer = new ViewerPage(readData());
