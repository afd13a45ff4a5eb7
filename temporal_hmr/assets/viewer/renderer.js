// Draws bodies, ground and lines on one canvas with WebGL 2.

const SHADOW_LIGHT = [0.25, 1, 0.2];

class Renderer {
  constructor(canvas, data, trouble) {
    this.canvas = canvas;
    this.data = data;
    this.lost = false;
    canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault();
      this.lost = true;
      trouble("The graphics card gave up drawing; it should come back by itself.");
    });
    canvas.addEventListener("webglcontextrestored", () => {
      this.#prepare();
      this.lost = false;
      trouble("");
    });
    this.gl = canvas.getContext("webgl2", { alpha: true, antialias: true, stencil: true });
    if (!this.gl) throw new Error("This browser offers no WebGL 2, which draws the bodies.");
    this.#prepare();
  }

  #prepare() {
    const { gl, data } = this;
    this.surface = this.#program(SURFACE_VERTEX, SURFACE_FRAGMENT);
    this.grid = this.#program(GRID_VERTEX, GRID_FRAGMENT);
    this.line = this.#program(LINE_VERTEX, LINE_FRAGMENT);
    this.backdrop = this.#program(BACKDROP_VERTEX, BACKDROP_FRAGMENT);
    this.nothing = gl.createVertexArray();
    const { skinJoints, skinWeights, faces } = data.body;
    this.shared = { joints: this.#buffer(skinJoints), weights: this.#buffer(skinWeights),
      faces: this.#buffer(faces, gl.ELEMENT_ARRAY_BUFFER) };
    this.bodies = new Map(data.people.map((person) => [person, this.#body(person)]));
    this.lineBuffer = gl.createBuffer();
    this.lines = this.#lineArray();
    this.texture = gl.createTexture();
    this.picture = null;
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  #program(vertex, fragment) {
    const { gl } = this, program = gl.createProgram();
    for (const [type, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) {
        throw new Error(gl.getShaderInfoLog(shader));
      }
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
      throw new Error(gl.getProgramInfoLog(program));
    }
    const places = new Map();
    const place = (name) => {
      if (!places.has(name)) places.set(name, gl.getUniformLocation(program, name));
      return places.get(name);
    };
    return { program, place };
  }

  #buffer(values, target = this.gl.ARRAY_BUFFER) {
    const { gl } = this, buffer = gl.createBuffer();
    gl.bindVertexArray(null);
    gl.bindBuffer(target, buffer);
    gl.bufferData(target, values, gl.STATIC_DRAW);
    return buffer;
  }

  #body(person) {
    const { gl, data } = this, array = gl.createVertexArray();
    const normals = vertexNormals(person.template, data.body.faces);
    const buffers = [this.#buffer(person.template), this.#buffer(normals)];
    gl.bindVertexArray(array);
    buffers.forEach((buffer, place) => {
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, 3, gl.FLOAT, false, 0, 0);
    });
    for (const half of [0, 1]) {
      gl.bindBuffer(gl.ARRAY_BUFFER, this.shared.joints);
      gl.enableVertexAttribArray(2 + half);
      gl.vertexAttribIPointer(2 + half, 4, gl.UNSIGNED_BYTE, 8, 4 * half);
      gl.bindBuffer(gl.ARRAY_BUFFER, this.shared.weights);
      gl.enableVertexAttribArray(4 + half);
      gl.vertexAttribPointer(4 + half, 4, gl.UNSIGNED_SHORT, true, 16, 8 * half);
    }
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.shared.faces);
    gl.bindVertexArray(null);
    return array;
  }

  #lineArray() {
    const { gl } = this, array = gl.createVertexArray();
    gl.bindVertexArray(array);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.lineBuffer);
    [[3, 0], [3, 12], [4, 24]].forEach(([size, offset], place) => {
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, size, gl.FLOAT, false, 40, offset);
      gl.vertexAttribDivisor(place, 1);
    });
    gl.bindVertexArray(null);
    return array;
  }

  // Begins a drawing: fits the canvas to its place on the page and clears it. `frame` is the
  // rectangle (left, top, width, height in CSS pixels) that is drawn into.
  begin(background, frame) {
    const { gl, canvas } = this, ratio = Math.min(window.devicePixelRatio || 1, 2);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((x) => Math.max(Math.round(x * ratio), 1));
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const [left, top, across, tall] = frame || [0, 0, canvas.clientWidth, canvas.clientHeight];
    this.size = [across * ratio, tall * ratio];
    this.ratio = ratio;
    gl.viewport(left * ratio, (canvas.clientHeight - top - tall) * ratio, ...this.size);
    gl.clearColor(...(background || [0, 0, 0]), background ? 1 : 0);
    gl.depthMask(true);
    gl.colorMask(true, true, true, true);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT | gl.STENCIL_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    gl.enable(gl.BLEND);
  }

  drawBackdrop(picture) {
    const { gl } = this;
    gl.useProgram(this.backdrop.program);
    gl.bindTexture(gl.TEXTURE_2D, this.texture);
    if (picture !== this.picture) {
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, picture);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
      this.picture = picture;
    }
    gl.depthMask(false);
    gl.bindVertexArray(this.nothing);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    gl.depthMask(true);
  }

  drawGrid(view, middle, color) {
    const { gl, grid } = this;
    gl.useProgram(grid.program);
    gl.uniformMatrix4fv(grid.place("view"), false, view);
    gl.uniform2f(grid.place("middle"), middle[0], middle[2]);
    gl.uniform3f(grid.place("color"), ...color);
    gl.depthMask(false);
    gl.bindVertexArray(this.nothing);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    gl.depthMask(true);
  }

  // Each figure: person, bones, opacity. Solid ones first, so that faint ones let them through.
  drawBodies(figures, view, world, eye) {
    const { gl } = this;
    const order = [...figures].sort((a, b) => b.opacity - a.opacity);
    gl.useProgram(this.surface.program);
    gl.uniformMatrix4fv(this.surface.place("view"), false, view);
    gl.uniformMatrix4fv(this.surface.place("world"), false, world);
    gl.uniform3f(this.surface.place("eye"), ...eye);
    gl.uniform1i(this.surface.place("lit"), 1);
    for (const figure of order) {
      if (figure.opacity < 1) {
        // Its own front only: depth before colour.
        gl.colorMask(false, false, false, false);
        this.#drawBody(figure, figure.person.color, 1);
        gl.colorMask(true, true, true, true);
        gl.depthFunc(gl.LEQUAL);
      }
      this.#drawBody(figure, figure.person.color, figure.opacity);
      gl.depthFunc(gl.LESS);
    }
  }

  // The bodies laid flat on the ground by a light from above; each pixel darkened once.
  drawShadows(figures, view, world) {
    const { gl } = this, [x, y, z] = SHADOW_LIGHT;
    const flat = new Float32Array([1, 0, 0, 0, -x / y, 0, -z / y, 0, 0, 0, 1, 0, 0, 0.002, 0, 1]);
    gl.useProgram(this.surface.program);
    gl.uniformMatrix4fv(this.surface.place("view"), false, view);
    gl.uniformMatrix4fv(this.surface.place("world"), false, multiplied(flat, world));
    gl.uniform1i(this.surface.place("lit"), 0);
    gl.enable(gl.STENCIL_TEST);
    gl.stencilFunc(gl.EQUAL, 0, 255);
    gl.stencilOp(gl.KEEP, gl.KEEP, gl.INCR);
    gl.depthMask(false);
    for (const figure of figures) this.#drawBody(figure, [0, 0, 0], 0.22 * figure.opacity);
    gl.depthMask(true);
    gl.disable(gl.STENCIL_TEST);
  }

  #drawBody(figure, color, opacity) {
    const { gl, surface } = this;
    gl.uniformMatrix4fv(surface.place("bones"), false, figure.bones);
    gl.uniform4f(surface.place("color"), ...color, opacity);
    gl.bindVertexArray(this.bodies.get(figure.person));
    gl.drawElements(gl.TRIANGLES, this.data.body.faces.length, gl.UNSIGNED_INT, 0);
  }

  // Numbers of one line after another: from (3), to (3), colour and opacity (4).
  drawLines(numbers, view, width, over) {
    if (!numbers.length) return;
    const { gl, line } = this;
    gl.useProgram(line.program);
    gl.uniformMatrix4fv(line.place("view"), false, view);
    gl.uniform2f(line.place("size"), ...this.size);
    gl.uniform1f(line.place("width"), width * this.ratio);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.lineBuffer);
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array(numbers), gl.DYNAMIC_DRAW);
    if (over) gl.disable(gl.DEPTH_TEST);
    gl.bindVertexArray(this.lines);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, numbers.length / 10);
    gl.enable(gl.DEPTH_TEST);
  }
}
