// The programs that run on the graphics card.

const SURFACE_VERTEX = `#version 300 es
precision highp float;
layout(location=0) in vec3 position;
layout(location=1) in vec3 normal;
layout(location=2) in uvec4 jointsA;
layout(location=3) in uvec4 jointsB;
layout(location=4) in vec4 weightsA;
layout(location=5) in vec4 weightsB;
uniform mat4 bones[24];
uniform mat4 world, view;
out vec3 facing, place;
invariant gl_Position;
void main() {
  mat4 skin = weightsA.x * bones[jointsA.x] + weightsA.y * bones[jointsA.y]
    + weightsA.z * bones[jointsA.z] + weightsA.w * bones[jointsA.w]
    + weightsB.x * bones[jointsB.x] + weightsB.y * bones[jointsB.y]
    + weightsB.z * bones[jointsB.z] + weightsB.w * bones[jointsB.w];
  skin /= dot(weightsA + weightsB, vec4(1.0));
  vec4 there = world * skin * vec4(position, 1.0);
  facing = mat3(world) * mat3(skin) * normal;
  place = there.xyz;
  gl_Position = view * there;
}`;

const SURFACE_FRAGMENT = `#version 300 es
precision highp float;
in vec3 facing, place;
uniform vec4 color;
uniform vec3 eye;
uniform bool lit;
out vec4 painted;
void main() {
  vec3 shade = color.rgb;
  if (lit) {
    vec3 towards = normalize(eye - place);
    vec3 n = normalize(facing);
    n = dot(n, towards) < 0.0 ? -n : n;
    float key = max(dot(n, normalize(towards + vec3(0.35, 0.8, 0.2))), 0.0);
    float sky = 0.5 + 0.5 * n.y;
    shade *= 0.30 + 0.25 * sky + 0.52 * key;
    shade += 0.10 * pow(1.0 - dot(n, towards), 3.0);
  }
  painted = vec4(shade * color.a, color.a);
}`;

const GRID_VERTEX = `#version 300 es
precision highp float;
uniform mat4 view;
uniform vec2 middle;
out vec2 place;
void main() {
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 2.0 - 1.0;
  place = middle + 40.0 * corner;
  gl_Position = view * vec4(place.x, 0.0, place.y, 1.0);
}`;

const GRID_FRAGMENT = `#version 300 es
precision highp float;
in vec2 place;
uniform vec3 color;
uniform vec2 middle;
out vec4 painted;
float lines(float spacing) {
  vec2 at = place / spacing;
  vec2 away = abs(fract(at - 0.5) - 0.5) / max(fwidth(at), 1e-6);
  float sharp = 1.0 - clamp(max(fwidth(at).x, fwidth(at).y) * 1.5, 0.0, 1.0);
  return sharp * (1.0 - min(min(away.x, away.y), 1.0));
}
void main() {
  float fade = 1.0 - smoothstep(4.0, 22.0, distance(place, middle));
  float strength = fade * max(0.9 * lines(1.0), 0.3 * lines(0.25));
  painted = vec4(color * strength, strength);
}`;

// Each line is a strip of two triangles, so many pixels wide.
const LINE_VERTEX = `#version 300 es
precision highp float;
layout(location=0) in vec3 from;
layout(location=1) in vec3 to;
layout(location=2) in vec4 color;
uniform mat4 view;
uniform vec2 size;
uniform float width;
out vec4 ink;
void main() {
  vec4 a = view * vec4(from, 1.0), b = view * vec4(to, 1.0);
  float near = 0.001;
  if (a.w < near && b.w < near) { gl_Position = vec4(2.0, 2.0, 2.0, 1.0); return; }
  if (a.w < near) a = mix(a, b, (near - a.w) / (b.w - a.w));
  if (b.w < near) b = mix(b, a, (near - b.w) / (a.w - b.w));
  vec2 along = (b.xy / b.w - a.xy / a.w) * size;
  vec2 aside = length(along) > 1e-6 ? normalize(vec2(-along.y, along.x)) : vec2(0.0, 1.0);
  vec4 end = (gl_VertexID >> 1) == 0 ? a : b;
  float side = float(gl_VertexID & 1) * 2.0 - 1.0;
  gl_Position = end + vec4(side * aside * width / size * end.w, 0.0, 0.0);
  ink = color;
}`;

const LINE_FRAGMENT = `#version 300 es
precision highp float;
in vec4 ink;
out vec4 painted;
void main() { painted = vec4(ink.rgb * ink.a, ink.a); }`;

const BACKDROP_VERTEX = `#version 300 es
out vec2 place;
void main() {
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1);
  place = vec2(corner.x, 1.0 - corner.y);
  gl_Position = vec4(corner * 2.0 - 1.0, 0.999, 1.0);
}`;

const BACKDROP_FRAGMENT = `#version 300 es
precision highp float;
in vec2 place;
uniform sampler2D picture;
out vec4 painted;
void main() { painted = vec4(texture(picture, place).rgb, 1.0); }`;
