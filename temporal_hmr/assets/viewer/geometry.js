// Matrices (column by column, as WebGL wants them), and the poses of bodies.

const ABSENT = 0, FILLED_IN = 1, SEEN = 2, BROKEN = 3;

function multiplied(a, b) {
  const product = new Float32Array(16);
  for (let column = 0; column < 4; column++) {
    for (let row = 0; row < 4; row++) {
      let sum = 0;
      for (let k = 0; k < 4; k++) sum += a[4 * k + row] * b[4 * column + k];
      product[4 * column + row] = sum;
    }
  }
  return product;
}

// Of a rotation and a translation.
function rigidInverse(m) {
  const inverse = new Float32Array(16);
  for (let i = 0; i < 3; i++) {
    for (let j = 0; j < 3; j++) inverse[4 * i + j] = m[4 * j + i];
    inverse[12 + i] = -(m[4 * i] * m[12] + m[4 * i + 1] * m[13] + m[4 * i + 2] * m[14]);
  }
  inverse[15] = 1;
  return inverse;
}

function moved(m, point) {
  return [0, 1, 2].map((i) => m[i] * point[0] + m[4 + i] * point[1] + m[8 + i] * point[2] + m[12 + i]);
}

function perspective(angle, aspect, near, far) {
  const scale = 1 / Math.tan(angle / 2);
  return new Float32Array([scale / aspect, 0, 0, 0, 0, scale, 0, 0,
    0, 0, (far + near) / (near - far), -1, 0, 0, (2 * far * near) / (near - far), 0]);
}

function lookingAt(eye, target, up) {
  const z = unit(minus(eye, target)), x = unit(cross(up, z)), y = cross(z, x);
  return new Float32Array([x[0], y[0], z[0], 0, x[1], y[1], z[1], 0, x[2], y[2], z[2], 0,
    -dot(x, eye), -dot(y, eye), -dot(z, eye), 1]);
}

// What the video's camera sees of points in its own axes (x right, y down, z forward).
function pinhole(camera, near, far) {
  const [[fx, , cx], [, fy, cy]] = camera.matrix;
  const { width, height } = camera;
  return new Float32Array([(2 * fx) / width, 0, 0, 0, 0, (-2 * fy) / height, 0, 0,
    (2 * cx) / width - 1, 1 - (2 * cy) / height, (far + near) / (far - near), 1,
    0, 0, (-2 * far * near) / (far - near), 0]);
}

const minus = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const unit = (a) => { const length = Math.hypot(...a) || 1; return a.map((x) => x / length); };

// Forward kinematics: joints' places (24 x 3) and the matrices (24 x 16) that take the surface of
// the rest pose along with them, in the camera's axes. The root stands at its rest place plus the
// translation, whatever its rotation: SMPL turns about its pelvis.
function posed(person, row, parents, joints, bones) {
  const turns = new Float64Array(9 * parents.length), rest = person.restJoints;
  for (let joint = 0; joint < parents.length; joint++) {
    const local = quaternionMatrix(person.quaternions, 4 * (row * parents.length + joint));
    const parent = parents[joint], to = 3 * joint;
    if (parent < 0) {
      turns.set(local, 0);
      for (let i = 0; i < 3; i++) joints[to + i] = rest[to + i] + person.translations[3 * row + i];
    } else {
      for (let i = 0; i < 3; i++) {
        let place = joints[3 * parent + i];
        for (let k = 0; k < 3; k++) {
          const turn = turns[9 * parent + 3 * i + k];
          place += turn * (rest[to + k] - rest[3 * parent + k]);
          for (let j = 0; j < 3; j++) turns[9 * joint + 3 * i + j] += turn * local[3 * k + j];
        }
        joints[to + i] = place;
      }
    }
    if (!bones) continue;
    for (let i = 0; i < 3; i++) {
      let shift = joints[to + i];
      for (let k = 0; k < 3; k++) {
        const turn = turns[9 * joint + 3 * i + k];
        bones[16 * joint + 4 * k + i] = turn;
        shift -= turn * rest[to + k];
      }
      bones[16 * joint + 12 + i] = shift;
    }
    bones[16 * joint + 15] = 1;
  }
}

// Row by row; scalar first. Rounded quaternions are brought back to length one.
function quaternionMatrix(q, at) {
  const length = Math.hypot(q[at], q[at + 1], q[at + 2], q[at + 3]);
  const w = q[at] / length, x = q[at + 1] / length, y = q[at + 2] / length, z = q[at + 3] / length;
  return [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
    2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
    2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)];
}

// Joints of all rows in the world, and there the skeleton can be drawn and its height told.
function jointsInWorld(person, parents, worldFromCamera) {
  const size = 3 * parents.length, all = new Float32Array(size * person.count);
  const joints = new Float32Array(size);
  for (let row = 0; row < person.count; row++) {
    posed(person, row, parents, joints, null);
    for (let at = 0; at < size; at += 3) {
      all.set(moved(worldFromCamera, joints.subarray(at, at + 3)), row * size + at);
    }
  }
  return all;
}

// Of the surface in the rest pose: at each vertex the mean of its triangles', larger ones more.
function vertexNormals(vertices, faces) {
  const normals = new Float32Array(vertices.length);
  const corner = (v) => [vertices[3 * v], vertices[3 * v + 1], vertices[3 * v + 2]];
  for (let face = 0; face < faces.length; face += 3) {
    const [a, b, c] = [corner(faces[face]), corner(faces[face + 1]), corner(faces[face + 2])];
    const normal = cross(minus(b, a), minus(c, a));
    for (let k = 0; k < 3; k++) {
      for (let i = 0; i < 3; i++) normals[3 * faces[face + k] + i] += normal[i];
    }
  }
  return normals;
}

// The largest rectangle of these proportions in the middle of a canvas: left, top, width, height.
function within(width, height, aspect) {
  const across = Math.min(width, height * aspect), tall = across / aspect;
  return [(width - across) / 2, (height - tall) / 2, across, tall];
}

function present(person, frame) {
  const row = frame - person.first;
  if (row < 0 || row >= person.count) return -1;
  return person.status[row] === FILLED_IN || person.status[row] === SEEN ? row : -1;
}
